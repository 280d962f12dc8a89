"""The project's documents, as their tests read them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

PROJECT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("client/*.md")], key=lambda path: str(path)
)


@dataclass(frozen=True)
class Block:
    """A fenced block: what it holds, in which language, and what the block right below it holds."""

    document: str
    line: int
    language: str
    note: str
    """What stands behind the language, which readers do not see."""
    text: str
    answer: str | None = None

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def name_of(document: Path) -> str:
    return str(document.relative_to(PROJECT))


def blocks(document: Path) -> Iterator[Block]:
    """Yield a document's fenced blocks; the answer of one is the ``json`` block right below it."""
    text = document.read_text()
    found = list(re.finditer(r"^```(\w*) ?(.*)\n([\s\S]*?)^```$", text, re.MULTILINE))
    for block, following in zip_longest(found, found[1:]):
        follows = following is not None and following.start() == block.end() + 1 and following[1] == "json"
        answer = following[3] if following is not None and follows else None
        line = text.count("\n", 0, block.start()) + 1
        yield Block(name_of(document), line, block[1], block[2], block[3].rstrip("\n"), answer)


def prose(document: Path) -> str:
    """Return a document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """Return what may stand behind ``#`` in a link to a document: its headings, as GitHub turns them into anchors."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}

"""What the documents point at is there: links, headings, files, functions, tests and make targets."""

import re
from pathlib import Path

import pytest

from tests.documents import DOCUMENTS, PROJECT, anchors, blocks, name_of, prose

EACH_DOCUMENT = pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
CODE = PROJECT / "chalicelib"
COMMAND = re.compile(r"(make|python|curl|npx|docker|oee|pip|export) |[A-Z_]+=\S+ ")


@EACH_DOCUMENT
def test_every_link_leads_somewhere(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@EACH_DOCUMENT
def test_every_function_that_is_named_with_its_file_is_there(document: Path) -> None:
    missing = []
    for file, symbol in re.findall(r"`([\w/]+\.py):\s+([\w.]+)`", prose(document)):
        candidates = [path for path in (CODE / file, PROJECT / file) if path.exists()]
        names = symbol.split(".")
        if not candidates or not all(re.search(rf"\b{name}\b", candidates[0].read_text()) for name in names):
            missing.append(f"{file}: {symbol}")
    assert missing == []


@EACH_DOCUMENT
def test_every_test_that_is_named_is_there(document: Path) -> None:
    named = re.findall(r"`(?:tests/)?((?:unit|integration|e2e|chaos)/[\w/.]*)`", prose(document))
    assert [path for path in named if not (PROJECT / "tests" / path).exists()] == []


@EACH_DOCUMENT
def test_every_make_target_that_is_named_is_there(document: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    commands = [block.text for block in blocks(document)] + re.findall(r"`([^`]+)`", prose(document))
    named = {target for command in commands for target in re.findall(r"(?:^|\s)make(?: -\S+)* ([a-z-]+)", command)}
    assert named - set(targets) == set()


@EACH_DOCUMENT
def test_every_command_is_in_a_block_that_a_test_runs_or_that_says_why_not(document: Path) -> None:
    wrong = []
    for block in blocks(document):
        if block.language == "":
            wrong += [line for line in block.text.splitlines() if COMMAND.match(line)]
        elif block.language == "sh" and block.note.startswith("tests/"):
            wrong += [] if (PROJECT / block.note).exists() else [block.note]
        elif block.language == "sh" and block.note not in ("", "by hand", "on AWS", "in containers"):
            wrong.append(block.note)
    assert wrong == []


def test_a_link_to_a_heading_that_is_not_there_is_found(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("# One `two`, three\n[good](#one-two-three) [bad](#four)\n")

    with pytest.raises(AssertionError, match="#four"):
        test_every_link_leads_somewhere(document)

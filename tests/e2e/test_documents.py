"""The documents' commands do what the documents say: each ``sh`` and ``python`` block is run as it is written.

Only the address and the placeholders differ: ``localhost:3000`` becomes the address of the tests' own stack,
``<orderId>`` an order of its. Where a ``json`` block follows, the answer has the fields that it shows.

Some blocks are not run here. What stands behind their ``sh``, which a reader of the page does not see, says why: the
path of the test that runs them, ``by hand`` for what takes minutes, or ``on AWS`` and ``in containers`` for what could
not be run yet, which the page itself has to say.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.market import call_market, request_of
from tests.documents import DOCUMENTS, PROJECT, Block, blocks
from tests.e2e.client import Client
from tests.e2e.deployed import Deployed
from tests.e2e.npm.packages import Packages

BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
LANGUAGES = {"sh": ("bash", "-euo", "pipefail", "-c"), "python": ("python", "-c")}
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, deployed: Deployed) -> Path:
    """Return a folder that looks like this checkout, in which the tests' stack is the one that runs."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in PROJECT.iterdir():
        if path.name not in (".git", ".local", ".env"):
            (folder / path.name).symlink_to(path)
    (folder / ".local").mkdir()
    assert deployed.target.endpoint_url
    (folder / ".local" / "endpoint").write_text(deployed.target.endpoint_url)
    return folder


@pytest.fixture(scope="module")
def programs(checkout: Path, npm_packages: Packages) -> Path:
    return npm_packages.put_into(checkout)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind(client: Client, deployed: Deployed) -> Iterator[None]:
    yield
    client.cancel_what_waits()
    call_market(deployed.target, request_of(None, reset=True))


@pytest.fixture(scope="module")
def documented_order(client: Client) -> str:
    """Return the id of an order like the one that the documents place, which is confirmed."""
    order_id: str = client.execute(clientOrderId="documented")[0]["orderId"]
    return order_id


@pytest.fixture
def run(
    checkout: Path, programs: Path, deployed: Deployed, client: Client, documented_order: str
) -> Callable[[Block], str]:
    """Run a block as a reader would: in a shell, in the project's folder; returns what it printed."""
    (checkout / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "PORT")}
    environment |= {
        "PATH": f"{PROJECT / '.venv' / 'bin'}:{programs}:{os.environ['PATH']}",
        "CURL_HOME": str(checkout),
        "PORT": deployed.url.rpartition(":")[2],
        "OEE_URL": deployed.url,
    }

    def run(block: Block) -> str:
        written = block.text.replace("localhost:3000", deployed.url.removeprefix("http://"))
        written = written.replace("<orderId>", documented_order)
        if "<waitingOrderId>" in written:
            written = written.replace("<waitingOrderId>", client.place(orderType="limit", limitPrice=1))
        ran = subprocess.run(
            [*LANGUAGES[block.language], written],
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert ran.returncode == 0, f"{written}\nended with {ran.returncode}:\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    return run


@pytest.mark.laptop("the documents speak of the stack of this machine")
@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language in LANGUAGES and not block.note], ids=str
)
def test_a_documents_commands_work_as_written(block: Block, run: Callable[[Block], str]) -> None:
    printed = run(block)

    if block.answer is not None:
        assert_alike(json.loads(printed), json.loads(block.answer))


def assert_alike(answered: Any, documented: Any) -> None:
    """Compare the names of fields, however deep, not their values; of lists the first elements, if both have one."""
    if isinstance(documented, dict):
        assert sorted(answered) == sorted(documented)
        for name, value in documented.items():
            assert_alike(answered[name], value)
    elif isinstance(documented, list):
        assert isinstance(answered, list)
        for first, second in zip(answered[:1], documented[:1], strict=False):
            assert_alike(first, second)

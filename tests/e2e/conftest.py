import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra.local.stack import OWN_SERVERS, Stack
from tests.e2e.client import Client
from tests.e2e.deployed import Deployed, is_named, named_by, on_this_machine
from tests.e2e.npm import packages

FROM_THE_DEVELOPERS_ENVIRONMENT = (
    "QUEUE_MAX_CONCURRENT",
    "WORKER_CONCURRENCY",
    "MAX_RETRIES",
    "BACKOFF_BASE_MS",
    "MOCK_SEED",
    "MOCK_LATENCY",
)
ALLOWED_ORIGIN = "https://app.example.com"
NO_LIMITS = {"ORDER_PROCESSOR_RATE": "0", "USER_ORDER_RATE": "0"}


WHAT_PEOPLE_TOUCH = (
    "test_client",
    "test_command_line",
    "test_console",
    "test_contract",
    "test_documents",
    "test_metrics",
)
"""These take about as long as all others together, so that two processes have about as much to do."""
LEFT_OUT = pytest.StashKey[list[tuple[str, str]]]()
"""The tests that were left out, each with the reason."""


@pytest.hookimpl(tryfirst=True)  # xdist looks for the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep these tests together where tests run in several processes, because they share a stack, or one of two.

    Where they share one that was deployed before, leave out those that need the stack of this machine.
    """
    own = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in own:
        stack = "the stack of what people touch" if item.path.stem in WHAT_PEOPLE_TOUCH else "the stack of the engine"
        item.add_marker(pytest.mark.xdist_group(stack))
    if is_named(os.environ):
        left_out = {item: str(marker.args[0]) for item in own if (marker := item.get_closest_marker("laptop"))}
        config.stash[LEFT_OUT] = [(item.nodeid, reason) for item, reason in left_out.items()]
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
        # Whoever starts servers on this machine asks for a folder for them.
        if unmarked := [item.nodeid for item in items if "make_data_dir" in getattr(item, "fixturenames", ())]:
            raise pytest.UsageError(f"These start servers on this machine, so mark them laptop: {', '.join(unmarked)}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which tests were left out, and why."""
    for test, reason in config.stash.get(LEFT_OUT, []):
        terminalreporter.write_line(f"LEFT OUT {test}: {reason}")


@pytest.fixture(scope="session")
def settings() -> dict[str, str]:
    """Return settings that give a stack servers of its own, no limits, and for the rest the documented values."""
    from_the_developers = dict.fromkeys(FROM_THE_DEVELOPERS_ENVIRONMENT, "")
    return {**OWN_SERVERS, **from_the_developers, **NO_LIMITS, "CORS_ORIGINS": ALLOWED_ORIGIN}


@pytest.fixture(scope="session")
def stack(make_data_dir: Callable[[], Path], settings: dict[str, str]) -> Iterator[Stack]:
    with Stack(port=0, data_dir=make_data_dir(), environment=settings) as running:
        yield running


@pytest.fixture(scope="session")
def deployed(request: pytest.FixtureRequest) -> Deployed:
    if is_named(os.environ):
        return named_by(os.environ)
    return on_this_machine(request.getfixturevalue("stack"))


@pytest.fixture(scope="session")
def client(deployed: Deployed) -> Client:
    return Client(deployed.url, deployed.websocket_url)


@pytest.fixture(scope="session")
def confirmed(client: Client) -> list[dict[str, Any]]:
    """Return the events of an order that has been confirmed."""
    return client.execute()


@pytest.fixture(scope="session")
def npm_packages() -> packages.Packages:
    return packages.installed()


@pytest.fixture
def database(deployed: Deployed) -> Iterator[psycopg.Connection]:
    with psycopg.connect(deployed.database_url, autocommit=True) as connection:
        yield connection

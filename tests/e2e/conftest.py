from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra.local.stack import OWN_SERVERS, Stack
from tests.e2e.client import Client

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep these tests together where tests run in several processes: they share one stack."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("one stack"))


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
def client(stack: Stack) -> Client:
    return Client(stack.url, stack.websocket_url)


@pytest.fixture(scope="session")
def confirmed(client: Client) -> list[dict[str, Any]]:
    """Return the events of an order that has been confirmed."""
    return client.execute()


@pytest.fixture
def database(stack: Stack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        yield connection

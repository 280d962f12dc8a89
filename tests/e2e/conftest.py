from collections.abc import Iterator

import psycopg
import pytest

from infra.local.stack import Stack
from tests.e2e.client import Client

# Whatever the developer's environment says, these tests run on servers of their own and with the documented delays.
ENVIRONMENT = {
    "ORDER_PROCESSOR_RATE": "0",
    "DATABASE_URL": "",
    "POSTGRES_HOST": "",
    "REDIS_URL": "",
    "REDIS_HOST": "",
    "QUEUE_MAX_CONCURRENT": "",
    "WORKER_CONCURRENCY": "",
    "MAX_RETRIES": "",
    "BACKOFF_BASE_MS": "",
    "MOCK_SEED": "",
    "MOCK_LATENCY": "",
}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(port=0, data_dir=tmp_path_factory.mktemp("stack"), environment=ENVIRONMENT) as running:
        yield running


@pytest.fixture(scope="session")
def client(stack: Stack) -> Client:
    return Client(stack.url, stack.websocket_url)


@pytest.fixture
def database(stack: Stack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        yield connection

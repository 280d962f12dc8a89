"""A real Postgres and Redis, started once for all tests that need them and empty for each."""

import io
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from psycopg.rows import dict_row

from chalicelib.observability import logger
from chalicelib.store.schema import migrate
from infra.local.postgres import LocalPostgres
from infra.local.redis import LocalRedis
from tests.issuer import LocalIssuer


@pytest.fixture(scope="session")
def make_data_dir() -> Iterator[Callable[[], Path]]:
    """Make empty folders for servers, which are gone after the last test.

    Not below pytest's: each pytest that starts closes its folder to other users, and so to the Postgres that another
    one, which root runs as well, has started there as such a user.
    """
    with tempfile.TemporaryDirectory(prefix="engine-tests-", ignore_cleanup_errors=True) as folder:
        yield lambda: Path(tempfile.mkdtemp(dir=folder))


@pytest.fixture
def data_dir(make_data_dir: Callable[[], Path]) -> Path:
    """Return an empty folder for the servers of one test."""
    return make_data_dir()


@pytest.fixture
def log() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Return the lines that the engine has logged, each as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logger.registered_formatter)
    logging.getLogger(logger.service).addHandler(handler)
    yield lambda: [json.loads(line, parse_float=Decimal) for line in stream.getvalue().splitlines()]
    logging.getLogger(logger.service).removeHandler(handler)


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalIssuer]:
    """An OIDC issuer that nobody has asked yet."""
    # A proxy from the developer's environment knows nothing of this machine's loopback.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with LocalIssuer() as running:
        yield running


@pytest.fixture(scope="session")
def postgres(make_data_dir: Callable[[], Path]) -> Iterator[LocalPostgres]:
    server = LocalPostgres(make_data_dir(), os.environ)
    try:
        server.start()
        # No test pulls the plug on it, and a busy disk must not make a commit take longer than the engine waits.
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        migrate(server.url)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis_server(make_data_dir: Callable[[], Path]) -> Iterator[LocalRedis]:
    server = LocalRedis(make_data_dir(), os.environ)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def connection(postgres: LocalPostgres) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """The tests' own look into Postgres, past the engine."""
    with psycopg.connect(postgres.url, autocommit=True, row_factory=dict_row) as opened:
        yield opened


@pytest.fixture(scope="session")
def redis_client(redis_server: LocalRedis) -> Iterator[redis.Redis]:
    """The tests' own look into Redis, past the engine."""
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        yield client


class Database:
    """What a test asks Postgres, and changes there: the work of other systems, and of time."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self._connection = connection

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        return self._connection.execute(statement, values).fetchall()

    def change(self, statement: str, *values: Any) -> int:
        """Run a statement and return how many rows it changed."""
        return self._connection.execute(statement, values).rowcount

    def order(self, order_id: str) -> dict[str, Any]:
        return self.rows("SELECT * FROM orders WHERE id = %s", order_id)[0]

    def events(self, order_id: str) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM order_events WHERE order_id = %s ORDER BY seq", order_id)

    def event_names(self, order_id: str) -> list[str]:
        return [event["event"] for event in self.events(order_id)]

    def swaps(self, order_id: str) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM swaps WHERE order_id = %s ORDER BY created_at", order_id)

    def count(self, table: str) -> int:
        return self.rows(f"SELECT count(*) FROM {table}")[0]["count"]


@pytest.fixture
def database(connection: psycopg.Connection[dict[str, Any]]) -> Database:
    """An empty database."""
    # For a few rows, deleting is many times faster than truncating, which makes new files.
    simulated = ("simulated_transactions", "simulated_faults", "simulated_market")
    launches = ("launches", "launch_deliveries")
    tables = ("dead_letters", *simulated, *launches, "swaps", "wallet_spending", "order_events", "orders")
    connection.execute(";".join(f"DELETE FROM {table}" for table in tables))
    connection.execute("INSERT INTO simulated_faults DEFAULT VALUES")
    return Database(connection)


@pytest.fixture
def cache(redis_client: redis.Redis) -> redis.Redis:
    """An empty Redis."""
    redis_client.flushall()
    return redis_client

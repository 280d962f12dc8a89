"""What docs/scaling.md says of partitions, done to a database: its statements run, and the store goes on as it is."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from chalicelib.orders.order import Status
from chalicelib.resources.postgres import Database
from chalicelib.store.orders import OrderStore
from chalicelib.store.schema import migrate
from tests.builders import an_order
from tests.documents import PROJECT, blocks

NOTE = "tests/integration/test_partitions.py"
PREPARE, SPLIT, ADD, DROP = [block.text for block in blocks(PROJECT / "docs" / "scaling.md") if block.note == NOTE]
OF_BEFORE = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
"""Version 4, as all ids were."""
OF_JANUARY = "01a2d000-0000-7000-8000-000000000001"
"""Version 7, of January 2027."""


class Partitioned:
    """A database of its own."""

    def __init__(self, database: Database, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self.store = OrderStore(database)
        self._connection = connection
        self.said: list[str] = []
        connection.add_notice_handler(lambda notice: self.said.append(notice.message_primary or ""))

    def run(self, statements: str) -> None:
        # One by one, because an index is made beside a transaction, not in one.
        for statement in statements.split(";"):
            if statement.strip():
                self._connection.execute(statement)

    def lies_in(self, table: str, order_id: str) -> list[str]:
        """Return the partitions in which a table has something of an order."""
        key = "id" if table == "orders" else "order_id"
        found = self.rows(
            f"SELECT DISTINCT tableoid::regclass::text AS lies_in FROM {table} WHERE {key} = %s", order_id
        )
        return [row["lies_in"] for row in found]

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        return self._connection.execute(statement, values or None).fetchall()

    def plan(self, statement: str, *values: Any) -> str:
        return "\n".join(row["QUERY PLAN"] for row in self.rows(f"EXPLAIN {statement}", *values))


@pytest.fixture
def database(postgres, connection) -> Iterator[Partitioned]:
    """A database with the schema of today and one order of before, whose tables become partitions."""
    name = f"partitioned_{uuid4().hex}"
    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = postgres.url.rpartition("/")[0] + f"/{name}"
    migrate(url)
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as own:
        engines_own = Database(url)
        made = Partitioned(engines_own, own)
        made.store.accept(an_order(order_id=OF_BEFORE, client_order_id="mine"), "digest")
        made.run(PREPARE)
        made.run(SPLIT)
        own.execute("SET client_min_messages = debug1")
        made.run(ADD)
        own.execute("RESET client_min_messages")
        yield made
        engines_own.close()
    connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_an_order_of_before_goes_on_where_it_was(database):
    claim = database.store.claim(OF_BEFORE, uuid4(), timedelta(seconds=10))

    assert claim.claimed
    assert database.store.cancel(OF_BEFORE, reason="no longer wanted").event.seq == 2
    assert database.lies_in("orders", OF_BEFORE) == ["orders_rest"]
    assert database.lies_in("order_events", OF_BEFORE) == ["order_events_rest"]


def test_a_new_order_lies_in_the_partition_of_its_time(database):
    database.store.accept(an_order(order_id=OF_JANUARY), "digest")

    assert database.lies_in("orders", OF_JANUARY) == ["orders_2027_01"]
    assert database.lies_in("order_events", OF_JANUARY) == ["order_events_2027_01"]
    listed = database.store.page(status=None, limit=10)
    assert [order.order_id for order in listed] == [OF_JANUARY, OF_BEFORE]


def test_the_same_id_is_not_accepted_twice(database):
    assert database.store.accept(an_order(order_id=OF_JANUARY), "digest")

    assert database.store.accept(an_order(order_id=OF_JANUARY), "digest") is None


def test_a_statement_that_names_an_order_looks_into_one_partition(database):
    plan = database.plan("SELECT * FROM orders WHERE id = %s", OF_JANUARY)

    assert "orders_2027_01" in plan
    assert "orders_rest" not in plan


def test_a_partition_is_added_without_reading_the_orders_of_before(database):
    implied = [said for said in database.said if "implied by existing constraints" in said]

    assert len(implied) == 3, database.said


def test_a_partition_is_dropped_and_who_still_waits_in_it_stays(database):
    waits, ended = OF_JANUARY, OF_JANUARY[:-1] + "2"
    for order_id in (waits, ended):
        database.store.accept(an_order(order_id=order_id), "digest")
    database.store.cancel(ended, reason="no longer wanted")

    database.run(DROP)

    assert database.store.find(ended) is None
    assert database.store.find(waits).status is Status.PENDING
    assert len(database.store.events(waits)) == 1
    assert database.lies_in("orders", waits) == ["orders_rest"]


def test_the_keys_of_before_are_known(database):
    (known,) = database.rows("SELECT order_id::text FROM order_keys WHERE user_id = 'u1' AND idempotency_key = 'mine'")

    assert known["order_id"] == OF_BEFORE


def test_a_list_of_some_time_reads_that_time_only(database):
    newest = "ORDER BY created_at DESC, id DESC LIMIT 10"

    of_all = database.plan(f"SELECT * FROM orders {newest}")
    of_january = database.plan(
        f"SELECT * FROM orders WHERE id >= %s AND id < %s {newest}",
        "01a2ce8b-d400-0000-0000-000000000000",
        "01a36e30-f800-0000-0000-000000000000",
    )

    assert "orders_rest" in of_all
    assert "orders_2027_01" in of_january
    assert "orders_rest" not in of_january

"""Bringing a database to the current schema."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from chalicelib.store.schema import MIGRATIONS, migrate


@pytest.fixture
def empty_database(postgres, connection):
    """A database without a schema; returns its URL."""
    name = f"migrated_{uuid4().hex}"
    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield postgres.url.rpartition("/")[0] + f"/{name}"
    connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_every_migration_is_applied_in_order_and_once(empty_database):
    expected = sorted(path.stem for path in MIGRATIONS.glob("*.sql"))

    assert migrate(empty_database) == expected
    assert migrate(empty_database) == []


def test_several_at_once_apply_each_migration_once(empty_database):
    with ThreadPoolExecutor(3) as pool:
        applied = list(pool.map(migrate, [empty_database] * 3))

    assert sorted(name for names in applied for name in names) == sorted(path.stem for path in MIGRATIONS.glob("*.sql"))


def test_a_migration_that_fails_leaves_nothing_of_it(empty_database, tmp_path):
    (tmp_path / "0001.good.sql").write_text("CREATE TABLE good (a int);")
    (tmp_path / "0002.bad.sql").write_text("CREATE TABLE bad (a int); SELECT nonsense;")

    with pytest.raises(psycopg.Error, match="nonsense"):
        migrate(empty_database, tmp_path)

    with psycopg.connect(empty_database) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE tablename IN ('good', 'bad')").fetchall()
    assert tables == [("good",)]


def test_the_schema_has_every_documented_column(connection):
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'orders'"
    ).fetchall()

    documented = (
        "id user_id order_type side token_in token_out amount_in amount_out min_amount_out limit_price slippage "
    )
    documented += (
        "chosen_dex route_meta status attempts max_retries last_error executed_price tx_hash created_at updated_at"
    )
    assert set(documented.split()) <= {row["column_name"] for row in rows}


def test_a_migration_may_take_longer_than_the_server_gives_an_orders_statement(empty_database, connection, tmp_path):
    name = empty_database.rpartition("/")[2]
    connection.execute(sql.SQL("ALTER DATABASE {} SET statement_timeout = '100ms'").format(sql.Identifier(name)))
    (tmp_path / "0001.slow.sql").write_text("SELECT pg_sleep(0.3);")

    assert migrate(empty_database, tmp_path) == ["0001.slow"]

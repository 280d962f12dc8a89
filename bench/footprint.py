"""What a market order leaves behind: statements, log, rows and indexes in Postgres, scripts in Redis.

Postgres and Redis count all of it themselves; it is read before and after orders that are placed meanwhile.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import redis
from psycopg.rows import dict_row
from rich.console import Console
from rich.table import Table

from infra.local.stack import Stack

STATISTICS_SECONDS = 11.0
"""After which an idle Postgres process has reported all that it wrote (``PGSTAT_IDLE_INTERVAL`` is 10 s)."""
TABLES = ("orders", "order_events", "swaps")
LISTS = 50
"""How often a page of orders is listed."""

# What Postgres did for these orders; what stands for the chain is left out, but for the log, which has no names in it.
_STATEMENTS = """
    SELECT coalesce(sum(calls), 0)::float8 AS statements,
           coalesce(sum(calls) FILTER (WHERE wal_records > 0), 0)::float8 AS commits,
           coalesce(sum(total_exec_time) / 1000, 0)::float8 AS seconds
    FROM pg_stat_statements
    WHERE query ~ '(orders|order_events|swaps)' AND query !~ 'bench|simulated_' AND dbid = (
        SELECT oid FROM pg_database WHERE datname = current_database())
"""
_LOG = "SELECT wal_bytes::float8 AS bytes, wal_fpi::float8 AS pages FROM pg_stat_wal"
_ROWS = """
    SELECT count(*)::float8 AS rows, coalesce(avg(pg_column_size({table}.*)), 0)::float8 AS row,
           pg_table_size('{table}')::float8 AS disk, pg_indexes_size('{table}')::float8 AS indexes
    FROM {table}
"""
_LISTING = """
    SELECT coalesce(sum(total_exec_time) / sum(calls) / 1000, 0)::float8 AS seconds
    FROM pg_stat_statements WHERE query ~ 'ORDER BY created_at DESC, id DESC'
"""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What a table keeps of an order, in bytes."""

    rows: float
    row: float
    """A row, as Postgres stores it."""
    disk: float
    """All rows of an order on their pages."""
    indexes: float


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What one market order costs the parts it passes through."""

    statements: float
    commits: float
    """Statements that wrote, each a transaction that waits until its part of the log is on the disk."""
    database_seconds: float
    log_bytes: float
    log_pages: float
    """Whole pages in it, which Postgres logs when they first change after a checkpoint."""
    scripts: float
    script_seconds: float
    """What Redis, which runs one script at a time, spent on them."""
    list_seconds: float
    """What Postgres spends on one page of a list of orders."""
    tables: Mapping[str, Rows]

    @property
    def disk_bytes(self) -> float:
        return sum(kept.disk + kept.indexes for kept in self.tables.values())


def measure_footprint(stack: Stack, orders: int, place: Callable[[], None]) -> Footprint:
    """Read the counters around ``place``, which places so many orders, waits for their end and resets the statements'.

    Nothing else may happen on the stack meanwhile.
    """
    time.sleep(STATISTICS_SECONDS)
    with psycopg.connect(stack.database_url, autocommit=True, row_factory=dict_row) as connection:
        log_before, scripts_before = _row(connection, _LOG), _scripts(stack)
        place()
        scripts, spent = _scripts(stack), _row(connection, _STATEMENTS)
        time.sleep(STATISTICS_SECONDS)
        log = _row(connection, _LOG)
        return Footprint(
            statements=spent["statements"] / orders,
            commits=spent["commits"] / orders,
            database_seconds=spent["seconds"] / orders,
            log_bytes=(log["bytes"] - log_before["bytes"]) / orders,
            log_pages=(log["pages"] - log_before["pages"]) / orders,
            scripts=(scripts[0] - scripts_before[0]) / orders,
            script_seconds=(scripts[1] - scripts_before[1]) / orders,
            list_seconds=_list_seconds(connection, stack),
            tables=_tables(connection),
        )


def _tables(connection: psycopg.Connection[dict[str, Any]]) -> dict[str, Rows]:
    found = {table: _row(connection, _ROWS.format(table=table)) for table in TABLES}
    orders = max(found["orders"]["rows"], 1)
    return {
        table: Rows(
            rows=row["rows"] / orders, row=row["row"], disk=row["disk"] / orders, indexes=row["indexes"] / orders
        )
        for table, row in found.items()
    }


def _list_seconds(connection: psycopg.Connection[dict[str, Any]], stack: Stack) -> float:
    """List a full page of orders again and again; return what Postgres spends on one."""
    with httpx.Client(base_url=stack.url) as client:
        for _ in range(LISTS):
            client.get("/api/orders", params={"limit": 100}).raise_for_status()
    return float(_row(connection, _LISTING)["seconds"])


def _row(connection: psycopg.Connection[dict[str, Any]], statement: str) -> dict[str, Any]:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return row


def _scripts(stack: Stack) -> tuple[float, float]:
    """Return how many scripts Redis has run, and for how many seconds."""
    with redis.Redis.from_url(stack.redis_url) as cache:
        statistics = cache.info("commandstats")
    kept = [statistics[name] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in statistics]
    return sum(entry["calls"] for entry in kept), sum(entry["usec"] for entry in kept) / 1e6


def show_footprint(console: Console, cost: Footprint) -> None:
    """Print what an order costs Postgres and Redis."""
    costs = Table(title="What a market order costs the parts it passes")
    costs.add_column("measured")
    costs.add_column("an order", justify="right")
    costs.add_column("how", style="dim")
    for row in (
        ("statements", f"{cost.statements:.1f}", "the engine's, pg_stat_statements; recovery and the watch included"),
        ("commits that write", f"{cost.commits:.1f}", "statements that wrote to the log"),
        ("time in Postgres", f"{cost.database_seconds * 1000:.2f} ms", "its execution, without waiting for the disk"),
        ("log (WAL)", f"{cost.log_bytes / 1000:.1f} kB", f"pg_stat_wal; {cost.log_pages:.1f} whole pages in it"),
        ("Redis scripts", f"{cost.scripts:.1f}", f"{cost.script_seconds * 1e6:,.0f} µs of its one thread"),
        *(
            (
                f"`{name}`: rows",
                f"{kept.rows:.1f}",
                f"{kept.row:,.0f} bytes each; {kept.disk:,.0f} on pages and {kept.indexes:,.0f} in indexes",
            )
            for name, kept in cost.tables.items()
        ),
        ("on disk in all", f"{cost.disk_bytes / 1000:.1f} kB", "pages are as full as right after the insert"),
        ("a page of a list", f"{cost.list_seconds * 1000:.2f} ms", "time in Postgres for GET /api/orders, 100 orders"),
    ):
        costs.add_row(*row)
    console.print(costs)

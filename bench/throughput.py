"""How many market orders a minute their slots carry, and how long the parts of it take.

All orders are posted through the front door as fast as it takes them. A sample of them is watched on a WebSocket,
as clients would; the rest is read from Postgres afterwards, whose clock all processes on this machine share.
"""

import asyncio
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import aiohttp
import psycopg
from rich.console import Console
from rich.table import Table

from bench.figures import percentiles
from chalicelib.config import PRIORITY_SLOTS
from infra.cloud import Target
from infra.local.stack import STAGE, Stack

ORDER = {"userId": "bench", "orderType": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": 1.5}
EXECUTING_AT_ONCE = 10
"""Setting of the stack that is measured."""
POSTS_IN_FLIGHT = 8
WATCHED_EVERY = 5
DEADLINE_SECONDS = 120.0
DURATION = re.compile(r"\tDuration: (\d+) ms")

_ENDED = """
    -- bench
    SELECT count(*) FILTER (WHERE status = 'confirmed'), count(*) FILTER (WHERE status = 'failed'),
           extract(epoch FROM max(updated_at))
    FROM orders WHERE id = ANY(%s)
"""
_LANDED = """
    SELECT orders.id::text, extract(epoch FROM lands_at)::float8
    FROM orders JOIN simulated_transactions USING (tx_hash) WHERE orders.id = ANY(%s)
"""
# Every statement is a round trip of its own. What stands for the chain is not the engine's; on a real one it is RPC.
_ROUND_TRIPS = """
    SELECT coalesce(sum(calls) FILTER (WHERE query !~ 'simulated_'), 0)::integer,
           coalesce(sum(calls) FILTER (WHERE query ~ 'simulated_'), 0)::integer
    FROM pg_stat_statements
    WHERE query ~ '(orders|order_events|swaps|simulated_)' AND query !~ 'bench' AND dbid = (
        SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of a function: when it ended, in Unix seconds, and how many of them it took."""

    ended: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one run measured; times in seconds."""

    orders: int
    confirmed: int
    failed: int
    elapsed: float
    execute_times: Sequence[float]
    post_times: Sequence[float]
    message_delays: Sequence[float]
    """From a swap's landing to the ``confirmed`` message at a client, for the watched orders."""
    round_trips: tuple[int, int]
    """Statements the engine ran, and statements that stand for calls to the chain."""
    slots: int

    @property
    def confirmed_per_minute(self) -> float:
        """Confirmed orders a minute, from the first POST to the last confirmation."""
        return self.confirmed / self.elapsed * 60

    @property
    def slot_limit_per_minute(self) -> float:
        """What the slots could carry if they were never idle."""
        return self.slots / mean(self.execute_times) * 60


def measure_throughput(stack: Stack, orders: int) -> Figures:
    """Place ``orders`` orders at once and wait for the end of each.

    Raises:
        TimeoutError: not all of them ended in time.
    """
    return asyncio.run(_measure(stack, orders))


async def _measure(stack: Stack, orders: int) -> Figures:
    post_times: list[float] = []
    watchers: list[asyncio.Task[tuple[str, float]]] = []
    ids: list[str] = []
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        await connection.execute("SELECT pg_stat_statements_reset()")
    gate = asyncio.Semaphore(POSTS_IN_FLIGHT)
    async with aiohttp.ClientSession() as client:

        async def place(number: int) -> None:
            async with gate:
                begun = time.perf_counter()
                async with client.post(f"{stack.url}/api/orders/execute", json=ORDER) as answer:
                    answer.raise_for_status()
                    order_id = (await answer.json())["orderId"]
                post_times.append(time.perf_counter() - begun)
            ids.append(order_id)
            if number % WATCHED_EVERY == 0:
                url = f"{stack.websocket_url}?orderId={order_id}"
                watchers.append(asyncio.create_task(_hear_confirmation(client, url, order_id)))

        started = time.time()
        await asyncio.gather(*(place(number) for number in range(orders)))
        confirmed, failed, ended = await _wait_for_all(stack.database_url, ids)
        heard = dict(await asyncio.gather(*watchers))
        round_trips = await _round_trips(stack.database_url)
    landed = await landed_at(stack.database_url, ids)
    return Figures(
        orders=orders,
        confirmed=confirmed,
        failed=failed,
        elapsed=ended - started,
        execute_times=[call.seconds for call in calls_of(stack, stack.outputs["ExecuteOrderFunction"], started)],
        post_times=post_times,
        message_delays=[at - landed[order_id] for order_id, at in heard.items() if order_id in landed],
        round_trips=round_trips,
        slots=EXECUTING_AT_ONCE - PRIORITY_SLOTS,
    )


async def _hear_confirmation(client: aiohttp.ClientSession, url: str, order_id: str) -> tuple[str, float]:
    """Watch an order as its client would; return when its last message came."""
    at = 0.0
    async with client.ws_connect(url) as socket:
        async for message in socket:
            if json.loads(message.data)["event"] == "confirmed":
                at = time.time()
    return order_id, at


async def _wait_for_all(database_url: str, ids: list[str]) -> tuple[int, int, float]:
    """Wait until every order has ended; return how many confirmed, how many failed, and when the last one did."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    confirmed = failed = 0
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = await (await connection.execute(_ENDED, (ids,))).fetchone()
            assert row is not None
            confirmed, failed, ended = row
            if confirmed + failed == len(ids):
                return confirmed, failed, float(ended)
            await asyncio.sleep(0.25)
    raise TimeoutError(f"{confirmed} of {len(ids)} orders confirmed and {failed} failed in {DEADLINE_SECONDS:.0f} s")


async def landed_at(database_url: str, ids: list[str]) -> dict[str, float]:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        rows = await (await connection.execute(_LANDED, (ids,))).fetchall()
    return dict(rows)


async def _round_trips(database_url: str) -> tuple[int, int]:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        row = await (await connection.execute(_ROUND_TRIPS)).fetchone()
        assert row is not None
        return row[0], row[1]


def calls_of(stack: Stack, function: str, since: float) -> list[Call]:
    """Return the calls of a function that have ended since then, as the emulated Lambda reports them.

    All functions write into one log group, and a report does not say of which it is; but each stream is one's own, and
    the engine's lines in it do.
    """
    streams: dict[str, list[dict[str, Any]]] = {}
    for event in log_events(stack, since):
        streams.setdefault(event["logStreamName"], []).append(event)
    return [
        Call(ended=event["timestamp"] / 1000, seconds=int(report[1]) / 1000)
        for events in streams.values()
        if any(f'"function_name":"{function}"' in event["message"] for event in events)
        for event in events
        if (report := DURATION.search(event["message"]))
    ]


def log_events(stack: Stack, since: float, pattern: str = "") -> Iterator[dict[str, Any]]:
    """Return what the functions have logged since then, in Unix seconds, where it has the pattern in it."""
    pages = (
        cloud_client(stack, "logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=stack.outputs["LogGroup"], filterPattern=pattern, startTime=int(since * 1000))
    )
    for page in pages:
        yield from page["events"]


def cloud_client(stack: Stack, service: str) -> Any:
    """Open a client of the emulated AWS; credentials from this process's environment would lead to another account."""
    return Target(stage=STAGE, endpoint_url=stack.aws_endpoint_url, environment={}).client(service)


def show(console: Console, figures: Figures, package_megabytes: float) -> None:
    """Print the figures as a table."""
    post_p50, post_p99 = percentiles(figures.post_times)
    message_p50, message_p99 = percentiles(figures.message_delays)
    share = figures.confirmed_per_minute / figures.slot_limit_per_minute
    table = Table(title=f"{figures.orders} market orders at once, documented delays, {figures.slots} slots")
    table.add_column("measured")
    table.add_column("value", justify="right")
    table.add_column("how", style="dim")
    watched = f"for {len(figures.message_delays)} watched orders"
    for row in (
        ("confirmed / failed", f"{figures.confirmed} / {figures.failed}", "in Postgres"),
        ("confirmed a minute", f"{figures.confirmed_per_minute:,.0f}", "first POST to last confirmation"),
        ("mean time in a slot", f"{mean(figures.execute_times) * 1000:,.0f} ms", "execute_order, as Lambda bills it"),
        ("share of the slot limit", f"{share:.0%}", f"of {figures.slot_limit_per_minute:,.0f} a minute"),
        ("POST p50 / p99", f"{post_p50:,.0f} / {post_p99:,.0f} ms", f"{POSTS_IN_FLIGHT} at a time"),
        ("landing to message p50 / p99", f"{message_p50:,.0f} / {message_p99:,.0f} ms", watched),
        (
            "database round trips an order",
            f"{figures.round_trips[0] / figures.orders:.1f}",
            f"and {figures.round_trips[1] / figures.orders:.1f} for the simulated chain",
        ),
        ("Lambda package", f"{package_megabytes:.1f} MB", "zipped"),
    ):
        table.add_row(*row)
    console.print(table)

"""How orders that wait follow the market: one after another, and ten thousand at once.

Orders come in through the front door or, where there are too many, as rows that look like it. The market is moved
where operators move it, in the table ``simulated_market``. What happened when is read from Postgres, from the queue
and from the market watch's log, whose clock all processes on this machine share.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import aiohttp
import psycopg
from rich.console import Console

from bench.figures import judged, milliseconds, percentiles, table_with_goals
from bench.throughput import ORDER, cloud_client, log_events
from infra.local.stack import Stack

PAIR = "SOL/USDC"
START_PRICE = Decimal(150)
LEVELS = 60
HIGHEST_LIMIT = Decimal(140)
LEVEL_STEP = Decimal("0.94")
BELOW_LEVEL = Decimal("1.025")
"""A venue's net price for a buy is 0.972 to 1.023 times the base price, and wobbles in between. So a base price that
lies this factor below a level is across that level, and across no other."""
GAP_SECONDS = (0.5, 2.5)
"""Between two moves: several ticks of the market watch, so that each comes at any moment between two of them."""
CROSSING_GOAL = 1.5
LOG_SECONDS = 90.0
"""How long the market watch's log may take: the emulated Lambda writes it when a watch ends, after 65 s."""

BURST = 10_000
BURST_PRICE = Decimal(120)
BURST_GOAL = 10.0
BURST_DEADLINE = 120.0
CLIENT_INTERVAL = 0.5
CLIENT_SECONDS = 10.0
"""How long market orders come in before the burst; after it they go on for twice as long."""
POLL_SECONDS = 0.25
END_SECONDS = 60.0

_STEER = """
    INSERT INTO simulated_market (pair, base_price) VALUES (%s, %s)
    ON CONFLICT (pair) DO UPDATE SET base_price = EXCLUDED.base_price, walk = 0, set_at = now()
"""
UNSTEER = "DELETE FROM simulated_market"
_STILL_TO_WAIT = "SELECT count(*) FROM orders WHERE id = ANY(%s::uuid[]) AND waits_for IS NULL"
UNFINISHED = """
    SELECT count(*) FROM orders
    WHERE id = ANY(%s::uuid[]) AND status NOT IN ('confirmed', 'failed', 'cancelled', 'expired')
"""
_FIRST_TIMES = """
    SELECT order_id::text, extract(epoch FROM min(created_at))::float8
    FROM order_events
    WHERE order_id = ANY(%s::uuid[]) AND event = %s
    GROUP BY order_id
"""
# Orders as they stand after their first look at a market of 150.
FILL_BOOK = """
    WITH accepted AS (
        INSERT INTO orders (
            id, user_id, request_digest, order_type, side, token_in, token_out, amount_in, slippage, limit_price,
            status, seq, max_retries, waits_for, wakes_when, wake_price
        )
        SELECT gen_random_uuid(), %(user)s, encode(sha256(n::text::bytea), 'hex'), 'limit', 'buy', 'SOL', 'USDC', 0.1,
               0.01, 140, 'pending', 2, 3, 'price', 'at_or_below', 140 - n * 0.00001
        FROM generate_series(1, %(orders)s) AS n
        RETURNING *
    ), event AS (
        INSERT INTO order_events (order_id, seq, event, status, details, created_at)
        SELECT id, 1, 'pending', 'pending', jsonb_build_object(
                   'orderType', order_type, 'side', side, 'tokenIn', token_in, 'tokenOut', token_out,
                   'amount', amount_in, 'slippageTolerance', slippage, 'limitPrice', limit_price), created_at
        FROM accepted
        UNION ALL
        SELECT id, 2, 'waiting', 'pending', jsonb_build_object('waitingFor', jsonb_build_object(
                   'limitPrice', limit_price, 'netPrice', 150, 'venue', 'raydium')), updated_at
        FROM accepted
    )
    SELECT id::text FROM accepted
"""
# A seq of 3 is the event ``triggered``; whatever is beyond has been received from the queue.
_BURST_PROGRESS = """
    SELECT count(*) FILTER (WHERE user_id = 'burst' AND seq > 2), count(*) FILTER (WHERE user_id = 'burst' AND seq > 3),
           count(*) FILTER (WHERE user_id <> 'burst' AND seq = 1)
    FROM orders
"""


@dataclass(frozen=True, kw_only=True)
class CrossingFigures:
    """From the commit of a price to what it led to for the one order whose level it crossed; in seconds."""

    triggered: Sequence[float]
    """To the ``triggered`` event."""
    queued: Sequence[float]
    """To the market watch's announcement, which follows the queueing."""
    routed: Sequence[float]
    """To the ``routing`` event, which follows two quotes of 0.2 to 0.4 s."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A market order that a client placed."""

    order_id: str
    at: float
    post_seconds: float


@dataclass(frozen=True, kw_only=True)
class Flow:
    """How market orders fared during a part of the burst's run; times in seconds."""

    placed: int
    confirmed: int
    post_times: Sequence[float]
    confirm_times: Sequence[float]
    """From the answer's order to its ``confirmed`` event, for those confirmed."""


@dataclass(frozen=True, kw_only=True)
class BurstFigures:
    """What became of orders that one price reached; in seconds since that price."""

    orders: int
    first_triggered: float
    last_triggered: float
    last_queued: float
    executed_meanwhile: int
    """How many had been received from the queue when the measurement ended."""
    lasted: float
    """How long that was after the price."""
    flow: dict[str, Flow]
    """Market orders placed before, during and after the queueing."""


def measure_crossing(stack: Stack, levels: int = LEVELS) -> CrossingFigures:
    """Let orders wait at a level each, move the market across one level after another, and see when each follows.

    Raises:
        TimeoutError: an order did not begin to wait, or did not end.
    """
    return asyncio.run(_measure_crossing(stack, levels))


def measure_burst(stack: Stack, orders: int = BURST) -> BurstFigures:
    """Have one price reach ``orders`` orders while a client goes on placing market orders.

    Raises:
        TimeoutError: not all were queued, or not all market orders ended.
    """
    return asyncio.run(_measure_burst(stack, orders))


async def _measure_crossing(stack: Stack, levels: int) -> CrossingFigures:
    limits = [round(HIGHEST_LIMIT * LEVEL_STEP**level, 4) for level in range(levels)]
    async with connected(stack) as connection, aiohttp.ClientSession() as client:
        await steer(connection, START_PRICE)
        ids = [(await _place(client, stack, _limit_buy(limit))).order_id for limit in limits]
        await wait_for_none(connection, _STILL_TO_WAIT, ids)
        crossed: dict[str, float] = {}
        since = time.time()
        for order_id, limit in zip(ids, limits, strict=True):
            await asyncio.sleep(random.uniform(*GAP_SECONDS))
            await steer(connection, limit / BELOW_LEVEL)
            crossed[order_id] = time.time()
        await wait_for_none(connection, UNFINISHED, ids)
        await connection.execute(UNSTEER)
        triggered = await _first_times(connection, ids, "triggered")
        routed = await _first_times(connection, ids, "routing")
    queued = await _announced(stack, set(ids), since)
    return CrossingFigures(
        triggered=[triggered[order_id] - at for order_id, at in crossed.items()],
        queued=[queued[order_id] - at for order_id, at in crossed.items()],
        routed=[routed[order_id] - at for order_id, at in crossed.items()],
    )


async def _measure_burst(stack: Stack, orders: int) -> BurstFigures:
    async with connected(stack) as connection, aiohttp.ClientSession() as client:
        await steer(connection, START_PRICE)
        rows = await (await connection.execute(FILL_BOOK, {"orders": orders, "user": "burst"})).fetchall()
        ids = [row[0] for row in rows]
        placed: list[Placed] = []
        flow = asyncio.create_task(_keep_placing(client, stack, placed))
        await asyncio.sleep(CLIENT_SECONDS)
        await steer(connection, BURST_PRICE)
        crossed_at = time.time()
        queued_at = await _wait_until_queued(connection, stack, orders)
        await asyncio.sleep(CLIENT_SECONDS * 2)
        flow.cancel()
        with suppress(asyncio.CancelledError):
            await flow
        ended_at = time.time()
        _, executed, _ = await _burst_progress(connection)
        with suppress(TimeoutError):
            await wait_for_none(connection, UNFINISHED, [order.order_id for order in placed])
        triggered = await _first_times(connection, ids, "triggered")
        confirmed = await _first_times(connection, [order.order_id for order in placed], "confirmed")
    return BurstFigures(
        orders=orders,
        first_triggered=min(triggered.values()) - crossed_at,
        last_triggered=max(triggered.values()) - crossed_at,
        last_queued=queued_at - crossed_at,
        executed_meanwhile=executed,
        lasted=ended_at - crossed_at,
        flow={
            "before": _flow([order for order in placed if order.at < crossed_at], confirmed),
            "during": _flow([order for order in placed if crossed_at <= order.at < queued_at], confirmed),
            "after": _flow([order for order in placed if order.at >= queued_at], confirmed),
        },
    )


def _limit_buy(limit: Decimal) -> dict[str, Any]:
    return {**ORDER, "orderType": "limit", "side": "buy", "amount": 1, "limitPrice": str(limit)}


@asynccontextmanager
async def connected(stack: Stack) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection:
        yield connection


async def steer(connection: psycopg.AsyncConnection[Any], base_price: Decimal) -> None:
    await connection.execute(_STEER, (PAIR, base_price))


async def _place(client: aiohttp.ClientSession, stack: Stack, order: dict[str, Any]) -> Placed:
    at, begun = time.time(), time.perf_counter()
    async with client.post(f"{stack.url}/api/orders/execute", json=order) as answer:
        answer.raise_for_status()
        order_id = (await answer.json())["orderId"]
    return Placed(order_id=order_id, at=at, post_seconds=time.perf_counter() - begun)


async def _keep_placing(client: aiohttp.ClientSession, stack: Stack, placed: list[Placed]) -> None:
    """Place market orders at a steady pace until cancelled, however long an answer takes."""

    async def place() -> None:
        placed.append(await _place(client, stack, ORDER))

    async with asyncio.TaskGroup() as posts:
        while True:
            posts.create_task(place())
            await asyncio.sleep(CLIENT_INTERVAL)


async def wait_for_none(connection: psycopg.AsyncConnection[Any], count: str, ids: Sequence[str]) -> None:
    left = len(ids)
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        row = await (await connection.execute(count, (list(ids),))).fetchone()
        assert row is not None
        left = row[0]
        if left == 0:
            return
        await asyncio.sleep(POLL_SECONDS)
    raise TimeoutError(f"{left} of {len(ids)} orders did not get where they should in {END_SECONDS:.0f} s")


async def _wait_until_queued(connection: psycopg.AsyncConnection[Any], stack: Stack, orders: int) -> float:
    """Wait until every order of the burst was put on the queue; return when.

    Those on the queue are counted there, and those that were received from it by the event that followed. A message
    that is being worked on may count twice: at most eight, less than one request to SQS carries.
    """
    sqs = cloud_client(stack, "sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
    names.append("ApproximateNumberOfMessagesNotVisible")
    deadline = time.monotonic() + BURST_DEADLINE
    while time.monotonic() < deadline:
        at = time.time()
        answer = await asyncio.to_thread(
            sqs.get_queue_attributes, QueueUrl=stack.outputs["OrdersQueueUrl"], AttributeNames=names
        )
        messages = sum(map(int, answer["Attributes"].values()))
        triggered, received, others = await _burst_progress(connection)
        if triggered == orders and messages - others + received >= orders:
            return at
        await asyncio.sleep(POLL_SECONDS)
    raise TimeoutError(f"{triggered} of {orders} orders triggered, {messages} on the queue in {BURST_DEADLINE:.0f} s")


async def _burst_progress(connection: psycopg.AsyncConnection[Any]) -> tuple[int, int, int]:
    """Return how many of the burst were triggered, how many received, and how many other orders may be queued."""
    row = await (await connection.execute(_BURST_PROGRESS)).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


async def _first_times(connection: psycopg.AsyncConnection[Any], ids: Sequence[str], event: str) -> dict[str, float]:
    rows = await (await connection.execute(_FIRST_TIMES, (list(ids), event))).fetchall()
    return dict(rows)


async def _announced(stack: Stack, ids: set[str], since: float) -> dict[str, float]:
    """Return when the market watch announced each order, which it does once the order is on its queue."""
    deadline = time.monotonic() + LOG_SECONDS
    while time.monotonic() < deadline:
        lines = await asyncio.to_thread(_watch_log, stack, since)
        announced = {
            line["orderId"]: datetime.fromisoformat(line["timestamp"]).timestamp()
            for line in lines
            if line.get("step") == "triggered" and line["orderId"] in ids
        }
        if len(announced) == len(ids):
            return announced
        await asyncio.sleep(2)
    raise TimeoutError(f"the market watch's log names {len(announced)} of {len(ids)} orders")


def _watch_log(stack: Stack, since: float) -> list[dict[str, Any]]:
    """Return what the market watch has logged about triggered orders."""
    lines = [json.loads(event["message"]) for event in log_events(stack, since, '"order triggered"')]
    return [line for line in lines if line.get("function_name") == stack.outputs["WatchMarketFunction"]]


def _flow(placed: Sequence[Placed], confirmed: dict[str, float]) -> Flow:
    return Flow(
        placed=len(placed),
        confirmed=sum(order.order_id in confirmed for order in placed),
        post_times=[order.post_seconds for order in placed],
        confirm_times=[confirmed[order.order_id] - order.at for order in placed if order.order_id in confirmed],
    )


def show_crossing(console: Console, figures: CrossingFigures) -> None:
    """Print the figures as a table."""
    table = table_with_goals(f"{len(figures.queued)} limit orders, each crossed at a random moment", "p50 / p99 / max")
    _, p99 = percentiles(figures.queued)
    met = judged(f"p99 ≤ {CROSSING_GOAL} s", p99 <= CROSSING_GOAL * 1000)
    table.add_row("price committed to order triggered", milliseconds(figures.triggered), "", "the event's time")
    table.add_row("price committed to order queued", milliseconds(figures.queued), met, "announced after queueing")
    table.add_row("price committed to order routed", milliseconds(figures.routed), "", "quotes take 0.2 to 0.4 s of it")
    console.print(table)


def show_burst(console: Console, figures: BurstFigures) -> None:
    """Print the figures as a table."""
    table = table_with_goals(f"{figures.orders:,} waiting orders reached by one price", "value")
    met = judged(f"≤ {BURST_GOAL:.0f} s", figures.last_queued <= BURST_GOAL)
    table.add_row("first order triggered", f"{figures.first_triggered:.2f} s", "", "after the price was committed")
    table.add_row("last order triggered", f"{figures.last_triggered:.2f} s", "", "its event's time")
    table.add_row("last order queued", f"{figures.last_queued:.2f} s", met, "by the queue's own count")
    executed = f"{figures.executed_meanwhile:,}"
    table.add_row("executed meanwhile", executed, "", f"received from the queue {figures.lasted:.0f} s after the price")
    table.add_section()
    for part, flow in figures.flow.items():
        if not flow.placed:
            continue
        goal = judged("all confirmed", flow.confirmed == flow.placed)
        table.add_row(f"market orders {part}: confirmed", f"{flow.confirmed} of {flow.placed}", goal, "2 a second")
        table.add_row(f"market orders {part}: POST", milliseconds(flow.post_times), "", "p50 / p99 / max")
        if flow.confirm_times:
            confirm_times = milliseconds(flow.confirm_times)
            table.add_row(f"market orders {part}: to confirmed", confirm_times, "", "p50 / p99 / max, from the POST")
    console.print(table)

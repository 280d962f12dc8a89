"""How long a client waits: for the answer to its POST, for each message, and for the end.

Twice, because an emulator on a laptop is slower than what it emulates. In one process, with the handlers called
directly on a real Postgres and Redis (see ``driver``): what the engine itself takes. And from outside, as a client of
the whole emulated stack with the documented delays: with a few orders at a time, which do not wait for each other.
"""

import asyncio
import json
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import aiohttp
from rich.console import Console

from bench.driver import ORDER
from bench.figures import judged, milliseconds, percentiles, table_with_goals
from bench.overhead import driver, start_driver
from bench.report import Chart, Section, draw_shares, shown
from bench.servers import own_servers
from bench.throughput import landed_at
from infra.local.stack import Stack

POSTS = 3000
WATCHED = 300
WARM_UP = 50
CLIENT_ORDERS = 40
CLIENTS = 2
POST_GOALS = 5.0, 15.0
"""Milliseconds, at the median and the 99th percentile."""
LANDING_GOAL = 400.0
"""Milliseconds, at the median."""


@dataclass(frozen=True, kw_only=True)
class LatencyFigures:
    """What one run measured; times in seconds."""

    post_times: Sequence[float]
    """The handler's, in one process: validated, stored, announced, queued."""
    push_delays: Sequence[float]
    """From a step's commit to its post to API Gateway, in one process."""
    message_delays: Sequence[float] = ()
    """From a step's time, which Postgres takes when the statement begins, to its message at a client of the stack."""
    landing_delays: Sequence[float] = ()
    """From a swap's landing to the ``confirmed`` message at a client of the stack."""


def measure_handlers() -> LatencyFigures:
    """Measure in one process, while nothing else runs.

    Raises:
        StackError: Postgres or Redis does not start.
    """
    with own_servers() as servers:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, spawn, initializer=start_driver, initargs=(servers.settings(),)) as pool:
            post_times = pool.submit(_time_posts, POSTS).result()
            push_delays = pool.submit(_time_pushes, WATCHED).result()
    return LatencyFigures(post_times=post_times, push_delays=push_delays)


def measure_clients(stack: Stack, figures: LatencyFigures) -> LatencyFigures:
    """Return the figures with what clients of a stack measured."""
    client = asyncio.run(_watch_orders(stack))
    return replace(figures, message_delays=client.message_delays, landing_delays=client.landing_delays)


def _time_posts(orders: int) -> list[float]:
    engine = driver()
    engine.process(WARM_UP)
    times = []
    for _ in range(orders):
        begun = time.perf_counter()
        engine.place()
        times.append(time.perf_counter() - begun)
    engine.finish()
    return times


def _time_pushes(orders: int) -> list[float]:
    """Watch orders, one after the other; what is replayed to a new viewer is history, and not measured."""
    engine = driver()
    for _ in range(orders):
        engine.watch(engine.place())
        replayed = len(engine.connections.delays)
        engine.finish()
        del engine.connections.delays[replayed - 1 : replayed]
    return engine.connections.delays


@dataclass
class _Client:
    """What a client of the stack has seen."""

    message_delays: list[float] = field(default_factory=list)
    confirmed: dict[str, float] = field(default_factory=dict)
    landing_delays: list[float] = field(default_factory=list)


async def _watch_orders(stack: Stack) -> _Client:
    seen = _Client()
    gate = asyncio.Semaphore(CLIENTS)
    async with aiohttp.ClientSession() as client:

        async def place_and_watch() -> None:
            async with gate:
                async with client.post(f"{stack.url}/api/orders/execute", json=ORDER) as answer:
                    answer.raise_for_status()
                    order_id = (await answer.json())["orderId"]
                await _watch(client, f"{stack.websocket_url}?orderId={order_id}", order_id, seen)

        await asyncio.gather(*(place_and_watch() for _ in range(CLIENT_ORDERS)))
    landed = await landed_at(stack.database_url, list(seen.confirmed))
    seen.landing_delays = [at - landed[order_id] for order_id, at in seen.confirmed.items()]
    return seen


async def _watch(client: aiohttp.ClientSession, url: str, order_id: str, seen: _Client) -> None:
    """Hear an order to its end; what happened before the connection was open is history, and not measured."""
    async with client.ws_connect(url) as socket:
        opened = time.time()
        async for message in socket:
            now, event = time.time(), json.loads(message.data)
            happened = datetime.fromisoformat(event["timestamp"]).timestamp()
            if happened >= opened:
                seen.message_delays.append(now - happened)
            if event["event"] == "confirmed":
                seen.confirmed[order_id] = now


def show_latency(console: Console, figures: LatencyFigures) -> None:
    """Print the figures as a table."""
    table = table_with_goals("How long a client waits", "p50 / p99 / max")
    for name, times, goal, met, how in _rows(figures):
        table.add_row(name, milliseconds(times), judged(goal, met) if goal else "", how)
    console.print(table)


def report(figures: LatencyFigures) -> Section:
    """Return what the page of benchmarks says of latency."""
    text = f"""\
In one process: {len(figures.post_times):,} POSTs, one after the other, to the handler that API Gateway calls, on a real
Postgres and Redis, with SQS in memory; and the steps of {WATCHED} orders with one viewer each, from the commit to the
post to API Gateway. Through the emulated stack: {len(figures.landing_delays)} orders, {CLIENTS} at a time, with the
documented delays, watched by clients on WebSockets; these times hold the emulator's own.

{shown(lambda console: show_latency(console, figures))}"""
    return Section("Latency", text, (Chart("latency", lambda axes: _draw(axes, figures)),))


def _rows(figures: LatencyFigures) -> list[tuple[str, Sequence[float], str, bool, str]]:
    """Return what is shown of each: its name, times, goal, whether that was met, and how it was measured."""
    p50, p99 = percentiles(figures.post_times)
    post_goal = f"p50 ≤ {POST_GOALS[0]:.0f} ms, p99 ≤ {POST_GOALS[1]:.0f} ms"
    post_met = p50 <= POST_GOALS[0] and p99 <= POST_GOALS[1]
    rows = [
        ("POST, in the handler", figures.post_times, post_goal, post_met, "validated, stored, announced, queued"),
        ("commit to post, in one process", figures.push_delays, "", True, "to one viewer; the network is not in it"),
    ]
    if figures.message_delays:
        how = "a client of the stack; the commit is in it"
        rows.append(("step to message", figures.message_delays, "", True, how))
    if figures.landing_delays:
        landing_met = percentiles(figures.landing_delays)[0] <= LANDING_GOAL
        goal = f"p50 ≤ {LANDING_GOAL:.0f} ms"
        rows.append(("landing to confirmed message", figures.landing_delays, goal, landing_met, "the same clients"))
    return rows


def _draw(axes: Any, figures: LatencyFigures) -> None:
    """Draw which share of each took no longer than how long."""
    for name, times, *_ in _rows(figures):
        draw_shares(axes, [seconds * 1000 for seconds in times], label=name)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds")
    axes.set_ylabel("share")
    axes.legend()

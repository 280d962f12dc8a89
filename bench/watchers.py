"""What it costs that many watch: one order with up to a thousand viewers, and a thousand orders with one each.

A thousand WebSockets are opened to the stack's front door and stay open. Who of them watches what is written where the
engine keeps it, so that one connection after another need not subscribe; whatever they hear comes to them from the
stack, by the way it always takes.

How long a slot is held is measured in a process that executes orders with the engine's own executor, on the stack's
Postgres, Redis, queues and API Gateway, just as ``execute_order`` does there. It quotes without a delay, so that two
executions differ by little but their viewers; whatever those cost beyond an execution that nobody watches is theirs.
"""

import asyncio
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import psutil
import psycopg
import redis
from rich.console import Console
from rich.table import Table

from bench.figures import judged, milliseconds, table_with_goals
from bench.report import Chart, Section, draw_shares, shown
from bench.throughput import ORDER, cloud_client
from bench.waiting import BURST_PRICE, FILL_BOOK, START_PRICE, UNFINISHED, UNSTEER, connected, steer, wait_for_none
from chalicelib.clock import Clock
from chalicelib.config import load_settings
from chalicelib.counters import OPEN_CONNECTIONS
from chalicelib.engine import Engine
from chalicelib.exact_json import decode_json, encode_json
from chalicelib.resources.sqs import Queue
from chalicelib.streaming.publisher import CROWD_SERVERS, PUSH_THREADS, SERVED_BY_PUBLISHER
from chalicelib.streaming.viewers import MOST_TAKEN
from chalicelib.web.requests import read_order
from infra.local.stack import Stack

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = TypeVar("Result")

WATCHERS = 1000
AUDIENCES = (0, 1, 2, 8)
"""Besides all: how many watch one order."""
ROUNDS = 15
CROWD_ROUNDS = 2
WARM_UP = 3
SLOT_GOAL = 0.05
"""How long an order's viewers may hold the slot in which it executes, over all that the execution publishes."""
OPENING_AT_ONCE = 8
HEARD_DEADLINE = 180.0
BOOKED = 2
"""The ``seq`` of an order that has gone into the book."""
OF_EXECUTION = ("routing", "building", "submitted")
OF_ONE_ORDER = (*OF_EXECUTION, "confirmed")
OF_A_WAITING_ORDER = ("triggered", *OF_ONE_ORDER)


@dataclass(frozen=True, kw_only=True)
class SlotTimes:
    """How long orders with so many viewers were executed; in seconds."""

    viewers: int
    executing: Sequence[float]
    serving: Sequence[float]
    """How long a process that serves all viewers needs for one event: a slot would be held by three."""


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """What a crowd heard of one order, or of an order each; in seconds."""

    orders: int
    viewers: int
    """Of each of the orders."""
    delays: Mapping[str, Sequence[float]]
    """From an event's commit to its message, by the event, for each message."""
    missing: int
    repeated: int
    disordered: int
    """Messages that came before another that they follow, or after a gap."""


@dataclass(frozen=True, kw_only=True)
class WatcherFigures:
    """What one run measured; in seconds and bytes."""

    sockets: int
    opening: float
    slots: Sequence[SlotTimes]
    one_order: Crowd
    own_orders: Crowd
    memory: Mapping[str, int]
    """By how much each part has grown since there were no sockets, when all of them watched one order."""

    def held(self, times: SlotTimes) -> float:
        """Return how much longer a watched order holds its slot than one that nobody watches; medians."""
        alone = next(other for other in self.slots if other.viewers == 0)
        return median(times.executing) - median(alone.executing)


def measure_watchers(stack: Stack, watchers: int = WATCHERS) -> WatcherFigures:
    """Open so many sockets, and have them watch one order after another, then an order each.

    Raises:
        TimeoutError: not everybody heard everything in time.
    """
    settings = _settings_of(stack)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=_become_executor, initargs=(settings,)) as pool:
        return asyncio.run(_measure(stack, pool, watchers))


# --- The process that executes --------------------------------------------------------------------------------


def _settings_of(stack: Stack) -> dict[str, str]:
    """Return what the stack's ``execute_order`` has in its environment, but for the venues' delays."""
    function = stack.outputs["ExecuteOrderFunction"]
    configuration = cloud_client(stack, "lambda").get_function_configuration(FunctionName=function)
    variables: dict[str, str] = configuration["Environment"]["Variables"]
    emulated = {"AWS_ENDPOINT_URL": stack.aws_endpoint_url, "AWS_DEFAULT_REGION": "us-east-1"}
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    return {**variables, **emulated, **credentials, "MOCK_LATENCY": "0"}


def _become_executor(settings: Mapping[str, str]) -> None:
    """Give this process the settings of a function; what it logs is written, and read by nobody."""
    os.environ.update(settings)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _engine().prepare_to_swap()


class _Nowhere(Queue):
    """Takes orders that nobody but this process is to execute."""

    def send(self, message: object, delay: float = 0) -> None:
        pass


@cache
def _engine() -> Engine:
    engine = Engine(load_settings(os.environ), Clock())
    engine.order_queue = _Nowhere(engine.settings.orders_queue_url)
    return engine


def _place() -> str:
    """Place an order; return its id."""
    engine = _engine()
    values = decode_json(encode_json(ORDER))
    return engine.intake.place(read_order(values, now=engine.clock.now(), caller=None)).order_id


def _watch(order_ids: Sequence[str], connection_ids: Sequence[str], after_seq: int) -> None:
    """Have each of these connections watch the order in the same place, of which it has all up to ``after_seq``."""
    for order_id, connection_id in zip(order_ids, connection_ids, strict=True):
        _engine().viewers.add(order_id, connection_id, after_seq, replay=False)


def _serve(order_id: str) -> float:
    """Serve all viewers what there is; return how long that took."""
    begun = time.perf_counter()
    while (again := _engine().publisher.catch_up(order_id)) == 0:
        pass
    if again:  # a post was not answered: what the replay queue would see to
        _engine().publisher.catch_up_later(order_id)
    return time.perf_counter() - begun


def _execute(order_id: str) -> float:
    """Execute an order; return how long that held the slot."""
    begun = time.perf_counter()
    _engine().executor.execute(order_id)
    return time.perf_counter() - begun


# --- The sockets ----------------------------------------------------------------------------------------------


@dataclass
class Heard:
    """What came over the sockets."""

    arrivals: dict[tuple[str, str], dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    """(order, event) → the socket → when its message came."""
    committed: dict[tuple[str, str], float] = field(default_factory=dict)
    newest: dict[tuple[str, int], int] = field(default_factory=dict)
    """(order, socket) → the ``seq`` that it heard last."""
    repeated: Counter[str] = field(default_factory=Counter)
    """By the order."""
    disordered: Counter[str] = field(default_factory=Counter)

    def note(self, socket: int, text: str, at: float) -> None:
        message = json.loads(text)
        order_id, seq = message["orderId"], message["seq"]
        event, viewer = (order_id, message["event"]), (order_id, socket)
        if socket in self.arrivals[event]:
            self.repeated[order_id] += 1
            return
        self.disordered[order_id] += seq != self.newest.get(viewer, seq - 1) + 1
        self.newest[viewer] = seq
        self.committed[event] = datetime.fromisoformat(message["timestamp"]).timestamp()
        self.arrivals[event][socket] = at

    def crowd(self, order_ids: Sequence[str], events: Sequence[str], viewers: int) -> Crowd:
        """Return what was heard of these events of these orders, each of which had so many viewers."""
        delays: dict[str, list[float]] = {event: [] for event in events}
        for event in events:
            for order_id in order_ids:
                committed = self.committed.get((order_id, event), 0.0)
                delays[event] += [at - committed for at in self.arrivals[order_id, event].values()]
        return Crowd(
            orders=len(order_ids),
            viewers=viewers,
            delays=delays,
            missing=len(order_ids) * viewers * len(events) - sum(map(len, delays.values())),
            repeated=sum(self.repeated[order_id] for order_id in order_ids),
            disordered=sum(self.disordered[order_id] for order_id in order_ids),
        )

    async def wait(self, order_ids: Sequence[str], event: str, viewers: int) -> None:
        """Wait until each of these orders' viewers, so many of each, has heard an event.

        Raises:
            TimeoutError: somebody has not.
        """
        missing = 0
        deadline = time.monotonic() + HEARD_DEADLINE
        while time.monotonic() < deadline:
            missing = sum(viewers - len(self.arrivals[order_id, event]) for order_id in order_ids)
            if missing == 0:
                return
            await asyncio.sleep(0.1)
        raise TimeoutError(f"{missing} of “{event}” were not heard in {HEARD_DEADLINE:.0f} s")


class _Executions:
    """Orders that are placed, watched and executed in the process for that."""

    def __init__(self, pool: ProcessPoolExecutor, connection_ids: Sequence[str], heard: Heard) -> None:
        self._pool = pool
        self._connection_ids = connection_ids
        self._heard = heard
        self.executing: dict[int, list[float]] = defaultdict(list)
        self.serving: dict[int, list[float]] = defaultdict(list)

    async def call(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do some work in that process."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def place(self, viewers: int) -> str:
        """Place an order that so many watch, who have nothing of it yet."""
        order_id = await self.call(_place)
        await self.call(_watch, [order_id] * viewers, self._connection_ids[:viewers], 0)
        return order_id

    async def execute(self, order_id: str, viewers: int) -> None:
        """Have one process serve all viewers the order's first event; when they have it, execute the order."""
        self.serving[viewers].append(await self.call(_serve, order_id))
        await self._heard.wait([order_id], "pending", viewers)
        self.executing[viewers].append(await self.call(_execute, order_id))
        # So that what goes on for this one's viewers does not count as the next one's.
        await self._heard.wait([order_id], OF_EXECUTION[-1], viewers)

    def forget(self) -> None:
        """Let what was measured so far have been the warming up."""
        self.executing.clear()
        self.serving.clear()

    def times(self) -> list[SlotTimes]:
        return [
            SlotTimes(viewers=viewers, executing=executing, serving=self.serving[viewers])
            for viewers, executing in sorted(self.executing.items())
        ]


async def _measure(stack: Stack, pool: ProcessPoolExecutor, watchers: int) -> WatcherFigures:
    heard = Heard()
    async with AsyncExitStack() as cleanup:
        connection = await cleanup.enter_async_context(connected(stack))
        before, known = _memory(stack), _open_connections(stack)
        begun = time.perf_counter()
        await _open_sockets(cleanup, stack, watchers, heard)
        opening = time.perf_counter() - begun
        connection_ids = sorted(_open_connections(stack) - known)
        executions = _Executions(pool, connection_ids, heard)
        ids = []
        for number in range(WARM_UP + ROUNDS):
            if number == WARM_UP:
                executions.forget()
            for viewers in random.sample(AUDIENCES, len(AUDIENCES)):
                ids.append(await executions.place(viewers))
                await executions.execute(ids[-1], viewers)
        await wait_for_none(connection, UNFINISHED, ids)
        ids = []
        memory: dict[str, int] = {}
        for _ in range(CROWD_ROUNDS):
            ids.append(await executions.place(watchers))
            memory = memory or _growth(before, _memory(stack))
            await executions.execute(ids[-1], watchers)
            await heard.wait(ids, OF_ONE_ORDER[-1], watchers)
        one_order = heard.crowd(ids, OF_ONE_ORDER, watchers)
        ids = await _watch_own_orders(connection, executions, connection_ids)
        await heard.wait(ids, OF_A_WAITING_ORDER[-1], 1)
        await connection.execute(UNSTEER)
    return WatcherFigures(
        sockets=watchers,
        opening=opening,
        slots=executions.times(),
        one_order=one_order,
        own_orders=heard.crowd(ids, OF_A_WAITING_ORDER, 1),
        memory=memory,
    )


async def _watch_own_orders(
    connection: psycopg.AsyncConnection[Any], executions: _Executions, connection_ids: Sequence[str]
) -> list[str]:
    """Fill the book with an order for each socket, and have one price reach all of them."""
    await steer(connection, START_PRICE)
    rows = await connection.execute(FILL_BOOK, {"orders": len(connection_ids), "user": "watchers"})
    ids = [row[0] for row in await rows.fetchall()]
    await executions.call(_watch, ids, connection_ids, BOOKED)
    await steer(connection, BURST_PRICE)
    return ids


async def _open_sockets(cleanup: AsyncExitStack, stack: Stack, sockets: int, heard: Heard) -> None:
    """Open so many sockets, and note whatever comes over them until the clean-up."""
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    client = await cleanup.enter_async_context(session)
    gate = asyncio.Semaphore(OPENING_AT_ONCE)

    async def listen(number: int, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            heard.note(number, message.data, time.time())

    async def connect(number: int) -> None:
        async with gate:
            socket = await client.ws_connect(stack.websocket_url)
        listening = asyncio.create_task(listen(number, socket))
        cleanup.push_async_callback(socket.close)
        cleanup.callback(listening.cancel)

    await asyncio.gather(*(connect(number) for number in range(sockets)))


def _open_connections(stack: Stack) -> set[str]:
    with redis.Redis.from_url(stack.redis_url, decode_responses=True) as cache:
        return set(cache.zrange(OPEN_CONNECTIONS, 0, -1))


def _memory(stack: Stack) -> dict[str, int]:
    """Return what the parts of the stack hold, in bytes: Redis by its own count, of others what is resident."""
    emulator = psutil.Process(stack.services["emulator"].process.pid)
    with redis.Redis.from_url(stack.redis_url) as cache:
        held = int(cache.info("memory")["used_memory"])
    return {
        "Redis": held,
        "front door": psutil.Process(stack.services["door"].process.pid).memory_info().rss,
        "emulated AWS": emulator.memory_info().rss,
        "Lambda processes": sum(_resident(child) for child in emulator.children(recursive=True)),
    }


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _growth(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {part: size - before[part] for part, size in after.items()}


# --- What is shown --------------------------------------------------------------------------------------------


def show_watchers(console: Console, figures: WatcherFigures) -> None:
    """Print the figures as tables."""
    console.print(_slots(figures))
    console.print(_crowd(figures.one_order, f"One order, {figures.sockets:,} viewers"))
    console.print(_crowd(figures.own_orders, f"{figures.sockets:,} viewers, an order each"))
    console.print(_memory_of(figures))


def _slots(figures: WatcherFigures) -> Table:
    table = table_with_goals("How long an order's viewers hold its slot", "executed in", "held longer", "if it served")
    for times in figures.slots:
        held = figures.held(times)
        goal = judged(f"≤ {SLOT_GOAL * 1000:.0f} ms", held <= SLOT_GOAL) if times.viewers else ""
        longer = f"{held * 1000:+.1f} ms" if times.viewers else ""
        served = f"{median(times.serving) * 1000 * len(OF_EXECUTION):,.0f} ms" if times.viewers else ""
        count = f"{len(times.executing)} executions"
        viewers = "1 viewer" if times.viewers == 1 else f"{times.viewers:,} viewers"
        table.add_row(viewers, milliseconds(times.executing), longer, served, goal, count)
    return table


def _crowd(crowd: Crowd, title: str) -> Table:
    table = table_with_goals(title, "p50 / p99 / last")
    expected = crowd.orders * crowd.viewers * len(crowd.delays)
    heard = f"{expected - crowd.missing:,} of {expected:,}"
    table.add_row("messages heard", heard, judged("all", crowd.missing == 0), "on all sockets together")
    in_order = judged("none", crowd.disordered == 0)
    table.add_row("messages out of order, or after a gap", str(crowd.disordered), in_order, "by seq, on each socket")
    again = "may be where a post was not answered within a second, but arrived"
    table.add_row("messages that came twice", str(crowd.repeated), "", again)
    for event, delays in crowd.delays.items():
        table.add_row(f"“{event}”", milliseconds(delays), "", "from its commit to its message")
    return table


def _memory_of(figures: WatcherFigures) -> Table:
    table = table_with_goals(f"What {figures.sockets:,} sockets take that all watch one order", "in all", "a socket")
    for part, size in figures.memory.items():
        table.add_row(part, f"{size / 1e6:+.1f} MB", f"{size / figures.sockets / 1000:.1f} kB", "", "grown by")
    opened = f"{OPENING_AT_ONCE} at a time"
    table.add_row("opening them", f"{figures.opening:.1f} s", _ms(figures.opening / figures.sockets), "", opened)
    return table


def report(figures: WatcherFigures) -> Section:
    """Return what the page of benchmarks says of watchers."""
    many = figures.slots[-1]
    worst = max(figures.held(times) for times in figures.slots)
    text = f"""\
{figures.sockets:,} WebSockets are open to the front door of the laptop stack. None, some or all of them watch an order,
which is executed by the engine's executor on the stack's Postgres, Redis, queues and API Gateway, in a process of its
own and with quotes that take no time: what an execution takes longer than one that nobody watches is for its viewers.
By the medians that is {_ms(worst)} at the most. Were all viewers served from the slot, three events to each,
{many.viewers:,} would hold it for {_ms(median(many.serving) * len(OF_EXECUTION))}: three times what one process needed
in the same run to post one event to all of them, {PUSH_THREADS} at a time.

Whoever executes publishes its three steps together, when the swap has been sent, and posts to {SERVED_BY_PUBLISHER}
viewers at most. When there are more, it hands all of them on to the queue `replays`, from which up to {CROWD_SERVERS}
processes take {MOST_TAKEN} at a time.

What is heard is heard over the sockets. The orders of which each has a viewer wait for one price: one statement
triggers them and one process announces that; then they execute in the stack's slots, quotes and all. All of it, the
clients too, runs on this one machine, where one process of the emulator takes every post. What follows for AWS is
reckoned, not measured: {PUSH_THREADS} posts on their way, some 10 ms each, are at most 800 a second for a process and
less with a part of a processor, and below 4,000 for {CROWD_SERVERS} processes, of the 10,000 requests and posts a
second that an account has.

{shown(lambda console: show_watchers(console, figures))}"""
    return Section("Many watchers", text, (Chart("watchers", lambda axes: _draw(axes, figures)),))


def _draw(axes: "Axes", figures: WatcherFigures) -> None:
    """Draw which share of the messages had come after how long."""
    for crowd, name, style in ((figures.one_order, "one order", "-"), (figures.own_orders, "an order each", "--")):
        for event, delays in crowd.delays.items():
            draw_shares(axes, delays, label=f"{event}, {name}", linestyle=style)
    axes.set_xscale("log")
    axes.set_xlabel("seconds after the event's commit")
    axes.set_ylabel("share of its messages")
    axes.legend(frameon=False, fontsize=8)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"

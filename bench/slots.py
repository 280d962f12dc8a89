"""How many orders a minute a slot carries: two phases against the inline design, and one slot to twenty.

Both designs are functions of one stack and take their orders from the same queue, one after the other: the same
front door, store, router, venues and chain, with the same delays, the same emulated Lambda around them, and as many
slots. What differs is ``bench/inline.py``. All orders wait on the queue before the first slot is opened, so that what
is measured is what slots carry and not what accepting orders costs. All slots are for market orders here; as
deployed, two of ten are kept for snipers, and eight of ten carry what eight do here.

Only the middle of a run counts: what happens while slots fill, and while the last orders land, is left out.
"""

import asyncio
import io
import time
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression, mean
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from bench.figures import judged, table_with_goals
from bench.report import Chart, Section, shown
from bench.throughput import ORDER, POSTS_IN_FLIGHT, Call, calls_of, cloud_client
from chalicelib.venues.simulated.amm import QUOTE_SECONDS
from infra.local.stack import PROJECT, Stack

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDERS = 300
COMPARED = 10
"""In so many slots the two designs are compared."""
GROWTH = (1, 2, 5, 10, 20)
ORDERS_A_SLOT = 30
FEWEST_ORDERS = 60
WARM_UP_A_SLOT = 2
RATIO_GOAL = 7.0
SHARE_GOAL = 0.9
LEFT_OUT = 5
"""A run's first and last fifth are left out."""
INLINE = "inline-worker"
INLINE_SECONDS = 30
"""How long the inline function may run: a swap lands late where the machine is busy."""
FEWEST_CONCURRENT = 2
"""The least an event source may be limited to; reserved concurrency sets the limit below that."""
DEADLINE_SECONDS = 240.0
SAMPLE_SECONDS = 0.5
QUOTED_SECONDS = QUOTE_SECONDS[0] + (QUOTE_SECONDS[1] - QUOTE_SECONDS[0]) * 2 / 3
"""How long the slower of two quotes takes on average, each being evenly distributed."""
AT_WORK = ("user", "nice", "system", "irq", "softirq")
"""What processors do when they are neither idle nor taken away."""
LAMBDA, EMULATOR, MACHINE = "Lambda processes", "emulated AWS", "whole machine"

# An order that waits for a minute is taken for stopped, and would be queued a second time.
_LEAVE_ALONE = "UPDATE orders SET recovered_at = now() + interval '1 hour' WHERE id = ANY(%s::uuid[])"
_CONFIRMED = """
    SELECT extract(epoch FROM created_at)::float8
    FROM order_events
    WHERE order_id = ANY(%s::uuid[]) AND event = 'confirmed'
    ORDER BY created_at
"""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """How many seconds processors have worked until then, in all, by the part they worked for."""

    at: float
    seconds: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a number of slots did with orders that all waited when they were opened."""

    slots: int
    calls: Sequence[Call]
    """Each held a slot from its beginning to its end."""
    confirmed_at: Sequence[float]
    samples: Sequence[Sample]
    cores: int

    @property
    def confirmed_per_minute(self) -> float:
        return per_minute(self.confirmed_at)

    @property
    def slot_seconds(self) -> float:
        """How long an order holds its slot, on average."""
        return mean(call.seconds for call in self._middle_calls)

    @property
    def slot_limit(self) -> float:
        """Orders a minute if no slot were ever empty."""
        return self.slots / self.slot_seconds * 60

    @property
    def share(self) -> float:
        """What is confirmed, of what the slots could carry."""
        return self.confirmed_per_minute / self.slot_limit

    @property
    def empty_seconds(self) -> float:
        """For how long a slot is empty between two orders, while others wait for it."""
        between_orders = self.slots * 60 / per_minute([call.ended for call in self.calls])
        return max(between_orders - self.slot_seconds, 0.0)

    @property
    def cores_busy(self) -> dict[str, float]:
        """How many processors worked for each part at the same time, on average."""
        begun, ended = middle([call.ended for call in self.calls])
        first = max((sample for sample in self.samples if sample.at <= begun), key=lambda sample: sample.at)
        last = min((sample for sample in self.samples if sample.at >= ended), key=lambda sample: sample.at)
        lasted = last.at - first.at
        return {part: (seconds - first.seconds[part]) / lasted for part, seconds in last.seconds.items()}

    @property
    def busy(self) -> float:
        """The part of this machine's processors that worked."""
        return self.cores_busy[MACHINE] / self.cores

    @property
    def _middle_calls(self) -> list[Call]:
        begun, ended = middle([call.ended for call in self.calls])
        return [call for call in self.calls if begun <= call.ended <= ended]


@dataclass(frozen=True, kw_only=True)
class SlotFigures:
    """The two designs in ten slots, and the engine in fewer and more."""

    orders: int
    engine: Run
    inline: Run
    growth: Sequence[Run]
    """By the number of slots, the run in ten among them."""

    @property
    def ratio(self) -> float:
        return self.engine.confirmed_per_minute / self.inline.confirmed_per_minute


def middle(times: Collection[float]) -> tuple[float, float]:
    """Return between which of these times the middle of a run lies: without its first and last fifth."""
    ordered, left_out = sorted(times), len(times) // LEFT_OUT
    return ordered[left_out], ordered[-1 - left_out]


def per_minute(times: Collection[float]) -> float:
    """Return how many of these there are a minute in the middle of a run: the slope of the line through their count.

    Workers that begin together end in rounds, for a while; between one time and another there may be a round too many.
    """
    begun, ended = middle(times)
    counted = [at for at in sorted(times) if begun <= at <= ended]
    return linear_regression(counted, range(len(counted))).slope * 60


def measure_slots(stack: Stack, orders: int = ORDERS, growth: Sequence[int] = GROWTH) -> SlotFigures:
    """Run orders through both designs, and through the engine with fewer and more slots.

    The stack's slots are changed on the way, and are as before afterwards.

    Raises:
        TimeoutError: not all orders were confirmed.
    """
    consumers = _Consumers(stack)
    try:
        # A function's first calls start its processes; too many at once would take longer than a call may.
        most = max(*growth, COMPARED)
        for consumer, slots in ((consumers.engine, COMPARED), (consumers.engine, most), (INLINE, COMPARED)):
            _measure_run(stack, consumers, consumer, slots, slots * WARM_UP_A_SLOT)
        engine = _measure_run(stack, consumers, consumers.engine, COMPARED, orders)
        inline = _measure_run(stack, consumers, INLINE, COMPARED, orders)
        runs = [engine]
        for slots in (slots for slots in growth if slots != COMPARED):
            number = min(max(slots * ORDERS_A_SLOT, FEWEST_ORDERS), orders)
            runs.append(_measure_run(stack, consumers, consumers.engine, slots, number))
    finally:
        consumers.restore()
    return SlotFigures(orders=orders, engine=engine, inline=inline, growth=sorted(runs, key=lambda run: run.slots))


class _Consumers:
    """Who takes orders from the queue: the engine's function, or the inline one; one of them, or none."""

    def __init__(self, stack: Stack) -> None:
        self._lambda = cloud_client(stack, "lambda")
        self.engine = stack.outputs["ExecuteOrderFunction"]
        queue = stack.outputs["OrdersQueueUrl"].rpartition("/")[2]
        mappings = self._lambda.list_event_source_mappings(FunctionName=self.engine)["EventSourceMappings"]
        self._engines = next(source for source in mappings if source["EventSourceArn"].endswith(f":{queue}"))
        self._close(self._engines["UUID"])
        self._deploy_inline()
        inline = self._lambda.create_event_source_mapping(
            FunctionName=INLINE,
            EventSourceArn=self._engines["EventSourceArn"],
            BatchSize=1,
            FunctionResponseTypes=["ReportBatchItemFailures"],
            Enabled=False,
        )
        self._sources = {self.engine: self._engines["UUID"], INLINE: inline["UUID"]}

    def open(self, consumer: str, slots: int) -> None:
        """Let one of the functions take orders, so many at once."""
        self._lambda.put_function_concurrency(FunctionName=consumer, ReservedConcurrentExecutions=slots)
        self._lambda.update_event_source_mapping(
            UUID=self._sources[consumer],
            ScalingConfig={"MaximumConcurrency": max(slots, FEWEST_CONCURRENT)},
            Enabled=True,
        )

    def close(self, consumer: str) -> None:
        """Let it take no more."""
        self._close(self._sources[consumer])

    def restore(self) -> None:
        """Have the engine take orders again, in as many slots as before, and nobody else."""
        self._lambda.delete_event_source_mapping(UUID=self._sources[INLINE])
        self._lambda.delete_function(FunctionName=INLINE)
        # The emulator keeps what CloudFormation reserved apart from what is put here, which goes first.
        self._lambda.delete_function_concurrency(FunctionName=self.engine)
        scaling = self._engines["ScalingConfig"]
        self._lambda.update_event_source_mapping(UUID=self._engines["UUID"], ScalingConfig=scaling, Enabled=True)

    def _close(self, source: str) -> None:
        self._lambda.update_event_source_mapping(UUID=source, Enabled=False)

    def _deploy_inline(self) -> None:
        """Deploy the inline function: the engine's own, but for its handler and how long it may take."""
        engine = self._lambda.get_function_configuration(FunctionName=self.engine)
        same = {name: engine[name] for name in ("Runtime", "Role", "MemorySize", "Environment", "LoggingConfig")}
        self._lambda.create_function(
            FunctionName=INLINE,
            Handler="bench.inline_function.execute_inline",
            Timeout=INLINE_SECONDS,
            Code={"ZipFile": _inline_code(PROJECT)},
            **same,
        )


def _inline_code(project: Path) -> bytes:
    """Zip the engine's code and the inline worker's; what they depend on, the stack's functions share."""
    files = [
        project / "app.py",
        *sorted(file for file in (project / "chalicelib").rglob("*") if file.is_file() and file.suffix != ".pyc"),
        *(project / "bench" / name for name in ("__init__.py", "inline.py", "inline_function.py")),
    ]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        for file in files:
            code.write(file, file.relative_to(project))
    return archive.getvalue()


def _measure_run(stack: Stack, consumers: _Consumers, consumer: str, slots: int, orders: int) -> Run:
    """Place orders, open the slots, and wait until all are confirmed."""
    ids = asyncio.run(_place_all(stack, orders))
    opened = time.time()
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute(_LEAVE_ALONE, (ids,))
        samples = [_sample(stack)]
        consumers.open(consumer, slots)
        try:
            confirmed_at = _wait_until_confirmed(stack, connection, ids, samples)
        finally:
            consumers.close(consumer)
    return Run(
        slots=slots,
        calls=calls_of(stack, consumer, opened),
        confirmed_at=confirmed_at,
        samples=samples,
        cores=psutil.cpu_count() or 1,
    )


async def _place_all(stack: Stack, orders: int) -> list[str]:
    """Place orders through the front door."""
    gate = asyncio.Semaphore(POSTS_IN_FLIGHT)
    async with aiohttp.ClientSession() as client:

        async def place() -> str:
            async with gate, client.post(f"{stack.url}/api/orders/execute", json=ORDER) as answer:
                answer.raise_for_status()
                order_id: str = (await answer.json())["orderId"]
                return order_id

        return await asyncio.gather(*(place() for _ in range(orders)))


def _wait_until_confirmed(
    stack: Stack, connection: psycopg.Connection[Any], ids: Sequence[str], samples: list[Sample]
) -> list[float]:
    """Wait until every order is confirmed, and sample who is at work meanwhile; return when each was."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(SAMPLE_SECONDS)
        samples.append(_sample(stack))
        confirmed = [row[0] for row in connection.execute(_CONFIRMED, (ids,))]
        if len(confirmed) == len(ids):
            return confirmed
    raise TimeoutError(f"{len(confirmed)} of {len(ids)} orders were confirmed in {DEADLINE_SECONDS:.0f} s")


def _sample(stack: Stack) -> Sample:
    """Read how long processors have worked, for each service of the stack and for this machine."""
    times = psutil.cpu_times()
    seconds = {MACHINE: sum(getattr(times, kind, 0.0) for kind in AT_WORK)}
    for name, service in stack.services.items():
        own = psutil.Process(service.process.pid)
        children = [_processor_seconds(child) for child in own.children(recursive=True)]
        if name == "emulator":
            seconds |= {EMULATOR: _processor_seconds(own), LAMBDA: sum(children)}
        else:
            seconds[name] = _processor_seconds(own) + sum(children)
    return Sample(at=time.time(), seconds=seconds)


def _processor_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def show_slots(console: Console, figures: SlotFigures) -> None:
    """Print the figures as tables."""
    console.print(_comparison(figures))
    console.print(_growth(figures.growth))
    console.print(_processors(figures))


def report(figures: SlotFigures) -> Section:
    """Return what the page of benchmarks says of the slots."""
    engine, inline = figures.engine, figures.inline
    text = f"""\
{figures.orders} market orders wait on the queue; then {COMPARED} slots are opened, first the engine's and, in the same
run, those of a worker of the inline design, which quotes, builds and sends as the engine does (it is the engine's code)
and then sleeps in its slot until its swap has landed. Both are Lambda functions of the same emulated stack, and the
inline worker is not charged for looking too late: it sleeps until a swap can land, then looks every 50 ms. The first
and the last fifth of each run are left out. All {COMPARED} slots carry market orders here. As deployed two of ten are
kept for snipers; what a slot carries hardly depends on how many there are, as the second table shows, as long as the
machine has time for them.

An order holds a slot of the engine for {_ms(engine.slot_seconds)}, of which {_ms(QUOTED_SECONDS)} are the slower of two
quotes, and one of the inline worker for {_ms(inline.slot_seconds)}: the slot limits alone are
{engine.slot_limit / inline.slot_limit:.1f} to 1. Between two orders a slot of the engine is empty for
{_ms(engine.empty_seconds)} while others wait for it, and {engine.busy:.0%} of this machine's processors are at work
meanwhile, for the functions, the emulated AWS, Postgres and Redis alike.

What keeps the engine from its limit is that emptiness, and most of it is the emulator's: it pauses for 50 ms after a
look at the queues that found nothing to do, and every swap that is queued for settlement, two seconds too early to be
received, causes such a look. That was tried on a machine with other work to do: with the pause a slot was empty for 25
to 37 ms and {COMPARED} slots carried 93 % of their limit; without it, for 16 ms at most, and they carried all of it.
A burst that is measured
from its first order to its last confirmation stays further below the limit, because that time also has the swaps'
landing in it, in which all slots are empty.

{shown(lambda console: show_slots(console, figures))}"""
    return Section("Throughput per slot", text, (Chart("slots", lambda axes: _draw_growth(axes, figures)),))


def _comparison(figures: SlotFigures) -> Table:
    engine, inline = figures.engine, figures.inline
    table = table_with_goals(f"{figures.orders} market orders, {COMPARED} slots", "two phases", "inline")
    met = judged(f"≥ {RATIO_GOAL:.0f} ×", figures.ratio >= RATIO_GOAL)
    rates = [f"{run.confirmed_per_minute:,.0f}" for run in (engine, inline)]
    table.add_row("confirmed a minute", *rates, "", "in the middle of the run")
    table.add_row("ratio", f"{figures.ratio:.1f} ×", "1", met, "same run, same slots")
    table.add_row("time in a slot", _ms(engine.slot_seconds), _ms(inline.slot_seconds), "", "mean, as Lambda bills it")
    shares = [f"{run.share:.0%}" for run in (engine, inline)]
    met = judged(f"≥ {SHARE_GOAL:.0%}", engine.share >= SHARE_GOAL)
    table.add_row("share of the slot limit", *shares, met, "slots over time in a slot")
    empty = [_ms(run.empty_seconds) for run in (engine, inline)]
    table.add_row("slot empty between two orders", *empty, "", "while orders wait for it")
    table.add_row("processors at work", f"{engine.busy:.0%}", f"{inline.busy:.0%}", "", f"of {engine.cores}")
    return table


def _growth(runs: Sequence[Run]) -> Table:
    table = Table(title="The engine in fewer and more slots")
    headings = ("slots", "confirmed a minute", "a slot", "slot limit", "share", "time in a slot", "processors at work")
    for heading in headings:
        table.add_column(heading, justify="right")
    for run in runs:
        table.add_row(
            str(run.slots),
            f"{run.confirmed_per_minute:,.0f}",
            f"{run.confirmed_per_minute / run.slots:,.0f}",
            f"{run.slot_limit:,.0f}",
            f"{run.share:.0%}",
            _ms(run.slot_seconds),
            f"{run.busy:.0%}",
        )
    return table


def _processors(figures: SlotFigures) -> Table:
    table = Table(title=f"Whom the processors worked for, in ms an order ({COMPARED} slots)")
    table.add_column("part")
    for heading in ("two phases", "inline"):
        table.add_column(heading, justify="right")
    runs = (figures.engine, figures.inline)
    for part in figures.engine.cores_busy:
        an_order = [f"{run.cores_busy[part] / run.confirmed_per_minute * 60_000:.1f}" for run in runs]
        table.add_row(part, *an_order)
    return table


def _draw_growth(axes: "Axes", figures: SlotFigures) -> None:
    slots = [run.slots for run in figures.growth]
    limits = [run.slot_limit for run in figures.growth]
    axes.plot(slots, limits, linestyle="--", color="tab:gray", label="limit: slots over time in a slot")
    measured = [run.confirmed_per_minute for run in figures.growth]
    axes.plot(slots, measured, marker="o", color="tab:blue", label="two phases, measured")
    inline = figures.inline.confirmed_per_minute
    a_slot = [number * inline / COMPARED for number in slots]
    axes.plot(slots, a_slot, linestyle=":", color="tab:red", label="inline, at its rate a slot")
    axes.plot([COMPARED], [inline], marker="s", linestyle="none", color="tab:red", label="inline, measured")
    axes.set_xlabel("slots")
    axes.set_ylabel("orders confirmed a minute")
    axes.set_xticks(slots)
    axes.legend(frameon=False)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"

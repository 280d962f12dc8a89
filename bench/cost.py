"""What a million orders cost on AWS, by this engine and by a design that waits for its swaps in its slots.

What an order uses is measured on the laptop stack: how often each function is called for it, how long that is billed,
and how much of it is computing. Prices are those of ``PRICES``. Lambda gives a function a share of a core by its
memory, so computing is stretched by that share, and waiting is not; a core of AWS is taken to be as fast as one here.

The inline design is calculated, not deployed: the same work and the same quotes, in one call that also sleeps until the
swap has landed.
"""

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, NamedTuple

import psutil
from rich.console import Console

from bench.figures import judged, table_with_goals
from bench.report import Chart, Section, shown, table
from bench.throughput import WATCHED_EVERY, log_events, measure_throughput
from chalicelib.queueing.dispatch import FIRST_STATUS_SECONDS
from chalicelib.venues.simulated.chain import LANDING_SECONDS, SimulatedChain
from infra.local.stack import Stack

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MILLION = 1_000_000
ORDERS = 200
RATIO_GOAL = 0.25
MEMORY = 512
"""Of the functions that every order needs, in MB: see ``.chalice/config.json``."""
MEMORIES = (128, 256, 512, 1024, 1769)
ONE_CORE = 1769
"""MB of memory with which a function has a whole core:
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
LOOK_SECONDS = SimulatedChain.look_seconds
EVENTS = 5
"""Messages that a viewer of an order hears: pending, routing, building, submitted, confirmed."""
LOG_EVENT_BYTES = 26
"""What CloudWatch counts for each log event besides its text."""
REPORTED_SECONDS = 2.0
"""How long the reports of the last calls may take."""
FUNCTION = re.compile(r'"function_name":"([^"]+)"')
BILLED = re.compile(r"Billed Duration: (\d+) ms")
OF_EXECUTION = ("execute_order", "settle_orders", "inline")
OF_VIEWERS = ("websocket_connect", "websocket_disconnect", "replay_events")
"""They log nothing, so nothing tells what they were billed: one call each, for as long as it computes."""
OF_ORDERS = ("api_handler", "execute_order", "settle_orders")
FROM_QUEUES = ("execute_order", "settle_orders", "inline", "replay_events")
"""Functions that a queue calls: for each call it is asked for messages once, and told once that they are done with."""
MONTH_SECONDS = 2_592_000
WATCH_MEMORY = 256
WATCHES = {"watch_market": 65 / 60, "recover_orders": 1.0}
"""Functions that run all the time, at so many MB, and how many of each run at once: two watches overlap for a while."""
POLLED_QUEUES, POLLERS, POLL_SECONDS = 4, 5, 20
"""Lambda asks an empty queue so, at the least: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html"""


class Price(NamedTuple):
    """Dollars for one of something, in us-east-1."""

    dollars: float
    of: str


PRICED = "November 2026"
PRICES = {
    "Lambda computing": Price(0.0000133334, "GB-second, arm64"),
    "Lambda calls": Price(0.20 / MILLION, "call"),
    "SQS": Price(0.40 / MILLION, "request"),
    "API Gateway REST": Price(3.50 / MILLION, "request"),
    "WebSocket messages": Price(1.00 / MILLION, "message of up to 32 KB"),
    "WebSocket connections": Price(0.25 / MILLION, "minute"),
    "CloudWatch Logs": Price(0.50 / 1e9, "byte taken in"),
}
"""From secondary sources, without free tiers, volume discounts, taxes."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """How one order uses a function: calls, and seconds of all its calls together."""

    calls: float
    waiting: float
    computing: float
    """On a whole core."""

    def seconds(self, memory: int) -> float:
        """Return what is billed with so many MB."""
        return self.waiting + self.computing * max(1.0, ONE_CORE / memory)

    def dollars(self, memory: int) -> float:
        """Return what Lambda takes for it."""
        computing = self.seconds(memory) * memory / 1024 * PRICES["Lambda computing"].dollars
        return computing + self.calls * PRICES["Lambda calls"].dollars


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one order uses, by function, and how many bytes of logs it leaves."""

    functions: Mapping[str, Use]
    sends: float
    """Messages put on queues."""
    log_bytes: float

    def costs(self, memory: int = MEMORY) -> dict[str, float]:
        """Return what a million such orders cost, in dollars, by what is paid for."""
        uses = self.functions.values()
        used = {
            "Lambda computing": sum(use.seconds(memory) for use in uses) * memory / 1024,
            "Lambda calls": sum(use.calls for use in uses),
            "SQS": self.sends + 2 * sum(use.calls for name, use in self.functions.items() if name in FROM_QUEUES),
            "API Gateway REST": 1.0,
            "WebSocket messages": float(EVENTS),
            "WebSocket connections": 1.0,
            "CloudWatch Logs": self.log_bytes,
        }
        return {what: amount * PRICES[what].dollars * MILLION for what, amount in used.items()}

    def execution_dollars(self, memory: int = MEMORY) -> float:
        """Return what Lambda takes for executing a million orders, from the queue to the end."""
        uses = [use for name, use in self.functions.items() if name in OF_EXECUTION]
        return sum(use.dollars(memory) for use in uses) * MILLION


@dataclass(frozen=True, kw_only=True)
class CostFigures:
    """What the same orders use in each design."""

    engine: Usage
    """At full load, when settlement has whole batches."""
    engine_alone: Usage
    """When each order is the only one: its settlement watches no other."""
    inline: Usage
    orders: int
    """How many were measured."""

    @property
    def ratio(self) -> float:
        """The Lambda cost of execution, as a share of the inline design's."""
        return self.engine.execution_dollars() / self.inline.execution_dollars()

    @property
    def ratio_alone(self) -> float:
        return self.engine_alone.execution_dollars() / self.inline.execution_dollars()


def measure_cost(stack: Stack, orders: int = ORDERS) -> CostFigures:
    """Place orders, see what they use, and calculate the designs from it.

    Raises:
        TimeoutError: not all orders ended.
    """
    begun, before = time.time(), computed_so_far(stack)
    measure_throughput(stack, orders)
    time.sleep(REPORTED_SECONDS)
    computed = {name: seconds - before.get(name, 0.0) for name, seconds in computed_so_far(stack).items()}
    logged: dict[str, list[str]] = defaultdict(list)
    for event in log_events(stack, begun):
        logged[event["logStreamName"]].append(event["message"])
    billed = billed_by_function(logged.values())
    viewers = len(range(0, orders, WATCHED_EVERY))
    log_bytes = sum(len(text.encode()) + LOG_EVENT_BYTES for texts in logged.values() for text in texts)
    uses = {name: _use(billed[name], computed[name], orders) for name in OF_ORDERS}
    uses |= {name: Use(calls=1.0, waiting=0.0, computing=computed[name] / viewers) for name in OF_VIEWERS}
    # One message for each phase, one for a viewer's replay.
    return designs(Usage(functions=uses, sends=3.0, log_bytes=log_bytes / orders), orders)


def designs(engine: Usage, orders: int) -> CostFigures:
    """Return what an order uses in each design, when this is what it uses here, by so many orders."""
    execute, settle = engine.functions["execute_order"], engine.functions["settle_orders"]
    # What lands a moment after a look is seen at the next one.
    landing = mean(LANDING_SECONDS) + LOOK_SECONDS / 2
    inline = Use(calls=1.0, waiting=execute.waiting + landing, computing=execute.computing + settle.computing)
    alone = Use(calls=1.0, waiting=landing - FIRST_STATUS_SECONDS, computing=settle.computing / settle.calls)
    others = {name: use for name, use in engine.functions.items() if name not in OF_EXECUTION}
    return CostFigures(
        engine=engine,
        engine_alone=Usage(
            functions={**others, "execute_order": execute, "settle_orders": alone},
            sends=engine.sends,
            log_bytes=engine.log_bytes,
        ),
        inline=Usage(functions={**others, "inline": inline}, sends=engine.sends - 1, log_bytes=engine.log_bytes),
        orders=orders,
    )


def _use(billed: Sequence[float], computed: float, orders: int) -> Use:
    """Return what one of so many orders used of a function; what was billed and not computed was waited."""
    return Use(
        calls=len(billed) / orders, waiting=max(0.0, sum(billed) - computed) / orders, computing=computed / orders
    )


def billed_by_function(calls: Iterable[Sequence[str]]) -> dict[str, list[float]]:
    """Return what each call was billed, in seconds, by the function's name; ``calls`` are the lines that each wrote.

    Lambda's report does not say of which function it is, but the engine's own lines do. A call that has none, as
    those for viewers, is left out.
    """
    billed: dict[str, list[float]] = defaultdict(list)
    for lines in calls:
        text = "\n".join(lines)
        if (function := FUNCTION.search(text)) and (report := BILLED.search(text)):
            billed[plain_name(function[1])].append(int(report[1]) / 1000)
    return billed


def computed_so_far(stack: Stack) -> dict[str, float]:
    """Return how many seconds each function's processes have computed; those that have ended are missing."""
    seconds: dict[str, float] = defaultdict(float)
    emulator = psutil.Process(stack.services["emulator"].process.pid)
    for process in emulator.children(recursive=True):
        with suppress(psutil.Error):
            if name := process.environ().get("AWS_LAMBDA_FUNCTION_NAME"):
                times = process.cpu_times()
                seconds[plain_name(name)] += times.user + times.system
    return seconds


def plain_name(deployed: str) -> str:
    """Return what a function is called in ``.chalice/config.json``, given what CloudFormation has called it."""
    logical_id = deployed.split("-")[-2].replace("APIHandler", "ApiHandler")
    return re.sub(r"(?<!^)(?=[A-Z])", "_", logical_id).lower()


def always_on_dollars() -> dict[str, float]:
    """Return what a month costs in which nobody places an order, in dollars; servers are not among it."""
    gigabyte_seconds = sum(WATCHES.values()) * MONTH_SECONDS * WATCH_MEMORY / 1024
    polls = POLLED_QUEUES * POLLERS * MONTH_SECONDS / POLL_SECONDS
    return {
        " and ".join(f"`{name}`" for name in WATCHES): gigabyte_seconds * PRICES["Lambda computing"].dollars,
        "empty queues, asked by Lambda": polls * PRICES["SQS"].dollars,
    }


def show_cost(console: Console, figures: CostFigures) -> None:
    """Print the figures as tables."""
    title = f"Dollars for a million orders, functions of {MEMORY} MB, one viewer an order"
    costs = table_with_goals(title, "engine", "an order alone", "inline")
    designs = (figures.engine, figures.engine_alone, figures.inline)
    by_design = [usage.costs() for usage in designs]
    for what, price in PRICES.items():
        costs.add_row(what, *(f"{cost[what]:.2f}" for cost in by_design), "", f"by the {price.of}")
    costs.add_row("all of it", *(f"{sum(cost.values()):.2f}" for cost in by_design), "", "without servers")
    costs.add_section()
    costs.add_row(
        "Lambda for execution alone",
        *(f"{usage.execution_dollars():.2f}" for usage in designs),
        "",
        "from the queue to the end",
    )
    shares = (figures.ratio, figures.ratio_alone)
    costs.add_row(
        "… as a share of inline's",
        *(f"{share:.2f}" for share in shares),
        "1",
        judged(f"≤ {RATIO_GOAL}", figures.ratio <= RATIO_GOAL),
        f"at full load, as the goal is meant; {'met' if figures.ratio_alone <= RATIO_GOAL else 'not met'} by one alone",
    )
    console.print(costs)
    used = table_with_goals("What an order uses", "calls", "waits", "computes")
    for name, use in {**figures.engine.functions, **figures.inline.functions}.items():
        per = "a viewer" if name in OF_VIEWERS else "an order; calculated" if name == "inline" else "an order"
        computes = f"{use.computing * 1000:.1f} ms"
        used.add_row(name, f"{use.calls:.2f}", f"{use.waiting * 1000:.0f} ms", computes, "", per)
    console.print(used)
    memory = table_with_goals("Lambda for executing a million orders, by memory", "engine", "inline", "share")
    for size in MEMORIES:
        engine, inline = figures.engine.execution_dollars(size), figures.inline.execution_dollars(size)
        slot = figures.engine.functions["execute_order"].seconds(size)
        how = f"an order holds its slot for {slot * 1000:.0f} ms"
        memory.add_row(f"{size} MB", f"${engine:.2f}", f"${inline:.2f}", f"{engine / inline:.2f}", "", how)
    console.print(memory)


def report(figures: CostFigures) -> Section:
    """Say it on the page of benchmarks."""
    prices = [[what, price.of, f"${price.dollars:.10f}".rstrip("0")] for what, price in PRICES.items()]
    fixed = "; ".join(f"{what} ${dollars:.2f}" for what, dollars in always_on_dollars().items())
    text = f"""\
How often each function is called for an order, how long that is billed and how much of it is computing was measured on
the laptop stack with {figures.orders} orders at once, at the documented venue delays. Each memory size gets its share
of a core ({ONE_CORE} MB are a whole one): computing takes that much longer, waiting does not. A core of AWS is taken to
be as fast as one of this machine; what was waited for a core that was busy here counts as waiting.

**The inline design** is calculated from the same figures: one call quotes, builds, sends and sleeps until the swap has
landed, after {mean(LANDING_SECONDS):.1f} s on average, then confirms. It has no second queue. *An order alone* is one
whose settlement watches no other, as when there is little to do; at full load settlement watches several with one call.

{shown(lambda console: show_cost(console, figures))}

**Prices**, us-east-1, {PRICED}, from secondary sources, without free tiers, volume discounts and taxes:

{table(["what", "by the", "price"], prices, numbers_from=2)}

**What is not in it.** Whether or not anybody trades, a month costs: {fixed}. Postgres, Redis and the NAT gateway are
the same in both designs and by far the larger part of a small installation's bill. Cold starts are billed as well
(see there), but few orders meet one.
"""
    charts = (
        Chart("cost", lambda axes: _draw_costs(axes, figures)),
        Chart("cost-memory", lambda axes: _draw_memory(axes, figures)),
    )
    return Section("Cost", text, charts)


def _draw_costs(axes: "Axes", figures: CostFigures) -> None:
    designs = {"engine": figures.engine, "engine, an order alone": figures.engine_alone, "inline": figures.inline}
    left = [0.0] * len(designs)
    for what in PRICES:
        widths = [usage.costs()[what] for usage in designs.values()]
        axes.barh(list(designs), widths, left=left, label=what)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("dollars for a million orders")
    axes.legend(fontsize="small", frameon=False)


def _draw_memory(axes: "Axes", figures: CostFigures) -> None:
    for name, usage in (("engine", figures.engine), ("inline", figures.inline)):
        axes.plot(MEMORIES, [usage.execution_dollars(size) for size in MEMORIES], marker="o", label=name)
    axes.set_xlabel("MB of memory")
    axes.set_ylabel("dollars of Lambda for executing a million orders")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)

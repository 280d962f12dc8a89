"""``make bench``: measure the engine on servers of its own, print the figures, and write docs/benchmarks.md.

``all`` (unless said otherwise) measures every part, one after another, and writes each one's section. A part alone is
printed only, or with ``--write`` written as well.

What it prints of a goal is green where the goal was met and red where it was not.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from rich.console import Console

from bench.report import Section, shown, write_section
from bench.throughput import EXECUTING_AT_ONCE, measure_throughput
from infra.local.processes import StackError
from infra.local.stack import OWN_SERVERS, PROJECT, Stack
from infra.packaging import BUILD_ROOT, PackagingError, build_package

Figures = TypeVar("Figures")

DOCS = PROJECT / "docs"
ORDERS = 200
WARM_UP = 60
# The documented delays, no limits, and fresh numbers; never the servers that somebody works with.
SETTINGS = {
    **OWN_SERVERS,
    "ORDER_PROCESSOR_RATE": "0",
    "USER_ORDER_RATE": "0",
    "QUEUE_MAX_CONCURRENT": str(EXECUTING_AT_ONCE),
    "MOCK_LATENCY": "1",
    "MOCK_SEED": "",
}


@dataclass(frozen=True)
class Run:
    """One run of the benchmarks: what was asked for, and a stack for all parts that need one."""

    console: Console
    orders: int
    plans: bool
    profile: bool
    writes: bool
    _open: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def stack(self) -> Stack:
        """A stack that has executed some orders, started when a part first needs it.

        Raises:
            StackError: it does not start.
        """
        folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        self.console.print("Starting a stack of its own …")
        stack = self._open.enter_context(Stack(port=0, data_dir=Path(folder), environment=SETTINGS))
        self.console.print(f"Warming up with {WARM_UP} orders …")
        measure_throughput(stack, WARM_UP)
        return stack

    def close(self) -> None:
        """Stop what was started."""
        self._open.close()

    def show(self, title: str, how: str, show: Callable[[Console], None]) -> Section:
        """Print a part's tables, and return them as its section, below how they were measured."""
        show(self.console)
        return Section(title, f"{how}\n\n{shown(show)}")

    def on_stack(
        self,
        doing: str,
        measure: Callable[[Stack], Figures],
        show: Callable[[Console, Figures], None],
        report: Callable[[Figures], Section],
    ) -> Section:
        """Measure something on the stack, print it, and return what the page says of it."""
        stack = self.stack  # started before it is said what happens on it
        self.console.print(doing)
        figures = measure(stack)
        show(self.console, figures)
        return report(figures)


class Part(NamedTuple):
    """A part of the benchmarks."""

    says: str
    run: Callable[[Run], Section]


def run_throughput(run: Run) -> Section:
    from bench.throughput import show

    run.stack  # noqa: B018 - started before it is said what happens on it
    run.console.print(f"Placing {run.orders} orders at once …")
    figures = measure_throughput(run.stack, run.orders)
    archive = build_package(PROJECT, BUILD_ROOT, "local").archive
    how = "Market orders through the front door of the laptop stack, as fast as it takes them, documented venue delays."
    return run.show(
        "Throughput", how, lambda console: show(console, figures, package_megabytes=archive.stat().st_size / 1e6)
    )


def run_slots(run: Run) -> Section:
    from bench.slots import measure_slots, report, show_slots

    doing = "Opening slots for orders that wait, the engine's and an inline worker's; this takes some minutes …"
    return run.on_stack(doing, measure_slots, show_slots, report)


def run_imports(run: Run) -> Section:
    from bench.imports import measure_imports, show_imports

    seconds = measure_imports()
    how = "What a function that swaps on a real cluster imports besides, at its cold start."
    return run.show("The real venues' imports", how, lambda console: show_imports(console, seconds))


def run_book(run: Run) -> Section:
    from bench.book import measure_book, show_book, show_plans

    few, many = measure_book(run.console)
    if run.plans:
        show_plans(run.console, many)
    how = "Both books lie in one Postgres and are looked at in turn, with the engine's statements, as it runs them."
    return run.show("A million orders that wait", how, lambda console: show_book(console, few, many))


def run_crossing(run: Run) -> Section:
    from bench.waiting import measure_crossing, show_crossing

    run.stack  # noqa: B018 - as above
    run.console.print("Moving the market across waiting orders, one by one; this takes a few minutes …")
    figures = measure_crossing(run.stack)
    how = "Limit orders wait at a level each; the market crosses one level after another, at random moments."
    return run.show("From a price to the order that it reaches", how, lambda console: show_crossing(console, figures))


def run_burst(run: Run) -> Section:
    from bench.waiting import measure_burst, show_burst

    run.stack  # noqa: B018 - as above
    run.console.print("Moving the market across ten thousand waiting orders …")
    figures = measure_burst(run.stack)
    how = "One price reaches all of them at once, while a client goes on placing market orders."
    return run.show("Ten thousand orders at one price", how, lambda console: show_burst(console, figures))


def run_overhead(run: Run) -> Section:
    from bench.overhead import measure_overhead, profile_overhead, report, show_overhead

    run.console.print("Driving the handlers …")
    figures = measure_overhead()
    tree, shares = profile_overhead()
    if run.profile:
        run.console.print(tree, markup=False, soft_wrap=True)
    run.console.print("Starting a stack without delays …")
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Stack(port=0, data_dir=Path(folder), environment={**SETTINGS, "MOCK_LATENCY": "0"}) as stack,
    ):
        measure_throughput(stack, WARM_UP)
        emulated = measure_throughput(stack, run.orders).confirmed_per_minute / 60
    figures = replace(figures, shares=shares, emulated_per_second=emulated)
    show_overhead(run.console, figures)
    return report(figures)


def run_latency(run: Run) -> Section:
    from bench.latency import measure_clients, measure_handlers, report, show_latency

    run.console.print("Calling the handlers …")
    alone = measure_handlers()
    return run.on_stack(
        "Waiting as a client would …", lambda stack: measure_clients(stack, alone), show_latency, report
    )


def run_cold_start(run: Run) -> Section:
    from bench.cold_start import measure_cold_start, report, show_cold_start

    archive = build_package(PROJECT, BUILD_ROOT, "local").archive
    with run.console.status("") as status:
        figures = measure_cold_start(archive, progress=status.update)
    show_cold_start(run.console, figures)
    return report(figures)


def run_cost(run: Run) -> Section:
    from bench.cost import measure_cost, report, show_cost

    doing = f"Placing {run.orders} orders, to see what they use …"
    return run.on_stack(doing, lambda stack: measure_cost(stack, run.orders), show_cost, report)


def run_growth(run: Run) -> Section:
    from bench.growth import measure_growth, report, show_growth
    from bench.scaling import write_scaling

    figures = measure_growth(run.stack, progress=run.console.print)
    show_growth(run.console, figures)
    if run.writes:
        write_scaling(figures)
    return report(figures)


def run_watchers(run: Run) -> Section:
    from bench.watchers import measure_watchers, report, show_watchers

    doing = "Opening a thousand WebSockets, and having them watch; this takes a few minutes …"
    return run.on_stack(doing, measure_watchers, show_watchers, report)


PARTS: Mapping[str, Part] = {
    "throughput": Part("how many orders a minute the slots carry", run_throughput),
    "slots": Part("what a slot carries, against a worker that sleeps in it", run_slots),
    "growth": Part("what ends first when more orders come, up to a million a minute", run_growth),
    "overhead": Part("what the engine itself costs", run_overhead),
    "latency": Part("how long a client waits", run_latency),
    "watchers": Part("an order with a thousand viewers, and a thousand orders with one each", run_watchers),
    "cold_start": Part("what a function pays when it starts, and what its package weighs", run_cold_start),
    "imports": Part("what the real venues add to a cold start", run_imports),
    "cost": Part("what a million orders cost on AWS", run_cost),
    "book": Part("what looking at a million waiting orders costs", run_book),
    "crossing": Part("how soon an order follows a price", run_crossing),
    "burst": Part("ten thousand orders follow one price", run_burst),
}
"""In the order in which they stand on the page and run; the burst last, for it leaves thousands of orders to execute.

A part that imports much, or packages of its own, does so when it runs."""

FIRST = ("overhead", "latency")
"""What runs before the others: the stack that they share looks at its queues and at the market all the time."""


def main() -> int:
    """Run the benchmarks; returns the exit code."""
    parts = "; ".join(f"{name}: {part.says}" for name, part in PARTS.items())
    arguments = argparse.ArgumentParser(prog="bench", description=__doc__, epilog=parts)
    arguments.add_argument("part", nargs="?", choices=(*PARTS, "all"), default="all", help="what to measure")
    arguments.add_argument("--write", action="store_true", help="write a part's section of docs/benchmarks.md, too")
    arguments.add_argument("--orders", type=int, default=ORDERS, help="throughput: how many orders arrive at once")
    arguments.add_argument("--plans", action="store_true", help="book: print what Postgres does for each statement")
    arguments.add_argument("--profile", action="store_true", help="overhead: print where the time goes")
    options = arguments.parse_args()
    run = Run(Console(), options.orders, options.plans, options.profile, options.write or options.part == "all")
    names = list(dict.fromkeys([*FIRST, *PARTS])) if options.part == "all" else [options.part]
    try:
        for name in names:
            section = PARTS[name].run(run)
            if run.writes:
                write_section(DOCS, name, section, list(PARTS))
    except (StackError, PackagingError) as error:
        run.console.print(str(error), style="red", markup=False)
        return 1
    finally:
        run.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

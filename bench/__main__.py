"""``make bench``: measure the engine on servers of its own and print the figures.

``throughput`` (unless said otherwise): how many orders a minute the slots carry, and with it ``imports``: what the real
venues add to a cold start. ``book``: what looking at a million waiting orders costs. ``crossing``: how soon an order
follows a price. ``burst``: ten thousand orders follow one price.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from bench.book import measure_book, show_book, show_plans
from bench.imports import measure_imports, show_imports
from bench.throughput import EXECUTING_AT_ONCE, measure_throughput, show
from bench.waiting import measure_burst, measure_crossing, show_burst, show_crossing
from infra.local.processes import StackError
from infra.local.stack import OWN_SERVERS, PROJECT, Stack
from infra.packaging import build_package

PARTS = ("imports", "throughput", "book", "crossing", "burst")
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


def main() -> int:
    """Run the benchmarks; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench", description=__doc__)
    arguments.add_argument("part", nargs="?", choices=(*PARTS, "all"), default="throughput", help="what to measure")
    arguments.add_argument("--orders", type=int, default=ORDERS, help="throughput: how many orders arrive at once")
    arguments.add_argument("--plans", action="store_true", help="book: print what Postgres does for each statement")
    options = arguments.parse_args()
    parts = PARTS if options.part == "all" else (options.part,)
    console = Console()
    if {"imports", "throughput"} & set(parts):
        show_imports(console, measure_imports())
    try:
        if "book" in parts:
            _run_book(console, with_plans=options.plans)
        if set(parts) - {"book", "imports"}:
            _run_on_stack(console, parts, options.orders)
    except StackError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    return 0


def _run_book(console: Console, *, with_plans: bool) -> None:
    few, many = measure_book(console)
    if with_plans:
        show_plans(console, many)
    show_book(console, few, many)


def _run_on_stack(console: Console, parts: tuple[str, ...], orders: int) -> None:
    """Run what needs the whole engine; the burst last, because it leaves thousands of orders to execute."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        console.print("Starting a stack of its own …")
        with Stack(port=0, data_dir=Path(folder), environment=SETTINGS) as stack:
            console.print(f"Warming up with {WARM_UP} orders …")
            measure_throughput(stack, WARM_UP)
            if "throughput" in parts:
                console.print(f"Placing {orders} orders at once …")
                figures = measure_throughput(stack, orders)
                archive = build_package(PROJECT, PROJECT / ".local" / "build", "local").archive
                show(console, figures, package_megabytes=archive.stat().st_size / 1e6)
            if "crossing" in parts:
                console.print("Moving the market across waiting orders, one by one; this takes a few minutes …")
                show_crossing(console, measure_crossing(stack))
            if "burst" in parts:
                console.print("Moving the market across ten thousand waiting orders …")
                show_burst(console, measure_burst(stack))


if __name__ == "__main__":
    sys.exit(main())

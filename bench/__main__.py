"""``make bench``: measure the engine on a stack of its own and print the figures."""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from bench.throughput import measure_throughput, show
from infra.local.processes import StackError
from infra.local.stack import PROJECT, Stack
from infra.packaging import build_package

ORDERS = 200
WARM_UP = 60
# The documented delays, no pacing, and fresh numbers.
SETTINGS = {"ORDER_PROCESSOR_RATE": "0", "QUEUE_MAX_CONCURRENT": "10", "MOCK_LATENCY": "1", "MOCK_SEED": ""}


def main() -> int:
    """Run the benchmark; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench", description=__doc__)
    arguments.add_argument("--orders", type=int, default=ORDERS, help="how many orders arrive at once")
    options = arguments.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        console.print("Starting a stack of its own …")
        try:
            with Stack(port=0, data_dir=Path(folder), environment=SETTINGS) as stack:
                console.print(f"Warming up with {WARM_UP} orders …")
                measure_throughput(stack, WARM_UP)
                console.print(f"Placing {options.orders} orders at once …")
                figures = measure_throughput(stack, options.orders)
        except StackError as error:
            console.print(str(error), style="red", markup=False)
            return 1
    archive = build_package(PROJECT, PROJECT / ".local" / "build", "local").archive
    show(console, figures, package_megabytes=archive.stat().st_size / 1e6)
    return 0


if __name__ == "__main__":
    sys.exit(main())

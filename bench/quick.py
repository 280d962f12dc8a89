"""``make bench-quick``: the ratios and counts that no machine's speed decides, compared with the recorded ones.

It takes less than a minute, and ends with 1 when one of them has become 30 % worse than what ``recorded.json`` holds,
which ``--record`` writes. Nothing here is a time: where something has to be timed, it is timed beside what it is
divided by, or waits for far longer than it computes.
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

from rich.console import Console

from bench.cold_start import measure_starts
from bench.cost import LOOK_SECONDS
from bench.driver import BATCH, Driver
from bench.figures import judged, table_with_goals
from bench.servers import own_servers
from chalicelib.venues.simulated.chain import LANDING_SECONDS
from infra.local.processes import StackError

Measured = TypeVar("Measured")

RECORDED = Path(__file__).with_name("recorded.json")
WORSE = 1.3
ORDERS = 20
WARM_UP = 10
TIMED = 10
ROUNDS = 5
STARTS = ("execute_order", "authorize")
"""All other functions start like the first."""
SEED = "bench-quick"
"""The same numbers, and so the same delays, at every run."""


@dataclass(frozen=True)
class Ratio:
    """A number without a unit of time, and whether it had better be small."""

    value: float
    smaller_is_better: bool = True

    def worsening(self, recorded: float) -> float:
        """Return how many times worse it is than it was; below 1 it is better."""
        if recorded == self.value:
            return 1.0
        better, worse = (recorded, self.value) if self.smaller_is_better else (self.value, recorded)
        return worse / better if better else float("inf")


class TimedDriver(Driver):
    """Notes how long each call of a function took, by the queue that called it."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        super().__init__(settings)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def _work_off(self, queue: str, handler: Callable[[Any, Any], Any], batch: int) -> None:
        def timed(event: Any, context: Any) -> Any:
            begun = time.perf_counter()
            answer = handler(event, context)
            self.seconds[queue].append(time.perf_counter() - begun)
            return answer

        super()._work_off(queue, timed, batch)


def measure_quick() -> dict[str, Ratio]:
    """Measure all ratios.

    Raises:
        StackError: Postgres or Redis does not start.
    """
    ratios = {
        f"start of {start.function}, as a multiple of its packages'": Ratio(start.ratio)
        for start in measure_starts(STARTS, ROUNDS)
    }
    with own_servers() as servers:
        counts = _in_a_process(count_trips, servers.settings())
        slot_seconds = _in_a_process(time_slot, servers.settings())
    for part, count in counts.items():
        ratios[f"{part} of a watched order"] = Ratio(count)
    inline = "a slot's orders, as a multiple of the inline design's"
    return {**ratios, inline: Ratio(slots_saved(slot_seconds), smaller_is_better=False)}


def _in_a_process(measure: Callable[[Mapping[str, str]], Measured], settings: Mapping[str, str]) -> Measured:
    """Measure in a process of its own: a driver starts the engine in it, and takes its output."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, settings).result()


def count_trips(settings: Mapping[str, str]) -> dict[str, float]:
    """Return how often an order with a viewer waits for something outside, all of its processes together."""
    driver = Driver({**settings, "MOCK_SEED": SEED})
    _process_watched(driver, WARM_UP)
    before, heard = dict(vars(driver.trips)), len(driver.connections.delays)
    _process_watched(driver, ORDERS)
    trips = {part: (count - before[part]) / ORDERS for part, count in vars(driver.trips).items()}
    return {
        "statements": trips["database"],
        "Redis scripts": trips["redis"],
        "SQS requests": trips["sqs"],
        "messages": (len(driver.connections.delays) - heard) / ORDERS,
    }


def _process_watched(driver: Driver, orders: int) -> None:
    for _ in range(orders // BATCH):
        for _ in range(BATCH):
            driver.watch(driver.place())
        driver.finish()


def time_slot(settings: Mapping[str, str]) -> float:
    """Return how long an order holds its slot at the documented delays of the venues, in seconds, at best."""
    driver = TimedDriver({**settings, "MOCK_LATENCY": "1", "MOCK_SEED": SEED})
    driver.process(TIMED)
    return min(driver.seconds["orders"])


def slots_saved(slot_seconds: float) -> float:
    """Return how many times as long a design that waits for its swap in the slot would hold it."""
    return (slot_seconds + mean(LANDING_SECONDS) + LOOK_SECONDS / 2) / slot_seconds


def compare(console: Console, ratios: Mapping[str, Ratio], recorded: Mapping[str, float]) -> bool:
    """Print the ratios beside the recorded ones; return whether none has become much worse."""
    table = table_with_goals("Ratios that no machine's speed decides", "now", "recorded", "change")
    well = True
    for name, ratio in ratios.items():
        before = recorded.get(name)
        if before is None:
            table.add_row(name, f"{ratio.value:.2f}", "", "", "", "new: make bench-quick ARGS=--record")
            continue
        worsening = ratio.worsening(before)
        kept = worsening < WORSE
        well = well and kept
        better = "≤" if ratio.smaller_is_better else "≥"
        bound = before * WORSE if ratio.smaller_is_better else before / WORSE
        change = f"{(ratio.value / before - 1):+.0%}" if before else ""
        table.add_row(name, f"{ratio.value:.2f}", f"{before:.2f}", change, judged(f"{better} {bound:.2f}", kept), "")
    console.print(table)
    return well


def main() -> int:
    """Measure, and compare or record; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.quick", description=__doc__)
    arguments.add_argument("--record", action="store_true", help="what is measured now is what to compare with")
    arguments.add_argument("--output", type=Path, help="a file for what is printed, which a pipeline keeps")
    options = arguments.parse_args()
    console = Console(width=120, record=True)
    try:
        ratios = measure_quick()
    except StackError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    recorded = {} if options.record or not RECORDED.exists() else json.loads(RECORDED.read_text())
    well = compare(console, ratios, recorded)
    if options.record:
        rounded = {name: round(ratio.value, 2) for name, ratio in ratios.items()}
        RECORDED.write_text(json.dumps(rounded, indent=2, ensure_ascii=False) + "\n")
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(console.export_text())
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())

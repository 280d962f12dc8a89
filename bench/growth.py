"""What happens when more orders come: the pipeline simulated, from a hundred orders a minute to a million.

Runs on a real stack say how long the API, a slot and a settlement take for an order, and what it costs Postgres and
Redis. The simulation sends orders through the same pipeline with those times. Before anything is concluded from it, it
repeats another real run, of another size, and has to come out within a tenth of it. Then it says what each rate needs,
and that is held against what there is: see ``limits``.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

import psycopg
from rich.console import Console
from rich.table import Table

from bench.cost import MEMORY, Usage, measure_cost
from bench.figures import judged, percentiles, table_with_goals
from bench.footprint import Footprint, measure_footprint, show_footprint
from bench.limits import HANDLERS, SETTINGS, Appetite, Limit, limits_of
from bench.report import Chart, Section, shown
from bench.simulation import BATCH, SETTLERS, Outcome, Stream, Times, Together, simulate
from bench.throughput import POSTS_IN_FLIGHT, Figures, measure_throughput
from chalicelib.config import PRIORITY_SLOTS
from chalicelib.venues.solana.chain import SolanaChain
from infra.local.stack import Stack

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CALIBRATION, CHECKED = 150, 300
"""Orders of each of the two runs that the simulation learns from, and of the one between them, which it repeats."""
CHECK_GOAL = 0.10
RATES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
DEPLOYED_RATES = (100, 300, 600, 900, 1_000, 1_100, 1_200, 1_500, 2_000)
DEPLOYED_MINUTES = 5
MOST_SIMULATED = 100_000
"""Orders in one simulation: at a million a minute six seconds of them, which fill every stage."""
FEWEST_SIMULATED = 1_000
OF_API = ("api_handler", "websocket_connect", "websocket_disconnect")

_SUBMITTED = """
    SELECT extract(epoch FROM created_at)::float8 FROM order_events
    WHERE event = 'submitted' AND created_at >= to_timestamp(%s) ORDER BY created_at
"""


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """How the engine fares at a rate with the slots it is deployed with."""

    rate: int
    p50: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What a rate needs when there is enough of everything."""

    rate: int
    slots: float
    settlers: float
    p50: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class GrowthFigures:
    footprint: Footprint
    usage: Usage
    """What an order uses of what AWS bills by use."""
    times: Times
    checked: Figures
    simulated: Outcome
    deployed: Sequence[Deployed]
    demands: Sequence[Demand]
    looks: float
    """An order's share of the looks at statuses on Solana, at the first of the rates."""

    @property
    def slots(self) -> int:
        return self.checked.slots

    @property
    def deviation(self) -> float:
        """How far the simulation is from the run that it repeats; 0.05 is five per cent."""
        return self.simulated.per_minute / self.checked.confirmed_per_minute - 1

    @property
    def appetite(self) -> Appetite:
        """What an order takes of everything, where batches are full."""
        most = max(self.demands, key=lambda demand: demand.rate)
        # What clients wait for a POST is longer than a process has to do with it.
        billed = {name: use.seconds(MEMORY) for name, use in self.usage.functions.items()}
        return Appetite(
            api=sum(billed[name] for name in OF_API),
            replay=billed["replay_events"],
            slot=mean(self.times.slot) + self.times.handover,
            settling=most.settlers / (most.rate / 60),
            looks=self.looks,
            footprint=self.footprint,
        )


def measure_growth(
    stack: Stack, calibration: int = CALIBRATION, checked: int = CHECKED, progress: Callable[[str], None] = print
) -> GrowthFigures:
    """Learn what an order takes from a run before the one to be repeated and one after it, and simulate the rates.

    Both, because how busy this machine is otherwise changes from minute to minute.

    Raises:
        TimeoutError: not all orders of a run ended in time.
    """
    learned: list[Times] = []
    progress(f"Placing {calibration} orders, to see what they leave behind …")
    footprint = measure_footprint(stack, calibration, lambda: learned.append(_measure_times(stack, calibration)))
    progress(f"Placing {checked} orders, for the simulation to repeat …")
    real = measure_throughput(stack, checked)
    progress(f"Placing {calibration} orders, to learn how long they take …")
    learned.append(_measure_times(stack, calibration))
    progress("Placing orders, to see what AWS would bill …")
    usage = measure_cost(stack).engine
    times = _together(learned)
    progress(f"Simulating those {checked} orders, and a hundred to a million a minute …")
    return GrowthFigures(
        footprint=footprint,
        usage=usage,
        times=times,
        checked=real,
        simulated=simulate(times, Together(checked, POSTS_IN_FLIGHT), slots=real.slots, settlers=SETTLERS),
        deployed=[_deployed(times, rate, real.slots) for rate in DEPLOYED_RATES],
        demands=[_demand(times, rate) for rate in RATES],
        looks=_looks(times, RATES[0]),
    )


def _measure_times(stack: Stack, orders: int) -> Times:
    """Run so many orders; return how long their stages took."""
    begun = time.time()
    figures = measure_throughput(stack, orders)
    with psycopg.connect(stack.database_url) as connection:
        submitted = [at for (at,) in connection.execute(_SUBMITTED, (begun,)).fetchall()]
    handover = handover_of(submitted, figures.slots, mean(figures.execute_times))
    return Times(post=figures.post_times, slot=figures.execute_times, handover=handover)


def _together(learned: Sequence[Times]) -> Times:
    return Times(
        post=[seconds for times in learned for seconds in times.post],
        slot=[seconds for times in learned for seconds in times.slot],
        handover=mean(times.handover for times in learned),
    )


def handover_of(submitted: Sequence[float], slots: int, busy: float) -> float:
    """Return how long a slot is idle between two orders, from when orders were submitted while the queue was full.

    That is in the second half, but for the last tenth, where slots run empty: before, orders may come no faster than
    slots take them, and a slot waits for an order, not for its handover. ``busy`` is the mean time of an order in one.
    """
    steady = submitted[len(submitted) // 2 : len(submitted) - len(submitted) // 10]
    return max(slots * (steady[-1] - steady[0]) / (len(steady) - 1) - busy, 0.0)


def _deployed(times: Times, rate: int, slots: int) -> Deployed:
    stream = Stream(orders=rate * DEPLOYED_MINUTES, a_second=rate / 60)
    outcome = simulate(times, stream, slots=slots, settlers=SETTLERS)
    p50, p99 = percentiles(outcome.latencies)
    return Deployed(rate=rate, p50=p50 / 1000, p99=p99 / 1000)


def _demand(times: Times, rate: int) -> Demand:
    stream = _stream(rate)
    # A full batch is watched for a second and a fifth at most; a few more, so that few orders make no queue.
    settlers = math.ceil(stream.a_second * 1.2 / BATCH) + SETTLERS
    outcome = simulate(times, stream, slots=None, settlers=settlers)
    p50, p99 = percentiles(outcome.latencies)
    return Demand(
        rate=rate,
        slots=outcome.slots_used,
        settlers=outcome.settlers_used,
        p50=p50 / 1000,
        p99=p99 / 1000,
    )


def _looks(times: Times, rate: int) -> float:
    """Return an order's share of the looks at statuses, as often as Solana is asked."""
    stream = _stream(rate)
    outcome = simulate(times, stream, slots=None, settlers=SETTLERS, look_seconds=SolanaChain.look_seconds)
    return outcome.looks / outcome.orders


def _stream(rate: int) -> Stream:
    return Stream(orders=min(max(rate, FEWEST_SIMULATED), MOST_SIMULATED), a_second=rate / 60)


# --- What is shown --------------------------------------------------------------------------------------------


def show_growth(console: Console, figures: GrowthFigures) -> None:
    """Print the figures as tables."""
    show_check(console, figures)
    show_footprint(console, figures.footprint)
    show_demands(console, figures.demands)


def show_check(console: Console, figures: GrowthFigures) -> None:
    """Print the run and its repetition by the simulation."""
    checks = table_with_goals(f"The simulation against {figures.checked.orders} orders", "real", "simulated")
    met = judged(f"within {CHECK_GOAL:.0%}: {figures.deviation:+.1%}", abs(figures.deviation) <= CHECK_GOAL)
    checks.add_row(
        "confirmed a minute",
        f"{figures.checked.confirmed_per_minute:,.0f}",
        f"{figures.simulated.per_minute:,.0f}",
        met,
        f"{figures.slots} slots, {PRIORITY_SLOTS} more are kept for snipers; learned from two other runs",
    )
    checks.add_row(
        "last confirmation",
        f"{figures.checked.elapsed:.1f} s",
        f"{figures.simulated.elapsed:.1f} s",
        "",
        "after the first POST",
    )
    own, learned = figures.checked.execute_times, figures.times.slot
    in_slot = (f"{mean(own) * 1000:.0f} ms", f"{mean(learned) * 1000:.0f} + {figures.times.handover * 1000:.0f} ms")
    checks.add_row("time in a slot", *in_slot, "", "of the run itself; learned, with the handover")
    console.print(checks)


def show_demands(console: Console, demands: Sequence[Demand]) -> None:
    """Print what each rate needs."""
    needed = Table(title="What a rate needs (simulated)")
    for heading in ("orders a minute", "busy slots", "settling processes", "to confirmed, p50", "p99"):
        needed.add_column(heading, justify="right")
    for demand in demands:
        needed.add_row(
            f"{demand.rate:,}",
            f"{demand.slots:,.1f}",
            f"{demand.settlers:,.1f}",
            f"{demand.p50:.2f} s",
            f"{demand.p99:.2f} s",
        )
    console.print(needed)


def report(figures: GrowthFigures) -> Section:
    """Write down the figures for the page of benchmarks."""
    text = f"""
A discrete-event simulation of the pipeline, with the times of two runs on the laptop stack, checked against another.
What follows from it, from which rate on which limit is reached and what to raise then, is in [scaling.md](scaling.md).

{shown(lambda console: show_growth(console, figures))}
"""
    return Section("Growth", text, charts(figures))


def charts(figures: GrowthFigures) -> tuple[Chart, ...]:
    """Return the pictures, of both pages."""
    return (
        Chart("growth-latency", lambda axes: _draw_latency(axes, figures)),
        Chart("growth-limits", lambda axes: _draw_limits(axes, limits_of(figures.appetite))),
    )


def rounded(rate: float) -> str:
    """Write down a rate with two digits that count: more would be more than is known."""
    step = 10 ** max(math.floor(math.log10(rate)) - 1, 0)
    return f"{round(rate / step) * step:,.0f}"


def _draw_latency(axes: "Axes", figures: GrowthFigures) -> None:
    rates = [point.rate for point in figures.deployed]
    axes.plot(rates, [point.p99 for point in figures.deployed], marker="o", color="#9b2226", label="p99")
    axes.plot(rates, [point.p50 for point in figures.deployed], marker="o", color="#2a6f97", label="p50")
    axes.set_yscale("log")
    axes.set_yticks([3, 10, 30, 100, 300], minor=False)
    axes.set_yticks([], minor=True)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(f"orders a minute, for {DEPLOYED_MINUTES} minutes, {figures.slots} slots")
    axes.set_ylabel("s from POST to confirmed")
    axes.set_title("As it is deployed, ORDER_PROCESSOR_RATE lifted (simulated)", loc="left", fontsize=10)
    axes.legend(frameon=False)


def _draw_limits(axes: "Axes", limits: Sequence[Limit]) -> None:
    names = [limit.supply.name.replace("`", "") for limit in limits]
    axes.barh(names, [limit.reached for limit in limits], color=[_colour(limit) for limit in limits])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlim(10, max(2e6, *(limit.reached * 3 for limit in limits)))
    for place, limit in enumerate(limits):
        axes.text(limit.reached * 1.1, place, rounded(limit.reached), va="center", fontsize=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("orders a minute at which all of it is taken")
    axes.set_title("Orange: the engine's own settings; blue: what it runs on", loc="left", fontsize=10)


def _colour(limit: Limit) -> str:
    return "#bb6b00" if limit.supply.source in (SETTINGS, HANDLERS) else "#2a6f97"

"""The simulation of growth: it obeys what can be worked out by hand, and what is written from it holds together."""

from statistics import mean
from string import Template

import pytest

from bench.growth import (
    SETTLERS,
    TEMPLATE,
    Demand,
    Deployed,
    GrowthFigures,
    OrderCost,
    Outcome,
    Stream,
    TableCost,
    Times,
    Together,
    handover_of,
    limits_of,
    report,
    rounded,
    scaling_values,
    simulate,
    size,
)
from bench.throughput import Figures

TIMES = Times(post=[0.02], slot=[0.3, 0.4, 0.5], handover=0.1)
COST = OrderCost(
    statements=9,
    commits=6,
    database_seconds=0.003,
    log_bytes=12_000,
    log_pages=0.5,
    scripts=11,
    script_seconds=0.0004,
    chain_calls=4,
    tables={
        "orders": TableCost(rows=1, row=500, disk=700, indexes=400),
        "order_events": TableCost(rows=5, row=250, disk=1500, indexes=300),
        "swaps": TableCost(rows=1, row=600, disk=700, indexes=300),
    },
)
FIGURES = GrowthFigures(
    cost=COST,
    times=TIMES,
    checked=Figures(
        orders=300,
        confirmed=300,
        failed=0,
        elapsed=20.0,
        execute_times=[0.4],
        post_times=[0.02],
        message_delays=[0.1],
        round_trips=(9, 4),
        slots=8,
    ),
    simulated=Outcome(orders=300, elapsed=19.0, latencies=[3.0], slots_used=8, settlers_used=2),
    deployed=[Deployed(rate=100, p50=3.0, p99=4.0)],
    demands=[
        Demand(rate=100, slots=0.7, settlers=0.3, p50=3.0, p99=3.5),
        Demand(rate=1_000_000, slots=7_000, settlers=1_900, p50=3.0, p99=3.5),
    ],
)


@pytest.fixture
def simpy():
    """What only the benchmarks install."""
    return pytest.importorskip("simpy")


@pytest.mark.usefixtures("simpy")
def test_many_orders_at_once_take_as_long_as_the_slots_need():
    outcome = simulate(TIMES, Together(800, in_flight=8), slots=8, settlers=SETTLERS)

    assert outcome.orders == 800
    by_hand = 800 * (mean(TIMES.slot) + TIMES.handover) / 8 + 3
    assert outcome.elapsed == pytest.approx(by_hand, rel=0.05)


@pytest.mark.usefixtures("simpy")
def test_as_many_slots_are_busy_as_orders_are_in_them_at_a_time():
    outcome = simulate(TIMES, Stream(orders=5_000, a_second=100), slots=None, settlers=60)

    assert outcome.slots_used == pytest.approx(100 * (mean(TIMES.slot) + TIMES.handover), rel=0.05)
    assert 2.3 < mean(outcome.latencies) < 4, "two to three seconds to land, and what comes before and after"


@pytest.mark.usefixtures("simpy")
def test_more_orders_than_the_slots_carry_wait_ever_longer():
    little = simulate(TIMES, Stream(orders=2_000, a_second=8), slots=8, settlers=SETTLERS)
    much = simulate(TIMES, Stream(orders=2_000, a_second=32), slots=8, settlers=SETTLERS)

    assert max(little.latencies) < 8
    assert max(much.latencies) > 50, "half of 62 seconds' orders are left, for another minute"


def test_a_handover_is_what_is_missing_between_busy_slots():
    submitted = [number * 0.0625 for number in range(100)]  # eight slots, one order each in half a second

    assert handover_of(submitted, slots=8, busy=0.4) == pytest.approx(0.1)


def test_limits_come_in_the_order_in_which_growth_comes_to_them():
    limits = limits_of(FIGURES)

    assert [limit.reached for limit in limits] == sorted(limit.reached for limit in limits)
    (slots,) = [limit for limit in limits if limit.name.startswith("Execution slots")]
    assert slots.reached == pytest.approx(8 / 0.5 * 60)


def test_the_page_names_nothing_that_it_is_not_told():
    page = Template(TEMPLATE.read_text())

    assert set(page.get_identifiers()) == set(scaling_values(FIGURES))
    assert "| Execution slots" in page.substitute(scaling_values(FIGURES))


def test_the_section_says_how_far_the_simulation_is_from_the_run():
    assert "+5.3%" in report(FIGURES).text


@pytest.mark.parametrize(("amount", "written"), [(1_234, "1.2 kB"), (56_700_000, "57 MB"), (3e15, "3,000 TB")])
def test_sizes_are_written_in_the_unit_that_fits(amount, written):
    assert size(amount) == written


@pytest.mark.parametrize(("rate", "written"), [(150, "150"), (1_234, "1,200"), (98_765, "99,000")])
def test_no_more_digits_are_shown_than_are_known(rate, written):
    assert rounded(rate) == written

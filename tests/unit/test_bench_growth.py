"""The simulation of growth: it obeys what can be worked out by hand, and what is written from it holds together."""

from statistics import mean
from string import Template

import pytest

from bench.cost import Usage, Use
from bench.footprint import Footprint, Rows
from bench.growth import Demand, Deployed, GrowthFigures, handover_of, report, rounded
from bench.limits import SLOTS, limits_of
from bench.scaling import TEMPLATE, scaling_values, size
from bench.simulation import SETTLERS, Outcome, Stream, Times, Together, simulate
from bench.sizing import ENDPOINTS, bill, endpoint_dollars, endpoint_rate, size_for
from bench.throughput import Figures

TIMES = Times(post=[0.02], slot=[0.3, 0.4, 0.5], handover=0.1)
FOOTPRINT = Footprint(
    statements=9,
    commits=6,
    database_seconds=0.003,
    log_bytes=12_000,
    log_pages=0.5,
    scripts=11,
    script_seconds=0.0004,
    list_seconds=0.001,
    tables={
        "orders": Rows(rows=1, row=500, disk=700, indexes=400),
        "order_events": Rows(rows=5, row=250, disk=1500, indexes=300),
        "swaps": Rows(rows=1, row=600, disk=700, indexes=300),
    },
)
NOTHING = Use(calls=0, waiting=0, computing=0)
USAGE = Usage(
    functions={
        "api_handler": Use(calls=1, waiting=0.05, computing=0),
        "execute_order": Use(calls=1, waiting=0.4, computing=0.01),
        "settle_orders": Use(calls=0.2, waiting=0.1, computing=0.01),
        "websocket_connect": NOTHING,
        "websocket_disconnect": NOTHING,
        "replay_events": Use(calls=1, waiting=0.02, computing=0),
    },
    sends=3,
    log_bytes=4_000,
)
FIGURES = GrowthFigures(
    footprint=FOOTPRINT,
    usage=USAGE,
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
    simulated=Outcome(orders=300, elapsed=19.0, latencies=[3.0], slots_used=8, settlers_used=2, looks=900),
    deployed=[Deployed(rate=100, p50=3.0, p99=4.0)],
    demands=[
        Demand(rate=100, slots=0.7, settlers=0.3, p50=3.0, p99=3.5),
        Demand(rate=1_000_000, slots=7_000, settlers=2_000, p50=3.0, p99=3.5),
    ],
    looks=2.0,
)
ORDER = FIGURES.appetite


def test_many_orders_at_once_take_as_long_as_the_slots_need():
    outcome = simulate(TIMES, Together(800, in_flight=8), slots=8, settlers=SETTLERS)

    assert outcome.orders == 800
    by_hand = 800 * (mean(TIMES.slot) + TIMES.handover) / 8 + 3
    assert outcome.elapsed == pytest.approx(by_hand, rel=0.05)


def test_as_many_slots_are_busy_as_orders_are_in_them_at_a_time():
    outcome = simulate(TIMES, Stream(orders=5_000, a_second=100), slots=None, settlers=60)

    assert outcome.slots_used == pytest.approx(100 * (mean(TIMES.slot) + TIMES.handover), rel=0.05)
    assert 2.3 < mean(outcome.latencies) < 4, "two to three seconds to land, and what comes before and after"


def test_more_orders_than_the_slots_carry_wait_ever_longer():
    little = simulate(TIMES, Stream(orders=2_000, a_second=8), slots=8, settlers=SETTLERS)
    much = simulate(TIMES, Stream(orders=2_000, a_second=32), slots=8, settlers=SETTLERS)

    assert max(little.latencies) < 8
    assert max(much.latencies) > 50, "half of 62 seconds' orders are left, for another minute"


def test_a_handover_is_what_is_missing_between_busy_slots():
    submitted = [number * 0.0625 for number in range(100)]  # eight slots, one order each in half a second

    assert handover_of(submitted, slots=8, busy=0.4) == pytest.approx(0.1)


def test_a_batch_is_looked_at_until_the_last_of_it_has_landed():
    slowly = simulate(TIMES, Stream(orders=200, a_second=0.1), slots=None, settlers=1, look_seconds=0.5)

    assert slowly.looks / slowly.orders == pytest.approx(2.5, rel=0.1), (
        "a first look, and one or two more of each alone"
    )


def test_limits_come_in_the_order_in_which_growth_comes_to_them():
    limits = limits_of(ORDER)

    assert [limit.reached for limit in limits] == sorted(limit.reached for limit in limits)
    (slots,) = [limit for limit in limits if limit.supply is SLOTS]
    assert slots.reached == pytest.approx(8 / 0.5 * 60)


def test_processes_are_those_of_all_stages():
    assert ORDER.settling == pytest.approx(0.12)
    assert ORDER.processes == pytest.approx(0.05 + 0.5 + 0.12 + 0.02)


def test_a_size_has_room_for_half_as_many_more():
    size = size_for(10_000, ORDER)

    assert size.slots == 125, "83.3 are busy, and half as many more"
    assert size.executing_at_once == 127
    assert size.database.name == "db.r8g.large", "half a core of statements, a whole one of all else"
    assert (size.writers, size.redis) == (1, 1)


def test_the_default_stack_is_enough_for_the_default_rate():
    size = size_for(100, ORDER)

    assert (size.slots, size.settlers, size.database.name, size.small_redis) == (8, 5, "db.t4g.medium", True)


def test_beyond_one_server_there_are_several():
    size = size_for(1_000_000, ORDER)

    assert size.writers == 7, "a hundred cores, sixteen each"
    assert size.redis == 14, "seven cores of scripts, half of each for the protocol"


def test_ten_times_the_orders_cost_less_than_ten_times_as_much():
    little, much = (sum(bill(size_for(rate, ORDER), USAGE).values()) for rate in (100, 1_000))

    assert little < much < 10 * little


def test_storage_is_billed_for_what_is_kept_and_for_a_standby():
    size = size_for(1_000, ORDER)

    assert size.kept_days == 90
    assert bill(size, USAGE)["its storage"] == pytest.approx(2 * 1_000 * 1440 * 90 * 3_900 / 2**30 * 0.115)


def test_an_endpoint_ends_by_its_calls_or_by_its_sendings():
    public, developer = ENDPOINTS[:2]

    assert endpoint_rate(public, ORDER) == pytest.approx(10 / 8 * 60), "six calls and two looks"
    assert endpoint_rate(developer, ORDER) == 300, "five sendings a second"
    assert endpoint_dollars(developer, 1, ORDER) == 49
    more = 100 * 43_200 * 17 - 10_000_000
    assert endpoint_dollars(developer, 100, ORDER) == pytest.approx(49 + more * 5 / 1_000_000)


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

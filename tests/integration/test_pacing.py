"""At most so many orders start in a minute, evenly."""

import pytest

from chalicelib.queueing import pacing
from chalicelib.queueing.pacing import TOLERANCE_SECONDS, TRIGGERED_PER_SLOT_MINUTE, Lane, Pacer
from tests.clocks import StoppedClock
from tests.integration.cloud import NO_REDIS

SLOTS = 10


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.fixture
def pacer(make_engine, clock):
    """A hundred orders a minute: one each 0.6 s."""
    return Pacer(make_engine().redis, 100, SLOTS, clock)


def test_orders_that_arrive_at_once_get_turns_one_interval_apart(pacer):
    waits = [pacer.start(f"order {number}") for number in range(5)]

    assert waits == pytest.approx([0.0, 0.6, 1.2, 1.8, 2.4], abs=1e-6)


def test_an_order_that_asks_again_keeps_its_turn(pacer, clock):
    for number in range(3):
        pacer.start(f"order {number}")
    clock.pass_time(1)

    assert pacer.start("order 2") == pytest.approx(0.2)
    clock.pass_time(0.2)
    assert pacer.start("order 2") == 0.0
    assert pacer.start("order 3") == pytest.approx(0.6)


def test_exactly_as_many_orders_start_in_a_minute_as_allowed(pacer):
    waits = [pacer.start(f"order {number}") for number in range(250)]

    for minute in range(2):
        started = [wait for wait in waits if 60 * minute <= wait < 60 * (minute + 1)]
        assert len(started) == 100
    assert waits == sorted(waits)


def test_time_in_which_nothing_arrived_is_not_saved_up(pacer, clock):
    pacer.start("early")
    clock.pass_time(3600)

    waits = [pacer.start(f"order {number}") for number in range(3)]

    assert waits == pytest.approx([0.0, 0.6, 1.2], abs=1e-6)


def test_processes_share_the_turns(make_engine, clock):
    pacers = [Pacer(make_engine().redis, 60, SLOTS, clock) for _ in range(3)]

    waits = [pacers[number % 3].start(f"order {number}") for number in range(6)]

    assert waits == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_rate_that_does_not_divide_a_minute_is_kept_all_the_same(make_engine, clock):
    pacer = Pacer(make_engine().redis, 7, SLOTS, clock)

    waits = [pacer.start(f"order {number}") for number in range(8)]

    assert waits[7] == pytest.approx(60, abs=1e-5)


def test_without_a_limit_nobody_waits(make_engine, clock, cache):
    pacer = Pacer(make_engine().redis, 0, SLOTS, clock)

    assert [pacer.start(f"order {number}") for number in range(100)] == [0.0] * 100
    assert cache.dbsize() == 0


def test_without_redis_nobody_waits(make_engine, clock):
    pacer = Pacer(make_engine(REDIS_URL=NO_REDIS).redis, 1, SLOTS, clock)

    assert [pacer.start(f"order {number}") for number in range(3)] == [0.0] * 3


def test_a_paced_orders_message_is_delivered_when_its_turn_has_come(make_engine, serve, api, queues, database):
    serve(make_engine(ORDER_PROCESSOR_RATE="60"))
    first, second = api.place(), api.place()

    assert queues.orders.poll() == {"batchItemFailures": []}
    assert queues.orders.receive() == [], "the second order holds no slot while it waits"
    assert database.order(first)["status"] == "submitted"
    row = database.order(second)
    assert (row["status"], row["seq"], row["attempts"]) == ("pending", 1, 0)
    queues.clock.pass_time(1)
    assert len(queues.orders.receive()) == 1


def test_an_order_whose_message_comes_too_early_goes_back_until_its_turn(make_engine, serve, api, queues, database):
    serve(make_engine(ORDER_PROCESSOR_RATE="60"))
    api.place()
    second = api.place()
    queues.orders.drain()
    queues.orders.send({"orderId": second})

    assert len(queues.orders.poll()["batchItemFailures"]) == 1
    row = database.order(second)
    assert (row["status"], row["seq"], row["attempts"]) == ("pending", 1, 0)


def test_turns_are_given_in_the_order_of_arrival_whoever_asks_first(pacer):
    for name in ("first", "second", "third"):
        pacer.take_turn(name)

    assert pacer.start("third") == pytest.approx(1.2, abs=1e-6)
    assert pacer.start("second") == pytest.approx(0.6, abs=1e-6)
    assert pacer.start("first") == 0.0


def test_after_an_outage_overdue_orders_start_at_the_rate_and_not_all_at_once(pacer, clock):
    names = [f"order {number}" for number in range(100)]
    for name in names:
        pacer.take_turn(name)
    clock.pass_time(600)

    waits = [pacer.start(name) for name in names]

    at_once = sum(wait == 0 for wait in waits)
    assert at_once == TOLERANCE_SECONDS / 0.6 + 1
    later = waits[at_once:]
    assert later == pytest.approx([0.6 * number for number in range(1, len(later) + 1)], abs=1e-3)
    clock.pass_time(0.6)
    assert pacer.start(names[at_once]) == 0.0, "and each starts when it was told to"


def test_a_retry_needs_no_turn(pacer):
    assert pacer.start("order") == 0.0
    for number in range(10):
        pacer.take_turn(f"other {number}")

    assert pacer.start("order") == 0.0


# --- Lanes ---


INTERVAL = 0.6
"""Seconds between two starts at a hundred a minute."""


def test_turns_are_given_to_many_orders_at_once_as_to_one_after_the_other(pacer):
    waits = pacer.take_turns([f"order {number}" for number in range(5)], Lane.ARRIVALS)

    assert waits == pytest.approx([0.0, 0.6, 1.2, 1.8, 2.4], abs=1e-6)
    assert pacer.take_turn("order 3") == pytest.approx(1.8), "who has a turn keeps it"
    assert pacer.take_turn("another") == pytest.approx(3.0)


def test_no_orders_take_no_turns(pacer, cache):
    assert pacer.take_turns([], Lane.ARRIVALS) == []
    assert cache.dbsize() == 0


def test_ten_thousand_turns_take_ten_round_trips(pacer, cache):
    cache.config_resetstat()

    waits = pacer.take_turns([f"order {number}" for number in range(10_000)], Lane.TRIGGERED)

    assert len(waits) == 10_000
    assert waits == sorted(waits)
    assert cache.info("commandstats")["cmdstat_eval"]["calls"] == 10


def test_triggered_orders_are_spread_over_half_the_rate_after_a_seconds_worth(pacer):
    waits = pacer.take_turns([f"order {number}" for number in range(200)], Lane.TRIGGERED)

    assert waits == pytest.approx([max(1.2 * number - 1, 0) for number in range(200)], abs=1e-3)
    assert sum(wait < 60 for wait in waits) <= 50 + 1, "half of a hundred a minute, and the second's worth"


@pytest.mark.parametrize(("rate", "slots", "per_minute"), [(0, 2, 150), (10_000, 2, 150), (200, 2, 100), (7, 2, 3.5)])
def test_triggered_orders_use_about_half_of_what_there_is(make_engine, clock, rate, slots, per_minute):
    pacer = Pacer(make_engine().redis, rate, slots, clock)

    waits = pacer.take_turns([f"order {number}" for number in range(1001)], Lane.TRIGGERED)

    assert TRIGGERED_PER_SLOT_MINUTE == 75
    assert waits[-1] + 1 == pytest.approx(1000 * 60 / per_minute, abs=0.01)


def test_a_handful_of_triggered_orders_does_not_wait(make_engine, clock):
    pacer = Pacer(make_engine().redis, 0, SLOTS, clock)

    waits = pacer.take_turns([f"order {number}" for number in range(20)], Lane.TRIGGERED)

    a_seconds_worth = SLOTS * TRIGGERED_PER_SLOT_MINUTE / 60
    assert sum(wait == 0 for wait in waits) == int(a_seconds_worth) + 1


def test_without_a_limit_triggered_orders_are_spread_and_start_when_they_come(make_engine, clock, cache):
    pacer = Pacer(make_engine().redis, 0, SLOTS, clock)

    waits = pacer.take_turns(["first", *[f"order {number}" for number in range(99)], "last"], Lane.TRIGGERED)

    assert waits[-1] == pytest.approx(100 * 60 / 750 - 1)
    assert pacer.start("last") == 0.0
    assert list(cache.scan_iter("pacing:order:*")) == [], "nobody asks for the turns: the queue keeps them"


def test_without_a_limit_snipers_do_not_wait(make_engine, clock, cache):
    pacer = Pacer(make_engine().redis, 0, SLOTS, clock)

    assert pacer.take_turns([f"sniper {number}" for number in range(100)], Lane.PRIORITY) == [0.0] * 100
    assert cache.dbsize() == 0


def test_ten_thousand_triggered_orders_do_not_push_an_arrivals_turn(pacer):
    pacer.take_turns([f"triggered {number}" for number in range(10_000)], Lane.TRIGGERED)

    assert pacer.take_turn("arrival") == 0.0
    assert pacer.start("arrival") == 0.0


def test_a_triggered_order_that_started_long_ago_is_paced_again(pacer, clock):
    assert pacer.start("waits in the book") == 0.0
    clock.pass_time(600)
    pacer.take_turns([f"other {number}" for number in range(10)], Lane.TRIGGERED)

    wait = pacer.take_turns(["waits in the book"], Lane.TRIGGERED, anew=True)[0]

    assert wait == pytest.approx(10 * 1.2 - 1, abs=1e-3)
    assert pacer.start("waits in the book") == pytest.approx(wait)
    clock.pass_time(wait)
    assert pacer.start("waits in the book") == 0.0


def test_each_time_an_order_is_triggered_it_takes_another_turn(pacer):
    pacer.take_turns([f"order {number}" for number in range(10)], Lane.TRIGGERED)

    assert pacer.take_turns(["order 0"], Lane.TRIGGERED, anew=True)[0] == pytest.approx(10 * 1.2 - 1, abs=1e-3)


def test_a_sniper_starts_at_once_although_a_hundred_arrivals_wait(pacer):
    pacer.take_turns([f"order {number}" for number in range(100)], Lane.ARRIVALS)

    assert pacer.take_turn("sniper", Lane.PRIORITY) == 0.0
    assert pacer.start("sniper") == 0.0


def test_a_sniper_starts_at_once_although_a_hundred_overdue_orders_wait_at_the_gate(pacer, clock):
    names = [f"order {number}" for number in range(100)]
    pacer.take_turns(names, Lane.ARRIVALS)
    clock.pass_time(600)
    for name in names:
        pacer.start(name)

    assert pacer.take_turn("sniper", Lane.PRIORITY) == 0.0
    assert pacer.start("sniper") == 0.0


def test_orders_that_wait_at_the_gate_move_back_by_each_sniper_that_passes_it(pacer, clock):
    names = [f"order {number}" for number in range(50)]
    pacer.take_turns(names, Lane.ARRIVALS)
    clock.pass_time(600)
    told = [pacer.start(name) for name in names]
    for sniper in range(5):
        pacer.take_turn(f"sniper {sniper}", Lane.PRIORITY)
        assert pacer.start(f"sniper {sniper}") == 0.0
        clock.pass_time(INTERVAL)
    passed = 5 * INTERVAL

    waits = [pacer.start(name) for name in names]

    started = [wait for before, wait in zip(told, waits, strict=True) if before == 0]
    assert started == [0.0] * 6, "a retry is no start"
    assert waits[6:] == pytest.approx([before + 5 * INTERVAL - passed for before in told[6:]], abs=1e-3)
    assert pacer.start("later") == pytest.approx(waits[-1] + INTERVAL, abs=1e-3), "nobody overtakes them"


def test_snipers_take_turns_with_each_other(pacer):
    waits = pacer.take_turns([f"sniper {number}" for number in range(5)], Lane.PRIORITY)

    assert waits == pytest.approx([0.0, 0.6, 1.2, 1.8, 2.4], abs=1e-6)
    assert pacer.start("sniper 4") == pytest.approx(2.4)


def test_overdue_snipers_start_at_the_rate_and_not_all_at_once(pacer, clock):
    names = [f"sniper {number}" for number in range(100)]
    pacer.take_turns(names, Lane.PRIORITY)
    clock.pass_time(600)

    waits = [pacer.start(name) for name in names]

    at_once = sum(wait == 0 for wait in waits)
    assert at_once <= TOLERANCE_SECONDS / INTERVAL + 2
    assert waits[at_once:] == pytest.approx([INTERVAL * number for number in range(1, 101 - at_once)], abs=1e-3)
    clock.pass_time(INTERVAL)
    assert pacer.start(names[at_once]) == 0.0, "and each starts when it was told to"


def test_a_sniper_does_not_overtake_snipers_who_have_a_place(pacer, clock):
    names = [f"sniper {number}" for number in range(20)]
    pacer.take_turns(names, Lane.PRIORITY)
    clock.pass_time(600)
    last_place = max(pacer.start(name) for name in names)
    the_gate_is_open_again = 2
    clock.pass_time(the_gate_is_open_again)

    pacer.take_turn("late", Lane.PRIORITY)

    assert pacer.start("arrival") == 0.0
    assert pacer.start("late") == pytest.approx(last_place + INTERVAL - the_gate_is_open_again, abs=1e-3)


def test_a_snipers_start_counts_at_the_gate(pacer, clock):
    names = [f"order {number}" for number in range(10)]
    pacer.take_turns(names, Lane.ARRIVALS)
    clock.pass_time(600)
    pacer.take_turn("sniper", Lane.PRIORITY)
    pacer.start("sniper")

    at_once = sum(pacer.start(name) == 0 for name in names)

    assert at_once == TOLERANCE_SECONDS / INTERVAL


def test_a_snipers_retry_needs_no_turn(pacer):
    pacer.take_turn("sniper", Lane.PRIORITY)
    assert pacer.start("sniper") == 0.0
    pacer.take_turns([f"other {number}" for number in range(10)], Lane.PRIORITY)

    assert pacer.take_turn("sniper", Lane.PRIORITY) == 0.0
    assert pacer.start("sniper") == 0.0


def test_snipers_that_a_launch_wakes_take_turns_however_long_ago_they_were_first_looked_at(pacer, clock):
    names = [f"sniper {number}" for number in range(5)]
    for name in names:
        pacer.take_turn(name, Lane.PRIORITY)
        clock.pass_time(INTERVAL)
        assert pacer.start(name) == 0.0
    clock.pass_time(600)

    waits = pacer.take_turns(names, Lane.PRIORITY, anew=True)

    assert waits == pytest.approx([number * INTERVAL for number in range(5)], abs=1e-6)
    assert [pacer.start(name) for name in names] == pytest.approx(waits, abs=1e-6)


def test_an_order_without_an_entry_is_an_arrival(pacer):
    pacer.take_turn("arrival")

    assert pacer.start("unknown") == pytest.approx(INTERVAL, abs=1e-6)


@pytest.mark.parametrize("lane", Lane)
def test_without_redis_nobody_waits_in_any_lane_and_the_log_says_so_once(make_engine, clock, monkeypatch, lane):
    pacer = Pacer(make_engine(REDIS_URL=NO_REDIS).redis, 1, SLOTS, clock)
    warnings = []
    monkeypatch.setattr(pacing.logger, "warning", lambda message, **_: warnings.append(message))

    assert pacer.take_turns([f"order {number}" for number in range(2500)], lane) == [0.0] * 2500
    assert len(warnings) == 1
    assert "Redis is not available" in warnings[0]


def test_what_lanes_keep_in_redis_stays_an_hour_longer_than_it_is_needed(pacer, cache):
    for lane in Lane:
        waits = pacer.take_turns([f"{lane} {number}" for number in range(100)], lane)
        for number in (0, 1, 98, 99):
            pacer.start(f"{lane} {number}")
            kept = cache.pttl(f"pacing:order:{lane} {number}") / 1000
            assert waits[number] + 3590 < kept <= waits[number] + 3601
    pacer.start("unknown")

    assert all(3590 < cache.pttl(key) / 1000 < 3600 + 180 for key in cache.scan_iter("pacing:*"))


def test_an_order_that_snipers_moved_back_keeps_its_place_as_long_as_it_needs_it(make_engine, clock, cache):
    pacer = Pacer(make_engine().redis, 1, SLOTS, clock)
    pacer.take_turns(["first", "second"], Lane.ARRIVALS)
    clock.pass_time(600)
    assert [pacer.start("first"), pacer.start("second")] == pytest.approx([0.0, 57.0], abs=1e-3)
    for sniper in range(90):
        clock.pass_time(pacer.take_turn(f"sniper {sniper}", Lane.PRIORITY))
        assert pacer.start(f"sniper {sniper}") == 0.0

    wait = pacer.start("second")

    assert wait == pytest.approx(57 + 60, abs=0.1), "ninety minutes back, of which eighty-nine have passed"
    assert cache.pttl("pacing:order:second") / 1000 == pytest.approx(wait + 3600, abs=10)

"""At most so many orders start in a minute, evenly."""

from datetime import timedelta

import pytest

from chalicelib.execution.pacing import TOLERANCE_SECONDS, Pacer
from tests.builders import NOON
from tests.integration.cloud import NO_REDIS


class Clock:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now

    def pass_time(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pacer(make_engine, clock):
    """A hundred orders a minute: one each 0.6 s."""
    return Pacer(make_engine().redis, 100, clock)


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


def test_exactly_as_many_orders_start_in_a_minute_as_allowed(pacer, clock):
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
    pacers = [Pacer(make_engine().redis, 60, clock) for _ in range(3)]

    waits = [pacers[number % 3].start(f"order {number}") for number in range(6)]

    assert waits == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_rate_that_does_not_divide_a_minute_is_kept_all_the_same(make_engine, clock):
    pacer = Pacer(make_engine().redis, 7, clock)

    waits = [pacer.start(f"order {number}") for number in range(8)]

    assert waits[7] == pytest.approx(60, abs=1e-5)


def test_without_a_limit_nobody_waits(make_engine, clock, cache):
    pacer = Pacer(make_engine().redis, 0, clock)

    assert [pacer.start(f"order {number}") for number in range(100)] == [0.0] * 100
    assert cache.dbsize() == 0


def test_without_redis_nobody_waits(make_engine, clock):
    pacer = Pacer(make_engine(REDIS_URL=NO_REDIS).redis, 1, clock)

    assert [pacer.start(f"order {number}") for number in range(3)] == [0.0] * 3


def test_what_pacing_keeps_in_redis_does_not_stay_for_ever(pacer, cache):
    for number in range(3):
        pacer.start(f"order {number}")

    assert all(cache.pttl(key) > 0 for key in cache.scan_iter())


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


def test_a_retry_needs_no_turn(pacer, clock):
    assert pacer.start("order") == 0.0
    for number in range(10):
        pacer.take_turn(f"other {number}")

    assert pacer.start("order") == 0.0

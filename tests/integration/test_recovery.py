"""Orders that stopped moving are found and sent on."""

import dataclasses
import json

import pytest

import app
from chalicelib.resources import ResourceUnavailable
from infra.schedules import FIRST_SCHEDULED_EVENT
from tests.clocks import StoppedClock
from tests.integration.cloud import CONTEXT, NO_DATABASE, at_once
from tests.integration.venues import fail_once, trouble_chain


@pytest.fixture
def lose_messages(queues):
    """Lose every message that waits."""

    def lose():
        queues.clock.pass_time(3)
        for source in (queues.orders, queues.settlements):
            source.drain()

    return lose


def test_an_order_whose_message_was_lost_is_queued_again(engine, api, queues, database, lose_messages, let_time_pass):
    order_id = api.place()
    lose_messages()
    let_time_pass()

    assert engine.recovery.recover() == 1
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"


def test_a_submitted_order_whose_message_was_lost_is_settled(
    engine, api, queues, database, lose_messages, let_time_pass
):
    order_id = api.place()
    queues.orders.poll()
    lose_messages()
    let_time_pass()

    assert engine.recovery.recover() == 1
    (message,) = queues.settlements.receive()
    assert json.loads(message["Body"]) == {"orderId": order_id}
    queues.settlements.deliver([message])

    assert database.order(order_id)["status"] == "confirmed"


def test_an_order_whose_worker_died_is_sent_to_the_next_one(
    engine, api, queues, database, lose_messages, let_time_pass
):
    chain = trouble_chain(engine)
    fail_once(engine.store, "submit", ResourceUnavailable("Postgres", "timed out"))
    order_id = api.place()
    queues.orders.poll()
    assert database.order(order_id)["status"] == "pending"
    lose_messages()
    let_time_pass()

    assert engine.recovery.recover() == 1
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"
    assert len(chain.received) == 1


def test_an_order_that_waits_in_its_queue_is_left_there(engine, api, queues, let_time_pass):
    api.place()
    let_time_pass(30)

    assert engine.recovery.recover() == 0
    assert queues.orders.count() == 1


def test_an_order_whose_turn_has_not_come_has_not_stopped(make_engine, serve, api, queues, let_time_pass):
    """At six orders a minute the third one's turn is twenty seconds away, and no message can be seen meanwhile."""
    engine = serve(make_engine(ORDER_PROCESSOR_RATE="6"))
    for _ in range(3):
        api.place()
    queues.orders.poll()
    let_time_pass(8)

    assert engine.recovery.recover() == 0
    assert queues.orders.count() == 2


def test_an_order_that_waits_very_long_is_queued_even_so(engine, api, queues, let_time_pass):
    api.place()
    let_time_pass(3600)

    assert engine.recovery.recover() == 1
    assert queues.orders.count() == 2
    let_time_pass(30)
    assert engine.recovery.recover() == 0, "which counts as moving: it is not sent again and again"


def test_an_order_that_moved_a_moment_ago_is_left_alone(engine, api, lose_messages):
    api.place()
    lose_messages()

    assert engine.recovery.recover() == 0


def test_an_order_that_ended_is_never_recovered(engine, api, queues, let_time_pass):
    api.place()
    api.place(side="buy", amount=1_000_000)
    queues.work_off()
    let_time_pass(3600)

    assert engine.recovery.recover() == 0


def test_the_same_order_is_not_sent_on_twice_in_a_row(engine, api, lose_messages, let_time_pass):
    api.place()
    lose_messages()
    let_time_pass()

    assert engine.recovery.recover() == 1
    lose_messages()
    assert engine.recovery.recover() == 0


def test_recoveries_at_once_send_each_order_on_once(make_engine, api, queues, lose_messages, let_time_pass):
    placed = [api.place() for _ in range(30)]
    lose_messages()
    let_time_pass()

    recovered = at_once(make_engine().recovery.recover for _ in range(4))

    assert sum(recovered) == len(placed)
    assert queues.orders.count() == len(placed)


def test_many_stopped_orders_are_recovered_in_batches(engine, api, queues, lose_messages, let_time_pass, monkeypatch):
    monkeypatch.setattr("chalicelib.execution.recovery.RECOVERED_AT_ONCE", 5)
    for _ in range(12):
        api.place()
    lose_messages()
    let_time_pass()

    assert engine.recovery.recover() == 12
    assert queues.orders.count() == 12


def test_a_watch_looks_every_two_seconds_until_the_next_one_begins(engine, api, lose_messages, let_time_pass):
    class EventfulClock(StoppedClock):
        def sleep(self, seconds):
            super().sleep(seconds)
            if len(self.slept) == 3:
                api.place()
                lose_messages()
                let_time_pass()

    clock = EventfulClock()

    assert dataclasses.replace(engine.recovery, clock=clock).watch() == 1
    assert set(clock.slept) == {2.0}
    assert 54 < clock.seconds() <= 57


def test_an_outage_does_not_end_the_watch(make_engine, engine):
    class SlowClock(StoppedClock):
        def sleep(self, seconds):
            super().sleep(20)

    clock = SlowClock()
    down = make_engine(DATABASE_URL=NO_DATABASE)

    assert dataclasses.replace(engine.recovery, store=down.store, clock=clock).watch() == 0
    assert len(clock.slept) == 3


def test_the_schedule_starts_a_watch(engine, monkeypatch):
    monkeypatch.setattr("chalicelib.execution.recovery.WATCH_SECONDS", 0.0)

    assert app.recover_orders(FIRST_SCHEDULED_EVENT, CONTEXT) == {"recovered": 0}

"""A cancellation wins until an order is submitted, whoever else is at it, and its answer tells the truth."""

import random
from decimal import Decimal
from functools import partial
from uuid import uuid4

import pytest

from chalicelib.execution.cancellation import NotCancellable
from tests.integration.cloud import at_once
from tests.integration.conftest import MakeEngine
from tests.integration.venues import trouble_venues

WAITING = {"orderType": "limit", "limitPrice": 100}


@pytest.mark.parametrize("path", ["/api/orders", "/orders"])
def test_an_order_that_waits_is_cancelled(api, queues, database, path):
    order_id = api.place(**WAITING)
    queues.work_off()

    answer = api.request("DELETE", f"{path}/{order_id}")

    assert answer.status == 200
    assert (answer.body["orderId"], answer.body["status"]) == (order_id, "cancelled")
    assert answer.body["waitsFor"] is None
    assert database.event_names(order_id) == ["pending", "waiting", "cancelled"]
    assert database.events(order_id)[2]["details"] == {"reason": "its owner cancelled it"}


def test_an_order_is_cancelled_before_its_first_look(api, queues, database):
    order_id = api.place()
    assert api.request("DELETE", f"/api/orders/{order_id}").status == 200

    queues.work_off()

    assert database.event_names(order_id) == ["pending", "cancelled"]


def test_cancelling_twice_is_answered_the_same(api):
    order_id = api.place()

    answers = [api.request("DELETE", f"/api/orders/{order_id}") for _ in range(2)]

    assert [(answer.status, answer.body["status"]) for answer in answers] == [(200, "cancelled")] * 2


def test_what_was_submitted_or_has_ended_is_not_cancelled(api, queues):
    order_id = api.place()
    queues.orders.poll()
    submitted = api.request("DELETE", f"/api/orders/{order_id}")
    queues.work_off()
    ended = api.request("DELETE", f"/api/orders/{order_id}")

    assert (submitted.status, ended.status) == (409, 409)
    assert "submitted" in submitted.body["detail"]
    assert "confirmed" in ended.body["detail"]


def test_an_order_that_does_not_exist_cannot_be_cancelled(api):
    assert api.request("DELETE", f"/api/orders/{uuid4()}").status == 404
    assert api.request("DELETE", "/api/orders/7").status == 400


@pytest.mark.parametrize("moment", ["before it quotes", "before it builds", "before it submits"])
def test_a_worker_whose_order_is_cancelled_meanwhile_sends_nothing(engine, api, queues, database, moment):
    order_id = api.place()
    raydium, meteora = trouble_venues(engine)
    submit = engine.store.submit

    def cancel():
        assert api.request("DELETE", f"/api/orders/{order_id}").status == 200

    def cancel_and_submit(*arguments):
        cancel()
        return submit(*arguments)

    if moment == "before it quotes":
        raydium.before_quote = cancel
    elif moment == "before it builds":
        raydium.before_build = meteora.before_build = cancel
    else:
        engine.store.submit = cancel_and_submit
    queues.work_off()

    assert database.event_names(order_id) == ["pending", "cancelled"]
    assert database.count("simulated_transactions") == 0
    assert database.swaps(order_id) == []


def test_a_swap_that_an_earlier_release_recorded_and_never_sent_goes_with_its_order(api, record_swap, database):
    order_id = api.place()
    record_swap(order_id)

    assert api.request("DELETE", f"/api/orders/{order_id}").status == 200

    assert database.event_names(order_id)[-1] == "cancelled"
    assert [swap["state"] for swap in database.swaps(order_id)] == ["unsent"]


def test_a_cancellation_is_streamed(api, open_socket, queues):
    order_id = api.place(**WAITING)
    socket = open_socket(orderId=order_id)
    queues.work_off()

    api.request("DELETE", f"/api/orders/{order_id}")

    assert [event["event"] for event in socket.received] == ["pending", "waiting", "cancelled"]
    assert socket.closed


def test_of_cancellation_trigger_and_execution_exactly_one_wins(make_engine: MakeEngine, api, queues, database, engine):
    """All at once, many times, on processes of their own; the answers must agree with what was done."""
    order_ids = [api.place(**WAITING) for _ in range(20)]
    queues.work_off()
    engine.market.steer("SOL/USDC", Decimal(90))
    cancelled: dict[str, bool] = {}

    def trigger(process):
        for _ in range(5):
            process.market_watch.look()

    def execute(process):
        for _ in range(2):
            for order_id in random.sample(order_ids, len(order_ids)):
                process.executor.execute(order_id)

    def cancel(process):
        for order_id in random.sample(order_ids, len(order_ids)):
            try:
                process.cancellation.cancel(order_id)
                cancelled[order_id] = True
            except NotCancellable:
                cancelled.setdefault(order_id, False)

    at_once(partial(work, make_engine()) for work in (trigger, trigger, execute, execute, cancel, cancel))
    queues.work_off()

    assert cancelled.keys() == set(order_ids)
    for order_id in order_ids:
        ends = [name for name in database.event_names(order_id) if name in ("cancelled", "confirmed", "failed")]
        assert ends == (["cancelled"] if cancelled[order_id] else ["confirmed"]), order_id
        landed = [swap for swap in database.swaps(order_id) if swap["state"] == "landed"]
        assert len(landed) == (0 if cancelled[order_id] else 1)
        assert [event["seq"] for event in database.events(order_id)] == list(
            range(1, len(database.events(order_id)) + 1)
        )
    sent = database.rows("SELECT order_id FROM simulated_transactions JOIN swaps USING (tx_hash)")
    assert {str(row["order_id"]) for row in sent} == {order_id for order_id in order_ids if not cancelled[order_id]}

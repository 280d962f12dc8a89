"""A message that cannot be processed is kept, and its order ends or goes on: never silence."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import psycopg
import pytest

import app
from chalicelib.orders.swap import SwapPlan
from chalicelib.store.dead_letters import DeadLetterStore
from tests.builders import ROUTED, UNKNOWN_ORDER
from tests.integration.cloud import CONTEXT
from tests.integration.venues import trouble_chain


@pytest.fixture
def bury(queues):
    """Bury every message that waits, as when it had been received too often."""

    def buried():
        queues.clock.pass_time(100)
        waiting = [(source, message) for source in (queues.orders, queues.settlements) for message in source.drain()]
        for source, message in waiting:
            app.bury_order(source.event([message]), CONTEXT)

    return buried


def dead_letters(action, **fields):
    return app.dead_letters({"action": action, **fields}, CONTEXT)


def test_an_order_whose_message_could_not_be_processed_fails_with_the_reason(api, bury, database, open_socket, queues):
    order_id = api.place()
    socket = open_socket(orderId=order_id)
    queues.replays.poll()

    bury()

    row = database.order(order_id)
    assert (row["status"], row["last_error"]) == ("failed", "no worker could process its message from the queue orders")
    assert socket.events == ["pending", "failed"]
    (letter,) = dead_letters("list")
    assert (letter["orderId"], letter["queue"], letter["reason"]) == (order_id, "orders", row["last_error"])


def test_an_order_whose_swap_was_sent_goes_back_to_settlement(api, bury, queues, database):
    order_id = api.place()
    queues.orders.poll()

    bury()
    assert database.order(order_id)["status"] == "submitted"
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"


def test_an_order_whose_swap_was_recorded_goes_back_to_who_sends_it(engine, api, record_swap, bury, queues, database):
    chain = trouble_chain(engine)
    order_id = api.place()
    record_swap(order_id)

    bury()
    assert database.order(order_id)["status"] == "building"
    database.change("UPDATE orders SET lease_until = now()")
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"
    assert chain.received == [bytes(swap["payload"]) for swap in database.swaps(order_id)]


@pytest.mark.parametrize("body", ["no JSON", '{"orderId": "abc"}', f'{{"orderId": "{UNKNOWN_ORDER}"}}'])
def test_poison_is_kept_as_it_came(engine, bury, queues, body):
    queues.orders.send(body)

    bury()

    (letter,) = dead_letters("list")
    assert letter["body"] == body
    assert letter["reason"]


def test_a_message_about_an_order_that_ended_changes_nothing(api, bury, queues, database):
    order_id = api.place()
    queues.work_off()
    queues.settlements.send({"orderId": order_id})

    bury()

    assert database.order(order_id)["status"] == "confirmed"
    assert dead_letters("list")[0]["queue"] == "settlements"


def test_a_message_is_buried_once(api, queues, database):
    api.place()
    (message,) = queues.orders.receive()
    event = queues.orders.event([message])

    app.bury_order(event, CONTEXT)
    app.bury_order(event, CONTEXT)

    assert database.count("dead_letters") == 1


def test_a_redriven_order_goes_on_where_it_stopped(api, bury, queues, database):
    order_id = api.place()
    bury()

    (letter,) = dead_letters("redrive")
    assert letter["orderId"] == order_id
    queues.work_off()

    names = database.event_names(order_id)
    assert names == ["pending", "failed", "redriven", "routing", "building", "submitted", "confirmed"]
    assert dead_letters("list") == []


def test_only_the_letters_that_were_named_are_redriven(api, bury, database):
    first, second = api.place(), api.place()
    bury()
    letters = {letter["orderId"]: letter["messageId"] for letter in dead_letters("list")}

    dead_letters("redrive", messageIds=[letters[first]])

    assert database.order(first)["status"] == "pending"
    assert database.order(second)["status"] == "failed"
    assert [letter["orderId"] for letter in dead_letters("list")] == [second]


def test_a_redriven_message_without_an_order_goes_back_to_its_queue_as_it_was(engine, bury, queues):
    queues.orders.send("no JSON")
    bury()

    dead_letters("redrive")

    assert [message["Body"] for message in queues.orders.receive()] == ["no JSON"]


@pytest.mark.parametrize("status", ["confirmed", "failed"])
def test_an_order_of_which_a_swap_landed_is_never_revived(engine, api, queues, database, status):
    order_id = api.place()
    queues.work_off()
    database.change("UPDATE orders SET status = %s", status)

    assert DeadLetterStore(engine.database).revive(engine.store.find(order_id)) is None


def test_an_order_of_which_a_swap_may_still_land_is_never_revived(engine, api, queues, database):
    order_id = api.place()
    queues.orders.poll()
    database.change("UPDATE orders SET status = 'failed'")

    assert DeadLetterStore(engine.database).revive(engine.store.find(order_id)) is None


def test_an_order_is_not_failed_behind_the_back_of_its_worker(make_engine, api, database):
    """The burial waits for the row that the worker is about to submit, and has seen no swap when it began."""
    order_id = api.place()
    worker, undertaker = make_engine(), make_engine()
    owner = uuid4()
    claimed = worker.store.claim(order_id, owner, timedelta(minutes=1)).order
    assert undertaker.store.fail(claimed, error="buried") is None

    database.change("UPDATE orders SET lease_until = now() WHERE id = %s", order_id)
    routed = worker.store.route(claimed, owner, "raydium", ROUTED).order
    blocker = psycopg.connect(worker.settings.database_url)
    blocker.execute("SELECT FROM orders WHERE id = %s FOR UPDATE", (order_id,))
    with ThreadPoolExecutor(2) as pool:
        plan = SwapPlan(
            venue="raydium", actions=("swap",), expected_amount_out=Decimal(1), min_amount_out=None, max_amount_out=None
        )
        swap = worker.router.venue("raydium").build(routed, plan)
        submitting = pool.submit(worker.store.submit, routed, owner, ROUTED, swap, plan)
        wait_until_blocked(database, 1)
        failing = pool.submit(undertaker.store.fail, routed, error="buried")
        wait_until_blocked(database, 2)
        blocker.rollback()
        submitted, failed = submitting.result(), failing.result()
    blocker.close()

    assert len(submitted) == 3
    assert failed is None
    assert database.order(order_id)["status"] == "submitted"


def wait_until_blocked(database, statements):
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while database.rows(waiting)[0]["count"] < statements:
        time.sleep(0.005)


def test_a_viewer_hears_of_an_order_whose_undertaker_died_before_saying_so(engine, api, bury, queues, open_socket):
    order_id = api.place()
    socket = open_socket(orderId=order_id)
    queues.replays.poll()
    engine.store.fail(engine.store.find(order_id), error="buried")

    bury()
    queues.replays.poll()
    queues.clock.pass_time(60)
    queues.replays.poll()

    assert socket.events == ["pending", "failed"]
    assert socket.closed

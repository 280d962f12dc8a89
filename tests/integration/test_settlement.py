"""Swaps that were sent: landed, failed, expired, or not heard of yet."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest

from chalicelib.execution.settlement import WATCH_SECONDS
from chalicelib.orders.swap import Fill
from chalicelib.venues.simulated.chain import EXPIRY_MARGIN
from chalicelib.venues.simulated.faults import FaultRates
from chalicelib.venues.venue import VenueUnavailable
from tests.builders import STEPS
from tests.clocks import QuickClock, StoppedClock
from tests.integration.cloud import NO_DATABASE, NO_QUEUE, at_once
from tests.integration.venues import trouble_chain

LIFETIME = timedelta(seconds=FaultRates().transaction_lifetime)
CHAIN_ERROR = "slippage: the fill of 1 is outside the bound"


@pytest.fixture
def submitted(api, queues):
    """Place an order and take it as far as submitted; returns its id."""

    def place(**changes):
        order_id = api.place(**changes)
        queues.orders.poll()
        queues.clock.pass_time(2.1)
        return order_id

    return place


@pytest.fixture
def swap_fails(database):
    """Let the chain end every swap that is in flight with an error."""
    return lambda: database.change(
        "UPDATE simulated_transactions SET outcome = 'failed', amount_out = NULL, error = %s", CHAIN_ERROR
    )


@pytest.fixture
def keep_from_landing(database):
    """Let an order's swap land only in an hour."""
    return lambda order_id: database.change(
        """UPDATE simulated_transactions SET lands_at = now() + interval '1 hour'
           FROM orders WHERE orders.tx_hash = simulated_transactions.tx_hash AND orders.id = %s""",
        order_id,
    )


def test_a_swap_that_ends_in_an_error_is_followed_by_another_one(submitted, queues, database, swap_fails):
    order_id = submitted()
    first_hash = database.order(order_id)["tx_hash"]
    swap_fails()

    queues.settlements.poll()
    row = database.order(order_id)
    assert (row["status"], row["attempts"], row["last_error"], row["tx_hash"]) == ("pending", 1, CHAIN_ERROR, None)
    queues.work_off()

    row = database.order(order_id)
    assert (row["status"], row["attempts"]) == ("confirmed", 2)
    swaps = database.swaps(order_id)
    assert [swap["state"] for swap in swaps] == ["failed", "landed"]
    assert [swap["tx_hash"] for swap in swaps] == [first_hash, row["tx_hash"]]
    assert database.event_names(order_id) == [*STEPS[:4], "retrying", *STEPS[1:]]
    assert [event["seq"] for event in database.events(order_id)] == list(range(1, 10))


def test_a_fill_of_an_earlier_swap_does_not_confirm_an_order(engine, submitted, queues, database, swap_fails):
    order_id = submitted()
    earlier = database.order(order_id)["tx_hash"]
    swap_fails()
    queues.settlements.poll()
    queues.orders.poll()
    assert database.order(order_id)["status"] == "submitted"

    assert engine.store.confirm([Fill(order_id, earlier, "raydium", Decimal(1), Decimal(1), Decimal(1))]) == []

    assert database.event_names(order_id)[-1] == "submitted"


def test_an_order_whose_swaps_all_fail_ends_as_failed(submitted, queues, database, swap_fails):
    order_id = submitted()
    for _ in range(2):
        swap_fails()
        queues.settlements.poll()
        queues.orders.poll()
        queues.clock.pass_time(2.1)
    swap_fails()
    queues.work_off()

    row = database.order(order_id)
    assert (row["status"], row["attempts"], row["last_error"]) == ("failed", 3, CHAIN_ERROR)
    assert [swap["state"] for swap in database.swaps(order_id)] == ["failed"] * 3
    assert database.events(order_id)[-1]["details"] == {"error": CHAIN_ERROR, "attempts": 3}


def test_the_next_try_waits_on_the_queue(make_engine, serve, submitted, queues, database, swap_fails):
    serve(make_engine(BACKOFF_BASE_MS="1000"))
    order_id = submitted()
    swap_fails()
    queues.settlements.poll()

    queues.clock.pass_time(0.9)
    assert queues.orders.receive() == []
    queues.clock.pass_time(0.2)
    assert len(queues.orders.receive()) == 1
    assert database.events(order_id)[-1]["details"]["delayMs"] == 1000


def test_a_swap_that_expired_unseen_is_followed_by_another_one(make_engine, serve, submitted, queues, database):
    clock = QuickClock()
    chain = trouble_chain(serve(make_engine(clock=clock)), lost=1)
    order_id = submitted()

    clock.ahead += LIFETIME + EXPIRY_MARGIN
    queues.settlements.poll()
    row = database.order(order_id)
    assert (row["status"], row["attempts"]) == ("pending", 1)
    assert row["last_error"] == "the swap expired before it landed"
    queues.work_off()

    assert [swap["state"] for swap in database.swaps(order_id)] == ["expired", "landed"]
    assert chain.received == [bytes(database.swaps(order_id)[1]["payload"])]
    assert database.order(order_id)["status"] == "confirmed"


def test_a_swap_that_has_not_expired_is_never_replaced(make_engine, serve, submitted, queues, database):
    clock = QuickClock()
    chain = trouble_chain(serve(make_engine(clock=clock)), lost=1)
    order_id = submitted()

    clock.ahead += LIFETIME - timedelta(seconds=10)
    (message,) = queues.settlements.receive()
    answer = queues.settlements.deliver([message])

    assert answer == {"batchItemFailures": [{"itemIdentifier": message["MessageId"]}]}
    (swap,) = database.swaps(order_id)
    assert swap["state"] == "live"
    assert chain.received == [bytes(swap["payload"])]


def test_a_swap_that_expired_is_given_up_only_when_a_chain_whose_clock_is_behind_cannot_take_it_any_more(
    make_engine, serve, submitted, queues, database
):
    clock = StoppedClock(datetime.now(UTC))
    trouble_chain(serve(make_engine(clock=clock)), lost=3)
    order_id = submitted()
    (swap,) = database.swaps(order_id)
    given_up_at = swap["expires_at"] + EXPIRY_MARGIN

    clock.at = given_up_at - timedelta(seconds=WATCH_SECONDS + 0.5)
    queues.settlements.poll()
    assert swap["expires_at"] < clock.at < given_up_at
    assert database.swaps(order_id)[0]["state"] == "live"

    clock.at = given_up_at
    queues.clock.pass_time(2.1)
    queues.settlements.poll()
    assert database.swaps(order_id)[0]["state"] == "expired"


def test_a_swap_that_lands_right_after_a_look_is_not_given_up_by_it_although_it_has_expired_meanwhile(
    make_engine, serve, submitted, queues, database
):
    clock = StoppedClock(datetime.now(UTC))
    engine = serve(make_engine(clock=clock))
    simulated = engine.chain
    chain = trouble_chain(engine, lost=1)
    order_id = submitted()
    ((_, swap),) = engine.store.in_flight([order_id])

    def land_and_expire():
        simulated.submit(swap)
        clock.at = max(clock.at, swap.expires_at + EXPIRY_MARGIN)

    chain.after_statuses = land_and_expire
    queues.settlements.poll()

    assert database.event_names(order_id) == STEPS


def test_a_swap_that_landed_is_confirmed_however_late_it_is_looked_at(make_engine, serve, submitted, queues, database):
    clock = QuickClock()
    serve(make_engine(clock=clock))
    order_id = submitted()

    clock.ahead += 10 * LIFETIME
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"
    assert len(database.swaps(order_id)) == 1


def test_what_has_not_landed_comes_back_two_seconds_later_and_the_rest_is_confirmed(
    submitted, queues, database, keep_from_landing
):
    late, *others = [submitted(amount=amount) for amount in (1, 2, 3)]
    keep_from_landing(late)

    messages = queues.settlements.receive()
    answer = queues.settlements.deliver(messages)

    (kept,) = [message["MessageId"] for message in messages if late in message["Body"]]
    assert answer == {"batchItemFailures": [{"itemIdentifier": kept}]}
    assert {database.order(order_id)["status"] for order_id in others} == {"confirmed"}
    assert database.order(late)["status"] == "submitted"
    queues.clock.pass_time(1.9)
    assert queues.settlements.receive() == []
    queues.clock.pass_time(0.2)
    assert len(queues.settlements.receive()) == 1


def test_a_message_too_many_does_not_have_a_swap_sent_that_was_not_submitted(
    engine, api, record_swap, queues, database
):
    """Until ``submitted`` is committed, the order may be cancelled or expire."""
    chain = trouble_chain(engine)
    order_id = api.place()
    record_swap(order_id)
    queues.settlements.send({"orderId": order_id})

    assert queues.settlements.poll() == {"batchItemFailures": []}

    assert chain.received == []
    assert database.event_names(order_id) == STEPS[:3]


def test_sending_a_swap_again_changes_nothing(submitted, queues, database, keep_from_landing):
    order_id = submitted()
    keep_from_landing(order_id)
    before = database.rows("SELECT * FROM simulated_transactions")

    queues.settlements.poll()

    assert database.rows("SELECT * FROM simulated_transactions") == before


def test_a_chain_that_does_not_answer_costs_no_try(engine, submitted, queues, database):
    chain = trouble_chain(engine)
    order_id = submitted()
    chain.blind = True

    assert len(queues.settlements.poll()["batchItemFailures"]) == 1
    assert database.order(order_id)["status"] == "submitted"

    chain.blind = False
    queues.work_off()
    assert (database.order(order_id)["status"], database.order(order_id)["attempts"]) == ("confirmed", 1)


def test_a_chain_that_no_longer_takes_the_bytes_is_asked_again_later(engine, submitted, queues, database):
    trouble_chain(engine, lost=2, error=VenueUnavailable("timed out"))
    order_id = submitted()

    assert len(queues.settlements.poll()["batchItemFailures"]) == 1
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"


def test_a_database_that_does_not_answer_gives_the_whole_batch_back(make_engine, serve, submitted, queues, database):
    order_ids = [submitted(amount=amount) for amount in (1, 2)]
    serve(make_engine(DATABASE_URL=NO_DATABASE))

    assert len(queues.settlements.poll()["batchItemFailures"]) == 2

    assert {database.order(order_id)["status"] for order_id in order_ids} == {"submitted"}


def test_settlements_at_once_confirm_an_order_once(make_engine, submitted, database):
    order_ids = [submitted(amount=amount) for amount in range(1, 6)]

    answers = at_once(partial(make_engine().settlement.settle, order_ids) for _ in range(4))

    assert answers == [{}] * 4
    for order_id in order_ids:
        assert database.event_names(order_id) == STEPS
        assert database.order(order_id)["attempts"] == 1


@pytest.mark.parametrize(("max_retries", "event", "messages"), [("3", "retrying", 1), ("1", "failed", 0)])
def test_settlements_at_once_end_a_failed_try_once(
    make_engine, serve, submitted, queues, database, swap_fails, max_retries, event, messages
):
    serve(make_engine(MAX_RETRIES=max_retries))
    order_id = submitted()
    swap_fails()

    at_once(partial(make_engine().settlement.settle, [order_id]) for _ in range(4))

    assert database.event_names(order_id) == [*STEPS[:4], event]
    assert bool(queues.orders.count()) == bool(messages), "a message too many is harmless, one too few is not"


def test_a_message_about_an_order_that_is_settled_is_done_with(submitted, queues, database):
    order_id = submitted()
    queues.work_off()
    queues.settlements.send({"orderId": order_id})

    assert queues.settlements.poll() == {"batchItemFailures": []}
    assert len(database.events(order_id)) == 5


def test_a_retry_that_cannot_be_queued_waits_for_recovery(make_engine, submitted, queues, database, swap_fails):
    order_id = submitted()
    swap_fails()
    engine = make_engine(ORDERS_QUEUE_URL=NO_QUEUE)

    assert engine.settlement.settle([order_id]) == {}

    assert database.order(order_id)["status"] == "pending"
    assert queues.orders.count() == 0

"""Orders that wait for a price: what puts them into the book, what wakes them, and what they never do.

SOL/USDC begins at 150; with the tests' seed nothing moves a price but what a test sets with ``market.steer``.
"""

import dataclasses
from decimal import Decimal

import pytest

import app
from chalicelib.resources import ResourceUnavailable
from chalicelib.routing.conditions import unmet_limit
from chalicelib.venues.venue import VenueUnavailable
from infra.schedules import FIRST_SCHEDULED_EVENT
from tests.builders import GOOD_TILL_TOMORROW, STEPS
from tests.clocks import StoppedClock
from tests.integration.cloud import CONTEXT, at_once
from tests.integration.venues import fail_once, trouble_venues


@pytest.fixture
def look(engine, queues):
    """Let the market watch look once, and the workers do what follows from it."""

    def once():
        woken = engine.market_watch.look()
        queues.work_off()
        return woken

    return once


def limit(side, price, **changes):
    return {"orderType": "limit", "side": side, "limitPrice": price, **changes}


def stop(side, price, **changes):
    return {"orderType": "stop", "side": side, "triggerPrice": price, **changes}


# --- Limit ---


@pytest.mark.parametrize("order", [limit("sell", 100), limit("buy", 200)])
def test_a_limit_order_that_is_met_executes_at_once_and_at_the_better_price(worked_off, database, order):
    order_id = worked_off(**order)

    assert database.event_names(order_id) == STEPS
    assert 140 < database.order(order_id)["executed_price"] < 160


@pytest.mark.parametrize(
    ("order", "reached"), [(limit("sell", 200), 210), (limit("buy", 100), 95)], ids=["sell above", "buy below"]
)
def test_a_limit_order_waits_until_its_price_is_reached(worked_off, look, engine, database, order, reached):
    order_id = worked_off(**order)
    assert look() == 0
    assert database.event_names(order_id) == ["pending", "waiting"]

    engine.market.steer("SOL/USDC", Decimal(reached))

    assert look() == 1
    assert database.event_names(order_id)[2:] == ["triggered", "routing", "building", "submitted", "confirmed"]
    executed = database.order(order_id)["executed_price"]
    assert executed >= 200 if order["side"] == "sell" else executed <= 100


def test_a_waiting_order_says_what_it_waits_for(worked_off, api, database):
    order_id = worked_off(**limit("buy", 100))

    waiting_for = database.events(order_id)[1]["details"]["waitingFor"]
    assert waiting_for["limitPrice"] == 100
    assert 140 < waiting_for["netPrice"] < 160
    order = api.get(f"/api/orders/{order_id}").body
    assert (order["status"], order["waitsFor"], order["limitPrice"]) == ("pending", "price", 100)


def test_a_waiting_order_has_no_message_no_lease_and_no_place_in_recovery(
    worked_off, engine, queues, database, let_time_pass
):
    order_id = worked_off(**limit("buy", 100))
    let_time_pass(24 * 3600)

    assert engine.recovery.recover() == 0
    assert queues.orders.count() == 0
    assert database.order(order_id)["lease_owner"] is None


def test_a_message_too_many_does_not_wake_a_waiting_order(worked_off, queues, database):
    order_id = worked_off(**limit("buy", 100))
    queues.orders.send({"orderId": order_id})

    queues.work_off()

    assert database.event_names(order_id) == ["pending", "waiting"]


def test_a_price_that_moved_away_before_routing_lets_the_order_wait_again(worked_off, engine, queues, database):
    order_id = worked_off(**limit("buy", 100))
    engine.market.steer("SOL/USDC", Decimal(90))
    assert engine.market_watch.look() == 1
    engine.market.steer("SOL/USDC", Decimal(150))

    queues.work_off()

    assert database.event_names(order_id) == ["pending", "waiting", "triggered", "waiting"]
    assert database.swaps(order_id) == []


def test_an_order_too_large_for_its_price_waits_for_one_at_which_its_own_amount_is_met(
    worked_off, look, engine, database
):
    order_id = worked_off(**limit("sell", 145, amount=5000))  # of about 20,000 and 33,000 in the pools
    assert database.event_names(order_id) == ["pending", "waiting"]

    assert look() == 0  # the market price is above the limit, and stays there

    engine.market.steer("SOL/USDC", Decimal(170))
    look()
    if database.order(order_id)["status"] == "pending":
        engine.market.steer("SOL/USDC", Decimal(200))
        look()
    assert database.order(order_id)["status"] == "confirmed"
    assert database.order(order_id)["executed_price"] >= 145


@pytest.mark.parametrize("side", ["sell", "buy"])
def test_slippage_does_not_go_beyond_the_limit(worked_off, database, side):
    quoted = 100 if side == "sell" else 200
    order_id = worked_off(**limit(side, quoted, slippageTolerance=0.5, amount=2))

    order = database.order(order_id)
    bound = order["min_amount_out"] if side == "sell" else order["max_amount_out"]
    assert bound == 2 * quoted


def test_an_order_that_waits_again_has_all_its_tries_before_it(make_engine, serve, api, queues, database):
    engine = serve(make_engine())
    no_answer = [VenueUnavailable("no answer")] * 2
    trouble_venues(engine, raydium=no_answer, meteora=no_answer)

    order_id = api.place(**limit("buy", 100))
    queues.work_off()

    assert database.event_names(order_id) == ["pending", "retrying", "retrying", "waiting"]
    assert database.order(order_id)["attempts"] == 0


def test_watches_that_look_at_the_same_time_queue_each_order_once(make_engine, worked_off, engine, queues, database):
    order_ids = [worked_off(**limit("buy", 100)) for _ in range(20)]
    engine.market.steer("SOL/USDC", Decimal(90))

    woken = at_once(make_engine().market_watch.look for _ in range(4))

    assert sum(woken) == 20
    assert queues.orders.count() == 20
    assert all(database.event_names(order_id) == ["pending", "waiting", "triggered"] for order_id in order_ids)


def test_orders_that_cannot_be_queued_are_queued_by_recovery(worked_off, engine, queues, database, let_time_pass):
    order_id = worked_off(**limit("buy", 100))
    engine.market.steer("SOL/USDC", Decimal(90))
    fail_once(engine.order_queue, "send_all", ResourceUnavailable("SQS", "no answer"))

    assert engine.market_watch.look() == 1
    let_time_pass(3600)
    assert engine.recovery.recover() == 1
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"


def test_while_no_venue_answers_nothing_is_woken_and_the_watch_goes_on(worked_off, engine):
    worked_off(**limit("buy", 100))
    engine.market.steer("SOL/USDC", Decimal(90))
    for venue in trouble_venues(engine):
        fail_once(venue, "spot", VenueUnavailable("no answer"))

    assert engine.market_watch.look() == 0
    assert engine.market_watch.look() == 1


def test_an_order_that_was_first_quoted_while_a_venue_was_down_is_woken_when_its_limit_is_reached(
    make_engine, serve, api, queues, database
):
    engine = serve(make_engine())
    trouble_venues(engine, raydium=[VenueUnavailable("no answer")])
    order_id = api.place(**limit("sell", 160, amount=3000))
    queues.work_off()
    assert database.event_names(order_id) == ["pending", "waiting"]

    for base in (165, 170, 175, 180, 185):
        engine.market.steer("SOL/USDC", Decimal(base))
        met = unmet_limit(engine.store.find(order_id), engine.router.route(engine.store.find(order_id).trade)) is None
        engine.market_watch.look()
        queues.work_off()
        assert (database.order(order_id)["status"] == "confirmed") == met
        if met:
            return
    raise AssertionError("the limit was never met")


def test_an_order_past_its_limit_is_looked_at_again_after_ever_longer_pauses(worked_off, look, database):
    order_id = worked_off(**limit("sell", 145, amount=5000))
    pauses = []
    for _ in range(7):
        assert look() == 0
        order = database.order(order_id)
        pauses.append((order["look_again_at"] - order["updated_at"]).total_seconds())
        database.change("UPDATE orders SET look_again_at = now()")
        assert look() == 1

    assert pauses == [30, 60, 120, 240, 480, 600, 600]
    assert set(database.event_names(order_id)) == {"pending", "waiting", "triggered"}


def test_the_pauses_begin_anew_when_the_market_has_left_the_limit(worked_off, look, engine, database):
    order_id = worked_off(**limit("sell", 145, amount=5000))
    engine.market.steer("SOL/USDC", Decimal(100))
    database.change("UPDATE orders SET look_again_at = now()")
    look()

    order = database.order(order_id)
    assert (order["wake_price"], order["look_again_at"], order["vain_looks"]) == (145, None, 0)


# --- Stop ---


@pytest.mark.parametrize(
    ("order", "short_of_it", "beyond"),
    [(stop("sell", 120), 125, 115), (stop("buy", 180), 175, 190)],
    ids=["sell below", "buy above"],
)
def test_a_stop_fires_when_the_price_reaches_it_against_its_side(
    worked_off, look, engine, database, order, short_of_it, beyond
):
    order_id = worked_off(**order)
    engine.market.steer("SOL/USDC", Decimal(short_of_it))
    assert look() == 0

    engine.market.steer("SOL/USDC", Decimal(beyond))

    assert look() == 1
    assert database.event_names(order_id) == [
        "pending", "waiting", "triggered", "routing", "building", "submitted", "confirmed",
    ]  # fmt: skip
    triggered = database.events(order_id)[2]["details"]["marketPrice"]
    assert triggered <= 120 if order["side"] == "sell" else triggered >= 180


def test_a_stop_that_is_reached_already_fires_at_its_first_look(worked_off, database):
    order_id = worked_off(**stop("sell", 200))

    assert database.event_names(order_id)[:3] == ["pending", "triggered", "routing"]
    assert database.order(order_id)["status"] == "confirmed"


def test_a_stop_that_was_reached_stays_triggered_wherever_the_price_goes(worked_off, engine, queues, database):
    order_id = worked_off(**stop("sell", 120))
    engine.market.steer("SOL/USDC", Decimal(110))
    engine.market_watch.look()
    engine.market.steer("SOL/USDC", Decimal(150))

    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"


def test_a_triggered_stop_limit_waits_for_its_limit(worked_off, look, engine, database):
    order_id = worked_off(**stop("sell", 120, limitPrice=118))
    engine.market.steer("SOL/USDC", Decimal(100))
    look()
    assert database.event_names(order_id) == ["pending", "waiting", "triggered", "waiting"]

    engine.market.steer("SOL/USDC", Decimal(140))
    assert look() == 1

    assert database.order(order_id)["status"] == "confirmed"
    assert database.order(order_id)["executed_price"] >= 118


# --- Time in force ---


@pytest.mark.parametrize("order", [limit("buy", 100), stop("sell", 100), {"orderType": "sniper", "tokenIn": "WIF"}])
def test_an_order_that_must_not_wait_is_cancelled_with_the_reason(worked_off, database, order):
    order_id = worked_off(**order, timeInForce="IOC")

    assert database.event_names(order_id) == ["pending", "cancelled"]
    assert "not met now" in database.events(order_id)[1]["details"]["reason"]


def test_an_immediate_order_that_is_met_executes(worked_off, database):
    assert database.order(worked_off(**limit("sell", 100), timeInForce="IOC"))["status"] == "confirmed"


def test_an_order_expires_when_its_time_is_up(worked_off, look, database):
    order_id = worked_off(**limit("buy", 100), **GOOD_TILL_TOMORROW)
    look()
    assert database.order(order_id)["status"] == "pending"

    database.change("UPDATE orders SET expires_at = now()")
    look()

    assert database.event_names(order_id) == ["pending", "waiting", "expired"]


def test_a_viewer_hears_of_an_order_that_expired_though_the_watch_died_before_saying_so(
    worked_off, engine, open_socket, queues, database
):
    socket = open_socket(orderId=worked_off(**limit("buy", 50), **GOOD_TILL_TOMORROW))
    queues.work_off()
    database.change("UPDATE orders SET expires_at = now()")
    fail_once(engine.publisher, "publish_all", RuntimeError("the process ended here"))
    with pytest.raises(RuntimeError):
        engine.market_watch.look()

    queues.work_off()

    assert socket.events == ["pending", "waiting", "expired"]
    assert socket.closed


def test_an_order_whose_time_is_up_is_not_executed_even_if_nobody_has_expired_it_yet(api, database, queues):
    order_id = api.place(**GOOD_TILL_TOMORROW)
    database.change("UPDATE orders SET expires_at = now()")

    queues.work_off()

    assert database.event_names(order_id) == ["pending"]


def test_an_order_that_expires_while_it_is_prepared_is_not_sent(api, engine, queues, look, database):
    order_id = api.place(**GOOD_TILL_TOMORROW)
    for venue in trouble_venues(engine):
        venue.before_build = lambda: database.change("UPDATE orders SET expires_at = now()")
    queues.work_off()
    look()

    assert database.event_names(order_id) == ["pending", "expired"]
    assert database.swaps(order_id) == []
    assert database.count("simulated_transactions") == 0


def test_an_order_that_was_submitted_in_time_does_not_expire(api, engine, queues, database):
    order_id = api.place(**GOOD_TILL_TOMORROW)
    queues.orders.poll()
    database.change("UPDATE orders SET expires_at = now()")
    engine.market_watch.look()

    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"


# --- The watch ---


def test_the_schedule_starts_a_watch(engine, monkeypatch, worked_off):
    monkeypatch.setattr("chalicelib.triggers.market_watch.WATCH_SECONDS", 0.0)
    worked_off(**limit("buy", 100))
    engine.market.steer("SOL/USDC", Decimal(90))

    assert app.watch_market(FIRST_SCHEDULED_EVENT, CONTEXT) == {"woken": 1}


def test_many_orders_are_woken_and_expired_in_batches_each_at_the_price_of_its_moment(
    engine, worked_off, database, monkeypatch
):
    monkeypatch.setattr("chalicelib.triggers.waking.WOKEN_AT_ONCE", 2)
    monkeypatch.setattr("chalicelib.triggers.expiry.EXPIRED_AT_ONCE", 2)
    reached = [worked_off(**limit("buy", 100)) for _ in range(5)]
    due = [worked_off(**limit("buy", 50), **GOOD_TILL_TOMORROW) for _ in range(5)]
    database.change("UPDATE orders SET expires_at = now() WHERE expires_at IS NOT NULL")
    engine.market.steer("SOL/USDC", Decimal(90))

    assert engine.market_watch.look() == 5

    assert {database.event_names(order_id)[-1] for order_id in reached} == {"triggered"}
    assert {database.event_names(order_id)[-1] for order_id in due} == {"expired"}


@pytest.fixture
def booked_up(make_engine, worked_off, engine, monkeypatch):
    """Let one price reach six limit orders, and a watch wake two: there is no room yet for the others.

    At one order a minute, half of it for triggered orders, the third one's turn is minutes away. Returns the watch, on
    whose clock no time passes by itself.
    """
    monkeypatch.setattr("chalicelib.triggers.waking.WOKEN_AT_ONCE", 2)
    monkeypatch.setattr("chalicelib.triggers.market_watch.FARTHEST_TURN", 60.0)

    def watch():
        for _ in range(6):
            worked_off(**limit("buy", 100))
        watch = dataclasses.replace(make_engine(ORDER_PROCESSOR_RATE="1").market_watch, clock=StoppedClock())
        engine.market.steer("SOL/USDC", Decimal(90))
        assert (watch.look(), watch.look()) == (2, 0)
        return watch

    return watch


def test_orders_whose_turn_would_be_too_far_away_wait_in_the_book_until_there_is_room(booked_up, database):
    watch = booked_up()

    watch.clock.pass_time(60)

    assert watch.look() == 2
    assert database.rows("SELECT count(*) FROM orders WHERE waits_for = 'price'")[0]["count"] == 2


def test_a_crowd_of_limit_orders_that_is_booked_up_delays_no_stop_and_no_sniper(
    booked_up, worked_off, engine, database
):
    stop_id = worked_off(**stop("sell", 2, tokenIn="RAY"))
    sniper_id = worked_off(orderType="sniper", tokenIn="WIF")
    watch = booked_up()

    engine.market.steer("RAY/USDC", Decimal("1.5"))
    engine.market.steer("WIF/USDC", Decimal(2))
    database.change("INSERT INTO launches (pool, token_in) VALUES ('a pool', 'WIF')")

    assert watch.look() == 2
    assert {database.event_names(order_id)[-1] for order_id in (stop_id, sniper_id)} == {"triggered"}


def test_triggered_limit_orders_are_queued_for_one_turn_after_another_and_a_stop_does_not_wait_for_theirs(
    make_engine, worked_off, engine, queues
):
    """At sixty orders a minute a triggered one has its turn every two seconds, the second one a second early."""
    for _ in range(5):
        worked_off(**limit("buy", 100))
    stop_id = worked_off(**stop("sell", 2, tokenIn="RAY"))
    watch = make_engine(ORDER_PROCESSOR_RATE="60").market_watch

    engine.market.steer("SOL/USDC", Decimal(90))
    assert watch.look() == 5
    engine.market.steer("RAY/USDC", Decimal("1.5"))
    assert watch.look() == 1

    now = queues.orders.drain()
    assert len(now) == 2
    assert stop_id in "".join(message["Body"] for message in now)
    for seconds in (1, 2, 2, 2):
        queues.clock.pass_time(seconds)
        assert len(queues.orders.drain()) == 1


def test_every_pair_and_side_has_its_share_of_a_batch(engine, worked_off, database, monkeypatch):
    monkeypatch.setattr("chalicelib.triggers.waking.WOKEN_AT_ONCE", 4)
    monkeypatch.setattr("chalicelib.triggers.market_watch.MOST_BATCHES", 1)
    for _ in range(6):
        worked_off(**limit("sell", 200))
    others = [worked_off(**limit("buy", 2, tokenIn="RAY")), worked_off(**limit("sell", 2, tokenIn="JUP"))]
    engine.market.steer("SOL/USDC", Decimal(210))
    engine.market.steer("RAY/USDC", Decimal("1.5"))
    engine.market.steer("JUP/USDC", Decimal("2.5"))

    assert engine.market_watch.look() == 4
    assert {database.event_names(order_id)[-1] for order_id in others} == {"triggered"}

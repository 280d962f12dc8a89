"""Tries that fail, and what follows: another one after a growing wait, or the end."""

import pytest

from chalicelib.venues.venue import SwapRefused, VenueUnavailable
from tests.integration.venues import trouble_venues

TIMEOUT = VenueUnavailable("timed out")


@pytest.fixture
def patient(engine, make_engine, serve):
    """An engine that waits as documented between tries: 1 s, then 2 s.

    ``engine`` is made before it, or it would put itself behind the handlers when ``api`` asks for it.
    """
    return serve(make_engine(BACKOFF_BASE_MS="1000"))


def test_a_try_that_fails_for_now_is_followed_by_one_that_confirms(engine, api, queues, database):
    trouble_venues(engine, raydium=[TIMEOUT], meteora=[TIMEOUT])
    order_id = api.place()

    queues.work_off()

    row = database.order(order_id)
    assert database.event_names(order_id) == ["pending", "retrying", "routing", "building", "submitted", "confirmed"]
    assert [event["seq"] for event in database.events(order_id)] == [1, 2, 3, 4, 5, 6]
    assert (row["status"], row["attempts"]) == ("confirmed", 2)
    assert row["last_error"] == "raydium: timed out; meteora: timed out"
    retrying = database.events(order_id)[1]
    assert retrying["status"] == "pending"
    assert retrying["details"] == {"error": row["last_error"], "attempt": 1, "maxRetries": 3, "delayMs": 0}


def test_a_message_comes_back_after_the_wait_between_tries(patient, api, queues, database):
    trouble_venues(patient, raydium=[TIMEOUT] * 2, meteora=[TIMEOUT] * 2)
    order_id = api.place()

    for seconds in (1, 2):
        (message,) = queues.orders.receive()
        answer = queues.orders.deliver([message])
        assert answer == {"batchItemFailures": [{"itemIdentifier": message["MessageId"]}]}
        queues.clock.pass_time(seconds - 0.1)
        assert queues.orders.receive() == []
        queues.clock.pass_time(0.2)
        database.change("UPDATE orders SET available_at = now()")  # as much time has passed in Postgres
    assert queues.orders.poll() == {"batchItemFailures": []}

    delays = [event["details"]["delayMs"] for event in database.events(order_id) if event["event"] == "retrying"]
    assert delays == [1000, 2000]
    assert database.order(order_id)["status"] == "submitted"


def test_an_order_is_not_tried_before_its_wait_is_over(patient, api, queues, database):
    trouble_venues(patient, raydium=[TIMEOUT], meteora=[TIMEOUT])
    order_id = api.place()
    queues.orders.poll()

    assert 0 < patient.executor.execute(order_id) <= 1

    assert database.event_names(order_id) == ["pending", "retrying"]


def test_an_order_fails_when_every_try_has_failed(engine, api, queues, database):
    venues = trouble_venues(engine, raydium=[TIMEOUT] * 9, meteora=[TIMEOUT] * 9)
    order_id = api.place()

    queues.work_off()

    row = database.order(order_id)
    assert database.event_names(order_id) == ["pending", "retrying", "retrying", "failed"]
    assert (row["status"], row["attempts"], row["seq"]) == ("failed", 3, 4)
    assert row["last_error"] == "raydium: timed out; meteora: timed out"
    assert database.events(order_id)[-1]["details"] == {"error": row["last_error"], "attempts": 3}
    assert [venue.asked for venue in venues] == [3, 3]


def test_a_refusal_for_good_fails_at_once(engine, api, queues, database):
    trouble_venues(engine, raydium=[SwapRefused("no pool")], meteora=[SwapRefused("too little in it")])
    order_id = api.place()

    assert queues.orders.poll() == {"batchItemFailures": []}

    row = database.order(order_id)
    assert database.event_names(order_id) == ["pending", "failed"]
    assert (row["status"], row["attempts"]) == ("failed", 1)
    assert row["last_error"] == "raydium: no pool; meteora: too little in it"


def test_an_amount_that_no_pool_holds_fails_at_once(api, queues, database):
    order_id = api.place(side="buy", amount=1_000_000)

    queues.work_off()

    row = database.order(order_id)
    assert (row["status"], row["attempts"]) == ("failed", 1)
    assert "1000000 cannot be bought" in row["last_error"]


def test_a_venue_that_fails_leaves_the_order_to_the_other(engine, api, queues, database):
    trouble_venues(engine, raydium=[TIMEOUT])
    order_id = api.place()

    queues.work_off()

    row = database.order(order_id)
    assert (row["status"], row["chosen_dex"], row["attempts"]) == ("confirmed", "meteora", 1)
    assert list(row["route_meta"]["quotes"]) == ["meteora"]
    assert row["route_meta"]["errors"] == {"raydium": "timed out"}


def test_the_number_of_tries_is_a_setting(make_engine, serve, api, queues, database):
    trouble_venues(serve(make_engine(MAX_RETRIES="1")), raydium=[TIMEOUT], meteora=[TIMEOUT])
    order_id = api.place()

    queues.work_off()

    row = database.order(order_id)
    assert (row["status"], row["attempts"], row["max_retries"]) == ("failed", 1, 1)

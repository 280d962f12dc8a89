"""The simulated chain: when swaps land, and how it misbehaves when it is told to."""

from datetime import timedelta

import pytest


@pytest.fixture
def set_fault(database):
    """Let every swap, or every quote, suffer from a fault."""
    return lambda name, value=1.0: database.change(f"UPDATE simulated_faults SET {name} = {value}")


@pytest.fixture
def landing(database):
    """Return how long a swap takes from now until it lands."""
    return lambda: database.rows("SELECT lands_at - now() AS delay FROM simulated_transactions")[0]["delay"]


def test_a_swap_lands_two_to_three_seconds_after_it_was_sent(make_engine, serve, api, queues, landing):
    serve(make_engine(MOCK_LATENCY="1"))
    api.place()
    queues.orders.poll()

    assert timedelta(seconds=1.5) < landing() <= timedelta(seconds=3)


def test_a_swap_may_land_five_times_as_late(make_engine, serve, api, queues, set_fault, landing):
    set_fault("lands_late")
    serve(make_engine(MOCK_LATENCY="1"))
    api.place()
    queues.orders.poll()

    assert timedelta(seconds=9) < landing() <= timedelta(seconds=15)


def test_a_swap_may_be_dropped_and_is_then_unknown(api, queues, set_fault, database):
    set_fault("dropped")
    order_id = api.place()
    queues.orders.poll()

    assert database.order(order_id)["status"] == "submitted"
    assert database.count("simulated_transactions") == 0


def test_a_swap_may_land_with_an_error(api, queues, set_fault, database):
    set_fault("lands_failed")
    order_id = api.place()
    queues.work_off()

    row = database.order(order_id)
    assert (row["status"], row["last_error"], row["attempts"]) == ("failed", "the program refused the swap", 3)
    assert row["amount_out"] is None


def test_a_swap_whose_sender_got_no_answer_lands_all_the_same(api, queues, set_fault, database):
    set_fault("answer_lost")
    order_id = api.place()
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"
    assert database.count("simulated_transactions") == 1


def test_venues_may_fail_to_quote(api, queues, set_fault, database):
    set_fault("quote_fails")
    order_id = api.place()
    queues.work_off()

    row = database.order(order_id)
    assert row["status"] == "failed"
    assert row["last_error"] == "raydium: did not answer; meteora: did not answer"


def test_a_swap_that_cannot_land_before_it_expires_never_lands(make_engine, serve, api, queues, set_fault, database):
    """Otherwise it could land beside the one that replaced it."""
    set_fault("transaction_lifetime", 1)
    serve(make_engine(MOCK_LATENCY="1"))
    api.place()
    queues.orders.poll()

    assert database.count("simulated_transactions") == 0

"""What a client is told of each error."""

import pytest

from chalicelib.execution.cancellation import NotCancellable
from chalicelib.execution.intake import IdempotencyConflict, TooLate, TooManyOrders
from chalicelib.resources import ResourceUnavailable
from chalicelib.streaming.tickets import TooManyConnections
from chalicelib.streaming.viewers import TooManySubscriptions
from chalicelib.triggers.launches import DeliveryRepeated, LaunchConflict
from chalicelib.venues.venue import SwapRefused, VenueUnavailable
from chalicelib.web.problems import invalid, refusal_of


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (IdempotencyConflict("'k1' was used"), 409, "'k1' was used"),
        (NotCancellable("Order 7 has ended."), 409, "Order 7 has ended."),
        (DeliveryRepeated("taken before"), 409, "The launch cannot be accepted: taken before."),
        (LaunchConflict("pool p is known"), 409, "The launch cannot be accepted: pool p is known."),
        (TooManyConnections("at most 2"), 409, "No connection: at most 2. Close one first."),
        (
            TooManySubscriptions("at most 2"),
            409,
            "No subscription: at most 2. Unsubscribe from one, or open another connection.",
        ),
        (SwapRefused("no pool"), 422, "no pool"),
        (VenueUnavailable("timed out"), 503, "timed out"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_of_the_engine_is_told_with_its_status_and_its_text(error, status, detail):
    refused = refusal_of(error)

    assert (refused.status, refused.problem.status, refused.problem.detail) == (status, status, detail)


def test_an_order_that_comes_too_late_is_told_so_at_the_field_that_says_until_when():
    assert refusal_of(TooLate("its time was up")).problem.errors == {"expiresAt": "its time was up"}


def test_a_venue_that_does_not_answer_may_be_asked_again_after_a_second():
    assert refusal_of(VenueUnavailable("timed out")).headers == {"Retry-After": "1"}


def test_a_user_who_places_too_many_orders_is_told_in_how_many_whole_seconds_the_next_is_accepted():
    refused = refusal_of(TooManyOrders(0.2))

    assert (refused.status, refused.headers, refused.problem.retry_after) == (429, {"Retry-After": "1"}, 1)


def test_an_outage_is_told_without_the_part_that_is_down():
    refused = refusal_of(ResourceUnavailable("Postgres", "127.0.0.1 timed out"))

    assert (refused.status, refused.headers) == (503, {"Retry-After": "2"})
    assert "Postgres" not in refused.problem.detail
    assert "127.0.0.1" not in refused.problem.detail


def test_a_refusal_is_told_as_it_is():
    refused = invalid({"amount": "is required"})

    assert refusal_of(refused) is refused


def test_nothing_is_told_of_a_bug():
    assert refusal_of(ZeroDivisionError("division by zero")) is None

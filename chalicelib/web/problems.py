"""Errors as clients see them: ``application/problem+json`` (RFC 9457), with an ``errors`` object per bad field.

Over REST and over a WebSocket alike; ``refusal_of`` says which of the engine's errors becomes which problem.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from chalicelib.exact_json import encode_json
from chalicelib.resources import ResourceUnavailable


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The body of an error answer, and the ``error`` of a WebSocket error message."""

    title: str
    status: int
    detail: str
    errors: dict[str, str] = {}
    retry_after: int | None = None
    """After how many seconds to try again: what the header says, for those who read no headers."""


class RequestError(Exception):
    """A request that cannot be served; it becomes a problem answer."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: dict[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        seconds = None if retry_after is None else math.ceil(retry_after)
        self.status = status
        self.headers = dict(headers or {}) | ({} if seconds is None else {"Retry-After": str(seconds)})
        self.problem = Problem(
            title=status.phrase, status=status, detail=detail, errors=errors or {}, retry_after=seconds
        )


def refusal_of(error: Exception) -> RequestError | None:
    """Return what a client is told of ``error``; None when it is a bug, of which a client is told nothing."""
    # Who raises them has loaded these; the authorizer, which has not, should not have to.
    from chalicelib.execution.cancellation import NotCancellable
    from chalicelib.execution.intake import IdempotencyConflict, TooLate, TooManyOrders
    from chalicelib.streaming.tickets import TooManyConnections
    from chalicelib.streaming.viewers import TooManySubscriptions
    from chalicelib.triggers.launches import DeliveryRepeated, LaunchConflict
    from chalicelib.venues.venue import SwapRefused, VenueUnavailable

    match error:
        case RequestError():
            return error
        case IdempotencyConflict() | NotCancellable():
            return RequestError(HTTPStatus.CONFLICT, str(error))
        case TooManyConnections():
            return RequestError(HTTPStatus.CONFLICT, f"No connection: {error}. Close one first.")
        case TooManySubscriptions():
            detail = f"No subscription: {error}. Unsubscribe from one, or open another connection."
            return RequestError(HTTPStatus.CONFLICT, detail)
        case TooLate():
            return invalid({"expiresAt": str(error)})
        case DeliveryRepeated() | LaunchConflict():
            return RequestError(HTTPStatus.CONFLICT, f"The launch cannot be accepted: {error}.")
        case SwapRefused():
            return RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        case VenueUnavailable():
            return RequestError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), retry_after=1)
        case TooManyOrders():
            detail = f"This user has placed too many orders: {error}."
            return RequestError(HTTPStatus.TOO_MANY_REQUESTS, detail, retry_after=error.wait)
        case ResourceUnavailable():
            return unavailable()
    return None


def invalid(errors: dict[str, str]) -> RequestError:
    """Refuse a request for what its fields hold; ``errors`` says what, field by field."""
    fields = ", ".join(errors)
    return RequestError(HTTPStatus.BAD_REQUEST, f"The request cannot be accepted: see {fields}.", errors=errors)


def unavailable() -> RequestError:
    """Say that a part is down, without saying which: that is for the operator's log."""
    return RequestError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The engine cannot reach one of its parts. Try again shortly; if this was an order, with the same "
        "clientOrderId or Idempotency-Key, so that it cannot be placed twice.",
        retry_after=2,
    )


def unknown_order(order_id: str) -> RequestError:
    return RequestError(HTTPStatus.NOT_FOUND, f"There is no order {order_id}.")


def shown(value: Any) -> str:
    """Return a JSON value as an error message may repeat it: short, and without control characters."""
    text = repr(value) if isinstance(value, str) else encode_json(value).decode()
    return text if len(text) <= 60 else text[:60] + "…"

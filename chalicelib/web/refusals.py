"""What a client is told of each error that the engine raises: the same over REST as over a WebSocket."""

from http import HTTPStatus

from chalicelib.execution.cancellation import NotCancellable
from chalicelib.execution.intake import IdempotencyConflict, TooLate
from chalicelib.resources import ResourceUnavailable
from chalicelib.triggers.launches import DeliveryRepeated, LaunchConflict
from chalicelib.venues.venue import SwapRefused, VenueUnavailable
from chalicelib.web.problems import RequestError, invalid, unavailable


def refusal_of(error: Exception) -> RequestError | None:
    """Return what a client is told of ``error``; None when it is a bug, of which a client is told nothing."""
    match error:
        case RequestError():
            return error
        case IdempotencyConflict() | NotCancellable():
            return RequestError(HTTPStatus.CONFLICT, str(error))
        case TooLate():
            return invalid({"expiresAt": str(error)})
        case DeliveryRepeated() | LaunchConflict():
            return RequestError(HTTPStatus.CONFLICT, f"The launch cannot be accepted: {error}.")
        case SwapRefused():
            return RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        case VenueUnavailable():
            return RequestError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": "1"})
        case ResourceUnavailable():
            return unavailable()
    return None

"""What can go wrong, by what a program would do about it. Every message says what a person can do."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An error as the engine answers it: ``application/problem+json`` (RFC 9457), or a WebSocket's ``error``."""

    status: int
    title: str = ""
    detail: str = ""
    errors: dict[str, str] = {}
    retry_after: float | None = None
    """After how many seconds to try again."""


class OrderEngineError(Exception):
    """Whatever the client raises.

    Attributes:
        is_uncertain: Whether what was asked for may have been done all the same: the answer was lost, or the engine
            broke off.
        client_order_id: The key of an order of which it is not known whether it was placed. Submitting it again with
            this key places it once, whatever became of it before.
    """

    is_uncertain = False
    client_order_id: str | None = None

    def __str__(self) -> str:
        if self.client_order_id is None:
            return super().__str__()
        return (
            f"{super().__str__()}\nWhether the order was placed is not known. Submit it again with the client order id "
            f"{self.client_order_id}: it is placed once, whatever has become of it."
        )


class Refused(OrderEngineError):
    """The engine does not do what it was asked to.

    Attributes:
        status: The HTTP status, also where a WebSocket's message says it.
        detail: What is wrong.
        errors: What is wrong with each field, by the field's name in the API.
        retry_after: After how many seconds another try may go well; None where none will.
    """

    def __init__(self, problem: Problem) -> None:
        self.status = problem.status
        self.title = problem.title
        self.detail = problem.detail or problem.title or f"The engine answered with status {problem.status}."
        self.errors: Mapping[str, str] = problem.errors
        self.retry_after = problem.retry_after
        super().__init__("\n".join([self.detail, *(f"  {field}: {what}" for field, what in problem.errors.items())]))


class Unauthorized(Refused):
    """401: there is no token, or it is not, or no longer, a good one."""


class NotFound(Refused):
    """404: there is no such order, or it is somebody else's."""


class Conflict(Refused):
    """409: too late to cancel, or a key that belongs to another order."""


class Unprocessable(Refused):
    """422: no venue can make this trade."""


class TooManyRequests(Refused):
    """429: a limit is reached, and was not free again before the client gave up."""


class Unavailable(Refused):
    """502, 503 or 504: the engine, or a part of it, is down, and was not up again before the client gave up."""

    is_uncertain = True


class Unreachable(OrderEngineError):
    """Nobody answers at the engine's address, or the answer does not arrive."""

    def __init__(self, why: str, *, is_uncertain: bool = False) -> None:
        super().__init__(why)
        self.is_uncertain = is_uncertain


class UnexpectedAnswer(OrderEngineError):
    """What answers is not the engine, or is a version of it that this client cannot read."""


_KINDS: dict[int, type[Refused]] = {
    HTTPStatus.UNAUTHORIZED: Unauthorized,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.UNPROCESSABLE_ENTITY: Unprocessable,
    HTTPStatus.TOO_MANY_REQUESTS: TooManyRequests,
    HTTPStatus.BAD_GATEWAY: Unavailable,
    HTTPStatus.SERVICE_UNAVAILABLE: Unavailable,
    HTTPStatus.GATEWAY_TIMEOUT: Unavailable,
}


def refusal(problem: Problem) -> Refused:
    """Return the error for a problem, by its status."""
    return _KINDS.get(problem.status, Refused)(problem)

"""Read what the engine answers: a result, or the error that an answer stands for."""

import math
from typing import TypeVar

import msgspec

from oee.answers import Health
from oee.errors import OrderEngineError, Problem, UnexpectedAnswer, refusal
from oee.exact_json import decode_json
from oee.steps import Response

Value = TypeVar("Value")
OK = 200
FIRST_ERROR = 400
SHOWN_CHARACTERS = 200


def read(response: Response, kind: type[Value]) -> Value:
    """Return the body of an answer.

    Raises:
        OrderEngineError: it is an error, or cannot be read.
    """
    if response.status != OK:
        raise error_of(response)
    try:
        return decode_json(response.body, kind)
    except ValueError as wrong:
        raise UnexpectedAnswer(
            f"What was answered cannot be read as {kind.__name__} ({wrong}): {_excerpt(response.body)}\n"
            "Is this the address of an engine, and is the client not older than it?"
        ) from wrong


def read_health(response: Response) -> Health:
    """Return how the engine is, which it also says with a status of 503.

    Raises:
        OrderEngineError: it does not say.
    """
    try:
        return decode_json(response.body, Health)
    except ValueError:
        return read(response, Health)


def says_health(response: Response) -> bool:
    """Return whether an answer says how the engine is, be it well or not."""
    try:
        return bool(decode_json(response.body, Health).parts)
    except ValueError:
        return False


def error_of(response: Response) -> OrderEngineError:
    """Return the error that an answer with another status than 200 stands for."""
    try:
        problem = decode_json(response.body, _AnyProblem)
    except ValueError:
        # What stands before the engine may answer in its place, as a load balancer does while it is down.
        if response.status in (502, 503, 504, 429):
            return refusal(Problem(status=response.status, retry_after=retry_after(response)))
        return UnexpectedAnswer(
            f"Status {response.status}, and no answer of an engine: {_excerpt(response.body)}\nIs the address right?"
        )
    return refusal(
        Problem(
            status=response.status,
            title=problem.title,
            detail=problem.detail or problem.message,
            errors=problem.errors,
            retry_after=retry_after(response),
        )
    )


def retry_after(response: Response) -> float | None:
    """Return what the header ``Retry-After`` says in seconds; it may also hold a date, which the engine never sends."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


class _AnyProblem(msgspec.Struct):
    """A problem, or what API Gateway writes in place of one: ``{"message": "Unauthorized"}``."""

    title: str = ""
    detail: str = ""
    message: str = ""
    errors: dict[str, str] = {}


def _excerpt(body: bytes) -> str:
    text = " ".join(body.decode(errors="replace").split())
    printable = "".join(character for character in text if character.isprintable())
    return repr(printable[:SHOWN_CHARACTERS]) if printable else "it is empty"

"""How answers and errors travel: the responses that Chalice hands to API Gateway.

Errors are translated at two places, because no place sees all of them. What a view raises is caught by Chalice before
any middleware could see it, and answered as a bug: so ``answered`` stands around each view. What Chalice itself
refuses (a method, a media type) never reaches a view, and a bug leaves it as Chalice's own answer: so
``as_problem`` is a middleware.
"""

from collections.abc import Callable, Collection, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any

from chalice.app import AuthRequest, AuthResponse, Response, WebsocketEvent

from chalicelib.exact_json import encode_json
from chalicelib.observability import count, flush_metrics, logger
from chalicelib.resources import ResourceUnavailable
from chalicelib.web.answers import Answer
from chalicelib.web.cross_origin import cors_headers
from chalicelib.web.identity import Caller, authorizer_context
from chalicelib.web.problems import Problem, RequestError, refusal_of
from chalicelib.web.tokens import TokenRefused

SECURITY_HEADERS = {
    # An answer is what its Content-Type says: JSON that repeats a client's text is not to be run as a page or script.
    "X-Content-Type-Options": "nosniff",
    # Orders are their owner's: no cache, shared or on disk, keeps them.
    "Cache-Control": "no-store",
    # Should an answer be opened as a page all the same, it loads nothing, runs nothing, and stands in no frame.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    # Nor can a page of another site embed it as an image or script and read it from its process's memory.
    "Cross-Origin-Resource-Policy": "same-origin",
    # Ids of orders in a path, tickets in a query: no other site hears of them.
    "Referrer-Policy": "no-referrer",
    # A browser that was here once speaks TLS for two years, also to whoever claims that there is none. Over plain
    # HTTP, as on a laptop, browsers pass over it (RFC 6797, 8.1).
    "Strict-Transport-Security": "max-age=63072000",
}
"""Of every answer, after the OWASP REST Security Cheat Sheet."""


def answered(view: Callable[..., object]) -> Callable[..., Response]:
    """Turn what a REST view returns, or the error it raises, into a response.

    A view returns what is to be written as JSON, JSON already written as bytes, or an ``Answer`` with either.
    """

    @wraps(view)
    def answer(**path: str) -> Response:
        try:
            value = view(**path)
        except Exception as error:
            refused = _refusal_or_raise(error)
            return _problem_response(refused.problem, refused.headers)
        given = value if isinstance(value, Answer) else Answer(value)
        body = given.body if isinstance(given.body, bytes) else encode_json(given.body)
        content_type = {"Content-Type": "application/json"} if body else {}
        return Response(body.decode(), {**content_type, **given.headers}, given.status)

    return answer


def connected(view: Callable[[WebsocketEvent], None]) -> Callable[[WebsocketEvent], dict[str, int]]:
    """Turn what becomes of a WebSocket's ``$connect`` into the status that opens or refuses the connection."""

    @wraps(view)
    def answer(event: WebsocketEvent) -> dict[str, int]:
        try:
            view(event)
        except Exception as error:
            return {"statusCode": _refusal_or_raise(error).status}
        return {"statusCode": HTTPStatus.OK}

    return answer


def authorized(view: Callable[[AuthRequest], Caller]) -> Callable[[AuthRequest], AuthResponse]:
    """Turn whose a token is into what API Gateway asks its authorizer for, and a refused token into a 401.

    The policy allows every route: API Gateway keeps it for a token, and asks it about the next call as well, whichever
    that is. What a caller may do beyond calling, the views decide. Middleware does not stand around authorizers.
    """

    @wraps(view)
    def answer(request: AuthRequest) -> AuthResponse:
        try:
            caller = view(request)
        except TokenRefused as refused:
            logger.warning(f"token refused: {refused}")
            count("TokensRefused")
            # The one error that API Gateway answers with a 401 is the one with this text.
            raise Unauthorized("Unauthorized") from None
        finally:
            flush_metrics()
        return AuthResponse(routes=["*"], principal_id=caller.user_id or "", context=authorizer_context(caller))

    return answer


class Unauthorized(Exception):
    """What the authorizer fails with for a token that is not good."""


def as_problem(request: Any, get_response: Callable[[Any], Response]) -> Response:
    """Give Chalice's own errors (unknown method, media type, a bug) the form of all others."""
    response = get_response(request)
    if response.status_code >= HTTPStatus.BAD_REQUEST and isinstance(response.body, dict):
        status = HTTPStatus(response.status_code)
        detail = response.body.get("Message", status.description)
        if status is HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            detail = f"{detail}. Send JSON, with the header Content-Type: application/json."
        return _problem_response(Problem(title=status.phrase, status=status, detail=detail), response.headers)
    return response


def protected(response: Response, origins: Collection[str], origin: str | None) -> Response:
    """Add what keeps browsers from doing with an answer what it is not for; a view's own headers win."""
    response.headers = {**SECURITY_HEADERS, **cors_headers(origins, origin), **response.headers}
    return response


def _problem_response(problem: Problem, headers: Mapping[str, str | list[str]]) -> Response:
    content_type = {"Content-Type": "application/problem+json"}
    return Response(encode_json(problem).decode(), {**headers, **content_type}, problem.status)


def _refusal_or_raise(error: Exception) -> RequestError:
    """Return what the client is told of an error; a bug is raised again, for Chalice to log."""
    refused = refusal_of(error)
    if refused is None:
        raise error
    if isinstance(error, ResourceUnavailable):
        logger.error(str(error))
    return refused

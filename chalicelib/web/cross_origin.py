"""Pages of other origins: which of them a browser may let call the API, and open a WebSocket.

A browser asks before it lets a page of one origin read what another answers (CORS, https://fetch.spec.whatwg.org); it
does not ask before it opens a WebSocket, so there the server has to look at ``Origin`` itself (RFC 6455, 10.2). Both
go by the same list of exact origins, ``CORS_ORIGINS``. It is empty by default: then no page of another origin reads an
answer, and WebSockets are not looked at, because the engine's own console and clients that are no browsers are all
there should be.

Only browsers are bound by this. Who the user is, and what is theirs, is decided elsewhere.
"""

from collections.abc import Collection, Mapping
from http import HTTPStatus

from chalicelib.web.problems import RequestError, shown

REQUEST_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key")
"""What a page may send besides what any page may."""
ANSWER_HEADERS = ("Retry-After",)
"""What a page may read besides what any page may."""
PREFLIGHT_SECONDS = 600
"""How long a browser may rely on what it was told: a list that was shortened holds after ten minutes."""


def cors_headers(origins: Collection[str], origin: str | None) -> dict[str, str]:
    """Return the headers of an answer to a page of ``origin``; none at all while no origin is allowed.

    ``Vary`` stands on every answer, so that no cache gives one page the answer to another.
    """
    if not origins:
        return {}
    if origin is None or origin not in origins:
        return {"Vary": "Origin"}
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": ", ".join(ANSWER_HEADERS),
    }


def preflight_headers(origins: Collection[str], origin: str | None, methods: Collection[str]) -> dict[str, str]:
    """Return what an answer to ``OPTIONS`` says besides: which ``methods`` the path has, and to a page what it may."""
    allowed = ", ".join(sorted(methods))
    if origin not in origins:
        return {"Allow": allowed}
    return {
        "Allow": allowed,
        "Access-Control-Allow-Methods": allowed,
        "Access-Control-Allow-Headers": ", ".join(REQUEST_HEADERS),
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }


def refuse_foreign_page(origins: Collection[str], own: str, headers: Mapping[str, str]) -> None:
    """Refuse a WebSocket that a page of another origin than the engine's ``own`` opens, where a list says which may.

    Raises:
        RequestError: 403, for an ``Origin`` that is neither.
    """
    origin = next((value for name, value in headers.items() if name.lower() == "origin"), None)
    if origins and origin is not None and origin not in (own, *origins):
        raise RequestError(HTTPStatus.FORBIDDEN, f"Pages of {shown(origin)} may not open a WebSocket here.")

"""Who calls, and what they may do: decided in one place, for requests and for WebSocket connections.

Over REST, API Gateway asks the authorizer (``app.authorize``) before it calls anything, and hands on what that found.
It remembers the answer for a while, so whether the token has expired since is asked again here. A request that comes
without an answer is refused: nothing is served because somebody forgot to ask.

In open mode there are no users to tell apart: every caller is ``ANYBODY``, who may see and cancel every order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from chalicelib.clock import Clock
from chalicelib.streaming.tickets import Ticket, Tickets
from chalicelib.web.problems import RequestError

OPERATE = "oee:operate"
"""The scope of those who keep the engine running."""
METRICS = "oee:metrics"
"""The scope of who reads metrics, and may do nothing else: a scraper's secret lies in a file."""


@dataclass(frozen=True)
class Caller:
    """Who calls: the user, what their token allows, and when it expires, in Unix seconds.

    Without a user, which is so in open mode only, it is anybody.
    """

    user_id: str | None = None
    scopes: frozenset[str] = frozenset()
    expires_at: int = 0

    def require_scope(self, scope: str) -> None:
        """Refuse a caller whose token does not allow this; in open mode nobody's does, as nobody is known.

        Raises:
            RequestError: 403.
        """
        if scope not in self.scopes:
            raise scope_is_missing(scope)


ANYBODY = Caller()


@dataclass(frozen=True, kw_only=True)
class Identification:
    """Says who calls; ``open_to_all`` is open mode."""

    open_to_all: bool
    tickets: Tickets
    clock: Clock

    def of_request(self, context: Mapping[str, Any]) -> Caller:
        """Return who makes a request, from the context that API Gateway gives it.

        Raises:
            RequestError: 401, the authorizer has let nobody in, or the token has expired since.
        """
        if self.open_to_all:
            return ANYBODY
        caller = _from_authorizer(context.get("authorizer") or {})
        if caller is None:
            raise unauthorized("A token is needed: send it as Authorization: Bearer <token>.")
        if self.clock.now().timestamp() >= caller.expires_at:
            raise unauthorized("The token has expired.")
        return caller

    def of_new_connection(self, connection_id: str, query: Mapping[str, str]) -> Caller:
        """Return who opens a connection, by the ticket in its query, which is then used up.

        Raises:
            RequestError: 401, the ticket is missing, not good, or no longer.
            TooManyConnections: the user has as many as one may have.
            ResourceUnavailable: Redis does not answer.
        """
        if self.open_to_all:
            return ANYBODY
        user_id = self.tickets.redeem(query.get("ticket", ""), connection_id)
        if user_id is None:
            raise unauthorized("A ticket is needed: POST /api/stream/tickets gives one, for one connection.")
        return Caller(user_id)

    def of_connection(self, connection_id: str) -> Caller:
        """Return whose an open connection is.

        Raises:
            RequestError: 401, it has to be opened again.
            ResourceUnavailable: Redis does not answer.
        """
        if self.open_to_all:
            return ANYBODY
        user_id = self.tickets.user_of(connection_id)
        if user_id is None:
            raise nobodys_connection()
        return Caller(user_id)

    def issue_ticket(self, caller: Caller) -> Ticket:
        """Give a caller a ticket for one connection.

        Raises:
            RequestError: 409 in open mode, where nobody needs one.
            ResourceUnavailable: Redis does not answer.
        """
        if caller.user_id is None:
            raise RequestError(HTTPStatus.CONFLICT, "No ticket is needed: this engine is open to all (AUTH_MODE=open).")
        return self.tickets.issue(caller.user_id, caller.expires_at)


def authorizer_context(caller: Caller) -> dict[str, str]:
    """Return what the authorizer tells of a caller besides the user: API Gateway carries texts only."""
    return {"scopes": " ".join(sorted(caller.scopes)), "exp": str(caller.expires_at)}


def _from_authorizer(found: Mapping[str, Any]) -> Caller | None:
    """Read what ``authorizer_context`` wrote; None when it says of nobody until when."""
    user_id, expires_at = found.get("principalId"), str(found.get("exp", ""))
    if not isinstance(user_id, str) or not user_id or not expires_at.isdigit():
        return None
    return Caller(user_id, frozenset(str(found.get("scopes", "")).split()), int(expires_at))


def unauthorized(detail: str) -> RequestError:
    """Refuse who has not shown who they are (RFC 6750, section 3)."""
    return RequestError(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})


def scope_is_missing(scope: str) -> RequestError:
    """Refuse whose token does not allow this (RFC 6750, section 3)."""
    challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
    return RequestError(
        HTTPStatus.FORBIDDEN,
        f"This needs a token with the scope {scope}.",
        headers={"WWW-Authenticate": challenge},
    )


def nobodys_connection() -> RequestError:
    """Refuse a connection whose user's token has expired, or that Redis has lost."""
    return unauthorized("It is no longer known whose connection this is: reconnect with a new ticket.")

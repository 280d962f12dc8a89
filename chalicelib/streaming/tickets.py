"""Tickets: how a WebSocket connection shows whose it is, without a token in its URL.

A URL ends up in logs and histories, and browsers let a WebSocket send no headers. So a client exchanges its token for
a ticket, a random text that is good for one connection and for a minute. Redis keeps its hash only, so that who reads
Redis cannot connect; and whoever comes first with it has it, because taking it and noting whose the connection is
happens in one script.

A connection is its user's for as long as the token was valid: Redis forgets it then. What Redis has lost, nobody can
tell: such a connection must be opened again.

A user has so many connections at most (``MOST_CONNECTIONS``), which the same script counts: those that are closed are
taken off the list, and one whose end nobody heard of when it would have expired.

Keys: ``ticket:{hash}`` holds ``expires:user``, in milliseconds since the epoch, when the token expires;
``connection:{id}:user`` the user; ``connections:{hash}`` a user's connections, each with the time it expires.
"""

import hashlib
import secrets
from typing import NamedTuple

from chalicelib.counters import NOTE_OPEN, OPEN_CONNECTIONS
from chalicelib.resources.redis import Redis
from chalicelib.streaming.viewers import CONNECTION_MS, CONNECTIONS_OF, user_key

TICKET_SECONDS = 60
TICKET_BYTES = 32
MOST_CONNECTIONS = 50
"""How many connections a user may have at once: a page or a program each, and each may listen to many orders."""

_ISSUE = """
local ticket = unpack(KEYS)
local held, lifetime = unpack(ARGV)
redis.call('SET', ticket, held, 'PX', lifetime)
"""

_REDEEM = (
    NOTE_OPEN
    + """
local ticket, connection, open = unpack(KEYS)
local longest, connection_id, connections_of, most_connections = unpack(ARGV)
local held = redis.call('GETDEL', ticket)
if not held then
    return nil
end
local time = redis.call('TIME')
local expires, user = held:match('^(%d+):(.*)$')
local lifetime = math.min(tonumber(expires) - time[1] * 1000, tonumber(longest))
if lifetime <= 0 then
    return nil
end
local now, theirs = time[1] * 1000, connections_of .. redis.sha1hex(user)
redis.call('ZREMRANGEBYSCORE', theirs, 0, now)
if redis.call('ZCARD', theirs) >= tonumber(most_connections) then
    return {user, 'too many'}
end
redis.call('ZADD', theirs, now + lifetime, connection_id)
redis.call('PEXPIRE', theirs, longest)
redis.call('SET', connection, user, 'PX', lifetime)
note_open(open, connection_id, now, longest)
return {user, 'opened'}
"""
)

_USER = """
local connection = unpack(KEYS)
return redis.call('GET', connection)
"""


class TooManyConnections(Exception):
    """The user has as many connections as one may have."""


class Ticket(NamedTuple):
    """A ticket, and for how many seconds it is good."""

    text: str
    seconds: int


class Tickets:
    """The tickets that were given out, and the connections that were opened with one."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def issue(self, user_id: str, token_expires_at: int) -> Ticket:
        """Make a ticket for a user whose token is valid until then, in Unix seconds.

        Raises:
            ResourceUnavailable: Redis does not answer.
        """
        text = secrets.token_urlsafe(TICKET_BYTES)
        self._redis.run(_ISSUE, [_ticket(text)], [f"{token_expires_at * 1000}:{user_id}", TICKET_SECONDS * 1000])
        return Ticket(text, TICKET_SECONDS)

    def redeem(self, text: str, connection_id: str) -> str | None:
        """Take a ticket for a connection and return its user; None when it is not, or no longer, good.

        Raises:
            TooManyConnections: the user has ``MOST_CONNECTIONS`` others; the ticket is used up.
            ResourceUnavailable: Redis does not answer.
        """
        keys = [_ticket(text), user_key(connection_id), OPEN_CONNECTIONS]
        arguments = [CONNECTION_MS, connection_id, CONNECTIONS_OF, MOST_CONNECTIONS]
        answer: list[str] | None = self._redis.run(_REDEEM, keys, arguments)
        if answer is None:
            return None
        user_id, outcome = answer
        if outcome == "too many":
            raise TooManyConnections(f"this user has {MOST_CONNECTIONS} connections already, the most one may have")
        return user_id

    def user_of(self, connection_id: str) -> str | None:
        """Return whose a connection is; None when it has expired, or Redis has lost it.

        Raises:
            ResourceUnavailable: Redis does not answer.
        """
        user_id: str | None = self._redis.run(_USER, [user_key(connection_id)], [])
        return user_id


def _ticket(text: str) -> str:
    return f"ticket:{hashlib.sha256(text.encode(errors='replace')).hexdigest()}"

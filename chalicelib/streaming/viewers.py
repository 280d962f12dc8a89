"""Who listens to which order, and how far each has read: all of it in Redis, all of it replaceable.

The same order's events are committed by different processes, and a late viewer's replay runs beside them. So that
each viewer still sees every event once and in order, every pair of viewer and order has a cursor (the last ``seq``
delivered) and is served by one process at a time. Who publishes an event asks for the viewers nobody serves just
now; a process that serves one notes, when it has delivered what there was, how far that was, asks whether newer
events have come up, and goes on with those. One that is cut off notes how far it got. One that dies cannot, so what it
delivered last is delivered again. Either is replaced when its time is up, at the next event.

Where connections have users, one is a viewer for as long as its user's token was valid: ``connection:{id}:user`` is
gone then, and who publishes the next event is told, so that the connection can be closed.

A viewer that is not open yet is reserved for its replay, so that nobody posts to it before.

The script that publishes an event also keeps the order's state, which is what ``GET`` answers, and counts the step: in
the same round trip both cost next to nothing. The state's ``seq`` is what a process that serves a viewer compares its
own with.

Keys: ``viewers:{order}`` holds connection → ``cursor:served_until`` (with ``:reserved`` before a replay);
``connection:{id}`` the order a connection was opened for; ``connection:{id}:orders`` what it listens to;
``connection:{id}:user`` whose it is (see ``tickets``); ``open-connections`` all that are open (see ``counters``);
``state:{order}`` the newest seq and the order as JSON. Scripts touch several keys, so they want a Redis without
cluster mode.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from chalicelib.counters import COUNT_STEP, NOTE_OPEN, OPEN_CONNECTIONS
from chalicelib.exact_json import decode_json, encode_json
from chalicelib.orders.events import OrderEvent
from chalicelib.orders.order import Order
from chalicelib.resources.redis import Redis

SERVE_MS = 10_000
"""For how long a process may serve a viewer without a sign of life."""
STATE_MS = 10_000
"""For how long an order's state is kept for readers, and so how old it may be when a process died untold."""
MOST_ORDERS = 200
"""How many orders a connection may listen to at once: more than a busy user has waiting, few enough to forget in one
short script."""
MOST_TAKEN = 40
"""How many viewers one process takes at a time: few enough to be served long before ``SERVE_MS`` is over, also by a
gateway that takes a tenth of a second for a post, and for several processes to share a crowd evenly; enough to ask
Redis only now and then."""
MOST_EXPIRED = 10
"""Of how many expired connections the publisher of an event is told; of the others those of the next events are."""
CONNECTIONS_OF = "connections:"
"""Begins the key of a user's connections; a hash of the user follows, whose name is any text."""
CONNECTION_MS = 2 * 3600 * 1000 + 600_000
"""API Gateway closes a WebSocket after two hours; what is known of it goes a little later."""

_NOW = "local time = redis.call('TIME'); local now = time[1] * 1000 + math.floor(time[2] / 1000)\n"

_ENTRY = """
local function read(entry)
    local cursor, served_until, reserved = entry:match('^(%d+):(%d+)(.*)$')
    return tonumber(cursor), tonumber(served_until), reserved ~= ''
end

local function write(cursor, served_until, reserved)
    return string.format('%.0f:%.0f', cursor, served_until) .. (reserved and ':reserved' or '')
end
"""

_REMEMBER = """
local function remember(state, seq, body, lifetime)
    if tonumber(redis.call('HGET', state, 'seq') or -1) < tonumber(seq) then
        redis.call('HSET', state, 'seq', seq, 'body', body)
        redis.call('PEXPIRE', state, lifetime)
    end
end
"""

# Whoever only catches up publishes no event, and so counts none.
_PUBLISH = (
    _NOW
    + _ENTRY
    + _REMEMBER
    + COUNT_STEP
    + """
local state, viewers = unpack(KEYS)
local seq, body, lifetime, serve, most, all_or_none, user_of, most_expired, order, at = unpack(ARGV)
remember(state, seq, body, lifetime)
for argument = 11, #ARGV do
    count_step(order, ARGV[argument], at, time[1])
end
local busy, lacking, free, expired = 0, {}, {}, {}
local entries = redis.call('HGETALL', viewers)
for i = 1, #entries, 2 do
    local connection = entries[i]
    local cursor, served_until, reserved = read(entries[i + 1])
    if user_of ~= '' and redis.call('EXISTS', string.format(user_of, connection)) == 0 then
        if #expired < tonumber(most_expired) then
            redis.call('HDEL', viewers, connection)
            expired[#expired + 1] = connection
        end
    elseif cursor < tonumber(seq) then
        if served_until <= now then
            lacking[#lacking + 1] = {connection, cursor}
        elseif not reserved then
            busy = busy + 1
        end
    end
end
local taken = math.min(#lacking, tonumber(most))
if all_or_none == '1' and taken < #lacking then
    taken = 0
end
for i = 1, taken do
    local connection, cursor = unpack(lacking[i])
    redis.call('HSET', viewers, connection, write(cursor, now + serve))
    free[#free + 1] = connection
    free[#free + 1] = cursor
end
return {busy, #lacking - taken, free, expired}
"""
)

_DELIVERED = (
    _NOW
    + _ENTRY
    + """
local state, viewers, opened_for, orders = unpack(KEYS)
local connection, cursor, order, ended, serve = unpack(ARGV)
if redis.call('HEXISTS', viewers, connection) == 0 then
    return 'nothing'
end
if ended == '1' then
    redis.call('HDEL', viewers, connection)
    redis.call('SREM', orders, order)
    return redis.call('GET', opened_for) == order and 'close' or 'nothing'
end
if tonumber(redis.call('HGET', state, 'seq') or 0) > tonumber(cursor) then
    redis.call('HSET', viewers, connection, write(cursor, now + serve))
    return 'more'
end
redis.call('HSET', viewers, connection, write(cursor, 0))
return 'nothing'
"""
)

# An entry that is reserved was made meanwhile, for somebody who asked for the events from its cursor on.
_INTERRUPTED = (
    _ENTRY
    + """
local viewers = unpack(KEYS)
local connection, cursor = unpack(ARGV)
local entry = redis.call('HGET', viewers, connection)
if not entry then
    return
end
local noted, served_until, reserved = read(entry)
if noted < tonumber(cursor) and not reserved then
    redis.call('HSET', viewers, connection, write(cursor, served_until))
end
"""
)

_WATCH = (
    _NOW
    + _ENTRY
    + NOTE_OPEN
    + """
local viewers, opened_for, orders, open = unpack(KEYS)
local connection, cursor, order, reserve, for_this_alone, lifetime, most_orders = unpack(ARGV)
if redis.call('HEXISTS', viewers, connection) == 1 then
    return 'listens already'
end
if redis.call('SCARD', orders) >= tonumber(most_orders) then
    return 'too many'
end
local reserved = tonumber(reserve) > 0
redis.call('HSET', viewers, connection, write(cursor, reserved and now + reserve or 0, reserved))
redis.call('PEXPIRE', viewers, lifetime)
redis.call('SADD', orders, order)
redis.call('PEXPIRE', orders, lifetime)
if for_this_alone == '1' then
    redis.call('SET', opened_for, order, 'PX', lifetime)
    note_open(open, connection, now, lifetime)
else
    redis.call('DEL', opened_for)
end
return 'added'
"""
)

_TAKE = (
    _NOW
    + _ENTRY
    + """
local viewers = unpack(KEYS)
local connection, serve = unpack(ARGV)
local entry = redis.call('HGET', viewers, connection)
if not entry then
    return nil
end
local cursor, served_until, reserved = read(entry)
if served_until > now and not reserved then
    return nil
end
redis.call('HSET', viewers, connection, write(cursor, now + serve))
return cursor
"""
)

_UNWATCH = """
local viewers, orders = unpack(KEYS)
local connection, order = unpack(ARGV)
redis.call('SREM', orders, order)
return redis.call('HDEL', viewers, connection)
"""

_OPENED = (
    _NOW
    + NOTE_OPEN
    + """
local open = unpack(KEYS)
local connection, lifetime = unpack(ARGV)
note_open(open, connection, now, lifetime)
"""
)

_FORGET = """
local opened_for, orders, user, open = unpack(KEYS)
local connection, viewers_of, connections_of = unpack(ARGV)
for _, order in ipairs(redis.call('SMEMBERS', orders)) do
    redis.call('HDEL', viewers_of .. order, connection)
end
local name = redis.call('GET', user)
if name then
    redis.call('ZREM', connections_of .. redis.sha1hex(name), connection)
end
redis.call('ZREM', open, connection)
return redis.call('DEL', opened_for, orders, user)
"""

_EXISTS = """
local key = unpack(KEYS)
return redis.call('EXISTS', key)
"""

_READ_STATE = """
local state = unpack(KEYS)
return redis.call('HGET', state, 'body')
"""

_FILL_STATE = (
    _REMEMBER
    + """
local state = unpack(KEYS)
local seq, body, lifetime = unpack(ARGV)
remember(state, seq, body, lifetime)
"""
)


class TooManySubscriptions(Exception):
    """The connection listens to as many orders as one may."""


class Remaining(StrEnum):
    """What remains to be done for a viewer after a delivery; the values are the script's."""

    MORE = "more"
    """Newer events came up meanwhile."""
    NOTHING = "nothing"
    CLOSE = "close"
    """The order has ended, and the connection was opened for it alone."""


@dataclass(frozen=True)
class Viewer:
    """A connection to be served now: it has everything up to ``cursor``."""

    connection_id: str
    cursor: int


class Published(NamedTuple):
    """An order, and its newest events: those of one commit, which nobody has heard of yet."""

    order: Order
    events: Sequence[OrderEvent]


@dataclass(frozen=True)
class Audience:
    """Who lacks an event: viewers the caller has taken and must serve, and how many others serve just now.

    ``left`` is how many nobody serves, because they were more than the caller takes. ``expired`` are connections that
    are viewers no longer, because their users' tokens have expired.
    """

    free: tuple[Viewer, ...]
    busy: int
    left: int
    expired: tuple[str, ...]


NOBODY = Audience(free=(), busy=0, left=0, expired=())


def _audience(answer: Any) -> Audience:
    busy, left, free, expired = answer
    viewers = tuple(Viewer(free[i], int(free[i + 1])) for i in range(0, len(free), 2))
    return Audience(viewers, int(busy), int(left), tuple(expired))


class Viewers:
    """The registry of viewers; each method is one round trip and raises ``ResourceUnavailable`` without Redis."""

    def __init__(self, redis: Redis, *, have_users: bool) -> None:
        """Prepare the registry; ``have_users`` says whether each connection is a user's, for a time."""
        self._redis = redis
        self._user_of = user_key("%s") if have_users else ""

    def publish(self, published: Sequence[Published], *, most: int) -> list[Audience]:
        """Note each order's state and count its events; return each one's viewers that lack one.

        Up to ``most`` free viewers of an order are taken; of those that have more, none.
        """
        calls = []
        for order, events in published:
            newest = events[-1]
            keys, arguments = self._take(order.order_id, newest.seq, encode_json(order), most, all_or_none=True)
            at = int(newest.timestamp.timestamp() * 1000)
            calls.append((keys, [*arguments, order.order_id, at, *(event.event for event in events)]))
        return [_audience(answer) for answer in self._redis.run_all(_PUBLISH, calls)]

    def take_lacking(self, order_id: str, seq: int, state: bytes, *, most: int) -> Audience:
        """Note an order's state; return the viewers that lack its newest event, and take at most ``most`` free ones."""
        return _audience(self._redis.run(_PUBLISH, *self._take(order_id, seq, state, most, all_or_none=False)))

    def _take(
        self, order_id: str, seq: int, state: bytes, most: int, *, all_or_none: bool
    ) -> tuple[list[str], list[Any]]:
        """Return the script's keys and arguments."""
        keys = [_state(order_id), _viewers(order_id)]
        return keys, [seq, state, STATE_MS, SERVE_MS, most, int(all_or_none), self._user_of, MOST_EXPIRED]

    def delivered(self, order_id: str, connection_id: str, cursor: int, *, ended: bool) -> Remaining:
        """Note that the viewer has everything up to ``cursor``, which ``ended`` says was the order's last event.

        It stays taken while there is more to deliver, is free when there is nothing, and is removed with the end.
        """
        keys = [_state(order_id), _viewers(order_id), _connection(connection_id), _orders(connection_id)]
        return Remaining(self._redis.run(_DELIVERED, keys, [connection_id, cursor, order_id, int(ended), SERVE_MS]))

    def interrupted(self, order_id: str, connection_id: str, cursor: int) -> None:
        """Note that a delivery that was cut off got as far as ``cursor``; the viewer stays taken as long as it was."""
        self._redis.run(_INTERRUPTED, [_viewers(order_id)], [connection_id, cursor])

    def add(self, order_id: str, connection_id: str, after_seq: int, *, replay: bool, opened_for: bool = False) -> bool:
        """Add a viewer; False when it listens already.

        With ``replay`` it is reserved until somebody takes it for that. ``opened_for`` marks the connection as one
        for this order alone; watching another order lifts the mark.

        Raises:
            TooManySubscriptions: the connection listens to ``MOST_ORDERS`` others.
        """
        reserve = SERVE_MS if replay else 0
        keys = [_viewers(order_id), _connection(connection_id), _orders(connection_id), OPEN_CONNECTIONS]
        arguments = [connection_id, after_seq, order_id, reserve, int(opened_for), CONNECTION_MS, MOST_ORDERS]
        answer = self._redis.run(_WATCH, keys, arguments)
        if answer == "too many":
            raise TooManySubscriptions(f"this connection listens to {MOST_ORDERS} orders already, the most it may")
        return bool(answer == "added")

    def take(self, order_id: str, connection_id: str) -> Viewer | None:
        """Take a viewer to serve it; None when it does not listen or is being served."""
        cursor: int | None = self._redis.run(_TAKE, [_viewers(order_id)], [connection_id, SERVE_MS])
        return Viewer(connection_id, cursor) if cursor is not None else None

    def remove(self, order_id: str, connection_id: str) -> bool:
        """Remove a viewer from an order; False when it did not listen."""
        keys = [_viewers(order_id), _orders(connection_id)]
        return bool(self._redis.run(_UNWATCH, keys, [connection_id, order_id]))

    def opened(self, connection_id: str) -> None:
        """Note that a connection is open; those opened for an order, or with a ticket, are noted with that."""
        self._redis.run(_OPENED, [OPEN_CONNECTIONS], [connection_id, CONNECTION_MS])

    def forget(self, connection_id: str) -> None:
        """Remove a connection that is gone, from every order."""
        keys = [_connection(connection_id), _orders(connection_id), user_key(connection_id), OPEN_CONNECTIONS]
        self._redis.run(_FORGET, keys, [connection_id, _viewers(""), CONNECTIONS_OF])

    def may_open(self, connection_id: str) -> bool:
        """Say whether a connection that cannot be posted to may just not be open yet.

        One that was closed is nobody's any more. Where connections have no users, that is not known.
        """
        return not self._user_of or bool(self._redis.run(_EXISTS, [user_key(connection_id)], []))

    def read_state(self, order_id: str, owner: str | None = None) -> bytes | None:
        """Return the order as JSON, if it was active of late; with ``owner`` only if it is theirs."""
        state: str | None = self._redis.run(_READ_STATE, [_state(order_id)], [])
        if state is None or (owner is not None and decode_json(state)["userId"] != owner):
            return None
        return state.encode()

    def fill_state(self, order_id: str, seq: int, state: bytes) -> None:
        """Keep a state that was read from Postgres, unless a newer one is there."""
        self._redis.run(_FILL_STATE, [_state(order_id)], [seq, state, STATE_MS])


def user_key(connection_id: str) -> str:
    return f"connection:{connection_id}:user"


def _state(order_id: str) -> str:
    return f"state:{order_id}"


def _viewers(order_id: str) -> str:
    return f"viewers:{order_id}"


def _connection(connection_id: str) -> str:
    return f"connection:{connection_id}"


def _orders(connection_id: str) -> str:
    return f"connection:{connection_id}:orders"

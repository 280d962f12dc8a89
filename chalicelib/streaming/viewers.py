"""Who listens to which order, and how far each has read: all of it in Redis, all of it replaceable.

The same order's events are committed by different processes, and a late viewer's replay runs beside them. So that
each viewer still sees every event once and in order, every pair of viewer and order has a cursor (the last ``seq``
delivered) and is served by one process at a time. Who publishes an event asks for the viewers nobody serves just
now; a process that serves one asks, after each delivery, whether newer events have come up, and goes on with those.
A server that dies is replaced when its time is up, at the next event.

A viewer that is not open yet is reserved for its replay, so that nobody posts to it before.

Keys: ``viewers:{order}`` holds connection → ``cursor:served_until`` (with ``:reserved`` before a replay);
``connection:{id}`` the order a connection was opened for; ``connection:{id}:orders`` what it listens to;
``state:{order}`` the newest seq and the order as JSON. Scripts touch several keys, so they want a Redis without
cluster mode.
"""

from dataclasses import dataclass

from chalicelib.resources.redis import Redis

SERVE_MS = 10_000
"""For how long a process may serve a viewer without a sign of life."""
STATE_MS = 10_000
"""For how long an order's state is kept for readers, and so how old it may be when a process died untold."""
CONNECTION_MS = 2 * 3600 * 1000 + 600_000
"""API Gateway closes a WebSocket after two hours; what is known of it goes a little later."""

_NOW = "local time = redis.call('TIME'); local now = time[1] * 1000 + math.floor(time[2] / 1000)\n"

_REMEMBER = """
local function remember(key, seq, body, lifetime)
    if tonumber(redis.call('HGET', key, 'seq') or -1) < tonumber(seq) then
        redis.call('HSET', key, 'seq', seq, 'body', body)
        redis.call('PEXPIRE', key, lifetime)
    end
end
"""

_PUBLISH = (
    _NOW
    + _REMEMBER
    + """
local seq, serve = tonumber(ARGV[1]), tonumber(ARGV[4])
remember(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
local busy, free = 0, {}
local viewers = redis.call('HGETALL', KEYS[2])
for i = 1, #viewers, 2 do
    local cursor, served_until, reserved = viewers[i + 1]:match('(%d+):(%d+)(.*)')
    if tonumber(cursor) < seq then
        if tonumber(served_until) <= now then
            redis.call('HSET', KEYS[2], viewers[i], cursor .. ':' .. string.format('%.0f', now + serve))
            free[#free + 1] = viewers[i]
            free[#free + 1] = tonumber(cursor)
        elseif reserved == '' then
            busy = busy + 1
        end
    end
end
return {busy, free}
"""
)

# Answers how it goes on: the newest seq (deliver up to it), 0 (nothing new) or -1 (close the connection).
_DELIVERED = (
    _NOW
    + """
local connection, cursor, order, ended = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1'
if redis.call('HEXISTS', KEYS[2], connection) == 0 then
    return 0
end
if ended then
    redis.call('HDEL', KEYS[2], connection)
    redis.call('SREM', KEYS[4], order)
    if redis.call('GET', KEYS[3]) == order then
        return -1
    end
    return 0
end
local newest = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
if newest > cursor then
    local served_until = string.format('%.0f', now + tonumber(ARGV[5]))
    redis.call('HSET', KEYS[2], connection, cursor .. ':' .. served_until)
    return newest
end
redis.call('HSET', KEYS[2], connection, cursor .. ':0')
return 0
"""
)

_WATCH = (
    _NOW
    + """
local connection, cursor, order, reserve, opened_for, lifetime = unpack(ARGV)
if redis.call('HEXISTS', KEYS[1], connection) == 1 then
    return 0
end
local served = ':0'
if tonumber(reserve) > 0 then
    served = ':' .. string.format('%.0f', now + tonumber(reserve)) .. ':reserved'
end
redis.call('HSET', KEYS[1], connection, cursor .. served)
redis.call('PEXPIRE', KEYS[1], lifetime)
redis.call('SADD', KEYS[3], order)
redis.call('PEXPIRE', KEYS[3], lifetime)
if opened_for == '1' then
    redis.call('SET', KEYS[2], order, 'PX', lifetime)
else
    redis.call('DEL', KEYS[2])
end
return 1
"""
)

_TAKE = (
    _NOW
    + """
local viewer = redis.call('HGET', KEYS[1], ARGV[1])
if not viewer then
    return -1
end
local cursor, served_until = viewer:match('(%d+):(%d+)')
if tonumber(served_until) > now and not viewer:find('reserved') then
    return -1
end
redis.call('HSET', KEYS[1], ARGV[1], cursor .. ':' .. string.format('%.0f', now + tonumber(ARGV[2])))
return tonumber(cursor)
"""
)

_UNWATCH = """
redis.call('SREM', KEYS[2], ARGV[2])
return redis.call('HDEL', KEYS[1], ARGV[1])
"""

_FORGET = """
for _, order in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    redis.call('HDEL', 'viewers:' .. order, ARGV[1])
end
return redis.call('DEL', KEYS[1], KEYS[2])
"""

_READ_STATE = "return redis.call('HGET', KEYS[1], 'body')"
_FILL_STATE = _REMEMBER + "remember(KEYS[1], ARGV[1], ARGV[2], ARGV[3])"


@dataclass(frozen=True)
class Viewer:
    """A connection to be served now: it has everything up to ``cursor``."""

    connection_id: str
    cursor: int


@dataclass(frozen=True)
class Audience:
    """Who lacks an event: viewers the caller has taken and must serve, and how many others serve just now."""

    free: tuple[Viewer, ...]
    busy: int


class Viewers:
    """The registry of viewers; each method is one round trip and raises ``ResourceUnavailable`` without Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def publish(self, order_id: str, seq: int, state: bytes) -> Audience:
        """Note the order's newest event and state; return the viewers that lack it, and take the free ones."""
        keys = [_state(order_id), _viewers(order_id)]
        busy, free = self._redis.run(_PUBLISH, keys, [seq, state, STATE_MS, SERVE_MS])
        return Audience(tuple(Viewer(free[i], int(free[i + 1])) for i in range(0, len(free), 2)), int(busy))

    def delivered(self, order_id: str, connection_id: str, cursor: int, *, ended: bool) -> int:
        """Note that the viewer has everything up to ``cursor``, which ``ended`` says was the order's last event.

        Returns:
            The seq up to which the caller has to go on, 0 when it is done, or -1 when the connection was opened
            for this order alone and is to be closed.
        """
        keys = [_state(order_id), _viewers(order_id), _connection(connection_id), _orders(connection_id)]
        return int(self._redis.run(_DELIVERED, keys, [connection_id, cursor, order_id, int(ended), SERVE_MS]))

    def watch(
        self, order_id: str, connection_id: str, after_seq: int, *, replay: bool, opened_for: bool = False
    ) -> bool:
        """Add a viewer; False when it listens already.

        With ``replay`` it is reserved until somebody takes it for that. ``opened_for`` marks the connection as one
        for this order alone; watching another order lifts the mark.
        """
        reserve = SERVE_MS if replay else 0
        keys = [_viewers(order_id), _connection(connection_id), _orders(connection_id)]
        arguments = [connection_id, after_seq, order_id, reserve, int(opened_for), CONNECTION_MS]
        return bool(self._redis.run(_WATCH, keys, arguments))

    def take(self, order_id: str, connection_id: str) -> Viewer | None:
        """Take a viewer to serve it; None when it does not listen or is being served."""
        cursor = int(self._redis.run(_TAKE, [_viewers(order_id)], [connection_id, SERVE_MS]))
        return Viewer(connection_id, cursor) if cursor >= 0 else None

    def unwatch(self, order_id: str, connection_id: str) -> bool:
        """Remove a viewer from an order; False when it did not listen."""
        keys = [_viewers(order_id), _orders(connection_id)]
        return bool(self._redis.run(_UNWATCH, keys, [connection_id, order_id]))

    def forget(self, connection_id: str) -> None:
        """Remove a connection that is gone, from every order."""
        self._redis.run(_FORGET, [_connection(connection_id), _orders(connection_id)], [connection_id])

    def read_state(self, order_id: str) -> bytes | None:
        """Return the order as JSON, if it was active of late."""
        state: str | None = self._redis.run(_READ_STATE, [_state(order_id)], [])
        return state.encode() if state is not None else None

    def fill_state(self, order_id: str, seq: int, state: bytes) -> None:
        """Keep a state that was read from Postgres, unless a newer one is there."""
        self._redis.run(_FILL_STATE, [_state(order_id)], [seq, state, STATE_MS])


def _state(order_id: str) -> str:
    return f"state:{order_id}"


def _viewers(order_id: str) -> str:
    return f"viewers:{order_id}"


def _connection(connection_id: str) -> str:
    return f"connection:{connection_id}"


def _orders(connection_id: str) -> str:
    return f"connection:{connection_id}:orders"

"""What the engine has counted, whichever process it was in: in Redis, by the scripts that are run anyway.

A Lambda process serves a few calls and is gone, and nobody knows how many there are; so a counter in one of them would
say nothing. The scripts that publish a step, take a turn, or take from a limit count as well: that costs no further
round trip. What is in Redis may be lost. Then the counters begin anew, as those of a process that was restarted do,
which is what whoever reads counters is prepared for.

A step is counted when it is published. One whose process died between its commit and that, or that was published while
Redis was down, is missing here, and one whose script was sent again because the connection had died may be counted
twice; Postgres has it right.

Of each order there is a stopwatch, which says since when it is executed, or since when its swap is on its way. It goes
by the times of the events themselves, which are Postgres's.

Keys: ``metrics:counts`` holds each counter; ``metrics:recent:{second}`` the steps of a second of Redis's clock;
``stopwatch:{order}`` what is measured and since when; ``open-connections`` every open WebSocket connection with the
time at which it will have been closed for certain.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from chalicelib.resources.redis import Redis

BOUNDS_MS = (
    *(100, 250, 500, 750, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 7500),
    *(10_000, 15_000, 30_000, 60_000, 300_000),
)
"""Up to where the buckets of both histograms reach: fine about what is documented (a second to be submitted, two or
three to land), and far enough for what has to wait for its turn."""
EVENTS = (
    *("pending", "waiting", "triggered", "routing", "building", "submitted", "retrying", "confirmed", "failed"),
    *("cancelled", "expired", "redriven"),
)
"""Every step that an order may take, as ``orders.events`` names them."""
RATE_SECONDS = 60
SUCCESS_SECONDS = 300
RECENT_MS = (SUCCESS_SECONDS + 10) * 1000
STOPWATCH_MS = 24 * 3600 * 1000
"""An order that is pending for longer than a day without waiting for a price or a launch is not measured."""
OPEN_CONNECTIONS = "open-connections"
_COUNTS = "metrics:counts"
_RECENT = "metrics:recent:"

COUNT = f"""
local function count(name, by)
    redis.call('HINCRBY', '{_COUNTS}', name, by or 1)
end
"""
"""What a script has in it that counts: ``count(name, by)``."""

NOTE_OPEN = """
local function note_open(open, connection, now, lifetime)
    redis.call('ZREMRANGEBYSCORE', open, 0, now)
    redis.call('ZADD', open, now + lifetime, connection)
    redis.call('PEXPIRE', open, lifetime)
end
"""
"""The same for one that opens a connection: ``note_open(key, connection, now, lifetime)``, in milliseconds. Of some the
end is lost; they go when another is opened, as maybe nobody ever reads the metrics."""

_LUA_BOUNDS = ", ".join(map(str, BOUNDS_MS))

# "execution" runs from when an order was accepted, reached, redriven or sent back for another try until it is
# submitted, "confirmation" from there until it is confirmed. Routing and building are on the way; whatever else happens
# ends what was measured.
COUNT_STEP = (
    COUNT
    + f"""
local function observe(name, milliseconds)
    local bounds = {{{_LUA_BOUNDS}}}
    local bucket = #bounds + 1
    for index, bound in ipairs(bounds) do
        if milliseconds <= bound then
            bucket = index
            break
        end
    end
    count(name .. ':' .. bucket)
    count(name .. ':milliseconds', string.format('%.0f', milliseconds))
end

local function count_step(order, event, at, second)
    count('event:' .. event)
    local recent = '{_RECENT}' .. second
    redis.call('HINCRBY', recent, event, 1)
    redis.call('PEXPIRE', recent, {RECENT_MS})
    local stopwatch = 'stopwatch:' .. order
    local begun = {{pending = 'execution', triggered = 'execution', redriven = 'execution', retrying = 'execution',
                   submitted = 'confirmation'}}
    local over = {{submitted = 'execution', confirmed = 'confirmation'}}
    local measured, since = string.match(redis.call('GET', stopwatch) or '', '^(%a+) (%d+)$')
    if measured and measured == over[event] then
        observe(measured, math.max(at - since, 0))
    end
    if begun[event] then
        redis.call('SET', stopwatch, begun[event] .. ' ' .. at, 'PX', {STOPWATCH_MS})
    elseif event ~= 'routing' and event ~= 'building' then
        redis.call('DEL', stopwatch)
    end
end
"""
)
"""The same for a script that publishes a step: ``count_step(order, event, at, second)``, ``at`` in milliseconds."""

_READ = f"""
local time = redis.call('TIME')
local second = tonumber(time[1])
local function recent(seconds)
    local events = {{}}
    for ago = 0, seconds - 1 do
        local counted = redis.call('HGETALL', '{_RECENT}' .. string.format('%.0f', second - ago))
        for index = 1, #counted, 2 do
            events[counted[index]] = (events[counted[index]] or 0) + counted[index + 1]
        end
    end
    return events
end
local function listed(events)
    local list = {{}}
    for event, number in pairs(events) do
        list[#list + 1] = event
        list[#list + 1] = number
    end
    return list
end
redis.call('ZREMRANGEBYSCORE', '{OPEN_CONNECTIONS}', 0, second * 1000)
return {{
    redis.call('HGETALL', '{_COUNTS}'),
    listed(recent({RATE_SECONDS})),
    listed(recent({SUCCESS_SECONDS})),
    redis.call('ZCARD', '{OPEN_CONNECTIONS}'),
}}
"""


class Durations(msgspec.Struct, frozen=True):
    """A histogram: how many lay in each bucket, the last of which has no bound, and their sum in milliseconds."""

    buckets: tuple[int, ...]
    milliseconds: int


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted since Redis was last empty; ``last_minute`` and ``last_five_minutes`` are steps by event."""

    totals: dict[str, int]
    last_minute: dict[str, int]
    last_five_minutes: dict[str, int]
    open_connections: int

    @property
    def accepted_per_minute(self) -> int:
        """How many orders were accepted in the last minute."""
        return self.last_minute.get("pending", 0)

    @property
    def processed_per_minute(self) -> int:
        """How many orders were confirmed or failed in the last minute."""
        return self.last_minute.get("confirmed", 0) + self.last_minute.get("failed", 0)

    @property
    def success_ratio(self) -> float | None:
        """The share of confirmed orders among those confirmed or failed in the last five minutes; None without any."""
        confirmed, failed = (self.last_five_minutes.get(event, 0) for event in ("confirmed", "failed"))
        return confirmed / (confirmed + failed) if confirmed + failed else None

    def total(self, name: str) -> int:
        """Return a counter; one that was never counted is 0."""
        return self.totals.get(name, 0)

    def durations(self, name: str) -> Durations:
        """Return a histogram, ``execution`` or ``confirmation``."""
        buckets = tuple(self.total(f"{name}:{index}") for index in range(1, len(BOUNDS_MS) + 2))
        return Durations(buckets, self.total(f"{name}:milliseconds"))


class Counters:
    """Reads what was counted."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def read(self) -> Counts:
        """Return all of it, in one round trip.

        Raises:
            ResourceUnavailable: Redis does not answer.
        """
        totals, last_minute, last_five_minutes, connections = self._redis.run(_READ, [], [])
        return Counts(
            totals=_numbers(totals),
            last_minute=_numbers(last_minute),
            last_five_minutes=_numbers(last_five_minutes),
            open_connections=int(connections),
        )


def _numbers(listed: Sequence[Any]) -> dict[str, int]:
    return {str(name): int(number) for name, number in zip(listed[::2], listed[1::2], strict=True)}

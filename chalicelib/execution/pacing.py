"""At most so many orders start in a minute, evenly, in order of arrival, whatever arrives at once.

Generic cell rate algorithms (ITU-T I.371), each one number in Redis. Lanes hand out turns: an order takes one when it
is accepted, a thousand orders at once get a thousand turns one interval apart, and each order's message arrives when
its turn has come. The gate watches the starts: after an outage many turns are overdue at once, and it lets through
only as many as the rate allows, with a few seconds' worth of tolerance for messages that SQS, which counts whole
seconds, brings late.

Three lanes keep orders out of each other's way. Arrivals have the whole rate. What the market watch triggers, perhaps
thousands at once, is spread over half of it, and also without a rate over half of what the slots carry, so that
arrivals go on. Snipers wait for nobody but each other: their starts count at the gate, but do not stop there.

An order keeps its turn until it starts; asking again takes no other, and a retry is no start. An order that waited in
the book and was triggered takes a new turn.
"""

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from chalicelib.observability import logger
from chalicelib.resources import Redis, ResourceUnavailable

TOLERANCE_SECONDS = 3
"""How far starts may run ahead of the rate: at 100 a minute, five orders."""
TRIGGERED_BURST_SECONDS = 1
"""How far triggered orders may run ahead of their share, so that a handful does not wait at all."""
TRIGGERED_PER_SLOT_MINUTE = 75
"""A slot carries about 170 orders a minute; triggered ones get a little less than half of that."""
ORDERS_AT_ONCE = 1000


class Lane(StrEnum):
    """Who takes turns with whom."""

    ARRIVALS = "arrivals"
    TRIGGERED = "triggered"
    PRIORITY = "priority"


# Times in microseconds, because Redis cuts what a script returns to whole numbers. An order's entry is the time of
# its turn ("priority:" before it lets it through the gate), "at:" and the time of a start that was granted for later,
# or "started".
_KEEP = """
local function keep(key, value, time, now)
    if type(value) == 'number' then
        value = string.format('%.0f', value)
    end
    redis.call('SET', key, value, 'PX', math.ceil(math.max(time - now, 0) / 1000) + 3600000)
end
"""

_TAKE_TURNS = (
    _KEEP
    + """
local lane, prefix, anew = KEYS[1], ARGV[4], ARGV[5] == '1'
local now, interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local waits = {}
for index = 2, #KEYS do
    local entry = not anew and redis.call('GET', KEYS[index])
    if entry then
        local turn = tonumber(entry:match('(%d+)$') or '') or now
        waits[#waits + 1] = math.max(turn - now, 0)
    else
        local turn = math.max(tonumber(redis.call('GET', lane) or '') or 0, now)
        keep(lane, turn + interval, turn + interval, now)
        turn = math.max(turn - tolerance, now)
        keep(KEYS[index], prefix .. string.format('%.0f', turn), turn, now)
        waits[#waits + 1] = turn - now
    end
end
return waits
"""
)

_START = (
    _KEEP
    + """
local next_turn, order, gate = KEYS[1], KEYS[2], KEYS[3]
local now, interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local entry = redis.call('GET', order)
if entry == 'started' then
    return 0
end
local granted = entry and tonumber(entry:match('^at:(%d+)$') or '')
local turn = entry and tonumber(entry:match('(%d+)$'))
if not turn then
    turn = math.max(tonumber(redis.call('GET', next_turn) or '') or 0, now)
    keep(next_turn, turn + interval, turn + interval, now)
    keep(order, turn, turn, now)
end
if turn > now then
    return turn - now
end
if not granted then
    local due = math.max(tonumber(redis.call('GET', gate) or '') or 0, now)
    keep(gate, due + interval, due + interval, now)
    local passes = entry and entry:match('^priority:')
    if due - tolerance > now and not passes then
        keep(order, 'at:' .. string.format('%.0f', due - tolerance), due, now)
        return due - tolerance - now
    end
end
keep(order, 'started', now, now)
return 0
"""
)


class Pacer:
    """Gives each order its turn, and says when it may start."""

    def __init__(self, redis: Redis, rate_per_minute: int, slots: int, clock: Callable[[], datetime]) -> None:
        """Prepare a pacer.

        Args:
            redis: Where turns are kept.
            rate_per_minute: How many orders may start in a minute; 0 for any number.
            slots: How many orders execute at once.
            clock: Tells the time.
        """
        self._redis = redis
        self._rate = rate_per_minute
        self._triggered_rate = min(rate_per_minute / 2 or math.inf, slots * TRIGGERED_PER_SLOT_MINUTE)
        self._clock = clock

    def take_turn(self, order_id: str, lane: Lane = Lane.ARRIVALS) -> float:
        """Give an order the next turn of a lane, unless it has one; return how many seconds away it is."""
        return self.take_turns([order_id], lane)[0]

    def take_turns(self, order_ids: Sequence[str], lane: Lane) -> list[float]:
        """Give each order a turn, unless it has one; return how many seconds away each is.

        Triggered orders get a new turn whatever they had.
        """
        rate = self._triggered_rate if lane is Lane.TRIGGERED else self._rate
        if rate == 0:
            return [0.0] * len(order_ids)
        tolerance = TRIGGERED_BURST_SECONDS if lane is Lane.TRIGGERED else 0
        now = self._now()
        arguments: list[Any] = [now, int(60_000_000 / rate), tolerance * 1_000_000]
        arguments += ["priority:" if lane is Lane.PRIORITY else "", int(lane is Lane.TRIGGERED)]
        waits: list[float] = []
        for start in range(0, len(order_ids), ORDERS_AT_ONCE):
            chunk = order_ids[start : start + ORDERS_AT_ONCE]
            keys = [_LANE_KEYS[lane], *map(_order_key, chunk)]
            try:
                waits += [int(wait) / 1_000_000 for wait in self._redis.run(_TAKE_TURNS, keys, arguments)]
            except ResourceUnavailable as error:
                logger.warning(f"unpaced: {error}", orders=len(chunk))
                waits += [0.0] * len(chunk)
        return waits

    def start(self, order_id: str) -> float:
        """Let an order start if its turn has come; return 0 if it has, else after how many seconds to ask again.

        Without Redis there are no turns: orders start unpaced, which is said in the log each time.
        """
        if self._rate == 0:
            return 0.0
        keys = [_LANE_KEYS[Lane.ARRIVALS], _order_key(order_id), "pacing:gate"]
        arguments = [self._now(), 60_000_000 // self._rate, TOLERANCE_SECONDS * 1_000_000]
        try:
            return int(self._redis.run(_START, keys, arguments)) / 1_000_000
        except ResourceUnavailable as error:
            logger.warning(f"starts unpaced: {error}", orderId=order_id)
            return 0.0

    def _now(self) -> int:
        return int(self._clock().timestamp() * 1_000_000)


_LANE_KEYS = {
    Lane.ARRIVALS: "pacing:next",
    Lane.TRIGGERED: "pacing:next:triggered",
    Lane.PRIORITY: "pacing:next:priority",
}


def _order_key(order_id: str) -> str:
    return f"pacing:order:{order_id}"

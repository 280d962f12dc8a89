"""At most so many orders start in a minute, evenly, in order of arrival, whatever arrives at once.

At 100 orders a minute, one each 0.6 s:

- **Turns.** A thousand orders arrive at once. When it is accepted each takes the next turn of its lane: the first one
  now, the second one in 0.6 s, the last one in ten minutes. Its message is delivered when its turn has come.
- **The gate.** After an outage a thousand turns are overdue, and all their messages come at once. The gate watches
  the starts: it lets through what the rate allows, and a few seconds' worth more (``TOLERANCE_SECONDS``), because SQS
  counts whole seconds and brings messages late. Each of the others gets a place: a time to come back at, 0.6 s apart.
- **Lanes** keep orders out of each other's way. Arrivals have the whole rate. What the market watch triggers, perhaps
  thousands at once, is spread over half of it, and also without a rate over half of what the slots carry, so that
  arrivals go on; stops have such a lane of their own. Snipers wait for nobody but each other.
- **Overtaking.** A closed gate does not stop a sniper: all who have a place move back by 0.6 s, so that the rate is
  kept. Where several overdue snipers would pass at once, they pass one an interval, without tolerance.

So no stretch of time sees more starts than the rate and the tolerance allow, and one more where snipers pass. An order
keeps its turn until it starts; asking again takes no other, and a retry is no start. An order that waited in the book
and was triggered takes a new turn. Turns and the gate are generic cell rate algorithms (ITU-T I.371), each one number
in Redis.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from chalicelib.clock import Clock
from chalicelib.counters import COUNT
from chalicelib.observability import logger
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.redis import Redis

TOLERANCE_SECONDS = 3
"""How far starts may run ahead of the rate: at 100 a minute, five orders."""
TRIGGERED_BURST_SECONDS = 1
"""How far triggered orders may run ahead of their share, so that a handful does not wait at all."""
TRIGGERED_PER_SLOT_MINUTE = 75
"""A slot carries about 170 orders a minute; triggered ones get a little less than half of that."""
ORDERS_AT_ONCE = 1000
"""For how many orders one round trip takes turns: a script keeps Redis from everybody else while it runs."""


class Lane(StrEnum):
    """Who takes turns with whom."""

    ARRIVALS = "arrivals"
    """New orders."""
    TRIGGERED = "triggered"
    """Orders that waited in the book and whose limit was reached."""
    STOPS = "stops"
    """Stops that were reached: a crowd of limit orders must not delay them."""
    PRIORITY = "priority"
    """Snipers."""


# Times in microseconds, because Redis cuts what a script returns to whole numbers.
#
# An order's entry is its lane, its state, a time and a displacement: "turn" and the time of its turn, "place" and the
# time at which it may pass, or "started". The gate is when the next start is due, and its displacement: how far, all
# in all, snipers have moved it. A place is later by as much as that has grown since; where snipers pass an open gate
# this keeps nobody, because the times of all places have come long enough ago.
_KEEP = (
    COUNT
    + """
local now, interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local function whole(number)
    return string.format('%.0f', number)
end

local function keep(key, value, time)
    redis.call('SET', key, value, 'PX', math.ceil(math.max(time - now, 0) / 1000) + 3600000)
end

local function keep_entry(key, lane, state, time, displacement)
    keep(key, table.concat({lane, state, whole(time), whole(displacement)}, ' '), time)
end

local function read_entry(key)
    local lane, state, time, displacement =
        string.match(redis.call('GET', key) or '', '^(%a+) (%a+) (%d+) (%d+)$')
    return lane, state, tonumber(time or ''), tonumber(displacement or '')
end

local function take_next(key)
    local time = math.max(tonumber(redis.call('GET', key) or '') or 0, now)
    keep(key, whole(time + interval), time + interval)
    return time
end
"""
)

_TAKE_TURNS = (
    _KEEP
    + """
local next_turn = KEYS[1]
local lane, anew, with_entries = ARGV[4], ARGV[5] == '1', ARGV[6] == '1'
local waits = {}
for index = 2, #KEYS do
    local order, turn = KEYS[index], nil
    if not anew then
        local _, state, time = read_entry(order)
        turn = state == 'started' and now or time
    end
    if not turn then
        turn = math.max(take_next(next_turn) - tolerance, now)
        if turn > now then
            count('deferred:turn')
        end
        if with_entries then
            keep_entry(order, lane, 'turn', turn, 0)
        end
    end
    waits[#waits + 1] = math.max(turn - now, 0)
end
return waits
"""
)

_START = (
    _KEEP
    + """
local order, next_arrival, gate, next_overtaking = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function deferred(time)
    count('deferred:start')
    return time - now
end

local lane, state, time, displacement_then = read_entry(order)
if state == 'started' then
    return 0
end
if not state then
    lane, state, time, displacement_then = 'arrivals', 'turn', take_next(next_arrival), 0
    keep_entry(order, lane, state, time, displacement_then)
end

local due, displacement = string.match(redis.call('GET', gate) or '', '^(%d+) (%d+)$')
due, displacement = math.max(tonumber(due or '') or 0, now), tonumber(displacement or '') or 0
local closed = due - tolerance > now
local first = lane == 'priority'

if state == 'place' and not first and displacement > displacement_then then
    time = time + displacement - displacement_then
    keep_entry(order, lane, state, time, displacement)
end
if time > now then
    return deferred(time)
end

if first then
    if state == 'turn' and (closed or (tonumber(redis.call('GET', next_overtaking) or '') or 0) > now) then
        local place = take_next(next_overtaking)
        if place > now then
            keep_entry(order, lane, 'place', place, 0)
            return deferred(place)
        end
    end
    keep(gate, whole(due + interval) .. ' ' .. whole(displacement + interval), due + interval)
elseif state == 'turn' then
    keep(gate, whole(due + interval) .. ' ' .. whole(displacement), due + interval)
    if closed then
        keep_entry(order, lane, 'place', due - tolerance, displacement)
        return deferred(due - tolerance)
    end
end
keep_entry(order, lane, 'started', now, 0)
return 0
"""
)


class Pacer:
    """Gives each order its turn, and says when it may start."""

    def __init__(self, redis: Redis, rate_per_minute: int, slots: int, clock: Clock) -> None:
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

    def take_turns(self, order_ids: Sequence[str], lane: Lane, *, anew: bool = False) -> list[float]:
        """Give each order a turn, unless it has one or has started; return how many seconds away each is.

        With ``anew`` they take a new turn whatever they had: orders that leave the book started long ago, when they
        were first looked at.

        Without Redis there are no turns: who has none yet need not wait, which is said in the log once.
        """
        triggered = lane in (Lane.TRIGGERED, Lane.STOPS)
        rate = self._triggered_rate if triggered else self._rate
        if rate == 0:
            return [0.0] * len(order_ids)
        burst = TRIGGERED_BURST_SECONDS if triggered else 0
        arguments: list[Any] = [self._now(), int(60_000_000 / rate), burst * 1_000_000]
        # Without a rate nobody asks at the start: it is the delay of its message that spreads a triggered order.
        arguments += [lane.value, int(anew), int(self._rate > 0)]
        waits: list[float] = []
        try:
            for start in range(0, len(order_ids), ORDERS_AT_ONCE):
                chunk = order_ids[start : start + ORDERS_AT_ONCE]
                keys = [_turns_key(lane), *map(_order_key, chunk)]
                waits += [int(wait) / 1_000_000 for wait in self._redis.run(_TAKE_TURNS, keys, arguments)]
        except ResourceUnavailable as error:
            unpaced = order_ids[len(waits) :]
            logger.warning(f"{len(unpaced)} orders are unpaced: {error}", orderIds=list(unpaced))
            waits += [0.0] * len(unpaced)
        return waits

    def start(self, order_id: str) -> float:
        """Let an order start if its turn has come; return 0 if it has, else after how many seconds to ask again.

        Without Redis there are no turns: orders start unpaced, which is said in the log each time.
        """
        if self._rate == 0:
            return 0.0
        keys = [_order_key(order_id), _turns_key(Lane.ARRIVALS), "pacing:gate", "pacing:overtaking"]
        arguments = [self._now(), 60_000_000 // self._rate, TOLERANCE_SECONDS * 1_000_000]
        try:
            return int(self._redis.run(_START, keys, arguments)) / 1_000_000
        except ResourceUnavailable as error:
            logger.warning(f"starts unpaced: {error}", orderId=order_id)
            return 0.0

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)


def _turns_key(lane: Lane) -> str:
    return f"pacing:next:{lane}"


def _order_key(order_id: str) -> str:
    return f"pacing:order:{order_id}"

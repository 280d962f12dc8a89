"""At most so many orders start in a minute, evenly, in order of arrival, whatever arrives at once.

Two generic cell rate algorithms (ITU-T I.371), each one number in Redis. The first hands out turns: an order takes
one when it is accepted, a thousand orders at once get a thousand turns one interval apart, and each order's message
arrives when its turn has come. The second watches the starts: after an outage many turns are overdue at once, and
it lets through only as many as the rate allows, with a few seconds' worth of tolerance for messages that SQS, which
counts whole seconds, brings late.

An order keeps its turn until it starts; asking again takes no other, and a retry is no start.
"""

from collections.abc import Callable
from datetime import datetime

from chalicelib.observability import logger
from chalicelib.resources import Redis, ResourceUnavailable

TOLERANCE_SECONDS = 3
"""How far starts may run ahead of the rate: at 100 a minute, five orders."""

# Times in microseconds, because Redis cuts what a script returns to whole numbers. An order's entry is the time of
# its turn, "at:" and the time of a start that was granted for later, or "started".
_SCRIPT = """
local next_turn, order, gate = KEYS[1], KEYS[2], KEYS[3]
local now, interval, tolerance, starting = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'

local function keep(key, value, time)
    if type(value) == 'number' then
        value = string.format('%.0f', value)
    end
    redis.call('SET', key, value, 'PX', math.ceil(math.max(time - now, 0) / 1000) + 3600000)
end

local entry = redis.call('GET', order)
if entry == 'started' then
    return 0
end
local granted = entry and tonumber(entry:match('^at:(%d+)$'))
local turn = granted or tonumber(entry or '')
if not turn then
    turn = math.max(tonumber(redis.call('GET', next_turn) or '') or 0, now)
    keep(next_turn, turn + interval, turn + interval)
    keep(order, turn, turn)
end
if turn > now or not starting then
    return math.max(turn - now, 0)
end
if not granted then
    local due = math.max(tonumber(redis.call('GET', gate) or '') or 0, now)
    keep(gate, due + interval, due + interval)
    if due - tolerance > now then
        keep(order, 'at:' .. string.format('%.0f', due - tolerance), due)
        return due - tolerance - now
    end
end
keep(order, 'started', now)
return 0
"""


class Pacer:
    """Gives each order its turn, and says when it may start."""

    def __init__(self, redis: Redis, rate_per_minute: int, clock: Callable[[], datetime]) -> None:
        self._redis = redis
        self._rate = rate_per_minute
        self._clock = clock

    def take_turn(self, order_id: str) -> float:
        """Give an order the next turn, unless it has one; return how many seconds away it is."""
        return self._ask(order_id, starting=False)

    def start(self, order_id: str) -> float:
        """Let an order start if its turn has come; return 0 if it has, else after how many seconds to ask again."""
        return self._ask(order_id, starting=True)

    def _ask(self, order_id: str, *, starting: bool) -> float:
        """Ask Redis. Without it there are no turns: orders start unpaced, which is said in the log each time."""
        if self._rate == 0:
            return 0.0
        keys = ["pacing:next", f"pacing:order:{order_id}", "pacing:gate"]
        now = int(self._clock().timestamp() * 1_000_000)
        arguments = [now, 60_000_000 // self._rate, TOLERANCE_SECONDS * 1_000_000, int(starting)]
        try:
            return int(self._redis.run(_SCRIPT, keys, arguments)) / 1_000_000
        except ResourceUnavailable as error:
            logger.warning(f"starts unpaced: {error}", orderId=order_id)
            return 0.0

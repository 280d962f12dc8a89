"""At most so many orders start in a minute, evenly, whatever arrives at once.

A generic cell rate algorithm (ITU-T I.371) in Redis: the bucket is one number, the time at which the next order
may start. Taking a turn moves it on by one interval, so a thousand orders at once get a thousand turns one
interval apart, in the order in which they ask. An order's turn is kept until it comes back for it; asking twice
does not take two.
"""

from collections.abc import Callable
from datetime import datetime

from chalicelib.observability import logger
from chalicelib.resources import Redis, ResourceUnavailable

# Times in microseconds, because Redis cuts what a script returns to whole numbers.
_TAKE_TURN = """
local now, interval = tonumber(ARGV[1]), tonumber(ARGV[2])
local turn = tonumber(redis.call('GET', KEYS[2]))
if not turn then
    turn = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
    local next_turn = turn + interval
    redis.call('SET', KEYS[1], string.format('%.0f', next_turn), 'PX', math.ceil((next_turn - now) / 1000) + 1000)
    redis.call('SET', KEYS[2], string.format('%.0f', turn), 'PX', math.ceil((turn - now) / 1000) + 3600000)
end
return math.max(turn - now, 0)
"""


class Pacer:
    """Gives each order its turn to start."""

    def __init__(self, redis: Redis, rate_per_minute: int, clock: Callable[[], datetime]) -> None:
        self._redis = redis
        self._rate = rate_per_minute
        self._clock = clock

    def wait_for_turn(self, order_id: str) -> float:
        """Return how many seconds away the order's turn is; 0 when it may start now.

        Without Redis there are no turns: orders start unpaced, which is said in the log each time.
        """
        if self._rate == 0:
            return 0.0
        now = int(self._clock().timestamp() * 1_000_000)
        interval = 60_000_000 // self._rate
        try:
            wait = self._redis.run(_TAKE_TURN, ["pacing:next", f"pacing:turn:{order_id}"], [now, interval])
        except ResourceUnavailable as error:
            logger.warning(f"starts unpaced: {error}", orderId=order_id)
            return 0.0
        return int(wait) / 1_000_000

"""At most so many of something for each who asks: orders of a user, messages of a connection.

A token bucket for each of them, kept as the generic cell rate algorithm (ITU-T I.371) keeps it: one number in Redis,
the time at which the bucket will be full again. Each of what it counts moves that time on by one interval; what would
move it further ahead than the bucket is large has to wait. A refused one moves nothing, so who insists is not punished.

The names of those who ask are hashed: a user's name is any text, and may be an e-mail address. So keys are short, no
name shows in what Redis logs or dumps, and none can pick a slot of a cluster with ``{…}``.
"""

import hashlib

from chalicelib.clock import Clock
from chalicelib.counters import COUNT
from chalicelib.observability import logger
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.redis import Redis

# Times in microseconds. A key outlives its bucket's filling by a second, because clocks differ.
_TAKE = (
    COUNT
    + """
local bucket = KEYS[1]
local now, interval, capacity, kind = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local full_at = math.max(tonumber(redis.call('GET', bucket) or '') or 0, now) + interval
local wait = full_at - now - capacity * interval
if wait > 0 then
    count('refused:' .. kind)
    return wait
end
redis.call('SET', bucket, string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000) + 1000)
return 0
"""
)


class RateLimit:
    """So many a minute, evenly, of one kind of thing; a bucket of ``burst`` for each who asks."""

    def __init__(self, redis: Redis, clock: Clock, *, kind: str, per_minute: int, burst: int) -> None:
        """Prepare a limit.

        Args:
            redis: Where buckets are kept.
            clock: Tells the time.
            kind: What is counted; part of the buckets' keys.
            per_minute: How many are allowed in a minute; 0 for any number.
            burst: How many are allowed at once.
        """
        self._redis = redis
        self._clock = clock
        self._kind = kind
        self._per_minute = per_minute
        self._burst = burst

    def take(self, name: str) -> float:
        """Take one from the bucket of ``name``; return 0, or if it is empty after how many seconds one is there.

        Without Redis everything is allowed, which is said in the log each time: orders must go on.
        """
        if self._per_minute == 0:
            return 0.0
        now = int(self._clock.now().timestamp() * 1_000_000)
        arguments = [now, 60_000_000 // self._per_minute, self._burst, self._kind]
        try:
            wait = self._redis.run(_TAKE, [self._bucket_of(name)], arguments)
        except ResourceUnavailable as unavailable:
            logger.warning(f"not limited: {unavailable}", limit=self._kind)
            return 0.0
        return int(wait) / 1_000_000

    def _bucket_of(self, name: str) -> str:
        return f"rate:{self._kind}:{hashlib.sha256(name.encode()).hexdigest()}"

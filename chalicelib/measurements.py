"""A snapshot of the whole engine, true whichever process takes it: what operators' graphs and the console show.

Three sources are asked at once, and each may be down without the others: Postgres says where orders stand, Redis what
was counted, SQS what is queued. A snapshot is kept in Redis for a few seconds, so that ten scrapers and a hundred
consoles cost what one does. While somebody measures, the others are given the one before.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import msgspec

from chalicelib.clock import Clock
from chalicelib.counters import Counters, Counts
from chalicelib.observability import logger
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.redis import Redis
from chalicelib.resources.sqs import Queue, QueueDepth
from chalicelib.store.census import Census, CensusTaker

FRESH_MS = 3000
KEPT_MS = 15_000
"""How old a snapshot may be that is given to others while a new one is taken, or while whoever takes it has died."""
MEASURING_MS = 3000
"""How long others leave the measuring to whoever began; about as long as a part that is down is waited for."""

_TAKE = """
local kept, turn = unpack(KEYS)
local fresh, lifetime, measuring = unpack(ARGV)
local snapshot, remaining = redis.call('GET', kept), redis.call('PTTL', kept)
if snapshot and remaining > lifetime - fresh then
    return snapshot
end
if redis.call('SET', turn, '', 'NX', 'PX', measuring) then
    return nil
end
return snapshot
"""

_KEEP = """
local kept, turn = unpack(KEYS)
local snapshot, lifetime = unpack(ARGV)
redis.call('SET', kept, snapshot, 'PX', lifetime)
redis.call('DEL', turn)
"""
_KEYS = ("metrics:snapshot", "metrics:measuring")

Result = TypeVar("Result")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The engine at one moment; what a part that is down would have said is None, or missing."""

    measured_at: datetime
    census: Census | None
    counts: Counts | None
    queues: dict[str, QueueDepth] | None

    @property
    def parts(self) -> dict[str, bool]:
        """Whether each part answers."""
        return {
            "postgres": self.census is not None,
            "redis": self.counts is not None,
            "sqs": self.queues is not None,
        }


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Takes snapshots; ``queues`` by the names that they have in them."""

    census_taker: CensusTaker
    counters: Counters
    queues: Mapping[str, Queue]
    redis: Redis
    clock: Clock

    def snapshot(self) -> Snapshot:
        """Return a snapshot that is a few seconds old at most, or a new one."""
        kept = self._take_kept()
        if kept is not None:
            return kept
        snapshot = self._measure()
        self._keep(snapshot)
        return snapshot

    def _measure(self) -> Snapshot:
        measured_at = self.clock.now()
        with ThreadPoolExecutor(3, thread_name_prefix="measure") as pool:
            census = pool.submit(_unless_down, self.census_taker.count)
            counts = pool.submit(_unless_down, self.counters.read)
            queues = pool.submit(_unless_down, self._depths)
            return Snapshot(
                measured_at=measured_at, census=census.result(), counts=counts.result(), queues=queues.result()
            )

    def _depths(self) -> dict[str, QueueDepth]:
        with ThreadPoolExecutor(len(self.queues), thread_name_prefix="depth") as pool:
            return dict(zip(self.queues, pool.map(Queue.depths, self.queues.values()), strict=True))

    def _take_kept(self) -> Snapshot | None:
        """Return the snapshot that is kept, unless it is our turn to take another."""
        try:
            kept = self.redis.run(_TAKE, _KEYS, [FRESH_MS, KEPT_MS, MEASURING_MS])
        except ResourceUnavailable:
            return None  # the measurement says so
        if kept is None:
            return None
        try:
            return msgspec.json.decode(kept, type=Snapshot)
        except msgspec.ValidationError:
            return None  # another version's

    def _keep(self, snapshot: Snapshot) -> None:
        try:
            self.redis.run(_KEEP, _KEYS, [msgspec.json.encode(snapshot), KEPT_MS])
        except ResourceUnavailable as unavailable:
            logger.warning(f"the next one measures again: {unavailable}")


def _unless_down(measure: Callable[[], Result]) -> Result | None:
    try:
        return measure()
    except ResourceUnavailable as unavailable:
        logger.warning(f"not measured: {unavailable}")
        return None

"""Pacing under any arrivals: never above the rate, nobody starves, nobody overtakes."""

from collections import deque
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.execution.pacing import Pacer
from tests.builders import NOON

MICROSECOND = 1e-6

rates = st.integers(min_value=1, max_value=3000)
pauses = st.lists(st.floats(min_value=0, max_value=20), min_size=1, max_size=40)


class World:
    """Orders that arrive after some pauses, and come back exactly when they were told to."""

    def __init__(self, redis, rate: int) -> None:
        self.now = 0.0
        self.pacer = Pacer(redis, rate, lambda: NOON + timedelta(seconds=self.now))
        self.starts: list[tuple[float, int]] = []

    def run(self, pauses: list[float]) -> None:
        arrivals = deque()
        at = 0.0
        for order, pause in enumerate(pauses):
            at += pause
            arrivals.append((at, order))
        waiting = list(arrivals)
        while waiting:
            self.now, order = min(waiting)
            waiting.remove((self.now, order))
            wait = self.pacer.start(f"order {order}")
            if wait > 0:
                waiting.append((self.now + wait + MICROSECOND, order))
            else:
                self.starts.append((self.now, order))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rate=rates, pauses=pauses)
def test_pacing_keeps_the_rate_and_the_order_and_starves_nobody(engine, cache, rate, pauses):
    cache.flushall()
    world = World(engine.redis, rate)
    world.run(pauses)
    interval = 60 / rate

    assert [order for _, order in world.starts] == list(range(len(pauses))), "everybody starts, in order of arrival"
    times = [at for at, _ in world.starts]
    for first, start in enumerate(times):
        for later, other in enumerate(times[first + 1 :], start=1):
            assert other - start >= later * interval - 1e-3, "no window holds more than the rate allows"
    arrival = 0.0
    free_at = 0.0
    for pause, start in zip(pauses, times, strict=True):
        arrival += pause
        assert start <= max(arrival, free_at) + 1e-3, "nobody waits longer than the orders before him make him"
        free_at = start + interval

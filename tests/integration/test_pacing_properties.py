"""Pacing under any arrivals: never above the rate, nobody starves, nobody overtakes."""

from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.queueing.pacing import TOLERANCE_SECONDS, TRIGGERED_BURST_SECONDS, Lane, Pacer
from tests.builders import NOON
from tests.clocks import StoppedClock

MICROSECOND = 1e-6
SLOTS = 10

rates = st.integers(min_value=1, max_value=3000)
pauses = st.lists(st.floats(min_value=0, max_value=20), min_size=1, max_size=40)


class World:
    """Orders that arrive after some pauses, and come back exactly when they were told to."""

    def __init__(self, redis, rate: int) -> None:
        self.now = 0.0
        self.clock = StoppedClock()
        self.pacer = Pacer(redis, rate, SLOTS, self.clock)
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
            self.clock.at = NOON + timedelta(seconds=self.now)
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


@dataclass(frozen=True)
class Wave:
    """Orders that take their turns together, some pause after the wave before."""

    pause: float
    lane: Lane
    orders: int


waves = st.lists(
    st.builds(
        Wave,
        pause=st.floats(min_value=0, max_value=5),
        lane=st.sampled_from(Lane),
        orders=st.integers(min_value=1, max_value=12),
    ),
    min_size=1,
    max_size=12,
)
outages = st.floats(min_value=0, max_value=60)


class LanesWorld:
    """Waves of orders in all lanes; until an outage is over no message is delivered."""

    MOST_ASKED = 100

    def __init__(self, redis, rate: int, outage: float) -> None:
        self.now = 0.0
        self.outage = outage
        self.clock = StoppedClock()
        self.pacer = Pacer(redis, rate, SLOTS, self.clock)
        self.turns: dict[Lane, list[float]] = defaultdict(list)
        self.starts: dict[Lane, list[tuple[float, int]]] = defaultdict(list)

    def run(self, waves: list[Wave]) -> None:
        at = 0.0
        agenda: list[tuple[float, int, Lane, Wave | None]] = []
        number = 0
        for wave in waves:
            at += wave.pause
            agenda.append((at, number, wave.lane, wave))
            number += wave.orders
        asked: dict[int, int] = defaultdict(int)
        while agenda:
            entry = min(agenda, key=lambda entry: entry[:2])
            agenda.remove(entry)
            self.now, number, lane, wave = entry
            self.clock.at = NOON + timedelta(seconds=self.now)
            if wave is not None:
                numbers = range(number, number + wave.orders)
                waits = self.pacer.take_turns([f"order {number}" for number in numbers], lane)
                for order, wait in zip(numbers, waits, strict=True):
                    self.turns[lane].append(self.now + wait)
                    agenda.append((self._delivered(self.now + wait), order, lane, None))
                continue
            wait = self.pacer.start(f"order {number}")
            asked[number] += 1
            assert asked[number] < self.MOST_ASKED, "an order is not sent back for ever"
            if wait > 0:
                agenda.append((self.now + wait + MICROSECOND, number, lane, None))
            else:
                self.starts[lane].append((self.now, number))

    def _delivered(self, turn: float) -> float:
        return max(turn, self.outage) + MICROSECOND


def assert_windows_hold_at_most(times: list[float], interval: float, ahead: float) -> None:
    """Check that no window of starts holds more than its length and ``ahead`` seconds allow."""
    times = sorted(times)
    for first, start in enumerate(times):
        for later, other in enumerate(times[first + 1 :], start=1):
            assert other - start >= later * interval - ahead - 1e-3, "no window holds more than the rate allows"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(rate=rates, waves=waves, outage=outages)
def test_lanes_together_keep_the_rate_and_each_its_order(engine, cache, rate, waves, outage):
    cache.flushall()
    world = LanesWorld(engine.redis, rate, outage)
    world.run(waves)
    interval = 60 / rate
    snipers = [at for at, _ in world.starts[Lane.PRIORITY]]
    everybody = [at for starts in world.starts.values() for at, _ in starts]

    assert len(everybody) == sum(wave.orders for wave in waves), "everybody starts"
    for starts in world.starts.values():
        assert [order for _, order in starts] == sorted(order for _, order in starts), "each lane in its order"
    # A sniper does not stop at the gate: the one that passes it while it is closed comes on top.
    assert_windows_hold_at_most(everybody, interval, TOLERANCE_SECONDS + (interval if snipers else 0))
    triggered = max(2 * interval, 60 / (SLOTS * 75))
    assert_windows_hold_at_most(world.turns[Lane.TRIGGERED], triggered, TRIGGERED_BURST_SECONDS)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(rate=rates, waves=waves)
def test_snipers_wait_for_nobody_but_each_other(engine, cache, rate, waves):
    cache.flushall()
    world = LanesWorld(engine.redis, rate, outage=0)
    world.run(waves)
    interval = 60 / rate

    starts = iter(at for at, _ in world.starts[Lane.PRIORITY])
    arrival = 0.0
    free_at = 0.0
    for wave in waves:
        arrival += wave.pause
        for _ in range(wave.orders if wave.lane is Lane.PRIORITY else 0):
            expected = max(arrival, free_at)
            assert abs(next(starts) - expected) <= 1e-3
            free_at = expected + interval

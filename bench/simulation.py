"""The pipeline as a discrete-event simulation (SimPy): API, queue, slots, settlement in batches.

It is the engine's shape and nothing else: how long a stage takes is drawn from what was measured, and how long a
swap takes to land from the span that the simulated chain has.
"""

import math
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from chalicelib.execution.settlement import WATCH_SECONDS
from chalicelib.queueing.dispatch import FIRST_STATUS_SECONDS
from chalicelib.venues.simulated.chain import LANDING_SECONDS, SimulatedChain

BATCH = 10
"""Orders that one call of ``settle_orders`` takes at most."""
SETTLERS = 5
"""How many of its calls run at once, as it is deployed."""
SEED = 20261121

Steps = Generator[simpy.Event, Any, None]
"""What a process of the simulation waits for, one after another."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long an order's stages take, in seconds; lists are drawn from."""

    post: Sequence[float]
    slot: Sequence[float]
    handover: float
    """From the end of one order to the beginning of the next in the same slot, while the queue is not empty."""


@dataclass(frozen=True)
class Together:
    """So many orders at once, of which the client has a few in flight."""

    orders: int
    in_flight: int


@dataclass(frozen=True)
class Stream:
    """Orders that come at random, so many a second on average."""

    orders: int
    a_second: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a simulation came to; times in seconds."""

    orders: int
    elapsed: float
    """From the first order to the last confirmation."""
    latencies: Sequence[float]
    """From the POST to ``confirmed``."""
    slots_used: float
    """How many slots the orders keep busy on average when they go on coming, handovers included."""
    settlers_used: float
    looks: int
    """How often the chain was asked how a batch has ended."""

    @property
    def per_minute(self) -> float:
        return self.orders / self.elapsed * 60


@dataclass
class _Pipeline:
    """The stages between a client and ``confirmed``."""

    environment: simpy.Environment
    chance: random.Random
    times: Times
    slots: simpy.Resource | None
    """None where there are as many as it takes."""
    settlements: simpy.Store
    look_seconds: float
    slots_busy: float = 0.0
    """Seconds, of all slots together."""
    settlers_busy: float = 0.0
    looks: int = 0
    latencies: list[float] = field(default_factory=list)
    ended: float = 0.0

    def stream(self, stream: Stream) -> Steps:
        for _ in range(stream.orders):
            self.environment.process(self.order())
            yield self.environment.timeout(self.chance.expovariate(stream.a_second))

    def order(self, gate: simpy.Resource | None = None) -> Steps:
        """Post an order, as soon as the gate lets it through, and execute it when a slot is free."""
        admitted = gate.request() if gate is not None else None
        if admitted is not None:
            yield admitted
        begun = self.environment.now
        yield self.environment.timeout(self.chance.choice(self.times.post))
        if gate is not None and admitted is not None:
            gate.release(admitted)
        if self.slots is None:
            yield from self._execute(begun)
        else:
            with self.slots.request() as slot:
                yield slot
                yield from self._execute(begun)

    def _execute(self, begun: float) -> Steps:
        """Hold a slot until the order is submitted, and until the next one may begin in it."""
        started = self.environment.now
        yield self.environment.timeout(self.chance.choice(self.times.slot))
        self.environment.process(self._settle_later(begun, self.environment.now))
        yield self.environment.timeout(self.times.handover)
        self.slots_busy += self.environment.now - started

    def _settle_later(self, begun: float, submitted: float) -> Steps:
        lands = submitted + self.chance.uniform(*LANDING_SECONDS)
        yield self.environment.timeout(FIRST_STATUS_SECONDS)
        yield self.settlements.put((begun, lands))

    def settler(self) -> Steps:
        """Watch batches, one after another, each until all in it has landed."""
        while True:
            first = yield self.settlements.get()
            batch = [first, *self.settlements.items[: BATCH - 1]]
            del self.settlements.items[: BATCH - 1]
            received = self.environment.now
            ticks = [max(math.ceil((lands - received) / self.look_seconds), 0) for _, lands in batch]
            last = max(ticks)
            yield self.environment.timeout(min(last * self.look_seconds, WATCH_SECONDS) + self.times.handover)
            self.looks += last + 1
            for (begun, _), tick in zip(batch, ticks, strict=True):
                confirmed = received + tick * self.look_seconds
                self.latencies.append(confirmed - begun)
                self.ended = max(self.ended, confirmed)
            self.settlers_busy += self.environment.now - received


def simulate(
    times: Times,
    arrivals: Together | Stream,
    *,
    slots: int | None,
    settlers: int,
    look_seconds: float = SimulatedChain.look_seconds,
) -> Outcome:
    """Send orders through the pipeline; ``slots`` None means as many as it takes."""
    environment = simpy.Environment()
    pipeline = _Pipeline(
        environment=environment,
        chance=random.Random(SEED),
        times=times,
        slots=None if slots is None else simpy.Resource(environment, slots),
        settlements=simpy.Store(environment),
        look_seconds=look_seconds,
    )
    for _ in range(settlers):
        environment.process(pipeline.settler())
    if isinstance(arrivals, Stream):
        environment.process(pipeline.stream(arrivals))
    else:
        gate = simpy.Resource(environment, arrivals.in_flight)
        for _ in range(arrivals.orders):
            environment.process(pipeline.order(gate))
    environment.run()
    lasted = arrivals.orders / arrivals.a_second if isinstance(arrivals, Stream) else pipeline.ended
    return Outcome(
        orders=len(pipeline.latencies),
        elapsed=pipeline.ended,
        latencies=pipeline.latencies,
        slots_used=pipeline.slots_busy / lasted,
        settlers_used=pipeline.settlers_busy / lasted,
        looks=pipeline.looks,
    )

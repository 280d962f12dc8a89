"""Look again and again within one call: calls come by the minute, or with a batch, and orders cannot wait that long."""

from collections.abc import Callable, Iterator

from chalicelib.clock import Clock
from chalicelib.observability import logger
from chalicelib.resources import ResourceUnavailable


def ticks(clock: Clock, *, every: float, lasting: float) -> Iterator[None]:
    """Yield at once and then every ``every`` seconds, for ``lasting`` seconds.

    A look that takes longer than ``every`` delays the next one, and only that.
    """
    now = clock.seconds()
    until = now + lasting
    while True:
        next_look = now + every
        yield
        if next_look > until:
            return
        clock.sleep(max(next_look - clock.seconds(), 0.0))
        now = max(next_look, clock.seconds())


def poll(look: Callable[[], int], clock: Clock, *, every: float, lasting: float) -> int:
    """Call ``look`` at every tick and return the sum of its answers; a part that is down is waited for."""
    total = 0
    for _ in ticks(clock, every=every, lasting=lasting):
        try:
            total += look()
        except ResourceUnavailable as unavailable:
            logger.warning(f"looking again in a moment: {unavailable}")
    return total

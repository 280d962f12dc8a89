"""Look again and again within one scheduled call: EventBridge calls once a minute, orders cannot wait that long."""

from collections.abc import Callable

from chalicelib.observability import logger
from chalicelib.resources import ResourceUnavailable


def keep_looking(
    look: Callable[[], int],
    *,
    every: float,
    lasting: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> int:
    """Call ``look`` at once and then every ``every`` seconds, for ``lasting`` seconds; return the sum of its answers.

    A part that is down is looked for again at the next turn. A look that takes longer than ``every`` delays the next
    one, and only that.
    """
    now = clock()
    until = now + lasting
    total = 0
    while True:
        next_look = now + every
        try:
            total += look()
        except ResourceUnavailable as unavailable:
            logger.warning(f"looking again in a moment: {unavailable}")
        if next_look > until:
            return total
        sleep(max(next_look - clock(), 0.0))
        now = max(next_look, clock())

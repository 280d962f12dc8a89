"""Numbers that move smoothly with time, and are the same for every process that asks at the same moment.

Value noise (K. Perlin and others; see D. Ebert et al., "Texturing and Modeling", 3rd edition, 2003, chapter 2): time
is cut into slices, a number is drawn for each boundary from what it is for, and between two boundaries the curve
``3t² − 2t³`` leads from one number to the next. Nothing is remembered, so a process that starts late, or was frozen
for an hour, sees what all others see, and any moment costs the same two draws.
"""

import math
from collections.abc import Sequence
from datetime import datetime

from chalicelib.venues.simulated.chance import Chance


def smooth(seed: str, at: datetime, seconds: float, *purpose: object) -> float:
    """Return a number in 0…1 that goes to another one, drawn for ``purpose``, every ``seconds``.

    In a second it changes by at most 1.5 / ``seconds``.
    """
    passed = at.timestamp() / seconds
    slice_number = math.floor(passed)
    chance = Chance(seed)
    start, end = (chance.uniform(0, 1, *purpose, boundary) for boundary in (slice_number, slice_number + 1))
    through = passed - slice_number
    return start + (end - start) * through * through * (3 - 2 * through)


def wander(seed: str, at: datetime, periods: Sequence[float], *purpose: object) -> float:
    """Return a number in −1…1 that drifts over the first of ``periods`` (in seconds) and jitters over the others.

    Each period's swing is half as wide as that of the one before it.
    """
    widths = [0.5**octave for octave in range(len(periods))]
    swings = (
        width * (2 * smooth(seed, at, seconds, *purpose, seconds) - 1)
        for width, seconds in zip(widths, periods, strict=True)
    )
    return sum(swings) / sum(widths)

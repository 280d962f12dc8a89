"""Where simulated prices, delays and faults come from.

Workers are many processes, so one seeded generator cannot make a run reproducible: who draws first differs each
time. Instead each number is drawn from the seed and from what it is for, and the same order gets the same numbers
whatever else runs.
"""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Chance:
    """Draws numbers: reproducible ones with a seed, fresh ones without."""

    seed: str | None = None

    def uniform(self, low: float, high: float, *purpose: object) -> float:
        """Return a number between ``low`` and ``high``; with a seed, always the same for the same ``purpose``."""
        if self.seed is None:
            return random.uniform(low, high)  # noqa: S311 - what is drawn is a market, not a secret
        drawing = random.Random("|".join((self.seed, *map(str, purpose))))  # noqa: S311 - to be guessed is its purpose
        return drawing.uniform(low, high)

    def happens(self, share: float, *purpose: object) -> bool:
        """Whether something that happens in ``share`` of all cases happens in this one."""
        return share > 0 and self.uniform(0, 1, *purpose) < share

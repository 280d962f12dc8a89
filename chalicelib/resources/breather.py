"""After a part did not answer it is left alone for a moment: an outage costs few waits."""

from chalicelib.clock import Clock
from chalicelib.resources import ResourceUnavailable

BREATHER_SECONDS = 1.0


class Breather:
    """Lets a part that did not answer be, for a moment."""

    def __init__(self, part: str, clock: Clock) -> None:
        self._part = part
        self._clock = clock
        self._over_at = 0.0

    def check(self) -> None:
        """Fail at once if the part did not answer a moment ago."""
        if self._clock.seconds() < self._over_at:
            raise ResourceUnavailable(self._part, "it did not answer a moment ago")

    def begin(self) -> None:
        """Note that the part did not answer."""
        self._over_at = self._clock.seconds() + BREATHER_SECONDS

"""A circuit breaker (M. Nygard, "Release It!", 2007): a part that did not answer is left alone for a moment."""

from chalicelib.clock import Clock
from chalicelib.resources import ResourceUnavailable

OPEN_SECONDS = 1.0


class CircuitBreaker:
    """Stands before a part of the outside world; an outage then costs few waits."""

    def __init__(self, part: str, clock: Clock) -> None:
        self._part = part
        self._clock = clock
        self._open_until = 0.0

    def check(self) -> None:
        """Fail at once if the part did not answer a moment ago."""
        if self._clock.seconds() < self._open_until:
            raise ResourceUnavailable(self._part, "it did not answer a moment ago")

    def trip(self) -> None:
        """Note that the part did not answer."""
        self._open_until = self._clock.seconds() + OPEN_SECONDS

"""When to try again, and when to give up."""

from collections.abc import Callable
from dataclasses import dataclass

TRANSIENT = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may go well a moment later."""


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How long to try, in seconds.

    Attributes:
        deadline: After how long a call, or a stream that hears nothing any more, gives up. 0: at the first failure.
        first: The longest pause before the second try. It doubles with each further one; each is cut to a random part,
            so that clients that failed together do not come back together.
        longest: The longest pause.
        wait_for_start: Whether to wait for an engine that has not answered this client once. A service that is started
            together with the engine wants that; a person at a terminal wants to hear at once that nothing is there.
    """

    deadline: float = 30.0
    first: float = 0.25
    longest: float = 5.0
    wait_for_start: bool = True

    def pause(self, attempt: int, retry_after: float | None, chance: float) -> float:
        """Return how long to wait after the try of this number (from 0), with ``chance`` between 0 and 1.

        What the engine asks for is waited for in full, and a little more.
        """
        if retry_after is not None:
            return retry_after + chance * self.first
        return chance * min(self.longest, self.first * 2.0 ** min(attempt, 32))


class Attempts:
    """The tries of one call, or of one stream since it was last well."""

    def __init__(self, retries: Retries, now: Callable[[], float], chance: Callable[[], float]) -> None:
        self._retries = retries
        self._now = now
        self._chance = chance
        self._count = 0
        self._began_at: float | None = None

    @property
    def remaining(self) -> float:
        """How many seconds there are until the deadline."""
        return self._retries.deadline - (self._now() - self._begin())

    def next_pause(self, retry_after: float | None = None) -> float | None:
        """Count a failed try; returns how long to wait before the next one, None when it is time to give up."""
        pause = self._retries.pause(self._count, retry_after, self._chance())
        self._count += 1
        return pause if pause < self.remaining else None

    def reset(self) -> None:
        """Begin anew: all is well."""
        self._count, self._began_at = 0, None

    def _begin(self) -> float:
        if self._began_at is None:
            self._began_at = self._now()
        return self._began_at

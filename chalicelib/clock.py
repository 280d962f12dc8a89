"""Time, for every part that asks for it: what the time is, how much of it passes, and waiting for it to pass.

A part is given a clock, so that a test decides what time it is and nobody has to wait. Two other clocks are asked where
one statement has to compare and change: Postgres's for leases, delays and the expiry of orders, Redis's for who serves
a viewer. Turns, and the expiry of swaps, go by this one, with a margin for clocks that differ.
"""

import time
from datetime import UTC, datetime


class Clock:
    """This machine's clock."""

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return datetime.now(UTC)

    def seconds(self) -> float:
        """Return seconds since some moment in the past: they never go back, and only differences mean anything."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds; after none, at once: even then the system would let others go first."""
        if seconds > 0:
            time.sleep(seconds)

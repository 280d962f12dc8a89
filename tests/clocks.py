"""Clocks on which nobody has to wait; a test moves them."""

from datetime import datetime, timedelta

from chalicelib.clock import Clock
from tests.builders import NOON


class QuickClock(Clock):
    """The machine's clock, on which sleeping takes no time; a test may move it ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.slept: list[float] = []

    def now(self) -> datetime:
        return super().now() + self.ahead

    def seconds(self) -> float:
        return super().seconds() + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class StoppedClock(Clock):
    """A clock that stands still until somebody sleeps, or the test lets time pass."""

    def __init__(self, at: datetime = NOON) -> None:
        self._start = self.at = at
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.at

    def seconds(self) -> float:
        return (self.at - self._start).total_seconds()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

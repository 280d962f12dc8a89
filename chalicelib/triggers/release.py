"""Let orders out of the book: queued first, announced then."""

from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.execution.dispatch import Dispatcher
from chalicelib.observability import logger
from chalicelib.resources import ResourceUnavailable
from chalicelib.store.orders import Step
from chalicelib.streaming.publisher import Publisher


@dataclass(frozen=True, kw_only=True)
class Release:
    """Sends orders on whose waiting is over."""

    dispatcher: Dispatcher
    publisher: Publisher

    def let_go(self, woken: Sequence[Step]) -> float:
        """Queue these orders and announce it; return how many seconds away the last one's turn is.

        They have left the book for good: what cannot be queued now, recovery queues.
        """
        farthest = 0.0
        if not woken:
            return farthest
        try:
            farthest = self.dispatcher.send_triggered([step.order for step in woken])
        except ResourceUnavailable as unavailable:
            logger.warning(f"recovery will queue what was triggered: {unavailable}", orders=len(woken))
        for step in woken:
            self.publisher.publish(step)
        return farthest

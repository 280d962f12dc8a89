"""Wake orders that wait: out of the book, onto their queue, announced, in that order.

What has left the book has left it for good: should it not be queued, recovery queues it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chalicelib.orders.events import Step
from chalicelib.orders.waiting import MarketPrice
from chalicelib.queueing.dispatch import Dispatcher
from chalicelib.store.book import Book
from chalicelib.streaming.publisher import Publisher

WOKEN_AT_ONCE = 1000


class Woken(NamedTuple):
    """How many orders were woken, and how many seconds away the last one's turn to execute is."""

    orders: int
    farthest_turn: float


@dataclass(frozen=True, kw_only=True)
class Waker:
    """Wakes a batch of orders; every method raises ``ResourceUnavailable`` when Postgres does not answer."""

    book: Book
    dispatcher: Dispatcher
    publisher: Publisher

    def wake_stops(self, prices: Sequence[MarketPrice]) -> Woken:
        """Wake the stops that these prices trigger."""
        return self._release(self.book.trigger_stops(prices, WOKEN_AT_ONCE))

    def wake_limits(self, prices: Sequence[MarketPrice]) -> Woken:
        """Wake the orders whose limit these prices reach, or that are to be looked at again."""
        return self._release(self.book.trigger_limits(prices, WOKEN_AT_ONCE))

    def wake_launched(self, pairs: Sequence[tuple[str, str | None]]) -> Woken:
        """Wake the snipers of these pairs (tokenIn, tokenOut); without tokenOut, of any pair with tokenIn."""
        return self._release(self.book.wake_launched(pairs, WOKEN_AT_ONCE))

    def _release(self, steps: Sequence[Step]) -> Woken:
        farthest_turn = self.dispatcher.send_triggered([step.order for step in steps])
        self.publisher.publish_all(steps)
        return Woken(len(steps), farthest_turn)

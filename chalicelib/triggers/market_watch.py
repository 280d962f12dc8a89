"""The market watch: follow the price of each pair that orders wait on, and wake those it reaches.

It also ends those whose time is up.

It looks every second. A look asks Postgres which pairs have waiting orders, asks each venue for all of those pairs at
once, and lets Postgres pick the orders that these prices wake; so it costs the same whether ten orders wait or a
million. Several watches may look at the same time: each order is taken out of the book by one of them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chalicelib.execution.schedule import keep_looking
from chalicelib.observability import count, logger
from chalicelib.orders.order import WaitsFor
from chalicelib.orders.waiting import MarketPrice
from chalicelib.routing.router import Router
from chalicelib.store.book import Book
from chalicelib.streaming.publisher import Publisher
from chalicelib.triggers.release import Release
from chalicelib.venues.venue import VenueUnavailable

TICK_SECONDS = 1.0
WATCH_SECONDS = 65.0
"""A little longer than the minute between two calls, because a schedule is not punctual and nobody else looks."""
BATCH = 1000
FARTHEST_TURN = 850.0
"""Seconds: SQS delays a message by at most 900. Orders whose turn would be farther away go on waiting in the book."""


@dataclass(kw_only=True)
class MarketWatch:
    """Looks at the market on behalf of the orders that wait."""

    book: Book
    router: Router
    release: Release
    publisher: Publisher
    sleep: Callable[[float], None]
    clock: Callable[[], float] = time.monotonic
    _booked_up_until: float = field(default=0.0, init=False)

    def watch(self) -> int:
        """Look every second until the next watch has begun; return how many orders were woken."""
        return keep_looking(self.look, every=TICK_SECONDS, lasting=WATCH_SECONDS, clock=self.clock, sleep=self.sleep)

    def look(self) -> int:
        """Expire what is due and wake what the market reaches now; return how many orders were woken.

        Raises:
            ResourceUnavailable: Postgres does not answer.
        """
        self._expire()
        pairs = self.book.waiting_pairs()
        if not pairs or self.clock() < self._booked_up_until:
            return 0
        try:
            prices = self.router.market_prices({(pair.token_in, pair.token_out) for pair in pairs})
        except VenueUnavailable as unavailable:
            logger.warning(f"no prices to look at: {unavailable}")
            return 0
        live = {(price.token_in, price.token_out) for price in prices}
        awaited = {(pair.token_in, pair.token_out) for pair in pairs if pair.waits_for is WaitsFor.PRICE}
        launched: list[tuple[str, str | None]] = [
            (pair.token_in, pair.token_out)
            for pair in pairs
            if pair.waits_for is WaitsFor.LAUNCH and (pair.token_in, pair.token_out) in live
        ]
        return self._wake_launched(launched) + self._wake_reached(
            [price for price in prices if (price.token_in, price.token_out) in awaited]
        )

    def _expire(self) -> None:
        """End the orders whose time is up.

        Their viewers are due a look before anything is changed: should this process die in between, nothing else
        would make them hear of the end.
        """
        due = self.book.due(BATCH)
        if not due:
            return
        self.publisher.catch_up_later(*due)
        for step in self.book.expire(due):
            self.publisher.publish(step)

    def _wake_launched(self, pairs: Sequence[tuple[str, str | None]]) -> int:
        """Wake the snipers of pools that turn out to be live, or whose launch webhook was cut off."""
        if not pairs:
            return 0
        woken = self.book.wake_launched(pairs, BATCH)
        self.release.let_go(woken)
        return len(woken)

    def _wake_reached(self, prices: Sequence[MarketPrice]) -> int:
        woken = 0
        while prices:
            batch = self.book.trigger(prices, BATCH)
            woken += len(batch)
            farthest = self.release.let_go(batch)
            if farthest > FARTHEST_TURN:
                self._booked_up_until = self.clock() + farthest - FARTHEST_TURN
                break
            if len(batch) < BATCH:
                break
        if woken:
            logger.info(f"the market reached {woken} orders")
            count("OrdersReached", woken)
        return woken

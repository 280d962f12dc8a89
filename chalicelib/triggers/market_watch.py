"""The market watch: follow the price of each pair that orders wait on, and wake those it reaches.

It also ends those whose time is up.

It looks every second. A look asks Postgres which pairs have waiting orders, asks each venue for all of those pairs at
once, and lets Postgres pick the orders that these prices wake; so it costs the same whether ten orders wait or a
million. Several watches may look at the same time: each order is taken out of the book by one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chalicelib.clock import Clock
from chalicelib.execution.watching import keep_looking
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
MOST_BATCHES = 12
"""For one look; however many there are, the next look is due and the function's time limited."""
FARTHEST_TURN = 850.0
"""Seconds: SQS delays a message by at most 900. Orders whose turn would be farther away go on waiting in the book."""


@dataclass(kw_only=True)
class MarketWatch:
    """Looks at the market on behalf of the orders that wait."""

    book: Book
    router: Router
    release: Release
    publisher: Publisher
    clock: Clock
    _booked_up_until: dict[str, float] = field(default_factory=dict, init=False)

    def watch(self) -> int:
        """Look every second until the next watch has begun; return how many orders were woken."""
        return keep_looking(self.look, self.clock, every=TICK_SECONDS, lasting=WATCH_SECONDS)

    def look(self) -> int:
        """Expire what is due and wake what the market reaches now; return how many orders were woken.

        After a full batch it looks again at once, at new prices: thousands of orders reached by one price must not
        keep others from expiring or from being woken in time.

        Raises:
            ResourceUnavailable: Postgres does not answer.
        """
        woken = 0
        for _ in range(MOST_BATCHES):
            expired, triggered = self._expire(), self._wake()
            woken += triggered
            if max(expired, triggered) < BATCH:
                break
        if woken:
            logger.info(f"the market reached {woken} orders")
            count("OrdersReached", woken)
        return woken

    def _expire(self) -> int:
        """End orders whose time is up; return how many.

        Their viewers are due a look before anything is changed: should this process die in between, nothing else
        would make them hear of the end.
        """
        due = self.book.due(BATCH)
        if due:
            self.publisher.catch_up_later(*due)
            for step in self.book.expire(due):
                self.publisher.publish(step)
        return len(due)

    def _wake(self) -> int:
        """Wake a batch of the orders that the market reaches now; return how many."""
        pairs = self.book.waiting_pairs()
        if not pairs:
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
        reached = [price for price in prices if (price.token_in, price.token_out) in awaited]
        return self._wake_launched(launched) + self._wake_reached(reached)

    def _wake_launched(self, pairs: Sequence[tuple[str, str | None]]) -> int:
        """Wake the snipers of pools that turn out to be live, or whose launch webhook was cut off."""
        woken = self.book.wake_launched(pairs, BATCH) if pairs else []
        self.release.let_go(woken)
        return len(woken)

    def _wake_reached(self, prices: Sequence[MarketPrice]) -> int:
        """Wake stops and limit orders, each kind as long as its turns are not booked up."""
        if not prices:
            return 0
        woken = 0
        for trigger in (self.book.trigger_stops, self.book.trigger_limits):
            if self.clock.seconds() < self._booked_up_until.get(trigger.__name__, 0.0):
                continue
            reached = trigger(prices, BATCH)
            farthest = self.release.let_go(reached)
            if farthest > FARTHEST_TURN:
                self._booked_up_until[trigger.__name__] = self.clock.seconds() + farthest - FARTHEST_TURN
            woken += len(reached)
        return woken

"""The market watch: follow the price of each pair that orders wait on, wake those it reaches, end those that are due.

It looks every second. A look asks Postgres which pairs have waiting orders, asks each venue for all of those pairs at
once, and lets Postgres pick the orders that these prices wake; so it costs the same whether ten orders wait or a
million. Several watches may look at the same time: each order is taken out of the book by one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chalicelib.clock import Clock
from chalicelib.observability import count, logger
from chalicelib.orders.order import WaitsFor
from chalicelib.orders.waiting import MarketPrice
from chalicelib.polling import poll
from chalicelib.queueing.pacing import Lane
from chalicelib.routing.router import Router
from chalicelib.store.book import Book
from chalicelib.triggers import expiry, waking
from chalicelib.triggers.expiry import Expiry
from chalicelib.triggers.waking import Waker
from chalicelib.venues.venue import VenueUnavailable

TICK_SECONDS = 1.0
WATCH_SECONDS = 65.0
"""A little longer than the minute between two calls, because a schedule is not punctual and nobody else looks."""
MOST_BATCHES = 12
"""For one look; however many there are, the next look is due and the function's time limited."""
FARTHEST_TURN = 850.0
"""Seconds: SQS delays a message by at most 900. Orders whose turn would be farther away go on waiting in the book."""


@dataclass(frozen=True, kw_only=True)
class MarketWatch:
    """Looks at the market on behalf of the orders that wait."""

    book: Book
    router: Router
    waker: Waker
    expiry: Expiry
    clock: Clock
    _booked_up_until: dict[Lane, float] = field(default_factory=dict, init=False)

    def watch(self) -> int:
        """Look every second until the next watch has begun; return how many orders were woken."""
        return poll(self.look, self.clock, every=TICK_SECONDS, lasting=WATCH_SECONDS)

    def look(self) -> int:
        """Expire what is due and wake what the market reaches now; return how many orders were woken.

        After a full batch it looks again at once, at new prices: thousands of orders reached by one price must not
        keep others from expiring or from being woken in time.

        Raises:
            ResourceUnavailable: Postgres does not answer.
        """
        woken = 0
        for _ in range(MOST_BATCHES):
            expired, triggered = self.expiry.expire(), self._wake()
            woken += triggered
            if expired < expiry.EXPIRED_AT_ONCE and triggered < waking.WOKEN_AT_ONCE:
                break
        if woken:
            logger.info(f"the market reached {woken} orders")
            count("OrdersReached", woken)
        return woken

    def _wake(self) -> int:
        """Wake a batch of the orders that the market reaches now; return how many."""
        pairs = self.book.waiting_pairs(unannounced=self.router.tells_launches)
        if not pairs:
            return 0
        try:
            prices = self.router.market_prices({(pair.token_in, pair.token_out) for pair in pairs})
        except VenueUnavailable as unavailable:
            logger.warning(f"no prices to look at: {unavailable}")
            return 0
        live = {(price.token_in, price.token_out) for price in prices}
        awaited = {(pair.token_in, pair.token_out) for pair in pairs if pair.waits_for is WaitsFor.PRICE}
        # Pools that turn out to be live, and those whose launch webhook was cut off.
        launched: list[tuple[str, str | None]] = [
            (pair.token_in, pair.token_out)
            for pair in pairs
            if pair.waits_for is WaitsFor.LAUNCH and (pair.token_in, pair.token_out) in live
        ]
        woken = self.waker.wake_launched(launched).orders if launched else 0
        return woken + self._wake_reached([price for price in prices if (price.token_in, price.token_out) in awaited])

    def _wake_reached(self, prices: Sequence[MarketPrice]) -> int:
        """Wake stops and limit orders, each kind as long as its turns are not booked up."""
        if not prices:
            return 0
        woken = 0
        for lane, wake in ((Lane.STOPS, self.waker.wake_stops), (Lane.TRIGGERED, self.waker.wake_limits)):
            if self.clock.seconds() < self._booked_up_until.get(lane, 0.0):
                continue
            batch = wake(prices)
            if batch.farthest_turn > FARTHEST_TURN:
                self._booked_up_until[lane] = self.clock.seconds() + batch.farthest_turn - FARTHEST_TURN
            woken += batch.orders
        return woken

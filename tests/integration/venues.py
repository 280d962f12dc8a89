"""Venues and chains that have trouble: each wraps a simulated one and does what it does, when it can.

What a test wants to happen in the middle of a worker's work, another worker's for instance, it gives to a hook: a
function that is called right before, or right after, the worker's call does its own part.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from chalicelib.engine import Engine
from chalicelib.orders.order import Order, Trade
from chalicelib.orders.swap import SignedTransaction, SwapPlan, SwapStatus
from chalicelib.routing.router import Router
from chalicelib.venues.venue import Chain, Quote, Spot, Venue, VenueUnavailable

Hook = Callable[[], object]


def _nothing() -> None:
    """Happen."""


class TroubledVenue:
    """A venue that answers its first requests for a quote with errors."""

    def __init__(self, venue: Venue, errors: Iterable[Exception]) -> None:
        self._venue = venue
        self._errors = deque(errors)
        self.asked = 0
        self.before_quote: Hook = _nothing
        self.before_build: Hook = _nothing

    @property
    def name(self) -> str:
        return self._venue.name

    @property
    def tells_launches(self) -> bool:
        return self._venue.tells_launches

    def quote(self, trade: Trade, attempt: int) -> Quote:
        self.asked += 1
        self.before_quote()
        if self._errors:
            raise self._errors.popleft()
        return self._venue.quote(trade, attempt)

    def spot(self, pairs: Collection[str]) -> Mapping[str, Spot]:
        return self._venue.spot(pairs)

    def build(self, order: Order, plan: SwapPlan) -> SignedTransaction:
        self.before_build()
        return self._venue.build(order, plan)


class TroubledChain:
    """A chain that loses the first transactions sent to it, and notes what reached it."""

    def __init__(self, chain: Chain, *, lost: int = 0, error: Exception | None = None) -> None:
        self._chain = chain
        self.look_seconds = chain.look_seconds
        self._lost = lost
        self._error = error
        self.blind = False
        """Whether it answers no question about statuses."""
        self.received: list[bytes] = []
        self.after_submit: Hook = _nothing
        self.after_statuses: Hook = _nothing

    def submit(self, transaction: SignedTransaction) -> None:
        if self._lost:
            self._lost -= 1
            if self._error:
                raise self._error
            return
        self.received.append(transaction.payload)
        self._chain.submit(transaction)
        self.after_submit()

    def statuses(self, transactions: Collection[SignedTransaction]) -> Mapping[str, SwapStatus]:
        if self.blind:
            raise VenueUnavailable("the chain does not answer")
        statuses = self._chain.statuses(transactions)
        self.after_statuses()
        return statuses


def trouble_venues(engine: Engine, *, raydium: Iterable[Exception] = (), meteora: Iterable[Exception] = ()) -> Any:
    """Give an engine venues that raise these errors first; returns all of them."""
    errors = {"raydium": raydium, "meteora": meteora}
    troubled = [TroubledVenue(venue, errors.get(venue.name, ())) for venue in engine.venues]
    engine.router = Router(troubled)
    return troubled


def trouble_chain(engine: Engine, *, lost: int = 0, error: Exception | None = None) -> TroubledChain:
    """Give an engine a chain that loses the first transactions, silently or with an error."""
    chain = TroubledChain(engine.chain, lost=lost, error=error)
    engine.chain = chain
    return chain


def fail_once(part: Any, method: str, error: BaseException) -> None:
    """Have the next call of a part's method raise an error instead of doing anything."""
    works = getattr(part, method)

    def fail(*_: Any, **__: Any) -> Any:
        setattr(part, method, works)
        raise error

    setattr(part, method, fail)

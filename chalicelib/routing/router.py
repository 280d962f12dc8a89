"""Ask every venue at once, and choose the one that leaves the owner best off."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TypeVar

import msgspec

from chalicelib.observability import in_this_context, logger
from chalicelib.orders import events
from chalicelib.orders.events import EventDraft, VenueQuote
from chalicelib.orders.order import Side, Trade
from chalicelib.orders.waiting import MarketPrice
from chalicelib.venues.venue import Quote, Spot, SwapRefused, Venue, VenueUnavailable

Answer = TypeVar("Answer")
VENUE_ERRORS = (SwapRefused, VenueUnavailable)
VenueErrors = Mapping[str, SwapRefused | VenueUnavailable]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The quotes that came back, the best one, and why a venue gave none (by its name)."""

    best: Quote
    quotes: tuple[Quote, ...]
    errors: dict[str, str]

    @property
    def quotes_by_venue(self) -> dict[str, VenueQuote]:
        """The numbers of each quote, as they are stored, streamed and answered."""
        return {quote.venue: _numbers(quote) for quote in self.quotes}

    @property
    def event(self) -> EventDraft:
        """What the event of a routed order says."""
        return events.routing(self.quotes_by_venue, self.best.venue, self.errors)


class Router:
    """Routes trades over a fixed set of venues; the first venue wins a tie."""

    def __init__(self, venues: Sequence[Venue]) -> None:
        self._venues = {venue.name: venue for venue in venues}
        self._pool = ThreadPoolExecutor(max_workers=len(venues), thread_name_prefix="quote")

    @property
    def venue_names(self) -> tuple[str, ...]:
        """The names of all venues."""
        return tuple(self._venues)

    @property
    def tells_launches(self) -> bool:
        """Whether an open pool is a launch: there need be no announcement."""
        return any(venue.tells_launches for venue in self._venues.values())

    def venue(self, name: str) -> Venue:
        """Return the venue called ``name``."""
        return self._venues[name]

    def route(self, trade: Trade, attempt: int = 0) -> Route:
        """Quote all venues in parallel and choose.

        A venue that fails does not keep the trade from the others.

        Raises:
            SwapRefused: every venue refuses this trade for good.
            VenueUnavailable: no venue has a quote, and at least one may have one later.
        """
        quotes, errors = self._ask(lambda venue: venue.quote(trade, attempt))
        if not quotes:
            final = all(isinstance(error, SwapRefused) for error in errors.values())
            raise (SwapRefused if final else VenueUnavailable)(_reasons(errors))
        reasons = {venue: str(error) for venue, error in errors.items()}
        return Route(best=select_best_dex(quotes, trade.side), quotes=tuple(quotes), errors=reasons)

    def market_prices(self, pairs: Collection[tuple[str, str]]) -> list[MarketPrice]:
        """Return the market price of both sides of each pair (tokenIn, tokenOut) that has a live pool.

        All venues are asked in parallel, each once for all pairs; one that does not answer is left out.

        Raises:
            VenueUnavailable: no venue answers.
        """
        if not pairs:
            return []
        answers = self._get_spots([f"{token_in}/{token_out}" for token_in, token_out in pairs])
        return [
            MarketPrice(token_in, token_out, side, best_of(side)([spot.marginal_price(side) for spot in spots]))
            for token_in, token_out in pairs
            if (spots := [spots[pair] for spots in answers if (pair := f"{token_in}/{token_out}") in spots])
            for side in Side
        ]

    def market_price(self, trade: Trade) -> Decimal:
        """Return the market price for the trade's side.

        Raises:
            SwapRefused: no venue has a live pool.
            VenueUnavailable: no venue answers.
        """
        for price in self.market_prices([(trade.token_in, trade.token_out)]):
            if price.side is trade.side:
                return price.price
        raise SwapRefused(f"no venue has a pool for {trade.pair}")

    def has_pool(self, trade: Trade) -> bool:
        """Whether any venue has a live pool for the trade's pair.

        Raises:
            VenueUnavailable: no venue answers.
        """
        return bool(self.market_prices([(trade.token_in, trade.token_out)]))

    def _get_spots(self, pairs: Collection[str]) -> list[Mapping[str, Spot]]:
        spots, errors = self._ask(lambda venue: venue.spot(pairs))
        if not spots:
            raise VenueUnavailable(_reasons(errors))
        if errors:
            logger.warning(f"spot prices without every venue: {_reasons(errors)}")
        return spots

    def _ask(self, question: Callable[[Venue], Answer]) -> tuple[list[Answer], VenueErrors]:
        """Ask all venues at once; return their answers, and by its name why one has none.

        The last is asked by this thread, which would wait otherwise: to hand a question over costs more than many an
        answer.
        """
        *others, last = self._venues.values()
        asked = [self._pool.submit(in_this_context(_ask_one), question, venue) for venue in others]
        own = _ask_one(question, last)
        outcomes = dict(zip(self._venues, [*(other.result() for other in asked), own], strict=True))
        errors = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, VENUE_ERRORS)}
        return [outcome for outcome in outcomes.values() if not isinstance(outcome, VENUE_ERRORS)], errors


def _ask_one(question: Callable[[Venue], Answer], venue: Venue) -> Answer | SwapRefused | VenueUnavailable:
    try:
        return question(venue)
    except VENUE_ERRORS as error:
        return error


def _reasons(errors: VenueErrors) -> str:
    return "; ".join(f"{venue}: {error}" for venue, error in errors.items())


def select_best_dex(quotes: Sequence[Quote], side: Side) -> Quote:
    """Choose by net price; the first of equals wins."""
    best = best_of(side)([quote.net_price for quote in quotes])
    return next(quote for quote in quotes if quote.net_price == best)


def best_of(side: Side) -> Callable[[Iterable[Decimal]], Decimal]:
    """Return how the best of several prices is found: a sell takes the highest, a buy pays the lowest."""
    return max if side is Side.SELL else min


def _numbers(quote: Quote) -> VenueQuote:
    return VenueQuote(
        price=quote.price,
        fee=quote.fee,
        liquidity=quote.liquidity,
        net_price=quote.net_price,
        amount_out=quote.amount_out,
    )

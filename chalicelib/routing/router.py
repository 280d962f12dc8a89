"""Ask every venue at once, and choose the one that leaves the owner best off."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from chalicelib.orders.order import Side, Trade
from chalicelib.venues.venue import Quote, SwapRefused, Venue, VenueUnavailable


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The quotes that came back, the best one, and why a venue gave none (by its name)."""

    best: Quote
    quotes: tuple[Quote, ...]
    errors: dict[str, str]

    def as_details(self) -> dict[str, Any]:
        """Return what is stored and streamed: ``{"quotes": {venue: quote}, "chosen": venue, "errors"?: …}``."""
        details: dict[str, Any] = {
            "quotes": {quote.venue: _numbers(quote) for quote in self.quotes},
            "chosen": self.best.venue,
        }
        if self.errors:
            details["errors"] = self.errors
        return details


class Router:
    """Routes trades over a fixed set of venues; the first venue wins a tie."""

    def __init__(self, venues: Sequence[Venue]) -> None:
        self._venues = {venue.name: venue for venue in venues}
        self._pool = ThreadPoolExecutor(max_workers=len(venues), thread_name_prefix="quote")

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
        quotes, errors, final = self._get_quotes(trade, attempt)
        if not quotes:
            reasons = "; ".join(f"{venue}: {error}" for venue, error in errors.items())
            raise (SwapRefused if final else VenueUnavailable)(reasons)
        return Route(best=select_best_dex(quotes, trade.side), quotes=tuple(quotes), errors=errors)

    def _get_quotes(self, trade: Trade, attempt: int) -> tuple[list[Quote], dict[str, str], bool]:
        """Return the quotes, the errors by venue, and whether every error was final."""
        asked = {name: self._pool.submit(venue.quote, trade, attempt) for name, venue in self._venues.items()}
        quotes: list[Quote] = []
        errors: dict[str, str] = {}
        final = True
        for name, answer in asked.items():
            try:
                quotes.append(answer.result())
            except SwapRefused as refused:
                errors[name] = str(refused)
            except VenueUnavailable as unavailable:
                errors[name] = str(unavailable)
                final = False
        return quotes, errors, final


def select_best_dex(quotes: Sequence[Quote], side: Side) -> Quote:
    """Choose by net price: a sell takes the highest, a buy pays the lowest."""
    return (max if side is Side.SELL else min)(quotes, key=lambda quote: quote.net_price)


def _numbers(quote: Quote) -> dict[str, Any]:
    return {
        "price": quote.price,
        "fee": quote.fee,
        "liquidity": quote.liquidity,
        "netPrice": quote.net_price,
        "amountOut": quote.amount_out,
    }

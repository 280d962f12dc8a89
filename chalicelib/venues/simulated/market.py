"""The simulated market: base prices in a table (``simulated_market``), which operators set while it runs."""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from chalicelib.clock import Clock
from chalicelib.orders.tokens import PRICE_DIGITS, TOKENS, round_price
from chalicelib.resources.postgres import Database
from chalicelib.venues.simulated.prices import Prices, SteeredPair, reverse

REREAD_SECONDS = 0.2
LOWEST_PRICE, HIGHEST_PRICE = Decimal("1e-15"), Decimal("1e15")
WIDEST_WALK = Decimal("0.5")

_READ = "SELECT pair, base_price, walk, set_at FROM simulated_market ORDER BY pair"
_SET = """
    WITH replaced AS (DELETE FROM simulated_market WHERE pair = %(reverse)s)
    INSERT INTO simulated_market (pair, base_price, walk)
    VALUES (%(pair)s, %(base_price)s, %(walk)s)
    ON CONFLICT (pair) DO UPDATE SET base_price = EXCLUDED.base_price, walk = EXCLUDED.walk, set_at = now()
"""
_RESET = "DELETE FROM simulated_market WHERE pair IN (%(pair)s, %(reverse)s)"
_RESET_ALL = "DELETE FROM simulated_market"


class ListedPair(msgspec.Struct, frozen=True, kw_only=True):
    """A steered pair and where its walk has led it by now."""

    steered: SteeredPair
    current_base: Decimal


class Market:
    """The market as it is now, and the operators' hand on it.

    What was set is read again when it is older than ``REREAD_SECONDS``: each order is quoted by all venues at once.
    Every method raises ``ResourceUnavailable`` when Postgres does not answer.
    """

    def __init__(self, database: Database, seed: str | None, clock: Clock) -> None:
        self._database = database
        self._seed = seed
        self._clock = clock
        self._last_read: tuple[float, Mapping[str, SteeredPair]] | None = None

    def prices(self) -> Prices:
        """Return the prices of this moment, by a table that was read at most 0.2 s ago."""
        # Venues ask in threads of their own: what was read and when must change together.
        last_read = self._last_read
        if last_read is None or self._clock.seconds() - last_read[0] >= REREAD_SECONDS:
            return self.fresh_prices()
        return self._prices(last_read[1])

    def fresh_prices(self) -> Prices:
        """Return the prices of this moment, by the table as it is now."""
        asked_at = self._clock.seconds()
        steered = {row["pair"]: SteeredPair(**row) for row in self._database.run(_READ, {})}
        self._last_read = asked_at, steered
        return self._prices(steered)

    def steer(self, pair: str, base_price: Decimal | None, walk: Decimal | float = 0) -> None:
        """Set a pair's base price, and the reverse pair's with it; without a price, only let it walk from where it is.

        Raises:
            ValueError: a value is not allowed; says which, and what is.
        """
        _check_pair(pair)
        share = Decimal(str(walk))
        if not share.is_finite() or not 0 <= share <= WIDEST_WALK:
            raise ValueError(f"walk is {walk}; it must be a fraction from 0 to {WIDEST_WALK}")
        if base_price is None:
            base_price = self._set_base(pair)
        elif not base_price.is_finite() or not LOWEST_PRICE <= base_price <= HIGHEST_PRICE:
            raise ValueError(f"basePrice is {base_price}; it must be a number from {LOWEST_PRICE} to {HIGHEST_PRICE}")
        elif round_price(base_price) != base_price:
            raise ValueError(f"basePrice is {base_price}; it must have at most {PRICE_DIGITS} significant digits")
        values = {"pair": pair, "reverse": reverse(pair), "base_price": base_price, "walk": share}
        self._database.run(_SET, values)
        self._last_read = None

    def reset(self, pair: str | None = None) -> None:
        """Give a pair (and its reverse), or every pair, the base price it started with.

        Raises:
            ValueError: there is no such pair.
        """
        if pair is None:
            self._database.run(_RESET_ALL, {})
        else:
            _check_pair(pair)
            self._database.run(_RESET, {"pair": pair, "reverse": reverse(pair)})
        self._last_read = None

    def listing(self) -> list[ListedPair]:
        """Return every pair that was set, with its base price now."""
        prices = self.fresh_prices()
        return [
            ListedPair(steered=steered, current_base=round_price(prices.base(pair) or steered.base_price))
            for pair, steered in prices.steered.items()
        ]

    def _prices(self, steered: Mapping[str, SteeredPair]) -> Prices:
        return Prices(steered=steered, seed=self._seed, at=self._clock.now())

    def _set_base(self, pair: str) -> Decimal:
        """Return the base price a pair was set to or started with, before it walks."""
        steered = self.fresh_prices().steered
        standing = {name: msgspec.structs.replace(row, walk=Decimal(0)) for name, row in steered.items()}
        base = self._prices(standing).base(pair)
        if base is None:
            raise ValueError(f"basePrice is missing; {pair} has none to walk from")
        return round_price(base)


def _check_pair(pair: str) -> None:
    token_in, _, token_out = pair.partition("/")
    if token_in == token_out or token_in not in TOKENS or token_out not in TOKENS:
        known = ", ".join(sorted(TOKENS))
        raise ValueError(f"pair is {pair}; it must be tokenIn/tokenOut, two different ones of {known}")

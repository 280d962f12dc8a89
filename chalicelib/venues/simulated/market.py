"""The simulated market: base prices that operators set and let walk while it runs, and how a venue's price differs.

An order that waits is woken by one process and executed by another, and both must see the same market. So no price is
drawn afresh: each is a function of the base price, which stands in a table (``simulated_market``), and of the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from chalicelib.clock import Clock
from chalicelib.orders.tokens import EXACT, PRICE_DIGITS, TOKENS, round_price
from chalicelib.resources.postgres import Database
from chalicelib.venues.simulated.chance import Chance
from chalicelib.venues.simulated.noise import smooth, wander

# What one token is worth in dollars; a pair's base price is the ratio of two until it is set. A token that is not here
# has no pool before that.
DOLLARS = {
    "SOL": Decimal(150),
    "USDC": Decimal(1),
    "USDT": Decimal(1),
    "RAY": Decimal("2.5"),
    "JUP": Decimal("0.8"),
    "BONK": Decimal("0.00002"),
}

REREAD_SECONDS = 0.2
WOBBLE_SECONDS = 10.0
WALK_SECONDS = (240.0, 60.0, 15.0)
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


class SteeredPair(msgspec.Struct, frozen=True, kw_only=True):
    """A pair whose base price was set, as a row of the table.

    ``walk`` is how far the base price wanders from it, as a fraction of it.
    """

    pair: str
    base_price: Decimal
    walk: Decimal
    set_at: datetime


class ListedPair(msgspec.Struct, frozen=True, kw_only=True):
    """A steered pair and where its walk has led it by now."""

    steered: SteeredPair
    current_base: Decimal


@dataclass(frozen=True, kw_only=True)
class Prices:
    """The market at one moment: a function of what was set, the seed and the time."""

    steered: Mapping[str, SteeredPair]
    seed: str | None
    at: datetime

    def base(self, pair: str) -> Decimal | None:
        """Return the base price of ``tokenIn/tokenOut``, or None when it has no pool.

        It is what was set, or one divided by what was set for the reverse pair, or the ratio of two prices in dollars.
        What was set walks: it wanders smoothly within ± ``walk`` of the set value, drifting over minutes and jittering
        over a quarter of one. When it is set it is somewhere within these bounds, not necessarily at the set value:
        the walk depends on nothing but the seed, the pair and the time.
        """
        if (steered := self.steered.get(pair)) is not None:
            return self._walked(steered)
        if (steered := self.steered.get(_reverse(pair))) is not None:
            return EXACT.divide(1, self._walked(steered))
        token_in, _, token_out = pair.partition("/")
        if token_in not in DOLLARS or token_out not in DOLLARS:
            return None
        return EXACT.divide(DOLLARS[token_in], DOLLARS[token_out])

    def mid(self, venue: str, pair: str, price_range: tuple[Decimal, Decimal]) -> Decimal | None:
        """Return a venue's mid price to twelve digits, or None when it has no pool.

        It is ``base × (low + r × (high − low))`` for ``price_range`` = (low, high) and ``r`` in 0…1. With a seed ``r``
        is a constant of seed, venue and pair, so that nothing but the base price moves the price. Without one, ``r``
        moves on a little every second.
        """
        base = self.base(pair)
        if base is None:
            return None
        low, high = price_range
        share = Decimal(str(self._wobble(venue, pair)))
        return round_price(EXACT.multiply(base, low + share * (high - low)))

    def dollars(self, pair: str) -> Decimal:
        """Return what tokenIn is worth in dollars; one that has just launched is worth what it trades for."""
        token_in, _, token_out = pair.partition("/")
        return DOLLARS.get(token_in) or EXACT.multiply(self.base(pair) or 1, DOLLARS.get(token_out, Decimal(1)))

    def _wobble(self, venue: str, pair: str) -> float:
        if self.seed is not None:
            return Chance(self.seed).uniform(0, 1, "wobble", venue, pair)
        return smooth("", self.at, WOBBLE_SECONDS, "wobble", venue, pair)

    def _walked(self, steered: SteeredPair) -> Decimal:
        away = Decimal(str(wander(self.seed or "", self.at, WALK_SECONDS, "walk", steered.pair)))
        return EXACT.multiply(steered.base_price, 1 + steered.walk * away)


class Market:
    """The market as it is now, and the operators' hand on it.

    What was set is read again when it is older than ``REREAD_SECONDS``: each order is quoted by two venues at once.
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
        values = {"pair": pair, "reverse": _reverse(pair), "base_price": base_price, "walk": share}
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
            self._database.run(_RESET, {"pair": pair, "reverse": _reverse(pair)})
        self._last_read = None

    def listing(self) -> list[ListedPair]:
        """Return every pair that was set, with its base price now."""
        prices = self.fresh_prices()
        return [
            ListedPair(steered=steered, current_base=round_price(prices.base(pair) or steered.base_price))
            for pair, steered in prices.steered.items()
        ]

    def steer_from(self, event: Mapping[str, Any]) -> list[dict[str, str]] | dict[str, str]:
        """Do what an operator's event says and return the pairs that are set then, or ``{"error": …}``.

        ``{"action": "set", "pair", "basePrice"?, "walk"?}``, ``{"action": "list"}`` or ``{"action": "reset",
        "pair"?}``. Prices come and go as text, ``"140"``: Lambda's runtime would pass numbers through a float.
        """
        try:
            self._do(msgspec.convert(event, _Instruction))
        except ValueError as refused:
            return {"error": str(refused)}
        return [_listed(pair) for pair in self.listing()]

    def _do(self, instruction: "_Instruction") -> None:
        match instruction.action:
            case "set":
                self.steer(instruction.pair or "", instruction.base_price, instruction.walk)
            case "reset":
                self.reset(instruction.pair)

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


class _Instruction(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An operator's event."""

    action: Literal["set", "list", "reset"]
    pair: str | None = None
    base_price: Decimal | None = None
    walk: Decimal = Decimal(0)


def _listed(listed: ListedPair) -> dict[str, str]:
    steered = listed.steered
    return {
        "pair": steered.pair,
        "basePrice": f"{steered.base_price:f}",
        "walk": f"{steered.walk:f}",
        "setAt": steered.set_at.isoformat(),
        "currentBase": f"{listed.current_base:f}",
    }


def _reverse(pair: str) -> str:
    token_in, _, token_out = pair.partition("/")
    return f"{token_out}/{token_in}"


def _check_pair(pair: str) -> None:
    token_in, _, token_out = pair.partition("/")
    if token_in == token_out or token_in not in TOKENS or token_out not in TOKENS:
        known = ", ".join(sorted(TOKENS))
        raise ValueError(f"pair is {pair}; it must be tokenIn/tokenOut, two different ones of {known}")

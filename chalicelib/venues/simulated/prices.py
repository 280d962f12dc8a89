"""The prices of the simulated market: a function of what operators set, the seed and the time.

An order that waits is woken by one process and executed by another, and both must see the same market. So no price is
drawn afresh.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import msgspec

from chalicelib.orders.tokens import EXACT, round_price
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

WOBBLE_SECONDS = 10.0
WALK_SECONDS = (240.0, 60.0, 15.0)


class SteeredPair(msgspec.Struct, frozen=True, kw_only=True):
    """A pair whose base price was set, as a row of the table.

    ``walk`` is how far the base price wanders from it, as a fraction of it.
    """

    pair: str
    base_price: Decimal
    walk: Decimal
    set_at: datetime


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
        if (steered := self.steered.get(reverse(pair))) is not None:
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


def reverse(pair: str) -> str:
    """Return the pair the other way round."""
    token_in, _, token_out = pair.partition("/")
    return f"{token_out}/{token_in}"

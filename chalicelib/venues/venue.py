"""What the engine asks of a venue, and of the chain that its swaps land on.

A venue prices and builds; the chain takes a signed transaction and says later what became of it. The two are
apart because every venue's swaps land on the same chain, and one status call covers swaps of all of them.
"""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Protocol

import msgspec

from chalicelib.orders.order import Order, Side, Trade
from chalicelib.orders.swap import SignedTransaction, SwapPlan, SwapStatus
from chalicelib.orders.tokens import EXACT


class SwapRefused(Exception):
    """This swap can never work as asked; trying again would not help."""


class VenueUnavailable(Exception):
    """A venue or the chain did not answer, or refused for now; a later try may work."""


def marginal_price(side: Side, price: Decimal, fee: Decimal) -> Decimal:
    """Return the net price of an amount too small to move a pool: all that remains of its mid price is the fee.

    A sell of ``d`` swaps ``d(1−f)``, a buy of ``d`` pays ``1/(1−f)`` times what is swapped: the formulas of
    ``constant_product.quote_in_pool`` as the amount goes to nothing. It is not rounded to the digits of a price, so
    that it can be multiplied further.
    """
    kept = 1 - fee
    return EXACT.multiply(price, kept) if side is Side.SELL else EXACT.divide(price, kept)


class Quote(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a venue offers for a trade.

    ``price`` is the pool's mid price, ``net_price`` what remains of it after ``fee`` (a fraction) and the impact
    of this amount on ``liquidity`` (the pool's reserve of tokenIn). ``amount_out`` is the tokenOut that a sell
    receives or a buy pays, in whole base units. ``pool`` is the pool's address, where the venue has several for a pair.
    """

    venue: str
    price: Decimal
    fee: Decimal
    liquidity: Decimal
    net_price: Decimal
    amount_out: Decimal
    pool: str | None = None

    def marginal_price(self, side: Side) -> Decimal:
        """Return the net price without this amount's impact, to compare with ``Spot.marginal_price``."""
        return marginal_price(side, self.price, self.fee)


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """A pool's mid price and fee (a fraction) at this moment, whatever the amount."""

    price: Decimal
    fee: Decimal

    def marginal_price(self, side: Side) -> Decimal:
        """Return the net price of an amount too small to move the pool; not rounded."""
        return marginal_price(side, self.price, self.fee)


class Venue(Protocol):
    """A place to swap.

    The errors of ``quote`` and ``spot`` do not name it: the router, which asks several, says whose each is. Those of
    ``build`` go out as they are.
    """

    @property
    def name(self) -> str:
        """The venue's name on the wire: lower case, stable."""

    @property
    def tells_launches(self) -> bool:
        """Whether a pool that is open says that its token has launched; a simulated one is there all the time."""

    def quote(self, trade: Trade, attempt: int) -> Quote:
        """Price ``trade``.

        Raises:
            SwapRefused: this venue has no pool for the pair, or not enough in it.
            VenueUnavailable: no answer now.
        """

    def spot(self, pairs: Collection[str]) -> Mapping[str, Spot]:
        """Look at the pools of many pairs (``tokenIn/tokenOut``) at once; pairs without a live pool are absent.

        Raises:
            VenueUnavailable: no answer now.
        """

    def build(self, order: Order, plan: SwapPlan) -> SignedTransaction:
        """Build and sign the swap; nothing is sent.

        Raises:
            SwapRefused: this swap can never work as planned.
            VenueUnavailable: it cannot be built now, or would fail now.
        """


class Chain(Protocol):
    """Where signed transactions go."""

    @property
    def look_seconds(self) -> float:
        """How long to wait between two looks; half of it is what a landed swap waits on average."""

    def submit(self, transaction: SignedTransaction) -> None:
        """Send a transaction; sending the same one again changes nothing.

        Raises:
            VenueUnavailable: it may or may not have been taken; only its status tells.
        """

    def statuses(self, transactions: Collection[SignedTransaction]) -> Mapping[str, SwapStatus]:
        """Return how these transactions have ended, by their hashes; those that may still land are absent.

        Raises:
            VenueUnavailable: no answer now.
        """

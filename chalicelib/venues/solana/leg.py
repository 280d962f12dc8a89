"""One side of a swap: a token as the chain knows it at this moment, and its amounts in base units."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from chalicelib.orders.tokens import EXACT
from chalicelib.venues.solana.token_programs import BASIS_POINTS, TransferFee
from chalicelib.venues.venue import SwapRefused


class Leg(NamedTuple):
    """A token that is spent or received. ``fee`` is what its mint keeps of each transfer."""

    symbol: str
    mint: str
    program: str
    decimals: int
    fee: TransferFee

    def units(self, amount: Decimal) -> int:
        """Return an amount in base units."""
        units = EXACT.scaleb(amount, self.decimals)
        if units != int(units):
            raise SwapRefused(f"{amount:f} {self.symbol} has more than the {self.decimals} decimals of its mint")
        return int(units)

    def amount(self, units: int) -> Decimal:
        """Return base units as an amount."""
        return EXACT.scaleb(Decimal(units), -self.decimals)

    @property
    def kept(self) -> Decimal:
        """What arrives of a transfer, as a share; a fee's cap is left out, so of a large one it is more."""
        return 1 - Decimal(self.fee.basis_points) / BASIS_POINTS

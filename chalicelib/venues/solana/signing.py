"""The last steps before a swap is recorded: is the money there, does it work, what does it cost, and the signature.

A transaction is tried out before it is signed. So what can never work fails without a fee, and the compute units that
it asks for are those that it takes: a priority fee is paid for each unit asked for, used or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple, Protocol

from chalicelib.clock import Clock
from chalicelib.orders.swap import SignedTransaction
from chalicelib.resources.solana_rpc import RpcRefused, RpcUnavailable, SolanaRpc
from chalicelib.venues.solana.failures import describe_error, lacks_funds
from chalicelib.venues.solana.pool import divide_up
from chalicelib.venues.solana.transaction import (
    MOST_COMPUTE_UNITS,
    ComputeBudget,
    WalletSwap,
    compose,
    sign,
    unsigned,
    written_accounts,
)
from chalicelib.venues.solana.wallet import Wallet
from chalicelib.venues.venue import SwapRefused, VenueUnavailable

LIFETIME = timedelta(seconds=60)
"""About how long a blockhash lasts: 150 slots of 0.4 s. Only the block height tells when it is over."""
MICRO_LAMPORTS = 10**6


class Budget(Protocol):
    """How much the wallet may spend."""

    def reserve(self, order_id: str, token: str, amount: Decimal) -> None:
        """Set ``amount`` of a token aside for an order.

        Raises:
            SwapRefused: it is more than the wallet's caps allow.
        """


class Spending(NamedTuple):
    """What a swap may take from the wallet at most."""

    token: str
    most: Decimal


@dataclass(frozen=True, kw_only=True)
class SwapSigner:
    """Signs swaps with the engine's wallet; ``max_priority_fee`` is in lamports a transaction."""

    rpc: SolanaRpc
    wallet: Callable[[], Wallet]
    budget: Budget
    max_priority_fee: int
    clock: Clock

    def sign(self, venue: str, swap: WalletSwap, spending: Spending) -> SignedTransaction:
        """Sign a swap that is within the wallet's caps and would work now. Nothing is sent.

        Raises:
            SwapRefused: it spends too much, more than there is, or can never work.
            VenueUnavailable: it would fail now, or no node answers.
        """
        self.budget.reserve(swap.order_id, spending.token, spending.most)
        draft = compose(swap, ComputeBudget(units=MOST_COMPUTE_UNITS, price=0))
        try:
            blockhash, fees = self.rpc.blockhash_and_fees(written_accounts(draft))
            units = self._try_out(venue, unsigned(draft, swap.wallet))
        except (RpcUnavailable, RpcRefused) as error:
            raise VenueUnavailable(str(error)) from error
        # What others do until it lands may make it take a little more.
        budget = price_budget(min(divide_up(units * 11, 10), MOST_COMPUTE_UNITS), fees, self.max_priority_fee)
        signed = sign(compose(swap, budget), self.wallet().keypair, blockhash.hash)
        return SignedTransaction(
            tx_hash=signed.signature,
            venue=venue,
            payload=signed.payload,
            expires_at=self.clock.now() + LIFETIME,
            last_valid_block_height=blockhash.last_valid_block_height,
        )

    def _try_out(self, venue: str, payload: bytes) -> int:
        """Return the compute units that a transaction takes.

        Raises:
            SwapRefused: the wallet has not what it takes.
            VenueUnavailable: it fails now for another reason, such as a price that has moved.
        """
        simulation = self.rpc.simulate(payload)
        if simulation.err is None:
            return simulation.units or MOST_COMPUTE_UNITS
        reason = f"the swap would fail: {describe_error(simulation.err, payload, venue)}"
        raise SwapRefused(reason) if lacks_funds(simulation.err, payload, venue) else VenueUnavailable(reason)


def price_budget(units: int, recent_fees: Sequence[int], most: int) -> ComputeBudget:
    """Return what to pay for ``units``: what was enough in three of four recent slots, and ``most`` lamports at most.

    Args:
        units: Compute units that are asked for.
        recent_fees: What it took of late to be in a block, micro-lamports a unit, a number for each of some slots.
        most: Lamports.
    """
    ranked = sorted(recent_fees)
    price = ranked[divide_up(len(ranked) * 3, 4) - 1] if ranked else 0
    return ComputeBudget(units=units, price=min(price, most * MICRO_LAMPORTS // units))

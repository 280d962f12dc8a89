"""Simulated Raydium and Meteora: prices around a base, fees, depth, and the time a quote takes."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import msgspec

from chalicelib.orders.order import Order, Side, Trade
from chalicelib.orders.tokens import EXACT, TOKENS, round_price
from chalicelib.venues.pools import quote_in_pool
from chalicelib.venues.simulated.chance import Chance
from chalicelib.venues.simulated.faults import Faults
from chalicelib.venues.venue import Quote, SignedTransaction, SwapPlan, SwapRefused, VenueUnavailable

QUOTE_SECONDS = (0.2, 0.4)

# What one token is worth in dollars; a pair's base price is the ratio of two.
DOLLARS = {
    "SOL": Decimal(150),
    "USDC": Decimal(1),
    "USDT": Decimal(1),
    "RAY": Decimal("2.5"),
    "JUP": Decimal("0.8"),
    "BONK": Decimal("0.00002"),
}


class SimulatedTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulated transaction's bytes say. ``nonce`` makes each one unique, as a recent blockhash would."""

    nonce: str
    venue: str
    trade: Trade
    attempt: int
    plan: SwapPlan
    expires_at: datetime


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(SimulatedTransaction)


@dataclass(frozen=True, kw_only=True)
class SimulatedVenue:
    """One automated market maker; the two differ only in these numbers.

    A quote's price is ``base × (low + r × (high − low))`` with ``r`` uniform in 0…1, for ``price_range`` =
    (low, high). ``depth`` is what its pools hold on each side, in dollars.
    """

    name: str
    price_range: tuple[float, float]
    fee: Decimal
    depth: Decimal
    chance: Chance
    faults: Faults
    latency: float
    sleep: Callable[[float], None]
    clock: Callable[[], datetime]

    def quote(self, trade: Trade, attempt: int) -> Quote:
        """Price ``trade`` after a network's delay; see ``Venue.quote``."""
        try:
            base = EXACT.divide(DOLLARS[trade.token_in], DOLLARS[trade.token_out])
        except KeyError as unknown:
            raise SwapRefused(f"{self.name} has no pool for {trade.pair}") from unknown
        drawn_for = (self.name, trade.pair, trade.side, trade.amount, attempt)
        fails = self.chance.happens(self.faults.rates().quote_fails, "quote fails", *drawn_for)
        self.sleep(self.latency * self.chance.uniform(*QUOTE_SECONDS, "delay", *drawn_for))
        if fails:
            raise VenueUnavailable(f"{self.name} did not answer")
        drift = Decimal(str(self.chance.uniform(*self.price_range, "price", *drawn_for)))
        return quote_in_pool(
            self.name,
            trade,
            price=EXACT.multiply(base, drift),
            fee=self.fee,
            liquidity=round_price(EXACT.divide(self.depth, DOLLARS[trade.token_in])),
        )

    def build(self, order: Order, plan: SwapPlan) -> SignedTransaction:
        """Write the swap down and name it by its hash; see ``Venue.build``."""
        expires_at = self.clock() + timedelta(seconds=self.faults.rates().transaction_lifetime)
        nonce = f"{order.order_id}:{order.attempts}:{expires_at.timestamp()}"
        payload = _encoder.encode(
            SimulatedTransaction(
                nonce=nonce,
                venue=self.name,
                trade=order.trade,
                attempt=order.attempts,
                plan=plan,
                expires_at=expires_at,
            )
        )
        return SignedTransaction(
            tx_hash=hashlib.sha256(payload).hexdigest(), venue=self.name, payload=payload, expires_at=expires_at
        )


def read_transaction(payload: bytes) -> SimulatedTransaction:
    """Read a simulated transaction back from its bytes."""
    return _decoder.decode(payload)


def within_bounds(plan: SwapPlan, side: Side, amount_out: Decimal) -> bool:
    """Whether a fill keeps the plan's promise to its owner."""
    if side is Side.SELL:
        return plan.min_amount_out is None or amount_out >= plan.min_amount_out
    return plan.max_amount_out is None or amount_out <= plan.max_amount_out


def round_fill(trade: Trade, amount_out: Decimal) -> Decimal:
    """Round a fill to whole base units of tokenOut."""
    return TOKENS[trade.token_out].round_amount(amount_out)


def simulated_venues(
    chance: Chance, faults: Faults, latency: float, sleep: Callable[[float], None], clock: Callable[[], datetime]
) -> tuple[SimulatedVenue, SimulatedVenue]:
    """Return simulated Raydium and Meteora with their documented ranges and fees."""
    venue = partial(SimulatedVenue, chance=chance, faults=faults, latency=latency, sleep=sleep, clock=clock)
    return (
        venue(name="raydium", price_range=(0.98, 1.02), fee=Decimal("0.003"), depth=Decimal(5_000_000)),
        venue(name="meteora", price_range=(0.97, 1.02), fee=Decimal("0.002"), depth=Decimal(3_000_000)),
    )

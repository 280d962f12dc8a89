"""Simulated Raydium and Meteora: prices around a base, fees, depth, and the time a quote takes."""

import hashlib
from collections.abc import Callable, Collection, Mapping
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
from chalicelib.venues.simulated.market import Market
from chalicelib.venues.venue import Quote, SignedTransaction, Spot, SwapPlan, SwapRefused, VenueUnavailable

QUOTE_SECONDS = (0.2, 0.4)
SPOT_SECONDS = (0.05, 0.15)


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

    Its price is ``base × (low + r × (high − low))`` with ``r`` between 0 and 1, for ``price_range`` = (low, high);
    ``Market`` says what base and ``r`` are now. ``depth`` is what its pools hold on each side, in dollars.
    """

    name: str
    price_range: tuple[Decimal, Decimal]
    fee: Decimal
    depth: Decimal
    market: Market
    chance: Chance
    faults: Faults
    latency: float
    sleep: Callable[[float], None]
    clock: Callable[[], datetime]

    def quote(self, trade: Trade, attempt: int) -> Quote:
        """Price ``trade`` after a network's delay; see ``Venue.quote``."""
        drawn_for = (self.name, trade.pair, trade.side, trade.amount, attempt)
        fails = self.chance.happens(self.faults.rates().quote_fails, "quote fails", *drawn_for)
        self.sleep(self.latency * self.chance.uniform(*QUOTE_SECONDS, "delay", *drawn_for))
        if fails:
            raise VenueUnavailable(f"{self.name} did not answer")
        prices = self.market.prices()
        price = prices.mid(self.name, trade.pair, self.price_range)
        if price is None:
            raise SwapRefused(f"{self.name} has no pool for {trade.pair}")
        return quote_in_pool(
            self.name,
            trade,
            price=price,
            fee=self.fee,
            liquidity=round_price(EXACT.divide(self.depth, prices.dollars(trade.pair))),
        )

    def spot(self, pairs: Collection[str]) -> Mapping[str, Spot]:
        """Look at the pools of these pairs, after a network's delay; see ``Venue.spot``."""
        self.sleep(self.latency * self.chance.uniform(*SPOT_SECONDS, "spot delay", self.name))
        prices = self.market.fresh_prices()
        return {
            pair: Spot(venue=self.name, price=price, fee=self.fee)
            for pair in pairs
            if (price := prices.mid(self.name, pair, self.price_range)) is not None
        }

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
    market: Market,
    chance: Chance,
    faults: Faults,
    latency: float,
    sleep: Callable[[float], None],
    clock: Callable[[], datetime],
) -> tuple[SimulatedVenue, SimulatedVenue]:
    """Return simulated Raydium and Meteora with their documented ranges and fees."""
    venue = partial(
        SimulatedVenue, market=market, chance=chance, faults=faults, latency=latency, sleep=sleep, clock=clock
    )
    return (
        venue(
            name="raydium",
            price_range=(Decimal("0.98"), Decimal("1.02")),
            fee=Decimal("0.003"),
            depth=Decimal(5_000_000),
        ),
        venue(
            name="meteora",
            price_range=(Decimal("0.97"), Decimal("1.02")),
            fee=Decimal("0.002"),
            depth=Decimal(3_000_000),
        ),
    )

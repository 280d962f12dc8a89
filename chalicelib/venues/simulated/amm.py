"""A simulated automated market maker: prices around a base, a fee, depth, and the time a quote takes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from chalicelib.clock import Clock
from chalicelib.orders.order import Order, Trade
from chalicelib.orders.swap import SignedTransaction, SwapPlan
from chalicelib.orders.tokens import EXACT, round_price
from chalicelib.venues.constant_product import quote_in_pool
from chalicelib.venues.simulated.chance import Chance
from chalicelib.venues.simulated.faults import Faults
from chalicelib.venues.simulated.market import Market
from chalicelib.venues.simulated.transaction import SimulatedTransaction, sign
from chalicelib.venues.venue import Quote, Spot, SwapRefused, VenueUnavailable

QUOTE_SECONDS = (0.2, 0.4)
SPOT_SECONDS = (0.05, 0.15)


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What all simulated venues share. ``latency`` scales their delays: 1 is the documented time, 0 none at all."""

    market: Market
    chance: Chance
    faults: Faults
    latency: float
    clock: Clock


@dataclass(frozen=True, kw_only=True)
class SimulatedVenue:
    """A venue whose pools are simulated; see ``Venue``.

    Its price is ``base × (low + r × (high − low))`` with ``r`` between 0 and 1, for ``price_range`` = (low, high);
    ``Market`` says what base and ``r`` are now. ``fee`` is a fraction; ``depth`` is what its pools hold on each side,
    in dollars.
    """

    name: str
    price_range: tuple[Decimal, Decimal]
    fee: Decimal
    depth: Decimal
    simulation: Simulation
    tells_launches: bool = False

    def quote(self, trade: Trade, attempt: int) -> Quote:
        """Price ``trade`` after a network's delay."""
        simulation = self.simulation
        chance = simulation.chance
        drawn_for = (self.name, trade.pair, trade.side, trade.amount, attempt)
        fails = chance.happens(simulation.faults.rates().quote_fails, "quote fails", *drawn_for)
        simulation.clock.sleep(simulation.latency * chance.uniform(*QUOTE_SECONDS, "delay", *drawn_for))
        if fails:
            raise VenueUnavailable("did not answer")
        prices = simulation.market.prices()
        price = prices.mid(self.name, trade.pair, self.price_range)
        if price is None:
            raise SwapRefused(f"has no pool for {trade.pair}")
        return quote_in_pool(
            self.name,
            trade,
            price=price,
            fee=self.fee,
            liquidity=round_price(EXACT.divide(self.depth, prices.dollars(trade.pair))),
        )

    def spot(self, pairs: Collection[str]) -> Mapping[str, Spot]:
        """Look at the pools of these pairs, after a network's delay."""
        simulation = self.simulation
        simulation.clock.sleep(simulation.latency * simulation.chance.uniform(*SPOT_SECONDS, "spot delay", self.name))
        prices = simulation.market.fresh_prices()
        return {
            pair: Spot(price=price, fee=self.fee)
            for pair in pairs
            if (price := prices.mid(self.name, pair, self.price_range)) is not None
        }

    def build(self, order: Order, plan: SwapPlan) -> SignedTransaction:
        """Write the swap down."""
        lifetime = timedelta(seconds=self.simulation.faults.rates().transaction_lifetime)
        expires_at = self.simulation.clock.now() + lifetime
        return sign(
            SimulatedTransaction(
                nonce=f"{order.order_id}:{order.attempts}:{expires_at.timestamp()}",
                venue=self.name,
                trade=order.trade,
                attempt=order.attempts,
                plan=plan,
                expires_at=expires_at,
            )
        )

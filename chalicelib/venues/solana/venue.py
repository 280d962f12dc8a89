"""Raydium and Meteora on a real cluster: quotes from the pools' accounts, swaps signed by the engine's wallet.

Both are the same kind of venue, with different programs: ``raydium.py`` and ``meteora.py`` know these. Here tokens
become mints, amounts become base units and back, and what a mint keeps of each transfer is taken off.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from chalicelib.observability import logger
from chalicelib.orders.order import Order, Side, Trade
from chalicelib.orders.swap import SignedTransaction, SwapPlan
from chalicelib.orders.tokens import EXACT, round_price
from chalicelib.venues.solana.clusters import MintedToken
from chalicelib.venues.solana.leg import Leg
from chalicelib.venues.solana.market import Pair, Snapshot, SolanaMarket
from chalicelib.venues.solana.pool import Amm, LivePool, divide_up
from chalicelib.venues.solana.signing import Spending, SwapSigner
from chalicelib.venues.solana.transaction import WalletSwap
from chalicelib.venues.venue import Quote, Spot, SwapRefused


@dataclass(frozen=True, kw_only=True)
class SolanaVenue:
    """A venue whose pools are accounts of one program; see ``Venue``."""

    amm: Amm
    market: SolanaMarket
    tokens: Mapping[str, MintedToken]
    signer: SwapSigner
    tells_launches: bool = True

    @property
    def name(self) -> str:
        return self.amm.name

    def quote(self, trade: Trade, attempt: int) -> Quote:  # noqa: ARG002 - nothing is drawn by chance here
        """Price ``trade`` in each of the pair's pools, and return the best of these quotes."""
        pair = self._pair(trade.token_in, trade.token_out)
        snapshot = self.market.read([pair])
        base, other = self._leg(snapshot, trade.token_in), self._leg(snapshot, trade.token_out)
        quotes: list[Quote] = []
        refusals: list[str] = []
        for pool in snapshot.pools(self.name, pair):
            try:
                if isinstance(pool, SwapRefused):
                    raise pool
                quotes.append(self._quote_in(pool, trade, base, other))
            except SwapRefused as refused:
                refusals.append(str(refused))
        if not quotes:
            raise SwapRefused("; ".join(refusals) or f"has no pool for {trade.pair}")
        return (max if trade.side is Side.SELL else min)(quotes, key=lambda quote: quote.amount_out)

    def spot(self, pairs: Collection[str]) -> Mapping[str, Spot]:
        """Look at the deepest open pool of each of these pairs."""
        known = {name: name.split("/") for name in pairs if self.tokens.keys() >= set(name.split("/"))}
        tradable = {name: self._pair(*symbols) for name, symbols in known.items()}
        if not tradable:
            return {}
        snapshot = self.market.read(tradable.values())
        return {
            name: spot for name, pair in tradable.items() if (spot := self._spot_of(snapshot, name, pair)) is not None
        }

    def build(self, order: Order, plan: SwapPlan) -> SignedTransaction:
        """Build the swap in the pool that was quoted, try it out, and sign it; see ``Venue.build``.

        A buy takes exactly what was asked for where the program can do that. One that can only be told what to spend
        spends what was quoted, and the fill may be a little less or more. For that the plan's worst price, its most for
        the amount, becomes the least to receive.
        """
        if plan.pool is None:
            raise SwapRefused(f"{self.name}: no pool was quoted for {order.trade.pair}")
        snapshot = self.market.recent(self._pair(order.token_in, order.token_out))
        base, other = self._leg(snapshot, order.token_in), self._leg(snapshot, order.token_out)
        pool = self._planned_pool(snapshot, plan.pool)
        amount = base.units(order.amount_in)
        match order.side:
            case Side.SELL:
                spent, received, exact_out = base, other, False
                amount_in, amount_out = amount, other.units(_bound(plan.min_amount_out))
            case Side.BUY:
                spent, received, exact_out = other, base, self.amm.exact_out
                amount_in, amount_out = other.units(_bound(plan.max_amount_out)), amount
                if not exact_out:
                    most, amount_in = amount_in, min(other.units(plan.expected_amount_out), amount_in)
                    amount_out = divide_up(amount * amount_in, most)
            case _:
                assert_never(order.side)
        swap = WalletSwap(
            pool=pool,
            wallet=self.signer.wallet().address,
            order_id=order.order_id,
            attempt=order.attempts,
            input_mint=spent.mint,
            input_program=spent.program,
            output_mint=received.mint,
            output_program=received.program,
            amount_in=amount_in,
            amount_out=amount_out,
            exact_out=exact_out,
        )
        return self.signer.sign(self.name, swap, Spending(spent.symbol, spent.amount(amount_in)))

    def _quote_in(self, pool: LivePool, trade: Trade, base: Leg, other: Leg) -> Quote:
        """Price ``trade`` in one pool: ``base`` is tokenIn, ``other`` tokenOut."""
        amount = base.units(trade.amount)
        match trade.side:
            case Side.SELL:
                units = other.fee.after(pool.amount_out(base.mint, base.fee.after(amount)))
            case Side.BUY:
                units = other.fee.before(pool.amount_in(other.mint, base.fee.before(amount)))
            case _:
                assert_never(trade.side)
        if units == 0:
            raise SwapRefused(f"{trade.amount} {base.symbol} is worth less than the smallest unit of {other.symbol}")
        amount_out = other.amount(units)
        return Quote(
            venue=self.name,
            price=_price(pool, base, other),
            fee=_fee(pool, base, other),
            liquidity=base.amount(pool.reserve(base.mint)),
            net_price=round_price(EXACT.divide(amount_out, trade.amount)),
            amount_out=amount_out,
            pool=pool.address,
        )

    def _planned_pool(self, snapshot: Snapshot, address: str) -> LivePool:
        try:
            return snapshot.pool(self.name, address)
        except SwapRefused as refused:
            raise SwapRefused(f"{self.name}: {refused}") from refused

    def _spot_of(self, snapshot: Snapshot, name: str, pair: Pair) -> Spot | None:
        token_in, _, token_out = name.partition("/")
        pool = next((pool for pool in snapshot.pools(self.name, pair) if not isinstance(pool, SwapRefused)), None)
        if pool is None:
            return None
        try:
            base, other = self._leg(snapshot, token_in), self._leg(snapshot, token_out)
        except SwapRefused as refused:
            logger.warning(f"{self.name} has no price for {name}: {refused}")
            return None
        return Spot(price=_price(pool, base, other), fee=_fee(pool, base, other))

    def _pair(self, *symbols: str) -> Pair:
        for symbol in symbols:
            if symbol not in self.tokens:
                raise SwapRefused(f"{symbol} is not known on this cluster; known are {', '.join(self.tokens)}")
        return Pair(self.tokens[symbol].mint for symbol in symbols)

    def _leg(self, snapshot: Snapshot, symbol: str) -> Leg:
        token = self.tokens[symbol]
        mint = snapshot.mint(token.mint)
        if (mint.decimals, mint.program) != (token.decimals, token.program):
            raise SwapRefused(
                f"{symbol} is said to have {token.decimals} decimals in the program {token.program}, but its mint "
                f"{token.mint} has {mint.decimals} in {mint.program}: mend SOLANA_TOKENS"
            )
        return Leg(symbol, mint.address, mint.program, mint.decimals, mint.transfer_fee(snapshot.moment))


def _price(pool: LivePool, base: Leg, other: Leg) -> Decimal:
    """Return the pool's mid price, to the digits of a price."""
    units, per_unit = pool.mid_price(base.mint)
    return round_price(EXACT.scaleb(EXACT.divide(units, per_unit), base.decimals - other.decimals))


def _fee(pool: LivePool, base: Leg, other: Leg) -> Decimal:
    """Return what a small swap costs besides the mid price: the pool's fee, and what the two mints keep."""
    return EXACT.normalize(1 - (1 - pool.fee) * base.kept * other.kept)


def _bound(amount: Decimal | None) -> Decimal:
    if amount is None:
        raise ValueError("a plan bounds what a sell receives and what a buy pays")
    return amount

"""The price of a swap in a constant-product pool.

With reserves ``x`` of tokenIn and ``y`` of tokenOut, a swap keeps ``x·y`` and pays the fee on what goes in
(H. Adams et al., "Uniswap v2 Core", 2020, section 2.1; Raydium's CPMM and Meteora's DAMM follow the same rule).
``price`` = y/x is the mid price, ``liquidity`` = x.
"""

from decimal import ROUND_DOWN, ROUND_UP, Decimal

from chalicelib.orders.order import Side, Trade
from chalicelib.orders.tokens import EXACT, TOKENS, round_price
from chalicelib.venues.venue import Quote, SwapRefused


def quote_in_pool(venue: str, trade: Trade, *, price: Decimal, fee: Decimal, liquidity: Decimal) -> Quote:
    """Price ``trade`` in a pool.

    A sell of ``d`` receives ``y·d(1−f) / (x + d(1−f))``; a buy of ``d`` pays ``y·d / ((x − d)(1−f))``. What a
    sell receives is rounded down to a base unit, what a buy pays is rounded up.

    Raises:
        SwapRefused: the pool holds no more than the amount to buy, or the amount is worth less than a base unit.
    """
    amount = trade.amount
    kept = 1 - fee
    if trade.side is Side.SELL:
        net_price = EXACT.divide(price * kept, 1 + EXACT.divide(amount * kept, liquidity))
        rounding = ROUND_DOWN
    else:
        if amount >= liquidity:
            raise SwapRefused(f"holds {liquidity} {trade.token_in} for {trade.pair}: {amount} cannot be bought")
        net_price = EXACT.divide(price, (1 - EXACT.divide(amount, liquidity)) * kept)
        rounding = ROUND_UP
    amount_out = TOKENS[trade.token_out].round_amount(EXACT.multiply(amount, net_price), rounding)
    if amount_out == 0:
        raise SwapRefused(f"{amount} {trade.token_in} is worth less than the smallest unit of {trade.token_out}")
    return Quote(
        venue=venue,
        price=round_price(price),
        fee=fee,
        liquidity=liquidity,
        net_price=round_price(net_price),
        amount_out=amount_out,
    )

"""What an order's own conditions say to a price: whether it may execute now, and if not, what it waits for.

Two prices play a part. An order executes at a *net price*, after the fee and the price impact of its own amount. The
market watch follows the *market price* of a pair: the best net price of an amount too small to move a pool, one
number for all orders of a side. An order whose quote did not meet its limit therefore notes the market price at which
its amount will: what the quote fell short by, it asks of the market. In a constant-product pool impact depends on the
amount alone, so that is exact for a pool, and an order too large for its market is not looked at every second in
vain.
"""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_UP, Decimal

from chalicelib.orders.order import Order, Side, WaitsFor
from chalicelib.orders.tokens import EXACT, TOKENS, round_price
from chalicelib.orders.waiting import Unmet, WakesWhen
from chalicelib.venues.venue import Quote


def worst_fill(order: Order) -> Decimal | None:
    """Return the amount of tokenOut that keeps to ``limitPrice``: the least a sell takes, the most a buy pays.

    Rounded to whole base units on the owner's side. None for an order without a limit.
    """
    if order.limit_price is None:
        return None
    rounding = ROUND_UP if order.side is Side.SELL else ROUND_DOWN
    return TOKENS[order.token_out].round_amount(EXACT.multiply(order.limit_price, order.amount_in), rounding)


def unmet_limit(order: Order, quote: Quote) -> Unmet | None:
    """Return why the best quote does not meet the order's limit, or None when it does, or there is none."""
    worst = worst_fill(order)
    if worst is None:
        return None
    sells = order.side is Side.SELL
    if quote.amount_out >= worst if sells else quote.amount_out <= worst:
        return None
    # Rounded away from the market: what did not meet the limit is not woken by the same price.
    wake_price = EXACT.multiply(quote.marginal_price(order.side), EXACT.divide(worst, quote.amount_out))
    return Unmet(
        waits_for=WaitsFor.PRICE,
        wakes_when=WakesWhen.AT_OR_ABOVE if sells else WakesWhen.AT_OR_BELOW,
        wake_price=round_price(wake_price, ROUND_CEILING if sells else ROUND_FLOOR),
        waiting_for={"limitPrice": order.limit_price, "netPrice": quote.net_price, "venue": quote.venue},
        reason=f"the best net price is {quote.net_price:f}, the limit {order.limit_price:f}",
    )


def unmet_stop(order: Order, market_price: Decimal) -> Unmet | None:
    """Return why the market price does not trigger the stop, or None when it does."""
    assert order.trigger_price is not None
    wakes_when = WakesWhen.AT_OR_BELOW if order.side is Side.SELL else WakesWhen.AT_OR_ABOVE
    if wakes_when.met_by(market_price, order.trigger_price):
        return None
    return Unmet(
        waits_for=WaitsFor.PRICE,
        wakes_when=wakes_when,
        wake_price=order.trigger_price,
        waiting_for={"triggerPrice": order.trigger_price, "marketPrice": market_price},
        reason=f"the market price is {market_price:f}, the trigger {order.trigger_price:f}",
    )


def unlaunched(order: Order, why: str) -> Unmet:
    """Return that a sniper waits for its token."""
    return Unmet(
        waits_for=WaitsFor.LAUNCH,
        waiting_for={"launch": order.token_in, "against": order.token_out},
        reason=why,
    )

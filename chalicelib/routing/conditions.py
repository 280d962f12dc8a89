"""What an order's own conditions say to a price: whether it may execute now, and if not, what it waits for.

Two prices play a part. An order executes at a *net price*, after the fee and the price impact of its own amount. The
market watch follows the *market price* of a pair: the best net price of an amount too small to move a pool, one
number for all orders of a side. A limit order is woken when the market price reaches its limit, for before that no
amount can meet it. If its own amount still does not meet it, its quotes tell at which market price it will: what they
fell short by, it asks of the market. In a constant-product pool impact depends on the amount alone, so that holds as
long as depths stay as they are; because they do not, it is also looked at again after a while.
"""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_UP, Decimal

from chalicelib.orders.order import Order, Side, WaitsFor
from chalicelib.orders.tokens import EXACT, TOKENS, round_price
from chalicelib.orders.waiting import AwaitedLaunch, AwaitedLimit, AwaitedTrigger, Unmet, WakesWhen
from chalicelib.routing.router import Route, best_of

REWAKE_MARGIN = Decimal("0.0005")
"""By how much of the price the market has to move before an order is woken that the price alone does not help."""


def worst_fill(order: Order) -> Decimal | None:
    """Return the amount of tokenOut that keeps to ``limitPrice``: the least a sell takes, the most a buy pays.

    Rounded to whole base units on the owner's side. None for an order without a limit.
    """
    if order.limit_price is None:
        return None
    rounding = ROUND_UP if order.side is Side.SELL else ROUND_DOWN
    return TOKENS[order.token_out].round_amount(EXACT.multiply(order.limit_price, order.amount_in), rounding)


def unmet_limit(order: Order, route: Route) -> Unmet | None:
    """Return why the best quote does not meet the order's limit, or None when it does, or there is none."""
    worst, best = worst_fill(order), route.best
    if order.limit_price is None or worst is None:
        return None
    sells = order.side is Side.SELL
    if best.amount_out >= worst if sells else best.amount_out <= worst:
        return None
    wakes_when = WakesWhen.AT_OR_ABOVE if sells else WakesWhen.AT_OR_BELOW
    market_price = best_of(order.side)([quote.marginal_price(order.side) for quote in route.quotes])
    past_limit = wakes_when.met_by(market_price, order.limit_price)
    return Unmet(
        waits_for=WaitsFor.PRICE,
        wakes_when=wakes_when,
        wake_price=_price_for_amount(order, route, worst, market_price) if past_limit else order.limit_price,
        past_limit=past_limit,
        waiting_for=AwaitedLimit(limit_price=order.limit_price, net_price=best.net_price, venue=best.venue),
        reason=f"the best net price is {best.net_price:f}, the limit {order.limit_price:f}",
    )


def _price_for_amount(order: Order, route: Route, worst: Decimal, market_price: Decimal) -> Decimal:
    """Return the market price at which a venue will meet the limit for this amount, if its depth stays as it is.

    The market price is the best of all venues, and that venue need not be the one that is deep enough. Where it
    is there already, the order asks for a little more, so that it is not looked at in vain every second.
    """
    sells = order.side is Side.SELL
    asked = [
        EXACT.multiply(quote.marginal_price(order.side), EXACT.divide(worst, quote.amount_out))
        for quote in route.quotes
    ]
    nearest = min(asked) if sells else max(asked)
    # Rounded away from the market: what did not meet the limit is not woken by the same price.
    wake_price = round_price(nearest, ROUND_CEILING if sells else ROUND_FLOOR)
    if sells and wake_price <= market_price:
        return round_price(EXACT.multiply(market_price, 1 + REWAKE_MARGIN), ROUND_CEILING)
    if not sells and wake_price >= market_price:
        return round_price(EXACT.multiply(market_price, 1 - REWAKE_MARGIN), ROUND_FLOOR)
    return wake_price


def unmet_stop(order: Order, market_price: Decimal) -> Unmet | None:
    """Return why the market price does not trigger the stop, or None when it does."""
    assert order.trigger_price is not None  # noqa: S101 - for mypy: requests.py requires it of a stop
    wakes_when = WakesWhen.AT_OR_BELOW if order.side is Side.SELL else WakesWhen.AT_OR_ABOVE
    if wakes_when.met_by(market_price, order.trigger_price):
        return None
    return Unmet(
        waits_for=WaitsFor.PRICE,
        wakes_when=wakes_when,
        wake_price=order.trigger_price,
        waiting_for=AwaitedTrigger(trigger_price=order.trigger_price, market_price=market_price),
        reason=f"the market price is {market_price:f}, the trigger {order.trigger_price:f}",
    )


def unlaunched(order: Order, why: str) -> Unmet:
    """Return that a sniper waits for its token."""
    return Unmet(
        waits_for=WaitsFor.LAUNCH,
        waiting_for=AwaitedLaunch(launch=order.token_in, against=order.token_out),
        reason=why,
    )

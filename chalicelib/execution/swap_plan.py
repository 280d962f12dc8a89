"""Decide what a transaction does: wrap, swap, unwrap, and the worst fill its owner accepts."""

from decimal import ROUND_DOWN, ROUND_UP

from chalicelib.orders.order import Order, Side
from chalicelib.orders.swap import SwapPlan
from chalicelib.orders.tokens import EXACT, NATIVE, TOKENS
from chalicelib.routing.conditions import worst_fill
from chalicelib.venues.venue import Quote


def plan_swap(order: Order, quote: Quote) -> SwapPlan:
    """Plan the swap of ``order`` at ``quote``.

    The native coin is wrapped before it is spent and unwrapped after it was received. The bound is the quoted
    amount less (a sell) or more (a buy) the slippage tolerance, rounded to the owner's side, and never beyond the
    order's limit.
    """
    spent, received = (
        (order.token_in, order.token_out) if order.side is Side.SELL else (order.token_out, order.token_in)
    )
    actions = ["swap"]
    if spent == NATIVE:
        actions.insert(0, "wrapSol")
    if received == NATIVE:
        actions.append("unwrapSol")
    token_out = TOKENS[order.token_out]
    tolerance = order.slippage_tolerance
    worst = worst_fill(order)
    minimum = maximum = None
    if order.side is Side.SELL:
        minimum = token_out.round_amount(EXACT.multiply(quote.amount_out, 1 - tolerance), ROUND_UP)
        minimum = minimum if worst is None else max(minimum, worst)
    else:
        maximum = token_out.round_amount(EXACT.multiply(quote.amount_out, 1 + tolerance), ROUND_DOWN)
        maximum = maximum if worst is None else min(maximum, worst)
    return SwapPlan(
        venue=quote.venue,
        pool=quote.pool,
        actions=tuple(actions),
        expected_amount_out=quote.amount_out,
        min_amount_out=minimum,
        max_amount_out=maximum,
    )

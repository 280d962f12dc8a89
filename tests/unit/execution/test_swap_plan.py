"""What a transaction does: wrapping, unwrapping, and the worst fill it accepts."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.execution.swap_plan import plan_swap
from chalicelib.orders.order import OrderType, Side
from chalicelib.orders.tokens import TOKENS
from tests.builders import a_quote, an_order


def plan(pair="SOL/USDC", side=Side.SELL, amount_out="150", slippage="0.01"):
    token_in, token_out = pair.split("/")
    order = an_order(token_in=token_in, token_out=token_out, side=side, slippage_tolerance=Decimal(slippage))
    return plan_swap(order, a_quote("meteora", "100", amount_out=Decimal(amount_out)))


@pytest.mark.parametrize(
    ("pair", "side", "actions"),
    [
        ("SOL/USDC", Side.SELL, ("wrapSol", "swap")),  # spends SOL
        ("RAY/SOL", Side.BUY, ("wrapSol", "swap")),  # pays in SOL
        ("RAY/SOL", Side.SELL, ("swap", "unwrapSol")),  # receives SOL
        ("SOL/USDC", Side.BUY, ("swap", "unwrapSol")),  # acquires SOL
        ("RAY/USDC", Side.SELL, ("swap",)),
        ("RAY/USDC", Side.BUY, ("swap",)),
    ],
)
def test_native_sol_is_wrapped_before_it_is_spent_and_unwrapped_after_it_is_received(pair, side, actions):
    assert plan(pair, side).actions == actions


def test_a_sell_accepts_no_less_than_the_quote_less_the_tolerance():
    planned = plan(side=Side.SELL, amount_out="150", slippage="0.01")

    assert planned.min_amount_out == Decimal("148.5")
    assert planned.max_amount_out is None


def test_a_buy_pays_no_more_than_the_quote_and_the_tolerance():
    planned = plan(side=Side.BUY, amount_out="150", slippage="0.01")

    assert planned.max_amount_out == Decimal("151.5")
    assert planned.min_amount_out is None


def test_without_tolerance_the_bound_is_the_quote():
    assert plan(side=Side.SELL, slippage="0").min_amount_out == 150
    assert plan(side=Side.BUY, slippage="0").max_amount_out == 150


@pytest.mark.parametrize(
    ("side", "limit", "bound"),
    [
        (Side.SELL, "99.5", "149.25"),
        (Side.SELL, "90", "148.5"),
        (Side.BUY, "100.5", "150.75"),
        (Side.BUY, "110", "151.5"),
    ],
    ids=["sell at its limit", "sell above it", "buy at its limit", "buy below it"],
)
def test_the_tolerance_does_not_reach_beyond_the_limit(side, limit, bound):
    order = an_order(side=side, order_type=OrderType.LIMIT, limit_price=Decimal(limit))

    planned = plan_swap(order, a_quote("meteora", "100", amount_out=Decimal(150)))

    assert (planned.min_amount_out, planned.max_amount_out) == (
        (Decimal(bound), None) if side is Side.SELL else (None, Decimal(bound))
    )


@given(
    st.decimals("0.000001", 10**9, places=6),
    st.decimals(0, "0.5", places=6),
    st.sampled_from(["SOL/USDC", "USDC/BONK"]),
)
def test_a_bound_is_rounded_to_the_owners_side_by_less_than_a_base_unit(amount_out, slippage, pair):
    unit = TOKENS[pair.split("/")[1]].base_unit
    minimum = plan(pair, Side.SELL, amount_out, slippage).min_amount_out
    maximum = plan(pair, Side.BUY, amount_out, slippage).max_amount_out

    assert 0 <= minimum - amount_out * (1 - slippage) < unit
    assert 0 <= amount_out * (1 + slippage) - maximum < unit


def test_a_plan_is_for_the_venue_of_the_quote():
    planned = plan(amount_out="150")

    assert (planned.venue, planned.expected_amount_out) == ("meteora", 150)

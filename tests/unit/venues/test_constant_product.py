"""The price of a swap in a constant-product pool."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.orders.order import Side
from chalicelib.orders.tokens import TOKENS
from chalicelib.venues.constant_product import quote_in_pool
from chalicelib.venues.venue import Spot, SwapRefused
from tests.builders import a_trade

UNIT = TOKENS["USDC"].base_unit
PRICES = st.decimals("0.01", "1000", places=6)
FEES = st.decimals(0, "0.05", places=4)
LIQUIDITY = st.decimals(1_000, 1_000_000, places=3)
AMOUNTS = st.decimals("0.001", "900", places=9)
SIDES = st.sampled_from(Side)


def quote(side=Side.SELL, amount="1", price="100", fee="0.003", liquidity="1000"):
    return quote_in_pool(
        "raydium",
        a_trade(side=side, amount=amount),
        price=Decimal(price),
        fee=Decimal(fee),
        liquidity=Decimal(liquidity),
    )


def test_a_sell_receives_what_keeps_the_product_of_the_reserves():
    # x = 1000 SOL, y = 100,000 USDC, no fee: 100,000 − 1000·100,000 / (1000 + 250) = 20,000
    assert quote(amount="250", fee="0").amount_out == 20_000


def test_a_buy_pays_what_keeps_the_product_of_the_reserves():
    # x = 1000 SOL, y = 100,000 USDC, no fee: 1000·100,000 / (1000 − 200) − 100,000 = 25,000
    assert quote(Side.BUY, amount="200", fee="0").amount_out == 25_000


def test_the_fee_is_taken_from_what_goes_in():
    # Of 1 SOL only 0.997 is swapped: 100,000 · 0.997 / 1000.997 = 99.600698… USDC
    assert quote(amount="1").amount_out == Decimal("99.600698")
    # 1 SOL costs 100,000 / 999 = 100.100100… USDC, which is 99.7 % of what is paid: 100.401304…
    assert quote(Side.BUY, amount="1").amount_out == Decimal("100.401305")


@given(AMOUNTS, PRICES, FEES, LIQUIDITY)
def test_a_sell_is_rounded_down_and_a_buy_up_to_a_base_unit(amount, price, fee, liquidity):
    sell, buy = (quote(side, amount, price, fee, liquidity) for side in Side)
    d, kept, x = Fraction(amount), 1 - Fraction(fee), Fraction(liquidity)
    y = x * Fraction(price)

    assert 0 <= y * d * kept / (x + d * kept) - Fraction(sell.amount_out) <= Fraction(UNIT)
    assert 0 <= Fraction(buy.amount_out) - y * d / ((x - d) * kept) <= Fraction(UNIT)
    assert (sell.amount_out / UNIT) % 1 == (buy.amount_out / UNIT) % 1 == 0


@given(SIDES, AMOUNTS, PRICES, FEES, LIQUIDITY)
def test_no_swap_takes_value_out_of_the_pool(side, amount, price, fee, liquidity):
    offered = quote(side, amount, price, fee, liquidity)

    x, y = liquidity, liquidity * price
    moved = (amount, -offered.amount_out) if side is Side.SELL else (-amount, offered.amount_out)
    after = (x + moved[0]) * (y + moved[1])
    assert after >= x * y * (1 - Decimal("1e-20"))


@given(AMOUNTS, PRICES, FEES, LIQUIDITY)
def test_a_sell_never_gets_more_and_a_buy_never_pays_less_than_the_mid_price(amount, price, fee, liquidity):
    sell, buy = (quote(side, amount, price, fee, liquidity) for side in (Side.SELL, Side.BUY))

    assert sell.net_price <= price <= buy.net_price
    assert sell.amount_out <= amount * price <= buy.amount_out


@given(AMOUNTS, PRICES, FEES, LIQUIDITY)
def test_the_amount_out_is_the_net_price_times_the_amount(amount, price, fee, liquidity):
    for side in Side:
        offered = quote(side, amount, price, fee, liquidity)
        rounding = UNIT + amount * offered.net_price * Decimal("1e-11")
        assert abs(offered.amount_out - amount * offered.net_price) <= rounding


@given(st.decimals("0.01", "400", places=3))
def test_a_larger_amount_gets_a_worse_price(amount):
    assert quote(amount=2 * amount).net_price < quote(amount=amount).net_price
    assert quote(Side.BUY, amount=2 * amount).net_price > quote(Side.BUY, amount=amount).net_price


@given(SIDES, PRICES, FEES)
def test_as_the_amount_goes_to_nothing_the_net_price_goes_to_the_spot_price(side, price, fee):
    # An amount of d moves a pool of x by about d/x: here less than the twelve digits of a net price can show.
    offered = quote(side, "0.001", price, fee, liquidity="1e15")
    spot = Spot(price=price, fee=fee).marginal_price(side)

    assert abs(offered.net_price / spot - 1) < Decimal("1e-11")
    assert offered.marginal_price(side) == spot


@given(SIDES, AMOUNTS, PRICES, FEES, LIQUIDITY)
def test_no_amount_gets_a_better_price_than_the_spot_price(side, amount, price, fee, liquidity):
    offered = quote(side, amount, price, fee, liquidity)

    better = offered.net_price / offered.marginal_price(side)
    assert better <= 1 + Decimal("1e-11") if side is Side.SELL else better >= 1 - Decimal("1e-11")


def test_a_spot_price_is_not_rounded_to_the_digits_of_a_price():
    spot = Spot(price=Decimal("123.456789012"), fee=Decimal("0.003"))

    assert spot.marginal_price(Side.SELL) == Decimal("123.086418644964")
    assert spot.marginal_price(Side.BUY) * Decimal("0.997") - spot.price < Decimal("1e-50")


@pytest.mark.parametrize("amount", ["1000", "1000.000000001", "999999"])
def test_more_than_the_pool_holds_cannot_be_bought(amount):
    with pytest.raises(SwapRefused, match=f"^holds 1000 SOL for SOL/USDC: {amount} cannot be bought"):
        quote(Side.BUY, amount)


def test_more_than_the_pool_holds_can_be_sold():
    assert quote(amount="5000").amount_out < 100_000


def test_almost_all_the_pool_holds_can_be_bought_at_a_price():
    assert quote(Side.BUY, "999.999").amount_out > 10**9 / 10


def test_an_amount_worth_less_than_a_base_unit_is_refused():
    with pytest.raises(SwapRefused, match=r"smallest unit of USDC$"):
        quote(amount="0.000000001", price="1")


def test_the_smallest_amount_that_is_worth_a_base_unit_is_quoted():
    assert quote(amount="0.000000011", price="100").amount_out == UNIT

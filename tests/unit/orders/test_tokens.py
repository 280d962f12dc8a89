"""Amounts are whole base units, rounded to whom it favours; prices keep twelve digits."""

from decimal import ROUND_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.orders.tokens import NATIVE, TOKENS, round_price

AMOUNTS = st.decimals(min_value=0, max_value=10**12, allow_nan=False, places=18)


@given(AMOUNTS, st.sampled_from(list(TOKENS.values())))
def test_an_amount_is_rounded_down_by_less_than_a_base_unit(amount, token):
    rounded = token.round_amount(amount)

    assert rounded <= amount < rounded + token.base_unit
    assert rounded == rounded.quantize(token.base_unit)


@given(AMOUNTS, st.sampled_from(list(TOKENS.values())))
def test_an_amount_can_be_rounded_up_by_less_than_a_base_unit(amount, token):
    rounded = token.round_amount(amount, ROUND_UP)

    assert rounded - token.base_unit < amount <= rounded


def test_every_token_has_as_many_decimals_as_on_solanas_mainnet():
    decimals = {"SOL": 9, "USDC": 6, "USDT": 6, "RAY": 6, "JUP": 6, "BONK": 5, "WIF": 6}

    assert {symbol: token.decimals for symbol, token in TOKENS.items()} == decimals


def test_the_base_unit_of_sol_is_a_lamport():
    assert TOKENS[NATIVE].base_unit == Decimal("0.000000001")


@pytest.mark.parametrize(
    ("price", "rounded"),
    [
        ("151.4412221380499", "151.441222138"),
        ("0.00000013377777777777", "1.33777777778E-7"),
        ("7500000", "7500000"),
        ("1E+3", "1000"),
    ],
)
def test_a_price_keeps_twelve_significant_digits_and_writes_whole_numbers_out(price, rounded):
    assert str(round_price(Decimal(price))) == rounded

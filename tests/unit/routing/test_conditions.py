"""Whether a price meets an order's condition, and which market price would."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib.orders.order import OrderType, Side, Trade, WaitsFor
from chalicelib.orders.tokens import EXACT
from chalicelib.orders.waiting import WakesWhen
from chalicelib.routing.conditions import unlaunched, unmet_limit, unmet_stop, worst_fill
from chalicelib.venues.pools import quote_in_pool
from chalicelib.venues.venue import Quote, SwapRefused
from tests.builders import an_order

sides = st.sampled_from(Side)
prices = st.decimals(Decimal("0.01"), Decimal(10_000), places=4)
amounts = st.decimals(Decimal("0.001"), Decimal(2_000), places=3)


def limit_order(side: Side, amount: Decimal, limit: Decimal):
    return an_order(order_type=OrderType.LIMIT, side=side, amount_in=amount, limit_price=limit)


def quoted(side: Side, amount: Decimal, price: Decimal) -> Quote:
    trade = Trade("SOL", "USDC", side, amount)
    return quote_in_pool("raydium", trade, price=price, fee=Decimal("0.003"), liquidity=Decimal(10_000))


@pytest.mark.parametrize(
    ("side", "limit", "worst"),
    [(Side.SELL, "133.3333333", "200.000000"), (Side.BUY, "133.3333333", "199.999999")],
)
def test_the_worst_fill_is_rounded_to_the_owners_side(side, limit, worst):
    assert worst_fill(limit_order(side, Decimal("1.5"), Decimal(limit))) == Decimal(worst)


def test_an_order_without_a_limit_has_no_worst_fill():
    assert worst_fill(an_order()) is None
    assert unmet_limit(an_order(), quoted(Side.SELL, Decimal(1), Decimal(150))) is None


@given(sides, amounts, prices, prices)
def test_a_limit_is_met_when_the_fill_is_worth_it(side, amount, price, limit):
    try:
        quote = quoted(side, amount, price)
    except SwapRefused:
        assume(False)
    order = limit_order(side, amount, limit)

    executed = EXACT.divide(quote.amount_out, amount)
    better = executed >= limit if side is Side.SELL else executed <= limit

    assert (unmet_limit(order, quote) is None) == better


@given(sides, amounts, prices, prices)
def test_what_was_not_met_is_woken_by_a_market_price_at_which_it_is(side, amount, price, limit):
    try:
        unmet = unmet_limit(limit_order(side, amount, limit), quoted(side, amount, price))
        assume(unmet is not None and unmet.wake_price > 0)
        at_wake_price = price * unmet.wake_price / quoted(side, amount, price).marginal_price(side)
        nearly = quoted(side, amount, at_wake_price)
    except SwapRefused:
        assume(False)

    # Quotes count whole base units, of which a fill worth a hundredth has ten thousand.
    assume(min(nearly.amount_out, limit * amount, price * amount) > Decimal("0.01"))
    assert EXACT.divide(nearly.amount_out, amount) == pytest.approx(limit, rel=Decimal("0.0005"))


@given(sides, amounts, prices, prices)
def test_an_unmet_limit_is_not_woken_by_the_price_that_did_not_meet_it(side, amount, price, limit):
    try:
        quote = quoted(side, amount, price)
    except SwapRefused:
        assume(False)
    unmet = unmet_limit(limit_order(side, amount, limit), quote)
    assume(unmet is not None)

    assert unmet.waits_for is WaitsFor.PRICE
    assert not unmet.wakes_when.met_by(quote.marginal_price(side), unmet.wake_price)


@pytest.mark.parametrize(
    ("side", "price", "waits"),
    [
        (Side.SELL, "140.01", True),
        (Side.SELL, "140", False),
        (Side.SELL, "139.99", False),
        (Side.BUY, "139.99", True),
        (Side.BUY, "140", False),
        (Side.BUY, "140.01", False),
    ],
)
def test_a_stop_is_triggered_by_a_price_at_or_beyond_its_trigger_against_its_side(side, price, waits):
    order = an_order(order_type=OrderType.STOP, side=side, trigger_price=Decimal(140))

    unmet = unmet_stop(order, Decimal(price))

    assert (unmet is not None) == waits
    if unmet:
        assert unmet.wake_price == 140
        assert unmet.wakes_when is (WakesWhen.AT_OR_BELOW if side is Side.SELL else WakesWhen.AT_OR_ABOVE)


def test_the_owner_is_told_what_the_order_waits_for():
    limit = limit_order(Side.BUY, Decimal(1), Decimal(140))
    stop = an_order(order_type=OrderType.STOP, trigger_price=Decimal(140))
    sniper = an_order(order_type=OrderType.SNIPER, token_in="WIF")

    unmet = unmet_limit(limit, quoted(Side.BUY, Decimal(1), Decimal(150)))

    assert unmet.waiting_for["limitPrice"] == 140
    assert unmet.waiting_for["netPrice"] > 150
    assert unmet_stop(stop, Decimal(150)).waiting_for == {"triggerPrice": Decimal(140), "marketPrice": Decimal(150)}
    assert unlaunched(sniper, "it has not launched").waiting_for == {"launch": "WIF", "against": "USDC"}

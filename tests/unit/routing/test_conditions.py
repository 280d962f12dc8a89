"""Whether a price meets an order's condition, and which market price would."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib.orders.order import OrderType, Side, Trade, WaitsFor
from chalicelib.orders.tokens import EXACT
from chalicelib.orders.waiting import AwaitedLaunch, AwaitedTrigger, WakesWhen
from chalicelib.routing.conditions import unlaunched, unmet_limit, unmet_stop, worst_fill
from chalicelib.routing.router import Route, select_best_dex
from chalicelib.venues.constant_product import quote_in_pool
from chalicelib.venues.venue import Quote, SwapRefused
from tests.builders import an_order

sides = st.sampled_from(Side)
prices = st.decimals(Decimal("0.01"), Decimal(10_000), places=4)
amounts = st.decimals(Decimal("0.001"), Decimal(2_000), places=3)


def limit_order(side: Side, amount: Decimal, limit: Decimal):
    return an_order(order_type=OrderType.LIMIT, side=side, amount_in=amount, limit_price=limit)


def quoted(side: Side, amount: Decimal, price: Decimal, depth: int = 10_000) -> Quote:
    trade = Trade("SOL", "USDC", side, amount)
    return quote_in_pool("raydium", trade, price=price, fee=Decimal("0.003"), liquidity=Decimal(depth))


def some_quote(side: Side, amount: Decimal, price: Decimal) -> Quote:
    """Return a quote, or have another example tried: not every amount can be had, or is worth a base unit."""
    try:
        return quoted(side, amount, price)
    except SwapRefused:
        assume(False)
        raise


def routed(side: Side, *quotes: Quote) -> Route:
    return Route(best=select_best_dex(quotes, side), quotes=quotes, errors={})


@pytest.mark.parametrize(
    ("side", "limit", "worst"),
    [(Side.SELL, "133.3333333", "200.000000"), (Side.BUY, "133.3333333", "199.999999")],
)
def test_the_worst_fill_is_rounded_to_the_owners_side(side, limit, worst):
    assert worst_fill(limit_order(side, Decimal("1.5"), Decimal(limit))) == Decimal(worst)


def test_an_order_without_a_limit_has_no_worst_fill():
    assert worst_fill(an_order()) is None
    assert unmet_limit(an_order(), routed(Side.SELL, quoted(Side.SELL, Decimal(1), Decimal(150)))) is None


@given(sides, amounts, prices, prices)
def test_a_limit_is_met_when_the_fill_is_worth_it(side, amount, price, limit):
    quote = some_quote(side, amount, price)
    order = limit_order(side, amount, limit)

    executed = EXACT.divide(quote.amount_out, amount)
    better = executed >= limit if side is Side.SELL else executed <= limit

    assert (unmet_limit(order, routed(side, quote)) is None) == better


@given(sides, amounts, prices, prices)
def test_before_the_market_is_at_the_limit_an_order_is_woken_there(side, amount, price, limit):
    quote = some_quote(side, amount, price)
    market_price = quote.marginal_price(side)
    assume(market_price < limit if side is Side.SELL else market_price > limit)

    unmet = unmet_limit(limit_order(side, amount, limit), routed(side, quote))

    assert (unmet.wake_price, unmet.past_limit) == (limit, False)


@given(sides, amounts, prices, st.integers(1, 99))
def test_past_its_limit_an_order_is_woken_where_its_own_amount_meets_it(side, amount, price, percent):
    """The market is past the limit by some percent of the amount's own impact."""
    quote = some_quote(side, amount, price)
    market_price = quote.marginal_price(side)
    limit = market_price + (quote.net_price - market_price) * percent / 100
    unmet = unmet_limit(limit_order(side, amount, limit), routed(side, quote))
    assume(unmet is not None)
    assert unmet.past_limit
    nearly = some_quote(side, amount, price * unmet.wake_price / market_price)

    # Quotes count whole base units, of which a fill worth a hundredth has ten thousand.
    assume(min(nearly.amount_out, limit * amount, price * amount) > Decimal("0.01"))
    assert EXACT.divide(nearly.amount_out, amount) == pytest.approx(limit, rel=Decimal("0.0005"))


@given(sides, amounts, prices, prices)
def test_an_unmet_limit_is_not_woken_by_the_price_that_did_not_meet_it(side, amount, price, limit):
    quote = some_quote(side, amount, price)
    unmet = unmet_limit(limit_order(side, amount, limit), routed(side, quote))
    assume(unmet is not None)

    assert unmet.waits_for is WaitsFor.PRICE
    assert not unmet.wakes_when.met_by(quote.marginal_price(side), unmet.wake_price)


@pytest.mark.parametrize(("side", "better"), [(Side.SELL, "101"), (Side.BUY, "99")])
def test_an_order_between_a_deep_venue_and_a_better_one_is_not_woken_by_the_same_price_again(side, better):
    deep = quoted(side, Decimal(1000), Decimal(100), depth=1_000_000)
    shallow = quoted(side, Decimal(1000), Decimal(better), depth=5000)
    limit = deep.marginal_price(side) * (Decimal("1.003") if side is Side.SELL else Decimal("0.997"))

    unmet = unmet_limit(limit_order(side, Decimal(1000), limit), routed(side, deep, shallow))

    market_price = shallow.marginal_price(side)
    assert unmet.past_limit
    assert not unmet.wakes_when.met_by(market_price, unmet.wake_price)
    assert unmet.wake_price == pytest.approx(market_price, rel=Decimal("0.001"))


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

    unmet = unmet_limit(limit, routed(Side.BUY, quoted(Side.BUY, Decimal(1), Decimal(150))))

    assert unmet.waiting_for.limit_price == 140
    assert unmet.waiting_for.net_price > 150
    assert unmet_stop(stop, Decimal(150)).waiting_for == AwaitedTrigger(
        trigger_price=Decimal(140), market_price=Decimal(150)
    )
    assert unlaunched(sniper, "it has not launched").waiting_for == AwaitedLaunch(launch="WIF", against="USDC")

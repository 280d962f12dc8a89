"""Which venue gets the trade."""

import threading
from decimal import Decimal

import pytest

from chalicelib.observability import about, logger
from chalicelib.orders.order import Side
from chalicelib.routing.router import Router, select_best_dex
from chalicelib.venues.venue import Spot, SwapRefused, VenueUnavailable
from tests.builders import a_quote, a_trade

REFUSED = SwapRefused("no pool")
SILENT = VenueUnavailable("timed out")


class ScriptedVenue:
    """A venue that quotes a net price, or raises an error."""

    def __init__(self, name, answer):
        self.name = name
        self._answer = answer
        self.asked = []

    def quote(self, trade, attempt):
        self.asked.append((trade, attempt))
        if isinstance(self._answer, Exception):
            raise self._answer
        return a_quote(self.name, self._answer)


def route(raydium, meteora, side=Side.SELL):
    router = Router([ScriptedVenue("raydium", raydium), ScriptedVenue("meteora", meteora)])
    return router.route(a_trade(side=side))


@pytest.mark.parametrize(
    ("side", "raydium", "meteora", "chosen"),
    [
        (Side.SELL, "151", "150", "raydium"),
        (Side.SELL, "150", "151", "meteora"),
        (Side.BUY, "151", "150", "meteora"),
        (Side.BUY, "150", "151", "raydium"),
        (Side.SELL, "150", "150", "raydium"),
        (Side.BUY, "150", "150", "raydium"),
        (Side.SELL, "150.000000001", "150.000000002", "meteora"),
    ],
)
def test_a_sell_goes_where_it_gets_most_and_a_buy_where_it_pays_least(side, raydium, meteora, chosen):
    assert route(raydium, meteora, side).best.venue == chosen


def test_the_net_price_decides_and_not_the_price_before_fees():
    dear_but_free = a_quote("raydium", "149.9", price=Decimal("149.9"))
    high_with_fee = a_quote("meteora", "149.5", price=Decimal(150))

    assert select_best_dex([high_with_fee, dear_but_free], Side.SELL) is dear_but_free
    assert select_best_dex([high_with_fee, dear_but_free], Side.BUY) is high_with_fee


@pytest.mark.parametrize("error", [REFUSED, SILENT])
@pytest.mark.parametrize("side", Side)
def test_a_venue_that_fails_leaves_the_trade_to_the_other(error, side):
    found = route(error, "150", side)

    assert found.best.venue == "meteora"
    assert found.errors == {"raydium": str(error)}


def test_a_trade_that_every_venue_refuses_is_refused():
    with pytest.raises(SwapRefused, match="raydium: no pool; meteora: no pool"):
        route(REFUSED, REFUSED)


@pytest.mark.parametrize(("raydium", "meteora"), [(SILENT, SILENT), (REFUSED, SILENT), (SILENT, REFUSED)])
def test_a_trade_that_one_venue_may_take_later_can_be_tried_again(raydium, meteora):
    with pytest.raises(VenueUnavailable, match=r"raydium: .*; meteora: "):
        route(raydium, meteora)


def test_a_bug_in_a_venue_is_not_taken_for_its_answer():
    with pytest.raises(ZeroDivisionError):
        route(ZeroDivisionError(), "150")


def test_venues_are_asked_at_the_same_time():
    both_asked = threading.Barrier(2)

    class MeetingVenue(ScriptedVenue):
        def quote(self, trade, attempt):
            both_asked.wait(5)
            return super().quote(trade, attempt)

    router = Router([MeetingVenue("raydium", "150"), MeetingVenue("meteora", "151")])

    assert router.route(a_trade()).best.venue == "meteora"


def test_what_each_venue_logs_is_about_the_order_it_is_asked_for(log):
    """All but one are asked by other threads, to which what a line is about has to be handed over."""

    class LoggingVenue(ScriptedVenue):
        def quote(self, trade, attempt):
            logger.info("asked", dex=self.name)
            return super().quote(trade, attempt)

    router = Router([LoggingVenue(name, "150") for name in ("raydium", "meteora", "orca")])
    for order_id in ("1", "2"):  # the second finds the threads as the first has left them
        with about(orderId=order_id):
            router.route(a_trade())

    told = sorted((line.get("orderId"), line["dex"]) for line in log())
    assert told == [(order_id, dex) for order_id in ("1", "2") for dex in ("meteora", "orca", "raydium")]


def test_venues_learn_which_attempt_it_is():
    venue = ScriptedVenue("raydium", "150")
    trade = a_trade()

    Router([venue]).route(trade, attempt=2)

    assert venue.asked == [(trade, 2)]


# --- Market prices ---


class LookedAt:
    """A venue whose pools have these mid prices and a fee, or that raises an error."""

    def __init__(self, name, answer, fee="0"):
        self.name = name
        self._answer = answer
        self._fee = Decimal(fee)
        self.asked = []

    def spot(self, pairs):
        self.asked.append(set(pairs))
        if isinstance(self._answer, Exception):
            raise self._answer
        return {
            pair: Spot(price=Decimal(price), fee=self._fee) for pair, price in self._answer.items() if pair in pairs
        }


def market_prices(raydium, meteora, *pairs):
    found = Router([raydium, meteora]).market_prices([tuple(pair.split("/")) for pair in pairs])
    return {(f"{price.token_in}/{price.token_out}", price.side): price.price for price in found}


def test_the_market_price_is_the_highest_for_a_sell_and_the_lowest_for_a_buy():
    raydium = LookedAt("raydium", {"SOL/USDC": "150", "RAY/USDC": "2"})
    meteora = LookedAt("meteora", {"SOL/USDC": "151", "RAY/USDC": "1.9"})

    assert market_prices(raydium, meteora, "SOL/USDC", "RAY/USDC") == {
        ("SOL/USDC", Side.SELL): 151,
        ("SOL/USDC", Side.BUY): 150,
        ("RAY/USDC", Side.SELL): 2,
        ("RAY/USDC", Side.BUY): Decimal("1.9"),
    }
    assert raydium.asked == meteora.asked == [{"SOL/USDC", "RAY/USDC"}], "each is asked once for all pairs"


def test_the_market_price_is_what_remains_after_the_fee():
    costly = LookedAt("raydium", {"SOL/USDC": "151"}, fee="0.2")
    cheap = LookedAt("meteora", {"SOL/USDC": "150"}, fee="0.1")

    assert market_prices(costly, cheap, "SOL/USDC")["SOL/USDC", Side.SELL] == 135
    assert market_prices(costly, LookedAt("meteora", {"SOL/USDC": "180"}, fee="0.1"), "SOL/USDC")[
        "SOL/USDC", Side.BUY
    ] == Decimal("188.75")


@pytest.mark.parametrize("missing", [SILENT, {}])
def test_a_venue_that_does_not_answer_or_has_no_pool_is_left_out(missing):
    prices = market_prices(LookedAt("raydium", missing), LookedAt("meteora", {"SOL/USDC": "151"}), "SOL/USDC")

    assert prices == {("SOL/USDC", Side.SELL): 151, ("SOL/USDC", Side.BUY): 151}


def test_a_pair_without_a_live_pool_has_no_market_price():
    venues = LookedAt("raydium", {"SOL/USDC": "150"}), LookedAt("meteora", {})

    assert set(market_prices(*venues, "SOL/USDC", "WIF/USDC")) == {("SOL/USDC", side) for side in Side}
    assert market_prices(*venues, "WIF/USDC") == {}


def test_without_any_venue_there_is_no_market():
    with pytest.raises(VenueUnavailable, match="raydium: timed out; meteora: timed out"):
        market_prices(LookedAt("raydium", SILENT), LookedAt("meteora", SILENT), "SOL/USDC")


def test_nobody_is_asked_for_no_pairs():
    venues = LookedAt("raydium", SILENT), LookedAt("meteora", SILENT)

    assert market_prices(*venues) == {}
    assert [venue.asked for venue in venues] == [[], []]


def test_a_bug_in_a_venue_is_not_taken_for_silence():
    with pytest.raises(ZeroDivisionError):
        market_prices(LookedAt("raydium", ZeroDivisionError()), LookedAt("meteora", {}), "SOL/USDC")


def test_venues_are_looked_at_at_the_same_time():
    both_asked = threading.Barrier(2)

    class MeetingVenue(LookedAt):
        def spot(self, pairs):
            both_asked.wait(5)
            return super().spot(pairs)

    prices = {"SOL/USDC": "150"}
    assert market_prices(MeetingVenue("raydium", prices), MeetingVenue("meteora", prices), "SOL/USDC")


def test_a_trade_has_the_market_price_of_its_side():
    router = Router([LookedAt("raydium", {"SOL/USDC": "150"}), LookedAt("meteora", {"SOL/USDC": "151"})])

    assert router.market_price(a_trade(side=Side.SELL)) == 151
    assert router.market_price(a_trade(side=Side.BUY)) == 150
    with pytest.raises(SwapRefused, match="no venue has a pool for WIF/USDC"):
        router.market_price(a_trade("WIF/USDC"))


def test_what_is_stored_of_a_route_are_the_quotes_the_choice_and_the_errors():
    assert route("150", SILENT).event.details == {
        "quotes": {
            "raydium": {
                "price": Decimal(150),
                "fee": Decimal("0.003"),
                "liquidity": Decimal(10_000),
                "netPrice": Decimal(150),
                "amountOut": Decimal(150),
            }
        },
        "chosen": "raydium",
        "errors": {"meteora": "timed out"},
    }
    assert "errors" not in route("150", "151").event.details

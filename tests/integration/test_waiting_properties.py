"""For any orders and any path of the price: an order fires if and only if its condition was met at a look.

And it never fills beyond its limit, and never swaps once it was cancelled or has expired.
"""

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.orders.order import Order, OrderType, Side, Trade
from chalicelib.routing.conditions import unmet_limit, unmet_stop
from tests.builders import GOOD_TILL_TOMORROW

sides = st.sampled_from(Side)
levels = st.integers(100, 200)
amounts = st.sampled_from([Decimal("0.1"), Decimal(3), Decimal(2500)])
paths = st.lists(st.integers(90, 210), min_size=1, max_size=6)
ends = st.sampled_from([None, None, None, "cancel", "expire"])


@st.composite
def bodies(draw: Any) -> dict[str, Any]:
    kind = draw(st.sampled_from(["limit", "stop", "stop-limit"]))
    body: dict[str, Any] = {"orderType": kind.split("-")[0], "side": draw(sides), "amount": draw(amounts)}
    if kind != "stop":
        body["limitPrice"] = draw(levels)
    if kind != "limit":
        body["triggerPrice"] = draw(levels)
    return body


@dataclass
class Expectation:
    """What must have become of an order by now, computed from the market alone."""

    order_id: str
    ended_before_look: int | None
    end: str | None
    triggered: bool = False
    fired: bool = False
    over: bool = False

    def look(self, engine: Any, order: Order) -> None:
        if self.fired or self.over:
            return
        if order.order_type is OrderType.STOP and not self.triggered:
            self.triggered = unmet_stop(order, engine.router.market_price(order.trade)) is None
            if not self.triggered:
                return
        self.fired = unmet_limit(order, engine.router.route(order.trade)) is None


def test_an_order_fires_if_and_only_if_its_condition_was_met_at_a_look(make_engine, serve, api, queues, database):
    engine = serve(make_engine())

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(paths, st.lists(st.tuples(bodies(), ends, st.integers(0, 5)), min_size=1, max_size=4))
    def check(path, orders):
        engine.market.steer("SOL/USDC", Decimal(150))
        expected = []
        for body, end, at in orders:
            lifetime = GOOD_TILL_TOMORROW if end == "expire" else {}
            expected.append(Expectation(api.place(**body, **lifetime), at if end else None, end))
        queues.work_off()
        for expectation in expected:
            expectation.look(engine, engine.store.find(expectation.order_id))

        for number, base in enumerate(path):
            engine.market.steer("SOL/USDC", Decimal(base))
            for expectation in expected:
                if expectation.ended_before_look == number and not expectation.fired:
                    end_it(expectation)
            engine.market_watch.look()
            queues.work_off()
            for expectation in expected:
                expectation.look(engine, engine.store.find(expectation.order_id))

            for expectation in expected:
                names = database.event_names(expectation.order_id)
                assert ("routing" in names) == expectation.fired, (expectation, names)
                check_end(expectation, names)

    def end_it(expectation):
        if expectation.end == "cancel":
            engine.cancellation.cancel(expectation.order_id)
        else:
            database.change("UPDATE orders SET expires_at = now() WHERE id = %s", expectation.order_id)
        expectation.over = True

    def check_end(expectation, names):
        order = database.order(expectation.order_id)
        if expectation.over:
            assert names[-1] == ("cancelled" if expectation.end == "cancel" else "expired")
            assert database.swaps(expectation.order_id) == []
        elif order["status"] == "confirmed" and order["limit_price"] is not None:
            worst = order["limit_price"] * order["amount_in"]
            sells = order["side"] == "sell"
            assert order["amount_out"] >= worst if sells else order["amount_out"] <= worst
            assert (order["executed_price"] >= order["limit_price"]) == sells or (
                order["executed_price"] == order["limit_price"]
            )

    check()


def test_a_price_that_moves_while_a_swap_lands_never_fills_beyond_the_limit(engine, api, queues, database):
    """Limits at the very edge of the quote, so that about half of all fills would break them if nothing kept them."""
    for number in range(40):
        side = Side.SELL if number % 2 else Side.BUY
        amount = Decimal("0.1") + Decimal(number) / 1000  # each is drawn a move of its own
        quoted = engine.router.route(Trade("SOL", "USDC", side, amount)).best.net_price
        limit = quoted.quantize(Decimal("0.001"), ROUND_DOWN if side is Side.SELL else ROUND_UP)
        api.place(orderType="limit", side=side, amount=amount, limitPrice=limit)
    queues.work_off()

    filled = database.rows("SELECT * FROM orders WHERE status = 'confirmed'")
    refused = database.rows("SELECT * FROM simulated_transactions WHERE error LIKE 'slippage%%'")
    assert len(filled) > 10
    assert len(refused) > 10
    for order in filled:
        worst = order["limit_price"] * order["amount_in"]
        assert order["amount_out"] >= worst if order["side"] == "sell" else order["amount_out"] <= worst

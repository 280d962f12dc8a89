"""Orders and events as values, and as they look on the wire."""

import json
from decimal import Decimal

from chalicelib.exact_json import encode_json
from chalicelib.orders.events import OrderEvent
from chalicelib.orders.order import Side, Status, Trade
from tests.builders import NOON, an_order


def test_an_order_is_written_in_camel_case_with_exact_amounts():
    order = an_order(amount_in=Decimal("1.50"), tx_hash="abc")

    written = encode_json(order).decode()

    assert '"amountIn":1.50' in written
    assert '"txHash":"abc"' in written
    assert set(json.loads(written)) >= {"orderId", "userId", "orderType", "chosenDex", "routeMeta", "maxRetries"}


def test_an_order_names_the_trade_it_asks_for():
    order = an_order(side=Side.BUY, amount_in=Decimal(2))

    assert order.trade == Trade("SOL", "USDC", Side.BUY, Decimal(2))
    assert order.trade.pair == "SOL/USDC"


def event(**details):
    return OrderEvent.of(
        order_id="o1", event="confirmed", status=Status.CONFIRMED, seq=5, timestamp=NOON, details=details
    )


def test_an_event_repeats_the_hash_the_price_and_the_error_at_the_top():
    written = json.loads(encode_json(event(txHash="abc", executedPrice=Decimal("1.5"), error="none")))

    assert (written["txHash"], written["executedPrice"], written["error"]) == ("abc", 1.5, "none")
    assert written["details"] == {"txHash": "abc", "executedPrice": 1.5, "error": "none"}


def test_an_event_without_them_does_not_mention_them():
    assert set(json.loads(encode_json(event()))) == {"orderId", "event", "status", "seq", "timestamp", "details"}

"""The REST answers as they are written: clients may rely on the order of fields and on nulls."""

from decimal import Decimal

import pytest

from chalicelib.exact_json import encode_json
from chalicelib.orders.order import Side, Status
from chalicelib.web.answers import AcceptedOrder, Health, LaunchTaken, OrderHistory, OrderPage, Quotes

TRADE = {"token_in": "SOL", "token_out": "USDC", "side": Side.BUY, "amount": Decimal("1.50")}
QUOTE = {"price": Decimal("150.10")}


@pytest.mark.parametrize(
    ("answer", "written"),
    [
        (
            AcceptedOrder(order_id="7", status=Status.PENDING, web_socket_url="ws://localhost/ws?orderId=7"),
            '{"orderId":"7","message":"Order accepted","status":"pending",'
            '"webSocketUrl":"ws://localhost/ws?orderId=7"}',
        ),
        (OrderPage(orders=[], next_cursor=None), '{"orders":[],"nextCursor":null}'),
        (OrderHistory(order_id="7", events=[]), '{"orderId":"7","events":[]}'),
        (
            Quotes(**TRADE, quotes={"raydium": QUOTE}, chosen="raydium"),
            '{"tokenIn":"SOL","tokenOut":"USDC","side":"buy","amount":1.50,'
            '"quotes":{"raydium":{"price":150.10}},"chosen":"raydium"}',
        ),
        (
            Quotes(**TRADE, quotes={"raydium": QUOTE}, chosen="raydium", errors={"meteora": "timed out"}),
            '{"tokenIn":"SOL","tokenOut":"USDC","side":"buy","amount":1.50,'
            '"quotes":{"raydium":{"price":150.10}},"chosen":"raydium","errors":{"meteora":"timed out"}}',
        ),
        (
            LaunchTaken(pool="p", token_in="WIF", token_out=None, venue=None, orders_woken=0),
            '{"pool":"p","tokenIn":"WIF","tokenOut":null,"venue":null,"ordersWoken":0}',
        ),
        (
            Health(status="degraded", parts={"postgres": "up", "redis": "down"}),
            '{"status":"degraded","parts":{"postgres":"up","redis":"down"}}',
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_an_answer_is_written_with_its_fields_in_their_order(answer, written):
    assert encode_json(answer).decode() == written

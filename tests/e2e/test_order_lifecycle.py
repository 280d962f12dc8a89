from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.client import MARKET_ORDER, Client, at_once

STEPS = ["pending", "routing", "building", "submitted", "confirmed"]


@pytest.mark.parametrize("side", ["sell", "buy"])
def test_socket_shows_every_step_of_an_order_and_then_closes(client: Client, side: str) -> None:
    order_id = client.place(side=side)

    with client.socket(orderId=order_id) as socket:
        events = socket.events_until_end()
        assert socket.close_code() == 1000

    assert [event["event"] for event in events] == STEPS
    assert [event["status"] for event in events] == STEPS
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
    assert {event["orderId"] for event in events} == {order_id}
    timestamps = [event["timestamp"] for event in events]
    assert timestamps == sorted(timestamps)

    _, routing, building, submitted, confirmed = events
    net_prices = {venue: quote["netPrice"] for venue, quote in routing["details"]["quotes"].items()}
    assert net_prices.keys() == {"raydium", "meteora"}
    better = (max if side == "sell" else min)(net_prices, key=lambda venue: net_prices[venue])
    assert routing["details"]["chosen"] == better
    for step in (building, submitted, confirmed):
        assert step["details"]["venue"] == better

    assert submitted["txHash"] == confirmed["txHash"] == confirmed["details"]["txHash"]
    amount_out, amount = confirmed["details"]["amountOut"], Decimal("1.5")
    assert confirmed["executedPrice"] == pytest.approx(amount_out / amount)
    if side == "sell":
        assert amount_out >= building["details"]["minAmountOut"]
    else:
        assert amount_out <= building["details"]["maxAmountOut"]


def test_stream_history_and_order_tell_the_same_story(client: Client, confirmed: list[dict[str, Any]]) -> None:
    events, order_id = confirmed, confirmed[0]["orderId"]

    assert client.get(f"/api/orders/{order_id}/events").body == {"orderId": order_id, "events": events}
    order = client.get(f"/api/orders/{order_id}").body
    assert order["status"] == "confirmed"
    assert order["seq"] == 5
    assert order["attempts"] == 1
    assert order["txHash"] == events[-1]["txHash"]
    assert order["executedPrice"] == events[-1]["executedPrice"]
    assert order["amountOut"] == events[-1]["details"]["amountOut"]
    assert order["chosenDex"] == events[1]["details"]["chosen"]
    assert order["routeMeta"] == events[1]["details"]


def test_native_sol_is_wrapped_to_spend_it_and_unwrapped_when_received(client: Client) -> None:
    trades = [("SOL", "USDC"), ("USDC", "SOL"), ("RAY", "USDC")]
    streams = at_once(lambda trade: client.execute(tokenIn=trade[0], tokenOut=trade[1], amount=1), trades)

    actions = [stream[2]["details"]["actions"] for stream in streams]
    assert actions == [["wrapSol", "swap"], ["swap", "unwrapSol"], ["swap"]]


def test_documented_paths_and_spellings_are_all_understood(client: Client) -> None:
    other_spelling = {"userId": "u1", "type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1.5"}
    answers = [
        client.post(path, order)
        for path in ("/api/orders/execute", "/api/orders")
        for order in (MARKET_ORDER, other_spelling)
    ]

    assert [answer.status for answer in answers] == [200] * 4
    for answer in answers:
        assert answer.body["status"] == "pending"
        assert answer.body["webSocketUrl"] == f"{client.websocket_url}?orderId={answer.body['orderId']}"
        orders = [client.get(f"{path}/{answer.body['orderId']}").body for path in ("/api/orders", "/orders")]
        for order in orders:
            assert order["orderId"] == answer.body["orderId"]
            assert order["orderType"] == "market"
            assert order["amountIn"] == Decimal("1.5")

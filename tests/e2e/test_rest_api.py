from decimal import Decimal
from uuid import uuid4

import pytest

from tests.e2e.client import MARKET_ORDER, Client, at_once


def test_list_walks_through_all_orders_newest_first(client: Client) -> None:
    placed = [client.place() for _ in range(7)]

    listed: list[str] = []
    cursor: dict[str, str] = {}
    while len(listed) < 6:
        page = client.get("/api/orders", limit=2, **cursor).body
        assert len(page["orders"]) == 2
        listed += [order["orderId"] for order in page["orders"]]
        cursor = {"cursor": page["nextCursor"]}

    assert listed == placed[:0:-1]


def test_list_can_be_narrowed_to_a_status(client: Client) -> None:
    confirmed = client.execute()

    page = client.get("/api/orders", status="confirmed", limit=100).body

    assert {order["status"] for order in page["orders"]} == {"confirmed"}
    assert confirmed[0]["orderId"] in [order["orderId"] for order in page["orders"]]


@pytest.mark.parametrize("side", ["sell", "buy"])
def test_quotes_show_both_venues_and_the_better_one(client: Client, side: str) -> None:
    answer = client.get("/api/quotes", tokenIn="RAY", tokenOut="USDC", amount="2.50", side=side)

    assert answer.status == 200
    assert answer.body["amount"] == Decimal("2.50")
    net_prices = {venue: quote["netPrice"] for venue, quote in answer.body["quotes"].items()}
    assert net_prices.keys() == {"raydium", "meteora"}
    better = (max if side == "sell" else min)(net_prices, key=lambda venue: net_prices[venue])
    assert answer.body["chosen"] == better


def test_health_names_every_part(client: Client) -> None:
    answer = client.get("/health")

    assert answer.status == 200
    assert answer.body == {"status": "ok", "parts": {"postgres": "up", "redis": "up", "sqs": "up"}}


def test_repeated_request_with_a_key_gives_the_same_order(client: Client) -> None:
    key = {"Idempotency-Key": str(uuid4())}

    answers = at_once(lambda _: client.post("/api/orders/execute", MARKET_ORDER, key), range(5))

    assert [answer.status for answer in answers] == [200] * 5
    assert len({answer.body["orderId"] for answer in answers}) == 1


def test_client_order_id_is_a_key_as_well(client: Client) -> None:
    key = str(uuid4())

    by_field = client.post("/api/orders", MARKET_ORDER | {"clientOrderId": key})
    by_header = client.post("/api/orders", MARKET_ORDER, {"Idempotency-Key": key})

    assert by_field.body["orderId"] == by_header.body["orderId"]


def test_key_used_for_another_order_is_a_conflict(client: Client) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    client.post("/api/orders/execute", MARKET_ORDER, key)

    answer = client.post("/api/orders/execute", MARKET_ORDER | {"amount": 2}, key)

    assert answer.status == 409
    assert answer.content_type == "application/problem+json"

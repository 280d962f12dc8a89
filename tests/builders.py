"""Valid values to start from: a test names only what it is about."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from chalicelib.orders import events
from chalicelib.orders.order import Order, OrderType, Side, Trade
from chalicelib.venues.venue import Quote

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
GOOD_TILL_TOMORROW = {"timeInForce": "GTD", "expiresAt": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
"""The fields of an order that would expire, but not while it is tested."""
STEPS = ["pending", "routing", "building", "submitted", "confirmed"]
"""The events of an order with which all goes well."""


def order_body(**changes: Any) -> dict[str, Any]:
    """Return an order as a client posts it."""
    return {
        "userId": "u1",
        "orderType": "market",
        "tokenIn": "SOL",
        "tokenOut": "USDC",
        "amount": 1.5,
        **changes,
    }


def an_order(**changes: Any) -> Order:
    """Return an order as it is when it was just accepted."""
    fields: dict[str, Any] = {
        "order_id": str(uuid4()),
        "user_id": "u1",
        "order_type": OrderType.MARKET,
        "side": Side.SELL,
        "token_in": "SOL",
        "token_out": "USDC",
        "amount_in": Decimal("1.5"),
        "slippage_tolerance": Decimal("0.01"),
        "max_retries": 3,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return Order(**{**fields, **changes})


def a_trade(pair: str = "SOL/USDC", side: Side = Side.SELL, amount: str = "1.5") -> Trade:
    """Return a trade of a pair such as ``SOL/USDC``."""
    token_in, token_out = pair.split("/")
    return Trade(token_in, token_out, side, Decimal(amount))


def a_quote(venue: str, net_price: str, **changes: Any) -> Quote:
    """Return a venue's quote; what is not given hardly matters."""
    fields: dict[str, Any] = {
        "venue": venue,
        "price": Decimal(net_price),
        "fee": Decimal("0.003"),
        "liquidity": Decimal(10_000),
        "net_price": Decimal(net_price),
        "amount_out": Decimal(net_price),
    }
    return Quote(**{**fields, **changes})


ROUTED = events.routing({}, "raydium", {})
"""What the event of an order says whose quotes hardly matter."""

UNKNOWN_ORDER = "00000000-0000-4000-8000-000000000000"
"""The id of an order that does not exist; always the same, because it becomes part of tests' names."""

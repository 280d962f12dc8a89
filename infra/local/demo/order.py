"""An order of the demo and what has been heard of it."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import uuid4

from chalicelib.orders.lifecycle import is_terminal
from chalicelib.orders.order import Status


@dataclass(kw_only=True)
class DemoOrder:
    """What every scene keeps of an order; ``terms`` are the fields that only some types of order have."""

    order_type: str
    side: str
    amount: str
    token_in: str
    token_out: str
    terms: Mapping[str, str] = field(default_factory=dict)
    client_order_id: str = field(default_factory=lambda: f"demo-{uuid4()}")
    order_id: str = ""
    status: str = ""
    executed_price: Decimal | None = None
    retries: int = 0
    error: str = ""
    sent_at: float | None = None
    ended_at: float | None = None

    @property
    def pair(self) -> str:
        """The pair's name, ``tokenIn/tokenOut``."""
        return f"{self.token_in}/{self.token_out}"

    def message(self) -> str:
        """Return what submits it on a WebSocket."""
        order = {
            "userId": "demo",
            "orderType": self.order_type,
            "side": self.side,
            "tokenIn": self.token_in,
            "tokenOut": self.token_out,
            "amount": self.amount,
            "clientOrderId": self.client_order_id,
        }
        return json.dumps({"action": "execute", **order, **self.terms})

    def mark_sent(self) -> None:
        """Begin to count its time."""
        self.sent_at = time.monotonic()

    def is_meant_by(self, event: Mapping[str, Any]) -> bool:
        """Whether an event is about this order; the first one tells which id it was given."""
        if self.order_id:
            return bool(event["orderId"] == self.order_id)
        return bool(event["details"].get("clientOrderId") == self.client_order_id)

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        self.order_id, self.status = event["orderId"], event["status"]
        if event["event"] == "retrying":
            self.retries += 1
        if is_terminal(Status(self.status)):
            self.executed_price = event.get("executedPrice")
            self.error = event.get("error", "")
            self.ended_at = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since it was sent, until it ended."""
        return 0.0 if self.sent_at is None else (self.ended_at or time.monotonic()) - self.sent_at

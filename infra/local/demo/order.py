"""An order of the demo and what has been heard of it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import uuid4

from oee import NewOrder, OrderEvent
from oee.orders import SideName, order_of


@dataclass(kw_only=True)
class DemoOrder:
    """What every scene keeps of an order; ``terms`` are the fields that only some types of order have."""

    order_type: str
    side: SideName
    amount: str
    token_in: str
    token_out: str
    terms: Mapping[str, Any] = field(default_factory=dict)
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

    def new_order(self) -> NewOrder:
        """Return what is submitted: with its key, so that it is one order however often it is."""
        fields = {
            "order_type": self.order_type,
            "side": self.side,
            "token_in": self.token_in,
            "token_out": self.token_out,
            "amount": self.amount,
            "client_order_id": self.client_order_id,
        }
        return order_of(None, {**fields, **self.terms})

    def mark_sent(self) -> None:
        """Begin to count its time."""
        self.sent_at = time.monotonic()

    def hear(self, event: OrderEvent) -> None:
        """Take in one event."""
        self.status = event.status
        if event.event == "retrying":
            self.retries += 1
        if event.is_last:
            self.executed_price = event.executed_price
            self.error = event.error or ""
            self.ended_at = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since it was sent, until it ended."""
        return 0.0 if self.sent_at is None else (self.ended_at or time.monotonic()) - self.sent_at

"""What happens to an order, as clients hear of it: every event, and what its ``details`` hold.

An event is a row of ``order_events``, a WebSocket message and a line of ``GET …/events``, all alike. To change what a
message holds, change the function of its event here; the numbers of each quote are ``Route.quotes_by_venue``, and what
clients hear besides events (``pong``, ``error``) is in ``web/sockets.py``.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from chalicelib.orders.order import Order, Status, TimeInForce
from chalicelib.orders.swap import Fill, SignedTransaction, SwapPlan
from chalicelib.orders.waiting import Unmet


class OrderEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One step of an order.

    ``tx_hash``, ``executed_price`` and ``error`` repeat what ``details`` holds, where it does.
    """

    order_id: str
    event: str
    status: Status
    seq: int
    timestamp: datetime
    details: dict[str, Any]
    tx_hash: str | None = None
    executed_price: Decimal | None = None
    error: str | None = None

    @classmethod
    def of(
        cls, *, order_id: str, event: str, status: Status, seq: int, timestamp: datetime, details: dict[str, Any]
    ) -> "OrderEvent":
        """Make an event whose top-level copies follow from ``details``."""
        return cls(
            order_id=order_id,
            event=event,
            status=status,
            seq=seq,
            timestamp=timestamp,
            details=details,
            tx_hash=details.get("txHash"),
            executed_price=details.get("executedPrice"),
            error=details.get("error"),
        )


class Step(NamedTuple):
    """A transition that was committed: the order after it, and its event."""

    order: Order
    event: OrderEvent


class EventDraft(NamedTuple):
    """What an event will say: its name and its ``details``. The rest follows from the order once it has moved."""

    event: str
    details: dict[str, Any]


def accepted(order: Order) -> EventDraft:
    """Say what was asked for; a condition that was not given is left out."""
    details: dict[str, Any] = {
        "orderType": order.order_type,
        "side": order.side,
        "tokenIn": order.token_in,
        "tokenOut": order.token_out,
        "amount": order.amount_in,
        "slippageTolerance": order.slippage_tolerance,
    }
    conditions = {
        "limitPrice": order.limit_price,
        "triggerPrice": order.trigger_price,
        "timeInForce": None if order.time_in_force is TimeInForce.GTC else order.time_in_force,
        "expiresAt": order.expires_at,
        "clientOrderId": order.client_order_id,
    }
    return EventDraft("pending", details | {name: value for name, value in conditions.items() if value is not None})


def waiting(unmet: Unmet) -> EventDraft:
    """Say what the order waits for."""
    return EventDraft("waiting", {"waitingFor": unmet.waiting_for})


def price_reached(market_price: Decimal | None) -> EventDraft:
    """Say which market price ended the order's waiting; None where it is only to be looked at again."""
    return EventDraft("triggered", {"marketPrice": market_price})


def launched() -> EventDraft:
    """Say that the token a sniper waited for has launched."""
    return EventDraft("triggered", {"launched": True})


def routing(quotes: Mapping[str, Any], chosen: str, errors: Mapping[str, str]) -> EventDraft:
    """Say what each venue quoted, by its name, which was chosen, and why a venue gave no quote, where one did not."""
    details: dict[str, Any] = {"quotes": quotes, "chosen": chosen}
    return EventDraft("routing", {**details, "errors": errors} if errors else details)


def building(plan: SwapPlan) -> EventDraft:
    """Say what the transaction does, and the worst fill it accepts."""
    bounds = {"minAmountOut": plan.min_amount_out, "maxAmountOut": plan.max_amount_out}
    details = {"venue": plan.venue, "actions": plan.actions}
    return EventDraft("building", details | {name: amount for name, amount in bounds.items() if amount is not None})


def submitted(swap: SignedTransaction) -> EventDraft:
    """Say which transaction is sent."""
    return EventDraft("submitted", {"txHash": swap.tx_hash, "venue": swap.venue})


def retrying(order: Order, error: str, delay: timedelta) -> EventDraft:
    """Say why a try of ``order`` failed, and when the next one follows."""
    return EventDraft(
        "retrying",
        {
            "error": error,
            "attempt": order.attempts + 1,
            "maxRetries": order.max_retries,
            "delayMs": round(delay.total_seconds() * 1000),
        },
    )


def confirmed(fill: Fill) -> EventDraft:
    """Say what was swapped, and for how much."""
    return EventDraft(
        "confirmed",
        {
            "txHash": fill.tx_hash,
            "executedPrice": fill.executed_price,
            "amountOut": fill.amount_out,
            "venue": fill.venue,
        },
    )


def failed(order: Order, error: str) -> EventDraft:
    """Say why ``order`` failed, and after how many tries."""
    return EventDraft("failed", {"error": error, "attempts": order.attempts + 1})


def cancelled(reason: str) -> EventDraft:
    """Say who or what cancelled the order."""
    return EventDraft("cancelled", {"reason": reason})


def expired() -> EventDraft:
    """Say that the order's time was up."""
    return EventDraft("expired", {"reason": "its time was up"})


def redriven(order: Order) -> EventDraft:
    """Say that an operator has given the failed ``order`` new tries."""
    return EventDraft("redriven", {"lastError": order.last_error})

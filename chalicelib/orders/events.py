"""What happens to an order, as clients hear of it: every event, and what its ``details`` hold.

An event is a row of ``order_events``, a WebSocket message and a line of ``GET …/events``, all alike. To change what a
message holds, change the struct of its ``details`` here, from which the contract is written as well, and the function
that fills it. What clients hear besides events (``pong``, ``error``) is in ``web/sockets.py``.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Literal, NamedTuple

import msgspec

from chalicelib.orders.order import Order, OrderType, Side, Status, TimeInForce
from chalicelib.orders.swap import Fill, SignedTransaction, SwapPlan
from chalicelib.orders.waiting import Awaited, Unmet


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


class Details(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the ``details`` of an event hold; what has a default is left out when it is that."""

    event: ClassVar[str]

    @property
    def draft(self) -> EventDraft:
        """The event that says this."""
        return EventDraft(self.event, msgspec.to_builtins(self, builtin_types=(Decimal, datetime)))


class PendingDetails(Details, frozen=True, kw_only=True):
    """What was asked for; a condition that was not given is left out."""

    event = "pending"
    order_type: OrderType
    side: Side
    token_in: str
    token_out: str
    amount: Decimal
    slippage_tolerance: Decimal
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expires_at: datetime | None = None
    client_order_id: str | None = None


class WaitingDetails(Details, frozen=True, kw_only=True):
    """What the order waits for."""

    event = "waiting"
    waiting_for: Awaited


class PriceReachedDetails(Details, frozen=True, kw_only=True):
    """Which market price ended the order's waiting; null where it is only to be looked at again."""

    event = "triggered"
    market_price: Decimal | None


class LaunchedDetails(Details, frozen=True, kw_only=True):
    """The token that a sniper waited for has launched."""

    event = "triggered"
    launched: Literal[True]


class VenueQuote(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The numbers of one venue's quote: prices are tokenOut per tokenIn."""

    price: Decimal
    fee: Decimal
    liquidity: Decimal
    net_price: Decimal
    amount_out: Decimal


class RoutingDetails(Details, frozen=True, kw_only=True):
    """What each venue quoted, by its name, which was chosen, and why a venue gave no quote, where one did not."""

    event = "routing"
    quotes: Mapping[str, VenueQuote]
    chosen: str
    errors: Mapping[str, str] = {}


class BuildingDetails(Details, frozen=True, kw_only=True):
    """What the transaction does, where, and the worst fill it accepts: at least for a sell, at most for a buy."""

    event = "building"
    venue: str
    pool: str | None = None
    actions: tuple[str, ...]
    min_amount_out: Decimal | None = None
    max_amount_out: Decimal | None = None


class SubmittedDetails(Details, frozen=True, kw_only=True):
    """Which transaction is sent."""

    event = "submitted"
    tx_hash: str
    venue: str


class RetryingDetails(Details, frozen=True, kw_only=True):
    """Why a try failed, and when the next one follows."""

    event = "retrying"
    error: str
    attempt: int
    max_retries: int
    delay_ms: int


class ConfirmedDetails(Details, frozen=True, kw_only=True):
    """What was swapped, and for how much; a transaction on a public chain can be looked up at ``explorerUrl``."""

    event = "confirmed"
    tx_hash: str
    executed_price: Decimal
    amount_in: Decimal
    amount_out: Decimal
    venue: str
    explorer_url: str | None = None


class FailedDetails(Details, frozen=True, kw_only=True):
    """Why the order failed, and after how many tries."""

    event = "failed"
    error: str
    attempts: int


class CancelledDetails(Details, frozen=True, kw_only=True):
    """Who or what cancelled the order."""

    event = "cancelled"
    reason: str


class ExpiredDetails(Details, frozen=True, kw_only=True):
    """The order's time was up."""

    event = "expired"
    reason: str


class RedrivenDetails(Details, frozen=True, kw_only=True):
    """An operator has given a failed order new tries."""

    event = "redriven"
    last_error: str | None


def accepted(order: Order) -> EventDraft:
    """Say what was asked for."""
    return PendingDetails(
        order_type=order.order_type,
        side=order.side,
        token_in=order.token_in,
        token_out=order.token_out,
        amount=order.amount_in,
        slippage_tolerance=order.slippage_tolerance,
        limit_price=order.limit_price,
        trigger_price=order.trigger_price,
        time_in_force=order.time_in_force,
        expires_at=order.expires_at,
        client_order_id=order.client_order_id,
    ).draft


def waiting(unmet: Unmet) -> EventDraft:
    """Say what the order waits for."""
    return WaitingDetails(waiting_for=unmet.waiting_for).draft


def price_reached(market_price: Decimal | None) -> EventDraft:
    """Say which market price ended the order's waiting; None where it is only to be looked at again."""
    return PriceReachedDetails(market_price=market_price).draft


def launched() -> EventDraft:
    """Say that the token a sniper waited for has launched."""
    return LaunchedDetails(launched=True).draft


def routing(quotes: Mapping[str, VenueQuote], chosen: str, errors: Mapping[str, str]) -> EventDraft:
    """Say what each venue quoted, by its name, which was chosen, and why a venue gave no quote, where one did not."""
    return RoutingDetails(quotes=quotes, chosen=chosen, errors=errors).draft


def building(plan: SwapPlan) -> EventDraft:
    """Say what the transaction does, and the worst fill it accepts."""
    return BuildingDetails(
        venue=plan.venue,
        pool=plan.pool,
        actions=plan.actions,
        min_amount_out=plan.min_amount_out,
        max_amount_out=plan.max_amount_out,
    ).draft


def submitted(swap: SignedTransaction) -> EventDraft:
    """Say which transaction is sent."""
    return SubmittedDetails(tx_hash=swap.tx_hash, venue=swap.venue).draft


def retrying(order: Order, error: str, delay: timedelta) -> EventDraft:
    """Say why a try of ``order`` failed, and when the next one follows."""
    return RetryingDetails(
        error=error,
        attempt=order.attempts + 1,
        max_retries=order.max_retries,
        delay_ms=round(delay.total_seconds() * 1000),
    ).draft


def confirmed(fill: Fill) -> EventDraft:
    """Say what was swapped, and for how much."""
    return ConfirmedDetails(
        tx_hash=fill.tx_hash,
        executed_price=fill.executed_price,
        amount_in=fill.amount_in,
        amount_out=fill.amount_out,
        venue=fill.venue,
        explorer_url=fill.explorer_url,
    ).draft


def failed(order: Order, error: str) -> EventDraft:
    """Say why ``order`` failed, and after how many tries."""
    return FailedDetails(error=error, attempts=order.attempts + 1).draft


def cancelled(reason: str) -> EventDraft:
    """Say who or what cancelled the order."""
    return CancelledDetails(reason=reason).draft


def expired() -> EventDraft:
    """Say that the order's time was up."""
    return ExpiredDetails(reason="its time was up").draft


def redriven(order: Order) -> EventDraft:
    """Say that an operator has given the failed ``order`` new tries."""
    return RedrivenDetails(last_error=order.last_error).draft

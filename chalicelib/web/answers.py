"""What the REST calls answer, where it is not an order itself; fields are written in the order they stand here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Literal

import msgspec

from chalicelib.orders.events import OrderEvent, VenueQuote
from chalicelib.orders.order import Order, Side, Status


@dataclass(frozen=True)
class Answer:
    """A body with its status and headers, for a call whose answer is not always a 200 with a body."""

    body: object
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


class AcceptedOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``POST /api/orders/execute``."""

    order_id: str
    message: str = "Order accepted"
    status: Status
    web_socket_url: str


class OrderPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``GET /api/orders``; without a ``next_cursor`` it is the last page."""

    orders: Sequence[Order]
    next_cursor: str | None


class OrderHistory(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``GET /api/orders/{id}/events``."""

    order_id: str
    events: Sequence[OrderEvent]


class Quotes(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``GET /api/quotes``: the trade, and its route as the event ``routing`` tells of it."""

    token_in: str
    token_out: str
    side: Side
    amount: Decimal
    quotes: Mapping[str, VenueQuote]
    chosen: str
    errors: dict[str, str] = {}


class LaunchTaken(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``POST /api/launches``."""

    pool: str
    token_in: str
    token_out: str | None
    venue: str | None
    orders_woken: int


class StreamTicket(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``POST /api/stream/tickets``."""

    ticket: str
    expires_at: datetime


class ListedDeadLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A dead letter, without its body: that may be large, and hold anything."""

    message_id: str
    queue: str
    order_id: str | None
    reason: str
    buried_at: datetime


class DeadLetterList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``GET /api/dead-letters``, and what ``POST /api/dead-letters/redrive`` has redriven."""

    dead_letters: Sequence[ListedDeadLetter]


class Statistics(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``GET /api/statistics``: rates over the last minute, success over the last five, and how full the engine is."""

    accepted_per_minute: int
    processed_per_minute: int
    success_rate: float | None
    """Of those that were confirmed or failed, the share that was confirmed; None while there are none."""
    queue_depth: int
    """Orders that are due, or queued until it is their turn, and that no worker has."""
    slots_in_use: int
    slots: int
    measured_at: datetime


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``GET /health``."""

    status: Literal["ok", "degraded"]
    parts: Mapping[str, Literal["up", "down"]]

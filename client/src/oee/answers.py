"""What the engine answers. Numbers are exact Decimals; fields that a later version adds are passed over.

A status, or a type of order, is a text and not one of an enumeration, so that one of a later version can be read;
``Status`` has the names to compare it with.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec


class Status(StrEnum):
    """Where an order stands."""

    PENDING = "pending"
    ROUTING = "routing"
    BUILDING = "building"
    SUBMITTED = "submitted"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


LAST_STATUSES = frozenset({Status.CONFIRMED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})
"""An order that is one of these has ended."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An order that was accepted; ``client_order_id`` is the key it was submitted with."""

    order_id: str
    status: str
    message: str = ""
    web_socket_url: str = ""
    client_order_id: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An order: what its owner asked for and what has become of it.

    ``amount_in`` is what was asked for, ``amount_out`` what the fill moved of ``token_out``: received by a sell, paid
    by a buy. ``waits_for`` is what it waits for, ``chosen_dex`` the venue, ``seq`` the number of its last event.
    """

    order_id: str
    user_id: str
    order_type: str
    side: str
    token_in: str
    token_out: str
    amount_in: Decimal
    status: str
    seq: int
    created_at: datetime
    updated_at: datetime
    client_order_id: str | None = None
    slippage_tolerance: Decimal | None = None
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: str | None = None
    expires_at: datetime | None = None
    triggered_at: datetime | None = None
    waits_for: str | None = None
    wake_price: Decimal | None = None
    attempts: int = 0
    max_retries: int | None = None
    chosen_dex: str | None = None
    route_meta: dict[str, Any] | None = None
    min_amount_out: Decimal | None = None
    max_amount_out: Decimal | None = None
    amount_out: Decimal | None = None
    executed_price: Decimal | None = None
    tx_hash: str | None = None
    last_error: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.status in LAST_STATUSES


class VenueQuote(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a venue quotes; ``net_price`` is after its fee and the price impact of the amount."""

    price: Decimal
    fee: Decimal
    net_price: Decimal
    liquidity: Decimal | None = None
    amount_out: Decimal | None = None


class Quotes(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the router would choose now; ``errors`` says why a venue has no quote, by the venue's name."""

    token_in: str
    token_out: str
    side: str
    amount: Decimal
    quotes: dict[str, VenueQuote]
    chosen: str
    errors: dict[str, str] = {}

    @property
    def best(self) -> VenueQuote:
        """The quote of the chosen venue."""
        return self.quotes[self.chosen]


class OrderEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One step of an order. ``seq`` counts its events from 1 without a gap.

    What ``details`` holds depends on ``event``; ``tx_hash``, ``executed_price`` and ``error`` repeat what it holds.
    """

    order_id: str
    event: str
    status: str
    seq: int
    timestamp: datetime
    details: dict[str, Any]
    tx_hash: str | None = None
    executed_price: Decimal | None = None
    error: str | None = None

    @property
    def is_last(self) -> bool:
        """Whether the order has ended with it."""
        return self.status in LAST_STATUSES

    @property
    def quotes(self) -> Mapping[str, VenueQuote]:
        """What each venue quoted, by its name; empty but for ``routing``."""
        return msgspec.convert(self.details.get("quotes", {}), dict[str, VenueQuote])

    @property
    def chosen(self) -> str | None:
        """The venue that was chosen; None but for ``routing``."""
        return self.details.get("chosen")


class OrderPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of orders; without a ``next_cursor`` it is the last one."""

    orders: Sequence[Order]
    next_cursor: str | None = None


class OrderHistory(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An order's events so far, the first one first."""

    order_id: str
    events: Sequence[OrderEvent]


class LaunchTaken(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A launch that was announced, and how many orders that woke."""

    pool: str
    token_in: str
    orders_woken: int
    token_out: str | None = None
    venue: str | None = None


class Health(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``ok`` or ``degraded``, and which of the engine's parts is ``up`` or ``down``."""

    status: str
    parts: dict[str, str] = {}


class StreamTicket(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What opens one WebSocket connection, in place of a token."""

    ticket: str
    expires_at: datetime | None = None

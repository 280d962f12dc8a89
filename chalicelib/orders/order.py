"""An order: what its owner asked for and what has become of it."""

from datetime import datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, NamedTuple

import msgspec


class Side(StrEnum):
    """Which way: ``sell`` spends ``amount`` of tokenIn, ``buy`` acquires it and pays in tokenOut."""

    SELL = "sell"
    BUY = "buy"


class OrderType(StrEnum):
    """How an order decides when to execute."""

    MARKET = "market"
    """Now."""
    LIMIT = "limit"
    """When the net price reaches ``limitPrice``; never worse."""
    STOP = "stop"
    """When the price reaches ``triggerPrice`` against the side; then like market, or like limit."""
    SNIPER = "sniper"
    """When tokenIn launches."""

    @property
    def rules(self) -> "TypeRules":
        """What orders of this type go by unless they say, need, and may not have."""
        match self:
            case OrderType.MARKET:
                return TypeRules(Side.SELL, limit_price=Need.FORBIDDEN, trigger_price=Need.FORBIDDEN)
            case OrderType.LIMIT:
                return TypeRules(Side.BUY, limit_price=Need.REQUIRED, trigger_price=Need.FORBIDDEN)
            case OrderType.STOP:
                return TypeRules(Side.SELL, limit_price=Need.ALLOWED, trigger_price=Need.REQUIRED)
            case OrderType.SNIPER:
                return TypeRules(Side.BUY, limit_price=Need.ALLOWED, trigger_price=Need.FORBIDDEN)

    @property
    def goes_first(self) -> bool:
        """Whether orders of this type have a queue, slots and turns of their own, past all others."""
        return self is OrderType.SNIPER


class Need(Enum):
    """Whether an order of a type has a condition."""

    REQUIRED = "required"
    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"


class TypeRules(NamedTuple):
    """What sets the orders of a type apart when they are placed."""

    default_side: Side
    limit_price: Need
    trigger_price: Need


class TimeInForce(StrEnum):
    """How long an order may wait for its condition."""

    GTC = "GTC"
    """Good till cancelled."""
    IOC = "IOC"
    """Immediate or cancelled: not met at the first look ends the order."""
    GTD = "GTD"
    """Good till ``expiresAt``."""


class WaitsFor(StrEnum):
    """What an order that rests in the book waits for."""

    PRICE = "price"
    LAUNCH = "launch"


class Status(StrEnum):
    """Where an order stands; ``lifecycle`` says how it may move."""

    PENDING = "pending"
    ROUTING = "routing"
    BUILDING = "building"
    SUBMITTED = "submitted"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Trade(msgspec.Struct, frozen=True, rename="camel"):
    """What is to be swapped: ``amount`` counts tokenIn, prices are tokenOut per tokenIn."""

    token_in: str
    token_out: str
    side: Side
    amount: Decimal

    @property
    def pair(self) -> str:
        """The pair's name, ``tokenIn/tokenOut``."""
        return f"{self.token_in}/{self.token_out}"


class Order(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One order as stored, and as ``GET /api/orders/{id}`` answers it.

    ``amount_in`` is the asked amount of tokenIn (spent by a sell, acquired by a buy); ``amount_out`` is what the
    fill moved of tokenOut (received by a sell, paid by a buy), bounded by ``min_amount_out`` or ``max_amount_out``.
    While it rests in the book, ``waits_for`` says for what, and ``wake_price`` at which market price (see
    ``routing/conditions.py``) it is looked at again; ``triggered_at`` is when it was
    last taken out of the book, or a stop's trigger was reached: a stop that has one is not asked for its trigger again.
    ``chosen_dex`` is the chosen venue, by the field's name in the API.
    """

    order_id: str
    user_id: str
    client_order_id: str | None = None
    order_type: OrderType
    side: Side
    token_in: str
    token_out: str
    amount_in: Decimal
    slippage_tolerance: Decimal
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expires_at: datetime | None = None
    triggered_at: datetime | None = None
    waits_for: WaitsFor | None = None
    wake_price: Decimal | None = None
    status: Status = Status.PENDING
    seq: int = 1
    attempts: int = 0
    max_retries: int
    chosen_dex: str | None = None
    route_meta: dict[str, Any] | None = None
    min_amount_out: Decimal | None = None
    max_amount_out: Decimal | None = None
    amount_out: Decimal | None = None
    executed_price: Decimal | None = None
    tx_hash: str | None = None
    last_error: str | None = None
    created_at: datetime
    updated_at: datetime

    @property
    def trade(self) -> Trade:
        """The swap this order asks for."""
        return Trade(self.token_in, self.token_out, self.side, self.amount_in)

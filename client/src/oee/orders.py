"""Orders to submit: one type for each kind, with the fields that it may have and no others.

Amounts and prices are exact: a ``Decimal``, an ``int``, or a text such as ``"1.5"``. A float is refused, because
``0.1`` as a float is not a tenth. What a field may hold is for the engine to say; it names each field that is wrong.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, ClassVar, Literal, TypeAlias, TypedDict

import msgspec
from msgspec.structs import force_setattr

Number: TypeAlias = Decimal | int | str
SideName: TypeAlias = Literal["sell", "buy"]
OrderTypeName: TypeAlias = Literal["market", "limit", "stop", "sniper"]
TimeInForceName: TypeAlias = Literal["GTC", "IOC", "GTD"]


class OrderType(StrEnum):
    """The kinds of order."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    SNIPER = "sniper"


class Side(StrEnum):
    """``sell`` spends ``amount`` of ``token_in``, ``buy`` acquires it and pays in ``token_out``."""

    SELL = "sell"
    BUY = "buy"


class TimeInForce(StrEnum):
    """How long an order waits: until it is cancelled, not at all, or until ``expires_at``."""

    GTC = "GTC"
    IOC = "IOC"
    GTD = "GTD"


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag_field="orderType"):
    """What every order has. Prices are ``token_out`` per ``token_in``; ``amount`` counts ``token_in``.

    ``client_order_id`` is the order's key: the same key and order give the same order again, however often it is
    submitted. Without one the client makes one up, so that it can try again. With ``expires_at`` an order is GTD.
    """

    token_in: str
    token_out: str
    amount: Number
    side: SideName | None = None
    slippage_tolerance: Number | None = None
    time_in_force: TimeInForceName | None = None
    expires_at: datetime | None = None
    user_id: str | None = None
    client_order_id: str | None = None

    exact_fields: ClassVar[tuple[str, ...]] = ("amount", "slippage_tolerance")

    def __post_init__(self) -> None:
        """Make numbers exact and times absolute.

        Raises:
            TypeError: a number is a float, or no number at all.
            ValueError: a text is no number, or a time has no zone.
        """
        for name in self.exact_fields:
            value = getattr(self, name)
            if value is not None:
                force_setattr(self, name, exact(name, value))
        if self.expires_at is not None:
            if self.expires_at.tzinfo is None:
                raise ValueError(f"expires_at is {self.expires_at}, which has no time zone: add tzinfo, such as UTC")
            if self.time_in_force is None:
                force_setattr(self, "time_in_force", TimeInForce.GTD.value)


class MarketOrder(NewOrder, frozen=True, kw_only=True, tag="market"):
    """Executes now, at the best net price there is; a sell unless ``side`` says otherwise."""


class LimitOrder(NewOrder, frozen=True, kw_only=True, tag="limit"):
    """Executes when its net price is ``limit_price`` or better; a buy unless ``side`` says otherwise."""

    limit_price: Number

    exact_fields: ClassVar[tuple[str, ...]] = (*NewOrder.exact_fields, "limit_price")


class StopOrder(NewOrder, frozen=True, kw_only=True, tag="stop"):
    """Executes when the market reaches ``trigger_price`` against its side; then never worse than ``limit_price``.

    A sell unless ``side`` says otherwise. Without ``limit_price`` it then takes the price there is.
    """

    trigger_price: Number
    limit_price: Number | None = None

    exact_fields: ClassVar[tuple[str, ...]] = (*NewOrder.exact_fields, "trigger_price", "limit_price")


class SniperOrder(NewOrder, frozen=True, kw_only=True, tag="sniper"):
    """Executes when ``token_in`` launches and pays ``limit_price`` at most; a buy unless ``side`` says otherwise."""

    limit_price: Number | None = None

    exact_fields: ClassVar[tuple[str, ...]] = (*NewOrder.exact_fields, "limit_price")


class OrderFields(TypedDict, total=False):
    """The fields of an order, where it is not given as one of the types above."""

    order_type: OrderTypeName
    token_in: str
    token_out: str
    amount: Number
    side: SideName | None
    limit_price: Number | None
    trigger_price: Number | None
    slippage_tolerance: Number | None
    time_in_force: TimeInForceName | None
    expires_at: datetime | None
    user_id: str | None
    client_order_id: str | None


_TYPES: dict[str, type[NewOrder]] = {
    OrderType.MARKET: MarketOrder,
    OrderType.LIMIT: LimitOrder,
    OrderType.STOP: StopOrder,
    OrderType.SNIPER: SniperOrder,
}


def order_of(order: NewOrder | None, fields: Mapping[str, Any]) -> NewOrder:
    """Return ``order``, or make one of the type that ``fields`` name; a field that is None is not given.

    Raises:
        TypeError: both are given; a field is missing, is not one of this type, or is no exact number.
        ValueError: there is no such type, a text is no number, or a time has no zone.
    """
    if order is not None:
        if fields:
            raise TypeError(f"an order was given, and {', '.join(fields)} besides: change the order itself")
        return order
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    order_type = given.pop("order_type", None)
    if order_type not in _TYPES:
        raise ValueError(f"order_type is {order_type!r}; expected is {' or '.join(_TYPES)}")
    return _TYPES[order_type](**given)


def exact(name: str, value: object) -> Decimal:
    """Return a number as a Decimal of exactly its value.

    Raises:
        TypeError: it is a float, or no number at all.
        ValueError: it is a text that is no number.
    """
    if isinstance(value, float):
        raise TypeError(f'{name} is the float {value!r}, which is not exact: pass Decimal("{value}") or "{value}"')
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise TypeError(f"{name} is {value!r}; expected is a Decimal, an int, or a number as text")
    try:
        number = Decimal(value)
    except InvalidOperation as wrong:
        raise ValueError(f"{name} is {value!r}, which is not a number") from wrong
    if not number.is_finite():
        raise ValueError(f"{name} is {value!r}, which is not a number that one can trade")
    return number

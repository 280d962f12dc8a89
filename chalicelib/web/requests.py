"""Read what clients send. Every bad field is named at once, with its value and what is allowed.

Two documented clients spell some fields differently; both spellings are read, and an error uses the client's own.
"""

import base64
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar, assert_never

import msgspec

from chalicelib.exact_json import decode_json
from chalicelib.execution.intake import OrderRequest
from chalicelib.orders.launch import Launch
from chalicelib.orders.order import Order, OrderType, Side, Status, TimeInForce, Trade
from chalicelib.orders.tokens import EXACT, PRICE_DIGITS, TOKENS
from chalicelib.web.problems import RequestError, invalid, shown

LARGEST_BODY = 16 * 1024
LARGEST_AMOUNT = Decimal(10) ** 12
MOST_DIGITS = 40
DEFAULT_SLIPPAGE = Decimal("0.01")
LARGEST_SLIPPAGE = Decimal("0.5")
LARGEST_PRICE = Decimal(10) ** 15
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_WAIT = timedelta(days=366)
DEFAULT_PAGE = 20
LARGEST_PAGE = 100

SECOND_SPELLINGS = {"type": "orderType", "amountIn": "amount", "targetPrice": "limitPrice"}

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,6})?", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
Value = TypeVar("Value")
Choice = TypeVar("Choice", bound=StrEnum)


class PageRequest(NamedTuple):
    """Which orders to list: up to ``limit`` that come after the position ``before``."""

    status: Status | None
    limit: int
    before: tuple[datetime, str] | None


def read_object(body: bytes | str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RequestError: the body is too large, is not JSON, or is not an object.
    """
    if len(body) > LARGEST_BODY:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body has {len(body)} bytes; at most {LARGEST_BODY} are allowed.",
        )
    if not body:
        raise RequestError(HTTPStatus.BAD_REQUEST, "The body is empty; a JSON object is expected.")
    try:
        value = decode_json(body)
    except ValueError as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestError(HTTPStatus.BAD_REQUEST, "The body is not a JSON object.")
    return value


def read_order(values: Mapping[str, Any], idempotency_key: str | None = None, *, now: datetime) -> OrderRequest:
    """Read an order; ``idempotency_key`` is the header of that name, another way to send ``clientOrderId``.

    With a key, ``expiresAt`` may be past: whether the request repeats an earlier one is for the intake to say.

    Raises:
        RequestError: naming each field that cannot be accepted.
    """
    fields = _Fields(values)
    user_id = fields.read("userId", _text)
    client_order_id = fields.read("clientOrderId", _text, None)
    order_type = fields.read("orderType", _one_of(OrderType))
    # Whoever repeats a request that was in time is to get its order, also when that has expired since.
    earliest = now if client_order_id is None and idempotency_key is None else LONG_AGO
    trade = _read_trade(fields, order_type.default_side if order_type else Side.SELL)
    slippage_tolerance = fields.read("slippageTolerance", _slippage, DEFAULT_SLIPPAGE)
    limit_price, trigger_price = _read_conditions(fields, order_type)
    order = OrderRequest(
        user_id=user_id,
        order_type=order_type,
        trade=trade,
        slippage_tolerance=slippage_tolerance,
        limit_price=limit_price,
        trigger_price=trigger_price,
        time_in_force=fields.read("timeInForce", _one_of(TimeInForce), TimeInForce.GTC),
        expires_at=fields.read("expiresAt", _time(earliest, now), None),
        client_order_id=client_order_id,
    )
    if order.time_in_force is TimeInForce.GTD:
        fields.require("expiresAt", "is required with timeInForce GTD")
    elif order.time_in_force:
        fields.forbid("expiresAt", f"goes with timeInForce GTD only, not {order.time_in_force}")
    if idempotency_key is not None:
        header = _Fields({"Idempotency-Key": idempotency_key})
        key = header.read("Idempotency-Key", _text)
        fields.errors |= header.errors
        if order.client_order_id not in (None, key):
            fields.errors["clientOrderId"] = "differs from the Idempotency-Key header; send one of the two"
        order = msgspec.structs.replace(order, client_order_id=key)
    fields.finish()
    return order


def read_launch(values: Mapping[str, Any], venues: Collection[str]) -> Launch:
    """Read a launch on one of ``venues``: ``{"pool", "tokenIn", "tokenOut"?, "venue"?}``.

    Raises:
        RequestError: naming each field that cannot be accepted.
    """
    fields = _Fields(values)
    launch = Launch(
        pool=fields.read("pool", _text),
        token_in=fields.read("tokenIn", _token),
        token_out=fields.read("tokenOut", _token, None),
        venue=fields.read("venue", _venue(venues), None),
    )
    if launch.token_in and launch.token_in == launch.token_out:
        fields.errors["tokenOut"] = f"{launch.token_out} is tokenIn as well; a pool holds two different tokens"
    fields.finish()
    return launch


def read_trade(values: Mapping[str, Any]) -> Trade:
    """Read the trade of a quote request.

    Raises:
        RequestError: naming each field that cannot be accepted.
    """
    fields = _Fields(values)
    trade = _read_trade(fields, Side.SELL)
    fields.finish()
    return trade


def read_page(values: Mapping[str, Any]) -> PageRequest:
    """Read what ``GET /api/orders`` is to list.

    Raises:
        RequestError: naming each field that cannot be accepted.
    """
    fields = _Fields(values)
    page = PageRequest(
        status=fields.read("status", _one_of(Status), None),
        limit=fields.read("limit", _whole_number(1, LARGEST_PAGE), DEFAULT_PAGE),
        before=fields.read("cursor", _cursor, None),
    )
    fields.finish()
    return page


def write_cursor(order: Order) -> str:
    """Return the cursor of the page that comes after ``order``."""
    return base64.urlsafe_b64encode(f"{order.created_at.isoformat()} {order.order_id}".encode()).decode()


def read_order_id(value: Any) -> str:
    """Read an order id, a UUID.

    Raises:
        RequestError: it is none.
    """
    fields = _Fields({"orderId": value})
    order_id: str = fields.read("orderId", _order_id)
    fields.finish()
    return order_id


def read_seq(value: Any) -> int:
    """Read ``afterSeq``: the last event a client has, 0 for none.

    Raises:
        RequestError: it is not a whole number from 0 up.
    """
    fields = _Fields({"afterSeq": value})
    seq: int = fields.read("afterSeq", _whole_number(0, 2**31 - 1), 0)
    fields.finish()
    return seq


class _Refused(Exception):
    """A value is not allowed; the message says what is."""


_REQUIRED: Any = object()


class _Fields:
    """The fields of one request: read one by one, with all errors collected."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.errors: dict[str, str] = {}
        self._known: list[str] = []
        self._given: dict[str, tuple[str, Any]] = {}
        self._spellings: dict[str, str] = {}
        for spelling, value in values.items():
            name = SECOND_SPELLINGS.get(spelling, spelling)
            if name in self._given:
                self.errors[spelling] = f"is the same field as {self._given[name][0]}; send one of the two"
            self._given[name] = (spelling, value)
            if value is not None:
                self._spellings[name] = spelling

    def read(self, name: str, reader: Callable[[Any], Value], default: Any = _REQUIRED) -> Any:
        """Return the field's value. What a wrong field returns is of no use: ``finish`` will raise."""
        self._known.append(name)
        spelling, value = self._given.pop(name, (name, None))
        if value is None:
            if default is not _REQUIRED:
                return default
            self.errors[spelling] = "is required"
            return None
        try:
            return reader(value)
        except _Refused as refused:
            self.errors[spelling] = str(refused)
            return None

    def require(self, name: str, problem: str) -> None:
        """Refuse the request if an optional field is missing."""
        if name not in self._spellings:
            self.errors[name] = problem

    def forbid(self, name: str, problem: str) -> None:
        """Refuse the request if an optional field was given."""
        if name in self._spellings:
            self.errors[self._spellings[name]] = problem

    def finish(self) -> None:
        """Refuse the request if a field was wrong, or is not known: in a money API a typo must not pass.

        Raises:
            RequestError: naming each of those fields.
        """
        for spelling, _ in self._given.values():
            self.errors[shown(spelling).strip("'\"")] = f"is not a known field; known are {', '.join(self._known)}"
        if self.errors:
            raise invalid(self.errors)


def _read_conditions(fields: _Fields, order_type: OrderType | None) -> tuple[Decimal | None, Decimal | None]:
    """Read ``limitPrice`` and ``triggerPrice``: each type of order needs, allows or forbids them."""
    limit_price: Decimal | None = fields.read("limitPrice", _price, None)
    trigger_price: Decimal | None = fields.read("triggerPrice", _price, None)
    match order_type:
        case OrderType.MARKET:
            needless = "is not for a market order, which takes the price there is; send a limit order"
            fields.forbid("limitPrice", needless)
        case OrderType.LIMIT:
            fields.require("limitPrice", "is required for a limit order")
        case OrderType.STOP:
            fields.require("triggerPrice", "is required for a stop order")
        case OrderType.SNIPER | None:
            pass
        case _:
            assert_never(order_type)
    if order_type not in (OrderType.STOP, None):
        fields.forbid("triggerPrice", f"is for stop orders only, not for a {order_type} order")
    return limit_price, trigger_price


def _read_trade(fields: _Fields, default_side: Side) -> Trade:
    token_in = fields.read("tokenIn", _token)
    token_out = fields.read("tokenOut", _token)
    if token_in is not None and token_in == token_out:
        fields.errors["tokenOut"] = f"{token_out} is tokenIn as well; a swap needs two different tokens"
    decimals = TOKENS[token_in].decimals if token_in in TOKENS else None
    return Trade(
        token_in=token_in,
        token_out=token_out,
        side=fields.read("side", _one_of(Side), default_side),
        amount=fields.read("amount", lambda value: _amount(value, decimals)),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 128 or not value.isprintable():
        raise _Refused(f"{shown(value)} is not allowed; expected are 1 to 128 printable characters")
    return value


def _one_of(choices: type[Choice]) -> Callable[[Any], Choice]:
    allowed = {choice.value: choice for choice in choices}

    def read(value: Any) -> Choice:
        if not isinstance(value, str) or value not in allowed:
            raise _Refused(f"{shown(value)} is not allowed; expected is {' or '.join(allowed)}")
        return allowed[value]

    return read


def _token(value: Any) -> str:
    if not isinstance(value, str) or value not in TOKENS:
        raise _Refused(f"{shown(value)} is not a known token; known are {', '.join(TOKENS)}")
    return value


def _number(value: Any) -> Decimal:
    if isinstance(value, str) and len(value) <= LARGEST_BODY and _NUMBER.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _Refused(f"{shown(value)} is not a number; expected is a number, or one in a string")
    number = Decimal(value)
    if len(number.as_tuple().digits) > MOST_DIGITS:
        raise _Refused(f"has {len(number.as_tuple().digits)} digits; at most {MOST_DIGITS} are allowed")
    if abs(number.adjusted()) > MOST_DIGITS:
        # Written out, 1e-999999999 would fill the memory.
        raise _Refused(f"{number} is out of range")
    return number


def _amount(value: Any, decimals: int | None) -> Decimal:
    number = _number(value)
    if number <= 0:
        raise _Refused(f"{number} is not allowed; an amount is greater than 0")
    if number > LARGEST_AMOUNT:
        raise _Refused(f"{number} is too large; at most {LARGEST_AMOUNT:f} is allowed")
    exponent = EXACT.normalize(number).as_tuple().exponent
    if decimals is not None and isinstance(exponent, int) and -exponent > decimals:
        raise _Refused(f"{number} has too many digits after the point; this token has {decimals}")
    return Decimal(f"{number:f}")


def _price(value: Any) -> Decimal:
    number = _number(value)
    if number <= 0:
        raise _Refused(f"{number} is not allowed; a price is greater than 0")
    if number > LARGEST_PRICE:
        raise _Refused(f"{number} is too large; at most {LARGEST_PRICE:f} is allowed")
    # Executed prices are rounded to as many: with more, one that keeps to its limit could look worse than it.
    if len(EXACT.normalize(number).as_tuple().digits) > PRICE_DIGITS:
        raise _Refused(f"{number} has too many digits; a price has at most {PRICE_DIGITS} significant ones")
    return Decimal(f"{number:f}")


def _venue(known: Collection[str]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in known:
            raise _Refused(f"{shown(value)} is not a known venue; known are {', '.join(known)}")
        return str(value)

    return read


def _time(earliest: datetime, now: datetime) -> Callable[[Any], datetime]:
    def read(value: Any) -> datetime:
        expected = "expected is a time with its zone, such as 2030-01-31T12:00:00Z"
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise _Refused(f"{shown(value)} is not allowed; {expected}")
        try:
            # RFC 3339 allows a small t and z, fromisoformat does not.
            time = datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError) as wrong:
            raise _Refused(f"{shown(value)} is not a time; {expected}") from wrong
        if time <= earliest:
            raise _Refused(f"{value} is in the past; it is {now:%Y-%m-%dT%H:%M:%SZ} now")
        if time > now + LONGEST_WAIT:
            raise _Refused(f"{value} is too far away; at most {LONGEST_WAIT.days} days are allowed")
        return time

    return read


def _slippage(value: Any) -> Decimal:
    number = _number(value)
    if not 0 <= number <= LARGEST_SLIPPAGE:
        raise _Refused(f"{number} is not allowed; expected is a fraction from 0 to {LARGEST_SLIPPAGE}")
    if number != round(number, 6):
        raise _Refused(f"{number} has too many digits; at most 6 after the point are allowed")
    return Decimal(f"{number:f}")


def _whole_number(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = _number(value)
        if number != number.to_integral_value() or not low <= number <= high:
            raise _Refused(f"{number} is not allowed; expected is a whole number from {low} to {high}")
        return int(number)

    return read


def _order_id(value: Any) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise _Refused(f"{shown(value)} is not an order id; expected is a UUID")
    return value.lower()


def _cursor(value: Any) -> tuple[datetime, str]:
    try:
        created_at, order_id = base64.b64decode(value, altchars=b"-_", validate=True).decode().split(" ")
        position = datetime.fromisoformat(created_at)
        if position.tzinfo is None:
            raise ValueError("no time zone")
        return position, _order_id(order_id)
    except (ValueError, TypeError, _Refused) as wrong:
        raise _Refused(f"{shown(value)} is not a cursor; send the nextCursor of an earlier answer") from wrong

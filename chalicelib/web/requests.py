"""Read what clients send. Every bad field is named at once, with its value and what is allowed.

Two documented clients spell some fields differently; both spellings are read, and an error uses the client's own.
"""

import base64
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any, NamedTuple, assert_never

import msgspec

from chalicelib.exact_json import decode_json
from chalicelib.orders.launch import Launch
from chalicelib.orders.order import Order, OrderType, Side, Status, TimeInForce, Trade
from chalicelib.orders.request import OrderRequest
from chalicelib.orders.tokens import TOKENS
from chalicelib.web import fields
from chalicelib.web.fields import LARGEST_BODY, Fields, Refused
from chalicelib.web.problems import RequestError, shown

DEFAULT_SLIPPAGE = Decimal("0.01")
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULT_PAGE = 20
LARGEST_PAGE = 100
MOST_REDRIVEN = 100
"""How many dead letters one request may redrive: as many as are done well before API Gateway gives up waiting."""


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
    size = len(body if isinstance(body, bytes) else body.encode(errors="surrogatepass"))
    if size > LARGEST_BODY:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body has {size} bytes; at most {LARGEST_BODY} are allowed.",
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


def read_order(
    values: Mapping[str, Any], idempotency_key: str | None = None, *, now: datetime, caller: str | None = None
) -> OrderRequest:
    """Read an order; ``idempotency_key`` is the header of that name, another way to send ``clientOrderId``.

    With a key, ``expiresAt`` may be past: whether the request repeats an earlier one is for the intake to say.
    ``caller`` is the user whose order it is; where nobody is known, the order has to say.

    Raises:
        RequestError: naming each field that cannot be accepted; 403 when it is for another user than ``caller``.
    """
    given = Fields(values)
    user_id = given.read("userId", fields.text) if caller is None else given.read("userId", _only(caller), caller)
    client_order_id = given.read("clientOrderId", fields.text, None)
    order_type = given.read("orderType", fields.one_of(OrderType))
    # Whoever repeats a request that was in time is to get its order, also when that has expired since.
    earliest = now if client_order_id is None and idempotency_key is None else LONG_AGO
    trade = _read_trade(given, order_type.default_side if order_type else Side.SELL)
    slippage_tolerance = given.read("slippageTolerance", fields.slippage, DEFAULT_SLIPPAGE)
    limit_price, trigger_price = _read_conditions(given, order_type)
    order = OrderRequest(
        user_id=user_id,
        order_type=order_type,
        trade=trade,
        slippage_tolerance=slippage_tolerance,
        limit_price=limit_price,
        trigger_price=trigger_price,
        time_in_force=given.read("timeInForce", fields.one_of(TimeInForce), TimeInForce.GTC),
        expires_at=given.read("expiresAt", fields.time_after(earliest, now), None),
        client_order_id=client_order_id,
    )
    if order.time_in_force is TimeInForce.GTD:
        given.require("expiresAt", "is required with timeInForce GTD")
    elif order.time_in_force:
        given.forbid("expiresAt", f"goes with timeInForce GTD only, not {order.time_in_force}")
    if idempotency_key is not None:
        header = Fields({"Idempotency-Key": idempotency_key})
        key = header.read("Idempotency-Key", fields.text)
        given.errors |= header.errors
        if order.client_order_id not in (None, key):
            given.errors["clientOrderId"] = "differs from the Idempotency-Key header; send one of the two"
        order = msgspec.structs.replace(order, client_order_id=key)
    given.finish()
    return order


def read_launch(values: Mapping[str, Any], venues: Collection[str]) -> Launch:
    """Read a launch on one of ``venues``: ``{"pool", "tokenIn", "tokenOut"?, "venue"?}``.

    Raises:
        RequestError: naming each field that cannot be accepted.
    """
    given = Fields(values)
    launch = Launch(
        pool=given.read("pool", fields.text),
        token_in=given.read("tokenIn", fields.token),
        token_out=given.read("tokenOut", fields.token, None),
        venue=given.read("venue", fields.venue(venues), None),
    )
    if launch.token_in and launch.token_in == launch.token_out:
        given.errors["tokenOut"] = f"{launch.token_out} is tokenIn as well; a pool holds two different tokens"
    given.finish()
    return launch


def read_trade(values: Mapping[str, Any]) -> Trade:
    """Read the trade of a quote request.

    Raises:
        RequestError: naming each field that cannot be accepted.
    """
    given = Fields(values)
    trade = _read_trade(given, Side.SELL)
    given.finish()
    return trade


def read_page(values: Mapping[str, Any]) -> PageRequest:
    """Read what ``GET /api/orders`` is to list.

    Raises:
        RequestError: naming each field that cannot be accepted.
    """
    given = Fields(values)
    page = PageRequest(
        status=given.read("status", fields.one_of(Status), None),
        limit=given.read("limit", fields.whole_number(1, LARGEST_PAGE), DEFAULT_PAGE),
        before=given.read("cursor", _cursor, None),
    )
    given.finish()
    return page


def write_cursor(order: Order) -> str:
    """Return the cursor of the page that comes after ``order``."""
    return base64.urlsafe_b64encode(f"{order.created_at.isoformat()} {order.order_id}".encode()).decode()


def read_message_ids(values: Mapping[str, Any]) -> list[str]:
    """Read which dead letters to redrive: ``{"messageIds": […]}``.

    Raises:
        RequestError: naming each field that cannot be accepted.
    """
    given = Fields(values)
    message_ids: list[str] = given.read("messageIds", fields.list_of(fields.text, most=MOST_REDRIVEN))
    given.finish()
    return message_ids


def read_order_id(value: Any) -> str:
    """Read an order id, a UUID.

    Raises:
        RequestError: it is none.
    """
    given = Fields({"orderId": value})
    order_id: str = given.read("orderId", fields.order_id)
    given.finish()
    return order_id


def read_seq(value: Any) -> int:
    """Read ``afterSeq``: the last event a client has, 0 for none.

    Raises:
        RequestError: it is not a whole number from 0 up.
    """
    given = Fields({"afterSeq": value})
    seq: int = given.read("afterSeq", fields.whole_number(0, 2**31 - 1), 0)
    given.finish()
    return seq


def _only(caller: str) -> Callable[[Any], str]:
    """Read a user that may be no other than the caller."""

    def read(value: Any) -> str:
        if value != caller:
            problem = f"{shown(value)} is not the user of the token; leave it out, or send that user"
            raise RequestError(
                HTTPStatus.FORBIDDEN, "An order may be placed for oneself only: see userId.", errors={"userId": problem}
            )
        return caller

    return read


def _read_conditions(given: Fields, order_type: OrderType | None) -> tuple[Decimal | None, Decimal | None]:
    """Read ``limitPrice`` and ``triggerPrice``: each type of order needs, allows or forbids them."""
    limit_price: Decimal | None = given.read("limitPrice", fields.price, None)
    trigger_price: Decimal | None = given.read("triggerPrice", fields.price, None)
    match order_type:
        case OrderType.MARKET:
            needless = "is not for a market order, which takes the price there is; send a limit order"
            given.forbid("limitPrice", needless)
        case OrderType.LIMIT:
            given.require("limitPrice", "is required for a limit order")
        case OrderType.STOP:
            given.require("triggerPrice", "is required for a stop order")
        case OrderType.SNIPER | None:
            pass
        case _:
            assert_never(order_type)
    if order_type not in (OrderType.STOP, None):  # a wrong type is refused already
        given.forbid("triggerPrice", f"is for stop orders only, not for a {order_type} order")
    return limit_price, trigger_price


def _read_trade(given: Fields, default_side: Side) -> Trade:
    token_in = given.read("tokenIn", fields.token)
    token_out = given.read("tokenOut", fields.token)
    if token_in is not None and token_in == token_out:
        given.errors["tokenOut"] = f"{token_out} is tokenIn as well; a swap needs two different tokens"
    decimals = TOKENS[token_in].decimals if token_in in TOKENS else None
    return Trade(
        token_in=token_in,
        token_out=token_out,
        side=given.read("side", fields.one_of(Side), default_side),
        amount=given.read("amount", lambda value: fields.amount(value, decimals)),
    )


def _cursor(value: Any) -> tuple[datetime, str]:
    try:
        created_at, order_id = base64.b64decode(value, altchars=b"-_", validate=True).decode().split(" ")
        position = datetime.fromisoformat(created_at)
        if position.tzinfo is None:
            raise ValueError("no time zone")
        return position, fields.order_id(order_id)
    except (ValueError, TypeError, Refused) as wrong:
        raise Refused(f"{shown(value)} is not a cursor; send the nextCursor of an earlier answer") from wrong

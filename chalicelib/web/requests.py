"""Read what clients send. Every bad field is named at once, with its value and what is allowed.

The fields of each request stand in a table, which the contract is written from as well. Two documented clients spell
some of them differently; both spellings are read, and an error uses the client's own.
"""

import base64
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any, NamedTuple, assert_never

import msgspec

from chalicelib.exact_json import decode_json
from chalicelib.orders.launch import Launch
from chalicelib.orders.order import Need, Order, OrderType, Side, Status, TimeInForce, Trade
from chalicelib.orders.request import OrderRequest
from chalicelib.orders.tokens import TOKENS
from chalicelib.web import fields
from chalicelib.web.fields import LARGEST_BODY, LONGEST_WAIT, ORDER_ID, Field, Fields, Kind, Refused
from chalicelib.web.problems import RequestError, shown

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST_PAGE = 100
MOST_REDRIVEN = 100
"""How many dead letters one request may redrive: as many as are done well before API Gateway gives up waiting."""


class PageRequest(NamedTuple):
    """Which orders to list: up to ``limit`` that come after the position ``before``."""

    status: Status | None
    limit: int
    before: tuple[datetime, str] | None


def _cursor(value: Any) -> tuple[datetime, str]:
    try:
        created_at, order_id = base64.b64decode(value, altchars=b"-_", validate=True).decode().split(" ")
        position = datetime.fromisoformat(created_at)
        if position.tzinfo is None:
            raise ValueError("no time zone")
        return position, ORDER_ID.read(order_id)
    except (ValueError, TypeError, Refused) as wrong:
        raise Refused(f"{shown(value)} is not a cursor; send the nextCursor of an earlier answer") from wrong


TOKEN_IN = Field(name="tokenIn", kind=fields.TOKEN, about="The token that is sold or bought; prices are per tokenIn.")
TOKEN_OUT = Field(name="tokenOut", kind=fields.TOKEN, about="What it is swapped against: another token than tokenIn.")
SIDE = Field(
    name="side",
    kind=fields.one_of(Side),
    about="`sell` spends `amount` of tokenIn; `buy` acquires it and pays in tokenOut.",
    default=Side.SELL,
)
AMOUNT = Field(
    name="amount",
    kind=fields.AMOUNT,
    about="How much of tokenIn, above 0, with no more decimals than the token has. A number, or one in a string.",
    second_spelling="amountIn",
)
TRADE = (TOKEN_IN, TOKEN_OUT, SIDE, AMOUNT)

USER_ID = Field(
    name="userId",
    kind=fields.TEXT,
    about="Whose order it is. With a token it may be left out, and can be no other than the token's user.",
)
CLIENT_ORDER_ID = Field(
    name="clientOrderId",
    kind=fields.TEXT,
    about="Your own key: a repeated request with the same key and order gives the same order, never a second one. "
    "The header Idempotency-Key is another way to send it; if both are sent, they must be equal.",
    default=None,
)
ORDER_TYPE = Field(
    name="orderType", kind=fields.one_of(OrderType), about="What the order waits for.", second_spelling="type"
)
SLIPPAGE_TOLERANCE = Field(
    name="slippageTolerance",
    kind=fields.SLIPPAGE,
    about="How much worse than its quote a fill may be, as a fraction with at most 6 decimals.",
    default=Decimal("0.01"),
)
LIMIT_PRICE = Field(
    name="limitPrice",
    kind=fields.PRICE,
    about="The worst net price, tokenOut per tokenIn, greater than 0, with at most 12 significant digits.",
    default=None,
    second_spelling="targetPrice",
    needless="is not for a {order_type} order, which takes the price there is; send a limit order",
)
TRIGGER_PRICE = Field(
    name="triggerPrice",
    kind=fields.PRICE,
    about="The market price that starts a stop: a sell at or below it, a buy at or above; at most 12 digits as well.",
    default=None,
    needless="is for stop orders only, not for a {order_type} order",
)
TIME_IN_FORCE = Field(
    name="timeInForce",
    kind=fields.one_of(TimeInForce),
    about="`GTC` waits until it is cancelled, `IOC` is cancelled if it is not met at its first look, `GTD` waits until "
    "`expiresAt`.",
    default=TimeInForce.GTC,
)
EXPIRES_AT = Field(
    name="expiresAt",
    kind=fields.TIME,
    about=f"With `GTD`, and only then: until when, with a time zone; in the future, at most {LONGEST_WAIT.days} days "
    "away.",
    default=None,
)
ORDER = (
    *(USER_ID, CLIENT_ORDER_ID, ORDER_TYPE, *TRADE, SLIPPAGE_TOLERANCE),
    *(LIMIT_PRICE, TRIGGER_PRICE, TIME_IN_FORCE, EXPIRES_AT),
)
IDEMPOTENCY_KEY = Field(
    name="Idempotency-Key", kind=fields.TEXT, about="Another way to send `clientOrderId`.", default=None
)

STATUS = Field(name="status", kind=fields.one_of(Status), about="Only orders that stand there.", default=None)
LIMIT = Field(name="limit", kind=fields.whole_number(1, LARGEST_PAGE), about="How many orders a page has.", default=20)
CURSOR = Field(
    name="cursor",
    kind=Kind(_cursor, {"type": "string"}),
    about="Where to go on: the `nextCursor` of an earlier answer.",
    default=None,
)
PAGE = (STATUS, LIMIT, CURSOR)

ORDER_OF_PATH = Field(name="orderId", kind=ORDER_ID, about="The order's id.")
AFTER_SEQ = Field(
    name="afterSeq",
    kind=fields.whole_number(0, 2**31 - 1),
    about="The `seq` of the last event that the client has; 0 for none.",
    default=0,
)
MESSAGE_IDS = Field(
    name="messageIds",
    kind=fields.list_of(fields.TEXT, most=MOST_REDRIVEN),
    about="Which dead letters; those that are not there are passed over.",
)


def launch_table(venues: Collection[str]) -> tuple[Field[str], ...]:
    """Return the fields of a launch on one of ``venues``."""
    return (
        Field(name="pool", kind=fields.TEXT, about="The pool that went live, by the venue's name for it."),
        Field(name="tokenIn", kind=fields.TOKEN, about="The token that trades from now on."),
        Field(name="tokenOut", kind=fields.TOKEN, about="Against what; left out, against anything.", default=None),
        Field(name="venue", kind=fields.venue(venues), about="On which venue.", default=None),
    )


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
    given = Fields(ORDER, values)
    user_id = given.read(USER_ID) if caller is None else given.read(USER_ID, _only(caller), default=caller)
    client_order_id = given.read(CLIENT_ORDER_ID)
    order_type = given.read(ORDER_TYPE)
    # Whoever repeats a request that was in time is to get its order, also when that has expired since.
    earliest = now if client_order_id is None and idempotency_key is None else LONG_AGO
    trade = _read_trade(given, order_type.rules.default_side if order_type else Side.SELL)
    slippage_tolerance = given.read(SLIPPAGE_TOLERANCE)
    limit_price, trigger_price = given.read(LIMIT_PRICE), given.read(TRIGGER_PRICE)
    if order_type:  # a wrong type is refused already
        _check_need(given, LIMIT_PRICE, order_type.rules.limit_price, order_type)
        _check_need(given, TRIGGER_PRICE, order_type.rules.trigger_price, order_type)
    order = OrderRequest(
        user_id=user_id,
        order_type=order_type,
        trade=trade,
        slippage_tolerance=slippage_tolerance,
        limit_price=limit_price,
        trigger_price=trigger_price,
        time_in_force=given.read(TIME_IN_FORCE),
        expires_at=given.read(EXPIRES_AT, fields.time_after(earliest, now)),
        client_order_id=client_order_id,
    )
    if order.time_in_force is TimeInForce.GTD:
        given.require(EXPIRES_AT, "is required with timeInForce GTD")
    elif order.time_in_force:
        given.forbid(EXPIRES_AT, f"goes with timeInForce GTD only, not {order.time_in_force}")
    if idempotency_key is not None:
        header = Fields([IDEMPOTENCY_KEY], {IDEMPOTENCY_KEY.name: idempotency_key})
        key = header.read(IDEMPOTENCY_KEY)
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
    table = launch_table(venues)
    given = Fields(table, values)
    pool, token_in, token_out, venue = (given.read(field) for field in table)
    if token_in and token_in == token_out:
        given.errors["tokenOut"] = f"{token_out} is tokenIn as well; a pool holds two different tokens"
    given.finish()
    return Launch(pool=pool, token_in=token_in, token_out=token_out, venue=venue)


def read_trade(values: Mapping[str, Any]) -> Trade:
    """Read the trade of a quote request.

    Raises:
        RequestError: naming each field that cannot be accepted.
    """
    given = Fields(TRADE, values)
    trade = _read_trade(given, Side.SELL)
    given.finish()
    return trade


def read_page(values: Mapping[str, Any]) -> PageRequest:
    """Read what ``GET /api/orders`` is to list.

    Raises:
        RequestError: naming each field that cannot be accepted.
    """
    given = Fields(PAGE, values)
    page = PageRequest(status=given.read(STATUS), limit=given.read(LIMIT), before=given.read(CURSOR))
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
    message_ids: list[str] = _read_only(MESSAGE_IDS, values)
    return message_ids


def read_order_id(value: Any) -> str:
    """Read an order id, a UUID.

    Raises:
        RequestError: it is none.
    """
    order_id: str = _read_only(ORDER_OF_PATH, {ORDER_OF_PATH.name: value})
    return order_id


def read_seq(value: Any) -> int:
    """Read ``afterSeq``: the last event a client has, 0 for none.

    Raises:
        RequestError: it is not a whole number from 0 up.
    """
    seq: int = _read_only(AFTER_SEQ, {AFTER_SEQ.name: value})
    return seq


def _read_only(field: Field[Any], values: Mapping[str, Any]) -> Any:
    given = Fields([field], values)
    value = given.read(field)
    given.finish()
    return value


def _only(caller: str) -> Kind[str]:
    """A user that may be no other than the caller."""

    def read(value: Any) -> str:
        if value != caller:
            problem = f"{shown(value)} is not the user of the token; leave it out, or send that user"
            raise RequestError(
                HTTPStatus.FORBIDDEN, "An order may be placed for oneself only: see userId.", errors={"userId": problem}
            )
        return caller

    return Kind(read, USER_ID.kind.schema)


def _check_need(given: Fields, price: Field[Decimal], need: Need, order_type: OrderType) -> None:
    """Refuse an order without a price that its type needs, and one with a price that its type has no use for."""
    match need:
        case Need.REQUIRED:
            given.require(price, f"is required for a {order_type} order")
        case Need.FORBIDDEN:
            given.forbid(price, price.needless.format(order_type=order_type))
        case Need.ALLOWED:
            pass
        case _:
            assert_never(need)


def _read_trade(given: Fields, default_side: Side) -> Trade:
    token_in, token_out = given.read(TOKEN_IN), given.read(TOKEN_OUT)
    if token_in is not None and token_in == token_out:
        given.errors["tokenOut"] = f"{token_out} is tokenIn as well; a swap needs two different tokens"
    decimals = TOKENS[token_in].decimals if token_in in TOKENS else None
    return Trade(
        token_in=token_in,
        token_out=token_out,
        side=given.read(SIDE, default=default_side),
        amount=given.read(AMOUNT, fields.amount_of(decimals)),
    )

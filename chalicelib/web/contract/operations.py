"""Every call of the REST API, as the contract tells of it: a call is an ``Operation`` in the list at the end.

What each may be refused for is made from the errors that the engine raises, so that examples are what is answered.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any

from chalicelib.execution.cancellation import NotCancellable
from chalicelib.execution.intake import IdempotencyConflict, TooManyOrders
from chalicelib.orders.order import Order
from chalicelib.resources import ResourceUnavailable
from chalicelib.triggers.launches import DeliveryRepeated, LaunchConflict
from chalicelib.venues.venue import SwapRefused, VenueUnavailable
from chalicelib.web import requests
from chalicelib.web.answers import (
    AcceptedOrder,
    DeadLetterList,
    Health,
    LaunchTaken,
    OrderHistory,
    OrderPage,
    Quotes,
    Statistics,
    StreamTicket,
)
from chalicelib.web.contract import examples
from chalicelib.web.contract.schemas import Components
from chalicelib.web.fields import LARGEST_BODY, Field, Kind, Schema
from chalicelib.web.identity import METRICS, OPERATE, scope_is_missing, unauthorized
from chalicelib.web.problems import RequestError, invalid, refusal_of, unknown_order
from chalicelib.web.signatures import LONGEST_ID, TOLERANCE_SECONDS

JSON = "application/json"


class Guard(Enum):
    """What a caller must show."""

    NOTHING = "nothing"
    TOKEN = "token"  # noqa: S105 - no password
    OPERATOR = "token with the scope " + OPERATE
    METRICS = "token with the scope " + METRICS

    @property
    def by_token(self) -> bool:
        """Whether API Gateway asks for a token before it calls the engine."""
        return self in (Guard.TOKEN, Guard.OPERATOR, Guard.METRICS)

    SIGNATURE = "signature"


@dataclass(frozen=True, kw_only=True)
class Tag:
    name: str
    about: str


ORDERS = Tag(name="Orders", about="Placing, following and cancelling orders.")
MARKET = Tag(name="Market", about="What the venues would give, and what they announce.")
STREAMING = Tag(name="Streaming", about="What opens a WebSocket; what is said on one is in docs/asyncapi.yaml.")
OPERATIONS = Tag(name="Operations", about="For who keeps the engine running.")
TAGS = (ORDERS, MARKET, STREAMING, OPERATIONS)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What goes beside the body: in the ``path``, the ``query`` or a ``header``."""

    place: str
    field: Field[Any]
    example: Any = None


@dataclass(frozen=True, kw_only=True)
class Body:
    """A JSON object that is sent; the schema is asked of the components."""

    schema: Callable[[Components], Schema]
    examples: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Success:
    """What a call answers when all is well: a type that is written as JSON, or text of other media types."""

    about: str
    kind: Any
    examples: Mapping[str, Any] = field(default_factory=dict)
    media_types: Sequence[str] = (JSON,)
    status: HTTPStatus = HTTPStatus.OK
    leads_to: Mapping[str, "Link"] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Link:
    """Another call that can be made with what was answered."""

    operation: str
    about: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A call. ``also_at`` are other paths that do the same, each with the id it has there."""

    id: str
    method: str
    path: str
    also_at: Mapping[str, str] = field(default_factory=dict)
    tag: Tag
    summary: str
    about: str
    guard: Guard
    parameters: Sequence[Parameter] = ()
    body: Body | None = None
    answers: Sequence[Success]
    refusals: Mapping[str, RequestError] = field(default_factory=dict)
    """What it may be refused for besides what follows from its guard and its body, each by a name."""

    @property
    def all_refusals(self) -> dict[str, RequestError]:
        """Every refusal, by a name."""
        # What tells of the engine as it is does so without any part of it.
        down = {} if self.guard in (Guard.NOTHING, Guard.METRICS) else {"aPartIsDown": DOWN}
        return {**_GUARD_REFUSALS[self.guard], **(_BODY_REFUSALS if self.body else {}), **self.refusals, **down}


def _told(error: Exception) -> RequestError:
    refused = refusal_of(error)
    assert refused is not None  # noqa: S101 - for mypy: only errors that clients are told of are asked about
    return refused


DOWN = _told(ResourceUnavailable("Postgres", ""))
_NO_TOKEN = {"noToken": unauthorized("A token is needed: send it as Authorization: Bearer <token>.")}
_GUARD_REFUSALS: Mapping[Guard, Mapping[str, RequestError]] = {
    Guard.NOTHING: {},
    Guard.TOKEN: _NO_TOKEN,
    Guard.OPERATOR: {
        **_NO_TOKEN,
        "noOperator": scope_is_missing(OPERATE),
    },
    Guard.METRICS: {**_NO_TOKEN, "mayNotRead": scope_is_missing(METRICS)},
    Guard.SIGNATURE: {
        "wrongSignature": RequestError(
            HTTPStatus.UNAUTHORIZED,
            "The launch is not signed as it should be: webhook-signature does not fit the message and the secret.",
        )
    },
}
_BODY_REFUSALS = {
    "noObject": RequestError(HTTPStatus.BAD_REQUEST, "The body is not a JSON object."),
    "tooLarge": RequestError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has 20000 bytes; at most {LARGEST_BODY} are allowed."
    ),
    "notJson": RequestError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "Unsupported media type: text/plain. Send JSON, with the header Content-Type: application/json.",
    ),
}
_BAD_ID = {"badId": invalid({"orderId": "'7' is not an order id; expected is a UUID"})}
_UNKNOWN_ORDER = {**_BAD_ID, "unknownOrder": unknown_order(examples.ORDER_ID)}

_ORDER_ID = Parameter(place="path", field=requests.ORDER_OF_PATH, example=examples.ORDER_ID)
_FOLLOW_ORDER = {
    "order": Link(operation="getOrder", about="The order.", parameters={"orderId": "$response.body#/orderId"}),
    "events": Link(operation="getOrderEvents", about="Its history.", parameters={"orderId": "$response.body#/orderId"}),
    "cancel": Link(operation="cancelOrder", about="Takes it back.", parameters={"orderId": "$response.body#/orderId"}),
}


def _in_query(*table: Field[Any], **given: Any) -> list[Parameter]:
    return [Parameter(place="query", field=known, example=given.get(known.name)) for known in table]


def _header(name: str, about: str, **schema: Any) -> Parameter:
    return Parameter(place="header", field=Field(name=name, kind=Kind(str, {"type": "string", **schema}), about=about))


_SIGNED = (
    _header(
        "webhook-id",
        "Names the delivery: each is taken once. Without a point.",
        minLength=1,
        maxLength=LONGEST_ID,
        pattern="^[!-\\-/-~]+$",
    ),
    _header(
        "webhook-timestamp",
        f"When it was signed, in Unix seconds; at most {TOLERANCE_SECONDS} s from now.",
        pattern="^[0-9]{1,12}$",
    ),
    _header(
        "webhook-signature",
        "`v1,` and the base64 of the HMAC-SHA256 of `id.timestamp.body`; several, with spaces, while a secret is being "
        "replaced.",
        minLength=1,
    ),
)
"""The headers of a signed message (Standard Webhooks)."""


OPERATIONS_SERVED: Sequence[Operation] = (
    Operation(
        id="placeOrder",
        method="post",
        path="/api/orders",
        also_at={"/api/orders/execute": "executeOrder"},
        tag=ORDERS,
        summary="Place an order",
        about="The answer comes when the order is stored; from then on it is executed, or waits, whatever happens. "
        "With a key (`clientOrderId` or `Idempotency-Key`) it may be sent again when an answer was lost.",
        guard=Guard.TOKEN,
        parameters=[Parameter(place="header", field=requests.IDEMPOTENCY_KEY)],
        body=Body(
            schema=lambda components: components.order(),
            examples={
                **{order_type.value: order for order_type, order in examples.ORDERS.items()},
                "secondSpellings": examples.SECOND_SPELLINGS,
            },
        ),
        answers=[
            Success(
                about="The order is stored.",
                kind=AcceptedOrder,
                examples={"accepted": examples.ACCEPTED},
                leads_to=_FOLLOW_ORDER,
            )
        ],
        refusals={
            "badFields": invalid(
                {
                    "amount": "0 is not allowed; an amount is greater than 0",
                    "limitPrice": "is required for a limit order",
                }
            ),
            "anotherUser": RequestError(
                HTTPStatus.FORBIDDEN,
                "An order may be placed for oneself only: see userId.",
                errors={"userId": "'u2' is not the user of the token; leave it out, or send that user"},
            ),
            "keyOfAnotherOrder": _told(IdempotencyConflict(f"'key-1' was used for another order: {examples.ORDER_ID}")),
            "tooManyOrders": _told(TooManyOrders(1.0)),
        },
    ),
    Operation(
        id="listOrders",
        method="get",
        path="/api/orders",
        tag=ORDERS,
        summary="List orders",
        about="The caller's orders, newest first, page by page: `nextCursor` is the `cursor` of the next page.",
        guard=Guard.TOKEN,
        parameters=_in_query(*requests.PAGE),
        answers=[
            Success(
                about="A page of orders.",
                kind=OrderPage,
                examples={"page": examples.ORDER_PAGE, "lastPage": {"orders": [], "nextCursor": None}},
                leads_to={
                    "nextPage": Link(
                        operation="listOrders",
                        about="The next page, unless this is the last one.",
                        parameters={"cursor": "$response.body#/nextCursor"},
                    ),
                },
            )
        ],
        refusals={
            "badQuery": invalid({"limit": "101 is not allowed; expected is a whole number from 1 to 100"}),
        },
    ),
    Operation(
        id="getOrder",
        method="get",
        path="/api/orders/{orderId}",
        also_at={"/orders/{orderId}": "getOrderByShortPath"},
        tag=ORDERS,
        summary="Read an order",
        about="One's own order. Somebody else's looks like one that does not exist.",
        guard=Guard.TOKEN,
        parameters=[_ORDER_ID],
        answers=[
            Success(
                about="The order.",
                kind=Order,
                examples={"confirmed": examples.CONFIRMED, "waiting": examples.WAITING},
            )
        ],
        refusals=_UNKNOWN_ORDER,
    ),
    Operation(
        id="cancelOrder",
        method="delete",
        path="/api/orders/{orderId}",
        also_at={"/orders/{orderId}": "cancelOrderByShortPath"},
        tag=ORDERS,
        summary="Cancel an order",
        about="Cancels what has not been submitted. To cancel an order again changes nothing.",
        guard=Guard.TOKEN,
        parameters=[_ORDER_ID],
        answers=[Success(about="The cancelled order.", kind=Order, examples={"cancelled": examples.CANCELLED})],
        refusals={
            **_UNKNOWN_ORDER,
            "tooLate": _told(NotCancellable(f"Order {examples.ORDER_ID} has ended: it is confirmed.")),
        },
    ),
    Operation(
        id="getOrderEvents",
        method="get",
        path="/api/orders/{orderId}/events",
        tag=ORDERS,
        summary="Read an order's history",
        about="Everything that has happened to it, oldest first: what its WebSocket has streamed.",
        guard=Guard.TOKEN,
        parameters=[_ORDER_ID],
        answers=[
            Success(
                about="The history.",
                kind=OrderHistory,
                examples={"confirmed": examples.ORDER_HISTORY},
            )
        ],
        refusals=_UNKNOWN_ORDER,
    ),
    Operation(
        id="getQuotes",
        method="get",
        path="/api/quotes",
        tag=MARKET,
        summary="Quote a trade",
        about="Asks all venues what they would give now, and says which the router would choose.",
        guard=Guard.TOKEN,
        parameters=_in_query(*requests.TRADE, **examples.TRADE),
        answers=[Success(about="The quotes.", kind=Quotes, examples={"quoted": examples.QUOTED})],
        refusals={
            "badQuery": invalid({"amount": "is required"}),
            "impossible": _told(SwapRefused("raydium: has no pool for WIF/USDC")),
            "noVenueAnswers": _told(VenueUnavailable("raydium: did not answer; meteora: did not answer")),
        },
    ),
    Operation(
        id="announceLaunch",
        method="post",
        path="/api/launches",
        tag=MARKET,
        summary="Announce a launch",
        about="A webhook, signed after the Standard Webhooks specification: a pool went live, so snipers that wait for "
        "its token are looked at again.",
        guard=Guard.SIGNATURE,
        parameters=_SIGNED,
        body=Body(schema=lambda components: components.launch(), examples={"launch": examples.LAUNCH}),
        answers=[Success(about="The launch was taken.", kind=LaunchTaken, examples={"taken": examples.LAUNCH_TAKEN})],
        refusals={
            "badFields": invalid({"tokenIn": "'DOGE' is not a known token; known are SOL, USDC, USDT"}),
            "takenBefore": _told(DeliveryRepeated("the delivery msg-1 was taken before")),
            "otherTokens": _told(LaunchConflict("pool p1 is known for WIF/USDC on raydium")),
            "noSecret": RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE, "Launches are not taken: LAUNCH_WEBHOOK_SECRET is not set."
            ),
        },
    ),
    Operation(
        id="issueStreamTicket",
        method="post",
        path="/api/stream/tickets",
        tag=STREAMING,
        summary="Get a ticket for a WebSocket",
        about="For one connection, within a minute, so that no token stands in a URL. An engine that is open to all "
        "needs none.",
        guard=Guard.TOKEN,
        answers=[Success(about="The ticket.", kind=StreamTicket, examples={"ticket": examples.TICKET})],
        refusals={
            "notNeeded": RequestError(
                HTTPStatus.CONFLICT, "No ticket is needed: this engine is open to all (AUTH_MODE=open)."
            )
        },
    ),
    Operation(
        id="listDeadLetters",
        method="get",
        path="/api/dead-letters",
        tag=OPERATIONS,
        summary="List dead letters",
        about="The messages that could not be processed, oldest first.",
        guard=Guard.OPERATOR,
        answers=[
            Success(
                about="The dead letters.",
                kind=DeadLetterList,
                examples={"some": examples.DEAD_LETTERS, "none": {"deadLetters": []}},
                leads_to={
                    "redrive": Link(
                        operation="redriveDeadLetters",
                        about="Put the oldest back.",
                        body={"messageIds": ["{$response.body#/deadLetters/0/messageId}"]},
                    )
                },
            )
        ],
    ),
    Operation(
        id="redriveDeadLetters",
        method="post",
        path="/api/dead-letters/redrive",
        tag=OPERATIONS,
        summary="Redrive dead letters",
        about="Puts messages back on their queues. An order that had failed gets all its tries anew, unless one of its "
        "swaps landed or still may.",
        guard=Guard.OPERATOR,
        body=Body(
            schema=lambda components: components.request("RedriveRequest", [requests.MESSAGE_IDS]),
            examples={"one": examples.REDRIVE},
        ),
        answers=[
            Success(about="What was put back.", kind=DeadLetterList, examples={"redriven": examples.DEAD_LETTERS})
        ],
        refusals={"badFields": invalid({"messageIds": "[] is not allowed; expected is a list of 1 to 100"})},
    ),
    Operation(
        id="getStatistics",
        method="get",
        path="/api/statistics",
        tag=OPERATIONS,
        summary="Ask how busy the engine is",
        about="Of all users' orders together: rates over the last minute, success over the last five, and how full the "
        "engine is. A few seconds old at most.",
        guard=Guard.TOKEN,
        answers=[Success(about="The numbers.", kind=Statistics, examples={"busy": examples.STATISTICS})],
    ),
    Operation(
        id="getMetrics",
        method="get",
        path="/metrics",
        tag=OPERATIONS,
        summary="Read the metrics",
        about="In Prometheus' text format, or in OpenMetrics for who asks for that in `Accept`. A part that is down is "
        "told of by `oee_up`.",
        guard=Guard.METRICS,
        answers=[
            Success(
                about="The metrics.",
                kind=str,
                media_types=("text/plain", "application/openmetrics-text"),
                examples={"some": examples.METRICS},
            )
        ],
    ),
    Operation(
        id="getHealth",
        method="get",
        path="/health",
        tag=OPERATIONS,
        summary="Ask whether the engine is well",
        about="Without Postgres no order is taken: 503. Without another part the engine goes on, degraded.",
        guard=Guard.NOTHING,
        answers=[
            Success(about="Orders are taken.", kind=Health, examples={"well": examples.HEALTHY}),
            Success(
                about="No orders are taken.",
                kind=Health,
                examples={"down": examples.UNHEALTHY},
                status=HTTPStatus.SERVICE_UNAVAILABLE,
            ),
        ],
    ),
    Operation(
        id="getContract",
        method="get",
        path="/openapi.json",
        tag=OPERATIONS,
        summary="Read this contract",
        about="In OpenAPI 3.1, as this engine is set up: whether it asks for tokens, and which venues it has.",
        guard=Guard.NOTHING,
        answers=[Success(about="This document.", kind=dict[str, Any])],
    ),
)

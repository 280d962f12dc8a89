"""The WebSocket in AsyncAPI 3.0: ``docs/asyncapi.yaml``, which ``make contract`` writes.

It stands here beside what is served, because both are made of the same schemas; no call asks for it.
"""

from collections.abc import Collection, Mapping
from typing import Any

from chalicelib.streaming.tickets import TICKET_SECONDS
from chalicelib.streaming.viewers import MOST_ORDERS
from chalicelib.web import requests
from chalicelib.web.contract import examples
from chalicelib.web.contract.openapi import TITLE, VERSION
from chalicelib.web.contract.schemas import DETAILS, Components, event_name, parameter_schema
from chalicelib.web.contract.wording import WORDING
from chalicelib.web.fields import LARGEST_BODY, Field, Kind, Schema
from chalicelib.web.problems import Problem, invalid, unknown_order
from chalicelib.web.sockets import MESSAGES_AT_ONCE, MESSAGES_PER_MINUTE

_CHANNEL = "stream"
_ABOUT = f"""
Streams every step of orders: from the first one, however late one comes, or after `afterSeq`.

- Opened with `?orderId=…`, a connection streams that order and is closed after its last event. One that is opened
  without stays open: it takes messages, and streams the orders that it has placed or subscribed to.
- Where the engine asks for tokens (`AUTH_MODE=jwt`), a connection is opened with `?ticket=…`, which
  `POST /api/stream/tickets` gives: for one connection, within {TICKET_SECONDS} seconds. It acts for the ticket's user
  as long as their token was valid.
- A message that cannot be served is answered with an `error`, and the connection stays open. Only one opened for an
  order that does not exist, or with a bad `afterSeq`, is told so and closed.
- **Limits**: {LARGEST_BODY // 1024} KB a message; {MESSAGES_PER_MINUTE // 60} messages a second, {MESSAGES_AT_ONCE} at
  once; {MOST_ORDERS} orders a connection. API Gateway closes a connection after two hours, or ten minutes of silence:
  send a `ping`, and open another one with the `afterSeq` of the last event.
- An event may come twice, if a process dies just then: compare `seq`.
"""
_TICKET = Field(
    name="ticket",
    kind=Kind(str, {"type": "string"}),
    about="What `POST /api/stream/tickets` gave; not needed where the engine is open to all.",
    default=None,
)
_AFTER_SEQ = requests.AFTER_SEQ
_ORDER_ID = requests.ORDER_OF_PATH


def asyncapi(*, open_to_all: bool, venues: Collection[str]) -> dict[str, Any]:
    """Return the document for an engine that asks for tokens or is ``open_to_all``, and swaps on ``venues``."""
    components = Components(venues, open_to_all=open_to_all)
    sent, received = _sent(components, open_to_all=open_to_all), _received(components)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": f"{TITLE}: the stream", "version": VERSION, "description": _ABOUT.strip()},
        "defaultContentType": "application/json",
        "servers": {
            "engine": {
                "host": "{host}",
                "protocol": "wss",
                "pathname": "/ws",
                "description": "What `webSocketUrl` of an accepted order says.",
                "variables": {"host": {"default": "engine.example.com"}},
            },
            "laptop": {"host": "localhost:3000", "protocol": "ws", "pathname": "/ws", "description": "`make run`."},
        },
        "channels": {
            _CHANNEL: {
                "address": "/",
                "title": "The connection",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in {**sent, **received}},
                "bindings": {"ws": {"method": "GET", "query": _query(), "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            "send": _operation("receive", "What a client may send.", sent),
            "hear": _operation("send", "What a client hears.", received),
        },
        "components": {"messages": {**sent, **received}, "schemas": components.schemas},
    }


def _query() -> Schema:
    return {
        "type": "object",
        "properties": {
            field.name: {**parameter_schema(field), "description": about}
            for field, about in (
                (_ORDER_ID, "The order to stream; left out, the connection waits for messages."),
                (_AFTER_SEQ, _AFTER_SEQ.about),
                (_TICKET, _TICKET.about),
            )
        },
    }


def _operation(action: str, summary: str, messages: Mapping[str, Any]) -> dict[str, Any]:
    """Describe what the engine does: it receives what clients send."""
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{_CHANNEL}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{_CHANNEL}/messages/{name}"} for name in messages],
    }


def _sent(components: Components, *, open_to_all: bool) -> dict[str, Any]:
    """Return what a client may send, by the name of the message."""
    order_id = {"orderId": examples.ORDER_ID}
    orders = {
        order_type.value: {field: value for field, value in order.items() if open_to_all or field != "userId"}
        for order_type, order in examples.ORDERS.items()
    }
    return {
        "execute": _message(
            "Place an order and stream it on this connection; its first event is the acknowledgement.",
            components.order(action={"const": "execute", "description": "Place this order."}),
            {name: {"action": "execute", **order} for name, order in orders.items()},
        ),
        "subscribe": _message(
            "Stream an order on this connection, from its first event or after `afterSeq`.",
            _action(components, "subscribe", _ORDER_ID, _AFTER_SEQ),
            {
                "fromTheBeginning": {"action": "subscribe", **order_id},
                "resumed": {"action": "subscribe", **order_id, "afterSeq": 3},
            },
        ),
        "unsubscribe": _message(
            "Hear nothing more of an order.",
            _action(components, "unsubscribe", _ORDER_ID),
            {"unsubscribe": {"action": "unsubscribe", **order_id}},
        ),
        "ping": _message(
            "Ask for a `pong`, which keeps the connection open.",
            _action(components, "ping"),
            {"ping": {"action": "ping"}},
        ),
    }


def _received(components: Components) -> dict[str, Any]:
    """Return what a client hears, by the name of the message."""
    heard = {
        event: _message(
            WORDING[event_name(event)],
            components.event(event),
            {name: told for name, told in examples.EVENTS.items() if told.event == event},
        )
        for event in DETAILS
    }
    refusals = {
        "badField": invalid({"action": "'buy' is not allowed; expected is execute or subscribe"}),
        "unknownOrder": unknown_order(examples.ORDER_ID),
    }
    return {
        **heard,
        "error": _message(
            "What a client sent cannot be served; or what it opened the connection for.",
            _told(components, "error", error=components.of(Problem)),
            {name: {"event": "error", "error": refused.problem} for name, refused in refusals.items()},
        ),
        "pong": _message("The answer to a `ping`.", _told(components, "pong"), {"pong": {"event": "pong"}}),
        "unsubscribed": _message(
            "The answer to an `unsubscribe`; nothing more of that order follows.",
            _told(components, "unsubscribed", orderId=_ORDER_ID.kind.schema),
            {"unsubscribed": {"event": "unsubscribed", "orderId": examples.ORDER_ID}},
        ),
    }


def _action(components: Components, action: str, *table: Field[Any]) -> Schema:
    named = Field(name="action", kind=Kind(str, {"const": action}), about="What is to be done.")
    return components.request(f"{action.capitalize()}Message", [named, *table])


def _told(components: Components, event: str, **holds: Schema) -> Schema:
    properties = {"event": {"const": event}, **holds}
    return components.named(
        f"{event.capitalize()}Message",
        lambda: {"type": "object", "properties": properties, "required": list(properties)},
    )


def _message(summary: str, payload: Schema, sent: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "payload": payload,
        "examples": [{"name": name, "payload": examples.written(value)} for name, value in sent.items()],
    }

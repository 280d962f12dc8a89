"""The REST API as a Postman collection (v2.1), made from the contract: every call, and a run through all of them.

Run from the top, it places an order of each type, follows one, and cancels those that wait; each call remembers what
the next ones need. The answers of the contract are its saved examples. The format has no WebSocket requests, so of
the stream it has the address.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple

from chalicelib.exact_json import encode_json

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
VARIABLES = {
    "baseUrl": ("http://localhost:3000", "Where the engine is, with its stage if it has one."),
    "webSocketUrl": ("ws://localhost:3000/ws", "Its stream: a new WebSocket request with ?orderId={{orderId}}."),
    "token": ("", "An access token, where the engine asks for one."),
    "userId": ("u1", "Whose orders are placed; with a token, the token's subject."),
    "launchSecret": ("local-launches", "What signs launches: LAUNCH_WEBHOOK_SECRET."),
    "orderId": ("", "The order that was placed last; filled in by the calls that place one."),
    "messageId": ("none", "A dead letter to redrive; filled in by the call that lists them."),
}
_ABOUT = """
Every call of the Order Execution Engine. Set `baseUrl`, and `token` where the engine asks for one; then send single
calls, or run the collection from the top.

The stream is a WebSocket, which this format has no requests for: make one for `{{webSocketUrl}}?orderId={{orderId}}`
(with `&ticket=…` from “Get a ticket for a WebSocket” where the engine asks for tokens). What is said on it is in
docs/asyncapi.yaml.
"""
_SIGN = """
// After the Standard Webhooks specification: HMAC-SHA256 of "id.timestamp.body".
const crypto = require("crypto-js");
const id = pm.variables.replaceIn("{{$guid}}");
const timestamp = String(Math.floor(Date.now() / 1000));
const secret = pm.variables.get("launchSecret");
const key = secret.startsWith("whsec_")
    ? crypto.enc.Base64.parse(secret.slice("whsec_".length))
    : crypto.enc.Utf8.parse(secret);
const body = pm.variables.replaceIn(pm.request.body.raw);
const signature = crypto.enc.Base64.stringify(crypto.HmacSHA256(`${id}.${timestamp}.${body}`, key));
pm.variables.set("webhook-id", id);
pm.variables.set("webhook-timestamp", timestamp);
pm.variables.set("webhook-signature", `v1,${signature}`);
"""
_TOMORROW = 'pm.variables.set("tomorrow", new Date(Date.now() + 24 * 60 * 60 * 1000).toISOString());'
_REMEMBER_ORDER = """
pm.test("an order was accepted", () => {
    const accepted = pm.response.json();
    pm.expect(accepted.orderId).to.match(/^[0-9a-f-]{36}$/);
    pm.expect(accepted.webSocketUrl).to.include(accepted.orderId);
    pm.collectionVariables.set("orderId", accepted.orderId);
});
"""
_IS_THE_ORDER = """
pm.test("it is the order that was placed", () => {
    pm.expect(pm.response.json().orderId).to.eql(pm.collectionVariables.get("orderId"));
});
"""
_IS_CANCELLED = """
pm.test("it is cancelled", () => {
    pm.expect(pm.response.json().orderId).to.eql(pm.collectionVariables.get("orderId"));
    pm.expect(pm.response.json().status).to.eql("cancelled");
});
"""
_HAS_A_HISTORY = """
pm.test("its history begins with its first event", () => {
    pm.expect(pm.response.json().events[0].seq).to.eql(1);
});
"""
_IS_LISTED = """
pm.test("it is listed", () => {
    const listed = pm.response.json().orders.map((order) => order.orderId);
    pm.expect(listed).to.include(pm.collectionVariables.get("orderId"));
});
"""
_HAS_A_CHOICE = """
pm.test("one of the quotes is chosen", () => {
    pm.expect(pm.response.json().quotes).to.have.property(pm.response.json().chosen);
});
"""
_REMEMBER_MESSAGE = """
if (pm.response.code === 200 && pm.response.json().deadLetters.length) {
    pm.collectionVariables.set("messageId", pm.response.json().deadLetters[0].messageId);
}
"""


_OF_THE_USER = {"userId": "{{userId}}"}


class Call(NamedTuple):
    """A call of the collection: an operation of the contract, with one of its examples."""

    operation: str
    name: str = ""
    example: str = ""
    changes: Mapping[str, Any] = {}
    before: str = ""
    test: str = ""
    statuses: Sequence[int] = (200,)


CALLS = (
    Call("getHealth"),
    Call("getContract"),
    Call("getQuotes", test=_HAS_A_CHOICE),
    Call("placeOrder", "Place a market order", "market", _OF_THE_USER, test=_REMEMBER_ORDER),
    Call("getOrder", test=_IS_THE_ORDER),
    Call("getOrderByShortPath", "Read it by its short path", test=_IS_THE_ORDER),
    Call("getOrderEvents", test=_HAS_A_HISTORY),
    Call("listOrders", test=_IS_LISTED),
    Call("executeOrder", "Place a limit order", "limit", _OF_THE_USER, test=_REMEMBER_ORDER),
    Call("cancelOrder", test=_IS_CANCELLED),
    Call(
        "placeOrder",
        "Place a limit order, good till tomorrow",
        "limit",
        changes={**_OF_THE_USER, "timeInForce": "GTD", "expiresAt": "{{tomorrow}}"},
        before=_TOMORROW,
        test=_REMEMBER_ORDER,
    ),
    Call("cancelOrderByShortPath", "Cancel it by its short path", test=_IS_CANCELLED),
    Call("placeOrder", "Place a stop order", "stop", _OF_THE_USER, test=_REMEMBER_ORDER),
    Call("cancelOrder", "Cancel the stop order", test=_IS_CANCELLED),
    Call("placeOrder", "Place a sniper order", "sniper", _OF_THE_USER, test=_REMEMBER_ORDER),
    Call("announceLaunch", before=_SIGN),
    Call("cancelOrder", "Cancel the sniper order", test=_IS_CANCELLED),
    Call("placeOrder", "Place an order by the second spellings", "secondSpellings", _OF_THE_USER, test=_REMEMBER_ORDER),
    Call("cancelOrder", "Cancel it as well", test=_IS_CANCELLED),
    Call("getStatistics"),
    Call("getMetrics", statuses=(200, 403)),
    Call("issueStreamTicket", statuses=(200, 409)),
    Call("listDeadLetters", test=_REMEMBER_MESSAGE, statuses=(200, 403)),
    Call("redriveDeadLetters", changes={"messageIds": ["{{messageId}}"]}, statuses=(200, 403)),
)


@dataclass(frozen=True, kw_only=True)
class _Operation:
    method: str
    path: str
    described: Mapping[str, Any]


def collection(contract: Mapping[str, Any], calls: Sequence[Call] = CALLS) -> dict[str, Any]:
    """Return the collection of the contract of an engine that asks for tokens."""
    operations = {
        described["operationId"]: _Operation(method=method.upper(), path=path, described=described)
        for path, methods in contract["paths"].items()
        for method, described in methods.items()
    }
    return {
        "info": {
            "name": contract["info"]["title"],
            "description": _ABOUT.strip(),
            "version": contract["info"]["version"],
            "schema": SCHEMA,
        },
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{token}}", "type": "string"}]},
        "variable": [
            {"key": name, "value": value, "type": "string", "description": about}
            for name, (value, about) in VARIABLES.items()
        ],
        "item": [_item(call, operations[call.operation]) for call in calls],
    }


def _item(call: Call, operation: _Operation) -> dict[str, Any]:
    request = _request(call, operation)
    scripts = {"prerequest": call.before, "test": _test_of(call)}
    return {
        "name": call.name or operation.described["summary"],
        "event": [
            {"listen": when, "script": {"type": "text/javascript", "exec": script.strip().split("\n")}}
            for when, script in scripts.items()
            if script
        ],
        "request": {**request, "description": operation.described["description"]},
        "response": _saved_answers(operation, request),
    }


def _test_of(call: Call) -> str:
    """Return the script that checks an answer: its status first, then what this call is to show."""
    expected = " or ".join(map(str, call.statuses))
    statuses = ", ".join(map(str, call.statuses))
    checked = f'pm.test("the answer is {expected}", () => pm.expect(pm.response.code).to.be.oneOf([{statuses}]));\n'
    return checked + call.test


def _request(call: Call, operation: _Operation) -> dict[str, Any]:
    parameters = operation.described.get("parameters", [])
    headers = [
        {"key": parameter["name"], "value": _variable(parameter["name"]), "description": parameter["description"]}
        for parameter in parameters
        if parameter["in"] == "header" and parameter["required"]
    ]
    request: dict[str, Any] = {"method": operation.method, "header": headers, "url": _url(operation.path, parameters)}
    if body := operation.described.get("requestBody"):
        request["header"] = [{"key": "Content-Type", "value": "application/json"}, *headers]
        request["body"] = {
            "mode": "raw",
            "raw": _body(call, body["content"]["application/json"]["examples"]),
            "options": {"raw": {"language": "json"}},
        }
    if "Idempotency-Key" in {parameter["name"] for parameter in parameters}:
        request["header"].append({"key": "Idempotency-Key", "value": "{{$guid}}"})
    if not any("bearerAuth" in requirement for requirement in operation.described["security"]):
        request["auth"] = {"type": "noauth"}
    return request


def _body(call: Call, examples: Mapping[str, Any]) -> str:
    example = examples[call.example] if call.example else next(iter(examples.values()))
    return _written({**example["value"], **call.changes})


def _url(path: str, parameters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    steps = [f":{step[1:-1]}" if step.startswith("{") else step for step in path.strip("/").split("/")]
    query = [
        {
            "key": parameter["name"],
            "value": str(parameter.get("example", "")),
            "description": parameter["description"],
            "disabled": "example" not in parameter,
        }
        for parameter in parameters
        if parameter["in"] == "query"
    ]
    sent = "&".join(f"{parameter['key']}={parameter['value']}" for parameter in query if not parameter["disabled"])
    return {
        "raw": "{{baseUrl}}/" + "/".join(steps) + (f"?{sent}" if sent else ""),
        "host": ["{{baseUrl}}"],
        "path": steps,
        **({"query": query} if query else {}),
        **(
            {"variable": [{"key": "orderId", "value": "{{orderId}}", "description": "The order that was placed last."}]}
            if ":orderId" in steps
            else {}
        ),
    }


def _variable(name: str) -> str:
    return "{{" + name + "}}"


def _saved_answers(operation: _Operation, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{status} {name}",
            "originalRequest": request,
            "code": int(status),
            "status": HTTPStatus(int(status)).phrase,
            "header": [{"key": "Content-Type", "value": media_type}],
            "body": _written(example["value"]) if media_type.endswith("json") else example["value"],
            "_postman_previewlanguage": "json" if media_type.endswith("json") else "text",
        }
        for status, answer in operation.described["responses"].items()
        for media_type, content in answer["content"].items()
        for name, example in content.get("examples", {}).items()
    ]


def _written(value: object) -> str:
    return json.dumps(json.loads(encode_json(value)), indent=2, ensure_ascii=False)

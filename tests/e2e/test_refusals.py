"""What must not pass: each is answered with a clear problem, and leaves nothing behind."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.builders import UNKNOWN_ORDER
from tests.e2e.client import MARKET_ORDER, Answer, Client

TELLTALES = ("psycopg", "postgres", "select", "constraint", "traceback", "redis", "line 1")
"""Words that would show a caller what the engine is made of."""

# Values as JSON text, since some of them cannot be written from Python values; with the field that is named.
BAD_FIELDS = {
    "list for an amount": ("amount", "[1]"),
    "object for an amount": ("amount", "{}"),
    "true for an amount": ("amount", "true"),
    "word for an amount": ("amount", '"abc"'),
    "NaN in a string": ("amount", '"NaN"'),
    "infinity in a string": ("amount", '"Infinity"'),
    "1e400": ("amount", "1e400"),
    "1e400 in a string": ("amount", '"1e400"'),
    "1e30": ("amount", "1e30"),
    "1e-30": ("amount", "1e-30"),
    "1e-999999999": ("amount", "1e-999999999"),
    "negative": ("amount", "-1"),
    "zero": ("amount", "0"),
    "minus zero": ("amount", "-0.0"),
    "more digits than the token has": ("amount", "0.1234567891"),
    "more digits than any number has": ("amount", "1." + "1" * 5000),
    "integer of 5,000 digits": ("amount", "1" * 5000),
    "no amount": ("amount", "null"),
    "same token twice": ("tokenOut", '"SOL"'),
    "unknown token": ("tokenIn", '"DOGE"'),
    "token in lower case": ("tokenIn", '"sol"'),
    "token that is a number": ("tokenIn", "1"),
    "token of 10,000 characters": ("tokenIn", json.dumps("S" * 10_000)),
    "NUL in a token": ("tokenIn", '"SOL\\u0000"'),
    "NUL in the user": ("userId", '"u\\u00001"'),
    "control character in the user": ("userId", '"u\\u001b[2J"'),
    "empty user": ("userId", '""'),
    "unknown order type": ("orderType", '"margin"'),
    "unknown side": ("side", '"hold"'),
    "slippage above the limit": ("slippageTolerance", "0.9"),
    "negative slippage": ("slippageTolerance", "-0.1"),
    "unknown field": ("amuont", "1.5"),
    "both spellings of a field": ("amountIn", "1.5"),
    "NUL in the name of a field": ("\\u0000", "1"),
}
BAD_BODIES = {
    "empty": b"",
    "no JSON": b"{",
    "trailing comma": b'{"userId":"u1",}',
    "list": b"[1]",
    "true": b"true",
    "string": b'"abc"',
    "number": b"1",
    "null": b"null",
    "NaN": json.dumps(MARKET_ORDER | {"amount": float("nan")}).encode(),
    "raw NUL": b"\0",
    "no UTF-8": b'{"userId":"\xff"}',
    "half a character": b'{"userId":"\\ud800"}',
}
# Over HTTP only: the emulated gateway reads WebSocket messages itself, and does not survive this one.
BAD_HTTP_BODIES = BAD_BODIES | {"deeply nested": b"[" * 10_000}


def order_json(field: str, value: str) -> str:
    """Write a market order with one field set to a value given as JSON."""
    fields = {name: json.dumps(default) for name, default in MARKET_ORDER.items()}
    return "{" + ",".join(f'"{name}":{text}' for name, text in (fields | {field: value}).items()) + "}"


def assert_problem(answer: Answer, *statuses: int) -> None:
    """Check that an error is one a client can act on, and that says nothing about the engine's inside."""
    assert answer.status in statuses, answer
    assert answer.content_type == "application/problem+json"
    assert answer.body["status"] == answer.status
    assert answer.body["title"]
    assert answer.body["detail"]
    assert not [word for word in TELLTALES if word in json.dumps(answer.body, default=str).lower()]


@pytest.fixture(autouse=True)
def nothing_is_stored(database: psycopg.Connection) -> Iterator[None]:
    def count() -> Any:
        return database.execute("SELECT count(*) FROM orders").fetchone()

    before = count()
    yield
    assert count() == before


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS.values(), ids=BAD_FIELDS)
def test_bad_field_is_named(client: Client, field: str, value: str) -> None:
    answer = client.request("POST", "/api/orders/execute", order_json(field, value))

    assert_problem(answer, 400)
    # An answer repeats no control character, only its escape.
    assert list(answer.body["errors"]) == [repr(json.loads(f'"{field}"'))[1:-1]]
    assert len(json.dumps(answer.body)) < 1000


@pytest.mark.parametrize("body", BAD_HTTP_BODIES.values(), ids=BAD_HTTP_BODIES)
def test_body_that_is_no_object_is_refused(client: Client, body: bytes) -> None:
    assert_problem(client.request("POST", "/api/orders/execute", body), 400)


def test_every_bad_field_is_named_at_once(client: Client) -> None:
    answer = client.post("/api/orders/execute", {"tokenIn": "DOGE", "amount": 0, "side": "hold", "amuont": 1})

    assert_problem(answer, 400)
    assert answer.body["errors"].keys() == {"userId", "orderType", "tokenIn", "tokenOut", "amount", "side", "amuont"}


@pytest.mark.parametrize("size", [1_000_000, 11_000_000])
def test_body_that_is_too_large_is_refused(client: Client, size: int) -> None:
    body = order_json("userId", json.dumps("u" * size))

    assert_problem(client.request("POST", "/api/orders/execute", body), 413)


@pytest.mark.parametrize("key", ["", "k" * 1000, "a\tb"], ids=["empty", "1,000 characters", "tabulator"])
def test_unusable_idempotency_key_is_refused(client: Client, key: str) -> None:
    assert_problem(client.post("/api/orders/execute", MARKET_ORDER, {"Idempotency-Key": key}), 400)


@pytest.mark.parametrize("path", ["/api/orders/{}", "/orders/{}", "/api/orders/{}/events"])
@pytest.mark.parametrize(
    ("order_id", "status"),
    [
        (UNKNOWN_ORDER, 404),
        ("x", 400),
        ("%00", 400),
        ("1%27%20OR%201%3D1", 400),
        ("%F0%9F%92%A9", 400),
        ("a" * 5000, 400),
    ],
    ids=["unknown", "no UUID", "NUL", "SQL", "emoji", "5,000 characters"],
)
def test_id_that_names_no_order_is_refused(client: Client, path: str, order_id: str, status: int) -> None:
    assert_problem(client.get(path.format(order_id)), status)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"status": "open"}, "status"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "\0"}, "cursor"),
        ({"page": 2}, "page"),
    ],
)
def test_list_that_cannot_be_made_names_what_is_wrong(client: Client, query: dict[str, Any], named: str) -> None:
    answer = client.get("/api/orders", **query)

    assert_problem(answer, 400)
    assert answer.body["errors"].keys() == {named}


@pytest.mark.parametrize(
    ("change", "named"),
    [({"amount": "1e400"}, "amount"), ({"tokenOut": "SOL"}, "tokenOut"), ({"amount": None}, "amount")],
)
def test_quote_that_cannot_be_given_names_what_is_wrong(client: Client, change: dict[str, Any], named: str) -> None:
    query = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1"} | change
    answer = client.get("/api/quotes", **{name: value for name, value in query.items() if value is not None})

    assert_problem(answer, 400)
    assert answer.body["errors"].keys() == {named}


@pytest.mark.parametrize("pair", [("SOL", "USDC"), ("BONK", "SOL")])
def test_quote_beyond_the_liquidity_is_refused(client: Client, pair: tuple[str, str]) -> None:
    answer = client.get("/api/quotes", tokenIn=pair[0], tokenOut=pair[1], amount="1000000000000", side="buy")

    assert_problem(answer, 422)


@pytest.mark.parametrize("path", ["/nowhere", "/console/0/main.js", "/api", "/api/orders/a/b", "/%00", "/ws/more"])
def test_path_that_is_not_served_is_not_found(client: Client, path: str) -> None:
    assert_problem(client.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/orders", "GET, POST"),
        ("POST", "/api/quotes", "GET"),
        ("DELETE", "/health", "GET"),
        ("POST", "/", "GET"),
        ("PATCH", f"/orders/{UNKNOWN_ORDER}", "DELETE, GET"),
    ],
)
def test_method_that_is_not_served_names_those_that_are(client: Client, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)

    assert_problem(answer, 405)
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_other_media_types_are_refused(client: Client, media_type: str) -> None:
    body = json.dumps(MARKET_ORDER)

    answer = client.request("POST", "/api/orders/execute", body, {"Content-Type": media_type})

    assert_problem(answer, 415)


def test_media_type_with_a_character_set_is_understood(client: Client) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}

    assert_problem(client.request("POST", "/api/orders/execute", order_json("amount", "0"), headers), 400)


def test_bad_messages_are_answered_and_leave_the_socket_open(client: Client) -> None:
    with client.socket() as socket:
        for field, value in BAD_FIELDS.values():
            message = order_json(field, value).replace("{", '{"action":"execute",', 1)
            answer = socket.ask(message)
            assert answer["event"] == "error"
            assert answer["error"]["status"] == 400
            assert len(answer["error"]["errors"]) == 1
        for body in BAD_BODIES.values():
            answer = socket.ask(body.decode("latin-1"))
            assert answer["event"] == "error"
            assert answer["error"]["status"] == 400

        assert socket.ask({"action": "ping"}) == {"event": "pong"}


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ({}, 400),
        ({"action": "cancel"}, 400),
        ({"action": 1}, 400),
        ({"action": "subscribe"}, 400),
        ({"action": "subscribe", "orderId": "x"}, 400),
        ({"action": "subscribe", "orderId": UNKNOWN_ORDER}, 404),
        ({"action": "subscribe", "orderId": UNKNOWN_ORDER, "afterSeq": -1}, 400),
        ({"action": "subscribe", "orderId": UNKNOWN_ORDER, "since": 1}, 400),
        ({"action": "unsubscribe", "orderId": UNKNOWN_ORDER}, 404),
        ({"action": "execute", "userId": "u" * 100_000}, 413),
    ],
)
def test_message_that_cannot_be_served_says_why(client: Client, message: dict[str, Any], status: int) -> None:
    with client.socket() as socket:
        answer = socket.ask(message)
        assert answer["event"] == "error"
        assert answer["error"]["status"] == status
        assert socket.ask({"action": "ping"}) == {"event": "pong"}


def test_bad_message_does_not_disturb_the_order_that_a_socket_watches(
    client: Client, confirmed: list[dict[str, Any]]
) -> None:
    with client.socket() as socket:
        socket.send("{")
        socket.send({"action": "subscribe", "orderId": confirmed[0]["orderId"]})
        assert socket.receive()["event"] == "error"
        assert socket.events_until_end() == confirmed

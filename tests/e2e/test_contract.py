"""The contract and the engine that runs: neither does what the other does not say.

That every answer and message in these tests keeps to the contract, ``tests/e2e/client.py`` checks. Here are calls that
nobody would think of, every message that there is, and the Postman collection. The same for an engine that asks for
tokens is in ``test_authentication.py``.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from jsonschema_rs import Draft7Validator, ValidationError

from chalicelib.exact_json import encode_json
from chalicelib.orders.events import Details
from chalicelib.web.contract.openapi import openapi
from tests.e2e.client import MARKET_ORDER, Client, Socket
from tests.e2e.contract.calls import findings
from tests.e2e.contract.keeping import VENUES, check_answer, check_message
from tests.e2e.npm.packages import Packages

DOCS = Path(__file__).parents[2] / "docs"
LIMIT = {"orderType": "limit", "limitPrice": 1}
ONLY_AN_OPERATOR_CAUSES = {"redriven"}


@pytest.fixture(scope="module", autouse=True)
def no_order_is_left_waiting(client: Client) -> Iterator[None]:
    yield
    client.cancel_what_waits()


def heard_until(socket: Socket, *ends: str) -> list[dict[str, Any]]:
    heard = [socket.receive()]
    while heard[-1]["event"] not in ends:
        heard.append(socket.receive())
    return heard


def test_the_contract_is_served_to_whoever_asks(client: Client) -> None:
    answer = client.get("/openapi.json")

    assert (answer.status, answer.content_type) == (200, "application/json")
    assert json.loads(json.dumps(answer.body, default=float)) == json.loads(
        encode_json(openapi(open_to_all=True, venues=VENUES))
    )


@pytest.mark.timeout(300)
def test_no_call_that_the_contract_allows_or_forbids_is_answered_as_it_does_not_say(
    client: Client, tmp_path: Path
) -> None:
    found = findings(client.url, tmp_path)

    assert not found, found


def test_every_event_that_there_is_comes_as_the_contract_says(
    client: Client, confirmed: list[dict[str, Any]], database: psycopg.Connection
) -> None:
    heard = list(confirmed)
    with client.socket() as socket:
        # No pool: refused for good.
        socket.send({"action": "execute", **MARKET_ORDER, "tokenIn": "WIF"})
        heard += heard_until(socket, "failed")
        # Waits, and is taken back.
        socket.send({"action": "execute", **MARKET_ORDER, **LIMIT, "side": "buy"})
        heard += heard_until(socket, "waiting")
        client.request("DELETE", f"/orders/{heard[-1]['orderId']}")
        heard += heard_until(socket, "cancelled")
        # A stop and a sniper wait in vain.
        soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
        until = {"timeInForce": "GTD", "expiresAt": soon}
        socket.send({"action": "execute", **MARKET_ORDER, "orderType": "stop", "triggerPrice": 1, **until})
        socket.send({"action": "execute", **MARKET_ORDER, "orderType": "sniper", "tokenIn": "WIF", **until})
        heard += heard_until(socket, "expired")
        heard += heard_until(socket, "expired")
        # Fails, and is tried again.
        database.execute("UPDATE simulated_faults SET quote_fails = 1")
        try:
            socket.send({"action": "execute", **MARKET_ORDER})
            heard += heard_until(socket, "retrying")
        finally:
            database.execute("UPDATE simulated_faults SET quote_fails = 0")
        heard += heard_until(socket, "confirmed")
        assert socket.ask({"action": "unsubscribe", "orderId": heard[0]["orderId"]})["event"] == "error"

    said = {details.event for details in Details.__subclasses__()}
    assert {event["event"] for event in heard} >= said - {"triggered"} - ONLY_AN_OPERATOR_CAUSES


@pytest.mark.parametrize(
    "message",
    [
        {"event": "confirmed"},
        {"event": "nothing"},
        {"event": "pong", "more": 1},
        {"event": "error", "error": {"title": "Bad Request"}},
    ],
)
def test_a_message_that_the_contract_does_not_know_would_be_noticed(message: dict[str, Any]) -> None:
    with pytest.raises((AssertionError, ValidationError)):
        check_message(json.dumps(message))


@pytest.mark.parametrize(
    ("status", "content_type", "content"),
    [
        (201, "application/json", {}),
        (200, "text/html", {}),
        (200, "application/json", {"status": "ok"}),
        (200, "application/json", {"status": "ok", "parts": {}, "more": 1}),
    ],
)
def test_an_answer_that_the_contract_does_not_know_would_be_noticed(
    status: int, content_type: str, content: dict[str, Any]
) -> None:
    with pytest.raises((AssertionError, ValidationError)):
        check_answer("GET", "/health", status, content_type, json.dumps(content).encode())


def test_the_stream_is_described_in_asyncapi_3(npm_packages: Packages) -> None:
    schema = json.loads((npm_packages.modules / "@asyncapi" / "specs" / "schemas" / "3.0.0.json").read_text())

    Draft7Validator(schema).validate(yaml.safe_load((DOCS / "asyncapi.yaml").read_text()))


@pytest.mark.timeout(180)
def test_the_postman_collection_runs_from_its_first_call_to_its_last(client: Client, npm_packages: Packages) -> None:
    variables = {"baseUrl": client.url, "webSocketUrl": client.websocket_url}
    code, printed = npm_packages.run_collection(DOCS / "postman_collection.json", **variables)

    assert code == 0, printed

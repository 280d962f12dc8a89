"""A stack that asks for tokens, of an issuer on this machine: over HTTP and WebSocket, through the real gateway.

Every way to be refused is in ``tests/integration/test_authorization.py``; here, that the gateway asks at all.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from chalicelib.web.identity import OPERATE
from infra.local.stack import PROJECT, Stack
from oee import Client as PythonClient
from oee import MarketOrder, NotFound, Unauthorized
from tests.builders import STEPS
from tests.e2e.client import MARKET_ORDER, Client, parse
from tests.e2e.contract.calls import findings
from tests.issuer import LocalIssuer, private_key

CONTRACT = Path(__file__).parents[2] / "docs" / "openapi.json"
pytestmark = pytest.mark.laptop("it starts a stack of its own, whose issuer of tokens runs on this machine")

REFUSED = 403
"""How the emulated gateway answers every connection that ``$connect`` refuses; AWS answers with the function's 401."""
ORDER = {name: value for name, value in MARKET_ORDER.items() if name != "userId"}


@pytest.fixture(scope="module")
def token_issuer() -> Iterator[LocalIssuer]:
    with LocalIssuer() as running:
        yield running


@pytest.fixture(scope="module")
def secure(make_data_dir: Callable[[], Path], settings: dict[str, str], token_issuer: LocalIssuer) -> Iterator[Stack]:
    """A stack of its own, which asks for tokens."""
    with Stack(port=0, data_dir=make_data_dir(), environment={**settings, **token_issuer.settings}) as running:
        yield running


@pytest.fixture(scope="module")
def as_user(secure: Stack, token_issuer: LocalIssuer) -> Callable[[str], Client]:
    return lambda name: Client(secure.url, secure.websocket_url, token_issuer.token(name))


@pytest.fixture
def nobody(secure: Stack) -> Client:
    return Client(secure.url, secure.websocket_url)


def ticket_of(client: Client) -> str:
    answer = client.request("POST", "/api/stream/tickets")
    assert answer.status == 200, answer
    ticket: str = answer.body["ticket"]
    return ticket


def refusal(client: Client, **query: str) -> int:
    """Return the status that refuses a WebSocket connection."""
    with pytest.raises(InvalidStatus) as refused, client.socket(**query):
        pass
    return refused.value.response.status_code


def test_an_order_is_placed_with_a_token_and_streamed_with_a_ticket(as_user: Callable[[str], Client]) -> None:
    ann = as_user("ann")
    placed = ann.post("/api/orders/execute", ORDER)
    order_id = placed.body["orderId"]

    assert "ticket" not in placed.body["webSocketUrl"]
    with ann.socket(orderId=order_id, ticket=ticket_of(ann)) as socket:
        events = socket.events_until_end()
        assert socket.close_code() == 1000

    assert [event["event"] for event in events] == STEPS
    assert ann.get(f"/api/orders/{order_id}").body["userId"] == "ann"
    assert [order["orderId"] for order in ann.get("/api/orders").body["orders"]] == [order_id]


def test_an_order_is_placed_and_streamed_on_a_connection_that_a_ticket_opened(as_user: Callable[[str], Client]) -> None:
    bob = as_user("bob")
    with bob.socket(ticket=ticket_of(bob)) as socket:
        socket.send({"action": "execute", **ORDER})
        events = socket.events_until_end()

    assert bob.get(f"/api/orders/{events[0]['orderId']}").body["userId"] == "bob"


def test_the_order_of_another_user_does_not_exist(as_user: Callable[[str], Client]) -> None:
    ann, eve = as_user("ann"), as_user("eve")
    order_id = ann.post("/api/orders", {**ORDER, "orderType": "limit", "limitPrice": 1}).body["orderId"]

    for method, path in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
        assert eve.request(method, f"/api/orders/{order_id}{path}").status == 404
    with eve.socket(ticket=ticket_of(eve)) as socket:
        assert socket.ask({"action": "subscribe", "orderId": order_id})["error"]["status"] == 404
    with eve.socket(ticket=ticket_of(eve), orderId=order_id) as socket:
        assert socket.receive()["error"]["status"] == 404
        assert socket.close_code() == 1000
    assert eve.get("/api/orders").body["orders"] == []
    assert ann.request("DELETE", f"/api/orders/{order_id}").body["status"] == "cancelled"


def test_without_a_good_token_nothing_is_served(
    nobody: Client, secure: Stack, token_issuer: LocalIssuer, as_user: Callable[[str], Client]
) -> None:
    expired, forged = (
        Client(secure.url, secure.websocket_url, token)
        for token in (
            token_issuer.token(exp=int(time.time()) - 60),
            token_issuer.token(key=private_key("forged")),
        )
    )

    for client in (nobody, expired, forged):
        assert client.post("/api/orders/execute", ORDER).status == 401
        assert client.get("/api/orders").status == 401
        assert client.request("POST", "/api/stream/tickets").status == 401
    assert nobody.get("/health").status == 200
    assert as_user("ann").get("/api/dead-letters").status == 403


def test_without_a_good_ticket_no_connection_is_opened(nobody: Client, as_user: Callable[[str], Client]) -> None:
    ann = as_user("ann")
    ticket = ticket_of(ann)
    with ann.socket(ticket=ticket) as socket:
        assert socket.ask({"action": "ping"}) == {"event": "pong"}

    assert refusal(nobody) == REFUSED
    assert refusal(nobody, ticket="forged") == REFUSED
    assert refusal(nobody, ticket=ticket) == REFUSED


def test_the_contract_in_the_documents_is_that_of_an_engine_that_asks_for_tokens(nobody: Client) -> None:
    assert nobody.get("/openapi.json").body == parse(CONTRACT.read_text())


@pytest.mark.timeout(300)
def test_no_call_is_answered_as_the_contract_does_not_say_with_a_token_or_without(
    secure: Stack, token_issuer: LocalIssuer, tmp_path: Path
) -> None:
    token = token_issuer.token("operator", scope=OPERATE)

    found = findings(
        secure.url,
        tmp_path,
        *("--header", f"Authorization: Bearer {token}", "--phases", "examples,fuzzing", "--max-examples", "5"),
    )

    assert not found, found


def test_a_launch_is_taken_by_its_signature(nobody: Client) -> None:
    assert "signed" in nobody.post("/api/launches", {"pool": "p", "tokenIn": "WIF"}).body["detail"]


def test_a_token_that_expires_while_the_gateway_remembers_it_is_refused(
    secure: Stack, token_issuer: LocalIssuer
) -> None:
    expires_at = int(time.time()) + 4
    client = Client(secure.url, secure.websocket_url, token_issuer.token("zoe", exp=expires_at))
    assert client.get("/api/orders").status == 200

    while time.time() < expires_at:
        assert client.get("/health").status == 200
    answer = client.get("/api/orders")

    assert (answer.status, answer.body["detail"]) == (401, "The token has expired.")


# --- The Python client ---

SELL = MarketOrder(token_in="SOL", token_out="USDC", amount="1.5")


def test_the_python_client_places_orders_with_a_token_and_streams_them_with_tickets(
    secure: Stack, token_issuer: LocalIssuer
) -> None:
    with PythonClient(secure.url, token=token_issuer.token("kim")) as client:
        events = list(client.submit_and_watch(SELL))
        assert [event.event for event in events] == STEPS
        assert client.order(events[0].order_id).user_id == "kim"

    with PythonClient(secure.url, token=token_issuer.token("eve")) as eve, pytest.raises(NotFound):
        next(eve.watch(events[0].order_id))


def test_the_python_client_asks_for_a_new_token_when_one_is_refused(secure: Stack, token_issuer: LocalIssuer) -> None:
    tokens = iter([token_issuer.token("lee", exp=int(time.time()) - 60), token_issuer.token("lee")])

    with PythonClient(secure.url, token=lambda: next(tokens)) as client:
        assert list(client.orders()) == []


def test_the_python_client_without_a_token_says_where_to_put_one(secure: Stack) -> None:
    with PythonClient(secure.url) as client:
        with pytest.raises(Unauthorized, match="OEE_TOKEN"):
            client.submit(SELL)
        with pytest.raises(Unauthorized, match="OEE_TOKEN"):
            next(client.watch("00000000-0000-4000-8000-000000000000"))


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (("oee", "submit", "SOL/USDC", "1.5", "--watch"), "✓ confirmed"),
        (("infra.local.demo", "market"), "5 of 5 confirmed"),
    ],
    ids=["oee", "demo"],
)
def test_commands_use_the_token_of_the_environment(
    secure: Stack, token_issuer: LocalIssuer, settings: dict[str, str], command: tuple[str, ...], shown: str
) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", *command],
        env={
            **{name: value for name, value in os.environ.items() if name != "COLUMNS"},
            **settings,
            "PORT": secure.url.rpartition(":")[2],
            "PYTHONPATH": str(PROJECT / "client" / "src"),
            "OEE_URL": secure.url,
            "OEE_TOKEN": token_issuer.token("max"),
        },
        cwd=PROJECT,
        check=False,
        capture_output=True,
        text=True,
    )

    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert shown in outcome.stdout

"""What a browser sees of the deployed engine, through API Gateway."""

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from chalicelib.web.responses import SECURITY_HEADERS
from tests.builders import UNKNOWN_ORDER
from tests.e2e.client import MARKET_ORDER, Client
from tests.e2e.conftest import ALLOWED_ORIGIN

EVIL = {"Origin": "https://evil.example"}


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/api/orders/execute", "POST"),
        ("/api/orders", "GET, POST"),
        (f"/api/orders/{UNKNOWN_ORDER}", "DELETE, GET"),
        (f"/orders/{UNKNOWN_ORDER}", "DELETE, GET"),
        (f"/api/orders/{UNKNOWN_ORDER}/events", "GET"),
        ("/api/quotes", "GET"),
        ("/api/launches", "POST"),
        ("/health", "GET"),
        ("/", "GET"),
    ],
)
def test_preflight_tells_an_allowed_page_what_it_may_do_and_any_other_nothing(
    client: Client, path: str, methods: str
) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    allowed = client.request("OPTIONS", path, headers={"Origin": ALLOWED_ORIGIN, **asked})
    refused = client.request("OPTIONS", path, headers={**EVIL, **asked})

    assert (allowed.status, refused.status) == (204, 204)
    assert allowed.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
    assert allowed.headers["access-control-allow-methods"] == methods
    assert not [name for name in refused.headers if name.startswith("access-control")]


def test_only_an_allowed_page_may_read_an_answer(client: Client) -> None:
    allowed = client.post("/api/orders", MARKET_ORDER, {"Origin": ALLOWED_ORIGIN})
    refused = client.post("/api/orders", MARKET_ORDER, EVIL)

    assert allowed.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
    assert "access-control-allow-origin" not in refused.headers
    assert allowed.headers["vary"] == refused.headers["vary"] == "Origin"


@pytest.mark.parametrize("path", ["/health", "/api/orders", "/api/orders/x", "/nowhere"])
def test_answers_and_errors_carry_the_security_headers(client: Client, path: str) -> None:
    answer = client.get(path)

    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name.lower()] == value


def test_page_of_another_origin_cannot_open_a_socket(client: Client) -> None:
    with connect(client.websocket_url, proxy=None, origin=ALLOWED_ORIGIN) as socket:
        socket.send('{"action":"ping"}')
        assert socket.recv(10) == '{"event":"pong"}'

    with pytest.raises(InvalidStatus) as refused:
        connect(client.websocket_url, proxy=None, origin=EVIL["Origin"])
    assert refused.value.response.status_code == 403

"""Which pages a browser may let call the API."""

import pytest

from chalicelib.web.cross_origin import cors_headers, preflight_headers, refuse_foreign_page
from chalicelib.web.problems import RequestError

ALLOWED = ("https://app.example.com", "http://localhost:5173")
OWN = "https://trade.example.com"
FOREIGN = [
    "https://evil.example",
    "null",
    "",
    "*",
    "http://app.example.com",
    "https://app.example.com.evil.example",
    "https://app.example.com:8443",
    "https://app.example.com/",
    "https://APP.example.com",
    "https://app.example.com,http://localhost:5173",
]


@pytest.mark.parametrize("origin", [None, *ALLOWED, *FOREIGN])
def test_while_no_origin_is_allowed_nothing_is_said_of_origins(origin):
    assert cors_headers((), origin) == {}
    assert preflight_headers((), origin, ["GET"]) == {"Allow": "GET"}


@pytest.mark.parametrize("origin", ALLOWED)
def test_an_allowed_origin_is_named_alone(origin):
    assert cors_headers(ALLOWED, origin) == {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After",
    }


@pytest.mark.parametrize("origin", [None, *FOREIGN])
def test_any_other_origin_is_allowed_nothing(origin):
    assert cors_headers(ALLOWED, origin) == {"Vary": "Origin"}
    assert preflight_headers(ALLOWED, origin, ["GET"]) == {"Allow": "GET"}


def test_a_preflight_names_exactly_the_methods_of_the_path_and_the_headers_of_the_api():
    assert preflight_headers(ALLOWED, ALLOWED[0], ["POST", "GET"]) == {
        "Allow": "GET, POST",
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
        "Access-Control-Max-Age": "600",
    }


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("name", ["Origin", "origin"])
def test_a_page_of_another_origin_may_not_open_a_websocket(name, origin):
    with pytest.raises(RequestError) as refused:
        refuse_foreign_page(ALLOWED, OWN, {"Host": "x", name: origin})

    assert refused.value.status == 403


@pytest.mark.parametrize("headers", [{}, {"Origin": ALLOWED[0]}, {"origin": ALLOWED[1]}, {"Origin": OWN}])
def test_an_allowed_page_the_console_and_what_is_no_browser_may_open_a_websocket(headers):
    refuse_foreign_page(ALLOWED, OWN, headers)


def test_without_a_list_any_page_may_open_a_websocket():
    refuse_foreign_page((), OWN, {"Origin": "https://evil.example"})

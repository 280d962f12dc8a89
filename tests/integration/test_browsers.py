"""What browsers are told: security headers on every answer, and which pages of other origins may call the API."""

import re

import pytest

import app
from chalicelib.web.responses import SECURITY_HEADERS
from tests.builders import UNKNOWN_ORDER, order_body
from tests.integration.cloud import CONTEXT, NO_DATABASE, Socket

ORIGIN = "https://app.example.com"
CONSOLE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws://localhost:3000; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ROUTES = {pattern: sorted({*methods} - {"OPTIONS"}) for pattern, methods in app.app.routes.items()}
PAGE = ("GET", "/")
SERVED = {
    "/": ["GET"],
    **{pattern: methods for pattern, methods in ROUTES.items() if pattern not in ("/", "/{proxy+}")},
}


def call(method, pattern, **headers):
    """Call a route as API Gateway does; the test client would answer some calls itself."""
    path = re.sub(r"{\w+\+?}", UNKNOWN_ORDER, pattern)
    answer = app.app(
        {
            "httpMethod": method,
            "path": path,
            "requestContext": {"resourcePath": pattern, "httpMethod": method},
            "pathParameters": dict.fromkeys(re.findall(r"{(\w+)\+?}", pattern), UNKNOWN_ORDER),
            "headers": headers,
            "multiValueQueryStringParameters": None,
            "stageVariables": None,
            "body": None,
            "isBase64Encoded": False,
        },
        CONTEXT,
    )
    return answer["statusCode"], answer["headers"], answer["body"]


def assert_protected(headers):
    assert headers.items() >= SECURITY_HEADERS.items()


@pytest.fixture
def one_origin(engine, make_engine, serve):
    return serve(make_engine(CORS_ORIGINS=f"https://other.example.com,{ORIGIN}"))


# --- Security headers ---


def test_browsers_are_told_what_keeps_an_answer_from_being_anything_else():
    assert SECURITY_HEADERS == {
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "Strict-Transport-Security": "max-age=63072000",
    }


@pytest.mark.parametrize(
    ("method", "pattern"),
    [(method, pattern) for pattern, methods in ROUTES.items() for method in [*methods, "OPTIONS"]],
)
@pytest.mark.usefixtures("engine")
def test_every_answer_of_every_route_is_protected(method, pattern):
    _, headers, _ = call(method, pattern)

    if (method, pattern) == PAGE:
        assert headers.items() >= {**SECURITY_HEADERS, "Content-Security-Policy": CONSOLE_POLICY}.items()
    else:
        assert_protected(headers)


@pytest.mark.usefixtures("engine")
def test_what_chalice_refuses_itself_is_protected():
    for status, (answered, headers, _) in {
        405: call("PATCH", "/api/orders"),
        415: call("POST", "/api/orders", **{"content-type": "text/plain"}),
    }.items():
        assert answered == status
        assert_protected(headers)


def test_a_bug_and_an_outage_are_answered_with_protection(engine, make_engine, serve):
    engine.store.find = lambda order_id: 1 / 0
    status, headers, _ = call("GET", "/api/orders/{order_id}")
    assert status == 500
    assert_protected(headers)

    serve(make_engine(DATABASE_URL=NO_DATABASE))
    status, headers, _ = call("GET", "/api/orders")
    assert status == 503
    assert_protected(headers)


def test_what_a_view_says_itself_wins(engine):
    response = app.protected(app.Response("", {"Cache-Control": "max-age=60"}), (), None)

    assert response.headers == {**SECURITY_HEADERS, "Cache-Control": "max-age=60"}


# --- Preflights ---


def test_every_route_answers_a_preflight_so_that_api_gateway_serves_it_and_asks_for_no_token():
    for pattern, methods in app.app.routes.items():
        assert "OPTIONS" in methods, pattern
        assert methods["OPTIONS"].authorizer is None


@pytest.mark.parametrize(("pattern", "methods"), SERVED.items())
@pytest.mark.usefixtures("one_origin")
def test_a_preflight_of_an_allowed_page_names_the_methods_of_the_route(pattern, methods):
    status, headers, body = call("OPTIONS", pattern, origin=ORIGIN, **{"access-control-request-method": methods[0]})

    assert (status, body) == (204, "")
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert headers["Access-Control-Allow-Methods"] == headers["Allow"] == ", ".join(methods)
    assert headers["Vary"] == "Origin"


@pytest.mark.parametrize("pattern", SERVED)
@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
@pytest.mark.usefixtures("one_origin")
def test_a_preflight_of_any_other_page_is_told_nothing_of_origins(pattern, origin):
    status, headers, _ = call("OPTIONS", pattern, origin=origin)

    assert status == 204
    assert not [name for name in headers if name.startswith("Access-Control")]


@pytest.mark.usefixtures("one_origin")
def test_a_path_that_is_not_served_has_no_preflight():
    assert call("OPTIONS", "/{proxy+}", origin=ORIGIN)[0] == 404


# --- Answers to pages ---


@pytest.mark.usefixtures("one_origin")
def test_an_allowed_page_may_read_answers_and_errors_and_when_to_try_again(api):
    for answer in (api.post(order_body(), Origin=ORIGIN), api.post(order_body(amount=0), Origin=ORIGIN)):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-expose-headers"] == "Retry-After"
        assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "*"])
@pytest.mark.usefixtures("one_origin")
def test_no_other_page_may_read_an_answer(api, origin):
    answer = api.post(order_body(), Origin=origin)

    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", [ORIGIN, "https://evil.example"])
def test_without_a_list_no_answer_speaks_of_origins(api, origin):
    for answer in (api.post(order_body(), Origin=origin), api.request("OPTIONS", "/api/orders", Origin=origin)):
        assert not [name for name in answer.headers if name.startswith("access-control") or name == "vary"]


# --- WebSockets of pages ---


@pytest.mark.parametrize(
    ("origin", "status"),
    [(None, 200), (ORIGIN, 200), ("http://localhost:3000", 200), ("https://evil.example", 403), ("null", 403)],
)
def test_only_allowed_pages_the_console_and_what_is_no_page_may_open_a_websocket(
    api, one_origin, connections, origin, status
):
    socket = Socket(connections)
    order_id = api.place()

    assert socket.connect({"Origin": origin} if origin else {}, orderId=order_id) == status

    assert bool(one_origin.viewers.take(order_id, socket.id)) == (status == 200)


def test_without_a_list_any_page_may_open_a_websocket(engine, connections):
    assert Socket(connections).connect({"Origin": "https://evil.example"}) == 200

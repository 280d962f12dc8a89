"""The REST API as clients call it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest

import app
from chalicelib.venues.venue import VenueUnavailable
from chalicelib.web.requests import read_order
from tests.builders import NOON, UNKNOWN_ORDER, order_body
from tests.clocks import QuickClock
from tests.integration.cloud import CONTEXT, NO_DATABASE, NO_QUEUE, NO_REDIS
from tests.integration.venues import trouble_venues


def assert_problem(answer, status):
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["status"] == status
    assert answer.body["title"]
    assert answer.body["detail"]


# --- Placing orders ---


@pytest.mark.parametrize("path", ["/api/orders/execute", "/api/orders"])
def test_an_order_is_accepted_stored_and_queued(api, database, queues, path):
    answer = api.post(order_body(), path)

    order_id = answer.body["orderId"]
    assert answer.status == 200
    assert answer.body == {
        "orderId": order_id,
        "message": "Order accepted",
        "status": "pending",
        "webSocketUrl": f"ws://localhost:3000/ws?orderId={order_id}",
    }
    assert database.order(order_id)["status"] == "pending"
    (message,) = queues.orders.receive()
    assert json.loads(message["Body"]) == {"orderId": order_id}


def test_an_amount_keeps_its_exact_digits_from_the_request_to_the_answer(api):
    body = order_body(amount=Decimal("123456789.123456789"))

    order = api.get(f"/api/orders/{api.post(body).body['orderId']}").body

    assert order["amountIn"] == Decimal("123456789.123456789")


def test_nothing_is_stored_for_a_bad_request(api, database, queues):
    for body in (
        b"",
        b"{",
        b"[1]",
        order_body(amount=0),
        order_body(tokenOut="SOL"),
        order_body(more=1),
        b"[" * 15_000,
    ):
        assert_problem(api.post(body), 400)
    assert_problem(api.post(order_body(userId="x" * 1_000_000)), 413)
    answer = api.request("POST", "/api/orders", order_body(), Content_Type="text/plain")

    assert_problem(answer, 415)
    assert "header Content-Type: application/json" in answer.body["detail"]

    assert database.count("orders") == 0
    assert queues.orders.count() == 0


def test_each_bad_field_is_named_in_the_answer(api):
    answer = api.post({"userId": "u1\0", "orderType": "market", "tokenIn": "SOL", "tokenOut": "XYZ", "amount": -1})

    assert_problem(answer, 400)
    assert set(answer.body["errors"]) == {"userId", "tokenOut", "amount"}


def test_an_unknown_method_is_answered_as_a_problem(api):
    answer = api.request("PUT", "/api/orders/execute", order_body())

    assert_problem(answer, 405)


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/nothing", 404, None),
        ("POST", "/orders/7/more", 404, None),
        ("PUT", "/api/orders/execute", 405, "POST"),
        ("DELETE", "/api/orders", 405, "GET, POST"),
        ("POST", "/api/orders/7", 405, "DELETE, GET"),
        ("POST", "/", 405, "GET"),
        ("POST", "/console/1/main.js", 405, "GET"),
    ],
)
def test_an_address_that_is_not_served_is_answered_as_a_problem(engine, method, path, status, allowed):
    """API Gateway leads here what no other route takes; the test client knows no such route."""
    request = {
        "httpMethod": method,
        "path": path,
        "requestContext": {"resourcePath": "/{proxy+}", "httpMethod": method},
        "pathParameters": {"proxy": path[1:]},
        "headers": {},
        "multiValueQueryStringParameters": None,
        "stageVariables": None,
        "body": None,
        "isBase64Encoded": False,
    }

    answer = app.app(request, CONTEXT)

    assert answer["statusCode"] == status
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert answer["headers"].get("Allow") == allowed
    assert json.loads(answer["body"])["status"] == status


def test_a_bug_is_answered_as_a_problem_that_says_nothing_of_the_inside(engine, api, caplog):
    engine.store.find = lambda order_id: 1 / 0

    answer = api.get(f"/api/orders/{UNKNOWN_ORDER}")

    assert_problem(answer, 500)
    assert "division" not in str(answer.body)


# --- The same order twice ---


def by_header(key):
    return {"body": order_body(), "Idempotency_Key": key}


def by_field(key):
    return {"body": order_body(clientOrderId=key)}


@pytest.mark.parametrize("first", [by_header, by_field])
@pytest.mark.parametrize("second", [by_header, by_field])
def test_the_same_key_and_body_give_the_same_order(api, database, queues, first, second):
    answers = [api.post(**first("k1")), api.post(**second("k1"))]

    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body["orderId"] == answers[1].body["orderId"]
    assert database.count("orders") == 1
    assert queues.orders.count() == 1


def test_the_same_request_many_times_at_once_gives_one_order(make_engine, database):
    start = threading.Barrier(8)
    request = read_order(order_body(amount="1.5", clientOrderId="the same"), now=NOON)

    def place(engine):
        start.wait(10)
        return engine.intake.place(request).order_id

    engines = [make_engine() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        placed = list(pool.map(place, engines))

    assert len(set(placed)) == 1
    assert database.count("orders") == database.count("order_events") == 1


def test_a_request_that_is_repeated_after_its_time_gives_the_order_it_gave_before(make_engine, serve, api):
    clock = QuickClock()
    serve(make_engine(clock=clock))
    lifetime = {"timeInForce": "GTD", "expiresAt": (clock.now() + timedelta(minutes=1)).isoformat()}
    order_id = api.place(**lifetime, clientOrderId="k1")
    clock.ahead += timedelta(minutes=2)

    assert api.place(**lifetime, clientOrderId="k1") == order_id
    for key in ({"clientOrderId": "k2"}, {}):
        late = api.post(order_body(**lifetime, **key))
        assert_problem(late, 400)
        assert set(late.body["errors"]) == {"expiresAt"}


def test_the_same_key_with_another_body_is_a_conflict(api, database):
    order_id = api.place(clientOrderId="k1")

    answer = api.post(order_body(clientOrderId="k1", amount=2))

    assert_problem(answer, 409)
    assert order_id in answer.body["detail"]
    assert database.count("orders") == 1


def test_another_spelling_of_the_same_request_is_the_same_request(api):
    order_id = api.place(clientOrderId="k1", amount=1.5)

    body = {"userId": "u1", "type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1.5"}
    answer = api.post(body, Idempotency_Key="k1")

    assert answer.body["orderId"] == order_id


def test_a_key_belongs_to_its_user(api):
    assert api.place(clientOrderId="k1", userId="u1") != api.place(clientOrderId="k1", userId="u2")


def test_orders_without_a_key_are_different_orders(api):
    assert api.place() != api.place()


def test_a_repeated_request_answers_where_the_order_stands_now(api, queues):
    api.place(clientOrderId="k1")
    queues.work_off()

    assert api.post(order_body(clientOrderId="k1")).body["status"] == "confirmed"


# --- Reading ---


@pytest.mark.parametrize("path", ["/api/orders/{}", "/orders/{}"])
def test_an_order_is_found_by_both_paths(api, queues, path):
    order_id = api.place()
    queues.work_off()

    answer = api.get(path.format(order_id))

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.body["orderId"] == order_id
    assert answer.body["status"] == "confirmed"
    assert set(answer.body["routeMeta"]["quotes"]) == {"raydium", "meteora"}


@pytest.mark.parametrize("path", ["/api/orders/{}", "/orders/{}", "/api/orders/{}/events"])
@pytest.mark.parametrize(("order_id", "status"), [(UNKNOWN_ORDER, 404), ("abc", 400), ("1' OR 'a'='a", 400)])
def test_an_order_id_that_is_unknown_or_none_is_a_client_error(api, path, order_id, status):
    assert_problem(api.get(path.format(order_id)), status)


def test_an_active_order_is_read_from_redis(api, database):
    order_id = api.place()
    database.change("UPDATE orders SET user_id = 'from postgres'")

    assert api.get(f"/api/orders/{order_id}").body["userId"] == "u1"


def test_an_order_that_redis_does_not_know_is_read_from_postgres_and_kept(api, cache, database):
    order_id = api.place()
    database.change("UPDATE orders SET user_id = 'from postgres'")
    cache.flushall()

    assert api.get(f"/api/orders/{order_id}").body["userId"] == "from postgres"
    database.change("UPDATE orders SET user_id = 'changed'")
    assert api.get(f"/api/orders/{order_id}").body["userId"] == "from postgres"


def test_redis_and_postgres_tell_the_same_of_an_order(api, queues, cache):
    order_id = api.place()
    queues.work_off()
    from_redis = api.get(f"/api/orders/{order_id}").body

    cache.flushall()

    assert api.get(f"/api/orders/{order_id}").body == from_redis


def test_a_state_in_redis_is_never_replaced_by_an_older_one(engine, api, cache):
    order_id = api.place()
    engine.viewers.fill_state(order_id, 3, b"newer")

    engine.viewers.fill_state(order_id, 2, b"older")

    assert engine.viewers.read_state(order_id) == b"newer"


def test_a_list_gives_every_order_once_newest_first_in_pages(api):
    placed = [api.place() for _ in range(7)]

    pages, cursor = [], None
    while True:
        answer = api.get("/api/orders?limit=3" + (f"&cursor={cursor}" if cursor else ""))
        pages.append([order["orderId"] for order in answer.body["orders"]])
        cursor = answer.body["nextCursor"]
        if cursor is None:
            break

    assert [len(page) for page in pages] == [3, 3, 1]
    assert [order_id for page in pages for order_id in page] == placed[::-1]


def test_orders_of_the_same_moment_are_neither_lost_nor_repeated_between_pages(api, database):
    placed = {api.place() for _ in range(5)}
    database.change("UPDATE orders SET created_at = now()")

    first = api.get("/api/orders?limit=2").body
    second = api.get(f"/api/orders?limit=100&cursor={first['nextCursor']}").body

    listed = [order["orderId"] for order in first["orders"] + second["orders"]]
    assert len(listed) == 5
    assert set(listed) == placed


def test_a_page_is_not_moved_by_orders_that_arrive_meanwhile(api):
    placed = [api.place() for _ in range(4)]
    first = api.get("/api/orders?limit=2").body
    api.place()

    second = api.get(f"/api/orders?limit=2&cursor={first['nextCursor']}").body

    assert [order["orderId"] for order in second["orders"]] == placed[1::-1]


def test_a_list_may_ask_for_one_status(api, queues):
    confirmed = api.place()
    queues.work_off()
    pending = api.place()

    for status, expected in (("confirmed", [confirmed]), ("pending", [pending]), ("failed", [])):
        answer = api.get(f"/api/orders?status={status}")
        assert [order["orderId"] for order in answer.body["orders"]] == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [("status=done", "status"), ("limit=0", "limit"), ("limit=101", "limit"), ("cursor=abc", "cursor"), ("x=1", "x")],
)
def test_a_bad_list_request_names_the_field(api, query, field):
    answer = api.get(f"/api/orders?{query}")

    assert_problem(answer, 400)
    assert set(answer.body["errors"]) == {field}


def test_quotes_say_what_the_router_would_choose_now(api):
    answer = api.get("/api/quotes?tokenIn=SOL&tokenOut=USDC&amount=1.5&side=buy")

    assert answer.status == 200
    quotes = answer.body["quotes"]
    assert answer.body["chosen"] == min(quotes, key=lambda name: quotes[name]["netPrice"])
    assert (answer.body["tokenIn"], answer.body["side"], answer.body["amount"]) == ("SOL", "buy", Decimal("1.5"))


def test_a_quote_that_no_venue_can_give_is_unprocessable(api):
    assert_problem(api.get("/api/quotes?tokenIn=SOL&tokenOut=USDC&amount=1000000&side=buy"), 422)


def test_a_quote_that_no_venue_gives_now_may_be_asked_for_later(engine, api):
    trouble_venues(engine, raydium=[VenueUnavailable("timed out")], meteora=[VenueUnavailable("timed out")])
    answer = api.get("/api/quotes?tokenIn=SOL&tokenOut=USDC&amount=1")

    assert_problem(answer, 503)
    assert answer.headers["retry-after"] == "1"


def test_a_bad_quote_request_names_each_field(api):
    answer = api.get("/api/quotes?tokenIn=SOL&tokenOut=SOL&amount=x")

    assert_problem(answer, 400)
    assert set(answer.body["errors"]) == {"tokenOut", "amount"}


# --- Outages ---


def test_health_names_every_part(api):
    answer = api.get("/health")

    assert answer.status == 200
    assert answer.body == {"status": "ok", "parts": {"postgres": "up", "redis": "up", "sqs": "up"}}


@pytest.mark.parametrize(
    ("part", "status", "settings"),
    [
        ("postgres", 503, {"DATABASE_URL": NO_DATABASE}),
        ("redis", 200, {"REDIS_URL": NO_REDIS}),
        ("sqs", 200, {"ORDERS_QUEUE_URL": NO_QUEUE}),
    ],
)
def test_health_says_which_part_is_down(api, make_engine, serve, part, status, settings):
    serve(make_engine(**settings))

    answer = api.get("/health")

    assert answer.status == status
    assert answer.body["status"] == "degraded"
    assert [name for name, state in answer.body["parts"].items() if state == "down"] == [part]


def test_without_postgres_an_order_is_refused_and_does_not_exist(api, make_engine, serve, database, queues):
    serve(make_engine(DATABASE_URL=NO_DATABASE))

    answer = api.post(order_body())

    assert_problem(answer, 503)
    assert answer.headers["retry-after"] == "2"
    assert "127.0.0.1" not in str(answer.body)
    assert database.count("orders") == 0
    assert queues.orders.count() == 0


def test_without_redis_an_order_is_executed_all_the_same(api, make_engine, serve, database, queues):
    serve(make_engine(REDIS_URL=NO_REDIS, ORDER_PROCESSOR_RATE="100"))
    order_id = api.place()

    queues.work_off(queues.orders, queues.settlements)

    assert api.get(f"/api/orders/{order_id}").body["status"] == "confirmed"
    assert len(api.get(f"/api/orders/{order_id}/events").body["events"]) == 5


def test_without_its_queue_an_order_is_accepted_and_recovery_queues_it(api, make_engine, serve, database, queues):
    serve(make_engine(ORDERS_QUEUE_URL=NO_QUEUE))
    order_id = api.place()
    assert database.order(order_id)["status"] == "pending"

    database.change(
        "UPDATE orders SET updated_at = now() - '1 min'::interval, available_at = now() - '1 min'::interval"
    )
    assert serve(make_engine()).recovery.recover() == 1
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"


def test_an_order_whose_acceptance_was_lost_with_the_connection_is_accepted_once(engine, api, database, queues):
    """The first statement was committed, its answer lost, and the statement was sent again."""
    accept = engine.store.accept

    def accept_twice(*arguments):
        accept(*arguments)
        return accept(*arguments)

    engine.store.accept = accept_twice
    order_id = api.place()

    assert database.event_names(order_id) == ["pending"]
    assert queues.orders.count() == 1

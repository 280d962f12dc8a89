"""Who may do what: every route and every WebSocket message, with no token, a bad one, and somebody else's."""

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jwt
import pytest

import app
from chalicelib.resources import ResourceUnavailable
from chalicelib.streaming.tickets import MOST_CONNECTIONS
from chalicelib.streaming.viewers import MOST_EXPIRED
from chalicelib.web.identity import METRICS, OPERATE
from tests.builders import UNKNOWN_ORDER, order_body
from tests.clocks import QuickClock
from tests.integration.cloud import CONTEXT, NO_DATABASE, NO_REDIS, Socket, at_once
from tests.integration.conftest import Answer, Api
from tests.issuer import LocalIssuer, private_key

FOR_EVERYBODY = {
    ("GET", "/health"),
    ("GET", "/openapi.json"),
    ("POST", "/api/launches"),
    ("GET", "/console/{version}/{file}"),
}
FOR_EVERYBODY |= {(method, path) for method in app.METHODS for path in ("/", "/{proxy+}")}
SERVED_TO_EVERYBODY = {("GET", "/health"): 200, ("GET", "/openapi.json"): 200, ("GET", "/"): 200, ("OPTIONS", "/"): 204}
# A browser sends no token with a preflight, which says only what a path is served for.
PREFLIGHTS = {("OPTIONS", path) for path in app.app.routes}
ROUTES = [(method, path) for path, methods in app.app.routes.items() for method in methods]
GUARDED = [route for route in ROUTES if route not in FOR_EVERYBODY | PREFLIGHTS]
OF_ONE_ORDER = [route for route in GUARDED if "{order_id}" in route[1]]
FOR_OPERATORS = [("GET", "/api/dead-letters"), ("POST", "/api/dead-letters/redrive")]
MARKET_ORDER = {name: value for name, value in order_body().items() if name != "userId"}


@pytest.fixture
def secure(make_engine, serve, issuer):
    """An engine that takes the issuer's tokens, behind the app's handlers."""
    return serve(make_engine(**issuer.settings))


class User:
    """A client that sends a token with every request."""

    def __init__(self, api: Api, issuer: LocalIssuer, name: str, **claims: Any) -> None:
        self.authorization = issuer.bearer(name, **claims)
        self._api = api

    def call(self, method: str, path: str, body: Any = b"", **headers: str) -> Answer:
        return self._api.request(method, path, body, authorization=self.authorization, **headers)

    def get(self, path: str) -> Answer:
        return self.call("GET", path)

    def place(self, **changes: Any) -> str:
        answer = self.call("POST", "/api/orders", {**MARKET_ORDER, **changes})
        assert answer.status == 200, answer.body
        return answer.body["orderId"]

    def ticket(self) -> str:
        answer = self.call("POST", "/api/stream/tickets")
        assert answer.status == 200, answer.body
        return answer.body["ticket"]


@pytest.fixture
def users(secure, issuer) -> Callable[..., User]:
    return lambda name, **claims: User(Api(), issuer, name, **claims)


@pytest.fixture
def ann(users):
    return users("ann")


@pytest.fixture
def bob(users):
    return users("bob")


@pytest.fixture
def connect(connections) -> Callable[..., Socket]:
    """Open a WebSocket connection as a user, with a ticket of theirs."""

    def open_socket(user: User, **query: Any) -> Socket:
        socket = Socket(connections)
        assert socket.connect(ticket=user.ticket(), **query) == 200
        return socket

    return open_socket


def assert_problem(answer: Answer, status: int) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["status"] == status


def gateway_event(method: str, path: str, authorizer: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what API Gateway calls the app with; ``authorizer`` is what the authorizer told it."""
    context: dict[str, Any] = {"resourcePath": path, "httpMethod": method}
    if authorizer is not None:
        context["authorizer"] = authorizer
    return {
        "httpMethod": method,
        "path": path.replace("{order_id}", UNKNOWN_ORDER),
        "requestContext": context,
        "pathParameters": dict.fromkeys(("order_id", "version", "file", "proxy"), UNKNOWN_ORDER),
        "headers": {"Content-Type": "application/json"},
        "multiValueQueryStringParameters": None,
        "stageVariables": None,
        "body": "{}",
        "isBase64Encoded": False,
    }


def in_a_minute() -> str:
    return str(int(time.time()) + 60)


def every(routes: list[tuple[str, str]]) -> Any:
    return pytest.mark.parametrize(("method", "path"), routes, ids=[" ".join(route) for route in routes])


# --- Every route ---


def test_the_routes_for_everybody_are_known_and_no_others():
    open_routes = {route for route in ROUTES if app.app.routes[route[1]][route[0]].authorizer is None}

    assert open_routes == FOR_EVERYBODY | PREFLIGHTS


@every(GUARDED)
def test_no_route_is_served_without_a_token(secure, method, path, database):
    answer = Api().request(method, path.format(order_id=UNKNOWN_ORDER), order_body())

    assert answer.status == 401
    assert database.count("orders") == 0


BAD_TOKENS = {
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 60),
    "not yet valid": lambda issuer: issuer.token(nbf=int(time.time()) + 60),
    "unsigned": lambda issuer: jwt.encode(issuer.claims(), None, "none", {"kid": "first"}),
    "signed with a secret": lambda issuer: jwt.encode(issuer.claims(), "x" * 32, "HS256", {"kid": "first"}),
    "signed with another key": lambda issuer: issuer.token(key=private_key("forged")),
    "signed with an unknown key": lambda issuer: issuer.token(key=private_key("forged"), kid="forged"),
    "for another audience": lambda issuer: issuer.token(aud="another"),
    "of another issuer": lambda issuer: issuer.token(iss="https://somebody.else"),
    "without a user": lambda issuer: issuer.token(sub=None),
    "no token": lambda issuer: "abc",
}


@every(GUARDED)
@pytest.mark.parametrize("bad", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_no_route_is_served_with_a_bad_token(secure, issuer, database, caplog, method, path, bad):
    token = bad(issuer)

    answer = Api().request(method, path.format(order_id=UNKNOWN_ORDER), order_body(), authorization=f"Bearer {token}")

    assert answer.status == 401
    assert database.count("orders") == 0
    assert token not in str(answer) + caplog.text


@every(GUARDED)
@pytest.mark.parametrize(
    "authorizer",
    [None, {}, {"principalId": "ann"}, {"exp": "99999999999"}, {"principalId": "", "exp": "99999999999"}],
    ids=["not asked", "says nothing", "says not until when", "says not who", "says nobody"],
)
def test_a_route_that_the_authorizer_was_not_asked_about_serves_nobody(secure, method, path, authorizer):
    answer = app.app(gateway_event(method, path, authorizer), CONTEXT)

    assert answer["statusCode"] == 401
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert answer["headers"]["WWW-Authenticate"] == "Bearer"


@every(GUARDED)
def test_a_token_that_has_expired_since_the_authorizer_was_asked_is_refused(secure, method, path):
    just_now = {"principalId": "ann", "scopes": OPERATE, "exp": str(int(time.time()))}

    answer = app.app(gateway_event(method, path, just_now), CONTEXT)

    assert answer["statusCode"] == 401
    assert json.loads(answer["body"])["detail"] == "The token has expired."


@every(GUARDED)
def test_a_good_token_is_let_in(secure, method, path):
    allowed = {"principalId": "ann", "scopes": f"{OPERATE} {METRICS}", "exp": in_a_minute()}

    assert app.app(gateway_event(method, path, allowed), CONTEXT)["statusCode"] not in (401, 403, 500)


@every(OF_ONE_ORDER)
@pytest.mark.parametrize("forgotten", [False, True], ids=["known to Redis", "not known to Redis"])
def test_the_order_of_another_user_looks_like_one_that_does_not_exist(
    ann, bob, cache, database, method, path, forgotten
):
    order_id = ann.place()
    if forgotten:
        cache.flushall()

    others = bob.call(method, path.format(order_id=order_id))
    unknown = bob.call(method, path.format(order_id=UNKNOWN_ORDER))

    assert_problem(others, 404)
    assert others.body == json.loads(json.dumps(unknown.body).replace(UNKNOWN_ORDER, order_id))
    assert others.headers == unknown.headers
    assert database.order(order_id)["status"] == "pending"
    assert ann.call(method, path.format(order_id=order_id)).status == 200


@every(sorted(FOR_EVERYBODY - {("POST", "/api/launches")}))
def test_what_is_for_everybody_needs_no_token(secure, method, path):
    status = 405 if path == "/" else 404

    assert app.app(gateway_event(method, path), CONTEXT)["statusCode"] == SERVED_TO_EVERYBODY.get(
        (method, path), status
    )


@every(sorted(PREFLIGHTS - FOR_EVERYBODY))
def test_a_preflight_needs_no_token(secure, method, path):
    assert app.app(gateway_event(method, path), CONTEXT)["statusCode"] == 204


def test_a_launch_is_let_in_by_its_signature_and_by_nothing_else(make_engine, serve, issuer):
    serve(make_engine(**issuer.settings, LAUNCH_WEBHOOK_SECRET="a secret"))

    answer = Api().request("POST", "/api/launches", {"pool": "p", "tokenIn": "WIF"}, authorization=issuer.bearer())

    assert_problem(answer, 401)
    assert "signed" in answer.body["detail"]


# --- The authorizer ---


def ask_the_authorizer(token: str, method: str = "GET", path: str = "api/orders") -> dict[str, Any]:
    arn = f"arn:aws:execute-api:us-east-1:123456789012:an-api/api/{method}/{path}"
    return app.authorize({"type": "TOKEN", "authorizationToken": token, "methodArn": arn}, CONTEXT)


def test_the_authorizer_says_who_and_until_when_in_texts(secure, issuer):
    expires_at = int(time.time()) + 60
    answer = ask_the_authorizer(issuer.bearer("ann", scope="b a", exp=expires_at))

    assert answer["principalId"] == "ann"
    assert answer["context"] == {"scopes": "a b", "exp": str(expires_at)}


def test_the_authorizers_policy_is_good_for_every_route_of_this_api(secure, issuer):
    (statement,) = ask_the_authorizer(issuer.bearer())["policyDocument"]["Statement"]

    assert statement == {
        "Action": "execute-api:Invoke",
        "Effect": "Allow",
        "Resource": ["arn:aws:execute-api:us-east-1:123456789012:an-api/api/*/*"],
    }


def test_a_bad_token_fails_the_authorizer_with_the_text_that_api_gateway_answers_with_401(secure):
    with pytest.raises(Exception, match=r"^Unauthorized$") as refused:
        ask_the_authorizer("Bearer abc")

    assert refused.value.__suppress_context__  # Lambda logs what an error comes from


def test_a_bad_token_is_counted_also_where_no_middleware_writes_what_was_counted(secure, metric_lines):
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        ask_the_authorizer("Bearer abc")

    (line,) = metric_lines()
    assert line["TokensRefused"] == 1


def test_without_the_issuers_keys_the_authorizer_fails_otherwise(secure, issuer):
    issuer.fails()

    with pytest.raises(ResourceUnavailable):
        ask_the_authorizer(issuer.bearer())


def test_the_authorizer_reaches_neither_postgres_nor_redis(make_engine, serve, issuer):
    serve(make_engine(**issuer.settings, DATABASE_URL=NO_DATABASE, REDIS_URL=NO_REDIS))

    assert ask_the_authorizer(issuer.bearer("ann"))["principalId"] == "ann"


# --- Whose order it is ---


@pytest.mark.parametrize("said", [{}, {"userId": "ann"}, {"userId": None}], ids=["left out", "the same", "null"])
def test_an_order_belongs_to_who_places_it(ann, database, said):
    order_id = ann.place(**said)

    assert database.order(order_id)["user_id"] == "ann"
    assert ann.get(f"/api/orders/{order_id}").body["userId"] == "ann"


@pytest.mark.parametrize("user_id", ["bob", "", "ANN", " ann", 7, ["ann"], "x" * 1000])
def test_an_order_for_somebody_else_is_refused_and_names_the_field(ann, database, user_id):
    answer = ann.call("POST", "/api/orders", {**MARKET_ORDER, "userId": user_id})

    assert_problem(answer, 403)
    assert set(answer.body["errors"]) == {"userId"}
    assert database.count("orders") == 0


def test_leaving_the_user_out_or_not_is_the_same_request(ann):
    assert ann.place(clientOrderId="k") == ann.place(clientOrderId="k", userId="ann")


def test_the_same_key_of_two_users_is_two_orders(ann, bob):
    assert ann.place(clientOrderId="k") != bob.place(clientOrderId="k")


def test_a_user_lists_only_their_own_orders_page_by_page(ann, bob):
    placed: dict[User, list[str]] = {ann: [], bob: []}
    for user in (ann, bob, bob, ann, ann, bob):
        placed[user].append(user.place())

    for user, theirs in placed.items():
        first = user.get("/api/orders?limit=2").body
        second = user.get(f"/api/orders?limit=2&cursor={first['nextCursor']}").body
        of_a_status = user.get("/api/orders?status=pending").body
        assert second["nextCursor"] is None
        for orders in (first["orders"] + second["orders"], of_a_status["orders"]):
            assert [order["orderId"] for order in orders] == theirs[::-1]


def test_a_cursor_of_another_user_shows_nothing_of_theirs(ann, bob):
    for _ in range(3):
        ann.place()
    cursor = ann.get("/api/orders?limit=1").body["nextCursor"]

    assert bob.get(f"/api/orders?cursor={cursor}").body["orders"] == []


def test_a_users_orders_are_found_without_reading_those_of_others(database, connection):
    plan = """
        PREPARE page (text, int) AS
        SELECT * FROM orders WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2;
    """
    connection.execute("SET enable_seqscan = off")
    try:
        connection.execute(plan)
        connection.execute("SET plan_cache_mode = force_generic_plan")
        rows = connection.execute("EXPLAIN EXECUTE page ('ann', 20)").fetchall()
    finally:
        connection.execute("RESET ALL")
        connection.execute("DEALLOCATE ALL")

    assert "orders_newest_of_user" in str(rows)
    assert "Sort" not in str(rows)


# --- Operators ---


@every(FOR_OPERATORS)
@pytest.mark.parametrize("scope", [None, "", "other", OPERATE.upper(), f"{OPERATE}:more"])
def test_what_is_for_operators_needs_their_scope(users, method, path, scope):
    answer = users("ann", scope=scope).call(method, path, {"messageIds": ["m1"]})

    assert_problem(answer, 403)
    assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{OPERATE}"'


@every(FOR_OPERATORS)
def test_in_open_mode_nobody_is_known_to_be_an_operator(api, method, path):
    assert_problem(api.request(method, path, {"messageIds": ["m1"]}), 403)


@pytest.mark.parametrize("scope", [None, "", OPERATE, METRICS.upper(), f"{METRICS}:more"])
def test_who_reads_metrics_needs_the_scope_for_that(users, scope):
    answer = users("ann", scope=scope).get("/metrics")

    assert_problem(answer, 403)
    assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{METRICS}"'


def test_a_scraper_reads_metrics_and_is_no_operator(users):
    scraper = users("prometheus", scope=METRICS)

    assert scraper.get("/metrics").status == 200
    assert_problem(scraper.get("/api/dead-letters"), 403)
    assert_problem(scraper.call("POST", "/api/dead-letters/redrive", {"messageIds": ["m1"]}), 403)


def test_any_user_reads_the_statistics(ann, bob):
    ann.place()

    assert bob.get("/api/statistics").body["acceptedPerMinute"] == 1


def test_an_operator_lists_and_redrives_dead_letters(secure, users, ann, queues, database):
    order_id = ann.place()
    database.change("UPDATE orders SET status = 'failed'")
    queues.orders.drain()
    letter = {"message_id": "m1", "queue": "orders", "body": "{}", "order_id": order_id, "reason": "poison"}
    secure.dead_letters.letters.bury(**letter)
    operator = users("olga", scope=OPERATE)

    listed = operator.get("/api/dead-letters").body["deadLetters"]
    assert [(found["messageId"], found["orderId"], found["reason"]) for found in listed] == [("m1", order_id, "poison")]
    assert "body" not in listed[0]
    redriven = operator.call("POST", "/api/dead-letters/redrive", {"messageIds": ["m1", "m2"]})

    assert [found["messageId"] for found in redriven.body["deadLetters"]] == ["m1"]
    assert operator.get("/api/dead-letters").body == {"deadLetters": []}
    queues.work_off()
    assert database.order(order_id)["status"] == "confirmed"


@pytest.mark.parametrize("ids", [None, [], "m1", [7], ["m"] * 101])
def test_a_redrive_names_the_messages_it_is_about(users, ids):
    answer = users("olga", scope=OPERATE).call("POST", "/api/dead-letters/redrive", {"messageIds": ids})

    assert_problem(answer, 400)
    assert set(answer.body["errors"]) == {"messageIds"}


# --- WebSocket ---


@pytest.mark.parametrize(
    "query", [{}, {"ticket": ""}, {"ticket": "forged"}, {"ticket": "x" * 5000}, {"ticket": "\ud800"}]
)
@pytest.mark.parametrize("order", [{}, {"orderId": UNKNOWN_ORDER}], ids=["for no order", "for an order"])
def test_a_connection_without_a_good_ticket_is_refused(secure, connections, queues, cache, query, order):
    assert Socket(connections).connect(**query, **order) == 401

    assert queues.replays.count() == 0
    assert cache.keys() == []


def test_a_token_is_no_ticket(secure, issuer, connections):
    assert Socket(connections).connect(ticket=issuer.token()) == 401


def test_a_ticket_is_good_for_one_connection(ann, connections):
    ticket = ann.ticket()

    assert [Socket(connections).connect(ticket=ticket) for _ in range(3)] == [200, 401, 401]


def test_connections_at_the_same_moment_with_one_ticket_are_one(ann, secure):
    ticket, tickets = ann.ticket(), secure.identification.tickets

    users = at_once([partial(tickets.redeem, ticket, f"connection {number}") for number in range(8)])

    assert sorted(users, key=str) == [*[None] * 7, "ann"]


def test_a_ticket_is_good_for_a_minute(ann, secure, cache):
    answer = ann.call("POST", "/api/stream/tickets").body

    (key,) = cache.keys("ticket:*")
    assert 59_000 < cache.pttl(key) <= 60_000
    assert secure.clock.now().isoformat()[:16] <= answer["expiresAt"][:16]


def test_a_user_has_no_more_connections_than_one_may_have(ann, bob, connect, connections, cache):
    opened = [connect(ann) for _ in range(MOST_CONNECTIONS)]

    beyond = Socket(connections)
    assert beyond.connect(ticket=ann.ticket()) == 409
    beyond.send({"action": "ping"})
    assert beyond.received[0]["error"]["status"] == 401
    connect(bob)

    opened[0].disconnect()
    connect(ann)
    for socket in opened:
        socket.disconnect()
    assert len(cache.keys("connections:*")) == 2


def test_a_connection_whose_end_nobody_heard_of_counts_until_it_would_have_expired(users, connect, cache):
    ann = users("ann", exp=int(time.time()) + 100)
    lost, *_others = [connect(ann) for _ in range(MOST_CONNECTIONS)]
    (listed,) = cache.keys("connections:*")
    assert 90 < cache.zscore(listed, lost.id) / 1000 - time.time() <= 100

    cache.zadd(listed, {lost.id: (time.time() - 1) * 1000})

    connect(ann)


def test_no_name_of_a_user_shows_in_a_key(users, connect, cache):
    connect(users("ann@example.com"))

    assert not [key for key in cache.keys("*") if "ann" in key]


def test_tickets_differ_and_redis_knows_none_of_them(ann, cache):
    tickets = {ann.ticket() for _ in range(20)}

    stored = [*cache.keys(), *map(cache.get, cache.keys())]
    assert len(tickets) == 20
    assert not [ticket for ticket in tickets if ticket in str(stored)]
    assert min(map(len, tickets)) >= 43


def test_a_ticket_of_a_token_that_has_expired_since_is_no_good(secure, connections):
    ticket = secure.identification.tickets.issue("ann", int(time.time()) - 1)

    assert Socket(connections).connect(ticket=ticket.text) == 401


def test_a_connection_is_its_users_for_as_long_as_the_token_was_valid(users, connect, cache):
    socket = connect(users("ann", exp=int(time.time()) + 100))
    lasting = connect(users("ann", exp=int(time.time()) + 100_000))

    assert 90_000 < cache.pttl(f"connection:{socket.id}:user") <= 100_000
    assert 2 * 3600_000 < cache.pttl(f"connection:{lasting.id}:user") < 3 * 3600_000


def test_a_connection_whose_token_has_expired_hears_of_no_further_event_and_is_closed(ann, connect, queues, cache):
    order_id = ann.place(orderType="limit", limitPrice=1)
    expired, valid = connect(ann, orderId=order_id), connect(ann, orderId=order_id)
    queues.work_off()
    cache.delete(f"connection:{expired.id}:user")

    ann.call("DELETE", f"/api/orders/{order_id}")
    queues.work_off()

    assert valid.events == ["pending", "waiting", "cancelled"]
    assert expired.events == ["pending", "waiting", "error"]
    assert expired.received[-1]["error"]["status"] == 401
    assert "reconnect with a new ticket" in expired.received[-1]["error"]["detail"]
    assert expired.closed


def test_however_many_connections_have_expired_an_event_waits_for_none_of_them(ann, queues, cache, connections):
    order_id = ann.place(orderType="limit", limitPrice=1)
    cache.hset(f"viewers:{order_id}", mapping={f"gone {number}": "0:0" for number in range(MOST_EXPIRED + 3)})

    ann.call("DELETE", f"/api/orders/{order_id}")

    assert connections.received == {}
    assert queues.replays.count() == MOST_EXPIRED
    assert cache.hlen(f"viewers:{order_id}") == 3


def test_a_user_streams_an_order_of_their_own_from_connecting_to_the_end(ann, connect, queues):
    socket = connect(ann, orderId=ann.place())

    queues.work_off()

    assert socket.seqs == [1, 2, 3, 4, 5]
    assert socket.closed


@pytest.mark.parametrize("of", ["an order", "no order"])
def test_the_replay_does_not_wait_for_a_connection_that_was_closed_again(
    ann, make_engine, serve, issuer, connect, connections, queues, of
):
    engine = serve(make_engine(**issuer.settings, clock=QuickClock()))
    socket = connect(ann, orderId=ann.place() if of == "an order" else UNKNOWN_ORDER)
    connections.gone.add(socket.id)
    connections.before_post = lambda connection_id: socket.disconnect()

    queues.replays.poll()

    assert engine.clock.slept == []


@pytest.mark.parametrize("whose", ["another's", "nobody's"])
def test_a_connection_opened_for_the_order_of_another_user_is_told_that_there_is_none(
    ann, bob, connect, queues, cache, whose
):
    order_id = ann.place() if whose == "another's" else UNKNOWN_ORDER
    socket = connect(bob, orderId=order_id)

    assert cache.keys("viewers:*") == []
    queues.work_off()

    (message,) = socket.received
    assert message["error"]["status"] == 404
    assert message["error"]["detail"] == f"There is no order {order_id}."
    assert socket.closed


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
def test_the_order_of_another_user_cannot_be_listened_to(ann, bob, connect, queues, cache, action):
    order_id = ann.place()
    socket = connect(bob)

    for asked in (order_id, UNKNOWN_ORDER):
        socket.send({"action": action, "orderId": asked})
    queues.work_off()

    others, unknown = (json.dumps(message) for message in socket.received)
    assert others == unknown.replace(UNKNOWN_ORDER, order_id)
    assert '"status": 404' in others
    assert cache.keys("viewers:*") == []


def test_a_user_subscribes_to_an_order_of_their_own(ann, connect, queues):
    order_id = ann.place()
    socket = connect(ann)
    socket.send({"action": "subscribe", "orderId": order_id})
    queues.work_off()

    assert socket.seqs == [1, 2, 3, 4, 5]


def test_an_order_placed_on_a_connection_belongs_to_its_user(ann, connect, queues, database):
    socket = connect(ann)
    socket.send({"action": "execute", **MARKET_ORDER})
    socket.send({"action": "execute", **MARKET_ORDER, "userId": "ann"})
    queues.work_off()

    assert [row["user_id"] for row in database.rows("SELECT user_id FROM orders")] == ["ann", "ann"]
    assert len(socket.received) == 10


def test_an_order_for_somebody_else_placed_on_a_connection_is_refused(ann, connect, database):
    socket = connect(ann)

    socket.send({"action": "execute", **MARKET_ORDER, "userId": "bob"})

    assert socket.received[0]["error"]["status"] == 403
    assert set(socket.received[0]["error"]["errors"]) == {"userId"}
    assert database.count("orders") == 0


MESSAGES = [
    {"action": "execute", **MARKET_ORDER, "userId": "ann"},
    {"action": "subscribe", "orderId": UNKNOWN_ORDER},
    {"action": "unsubscribe", "orderId": UNKNOWN_ORDER},
    {"action": "ping"},
    "{",
]


@pytest.mark.parametrize("message", MESSAGES, ids=["execute", "subscribe", "unsubscribe", "ping", "no JSON"])
def test_a_connection_that_redis_has_lost_is_told_to_reconnect_and_served_nothing(
    ann, connect, cache, database, message
):
    socket = connect(ann)
    cache.flushall()

    socket.send(message)

    (answer,) = socket.received
    assert answer["error"]["status"] == 401
    assert "reconnect" in answer["error"]["detail"]
    assert database.count("orders") == 0


def test_a_connection_that_was_closed_leaves_nothing_of_its_user_behind(ann, connect, cache):
    socket = connect(ann)

    socket.disconnect()

    assert cache.keys() == []


def test_without_redis_no_ticket_is_given_none_is_taken_and_no_message_served(
    ann, connect, make_engine, serve, issuer, connections, database
):
    socket, ticket = connect(ann), ann.ticket()
    serve(make_engine(**issuer.settings, REDIS_URL=NO_REDIS))

    assert_problem(ann.call("POST", "/api/stream/tickets"), 503)
    assert Socket(connections).connect(ticket=ticket) == 503
    socket.send({"action": "execute", **MARKET_ORDER})
    assert socket.received[0]["error"]["status"] == 503
    assert database.count("orders") == 0


def test_without_postgres_a_connection_for_an_order_is_refused_because_nobody_can_say_whose_it_is(
    ann, make_engine, serve, issuer, connections
):
    order_id, ticket = ann.place(), ann.ticket()
    serve(make_engine(**issuer.settings, DATABASE_URL=NO_DATABASE))

    assert Socket(connections).connect(ticket=ticket, orderId=order_id) == 503


def test_a_connection_that_could_not_be_opened_does_not_count(ann, make_engine, serve, issuer, connections, cache):
    order_id, ticket = ann.place(), ann.ticket()
    serve(make_engine(**issuer.settings, DATABASE_URL=NO_DATABASE))

    assert Socket(connections).connect(ticket=ticket, orderId=order_id) == 503

    assert cache.keys("connection*") == []


# --- Open mode ---


def test_in_open_mode_no_ticket_is_needed_and_none_is_given(api, connections):
    assert_problem(api.request("POST", "/api/stream/tickets"), 409)
    assert Socket(connections).connect() == 200
    assert Socket(connections).connect(ticket="anything") == 200


def test_in_open_mode_an_order_says_whose_it_is_and_everybody_sees_it(api):
    assert_problem(api.post(MARKET_ORDER), 400)
    placed = [api.place(userId=user) for user in ("ann", "bob")]

    assert [order["orderId"] for order in api.get("/api/orders").body["orders"]] == placed[::-1]

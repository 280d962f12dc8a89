"""A user may place so many orders in a minute, and a minute's worth at once."""

from datetime import timedelta

import pytest

from chalicelib.rate_limit import RateLimit
from tests.builders import order_body
from tests.clocks import QuickClock, StoppedClock
from tests.integration.cloud import NO_REDIS, at_once


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.fixture
def limit(make_engine, clock):
    """Six a minute, one each ten seconds, three at once."""
    return RateLimit(make_engine().redis, clock, kind="tests", per_minute=6, burst=3)


def test_a_burst_is_allowed_and_then_one_in_each_interval(limit, clock):
    assert [limit.take("u1") for _ in range(4)] == [0, 0, 0, 10]

    clock.pass_time(9)
    assert limit.take("u1") == pytest.approx(1)
    clock.pass_time(1)
    assert [limit.take("u1") for _ in range(2)] == [0, 10]


def test_who_was_quiet_may_have_a_burst_again_and_no_more(limit, clock):
    for _ in range(3):
        limit.take("u1")
    clock.pass_time(3600)

    assert [limit.take("u1") for _ in range(4)] == [0, 0, 0, 10]


def test_asking_again_and_again_does_not_put_the_next_one_off(limit, clock):
    waits = [limit.take("u1") for _ in range(100)]

    assert waits[3:] == [10] * 97
    clock.pass_time(10)
    assert limit.take("u1") == 0


def test_each_has_a_bucket_of_their_own(limit):
    for _ in range(4):
        limit.take("u1")

    assert limit.take("u2") == 0


def test_processes_that_ask_at_once_share_a_bucket(make_engine, clock):
    limits = [RateLimit(make_engine().redis, clock, kind="tests", per_minute=6, burst=3) for _ in range(8)]

    waits = at_once([lambda limit=limit: limit.take("u1") for limit in limits])

    assert sorted(waits) == [0, 0, 0, 10, 10, 10, 10, 10]


@pytest.mark.parametrize("name", ["{slot}", "u1\r\nSET a b", "a b:*", "someone@example.com", "ü" * 128])
def test_no_name_shows_in_a_key_or_touches_anothers(limit, cache, name):
    limit.take(name)

    (key,) = cache.keys("*")
    assert key.startswith("rate:tests:")
    assert name not in key
    assert key.isascii()
    assert "{" not in key


def test_a_bucket_is_forgotten_when_it_is_full_again(limit, cache):
    for _ in range(3):
        limit.take("u1")

    (key,) = cache.keys("*")
    assert 25_000 < cache.pttl(key) <= 31_000


def test_without_a_limit_nobody_is_counted(make_engine, cache):
    unlimited = RateLimit(make_engine().redis, StoppedClock(), kind="tests", per_minute=0, burst=0)

    assert [unlimited.take("u1") for _ in range(100)] == [0] * 100
    assert cache.keys("*") == []


# --- Orders ---


@pytest.fixture
def quick_clock():
    return QuickClock()


@pytest.fixture
def two_orders_a_minute(api, make_engine, serve, quick_clock):
    return serve(make_engine(clock=quick_clock, USER_ORDER_RATE="2"))


@pytest.mark.usefixtures("two_orders_a_minute")
def test_an_order_beyond_the_limit_is_refused_and_told_when_the_next_is_accepted(api, database, queues):
    answers = [api.post(order_body()) for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 429]
    refused = answers[2]
    assert refused.headers["content-type"] == "application/problem+json"
    assert 29 <= int(refused.headers["retry-after"]) <= 30
    assert refused.body["retryAfter"] == int(refused.headers["retry-after"])
    assert "too many orders" in refused.body["detail"]
    assert database.count("orders") == 2
    assert queues.orders.count() == 2


@pytest.mark.usefixtures("two_orders_a_minute")
def test_an_order_is_accepted_after_as_many_seconds_as_were_told(api, quick_clock):
    for _ in range(2):
        api.place()
    wait = int(api.post(order_body()).headers["retry-after"])

    quick_clock.ahead += timedelta(seconds=wait)

    assert api.post(order_body()).status == 200


@pytest.mark.usefixtures("two_orders_a_minute")
def test_another_user_is_not_held_up(api):
    for _ in range(3):
        api.post(order_body())

    assert api.post(order_body(userId="u2")).status == 200


@pytest.mark.usefixtures("two_orders_a_minute")
def test_a_repeated_request_is_never_refused_for_the_limit(api, database):
    order_id = api.place(clientOrderId="k1")
    repeats = [api.post(order_body(clientOrderId="k1")) for _ in range(5)]

    assert {answer.body["orderId"] for answer in repeats} == {order_id}
    assert api.post(order_body(clientOrderId="k1", amount=2)).status == 409
    assert api.post(order_body(clientOrderId="k2")).status == 429
    assert database.count("orders") == 1


@pytest.mark.usefixtures("two_orders_a_minute")
def test_a_bad_request_does_not_count(api):
    for _ in range(5):
        assert api.post(order_body(amount=0)).status == 400

    assert api.post(order_body()).status == 200


def test_an_order_beyond_the_limit_without_a_key_costs_the_database_nothing(two_orders_a_minute, api):
    for _ in range(2):
        api.place()
    two_orders_a_minute.database.run = lambda *_: pytest.fail("Postgres was asked")

    assert api.post(order_body()).status == 429


@pytest.mark.usefixtures("two_orders_a_minute")
def test_orders_on_a_socket_count_as_well_and_the_socket_stays_open(api, open_socket, database):
    socket = open_socket()
    api.place()
    for _ in range(2):
        socket.send({"action": "execute", **order_body()})
    socket.send({"action": "ping"})

    assert socket.events == ["pending", "error", "pong"]
    error = socket.received[1]["error"]
    assert error["status"] == 429
    assert 29 <= error["retryAfter"] <= 30
    assert database.count("orders") == 2


def test_without_redis_orders_are_accepted_without_a_limit(api, make_engine, serve, caplog):
    serve(make_engine(REDIS_URL=NO_REDIS, USER_ORDER_RATE="1"))

    assert [api.post(order_body()).status for _ in range(3)] == [200] * 3
    assert "not limited: Redis is not available" in caplog.text

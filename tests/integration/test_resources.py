"""The outside world: connections that come back, and parts that do not answer."""

import http.server
import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest

from chalicelib.clock import Clock
from chalicelib.resources import ResourceUnavailable, aws
from chalicelib.resources.circuit_breaker import OPEN_SECONDS
from chalicelib.resources.management_api import ManagementApi
from chalicelib.resources.postgres import Database
from chalicelib.resources.redis import Redis
from chalicelib.resources.sqs import Queue
from tests.clocks import QuickClock, StoppedClock
from tests.integration.cloud import NO_DATABASE, NO_QUEUE, NO_REDIS, at_once


@contextmanager
def switching_often():
    """Let another thread come in between at any point."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


# --- Postgres ---


@pytest.fixture
def pg(postgres):
    database = Database(postgres.url)
    yield database
    database.close()


def pid(pg):
    return pg.run("SELECT pg_backend_pid() AS pid", {})[0]["pid"]


def test_a_connection_is_kept_while_it_works(pg):
    assert pid(pg) == pid(pg)


def test_a_connection_that_died_unseen_is_replaced(pg, database):
    first = pid(pg)
    assert database.rows("SELECT pg_terminate_backend(%s, 5000) AS ended", first) == [{"ended": True}]

    assert pid(pg) != first


def test_a_server_that_is_not_there_is_unavailable():
    with pytest.raises(ResourceUnavailable, match="Postgres is not available"):
        Database(NO_DATABASE).run("SELECT 1", {})


def test_a_statement_that_takes_too_long_is_given_up_and_the_next_one_works(pg):
    with pytest.raises(ResourceUnavailable):
        pg.run("SELECT pg_sleep(5)", {}, patience=0.1)

    assert pg.run("SELECT 7 AS seven", {}) == [{"seven": 7}]


def test_an_answer_that_was_no_longer_waited_for_is_not_taken_for_the_next_ones(pg):
    server = pid(pg)
    os.kill(server, signal.SIGSTOP)
    try:
        with pytest.raises(ResourceUnavailable):
            pg.run("SELECT 1 AS late", {})
    finally:
        os.kill(server, signal.SIGCONT)

    assert pg.run("SELECT 7 AS seven", {}) == [{"seven": 7}]


def test_a_mistake_in_a_statement_is_a_bug_and_no_outage(pg):
    with pytest.raises(psycopg.errors.UndefinedTable):
        pg.run("SELECT * FROM nowhere", {})

    assert pg.run("SELECT 7 AS seven", {}) == [{"seven": 7}]


def test_many_threads_may_be_the_first_to_ask(postgres):
    pg = Database(postgres.url)

    pids = at_once([partial(pid, pg)] * 6)
    pg.close()

    assert len(pids) == 6
    assert len(set(pids)) == 1


def test_each_thread_gets_the_answer_to_its_own_statement(pg):
    """They share a connection, and some a statement's cursor: another's answer would be another order's."""

    def ask(number: int) -> bool:
        kind = f"f{number % 2}"
        return all(
            pg.run(f"SELECT %(number)s::int AS asked, repeat('x', %(number)s) AS {kind}", {"number": number})
            == [{"asked": number, kind: "x" * number}]
            for _ in range(100)
        )

    pid(pg)  # one connection, whoever begins
    with switching_often():
        assert all(at_once([partial(ask, number) for number in range(1, 9)]))


def test_values_come_under_the_names_their_columns_have_now(pg):
    """A migration may come between two runs of a statement."""
    pg.run("CREATE TEMPORARY TABLE kept AS SELECT 1 AS a, 2 AS b", {})
    assert pg.run("SELECT * FROM kept", {}) == [{"a": 1, "b": 2}]

    pg.run("ALTER TABLE kept DROP COLUMN a, ADD COLUMN c integer DEFAULT 3", {})

    assert pg.run("SELECT * FROM kept", {}) == [{"b": 2, "c": 3}]


def test_a_server_that_accepts_and_says_nothing_is_given_up_soon(silent_server):
    started = time.monotonic()
    with pytest.raises(ResourceUnavailable):
        Database(f"postgresql://postgres@127.0.0.1:{silent_server}/orders").run("SELECT 1", {})

    assert time.monotonic() - started < 2


@pytest.fixture
def silent_server():
    """A server that takes connections and never answers; returns its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener.getsockname()[1]


# --- Redis ---


def test_redis_that_does_not_answer_is_left_alone_for_a_moment(redis_server):
    clock = StoppedClock()
    down = Redis(NO_REDIS, clock)
    with pytest.raises(ResourceUnavailable, match="Redis is not available"):
        down.probe()

    down._url = redis_server.url
    down.close()
    with pytest.raises(ResourceUnavailable, match="did not answer a moment ago"):
        down.probe()
    clock.pass_time(OPEN_SECONDS)
    down.probe()
    down.close()


@pytest.mark.parametrize("times", [0, 1, 50])
def test_a_script_is_run_for_many_at_once_and_answers_each_in_turn(redis_server, times):
    store = Redis(redis_server.url, QuickClock())
    calls = [([f"key {number}"], [number]) for number in range(times)]
    try:
        answers = store.run_all("redis.call('SET', KEYS[1], ARGV[1]); return redis.call('GET', KEYS[1])", calls)
        assert answers == [str(number) for number in range(times)]
    finally:
        store.close()


@pytest.fixture
def store(redis_server, clock):
    redis = Redis(redis_server.url, clock)
    yield redis
    redis.close()


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.mark.parametrize("commands", [["PING", "NO SUCH COMMAND"], ["NO SUCH COMMAND", "PING"]])
def test_a_script_that_redis_refuses_for_one_of_many_is_no_answer_for_any(store, clock, commands):
    with pytest.raises(ResourceUnavailable):
        store.run_all("return redis.call(ARGV[1])", [([], [command]) for command in commands])

    clock.pass_time(OPEN_SECONDS)
    assert store.run("return ARGV[1]", [], ["seven"]) == "seven"


def test_an_answer_of_redis_that_was_no_longer_waited_for_is_not_taken_for_the_next_ones(store, clock, cache):
    store.probe()
    cache.client_pause(600)
    with pytest.raises(ResourceUnavailable):
        store.run("return ARGV[1]", [], ["late"])
    cache.client_unpause()

    clock.pass_time(OPEN_SECONDS)
    assert store.run("return ARGV[1]", [], ["seven"]) == "seven"


def test_each_thread_gets_the_answer_to_its_own_script(store):
    def ask(number: int) -> bool:
        return all(store.run("return ARGV[1]", [], [number]) == str(number) for _ in range(100))

    with switching_often():
        assert all(at_once([partial(ask, number) for number in range(1, 9)]))


def test_a_redis_that_says_nothing_is_given_up_soon(silent_server):
    started = time.monotonic()
    quiet = Redis(f"redis://127.0.0.1:{silent_server}/0", Clock())
    with pytest.raises(ResourceUnavailable):
        quiet.probe()
    quiet.close()

    assert time.monotonic() - started < 1.5


def test_a_redis_connection_that_died_unseen_is_replaced(redis_server, cache):
    redis = Redis(redis_server.url, Clock())
    redis.probe()
    cache.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    redis.probe()
    redis.close()


# --- SQS ---


def test_a_message_may_be_delayed_for_up_to_15_minutes(queues):
    queue = Queue(queues.orders.url)
    queue.send({"a": 1}, delay=5000)

    queues.clock.pass_time(899)
    assert queues.orders.receive() == []
    queues.clock.pass_time(2)
    assert len(queues.orders.receive()) == 1


def test_a_fraction_of_a_second_is_rounded_up_so_that_nothing_comes_early(queues):
    queue = Queue(queues.orders.url)
    queue.send({"a": 1}, delay=1.2)

    queues.clock.pass_time(1.5)
    assert queues.orders.receive() == []
    queues.clock.pass_time(0.6)
    (message,) = queues.orders.receive()
    queue.postpone(message["ReceiptHandle"], 1.2)
    queues.clock.pass_time(1.5)
    assert queues.orders.receive() == []
    queues.clock.pass_time(0.6)
    assert len(queues.orders.drain()) == 1
    queue.send_all([{"b": 2}], [1.2])
    queues.clock.pass_time(1.5)
    assert queues.orders.receive() == []
    queues.clock.pass_time(0.6)
    assert len(queues.orders.receive()) == 1


def test_many_messages_are_sent_ten_to_a_request(queues, monkeypatch):
    queue = Queue(queues.orders.url)
    exchange, sizes = aws.exchange, []

    def measured(request, part):
        sizes.append(len(json.loads(request.body)["Entries"]))
        return exchange(request, part)

    monkeypatch.setattr(aws, "exchange", measured)

    queue.send_all([{"number": number} for number in range(23)])

    assert sorted(sizes) == [3, 10, 10]
    assert queues.orders.count() == 23


def test_the_depth_of_a_queue_counts_what_waits_to_be_received(queues):
    queue = Queue(queues.orders.url)
    queue.send_all([{}, {}, {}])
    queue.send({}, delay=60)
    queues.orders.receive()

    assert queue.depth() == 2


def test_a_queue_that_does_not_answer_is_unavailable(queues):
    queue = Queue(NO_QUEUE)
    for call in (lambda: queue.send({}), lambda: queue.send_all([{}]), lambda: queue.postpone("r", 1), queue.depth):
        with pytest.raises(ResourceUnavailable, match="SQS is not available"):
            call()


def test_a_batch_of_which_a_part_was_refused_is_not_taken_for_sent(queues, monkeypatch):
    refusal = aws.Response(200, b'{"Failed": [{"Id": "1", "Code": "InternalError"}]}')
    monkeypatch.setattr(aws, "exchange", lambda *_: refusal)

    with pytest.raises(ResourceUnavailable, match="InternalError"):
        Queue(queues.orders.url).send_all([{}, {}])


# --- The management API ---


@pytest.fixture
def gateway(queues):
    """An API Gateway that notes what is posted; ``/gone`` is gone and ``/broken`` fails."""
    calls = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            calls.append((self.command, self.path, self.rfile.read(length)))
            status = 410 if "gone" in self.path else 500 if "broken" in self.path else 200
            body = json.dumps({"message": "Gone"} if status == 410 else {}).encode()
            self.send_response(status)
            self.send_header("x-amzn-ErrorType", "GoneException" if status == 410 else "InternalServerError")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = answer  # noqa: N815 -- the names that http.server looks for

        def log_message(self, *_):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/ws", calls
        server.shutdown()
        thread.join()


def test_a_message_is_posted_to_its_connection(gateway):
    url, calls = gateway

    assert ManagementApi(url, Clock()).post("abc=", b'{"event":"pong"}') is True

    assert calls == [("POST", "/ws/@connections/abc%3D", b'{"event":"pong"}')]


def test_a_connection_that_is_gone_is_said_to_be(gateway):
    url, _ = gateway

    assert ManagementApi(url, Clock()).post("gone", b"{}") is False
    assert ManagementApi(url, Clock()).close("gone") is False


def test_a_connection_is_closed_from_our_side(gateway):
    url, calls = gateway

    ManagementApi(url, Clock()).close("abc")

    assert [call[:2] for call in calls] == [("DELETE", "/ws/@connections/abc")]


def test_a_gateway_that_fails_or_is_not_there_is_unavailable(gateway):
    url, _ = gateway
    for api in (ManagementApi(url, Clock()), ManagementApi("http://127.0.0.1:1/ws", Clock())):
        with pytest.raises(ResourceUnavailable, match="the management API is not available"):
            api.post("broken", b"{}")
        with pytest.raises(ResourceUnavailable):
            api.close("broken")


def test_a_gateway_that_does_not_answer_is_left_alone_for_a_moment(gateway):
    url, calls = gateway
    clock = StoppedClock()
    api = ManagementApi(url, clock)
    with pytest.raises(ResourceUnavailable):
        api.post("broken", b"{}")
    asked = len(calls)

    with pytest.raises(ResourceUnavailable, match="did not answer a moment ago"):
        api.post("abc", b"{}")
    assert len(calls) == asked
    clock.pass_time(OPEN_SECONDS)
    assert api.post("abc", b"{}") is True

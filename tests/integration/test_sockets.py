"""The WebSocket as clients use it."""

from functools import partial

import pytest

from chalicelib.streaming.viewers import MOST_ORDERS, TooManySubscriptions
from chalicelib.web.fields import LARGEST_BODY
from chalicelib.web.sockets import MESSAGES_AT_ONCE
from tests.builders import UNKNOWN_ORDER, order_body
from tests.clocks import StoppedClock
from tests.integration.cloud import NO_DATABASE, NO_QUEUE, NO_REDIS, Socket, at_once

STEPS = ["pending", "routing", "building", "submitted", "confirmed"]


@pytest.fixture
def socket(open_socket):
    """A connection that was opened for no order."""
    return open_socket()


# --- A socket opened for an order ---


def test_a_viewer_sees_every_step_and_is_closed_after_the_last_one(api, queues, open_socket):
    socket = open_socket(orderId=api.place())

    queues.work_off()

    assert socket.events == STEPS
    assert socket.seqs == [1, 2, 3, 4, 5]
    assert socket.closed


def test_a_viewer_who_comes_after_the_end_sees_everything_and_is_closed(api, queues, open_socket):
    order_id = api.place()
    queues.work_off()

    socket = open_socket(orderId=order_id)
    queues.work_off()

    assert socket.events == STEPS
    assert socket.closed


def test_a_viewer_who_comes_in_the_middle_sees_the_past_first_and_then_the_rest(api, queues, open_socket):
    order_id = api.place()
    queues.orders.poll()
    socket = open_socket(orderId=order_id)
    queues.replays.poll()
    assert socket.events == STEPS[:4]

    queues.work_off()

    assert socket.seqs == [1, 2, 3, 4, 5]


def test_what_happens_between_connecting_and_the_replay_is_sent_once(api, queues, open_socket):
    socket = open_socket(orderId=api.place())
    queues.orders.poll()
    assert socket.received == []

    queues.work_off()

    assert socket.seqs == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("after_seq", [0, 2, 4])
def test_a_viewer_may_resume_after_an_event_it_has(api, queues, open_socket, after_seq):
    order_id = api.place()
    queues.work_off()

    socket = open_socket(orderId=order_id, afterSeq=after_seq)
    queues.work_off()

    assert socket.seqs == list(range(after_seq + 1, 6))
    assert socket.closed


def test_a_viewer_who_has_everything_already_is_only_closed(api, queues, open_socket):
    order_id = api.place()
    queues.work_off()

    socket = open_socket(orderId=order_id, afterSeq=5)
    queues.work_off()

    assert socket.received == []
    assert socket.closed


def test_all_viewers_of_an_order_see_every_event_in_order(api, queues, open_socket):
    order_id = api.place()
    sockets = [open_socket(orderId=order_id) for _ in range(12)]

    queues.work_off()

    assert [socket.seqs for socket in sockets] == [[1, 2, 3, 4, 5]] * 12
    assert all(socket.closed for socket in sockets)


def test_nobody_hears_of_another_order(api, queues, open_socket):
    first, second = api.place(), api.place()
    socket = open_socket(orderId=first)

    queues.work_off()

    assert {message["orderId"] for message in socket.received} == {first}
    assert second != first


def test_a_failed_order_closes_its_viewers_too(api, queues, open_socket):
    socket = open_socket(orderId=api.place(side="buy", amount=1_000_000))

    queues.work_off()

    assert socket.events == ["pending", "failed"]
    assert "cannot be bought" in socket.received[-1]["error"]
    assert socket.closed


@pytest.mark.parametrize("order_id", ["abc", "", UNKNOWN_ORDER])
def test_an_order_that_does_not_exist_is_answered_with_an_error_and_closed(queues, open_socket, order_id):
    socket = open_socket(orderId=order_id)

    queues.work_off()

    assert socket.events == ["error"]
    assert socket.received[0]["error"]["status"] == (404 if len(order_id) == 36 else 400)
    assert socket.closed


def test_a_bad_place_to_resume_from_is_answered_with_an_error_and_closed(api, queues, open_socket):
    socket = open_socket(orderId=api.place(), afterSeq="x")

    queues.work_off()

    assert set(socket.received[0]["error"]["errors"]) == {"afterSeq"}
    assert socket.closed


def test_a_connection_that_is_not_open_yet_is_given_a_moment(api, queues, open_socket, connections):
    socket = open_socket(orderId=api.place())
    connections.refusals[socket.id] = 3

    queues.work_off()

    assert socket.seqs == [1, 2, 3, 4, 5]


def test_a_connection_that_has_the_end_already_is_closed_as_soon_as_it_is_open(api, queues, open_socket, connections):
    order_id = api.place()
    queues.work_off()
    socket = open_socket(orderId=order_id, afterSeq=5)
    connections.refusals[socket.id] = 3

    queues.work_off()

    assert socket.received == []
    assert socket.closed


def test_a_connection_that_is_gone_is_forgotten(api, queues, open_socket, connections, cache):
    socket = open_socket(orderId=api.place())
    connections.gone.add(socket.id)

    queues.work_off()

    assert socket.received == []
    assert not [key for key in cache.scan_iter() if socket.id in key]
    assert cache.keys("viewers:*") == []


def test_one_viewer_that_is_gone_does_not_keep_the_others_from_seeing(api, queues, open_socket, connections):
    order_id = api.place()
    gone, *others = [open_socket(orderId=order_id) for _ in range(3)]
    connections.gone.add(gone.id)

    queues.work_off()

    assert [socket.seqs for socket in others] == [[1, 2, 3, 4, 5]] * 2


def test_a_connection_that_was_closed_leaves_nothing_behind(api, open_socket, cache):
    socket = open_socket(orderId=api.place())

    socket.disconnect()

    assert cache.keys("viewers:*") == []
    assert cache.keys("connection:*") == []


def test_a_connection_that_left_before_its_replay_is_sent_nothing(api, queues, open_socket):
    socket = open_socket(orderId=api.place())
    socket.disconnect()

    queues.work_off()

    assert socket.received == []


# --- Messages ---


def test_an_order_placed_on_the_socket_is_streamed_there_and_the_socket_stays_open(socket, queues, database):
    socket.send({"action": "execute", **order_body()})
    assert socket.events == ["pending"]

    queues.work_off()

    assert socket.events == STEPS
    assert socket.seqs == [1, 2, 3, 4, 5]
    assert not socket.closed
    assert database.order(socket.received[0]["orderId"])["status"] == "confirmed"


def test_several_orders_may_be_streamed_on_one_socket(socket, queues):
    for amount in (1, 2, 3):
        socket.send({"action": "execute", **order_body(amount=amount)})

    queues.work_off()

    orders = {message["orderId"] for message in socket.received}
    assert len(orders) == 3
    for order_id in orders:
        assert [message["seq"] for message in socket.received if message["orderId"] == order_id] == [1, 2, 3, 4, 5]


def test_an_order_placed_twice_with_the_same_key_is_replayed(socket, queues, database):
    order = {"action": "execute", **order_body(clientOrderId="k1")}
    socket.send(order)
    queues.work_off()
    socket.send(order)

    assert socket.seqs == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]
    assert database.count("orders") == 1


def test_the_same_key_for_another_order_is_answered_with_an_error(socket, database):
    socket.send({"action": "execute", **order_body(clientOrderId="k1")})
    socket.send({"action": "execute", **order_body(clientOrderId="k1", amount=2)})

    assert socket.events == ["pending", "error"]
    assert socket.received[1]["error"]["status"] == 409
    assert database.count("orders") == 1


def test_a_bad_order_is_answered_with_its_errors_and_the_socket_stays_open(socket, database):
    socket.send({"action": "execute", **order_body(amount="1e400", tokenOut="SOL")})
    socket.send({"action": "ping"})

    assert socket.events == ["error", "pong"]
    assert set(socket.received[0]["error"]["errors"]) == {"amount", "tokenOut"}
    assert not socket.closed
    assert database.count("orders") == 0


@pytest.mark.parametrize(
    "message", ["", "{", "[1]", "true", "[" * 15_000, "{}", '{"action": "dance"}', '{"action": [1]}']
)
def test_a_message_that_cannot_be_understood_is_answered_and_the_socket_stays_open(socket, message):
    socket.send(message)

    assert socket.events == ["error"]
    assert socket.received[0]["error"]["status"] == 400
    assert not socket.closed


def test_a_subscriber_sees_the_past_and_then_what_happens(socket, api, queues):
    order_id = api.place()
    socket.send({"action": "subscribe", "orderId": order_id})
    assert socket.seqs == [1]

    queues.work_off()

    assert socket.seqs == [1, 2, 3, 4, 5]
    assert not socket.closed


def test_a_subscriber_may_resume(socket, api, queues):
    order_id = api.place()
    queues.work_off()

    socket.send({"action": "subscribe", "orderId": order_id, "afterSeq": 3})

    assert socket.seqs == [4, 5]


def test_subscribing_twice_is_an_error_and_repeats_nothing(socket, api):
    order_id = api.place()
    socket.send({"action": "subscribe", "orderId": order_id})
    socket.send({"action": "subscribe", "orderId": order_id})

    assert socket.events == ["pending", "error"]
    assert socket.received[1]["error"]["status"] == 409


def test_a_socket_opened_for_one_order_stays_open_when_it_subscribed_to_another(api, queues, open_socket):
    first, second = api.place(), api.place()
    socket = open_socket(orderId=first)
    queues.replays.poll()
    socket.send({"action": "subscribe", "orderId": second})

    queues.work_off()

    assert len(socket.received) == 10
    assert not socket.closed


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ({"action": "subscribe"}, 400),
        ({"action": "subscribe", "orderId": "abc"}, 400),
        ({"action": "subscribe", "orderId": UNKNOWN_ORDER}, 404),
        ({"action": "subscribe", "orderId": UNKNOWN_ORDER, "afterSeq": -1}, 400),
        ({"action": "subscribe", "orderId": UNKNOWN_ORDER, "more": 1}, 400),
        ({"action": "unsubscribe", "orderId": UNKNOWN_ORDER}, 404),
        ({"action": "unsubscribe", "orderId": UNKNOWN_ORDER, "more": 1}, 400),
    ],
)
def test_a_subscription_that_cannot_be_is_an_error(socket, cache, message, status):
    socket.send(message)

    assert socket.events == ["error"]
    assert socket.received[0]["error"]["status"] == status
    assert cache.keys("viewers:*") == []


def test_who_unsubscribed_sees_no_more(socket, api, queues):
    order_id = api.place()
    socket.send({"action": "subscribe", "orderId": order_id})
    socket.send({"action": "unsubscribe", "orderId": order_id})

    queues.work_off()

    assert socket.events == ["pending", "unsubscribed"]


def test_a_ping_is_answered(socket):
    socket.send({"action": "ping"})

    assert socket.received == [{"event": "pong"}]


# --- Limits ---


@pytest.fixture
def full(socket, cache):
    """A connection that listens to as many orders as one may."""
    cache.sadd(f"connection:{socket.id}:orders", *range(MOST_ORDERS))
    return socket


def test_a_connection_listens_to_no_more_orders_than_it_may(socket, api, cache):
    cache.sadd(f"connection:{socket.id}:orders", *range(MOST_ORDERS - 1))
    last, beyond = api.place(), api.place()

    for order_id in (last, beyond):
        socket.send({"action": "subscribe", "orderId": order_id})

    assert socket.events == ["pending", "error"]
    error = socket.received[1]["error"]
    assert error["status"] == 409
    assert f"listens to {MOST_ORDERS} orders already" in error["detail"]
    assert cache.exists(f"viewers:{beyond}") == 0


def test_subscriptions_at_the_same_moment_do_not_get_past_the_limit(make_engine, cache, full):
    cache.spop(f"connection:{full.id}:orders", 3)

    def listen(engine, number):
        try:
            return engine.viewers.add(f"order {number}", full.id, 0, replay=False)
        except TooManySubscriptions:
            return False

    added = at_once([partial(listen, make_engine(), number) for number in range(8)])

    assert sorted(added) == [False] * 5 + [True] * 3


def test_who_listens_to_as_many_orders_as_it_may_can_unsubscribe_and_listen_to_another(full, api, cache):
    first, second = api.place(), api.place()
    cache.spop(f"connection:{full.id}:orders")
    full.send({"action": "subscribe", "orderId": first})
    full.send({"action": "subscribe", "orderId": first})
    assert "listens to order" in full.received[1]["error"]["detail"]
    full.send({"action": "unsubscribe", "orderId": first})

    full.send({"action": "subscribe", "orderId": second})

    assert full.events == ["pending", "error", "unsubscribed", "pending"]


def test_an_order_placed_on_a_connection_that_listens_to_too_many_is_accepted_and_the_client_is_told(
    full, database, queues
):
    full.send({"action": "execute", **order_body()})

    (order,) = database.rows("SELECT * FROM orders")
    assert full.events == ["error"]
    assert full.received[0]["error"]["status"] == 409
    assert f"Order {order['id']} was accepted, but is not streamed here" in full.received[0]["error"]["detail"]
    assert queues.orders.count() == 1


def test_a_connection_that_sends_too_many_messages_is_told_when_to_go_on_and_stays_open(
    make_engine, serve, connections
):
    engine = serve(make_engine(clock=StoppedClock()))
    socket = Socket(connections)
    for _ in range(MESSAGES_AT_ONCE + 1):
        socket.send({"action": "ping"})

    assert socket.events == ["pong"] * MESSAGES_AT_ONCE + ["error"]
    error = socket.received[-1]["error"]
    assert (error["status"], error["retryAfter"]) == (429, 1)
    assert not socket.closed
    engine.clock.pass_time(0.05)
    socket.send({"action": "ping"})
    assert socket.events[-1] == "pong"


def test_a_connection_may_subscribe_to_all_the_orders_it_may_listen_to_at_once():
    assert MESSAGES_AT_ONCE >= MOST_ORDERS


def test_a_message_that_is_too_large_is_answered_and_the_socket_stays_open(socket):
    socket.send({"action": "ping", "more": "x" * LARGEST_BODY})

    assert socket.received[0]["error"]["status"] == 413
    assert not socket.closed


# --- Outages ---


@pytest.mark.parametrize("settings", [{"REDIS_URL": NO_REDIS}, {"REPLAYS_QUEUE_URL": NO_QUEUE}])
def test_a_socket_that_could_not_be_served_is_refused(api, make_engine, serve, connections, settings):
    order_id = api.place()
    serve(make_engine(**settings))

    assert Socket(connections).connect(orderId=order_id) == 503


def test_without_redis_an_order_placed_on_a_socket_is_accepted_and_the_client_is_told(
    socket, make_engine, serve, database, queues
):
    serve(make_engine(REDIS_URL=NO_REDIS))

    socket.send({"action": "execute", **order_body()})

    (order,) = database.rows("SELECT * FROM orders")
    assert socket.events == ["error"]
    assert f"Order {order['id']} was accepted" in socket.received[0]["error"]["detail"]
    assert queues.orders.count() == 1


def test_without_postgres_an_order_placed_on_a_socket_is_refused_and_does_not_exist(
    socket, make_engine, serve, database
):
    serve(make_engine(DATABASE_URL=NO_DATABASE))

    socket.send({"action": "execute", **order_body()})

    assert socket.events == ["error"]
    assert socket.received[0]["error"]["status"] == 503
    assert database.count("orders") == 0


def test_viewers_that_missed_events_while_redis_was_gone_catch_up(
    api, make_engine, serve, queues, open_socket, database
):
    order_id = api.place()
    socket = open_socket(orderId=order_id)
    queues.replays.poll()
    serve(make_engine(REDIS_URL=NO_REDIS))
    queues.work_off(queues.orders, queues.settlements)
    assert socket.seqs == [1]

    serve(make_engine())
    queues.work_off()

    assert socket.seqs == [1, 2, 3, 4, 5]
    assert socket.closed

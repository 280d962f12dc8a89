from typing import Any

import pytest

from tests.builders import UNKNOWN_ORDER
from tests.e2e.client import MARKET_ORDER, Client, at_once

WHOLE_STORY = [(1, "pending"), (2, "routing"), (3, "building"), (4, "submitted"), (5, "confirmed")]


def steps(events: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(event["seq"], event["status"]) for event in events]


def test_late_subscriber_sees_everything(client: Client, confirmed: list[dict[str, Any]]) -> None:
    with client.socket(orderId=confirmed[0]["orderId"]) as late:
        assert late.events_until_end() == confirmed
        assert late.close_code() == 1000


def test_after_seq_resumes_where_a_client_left_off(client: Client) -> None:
    order_id = client.place()
    with client.socket(orderId=order_id) as first:
        seen = [first.receive(), first.receive()]

    with client.socket(orderId=order_id, afterSeq=seen[-1]["seq"]) as second:
        seen += second.events_until_end()
        assert second.close_code() == 1000

    assert steps(seen) == WHOLE_STORY


def test_every_viewer_of_an_order_sees_all_of_it_in_order(client: Client) -> None:
    order_id = client.place()

    streams = at_once(lambda _: client.watch(order_id), range(6))

    assert [steps(stream) for stream in streams] == [WHOLE_STORY] * 6


def test_orders_executed_on_a_socket_stream_on_it_each_in_order(client: Client) -> None:
    with client.socket() as socket:
        for token in ("USDC", "USDT", "RAY"):
            socket.send({"action": "execute", **MARKET_ORDER, "tokenOut": token})
        events = socket.events_until_end(orders=3)
        # It was not opened for one order, so it can go on.
        assert socket.ask({"action": "ping"}) == {"event": "pong"}

    order_ids = {event["orderId"] for event in events}
    assert len(order_ids) == 3
    for order_id in order_ids:
        assert steps([event for event in events if event["orderId"] == order_id]) == WHOLE_STORY
        assert client.get(f"/api/orders/{order_id}").body["status"] == "confirmed"


def test_socket_that_subscribed_to_more_than_its_order_stays_open(client: Client) -> None:
    first, second = client.place(), client.place()

    with client.socket(orderId=first) as socket:
        socket.send({"action": "subscribe", "orderId": second})
        events = socket.events_until_end(orders=2)
        assert socket.ask({"action": "ping"}) == {"event": "pong"}

    for order_id in (first, second):
        assert steps([event for event in events if event["orderId"] == order_id]) == WHOLE_STORY


def test_subscription_replays_from_where_it_is_told(client: Client, confirmed: list[dict[str, Any]]) -> None:
    order_id = confirmed[0]["orderId"]

    with client.socket() as socket:
        socket.send({"action": "subscribe", "orderId": order_id, "afterSeq": 3})
        assert steps(socket.events_until_end()) == WHOLE_STORY[3:]
        socket.send({"action": "subscribe", "orderId": order_id})
        assert steps(socket.events_until_end()) == WHOLE_STORY


def test_unsubscribed_socket_hears_nothing_more(client: Client) -> None:
    order_id = client.place()

    with client.socket() as socket:
        socket.send({"action": "subscribe", "orderId": order_id})
        heard = [socket.receive()]
        socket.send({"action": "unsubscribe", "orderId": order_id})
        while heard[-1]["event"] != "unsubscribed":
            heard.append(socket.receive())
        client.watch(order_id)
        assert socket.ask({"action": "ping"}) == {"event": "pong"}

    assert heard[-1]["orderId"] == order_id
    assert "confirmed" not in [message["event"] for message in heard]


@pytest.mark.parametrize(
    ("order_id", "status"),
    [
        pytest.param(UNKNOWN_ORDER, 404, id="unknown"),
        pytest.param("not-a-uuid", 400, id="no UUID"),
        pytest.param("", 400, id="empty"),
        pytest.param("\0", 400, id="NUL"),
        pytest.param("x" * 5000, 400, id="5,000 characters"),
    ],
)
def test_socket_for_an_order_that_does_not_exist_says_so_and_closes(client: Client, order_id: str, status: int) -> None:
    with client.socket(orderId=order_id) as socket:
        message = socket.receive()
        assert socket.close_code() == 1000

    assert message["event"] == "error"
    assert message["error"]["status"] == status


@pytest.mark.parametrize("after_seq", ["-1", "x", "1.5", "99999999999"])
def test_socket_with_a_malformed_position_says_so_and_closes(client: Client, after_seq: str) -> None:
    with client.socket(orderId=UNKNOWN_ORDER, afterSeq=after_seq) as socket:
        assert "afterSeq" in socket.receive()["error"]["errors"]
        assert socket.close_code() == 1000

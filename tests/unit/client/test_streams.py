"""Streams: each event once and in order, whatever becomes of the connections."""

import asyncio
import json

import pytest

from oee import (
    Accepted,
    AsyncClient,
    Conflict,
    NotFound,
    Refused,
    Retries,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from oee.feed import LAST_WORD_SECONDS, MOST_ORDERS, QUIET_SECONDS, Feed
from oee.protocol import Protocol, Surroundings
from oee.steps import Connect, Deliver, Disconnect, Progress, Receive, Silence
from tests.unit.client.engines import (
    ACCEPTED,
    CUT,
    LISTEN,
    ORDER,
    ORDER_ID,
    OTHER_ID,
    TERMS,
    Engine,
    Refuse,
    answer,
    event,
    problem,
)

NOBODY_ASKED = Engine(answer("not to be asked", 500))
STORY = [event(seq) for seq in range(1, 6)]
ENDED = answer({**ORDER, "status": "confirmed", "seq": 5})


def told(events):
    return [(each.order_id, each.seq) for each in events]


def of(order_id, *seqs):
    return [(order_id, seq) for seq in seqs]


def error(status, detail="no", **members):
    return {"event": "error", "error": {"title": "Title", "status": status, "detail": detail, **members}}


def subscribed(order_id, after_seq):
    return {"action": "subscribe", "orderId": order_id, "afterSeq": after_seq}


# --- One order ---


def test_an_order_is_watched_until_the_engine_closes_the_connection(caller, sockets):
    server = sockets([*STORY, 1000])

    events = caller(NOBODY_ASKED, websocket_url=server.url).watch(ORDER_ID)

    assert told(events) == of(ORDER_ID, 1, 2, 3, 4, 5)
    assert server.queries == [{"orderId": ORDER_ID, "afterSeq": "0"}]


@pytest.mark.parametrize("how", [pytest.param(CUT, id="cut"), pytest.param(1001, id="going away")])
def test_a_connection_that_breaks_is_replaced_and_goes_on_where_it_broke(caller, sockets, how):
    server = sockets([*STORY[:2], how], [how], [*STORY[2:], 1000])

    events = caller(NOBODY_ASKED, websocket_url=server.url).watch(ORDER_ID)

    assert told(events) == of(ORDER_ID, 1, 2, 3, 4, 5)
    assert [query["afterSeq"] for query in server.queries] == ["0", "2", "2"]


def test_an_event_that_comes_again_is_told_once(caller, sockets):
    server = sockets([STORY[0], STORY[0], *STORY, STORY[4], 1000])

    assert told(caller(NOBODY_ASKED, websocket_url=server.url).watch(ORDER_ID)) == of(ORDER_ID, 1, 2, 3, 4, 5)


def test_what_is_missing_between_two_events_is_asked_for(caller, sockets):
    server = sockets([STORY[0], STORY[3]], [*STORY[1:], 1000])

    assert told(caller(NOBODY_ASKED, websocket_url=server.url).watch(ORDER_ID)) == of(ORDER_ID, 1, 2, 3, 4, 5)
    assert server.queries[1]["afterSeq"] == "1"


def test_an_order_that_was_revived_is_watched_to_its_second_end(caller, sockets):
    story = [event(1), event(2, "failed"), event(3, "redriven"), event(4, "confirmed")]
    server = sockets([*story, 1000])

    assert told(caller(NOBODY_ASKED, websocket_url=server.url).watch(ORDER_ID)) == of(ORDER_ID, 1, 2, 3, 4)


def test_a_connection_that_breaks_after_the_last_event_is_not_replaced(caller, sockets):
    server = sockets([*STORY, CUT])

    assert len(caller(NOBODY_ASKED, websocket_url=server.url).watch(ORDER_ID)) == 5
    assert len(server.queries) == 1


def test_nothing_comes_of_an_order_whose_last_event_is_known(caller, sockets):
    server = sockets([*STORY])

    assert caller(Engine(ENDED), websocket_url=server.url).watch(ORDER_ID, after_seq=5) == []
    assert server.queries == []


def test_an_order_is_watched_from_where_one_says(caller, sockets):
    server = sockets([*STORY[2:], 1000])

    events = caller(Engine(ENDED), websocket_url=server.url).watch(ORDER_ID, after_seq=2)

    assert told(events) == of(ORDER_ID, 3, 4, 5)
    assert server.queries[0]["afterSeq"] == "2"


def test_a_connection_that_is_closed_in_peace_before_the_end_is_replaced(caller, sockets):
    server = sockets([*STORY[:2], 1000], [*STORY[2:], 1000])

    assert len(caller(NOBODY_ASKED, websocket_url=server.url).watch(ORDER_ID)) == 5


def test_messages_that_are_no_events_are_passed_over(caller, sockets):
    noise = [{"event": "pong"}, {"event": "greeting", "seq": "x"}, "[]", "no JSON", event(1, order_id=OTHER_ID)]
    server = sockets([*noise, *STORY, 1000])

    assert len(caller(NOBODY_ASKED, websocket_url=server.url).watch(ORDER_ID)) == 5


def test_an_order_that_does_not_exist_ends_the_iteration_with_an_error(caller, sockets):
    server = sockets([error(404, f"There is no order {ORDER_ID}."), 1000])

    with pytest.raises(NotFound, match=f"There is no order {ORDER_ID}"):
        caller(NOBODY_ASKED, websocket_url=server.url).watch(ORDER_ID)


def test_an_event_that_cannot_be_read_is_an_error_and_no_silence(caller, sockets):
    server = sockets([event(1, timestamp="yesterday")])

    with pytest.raises(UnexpectedAnswer, match="An event cannot be read"):
        caller(NOBODY_ASKED, websocket_url=server.url).watch(ORDER_ID)


def test_a_part_that_is_down_is_asked_again_after_what_it_says(caller, sockets):
    server = sockets([error(503, "down", retryAfter=2)], [*STORY, 1000])
    client = caller(NOBODY_ASKED, websocket_url=server.url, retries=Retries(first=0.5))

    assert len(client.watch(ORDER_ID)) == 5
    assert client.slept == [2.5]


@pytest.mark.parametrize("scripts", [([CUT],), (Refuse(503),), ([error(429, "too many")],)])
def test_a_stream_that_hears_nothing_gives_up_at_its_deadline(caller, sockets, scripts):
    client = caller(NOBODY_ASKED, websocket_url=sockets(*scripts).url, retries=Retries(deadline=10))

    with pytest.raises((Unreachable, Refused)):
        client.watch(ORDER_ID)

    assert 5 < sum(client.slept) <= 10


def test_a_stream_that_goes_on_may_break_for_longer_than_its_deadline_in_all(caller, sockets):
    breaks = [[STORY[seq], *([CUT] if seq < 4 else [1000])] for seq in range(5)]
    server = sockets(breaks[0], [CUT], breaks[1], [CUT], breaks[2], [CUT], breaks[3], [CUT], breaks[4])
    client = caller(NOBODY_ASKED, websocket_url=server.url, retries=Retries(deadline=4, first=1))

    assert len(client.watch(ORDER_ID)) == 5
    assert sum(client.slept) > 4


def test_an_order_is_placed_and_watched_where_the_engine_says(caller, sockets):
    server = sockets([*STORY, 1000])
    engine = Engine(answer({**ACCEPTED, "webSocketUrl": f"{server.url}?orderId={ORDER_ID}"}))

    assert len(caller(engine).submit_and_watch(**TERMS)) == 5


def test_a_named_address_wins_over_the_engines(caller, sockets):
    server = sockets([*STORY, 1000])
    engine = Engine(answer({**ACCEPTED, "webSocketUrl": "ws://127.0.0.1:9/ws?orderId=x"}))

    assert len(caller(engine, websocket_url=server.url).submit_and_watch(**TERMS)) == 5


def test_tls_is_not_given_up_for_an_address_in_an_answer(caller):
    client = caller(NOBODY_ASKED, url="https://engine.test/").client

    assert client.websocket_url == "wss://engine.test/ws"
    assert client._protocol.websocket_url(accepted("ws://engine.test/ws")) == "wss://engine.test/ws"
    assert client._protocol.websocket_url(accepted("wss://sockets.test/ws?orderId=1")) == "wss://sockets.test/ws"
    assert client._protocol.websocket_url(accepted("")) == "wss://engine.test/ws"


def accepted(websocket_url):
    return Accepted(order_id=ORDER_ID, status="pending", web_socket_url=websocket_url)


# --- Many orders ---


def test_orders_are_followed_on_one_connection_until_all_have_ended(caller, sockets):
    others = [event(seq, order_id=OTHER_ID) for seq in range(1, 6)]
    server = sockets([LISTEN, LISTEN, STORY[0], *others, *STORY[1:]])
    stream = caller(NOBODY_ASKED, websocket_url=server.url).stream()
    stream.follow(ORDER_ID)
    stream.follow(OTHER_ID)

    events = stream.rest()

    assert told(events) == [*of(ORDER_ID, 1), *of(OTHER_ID, 1, 2, 3, 4, 5), *of(ORDER_ID, 2, 3, 4, 5)]
    assert server.heard == [subscribed(ORDER_ID, 0), subscribed(OTHER_ID, 0)]
    assert server.queries == [{}]


def test_a_broken_connection_asks_for_each_order_from_where_it_was_heard(caller, sockets):
    server = sockets(
        [LISTEN, LISTEN, STORY[0], STORY[1], event(1, "failed", order_id=OTHER_ID), CUT], [LISTEN, *STORY[2:]]
    )
    stream = caller(NOBODY_ASKED, websocket_url=server.url).stream()
    stream.follow(ORDER_ID)
    stream.follow(OTHER_ID)

    assert len(stream.rest()) == 6
    assert server.heard[2:] == [subscribed(ORDER_ID, 2)]


def test_an_order_that_is_placed_while_one_listens_is_followed_as_well(caller, sockets):
    server = sockets([LISTEN, STORY[0], LISTEN, *STORY[1:], event(1, "failed", order_id=OTHER_ID)])
    stream = caller(Engine(answer({**ACCEPTED, "orderId": OTHER_ID})), websocket_url=server.url).stream()
    stream.follow(ORDER_ID)
    first = [stream.next()]
    stream.submit(**TERMS)

    events = stream.rest()

    assert told(first + events) == [*of(ORDER_ID, 1, 2, 3, 4, 5), *of(OTHER_ID, 1)]
    assert server.heard == [subscribed(ORDER_ID, 0), subscribed(OTHER_ID, 0)]


def test_a_stream_that_is_over_begins_again_with_another_order(caller, sockets):
    server = sockets([LISTEN, *STORY], [LISTEN, event(1, "failed", order_id=OTHER_ID)])
    stream = caller(NOBODY_ASKED, websocket_url=server.url).stream()
    stream.follow(ORDER_ID)
    before = stream.rest()
    stream.follow(OTHER_ID)

    assert told(before + stream.rest()) == [*of(ORDER_ID, 1, 2, 3, 4, 5), *of(OTHER_ID, 1)]


def test_an_order_that_cannot_be_streamed_does_not_end_the_others(caller, sockets):
    server = sockets([LISTEN, LISTEN, STORY[0], error(404, f"There is no order {OTHER_ID}."), *STORY[1:]])
    stream = caller(NOBODY_ASKED, websocket_url=server.url).stream()
    stream.follow(ORDER_ID)
    stream.follow(OTHER_ID)

    first = [stream.next()]
    with pytest.raises(NotFound, match=OTHER_ID):
        stream.next()

    assert told(first + stream.rest()) == of(ORDER_ID, 1, 2, 3, 4, 5)


def test_an_order_that_has_nothing_left_to_tell_is_not_waited_for(caller, sockets):
    stream = caller(Engine(ENDED), websocket_url=sockets([CUT]).url).stream()
    stream.follow(ORDER_ID, after_seq=5)

    assert stream.rest() == []


def test_a_stream_follows_no_more_orders_than_a_connection_may():
    feed = Feed()
    for number in range(MOST_ORDERS):
        feed.follow(f"order {number}")

    with pytest.raises(ValueError, match=f"at most {MOST_ORDERS} orders at once"):
        feed.follow("one more")


def test_who_stops_waiting_for_an_event_misses_none(sockets):
    server = sockets([LISTEN, STORY[0], LISTEN, *STORY[1:], event(1, "failed", order_id=OTHER_ID)])

    async def play():
        async with AsyncClient(websocket_url=server.url) as client, client.stream() as stream:
            await stream.follow(ORDER_ID)
            heard = [await anext(stream)]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await anext(stream)
            await stream.follow(OTHER_ID)
            return heard + [each async for each in stream]

    assert told(asyncio.run(play())) == [*of(ORDER_ID, 1, 2, 3, 4, 5), *of(OTHER_ID, 1)]


def test_a_watch_that_is_left_early_leaves_no_connection_behind(caller, sockets):
    server = sockets([STORY[0], LISTEN])

    caller(NOBODY_ASKED, websocket_url=server.url).leave_after_one(ORDER_ID)

    assert server.was_left.wait(10)


# --- Tickets ---


def test_a_connection_is_opened_with_a_ticket_and_never_with_the_token(caller, sockets):
    server = sockets([STORY[0], CUT], [*STORY[1:], 1000])
    engine = Engine(answer({"ticket": "first"}), answer({"ticket": "second"}))

    events = caller(engine, websocket_url=server.url, token="t0ken").watch(ORDER_ID)

    assert len(events) == 5
    assert [query["ticket"] for query in server.queries] == ["first", "second"]
    assert engine.calls == ["POST /api/stream/tickets"] * 2
    assert "t0ken" not in json.dumps(server.queries)


def test_an_engine_that_is_open_to_all_is_asked_for_a_ticket_once(caller, sockets):
    server = sockets([STORY[0], CUT], [*STORY[1:], 1000])
    engine = Engine(problem(409, "No ticket is needed"))

    assert len(caller(engine, websocket_url=server.url, token="t").watch(ORDER_ID)) == 5
    assert ["ticket" in query for query in server.queries] == [False, False]
    assert len(engine.requests) == 1


def test_a_connection_whose_user_has_expired_gets_a_new_ticket(caller, sockets):
    server = sockets([STORY[0], error(401, "reconnect with a new ticket"), 1000], [*STORY[1:], 1000])
    engine = Engine(answer({"ticket": "first"}), answer({"ticket": "second"}))

    assert len(caller(engine, websocket_url=server.url, token="t").watch(ORDER_ID)) == 5
    assert [query["ticket"] for query in server.queries] == ["first", "second"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_ticket_that_is_not_taken_is_replaced(caller, sockets, status):
    server = sockets(Refuse(status), [*STORY, 1000])

    assert len(caller(Engine(answer({"ticket": "x"})), websocket_url=server.url, token="t").watch(ORDER_ID)) == 5


def test_who_has_no_token_is_told_that_one_is_needed(caller, sockets):
    with pytest.raises(Unauthorized, match="OEE_TOKEN"):
        caller(NOBODY_ASKED, websocket_url=sockets(Refuse(401)).url).watch(ORDER_ID)


def test_who_has_no_token_is_told_so_also_where_every_refusal_is_a_403(caller, sockets):
    engine = Engine(problem(401, "A token is needed."))

    with pytest.raises(Unauthorized, match="OEE_TOKEN"):
        caller(engine, websocket_url=sockets(Refuse(403)).url).watch(ORDER_ID)


def test_a_connection_that_cannot_be_opened_now_is_tried_again(caller, sockets):
    server = sockets(Refuse(403), Refuse(403), [*STORY, 1000])
    engine = Engine(problem(409, "No ticket is needed."))

    assert len(caller(engine, websocket_url=server.url).watch(ORDER_ID)) == 5


def test_a_connection_that_cannot_be_opened_for_long_is_no_matter_of_tokens(caller, sockets):
    with pytest.raises(Unavailable, match="a part of the engine may be down"):
        caller(Engine(problem(409)), websocket_url=sockets(*[Refuse(403)] * 50).url).watch(ORDER_ID)


def test_a_token_that_is_not_good_ends_a_stream_at_once(caller, sockets):
    with pytest.raises(Unauthorized, match="The token has expired"):
        caller(Engine(problem(401, "The token has expired.")), websocket_url="ws://x/ws", token="t").watch(ORDER_ID)


def test_too_many_connections_are_an_error_that_says_what_to_do(caller, sockets):
    with pytest.raises(Conflict, match="close one first"):
        caller(NOBODY_ASKED, websocket_url=sockets(Refuse(409)).url).watch(ORDER_ID)


def test_an_address_without_a_websocket_is_named(caller, sockets):
    server = sockets(Refuse(404))

    with pytest.raises(UnexpectedAnswer, match=f"{server.url} speaks no WebSocket"):
        caller(NOBODY_ASKED, websocket_url=server.url).watch(ORDER_ID)


# --- Silence, without waiting for it ---


def step_by_step():
    """Return a stream of one order before anybody takes its steps."""
    feed = Feed(of_one=True)
    feed.follow(ORDER_ID)
    protocol = Protocol(
        url="http://engine.test",
        websocket_url=None,
        user_id=None,
        timeout=10,
        retries=Retries(),
        surroundings=Surroundings(now=lambda: 0.0, chance=lambda: 1.0),
    )
    progress = Progress(protocol.stream(feed, "ws://engine.test/ws"))
    progress.succeed(None)  # there is no token
    return progress


def test_a_connection_that_says_nothing_for_a_minute_is_replaced_at_once():
    progress = step_by_step()
    assert isinstance(progress.step, Connect)
    progress.succeed(None)
    progress.succeed(json.dumps(STORY[0]))
    assert isinstance(progress.step, Deliver)
    progress.succeed(None)

    assert progress.step == Receive(QUIET_SECONDS)
    progress.fail(Silence())
    assert progress.step == Disconnect()
    progress.succeed(None)
    progress.succeed(None)

    assert isinstance(progress.step, Connect)
    assert progress.step.url == f"ws://engine.test/ws?orderId={ORDER_ID}&afterSeq=1"


def test_a_connection_that_stays_open_after_the_last_event_is_left_after_a_moment():
    progress = step_by_step()
    progress.succeed(None)
    progress.succeed(json.dumps(event(1, "failed")))
    progress.succeed(None)

    assert progress.step == Receive(LAST_WORD_SECONDS)
    progress.fail(Silence())
    progress.succeed(None)

    assert progress.step is None

"""Every viewer sees every event once and in order, whichever processes commit, publish and replay at once."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from unittest.mock import Mock
from uuid import uuid4

import pytest

from chalicelib.engine import Engine
from chalicelib.orders.events import EventDraft
from chalicelib.resources import ResourceUnavailable
from chalicelib.streaming.publisher import CROWD_SERVERS, PUSH_THREADS, SERVE_CROWD_SECONDS, SERVED_BY_PUBLISHER
from chalicelib.streaming.viewers import MOST_TAKEN
from tests.builders import ROUTED
from tests.clocks import QuickClock
from tests.integration.cloud import NO_QUEUE

PUBLISHERS = 4
STEPS_EACH = 15
VIEWERS = 8


@pytest.fixture
def claimed(engine, api):
    """An order under a lease: its id and the worker that holds it."""
    order_id, worker = api.place(), uuid4()
    assert engine.store.claim(order_id, worker, timedelta(minutes=1)).claimed
    return order_id, worker


@pytest.fixture
def end_serving(cache):
    """End the time for which a process may serve a viewer."""

    def end(order_id: str, name: str) -> None:
        cursor, _ = cache.hget(f"viewers:{order_id}", name).split(":")
        cache.hset(f"viewers:{order_id}", name, f"{cursor}:1")

    return end


def at_once(tasks: Iterable[Callable[[], object]]) -> None:
    """Run all tasks at the same time, each in a thread of its own, and raise what one raised."""
    tasks = list(tasks)
    start = threading.Barrier(len(tasks))

    def run(task):
        start.wait(10)
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        for done in [pool.submit(run, task) for task in tasks]:
            done.result(60)


@pytest.mark.parametrize("seed", range(3))
def test_viewers_that_come_at_any_moment_see_every_event_once_and_in_order(
    make_engine, claimed, connections, queues, serve, seed
):
    """Four processes move one order and publish, while viewers come and are served by processes of their own."""
    order_id, worker = claimed
    chance = random.Random(seed)
    connections.before_post = lambda _: time.sleep(chance.random() * 0.002)  # posts take different times
    after = {f"viewer {number}": chance.choice((0, 0, 1, 7)) for number in range(VIEWERS)}

    def move(engine: Engine) -> None:
        order = engine.store.find(order_id)
        for step in range(STEPS_EACH):
            engine.publisher.publish(
                engine.store.route(order, worker, "raydium", EventDraft("routing", {"step": step}))
            )

    def view(engine: Engine, name: str, delay: float) -> None:
        time.sleep(delay)
        engine.viewers.add(order_id, name, after[name], replay=True, opened_for=True)
        engine.publisher.replay(order_id, name)

    tasks = [partial(move, make_engine()) for _ in range(PUBLISHERS)]
    tasks += [partial(view, make_engine(), name, chance.random() * 0.3) for name in after]
    at_once(tasks)
    last = make_engine()
    last.publisher.publish(last.store.fail(last.store.find(order_id), error="over", worker=worker))
    serve(last)
    queues.work_off(queues.replays)

    newest = 2 + PUBLISHERS * STEPS_EACH
    for name, seq in after.items():
        assert connections.seqs(name) == list(range(seq + 1, newest + 1))
    assert sorted(connections.closed) == sorted(after)


def test_an_event_published_while_a_viewer_is_served_is_delivered_by_who_serves_it(make_engine, claimed, connections):
    order_id, worker = claimed
    server, other = make_engine(), make_engine()
    server.viewers.add(order_id, "viewer", 0, replay=True)
    order = server.store.find(order_id)
    once = iter([lambda: other.publisher.publish(other.store.route(order, worker, "raydium", ROUTED))])
    connections.before_post = lambda _: next(once, lambda: None)()

    server.publisher.replay(order_id, "viewer")

    assert connections.seqs("viewer") == [1, 2]


def test_events_published_in_the_wrong_order_arrive_in_the_right_one(make_engine, claimed, connections):
    order_id, worker = claimed
    engine = make_engine()
    engine.viewers.add(order_id, "viewer", 1, replay=False)
    order = engine.store.find(order_id)
    second, third = [
        engine.store.route(order, worker, "raydium", EventDraft("routing", {"step": step})) for step in (1, 2)
    ]

    engine.publisher.publish(third)
    engine.publisher.publish(second)

    assert connections.seqs("viewer") == [2, 3]


def test_a_viewer_reserved_for_its_replay_is_posted_to_by_nobody_else(make_engine, claimed, connections):
    order_id, worker = claimed
    engine = make_engine()
    engine.viewers.add(order_id, "viewer", 0, replay=True)

    engine.publisher.publish(engine.store.route(engine.store.find(order_id), worker, "raydium", ROUTED))
    assert connections.received["viewer"] == []
    engine.publisher.replay(order_id, "viewer")

    assert connections.seqs("viewer") == [1, 2]


def test_a_viewer_whose_server_died_is_served_again_when_its_time_is_up(
    make_engine, claimed, connections, end_serving, queues
):
    order_id, worker = claimed
    engine = make_engine()
    engine.viewers.add(order_id, "viewer", 1, replay=False)
    order = engine.store.find(order_id)
    step = engine.store.route(order, worker, "raydium", ROUTED)
    engine.viewers.take_lacking(
        order_id, step.event.seq, b"{}", most=1
    )  # takes the viewer to serve it, and is never heard of again

    engine.publisher.publish(engine.store.route(order, worker, "raydium", ROUTED))
    assert connections.received["viewer"] == []
    end_serving(order_id, "viewer")
    queues.work_off(queues.replays)

    assert connections.seqs("viewer") == [2, 3]


@pytest.fixture
def gather(make_engine, claimed):
    """Have so many viewers watch the claimed order; they have what it has published so far."""
    order_id, _ = claimed
    viewers = make_engine().viewers

    def add(count: int) -> list[str]:
        crowd = [f"viewer {number}" for number in range(count)]
        for name in crowd:
            viewers.add(order_id, name, 1, replay=False)
        return crowd

    return add


@pytest.fixture
def route(claimed):
    """Move the claimed order on; returns the step, for somebody to publish."""
    order_id, worker = claimed

    def move(engine: Engine, step: int = 1):
        order = engine.store.find(order_id)
        return engine.store.route(order, worker, "raydium", EventDraft("routing", {"step": step}))

    return move


def test_who_publishes_serves_a_few_viewers_itself(engine, gather, route, connections, queues):
    few = gather(SERVED_BY_PUBLISHER)

    engine.publisher.publish(route(engine))

    assert [connections.seqs(name) for name in few] == [[2]] * len(few)
    assert queues.replays.count() == 0


@pytest.mark.parametrize("has", [1, 2, 3, 4])
def test_of_steps_that_are_published_together_a_viewer_hears_those_that_it_lacks(
    make_engine, claimed, route, connections, has
):
    order_id, _ = claimed
    engine = make_engine()
    engine.viewers.add(order_id, "viewer", has, replay=False)

    engine.publisher.publish(*(route(engine, step) for step in range(3)))

    assert connections.seqs("viewer") == [2, 3, 4][has - 1 :]


@pytest.mark.parametrize(("viewers", "servers"), [(SERVED_BY_PUBLISHER + 1, 1), (11, 2), (100, CROWD_SERVERS)])
def test_who_publishes_hands_a_crowd_on(engine, gather, route, connections, queues, monkeypatch, viewers, servers):
    """Whoever watches an order must not hold the slot in which it executes."""
    monkeypatch.setattr("chalicelib.streaming.publisher.MOST_TAKEN", 10)
    crowd = gather(viewers)

    engine.publisher.publish(route(engine))

    assert not connections.received
    waiting = queues.replays.receive()
    assert len([waiting, *iter(queues.replays.receive, [])]) == servers
    assert queues.replays.count() == servers + 1, "and one to look whether one of them has died"
    for message in waiting:
        queues.replays.deliver([message])
    assert [connections.seqs(name) for name in crowd] == [[2]] * len(crowd)


def test_a_crowd_sees_every_event_once_and_in_order_whoever_serves_it(
    make_engine, claimed, gather, route, connections, queues
):
    """Three events follow one another before the first is with everybody; meanwhile some leave and others come."""
    order_id, _ = claimed
    crowd = gather(MOST_TAKEN + 20)
    servers = [make_engine() for _ in range(3)]
    executor, door = make_engine(), make_engine()
    gone, late = crowd[::10], [f"late {number}" for number in range(10)]
    connections.gone.update(gone[::2])

    def execute() -> None:
        for step in range(3):
            executor.publisher.publish(route(executor, step))

    def come_and_go() -> None:
        for leaving, coming in zip(gone[1::2], late, strict=False):
            door.viewers.remove(order_id, leaving)
            door.viewers.add(order_id, coming, 0, replay=True)
            door.publisher.replay(order_id, coming)

    at_once([execute, come_and_go, *(partial(engine.publisher.catch_up, order_id) for engine in servers)])
    servers[0].publisher.catch_up(order_id)

    staying = [name for name in crowd if name not in gone]
    assert [connections.seqs(name) for name in staying] == [[2, 3, 4]] * len(staying)
    came = late[: len(gone[1::2])]
    assert [connections.seqs(name) for name in came] == [[1, 2, 3, 4]] * len(came)
    for name in gone:
        assert connections.seqs(name) == [2, 3, 4][: len(connections.seqs(name))]
    assert executor.viewers.take_lacking(order_id, 4, b"{}", most=1).free == ()


def test_a_process_that_dies_amid_a_crowd_leaves_the_rest_of_it_to_the_next(
    make_engine, engine, claimed, gather, route, connections, queues, end_serving
):
    order_id, _ = claimed
    crowd = gather(20)
    engine.publisher.publish(route(engine))
    (unfinished,) = queues.replays.receive()
    assert unfinished
    for viewer in engine.viewers.take_lacking(order_id, 2, b"{}", most=MOST_TAKEN).free[:7]:
        connections.post(viewer.connection_id, b'{"seq": 2}')
        engine.viewers.delivered(order_id, viewer.connection_id, 2, ended=False)
    for name in crowd:
        end_serving(order_id, name)

    queues.clock.pass_time(15)  # its own message comes back after 90 s only
    queues.replays.poll()

    assert [connections.seqs(name) for name in crowd] == [[2]] * len(crowd)


def test_a_crowd_that_the_gateway_refuses_is_asked_for_once_more_and_not_each_by_itself(
    engine, claimed, gather, route, connections, queues, end_serving
):
    order_id, _ = claimed
    crowd = gather(20)
    fail_once(connections, 3)
    route(engine)

    assert engine.publisher.catch_up(order_id) > 0, "its message comes back"
    assert queues.replays.count() == 0
    for name in crowd:
        end_serving(order_id, name)
    assert engine.publisher.catch_up(order_id) is None
    assert [connections.seqs(name) for name in crowd] == [[2]] * len(crowd)


@pytest.fixture
def slow(make_engine, connections):
    """An engine, and a clock on which the first post takes all the time that there is for a crowd."""
    clock = QuickClock()
    once = iter([lambda: clock.sleep(SERVE_CROWD_SECONDS)])
    connections.before_post = lambda _: next(once, lambda: None)()
    return make_engine(clock=clock)


def test_a_crowd_that_takes_too_long_is_gone_on_with_in_another_call(
    slow, claimed, gather, route, connections, monkeypatch
):
    order_id, _ = claimed
    crowd = gather(PUSH_THREADS + 1)
    monkeypatch.setattr("chalicelib.streaming.publisher.MOST_TAKEN", 1)
    route(slow)

    assert slow.publisher.catch_up(order_id) == 0
    assert [connections.seqs(name) for name in crowd].count([2]) == 1
    assert slow.publisher.catch_up(order_id) is None
    assert [connections.seqs(name) for name in crowd] == [[2]] * len(crowd)


def test_nobody_of_a_crowd_is_begun_with_who_may_be_taken_by_another_process_before_it_is_served(
    slow, claimed, gather, route, connections, end_serving
):
    order_id, _ = claimed
    crowd = gather(MOST_TAKEN)
    route(slow)

    assert slow.publisher.catch_up(order_id) > 0, "the others are free again by then"
    assert len(connections.received) <= PUSH_THREADS
    for name in crowd:
        end_serving(order_id, name)
    assert slow.publisher.catch_up(order_id) is None
    assert [connections.seqs(name) for name in crowd] == [[2]] * len(crowd)


def test_a_crowd_has_its_history_read_once(make_engine, claimed, gather, route, connections, monkeypatch):
    order_id, _ = claimed
    engine = make_engine()
    crowd = gather(50)
    route(engine)
    read = engine.store.events
    reads = []
    monkeypatch.setattr(engine.store, "events", lambda *arguments: reads.append(arguments) or read(*arguments))

    engine.publisher.catch_up(order_id)

    assert len(reads) == 1
    assert [connections.seqs(name) for name in crowd] == [[2]] * len(crowd)


def test_steps_of_many_orders_are_posted_at_the_same_time(make_engine, api, engine, connections):
    """Or the market watch would not look while it tells the viewers of a thousand orders, one after another."""
    steps = []
    for number in range(PUSH_THREADS):
        order_id, worker = api.place(), uuid4()
        engine.store.claim(order_id, worker, timedelta(minutes=1))
        engine.viewers.add(order_id, f"viewer {number}", 1, replay=False)
        steps.append(engine.store.route(engine.store.find(order_id), worker, "raydium", ROUTED))
    together = threading.Barrier(PUSH_THREADS)
    connections.before_post = lambda _: together.wait(10)

    make_engine().publisher.publish_all(steps)

    assert all(connections.seqs(f"viewer {number}") == [2] for number in range(PUSH_THREADS))


def test_steps_of_many_orders_ask_redis_once(make_engine, api, cache):
    engine = make_engine()
    steps = []
    for _ in range(3):
        order_id, worker = api.place(), uuid4()
        engine.store.claim(order_id, worker, timedelta(minutes=1))
        steps.append(engine.store.route(engine.store.find(order_id), worker, "raydium", ROUTED))
    engine.redis.probe()  # connects
    scripts_before = cache.info("commandstats")["cmdstat_eval"]["calls"]
    sent = Mock(wraps=engine.redis.open().send_packed_command)
    engine.redis.open().send_packed_command = sent

    engine.publisher.publish_all(steps)

    assert sent.call_count == 1
    assert cache.info("commandstats")["cmdstat_eval"]["calls"] == scripts_before + 3


@pytest.fixture
def watched_steps(make_engine, api):
    """The steps of three orders, each of which a viewer lacks."""
    engine, steps = make_engine(), []
    for number in range(3):
        order_id, worker = api.place(), uuid4()
        engine.store.claim(order_id, worker, timedelta(minutes=1))
        engine.viewers.add(order_id, f"viewer {number}", 1, replay=False)
        steps.append(engine.store.route(engine.store.find(order_id), worker, "raydium", ROUTED))
    return steps


def test_nobody_is_taken_long_before_it_is_posted_to(make_engine, watched_steps, connections, monkeypatch):
    """Who has to wait for a thousand others may be free again by then, and hear of later steps from somebody else."""
    monkeypatch.setattr("chalicelib.streaming.publisher.PUBLISHED_AT_ONCE", 1)
    engine, other = make_engine(), make_engine()
    last = watched_steps[-1]
    found = []

    def serve_the_last_one(connection_id: str) -> None:
        if connection_id == "viewer 0":
            found.extend(other.viewers.take_lacking(last.order.order_id, last.event.seq, b"{}", most=1).free)

    connections.before_post = serve_the_last_one
    engine.publisher.publish_all(watched_steps)

    assert [viewer.connection_id for viewer in found] == ["viewer 2"]
    assert not connections.received["viewer 2"], "it is the other process's"


def test_who_was_taken_before_redis_failed_amid_many_orders_is_posted_to(
    make_engine, watched_steps, connections, monkeypatch
):
    monkeypatch.setattr("chalicelib.streaming.publisher.PUBLISHED_AT_ONCE", 2)
    engine = make_engine()
    publish = engine.viewers.publish
    answers = iter([publish, Mock(side_effect=ResourceUnavailable("Redis", "test"))])
    monkeypatch.setattr(engine.viewers, "publish", lambda *arguments, **most: next(answers)(*arguments, **most))

    engine.publisher.publish_all(watched_steps)

    assert [connections.seqs(f"viewer {number}") for number in range(3)] == [[2], [2], []]


def test_a_swap_is_sent_before_its_viewers_are_posted_to(api, engine, queues, connections):
    order_id = api.place()
    engine.viewers.add(order_id, "viewer", 1, replay=False)
    sent = threading.Event()
    connections.before_post = lambda _: sent.wait(10) or pytest.fail("the swap waits for the post")
    submit = engine.chain.submit
    engine.executor = replace(engine.executor, chain=Mock(submit=lambda swap: (submit(swap), sent.set())))

    queues.orders.poll()

    assert connections.events("viewer") == ["routing", "building", "submitted"]


def test_a_bug_in_posting_does_not_keep_an_order_from_being_executed(api, engine, queues, connections, database):
    order_id = api.place()
    engine.viewers.add(order_id, "viewer", 1, replay=False)
    connections.before_post = Mock(side_effect=ZeroDivisionError)

    queues.orders.poll()

    assert database.events(order_id)[-1]["event"] == "submitted"


def test_catching_up_with_an_order_that_does_not_exist_does_nothing(make_engine):
    assert make_engine().publisher.catch_up(str(uuid4())) is None


def test_without_the_replay_queue_a_busy_viewer_does_not_stop_the_order(make_engine, claimed, connections):
    order_id, worker = claimed
    engine = make_engine(REPLAYS_QUEUE_URL=NO_QUEUE)
    engine.viewers.add(order_id, "viewer", 1, replay=False)
    order = engine.store.find(order_id)
    first, second = (
        engine.store.route(order, worker, "raydium", EventDraft("routing", {"step": step})) for step in (1, 2)
    )
    engine.viewers.take_lacking(order_id, first.event.seq, b"{}", most=1)  # takes the viewer to serve it

    engine.publisher.publish(second)

    assert connections.received["viewer"] == []


def test_a_post_that_cannot_be_made_does_not_stop_the_order(make_engine, claimed, connections, queues):
    order_id, worker = claimed
    engine = make_engine()
    engine.viewers.add(order_id, "viewer", 1, replay=False)

    def fail(_):
        raise ResourceUnavailable("the management API", "timed out")

    connections.before_post = fail

    engine.publisher.publish(engine.store.route(engine.store.find(order_id), worker, "raydium", ROUTED))

    assert connections.received["viewer"] == []


def fail_once(connections, seq):
    """Let the management API not answer when an event is posted for the first time."""
    posts = itertools.count(1)

    def fail(_):
        if next(posts) == seq:
            raise ResourceUnavailable("the management API", "timed out")

    connections.before_post = fail


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_replay_that_is_cut_off_goes_on_where_it_stopped(
    make_engine, claimed, connections, end_serving, queues, failing
):
    order_id, worker = claimed
    engine = make_engine()
    order = engine.store.find(order_id)
    for step in (1, 2):
        engine.store.route(order, worker, "raydium", EventDraft("routing", {"step": step}))
    engine.viewers.add(order_id, "viewer", 0, replay=True)
    fail_once(connections, failing)

    engine.publisher.replay(order_id, "viewer")
    assert connections.seqs("viewer") == list(range(1, failing))
    end_serving(order_id, "viewer")
    queues.work_off(queues.replays)

    assert connections.seqs("viewer") == [1, 2, 3]


def test_a_replay_that_is_cut_off_before_the_end_goes_on_to_it_and_closes(
    make_engine, claimed, connections, end_serving, queues
):
    order_id, worker = claimed
    engine = make_engine()
    engine.store.fail(engine.store.find(order_id), error="over", worker=worker)
    engine.viewers.add(order_id, "viewer", 0, replay=True, opened_for=True)
    fail_once(connections, 2)

    engine.publisher.replay(order_id, "viewer")
    end_serving(order_id, "viewer")
    queues.work_off(queues.replays)

    assert connections.seqs("viewer") == [1, 2]
    assert connections.closed == ["viewer"]


def test_a_viewer_that_had_the_end_while_redis_was_gone_is_let_go_once_it_is_back(
    make_engine, claimed, connections, cache, end_serving, queues
):
    """Whoever noted only that it has the last event would leave it connected: nothing more ever comes up for it."""
    order_id, worker = claimed
    engine = make_engine()
    engine.store.fail(engine.store.find(order_id), error="over", worker=worker)
    engine.viewers.add(order_id, "viewer", 0, replay=True, opened_for=True)

    def fail(*arguments, **options):
        raise ResourceUnavailable("Redis", "timed out")

    engine.viewers.delivered = fail

    engine.publisher.replay(order_id, "viewer")
    end_serving(order_id, "viewer")
    queues.work_off(queues.replays)

    assert connections.closed == ["viewer"]
    assert cache.keys("viewers:*") == []


def test_how_far_a_cut_off_replay_got_is_not_noted_for_who_has_subscribed_anew_since(make_engine, claimed, connections):
    order_id, worker = claimed
    engine = make_engine()
    engine.store.route(engine.store.find(order_id), worker, "raydium", ROUTED)
    engine.viewers.add(order_id, "viewer", 0, replay=True)

    def resubscribe_and_fail(_):
        if connections.seqs("viewer") == [1]:
            connections.before_post = lambda _: None
            engine.viewers.remove(order_id, "viewer")
            engine.viewers.add(order_id, "viewer", 0, replay=True)
            raise ResourceUnavailable("the management API", "timed out")

    connections.before_post = resubscribe_and_fail
    engine.publisher.replay(order_id, "viewer")
    engine.publisher.replay(order_id, "viewer")

    assert connections.seqs("viewer") == [1, 1, 2]


def test_a_viewer_is_forgotten_when_its_order_ended(make_engine, claimed, connections, cache):
    order_id, worker = claimed
    engine = make_engine()
    engine.viewers.add(order_id, "viewer", 1, replay=False)

    engine.publisher.publish(engine.store.fail(engine.store.find(order_id), error="over", worker=worker))

    assert connections.events("viewer") == ["failed"]
    assert cache.keys("viewers:*") == []
    assert connections.closed == []


def test_what_redis_knows_of_a_connection_does_not_stay_for_ever(open_socket, api, cache):
    open_socket(orderId=api.place())

    keys = set(cache.keys()) - {"metrics:counts"}
    assert len([key for key in keys if not key.startswith(("metrics:", "stopwatch:"))]) == 5
    assert all(cache.pttl(key) > 0 for key in keys)

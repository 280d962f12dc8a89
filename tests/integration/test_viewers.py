"""Every viewer sees every event once and in order, whichever processes commit, publish and replay at once."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest

from chalicelib.engine import Engine
from chalicelib.orders.events import EventDraft
from chalicelib.resources import ResourceUnavailable
from tests.builders import ROUTED
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
def test_viewers_that_come_at_any_moment_see_every_event_once_and_in_order(make_engine, claimed, connections, seed):
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
        order_id, step.event.seq, b"{}"
    )  # takes the viewer to serve it, and is never heard of again

    engine.publisher.publish(engine.store.route(order, worker, "raydium", ROUTED))
    assert connections.received["viewer"] == []
    end_serving(order_id, "viewer")
    queues.work_off(queues.replays)

    assert connections.seqs("viewer") == [2, 3]


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
    engine.viewers.take_lacking(order_id, first.event.seq, b"{}")  # takes the viewer to serve it

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

"""Who executes an order, and what is left of it when a worker stops half way."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest

from chalicelib.clock import Clock
from chalicelib.execution.executor import CLAIM_AGAIN_SECONDS, LEASE, MOST_TAKEOVERS
from chalicelib.resources import ResourceUnavailable
from chalicelib.venues.venue import SwapRefused, VenueUnavailable
from tests.builders import STEPS, an_order
from tests.integration.cloud import NO_DATABASE, NO_QUEUE, at_once
from tests.integration.venues import fail_once, trouble_chain, trouble_venues


class WorkerDies(BaseException):
    """Stands for a process that ends in the middle of its work."""


class Pause(Clock):
    """A clock that holds a worker while it waits for a quote, until it is released."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._released = threading.Event()

    def sleep(self, seconds: float) -> None:
        self.reached.set()
        assert self._released.wait(10)

    def release(self) -> None:
        self._released.set()


@pytest.fixture
def end_leases(database):
    """Let the time pass that a dead worker's lease lasts."""
    return lambda: database.change("UPDATE orders SET lease_until = now() - interval '1 second'")


@pytest.fixture
def overtake(make_engine, end_leases):
    """Have another worker take an order as far as submitted, as if the lease of the one that has it were over."""
    quick = make_engine()

    def overtake(order_id):
        end_leases()
        assert quick.executor.execute(order_id) is None

    return overtake


@pytest.fixture
def background():
    with ThreadPoolExecutor(1) as pool:
        yield pool


# --- Messages ---


def test_a_message_delivered_twice_executes_the_order_once(api, queues, database):
    order_id = api.place()
    queues.orders.send({"orderId": order_id})

    queues.work_off()

    assert database.event_names(order_id) == STEPS
    assert len(database.swaps(order_id)) == 1
    assert queues.orders.count() == 0


@pytest.mark.parametrize("body", ["no JSON", "[1]", "{}", '{"orderId": 7}', '{"orderId": "abc"}'])
def test_a_message_that_names_no_order_is_kept_for_the_dead_letter_queue(engine, queues, body):
    for source in (queues.orders, queues.settlements):
        source.send(body)
        (message,) = source.receive()

        assert source.deliver([message]) == {"batchItemFailures": [{"itemIdentifier": message["MessageId"]}]}


def test_a_message_for_an_order_that_does_not_exist_is_kept_for_the_dead_letter_queue(engine, queues):
    queues.orders.send({"orderId": str(uuid4())})
    (message,) = queues.orders.receive()

    assert queues.orders.deliver([message]) == {"batchItemFailures": [{"itemIdentifier": message["MessageId"]}]}


def test_a_poison_message_does_not_keep_its_batch_from_settling(api, queues, database):
    order_id = api.place()
    queues.orders.poll()
    queues.settlements.send({"orderId": "abc"})
    queues.clock.pass_time(3)

    messages = queues.settlements.receive()
    answer = queues.settlements.deliver(messages)

    (poison,) = [message for message in messages if "abc" in message["Body"]]
    assert answer == {"batchItemFailures": [{"itemIdentifier": poison["MessageId"]}]}
    assert database.order(order_id)["status"] == "confirmed"


def test_an_order_that_ended_is_no_workers_business(api, queues, engine, database):
    order_id = api.place()
    queues.work_off()

    assert engine.executor.execute(order_id) is None
    assert len(database.events(order_id)) == 5


# --- Two workers ---


def test_of_two_workers_at_once_one_executes_and_the_other_is_told_to_wait(
    make_engine, serve, api, background, database
):
    pause = Pause()
    serve(make_engine())
    order_id = api.place()
    first, second = make_engine(clock=pause), make_engine()

    execution = background.submit(first.executor.execute, order_id)
    assert pause.reached.wait(10)
    wait = second.executor.execute(order_id)
    pause.release()

    assert execution.result(10) is None
    assert 0 < wait <= LEASE.total_seconds()
    assert database.event_names(order_id) == STEPS[:4]


def test_of_many_claims_at_once_one_succeeds(make_engine, api):
    order_id = api.place()

    claims = at_once(partial(make_engine().store.claim, order_id, uuid4(), LEASE) for _ in range(8))

    assert [claim.claimed for claim in claims].count(True) == 1


def test_a_worker_that_was_overtaken_stops_and_changes_nothing(make_engine, api, background, database, overtake):
    pause = Pause()
    order_id = api.place()

    execution = background.submit(make_engine(clock=pause).executor.execute, order_id)
    assert pause.reached.wait(10)
    overtake(order_id)
    pause.release()

    assert execution.result(10) is None
    assert database.event_names(order_id) == STEPS[:4]
    assert len(database.swaps(order_id)) == 1


@pytest.mark.parametrize("failure", [None, VenueUnavailable("timed out"), SwapRefused("no pool")])
def test_a_worker_whose_order_was_taken_over_leaves_it_to_the_other(make_engine, api, database, end_leases, failure):
    """The other has only just taken it, so that the order's status says nothing of it yet."""
    order_id = api.place()
    overtaken, successor = make_engine(), make_engine()
    failures = [failure] if failure else []
    raydium, _ = trouble_venues(overtaken, raydium=failures, meteora=failures)

    def take_over():
        end_leases()
        assert successor.store.claim(order_id, uuid4(), LEASE).claimed

    raydium.before_quote = take_over
    assert overtaken.executor.execute(order_id) in (None, CLAIM_AGAIN_SECONDS)

    assert database.event_names(order_id) == ["pending"]


@pytest.mark.parametrize("error", [VenueUnavailable("timed out"), SwapRefused("no pool")])
def test_a_worker_that_was_overtaken_while_its_venues_failed_changes_nothing(
    make_engine, api, database, overtake, error
):
    order_id = api.place()
    overtaken = make_engine()
    raydium, meteora = trouble_venues(overtaken, raydium=[error], meteora=[error])

    raydium.before_quote = lambda: overtake(order_id)
    assert overtaken.executor.execute(order_id) in (None, CLAIM_AGAIN_SECONDS)

    assert meteora.asked == 1
    assert database.event_names(order_id) == STEPS[:4]


@pytest.mark.parametrize("builds", [True, False])
def test_a_worker_that_was_overtaken_while_it_built_changes_nothing(make_engine, api, database, overtake, builds):
    order_id = api.place()
    overtaken = make_engine()
    venues = trouble_venues(overtaken)

    def fall_behind():
        overtake(order_id)
        if not builds:
            raise VenueUnavailable("timed out")

    for venue in venues:
        venue.before_build = fall_behind
    assert overtaken.executor.execute(order_id) is None

    assert database.event_names(order_id) == STEPS[:4]
    assert len(database.swaps(order_id)) == 1


@pytest.mark.parametrize("error", [VenueUnavailable("timed out"), SwapRefused("no such pool"), RuntimeError("a bug")])
def test_what_was_quoted_is_told_also_where_nothing_could_be_built(engine, api, queues, database, error):
    def refuse():
        raise error

    for venue in trouble_venues(engine):
        venue.before_build = refuse
    order_id = api.place()
    queues.orders.poll()

    pending, routed, ended = database.events(order_id)
    assert (pending["event"], routed["event"]) == ("pending", "routing")
    assert set(routed["details"]["quotes"]) == {"raydium", "meteora"}
    assert ended["event"] == ("failed" if isinstance(error, SwapRefused) else "retrying")


def test_a_swap_that_cannot_be_recorded_is_not_sent_and_its_try_ends(engine, api, queues, database):
    fail_once(engine.store, "submit", RuntimeError("a bug"))
    order_id = api.place()
    queues.orders.poll()

    assert database.event_names(order_id) == ["pending", "retrying"]
    assert database.order(order_id)["last_error"] == "internal error: RuntimeError"
    assert database.count("simulated_transactions") == 0


def test_a_worker_that_was_overtaken_while_it_sent_says_nothing(make_engine, api, queues, database, overtake):
    order_id = api.place()
    overtaken = make_engine()

    trouble_chain(overtaken).after_submit = lambda: overtake(order_id)
    assert overtaken.executor.execute(order_id) is None

    assert database.event_names(order_id) == STEPS[:4]
    assert database.count("simulated_transactions") == 1
    assert queues.settlements.count() == 1


def test_a_claim_writes_none_of_the_tables_indexes(engine, database):
    """A burst is inserted before the first of it is claimed: there is room left on its pages all the same."""

    def count(kind: str) -> int:
        engine.database.run("SELECT pg_stat_force_next_flush()", {})
        engine.database.run("SELECT 1", {})
        return database.rows(f"SELECT pg_stat_get_tuples_{kind}('orders'::regclass) AS count")[0]["count"]

    database.change("TRUNCATE orders CASCADE")
    orders = [an_order() for _ in range(200)]
    for order in orders:
        engine.store.accept(order, "digest")
    before = count("updated"), count("hot_updated")

    for order in orders:
        assert engine.store.claim(order.order_id, uuid4(), LEASE).claimed

    updated, without_indexes = count("updated") - before[0], count("hot_updated") - before[1]
    assert updated - without_indexes < 10, "what other tests' engines did may be counted only now"
    assert without_indexes > 190


def test_a_claim_does_not_wait_for_the_disk_and_what_comes_after_it_does(engine, api):
    order_id = api.place()

    def waits_for_disk():
        return engine.database.run("SELECT current_setting('synchronous_commit') AS setting", {})[0]["setting"]

    engine.database.run("BEGIN", {})
    assert engine.store.claim(order_id, uuid4(), LEASE).claimed
    assert waits_for_disk() == "off"
    engine.database.run("COMMIT", {})
    assert waits_for_disk() == "on"


def test_a_worker_whose_claim_a_crash_of_postgres_has_lost_sends_nothing(engine, api, queues, database, monkeypatch):
    order_id = api.place()
    route = engine.router.route

    def lose_the_claim(*asked):
        database.change("UPDATE orders SET lease_owner = NULL, lease_until = NULL WHERE id = %s", order_id)
        return route(*asked)

    monkeypatch.setattr(engine.router, "route", lose_the_claim)
    assert engine.executor.execute(order_id) is None

    assert database.event_names(order_id) == ["pending"]
    assert database.count("simulated_transactions") == 0


# --- A worker dies ---


def test_a_worker_that_died_before_it_recorded_a_swap_is_followed_by_one_that_quotes_anew(
    make_engine, serve, api, queues, database, end_leases
):
    order_id = api.place()
    dying = make_engine()
    fail_once(dying.store, "submit", WorkerDies())
    with pytest.raises(WorkerDies):
        dying.executor.execute(order_id)
    assert database.event_names(order_id) == ["pending"]

    end_leases()
    successor = serve(make_engine())
    venues = trouble_venues(successor)
    queues.work_off()

    assert [venue.asked for venue in venues] == [1, 1]
    assert database.event_names(order_id) == STEPS
    assert [event["seq"] for event in database.events(order_id)] == [1, 2, 3, 4, 5]


def test_the_swap_that_a_worker_of_an_earlier_release_recorded_is_sent_as_it_is_and_nothing_is_quoted(
    make_engine, serve, api, queues, database, record_swap
):
    order_id = api.place()
    record_swap(order_id)
    (recorded,) = database.swaps(order_id)

    successor = serve(make_engine())
    venues = trouble_venues(successor)
    chain = trouble_chain(successor)
    queues.work_off()

    assert [venue.asked for venue in venues] == [0, 0]
    assert chain.received == [bytes(recorded["payload"])]
    assert database.event_names(order_id) == STEPS
    assert database.order(order_id)["tx_hash"] == recorded["tx_hash"]


@pytest.mark.parametrize("sent", [False, True], ids=["not sent", "sent"])
def test_a_swap_whose_worker_died_once_it_was_submitted_is_settled_and_never_swapped_again(
    make_engine, serve, api, queues, database, sent
):
    order_id = api.place()
    dying = make_engine()
    if sent:
        fail_once(dying.settlement_queue, "send", WorkerDies())
    else:
        trouble_chain(dying, lost=1, error=WorkerDies())
    with pytest.raises(WorkerDies):
        dying.executor.execute(order_id)
    assert database.order(order_id)["status"] == "submitted"
    assert database.count("simulated_transactions") == int(sent)

    serve(make_engine())
    queues.settlements.send({"orderId": order_id})  # recovery's
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"
    assert database.count("simulated_transactions") == 1
    assert len(database.swaps(order_id)) == 1


def test_a_failure_half_way_gives_the_message_back_and_the_lease_keeps_others_off(make_engine, serve, api, queues):
    failing = serve(make_engine())
    fail_once(failing.store, "submit", ResourceUnavailable("Postgres", "timed out"))
    order_id = api.place()
    (message,) = queues.orders.receive()

    assert queues.orders.deliver([message]) == {"batchItemFailures": [{"itemIdentifier": message["MessageId"]}]}
    assert 0 < make_engine().executor.execute(order_id) <= LEASE.total_seconds()


# --- A part is down ---


def test_a_swap_that_the_chain_did_not_answer_for_is_left_to_settlement(engine, api, queues, database):
    chain = trouble_chain(engine, lost=1, error=VenueUnavailable("timed out"))
    order_id = api.place()
    queues.orders.poll()
    assert database.order(order_id)["status"] == "submitted"
    assert chain.received == []

    queues.work_off()

    assert chain.received == [bytes(database.swaps(order_id)[0]["payload"])]
    assert database.order(order_id)["status"] == "confirmed"


def test_a_lost_settlement_message_does_not_undo_the_swap(make_engine, api, queues, database):
    order_id = api.place()
    engine = make_engine(SETTLEMENTS_QUEUE_URL=NO_QUEUE)

    assert engine.executor.execute(order_id) is None

    assert database.order(order_id)["status"] == "submitted"
    assert queues.settlements.count() == 0


def test_a_database_that_does_not_answer_gives_the_message_back(make_engine, serve, api, queues, database):
    order_id = api.place()
    serve(make_engine(DATABASE_URL=NO_DATABASE))
    (message,) = queues.orders.receive()

    assert queues.orders.deliver([message]) == {"batchItemFailures": [{"itemIdentifier": message["MessageId"]}]}

    queues.clock.pass_time(2.1)
    assert len(queues.orders.receive()) == 1
    assert database.event_names(order_id) == ["pending"]


def test_an_error_of_the_database_reaches_the_caller(make_engine):
    with pytest.raises(ResourceUnavailable, match="Postgres"):
        make_engine(DATABASE_URL=NO_DATABASE).executor.execute(str(uuid4()))


# --- Giving up ---


def test_a_recorded_swap_that_may_still_land_forbids_failing_and_retrying(engine, api, database):
    order_id = api.place()
    trouble_chain(engine, lost=1)
    engine.executor.execute(order_id)
    order = engine.store.find(order_id)

    assert engine.store.fail(order, error="given up") is None
    assert engine.store.retry(order, error="once more", delay=timedelta()) is None

    assert database.order(order_id)["status"] == "submitted"


def test_a_bug_while_preparing_costs_a_try_and_is_named(engine, api, queues, database):
    trouble_venues(engine, raydium=[ZeroDivisionError()] * 3)
    order_id = api.place()

    queues.work_off()

    row = database.order(order_id)
    assert (row["status"], row["attempts"], row["last_error"]) == ("failed", 3, "internal error: ZeroDivisionError")


def test_an_order_that_kills_its_workers_fails_in_the_end(api, queues, database):
    order_id = api.place()
    database.change(
        "UPDATE orders SET takeovers = %s, lease_owner = gen_random_uuid(), lease_until = now()", MOST_TAKEOVERS
    )

    queues.work_off()

    row = database.order(order_id)
    assert (row["status"], row["last_error"]) == ("failed", f"{MOST_TAKEOVERS + 1} workers have died executing it")

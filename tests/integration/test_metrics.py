"""What is measured of the whole engine: each number from its source, whichever process was part of it."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from chalicelib.counters import BOUNDS_MS
from chalicelib.rate_limit import RateLimit
from chalicelib.resources import ResourceUnavailable
from chalicelib.store.census import CensusTaker
from chalicelib.streaming.viewers import CONNECTION_MS
from chalicelib.venues.venue import VenueUnavailable
from tests.builders import STEPS
from tests.clocks import StoppedClock
from tests.documents import PROJECT
from tests.integration.cloud import NO_DATABASE, NO_QUEUE, NO_REDIS, Socket
from tests.integration.venues import fail_once, trouble_venues

TIMEOUT = VenueUnavailable("timed out")
LIMIT_BUY = {"orderType": "limit", "limitPrice": 1}


@pytest.fixture
def measured(api, cache):
    """Return a sample of what is measured now, by its name and labels; None if there is none."""

    def sample(name, **labels):
        cache.delete("metrics:snapshot")
        samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parse_text(api.get("/metrics").body)
            for sample in family.samples
        }
        return samples.get((name, frozenset(labels.items())))

    return sample


@pytest.fixture
def statistics(api, cache):
    def ask():
        cache.delete("metrics:snapshot")
        return api.get("/api/statistics")

    return ask


def samples(families):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


def seconds_between(events, earlier, later):
    times = {event["event"]: event["created_at"] for event in events}
    return (times[later] - times[earlier]).total_seconds()


def test_every_step_is_counted_whichever_process_publishes_it(make_engine, serve, worked_off, measured):
    worked_off()
    serve(make_engine())
    worked_off()

    assert {event: measured("oee_order_events_total", event=event) for event in STEPS} == dict.fromkeys(STEPS, 2)
    assert measured("oee_order_events_total", event="failed") == 0
    assert measured("oee_orders_ended_total", status="confirmed") == 2


def test_counting_costs_no_round_trip(engine, api, cache):
    step = engine.store.cancel(api.place(), reason="a test")
    cache.config_resetstat()

    engine.publisher.publish(step)

    assert cache.info("commandstats")["cmdstat_eval"]["calls"] == 1


def test_catching_up_counts_no_step_again(engine, worked_off, measured):
    order_id = worked_off()

    engine.publisher.catch_up(order_id)

    assert measured("oee_order_events_total", event="confirmed") == 1


def test_a_retry_is_counted(engine, worked_off, measured):
    trouble_venues(engine, raydium=[TIMEOUT], meteora=[TIMEOUT])

    worked_off()

    assert measured("oee_order_retries_total") == 1


def test_execution_and_confirmation_are_measured_by_the_times_of_the_events(worked_off, database, measured):
    events = database.events(worked_off())

    for metric, earlier, later in (("execution", "pending", "submitted"), ("confirmation", "submitted", "confirmed")):
        seconds = seconds_between(events, earlier, later)
        assert measured(f"oee_order_{metric}_seconds_count") == 1
        assert measured(f"oee_order_{metric}_seconds_sum") == pytest.approx(seconds, abs=0.002)
        for bound in BOUNDS_MS:
            fits = seconds <= bound / 1000
            assert measured(f"oee_order_{metric}_seconds_bucket", le=str(bound / 1000)) == fits
        assert measured(f"oee_order_{metric}_seconds_bucket", le="+Inf") == 1


def test_the_time_that_an_order_waited_for_its_price_is_not_its_execution(
    engine, api, queues, database, cache, measured
):
    order_id = api.place(orderType="limit", side="sell", limitPrice=100_000)
    queues.work_off()
    assert cache.keys("stopwatch:*") == []

    database.change("UPDATE orders SET wake_price = 1, limit_price = 1")
    assert engine.market_watch.look() == 1
    queues.work_off()

    seconds = seconds_between(database.events(order_id), "triggered", "submitted")
    assert measured("oee_order_execution_seconds_count") == 1
    assert measured("oee_order_execution_seconds_sum") == pytest.approx(seconds, abs=0.002)


def test_a_try_that_follows_another_is_measured_by_itself(api, queues, database, measured):
    order_id = api.place()
    queues.orders.poll()
    database.change("UPDATE simulated_transactions SET outcome = 'failed', amount_out = NULL, error = 'refused'")
    queues.work_off()

    assert database.event_names(order_id).count("submitted") == 2
    assert measured("oee_order_execution_seconds_count") == 2
    assert measured("oee_order_confirmation_seconds_count") == 1


def test_an_order_that_ends_leaves_no_stopwatch(engine, api, queues, cache):
    api.place()
    queues.work_off()
    engine.cancellation.cancel(api.place())
    api.place(**LIMIT_BUY)
    queues.work_off()

    assert cache.keys("stopwatch:*") == []


def test_an_order_that_waits_for_its_turn_is_counted_as_deferred(make_engine, serve, api, queues, measured):
    serve(make_engine(ORDER_PROCESSOR_RATE="60"))
    for _ in range(3):
        api.place()
    assert measured("oee_pacing_deferrals_total", at="turn") == 2
    assert measured("oee_pacing_deferrals_total", at="start") == 0

    queues.clock.pass_time(3)
    for _ in range(3):
        queues.orders.poll()

    assert measured("oee_pacing_deferrals_total", at="start") == 2


def test_a_refusal_by_a_limit_is_counted(make_engine, measured):
    limit = RateLimit(make_engine().redis, StoppedClock(), kind="orders", per_minute=6, burst=3)
    for _ in range(5):
        limit.take("u1")

    assert measured("oee_limit_refusals_total", limit="orders") == 2
    assert measured("oee_limit_refusals_total", limit="messages") == 0


def test_open_connections_are_counted_until_they_are_closed(api, open_socket, measured):
    sockets = [open_socket(), open_socket(orderId=api.place()), open_socket()]
    sockets[1].send({"action": "ping"})
    assert measured("oee_open_connections") == 3

    for closed in sockets[:2]:
        closed.disconnect()

    assert measured("oee_open_connections") == 1


def test_a_connection_opened_with_a_ticket_is_counted(make_engine, serve, issuer, connections, cache):
    secure = serve(make_engine(**issuer.settings))
    ticket = secure.identification.tickets.issue("ann", int(datetime.now(UTC).timestamp()) + 60)
    socket = Socket(connections)

    socket.connect(ticket=ticket.text)
    assert secure.measurements.counters.read().open_connections == 1
    socket.disconnect()
    assert secure.measurements.counters.read().open_connections == 0


def test_a_connection_whose_end_was_lost_is_not_counted_for_ever(engine, open_socket, cache, measured):
    open_socket()
    (listed,) = cache.zrange("open-connections", 0, -1, withscores=True)
    until = datetime.fromtimestamp(listed[1] / 1000, UTC) - datetime.now(UTC)
    assert timedelta(0) < until <= timedelta(milliseconds=CONNECTION_MS)

    cache.zadd("open-connections", {listed[0]: 1})

    assert measured("oee_open_connections") == 0


def test_connections_whose_end_was_lost_do_not_pile_up_where_nobody_measures(open_socket, cache):
    cache.zadd("open-connections", {"lost": 1})

    open_socket()

    assert cache.zscore("open-connections", "lost") is None
    assert cache.zcard("open-connections") == 1


def test_a_connection_is_opened_also_when_it_cannot_be_counted(make_engine, serve, connections):
    serve(make_engine(REDIS_URL=NO_REDIS))

    assert Socket(connections).connect() == 200


def test_counters_begin_anew_when_redis_is_lost(worked_off, cache, measured):
    worked_off()
    cache.flushall()
    worked_off()

    assert measured("oee_order_events_total", event="confirmed") == 1


def test_unfinished_orders_are_counted_by_where_they_stand(engine, api, queues, database, measured):
    for _ in range(4):
        api.place()
    queues.orders.poll()  # submitted
    leased = str(database.rows("SELECT id FROM orders WHERE status = 'pending' LIMIT 1")[0]["id"])
    engine.store.claim(leased, uuid4(), timedelta(minutes=1))
    waiting = api.place(**LIMIT_BUY)
    engine.executor.execute(waiting)
    assert database.order(waiting)["waits_for"] == "price"

    assert measured("oee_orders", status="submitted") == 1
    assert measured("oee_orders", status="pending") == 4
    assert measured("oee_orders", status="routing") == 0
    assert measured("oee_orders_waiting", awaits="price") == 1
    assert measured("oee_orders_unclaimed") == 2
    assert measured("oee_slots_in_use") == 1
    assert measured("oee_slots") == 10


def test_an_order_of_a_worker_that_died_has_no_slot_and_is_due(engine, api, database, measured):
    order_id = api.place()
    engine.store.claim(order_id, uuid4(), timedelta(minutes=1))
    database.change(
        "UPDATE orders SET available_at = now() - interval '9 seconds', lease_until = now() - interval '5 seconds'"
    )

    assert measured("oee_slots_in_use") == 0
    assert measured("oee_orders_unclaimed") == 1
    assert 5 <= measured("oee_oldest_due_order_age_seconds") < 9


def test_the_age_of_the_oldest_order_counts_from_when_it_was_due(api, database, measured):
    assert measured("oee_oldest_due_order_age_seconds") == 0
    deferred, due = api.place(), api.place()
    database.change("UPDATE orders SET available_at = now() + interval '1 minute' WHERE id = %s", deferred)
    database.change("UPDATE orders SET available_at = now() - interval '20 seconds' WHERE id = %s", due)

    assert 20 <= measured("oee_oldest_due_order_age_seconds") < 30
    assert measured("oee_orders_unclaimed") == 2


def test_the_age_of_the_oldest_swap_counts_from_when_it_was_submitted(api, queues, database, measured):
    api.place()
    queues.orders.poll()
    database.change("UPDATE orders SET updated_at = now() - interval '20 seconds'")

    assert 20 <= measured("oee_oldest_submitted_order_age_seconds") < 30


def test_a_book_that_is_too_large_to_count_is_estimated(engine, api, queues, connection):
    for _ in range(5):
        api.place(**LIMIT_BUY)
    queues.work_off()
    connection.execute("ANALYZE orders")

    assert CensusTaker(engine.database, exactly=6).count().await_price == 5
    assert CensusTaker(engine.database, exactly=2).count().await_price == 5
    for _ in range(20):
        api.place(**LIMIT_BUY)
    queues.work_off()
    assert CensusTaker(engine.database, exactly=100).count().await_price == 25
    assert CensusTaker(engine.database, exactly=10).count().await_price == 10  # before Postgres has looked again


def test_dead_letters_are_counted_until_they_are_redriven(engine, measured):
    letter = {"queue": "orders", "body": "{}", "order_id": None, "reason": "poison"}
    engine.dead_letters.letters.bury(message_id="m1", **letter)
    engine.dead_letters.letters.bury(message_id="m2", **letter)
    engine.dead_letters.letters.mark_redriven("m1")

    assert measured("oee_dead_letters") == 1


def test_messages_are_counted_by_queue_and_state(api, queues, measured):
    for _ in range(3):
        api.place()
    queues.orders.receive()
    queues.settlements_dead_letters.send({})

    def messages(queue):
        states = ("visible", "in_flight", "delayed")
        return [measured("oee_queue_messages", queue=queue, state=state) for state in states]

    assert messages("orders") == [2, 1, 0]
    assert messages("settlements-dead-letters") == [1, 0, 0]
    assert messages("replays") == [0, 0, 0]


def test_one_measurement_serves_whoever_asks_within_seconds(engine, make_engine, api):
    first = engine.measurements.snapshot()
    api.place()

    assert make_engine().measurements.snapshot() == first


def test_while_one_measures_the_others_are_given_what_was_measured_before(engine, make_engine, cache):
    first = engine.measurements.snapshot()
    cache.pexpire("metrics:snapshot", 5000)  # it is not fresh any more
    cache.set("metrics:measuring", "", px=60_000)

    assert make_engine().measurements.snapshot() == first
    cache.delete("metrics:measuring")
    assert make_engine().measurements.snapshot() != first


def test_nobody_waits_for_who_died_measuring(engine, cache):
    cache.set("metrics:measuring", "", px=60_000)

    assert engine.measurements.snapshot().census is not None


def test_what_another_version_has_kept_is_measured_anew(engine, cache):
    cache.set("metrics:snapshot", '{"of": "another time"}', px=15_000)

    assert engine.measurements.snapshot().counts is not None


@pytest.mark.parametrize(
    ("part", "settings", "missing"),
    [
        ("postgres", {"DATABASE_URL": NO_DATABASE}, "oee_orders"),
        ("redis", {"REDIS_URL": NO_REDIS}, "oee_order_events"),
        ("sqs", {"ORDERS_QUEUE_URL": NO_QUEUE}, "oee_queue_messages"),
    ],
)
def test_what_can_be_said_is_said_while_a_part_is_down(make_engine, serve, api, part, settings, missing):
    serve(make_engine(**settings))

    answer = api.get("/metrics")

    assert answer.status == 200
    told = {family.name: family for family in parse_text(answer.body)}
    up = {sample.labels["part"]: sample.value for sample in told["oee_up"].samples}
    assert up == {name: float(name != part) for name in ("postgres", "redis", "sqs")}
    families = {"oee_orders", "oee_order_events", "oee_queue_messages"}
    assert families & told.keys() == families - {missing}


def test_the_text_is_openmetrics_where_that_is_asked_for(api, worked_off):
    worked_off()

    plain = api.get("/metrics", accept="text/plain")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    for accept in ("application/openmetrics-text; version=1.0.0,text/plain;q=0.5", "application/openmetrics-text"):
        answer = api.get("/metrics", accept=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert samples(parse_openmetrics(answer.body)) == samples(parse_text(plain.body))


@pytest.mark.parametrize("accept", ["", "image/png", "*/*", ";;=", "text/plain; version=new"])
def test_whatever_is_accepted_the_text_is_answered(api, accept):
    answer = api.get("/metrics", accept=accept)

    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")


def test_statistics_say_how_the_engine_is_doing(engine, api, queues, statistics):
    assert statistics().body["successRate"] is None
    for _ in range(3):
        api.place()
    api.place(side="buy", amount=1_000_000)  # no pool holds so much
    queues.work_off()
    api.place()
    leased = api.place()
    engine.store.claim(leased, uuid4(), timedelta(minutes=1))

    body = statistics().body

    measured_at = datetime.fromisoformat(body.pop("measuredAt"))
    assert abs(datetime.now(UTC) - measured_at) < timedelta(seconds=30)
    assert {name: float(value) for name, value in body.items()} == {
        "acceptedPerMinute": 6,
        "processedPerMinute": 4,
        "successRate": 0.75,
        "queueDepth": 1,
        "slotsInUse": 1,
        "slots": 10,
    }


def test_statistics_forget_what_is_older_than_their_window(worked_off, cache, statistics):
    worked_off()
    for key in cache.keys("metrics:recent:*"):
        second = int(key.rpartition(":")[2])
        cache.rename(key, f"metrics:recent:{second - 100}")
    body = statistics().body
    assert (body["acceptedPerMinute"], body["processedPerMinute"], body["successRate"]) == (0, 0, 1)

    for key in cache.keys("metrics:recent:*"):
        second = int(key.rpartition(":")[2])
        cache.rename(key, f"metrics:recent:{second - 300}")
    assert statistics().body["successRate"] is None


@pytest.mark.parametrize(
    ("settings", "status"),
    [({"DATABASE_URL": NO_DATABASE}, 503), ({"REDIS_URL": NO_REDIS}, 503), ({"ORDERS_QUEUE_URL": NO_QUEUE}, 200)],
)
def test_statistics_are_whole_or_not_there(make_engine, serve, statistics, settings, status):
    serve(make_engine(**settings))

    assert statistics().status == status


def test_a_snapshot_that_cannot_be_kept_is_given_all_the_same(make_engine):
    engine = make_engine(REDIS_URL=NO_REDIS)

    assert engine.measurements.snapshot().parts == {"postgres": True, "redis": False, "sqs": True}
    with pytest.raises(ResourceUnavailable):
        engine.monitoring.statistics()


# --- What CloudWatch makes metrics of ---


def metrics_written(line):
    """Return the namespace, name and dimensions of each metric that CloudWatch makes of a line."""
    return {
        (directive["Namespace"], metric["Name"], tuple(dimensions))
        for directive in line["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
        for dimensions in directive["Dimensions"]
    }


def metrics_watched(part):
    """Return the same of each metric that an alarm or the dashboard reads, in this part of the template."""
    match part:
        case {"Namespace": str(namespace), "MetricName": str(name), "Dimensions": dimensions}:
            return {(namespace, name, tuple(dimension["Name"] for dimension in dimensions))}
        case [str(namespace), str(name), str(dimension), {"Ref": _}, *_]:
            return {(namespace, name, (dimension,))}
        case dict() | list():
            inner = part.values() if isinstance(part, dict) else part
            return {metric for value in inner for metric in metrics_watched(value)}
    return set()


def test_each_function_writes_what_it_has_counted_before_it_answers(api, queues, metric_lines):
    def counted():
        (line,) = metric_lines()
        return {name: line[name] for _, name, _ in metrics_written(line)}

    api.place()
    assert counted() == {"OrdersPending": 1}
    queues.orders.poll()
    assert counted() == {"OrdersRouting": 1, "OrdersBuilding": 1, "OrdersSubmitted": 1}
    queues.clock.pass_time(2.1)
    queues.settlements.poll()
    assert counted() == {"OrdersConfirmed": 1}


def test_what_a_function_counted_before_it_failed_is_written(engine, api, queues, metric_lines):
    queues.orders_dead_letters.send({"orderId": api.place()})
    fail_once(engine.dead_letters.letters, "bury", ZeroDivisionError())
    metric_lines()

    with pytest.raises(ZeroDivisionError):
        queues.orders_dead_letters.poll()

    (line,) = metric_lines()
    assert line["DeadLetters"] == 1


def test_what_the_alarms_and_the_dashboard_watch_is_written(engine, worked_off, metric_lines):
    """An alarm on a metric that nobody writes stays silent, whatever happens."""
    template = json.loads((PROJECT / "infra" / "app.json").read_text())
    watched = {metric for metric in metrics_watched(template) if not metric[0].startswith("AWS/")}
    trouble_venues(engine, raydium=[TIMEOUT], meteora=[TIMEOUT])

    worked_off()  # at the second try
    worked_off(side="buy", amount=1_000_000)  # no pool holds so much

    written = {metric for line in metric_lines() for metric in metrics_written(line)}
    assert {name for _, name, _ in watched} >= {"OrdersConfirmed", "OrdersFailed"}
    assert watched - written == set()

"""What the benchmarks of overhead and latency make of what they measured."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from bench import overhead
from bench.driver import SETTINGS, QueuesInMemory, RoundTrips
from bench.latency import LatencyFigures, show_latency
from bench.latency import report as report_latency
from bench.overhead import THE_REST, OverheadFigures, ProcessFigures, report, show_overhead, spend, summed_up
from chalicelib.resources import aws
from chalicelib.resources.sqs import Queue


def of_process(**changes: Any) -> ProcessFigures:
    trips = RoundTrips(database=500, chain=100, redis=600, sqs=200)
    return ProcessFigures(
        **{"orders": 100, "began": 10.0, "ended": 11.0, "cpu_seconds": 0.3, "trips": trips, **changes}
    )


def shown(show: Any, figures: Any) -> str:
    console = Console(record=True, width=200)
    show(console, figures)
    return console.export_text()


def test_processes_side_by_side_count_from_the_first_start_to_the_last_end():
    figures = summed_up([of_process(), of_process(began=10.5, ended=12.0)], postgres_seconds=0.4, redis_seconds=0.1)

    assert figures.per_second == 100
    assert figures.engine_ms == 3
    assert figures.cpu_ms == 5.5
    assert (figures.database_trips, figures.chain_trips, figures.redis_trips, figures.sqs_trips) == (5, 1, 6, 2)


def test_a_goal_that_was_missed_is_said_to_be():
    figures = summed_up([of_process()], 0.1, 0.1)
    slow, quick = figures, OverheadFigures(**{**vars(figures), "per_second": 231.0})

    assert "≥ 230 ✗" in report(slow).text
    assert "≥ 230 ✓" in report(quick).text
    assert "100" in shown(show_overhead, slow)


def test_of_several_runs_the_one_in_the_middle_counts(monkeypatch):
    lasting = iter([2.0, 0.5, 1.0])
    monkeypatch.setattr(
        overhead, "_measure", lambda *_: summed_up([of_process(began=10.0, ended=10.0 + next(lasting))], 0.1, 0.1)
    )

    figures = overhead.measure_overhead(runs=3)

    assert (figures.per_second, figures.runs_per_second) == (100, (50, 100, 200))
    assert "50 to 200" in shown(show_overhead, figures)


@dataclass
class Frame:
    """A call, as a profiler tells of it."""

    file_path: str | None
    function: str
    time: float
    children: Sequence["Frame"] = ()


def test_what_a_client_calls_is_spent_on_what_it_is_a_client_of():
    sends = Frame(
        "/engine/chalicelib/resources/sqs.py",
        "send",
        3.0,
        [Frame("/engine/chalicelib/resources/aws_signature.py", "sign", 2.0)],
    )
    logs = Frame("/packages/aws_lambda_powertools/logging/logger.py", "info", 0.5)
    handles = Frame("/packages/aws_lambda_powertools/logging/logger.py", "decorate", 5.0, [sends, logs])
    seconds: Counter[str] = Counter()

    spend(Frame(None, "main", 6.0, [handles]), seconds)

    assert seconds == {"SQS: requests built, signed and read": 3.0, "log lines and metrics": 0.5, THE_REST: 2.5}


def test_what_was_not_measured_is_not_shown():
    figures = LatencyFigures(post_times=[0.004, 0.006], push_delays=[0.001, 0.002])

    assert "landing" not in report_latency(figures).text.partition("| ---")[2]
    assert "p50 ≤ 5 ms, p99 ≤ 15 ms ✓" in report_latency(figures).text
    assert "POST" in shown(show_latency, figures)


def test_the_queues_in_memory_answer_the_engine_and_count_its_requests(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, SETTINGS[name])
    trips = RoundTrips()
    queues = QueuesInMemory(trips)
    monkeypatch.setattr(aws, "exchange", queues.exchange)
    orders = Queue(SETTINGS["ORDERS_QUEUE_URL"])

    orders.send({"orderId": "1"})
    orders.send_all([{"orderId": "2"}, {"orderId": "3"}])
    taken = queues.take(orders.name, 2)
    queues.put_back(orders.name, taken)

    assert [json.loads(message["body"])["orderId"] for message in queues.take(orders.name, 10)] == ["3", "1", "2"]
    assert trips.sqs == 2

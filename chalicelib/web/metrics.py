"""A snapshot as Prometheus reads it: the families of ``GET /metrics``, by name, and their text.

A counter is what Redis holds, so it may begin anew; ``rate`` and ``increase`` are made for that. What a part that is
down would have said is left out, and ``oee_up`` says which part that is.

Names follow https://prometheus.io/docs/practices/naming/. prometheus_client has a registry of its own, which would tell
of this process only: its families are filled from the snapshot instead. It is imported here alone, and only when
somebody asks.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from chalicelib import VERSION
from chalicelib.counters import BOUNDS_MS, EVENTS, Counts, Durations
from chalicelib.measurements import Snapshot
from chalicelib.orders.lifecycle import TERMINAL
from chalicelib.orders.order import Status
from chalicelib.resources.sqs import QueueDepth
from chalicelib.store.census import EXACTLY, Census

if TYPE_CHECKING:
    from prometheus_client.core import HistogramMetricFamily, Metric

UNFINISHED = tuple(status for status in Status if status not in TERMINAL)
DEFERRALS = ("turn", "start")
LIMITS = ("orders", "messages")
SINCE = "since Redis was last empty"


def metrics_text(snapshot: Snapshot, slots: int, accept: str = "") -> tuple[bytes, str]:
    """Return the text, and its media type: OpenMetrics where ``accept`` asks for that.

    Args:
        snapshot: What is told.
        slots: How many orders may execute at once.
        accept: The header of that name.
    """
    from prometheus_client import exposition
    from prometheus_client.openmetrics import exposition as openmetrics

    class Families:
        def collect(self) -> Iterable[Metric]:
            return families(snapshot, slots)

    # The library's own choice would repeat in a header what the client has sent.
    if "application/openmetrics-text" in accept:
        text: bytes = openmetrics.generate_latest(Families())  # type: ignore[no-untyped-call]
        return text, openmetrics.CONTENT_TYPE_LATEST
    return exposition.generate_latest(Families()), exposition.CONTENT_TYPE_PLAIN_0_0_4


def families(snapshot: Snapshot, slots: int) -> Iterator[Metric]:
    """Return everything that is measured; for the arguments see ``metrics_text``."""
    yield _gauges("oee_up", "Whether a part answered when the snapshot was taken.", "part", snapshot.parts)
    yield _gauge(
        "oee_snapshot_timestamp_seconds",
        "When the numbers were taken; one snapshot serves everybody who asks within a few seconds.",
        snapshot.measured_at.timestamp(),
    )
    yield _build_info()
    yield _gauge("oee_slots", "How many orders may execute at once.", slots)
    if snapshot.census is not None:
        yield from _of_census(snapshot.census)
    if snapshot.counts is not None:
        yield from _of_counts(snapshot.counts)
    if snapshot.queues is not None:
        yield _of_queues(snapshot.queues)


def _of_census(census: Census) -> Iterator[Metric]:
    waiting = {"price": census.await_price, "launch": census.await_launch}
    orders = {status.value: census.moving.get(status, 0) for status in UNFINISHED}
    orders[Status.PENDING] += sum(waiting.values())
    yield _gauges(
        "oee_orders",
        "Unfinished orders by status; pending ones include those that wait. Of those that have ended, "
        "oee_orders_ended_total tells.",
        "status",
        orders,
    )
    yield _gauges(
        "oee_orders_waiting",
        f"Orders that rest in the book, by what they wait for. Beyond {EXACTLY} it is an estimate of Postgres's.",
        "awaits",
        waiting,
    )
    yield _gauge(
        "oee_orders_unclaimed",
        "Orders that are due, or queued until it is their turn or next try, and that no worker has.",
        census.unclaimed,
    )
    yield _gauge("oee_slots_in_use", "Orders that a worker executes now.", census.claimed)
    yield _gauge(
        "oee_oldest_due_order_age_seconds",
        "For how long the order has been due that has waited longest for a worker. Stands for the age of the oldest "
        "message, which SQS tells to CloudWatch only.",
        census.oldest_due_seconds,
    )
    yield _gauge(
        "oee_oldest_submitted_order_age_seconds",
        "For how long the swap has been on its way that was submitted first.",
        census.oldest_submitted_seconds,
    )
    yield _gauge("oee_dead_letters", "Dead letters that nobody has redriven.", census.dead_letters)


def _of_counts(counts: Counts) -> Iterator[Metric]:
    events = {event: counts.total(f"event:{event}") for event in EVENTS}
    yield _counters("oee_order_events", f"Steps of orders by event, {SINCE}.", "event", events)
    ended = {status.value: events[status] for status in Status if status in TERMINAL}
    yield _counters("oee_orders_ended", f"Orders that have ended, by how, {SINCE}.", "status", ended)
    yield _counter("oee_order_retries", f"Tries that failed and were followed by another, {SINCE}.", events["retrying"])
    yield _gauge(
        "oee_orders_accepted_per_minute", "Orders accepted in the last 60 seconds.", counts.accepted_per_minute
    )
    yield _gauge(
        "oee_orders_processed_per_minute",
        "Orders confirmed or failed in the last 60 seconds.",
        counts.processed_per_minute,
    )
    if counts.success_ratio is not None:
        yield _gauge(
            "oee_order_success_ratio",
            "Share of confirmed orders among those confirmed or failed in the last 5 minutes; absent while there are "
            "none.",
            counts.success_ratio,
        )
    yield _histogram(
        "oee_order_execution_seconds",
        "From when an order was accepted, or its price or launch was reached, or its last try failed, until it was "
        "submitted.",
        counts.durations("execution"),
    )
    yield _histogram(
        "oee_order_confirmation_seconds",
        "From when an order was submitted until it was confirmed.",
        counts.durations("confirmation"),
    )
    yield _counters(
        "oee_pacing_deferrals",
        f"How often an order had to wait for ORDER_PROCESSOR_RATE or its lane, {SINCE}: for its turn when it was "
        "queued, or to start when its message came.",
        "at",
        {at: counts.total(f"deferred:{at}") for at in DEFERRALS},
    )
    yield _counters(
        "oee_limit_refusals",
        f"Requests refused because a user placed too many orders, or a connection sent too many messages, {SINCE}.",
        "limit",
        {limit: counts.total(f"refused:{limit}") for limit in LIMITS},
    )
    yield _gauge("oee_open_connections", f"Open WebSocket connections, opened {SINCE}.", counts.open_connections)


def _of_queues(queues: Mapping[str, QueueDepth]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(
        "oee_queue_messages",
        "Messages by queue, about as many as SQS knows of: visible ones wait to be received, those in flight were "
        "received and come back unless they are done with, delayed ones wait for their time.",
        labels=["queue", "state"],
    )
    for name, depth in queues.items():
        for state, messages in depth._asdict().items():
            family.add_metric([name, state], messages)
    return family


def _build_info() -> Metric:
    from prometheus_client.core import InfoMetricFamily

    about = {"version": VERSION, "python": platform.python_version()}
    return InfoMetricFamily("oee_build", "The version that answered.", value=about)


def _gauge(name: str, tells: str, value: float) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, tells, value=value)


def _gauges(name: str, tells: str, label: str, values: Mapping[str, float]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, tells, labels=[label])
    for labelled, value in values.items():
        family.add_metric([labelled], value)
    return family


def _counter(name: str, tells: str, value: float) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(name, tells, value=value)


def _counters(name: str, tells: str, label: str, values: Mapping[str, float]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, tells, labels=[label])
    for labelled, value in values.items():
        family.add_metric([labelled], value)
    return family


def _histogram(name: str, tells: str, durations: Durations) -> HistogramMetricFamily:
    from prometheus_client.core import HistogramMetricFamily

    bounds = [*(str(bound / 1000) for bound in BOUNDS_MS), "+Inf"]
    buckets = list(zip(bounds, accumulate(durations.buckets), strict=True))
    return HistogramMetricFamily(name, tells, buckets=buckets, sum_value=durations.milliseconds / 1000)

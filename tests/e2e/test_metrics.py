"""The numbers that operators see, on a deployed engine: they are those of what was done, in whichever process."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from chalicelib.counters import EVENTS
from infra.market import call_market, request_of
from tests.e2e.client import PATIENCE_SECONDS, Client
from tests.e2e.deployed import Deployed

LIMIT_ORDER = {"orderType": "limit", "side": "buy", "tokenIn": "JUP", "tokenOut": "USDT", "amount": 1}
MORE_THAN_A_BURST = 20
"""Of orders that one price reaches; about a dozen of them need not wait for their turns."""


def scrape(client: Client, accept: str) -> tuple[str, str]:
    """Return the media type and the text of the metrics."""
    address = urlsplit(client.url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/metrics", headers={"Accept": accept})
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def metric(client: Client) -> Callable[..., float]:
    """Return a sample by its name and labels, as it was measured last."""

    def sample(name: str, **labels: str) -> float:
        families = parse_text(scrape(client, "text/plain")[1])
        samples = {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}
        return samples[name, frozenset(labels.items())]

    return sample


@pytest.fixture
def steer(deployed: Deployed) -> Iterator[Callable[[str], Any]]:
    """Set the price of what the limit orders here wait for; it is reset after the test."""
    yield lambda price: call_market(deployed.target, request_of("JUP/USDT", price))
    call_market(deployed.target, request_of("JUP/USDT", reset=True))


def wait_until(look: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.3)


def test_counters_and_histograms_tell_of_what_was_done(
    client: Client, database: psycopg.Connection, metric: Callable[..., float]
) -> None:
    def counted() -> dict[str, float]:
        return {event: metric("oee_order_events_total", event=event) for event in EVENTS}

    def stored() -> dict[str, int]:
        rows = database.execute("SELECT event, count(*) FROM order_events WHERE created_at > %s GROUP BY event", (now,))
        return dict.fromkeys(EVENTS, 0) | dict(rows.fetchall())

    def measured(name: str) -> tuple[float, float]:
        return metric(f"oee_order_{name}_seconds_count"), metric(f"oee_order_{name}_seconds_sum")

    # Orders of other tests may still be on their way.
    moving = "SELECT FROM orders WHERE waits_for IS NULL AND status IN ('pending', 'routing', 'building', 'submitted')"
    wait_until(lambda: database.execute(moving).rowcount == 0)
    quiet_since = time.time()
    wait_until(lambda: metric("oee_snapshot_timestamp_seconds") > quiet_since)
    [now] = database.execute("SELECT now()").fetchone() or [None]
    before, retries = counted(), metric("oee_order_retries_total")
    executions, confirmations = measured("execution"), measured("confirmation")

    # The first try is refused by the chain, and the second one goes well.
    with client.socket(orderId=client.place()) as socket:
        events = [socket.receive()]
        while events[-1]["event"] != "submitted":
            events.append(socket.receive())
        refuse = "UPDATE simulated_transactions SET outcome = 'failed', amount_out = NULL, error = 'refused'"
        refused = f"{refuse} WHERE tx_hash = %s"
        wait_until(lambda: database.execute(refused, (events[-1]["txHash"],)).rowcount)
        events += socket.events_until_end()
    assert [event["event"] for event in events].count("retrying") == 1
    client.execute()

    wait_until(lambda: {event: counted()[event] - before[event] for event in EVENTS} == stored())
    assert stored()["confirmed"] == 2
    assert metric("oee_order_retries_total") == retries + 1
    tries = measured("execution")[0] - executions[0]
    swaps = measured("confirmation")[0] - confirmations[0]
    assert (tries, swaps) == (3, 2)
    # Venues take 0.2 s to answer, and after a refusal a second passes. A swap lands after two seconds at least.
    assert 3 * 0.2 + 1 < measured("execution")[1] - executions[1] < 3 * 5 + 1
    assert 2 * 2 < measured("confirmation")[1] - confirmations[1] < 2 * 10


def test_orders_that_one_price_reaches_are_counted_as_deferred_when_they_wait_for_their_turns(
    client: Client, metric: Callable[..., float], steer: Callable[[str], Any]
) -> None:
    waiting = metric("oee_orders_waiting", awaits="price")
    order_ids = [client.place(**LIMIT_ORDER, userId="crowd", limitPrice=0.5) for _ in range(MORE_THAN_A_BURST)]
    try:
        wait_until(lambda: metric("oee_orders_waiting", awaits="price") == waiting + MORE_THAN_A_BURST)
        assert metric("oee_orders", status="pending") >= MORE_THAN_A_BURST
        deferred = metric("oee_pacing_deferrals_total", at="turn")

        steer("0.4")

        wait_until(lambda: metric("oee_orders_waiting", awaits="price") == waiting)
        assert deferred < metric("oee_pacing_deferrals_total", at="turn") <= deferred + MORE_THAN_A_BURST
    finally:
        for order_id in order_ids:  # those that are not submitted yet need not be
            client.request("DELETE", f"/api/orders/{order_id}")


def test_open_connections_are_counted(client: Client, metric: Callable[..., float]) -> None:
    # Those of the tests before are closed, but the engine may not have heard of it yet.
    wait_until(lambda: metric("oee_open_connections") == 0)
    with ExitStack() as opened:
        for _ in range(3):
            opened.enter_context(client.socket())
        wait_until(lambda: metric("oee_open_connections") == 3)
    wait_until(lambda: metric("oee_open_connections") == 0)


def test_every_part_is_up_and_every_queue_is_known(client: Client) -> None:
    media_type, text = scrape(client, "application/openmetrics-text; version=1.0.0")

    assert media_type.startswith("application/openmetrics-text")
    families = {family.name: family for family in parse_openmetrics(text)}
    assert {s.labels["part"]: s.value for s in families["oee_up"].samples} == {"postgres": 1, "redis": 1, "sqs": 1}
    queues = {s.labels["queue"] for s in families["oee_queue_messages"].samples}
    dead_letters = {"orders-dead-letters", "settlements-dead-letters"}
    assert queues == {"orders", "priority", "settlements", "replays"} | dead_letters


def test_prometheuss_own_tool_has_nothing_to_say_against_the_text_where_it_is_installed(client: Client) -> None:
    text = scrape(client, "text/plain")[1]

    if (promtool := shutil.which("promtool")) is None:
        assert list(parse_text(text)) != []
    else:
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_statistics_follow_what_is_done(client: Client) -> None:
    client.execute()

    def confirmed() -> bool:
        return bool(client.get("/api/statistics").body["processedPerMinute"])

    wait_until(confirmed)
    statistics = client.get("/api/statistics").body
    assert list(statistics) == [
        *("acceptedPerMinute", "processedPerMinute", "successRate", "queueDepth", "slotsInUse", "slots", "measuredAt"),
    ]
    assert 0 < statistics["successRate"] <= 1
    assert statistics["slots"] == 10
    assert statistics["measuredAt"].endswith("Z")
    assert abs(datetime.fromisoformat(statistics["measuredAt"]).timestamp() - time.time()) < PATIENCE_SECONDS

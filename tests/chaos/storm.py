"""Orders placed on a running stack while its parts are killed, and what must be true when the storm is over."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import Any, Self
from uuid import uuid4

import psutil
import psycopg

from infra.cloud import Target
from infra.local.stack import Stack
from tests.e2e.client import MARKET_ORDER, Client

UNFINISHED = "status IN ('pending', 'routing', 'building', 'submitted')"
EXECUTING_NOW = "SELECT count(*) FROM orders WHERE lease_until > now() AND status IN ('pending', 'routing', 'building')"
_VERDICT = f"""
    WITH landed AS (
        SELECT order_id, count(*) AS swaps
        FROM swaps JOIN simulated_transactions USING (tx_hash)
        WHERE outcome = 'landed'
        GROUP BY order_id
    ), history AS (
        SELECT order_id, count(*) AS events, max(seq) AS newest FROM order_events GROUP BY order_id
    )
    SELECT
        count(*) AS orders,
        count(*) FILTER (WHERE status = 'confirmed') AS confirmed,
        count(*) FILTER (WHERE status = 'failed') AS failed,
        count(*) FILTER (WHERE {UNFINISHED}) AS unfinished,
        count(*) FILTER (WHERE status = 'confirmed' AND coalesce(swaps, 0) <> 1) AS confirmed_not_once,
        count(*) FILTER (WHERE status <> 'confirmed' AND coalesce(swaps, 0) <> 0) AS swapped_unconfirmed,
        count(*) FILTER (WHERE events <> newest OR newest <> seq) AS gaps,
        (SELECT count(*) FROM swaps WHERE state = 'live') AS in_flight,
        (SELECT count(*) FROM order_events WHERE event = 'retrying') AS retries
    FROM orders LEFT JOIN landed ON landed.order_id = orders.id JOIN history ON history.order_id = orders.id
"""


class GaveUp(Exception):
    """The client stopped trying; nobody told it of an order."""


@dataclass(frozen=True)
class Verdict:
    """What the database says when all is over."""

    orders: int
    confirmed: int
    failed: int
    unfinished: int
    confirmed_not_once: int
    swapped_unconfirmed: int
    gaps: int
    in_flight: int
    retries: int

    def differences(self, accepted: int) -> list[str]:
        """Return what is not as it must be, given how many orders clients were told of."""
        found = [
            f"{name.replace('_', ' ')}: {value}"
            for name in ("unfinished", "confirmed_not_once", "swapped_unconfirmed", "gaps", "in_flight")
            if (value := getattr(self, name))
        ]
        if self.orders != accepted:
            found.append(f"{accepted} orders were accepted, {self.orders} are in the database")
        return found


class Storm:
    """A stack under load, and the means to hurt it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.client = Client(stack.url, stack.websocket_url, expects_crashes=True)
        self._cloud = Target(stage="local", endpoint_url=stack.aws_endpoint_url)
        self._placers = ThreadPoolExecutor(8, thread_name_prefix="client")
        self._over = threading.Event()
        self.accepted: list[Future[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_up()

    def place(self, orders: int, over_seconds: float = 0.0) -> None:
        """Place orders evenly over a time, each as a client does that wants it placed once: again, with its key."""
        for number in range(orders):
            self.accepted.append(self._placers.submit(self._place))
            if over_seconds and number < orders - 1:
                time.sleep(over_seconds / orders)

    def post_times(self, posts: int, expected: HTTPStatus) -> list[float]:
        """Place orders one by one, each without a second try; return how long each answer took."""
        times = []
        for _ in range(posts):
            begun = time.monotonic()
            answer = self.client.post("/api/orders/execute", MARKET_ORDER)
            times.append(time.monotonic() - begun)
            assert answer.status == expected, answer
            if answer.status == HTTPStatus.OK:
                done: Future[str] = Future()
                done.set_result(answer.body["orderId"])
                self.accepted.append(done)
        return times

    def give_up(self) -> int:
        """Stop placing; return how many orders had been accepted."""
        self._over.set()
        self._placers.shutdown(cancel_futures=True)
        return sum(not placed.cancelled() and placed.exception() is None for placed in self.accepted)

    def order_ids(self) -> list[str]:
        """Wait until every order is accepted."""
        return [placed.result() for placed in self.accepted]

    def _place(self) -> str:
        key = str(uuid4())
        while not self._over.is_set():
            try:
                answer = self.client.post("/api/orders/execute", MARKET_ORDER, {"Idempotency-Key": key})
            except (OSError, ValueError):
                time.sleep(0.5)
                continue
            if answer.status == HTTPStatus.OK:
                order_id: str = answer.body["orderId"]
                return order_id
            if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise AssertionError(f"refused: {answer}")
            time.sleep(0.5)
        raise GaveUp

    def query(self, statement: str, *values: Any) -> tuple[Any, ...]:
        """Return one row of an answer; waits while Postgres is away."""
        while True:
            try:
                with psycopg.connect(self.stack.database_url, connect_timeout=2) as connection:
                    row = connection.execute(statement, values).fetchone()
                    assert row is not None
                    return row
            except psycopg.OperationalError:
                time.sleep(0.2)

    def set_faults(self, **shares: float) -> None:
        """Let the simulated venues and their chain misbehave."""
        changes = ", ".join(f"{name} = {share}" for name, share in shares.items())
        with psycopg.connect(self.stack.database_url) as connection:
            connection.execute(f"UPDATE simulated_faults SET {changes}")

    def kill_a_worker(self, chance: random.Random) -> bool:
        """Kill one of the processes that run Lambda functions, as the kernel would when memory is short."""
        emulator = self.stack.services["emulator"].process.pid
        workers = [child for child in psutil.Process(emulator).children(recursive=True) if _is_worker(child)]
        if workers:
            chance.choice(workers).kill()
        return bool(workers)

    def deliver_twice(self, order_id: str) -> None:
        """Put a second message for an order on both queues."""
        sqs = self._cloud.client("sqs")
        for output in ("OrdersQueueUrl", "SettlementsQueueUrl"):
            sqs.send_message(QueueUrl=self.stack.outputs[output], MessageBody=f'{{"orderId":"{order_id}"}}')

    @contextmanager
    def without_sqs(self) -> Iterator[None]:
        """Take the queues away, with all that is in them, and bring them back empty."""
        sqs = self._cloud.client("sqs")
        urls = [self.stack.outputs[name] for name in ("OrdersQueueUrl", "SettlementsQueueUrl")]
        known = {url: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in urls}
        for url in urls:
            sqs.delete_queue(QueueUrl=url)
        try:
            yield
        finally:
            for url in urls:
                kept = {name: known[url][name] for name in ("VisibilityTimeout", "RedrivePolicy")}
                sqs.create_queue(QueueName=url.rpartition("/")[2], Attributes=kept)

    def wait_for_the_end(self, seconds: float) -> float:
        """Wait until every order has ended; return how long that took, or the limit if some have not."""
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            if self.query(f"SELECT count(*) FROM orders WHERE {UNFINISHED}")[0] == 0:
                break
            time.sleep(0.2)
        return time.monotonic() - started

    def verdict(self) -> Verdict:
        """Look at everything in the database."""
        values = self.query(_VERDICT)
        return Verdict(**dict(zip((field.name for field in fields(Verdict)), values, strict=True)))

    @contextmanager
    def meanwhile(self, act: Callable[[], object], every_seconds: float) -> Iterator[None]:
        """Do something again and again in the background."""
        over = threading.Event()

        def repeat() -> None:
            while not over.wait(every_seconds):
                act()

        with ThreadPoolExecutor(1) as pool:
            acting = pool.submit(repeat)
            try:
                yield
            finally:
                over.set()
            acting.result()


def _is_worker(process: psutil.Process) -> bool:
    try:
        return any("_worker.py" in argument for argument in process.cmdline())
    except psutil.Error:
        return False  # it has ended meanwhile

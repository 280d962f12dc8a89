"""The outside world: Postgres, Redis, SQS and API Gateway's management API, each opened once a process.

A Lambda process lives for hours and is frozen between calls, so a connection may die unseen. Each resource is
opened at first use, kept while it works, and reopened when it turns out broken. The heavy libraries are imported
where they are first needed: a function that never touches one does not pay for it at its cold start.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_dumps, set_json_loads

from chalicelib.wire import decode_json, encode_json

if TYPE_CHECKING:
    import redis

Row = dict[str, Any]

# Answers stay quick while a part is down: one statement, or one connection, gets this long.
DATABASE_SECONDS = 0.8
CONNECT_SECONDS = 2
REDIS_SECONDS = 0.3
PUSH_SECONDS = 1.0
SQS_SECONDS = 1.5
BREATHER_SECONDS = 1.0
"""After Redis or the management API did not answer it is left alone for this long: an outage costs few waits."""

set_json_dumps(encode_json)
set_json_loads(decode_json)


class ResourceUnavailable(Exception):
    """A part the engine depends on does not answer; the caller may try again in a moment."""

    def __init__(self, part: str, reason: object) -> None:
        self.part = part
        super().__init__(f"{part} is not available: {reason}")


class _Breather:
    """Lets a part that did not answer be, for a moment."""

    def __init__(self, part: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._part = part
        self._clock = clock
        self._over_at = 0.0

    def check(self) -> None:
        """Fail at once if the part did not answer a moment ago."""
        if self._clock() < self._over_at:
            raise ResourceUnavailable(self._part, "it did not answer a moment ago")

    def begin(self) -> None:
        """Note that the part did not answer."""
        self._over_at = self._clock() + BREATHER_SECONDS


class _ImpatientConnection(psycopg.Connection[Row]):
    """A connection on which nothing waits longer than ``patience`` seconds.

    The server's own ``statement_timeout`` does not help when the server, or the way to it, has stopped.
    """

    patience = DATABASE_SECONDS

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, timeout or self.patience)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                # The answer may still come, and must not be taken for the next statement's.
                self.close()
            raise


class Database:
    """A Postgres connection that comes back.

    Every statement is its own transaction. Each is written so that running it twice is safe (a fixed primary key,
    or a condition on the state it moves from), which is what allows the one retry on a fresh connection.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: _ImpatientConnection | None = None
        self._opening = Lock()  # venues quote in threads of their own, and may be the first to ask

    def run(self, statement: str, parameters: Mapping[str, Any], patience: float = DATABASE_SECONDS) -> list[Row]:
        """Run one statement and return its rows.

        Args:
            statement: SQL with named parameters.
            parameters: Their values.
            patience: Seconds to wait for the answer.

        Raises:
            ResourceUnavailable: Postgres does not answer.
        """
        idle_since_last_call = self._connection
        try:
            return self._run(statement, parameters, patience)
        except psycopg.OperationalError as error:
            died_unseen = idle_since_last_call is not None and idle_since_last_call.broken
            self._forget_broken()
            if not died_unseen:
                raise ResourceUnavailable("Postgres", error) from error
        try:
            return self._run(statement, parameters, patience)
        except psycopg.OperationalError as error:
            self._forget_broken()
            raise ResourceUnavailable("Postgres", error) from error

    def close(self) -> None:
        """Close the connection; the next statement opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, statement: str, parameters: Mapping[str, Any], patience: float) -> list[Row]:
        with self._opening:
            if self._connection is None:
                self._connection = _connect(self._url)
            connection = self._connection
        if connection.patience != patience:
            connection.execute(f"SET statement_timeout = {_milliseconds(patience)}")
            connection.patience = patience
        cursor = connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def _forget_broken(self) -> None:
        if self._connection is not None and self._connection.closed:
            self._connection = None


def _milliseconds(patience: float) -> int:
    """Return the server's own limit for a statement: a little less than ours, so that we hear of it."""
    return int(patience * 900)


def _connect(url: str) -> _ImpatientConnection:
    """Connect, or give up after ``DATABASE_SECONDS``; libpq itself would wait two seconds at least."""

    def open_connection() -> _ImpatientConnection:
        return _ImpatientConnection.connect(
            url,
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=CONNECT_SECONDS,
            application_name="order-execution-engine",
            # What we no longer wait for must not be done behind our back either.
            options=f"-c timezone=UTC -c statement_timeout={_milliseconds(DATABASE_SECONDS)}",
        )

    opener = ThreadPoolExecutor(1, thread_name_prefix="connect")
    opening = opener.submit(open_connection)
    opener.shutdown(wait=False)
    try:
        return opening.result(DATABASE_SECONDS)
    except TimeoutError as late:
        opening.add_done_callback(_close_late_connection)
        raise psycopg.OperationalError(f"no connection within {DATABASE_SECONDS} s") from late


def _close_late_connection(opening: Future[_ImpatientConnection]) -> None:
    if opening.exception() is None:
        opening.result().close()


class Redis:
    """A Redis connection for scripts, each of which is one atomic round trip.

    All that is in Redis may be lost, so it is never waited for: a call gives up quickly, and after one that failed
    the next ones fail at once for a moment.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._breather = _Breather("Redis", clock)
        self._client: redis.Redis | None = None

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a Lua script and return its answer; strings come back as ``str``.

        Raises:
            ResourceUnavailable: Redis does not answer.
        """
        import redis

        self._breather.check()
        try:
            return self.open().eval(script, len(keys), *keys, *arguments)
        except redis.RedisError as error:
            self._breather.begin()
            raise ResourceUnavailable("Redis", error) from error

    def open(self) -> redis.Redis:
        """Return the client, which connects when it is first used."""
        if self._client is None:
            self._client = _redis_client(self._url)
        return self._client

    def close(self) -> None:
        """Close the connection; the next script opens a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def probe(self) -> None:
        """Run the smallest script there is."""
        self.run("return 1", [], [])


class Queue:
    """An SQS queue of JSON messages.

    Delays are whole seconds, as SQS counts them; a fraction is rounded up so that nothing comes early.
    """

    LONGEST_DELAY = 900
    LONGEST_INVISIBILITY = 43_200
    BATCH = 10
    REQUESTS_AT_ONCE = 8

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self) -> Any:
        """Return the client; all queues of a process share one."""
        return _aws_client("sqs", SQS_SECONDS, 2)

    def send(self, message: object, delay: float = 0) -> None:
        """Put one message on the queue as JSON, visible after ``delay`` seconds (at most 15 minutes)."""
        self.send_text(encode_json(message).decode(), delay)

    def send_text(self, text: str, delay: float = 0) -> None:
        """Put one message on the queue as it is."""
        with _as_unavailable("SQS"):
            self.open().send_message(
                QueueUrl=self._url,
                MessageBody=text,
                DelaySeconds=min(math.ceil(delay), self.LONGEST_DELAY),
            )

    def send_all(self, messages: Sequence[object], delays: Sequence[float] = ()) -> None:
        """Put many messages on the queue, ten to a request and several requests at once.

        ``delays`` holds each message's delay in seconds; without it they are visible at once.
        """
        entries = [
            {
                "Id": str(index % self.BATCH),
                "MessageBody": encode_json(message).decode(),
                "DelaySeconds": min(math.ceil(delay), self.LONGEST_DELAY),
            }
            for index, (message, delay) in enumerate(zip(messages, delays or [0.0] * len(messages), strict=True))
        ]
        batches = [entries[start : start + self.BATCH] for start in range(0, len(entries), self.BATCH)]
        if len(batches) < 2:
            for batch in batches:
                self._send_batch(batch)
            return
        with ThreadPoolExecutor(min(len(batches), self.REQUESTS_AT_ONCE), thread_name_prefix="send") as pool:
            list(pool.map(self._send_batch, batches))

    def _send_batch(self, entries: Sequence[Mapping[str, Any]]) -> None:
        with _as_unavailable("SQS"):
            refused = self.open().send_message_batch(QueueUrl=self._url, Entries=entries).get("Failed")
        if refused:
            raise ResourceUnavailable("SQS", refused)

    def postpone(self, receipt_handle: str, delay: float) -> None:
        """Keep a received message invisible for ``delay`` seconds more (at most 12 hours)."""
        with _as_unavailable("SQS"):
            self.open().change_message_visibility(
                QueueUrl=self._url,
                ReceiptHandle=receipt_handle,
                VisibilityTimeout=min(math.ceil(delay), self.LONGEST_INVISIBILITY),
            )

    def depth(self) -> int:
        """Return about how many messages wait to be received; those received or delayed do not count."""
        name = "ApproximateNumberOfMessages"
        with _as_unavailable("SQS"):
            answer = self.open().get_queue_attributes(QueueUrl=self._url, AttributeNames=[name])
        return int(answer["Attributes"][name])


class ManagementApi:
    """API Gateway's ``@connections``: posts to a WebSocket connection, or closes it."""

    def __init__(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url
        self._breather = _Breather("the management API")

    def open(self) -> Any:
        """Return the client."""
        return _aws_client("apigatewaymanagementapi", PUSH_SECONDS, 1, self._endpoint_url)

    def post(self, connection_id: str, data: bytes) -> bool:
        """Send ``data`` to a connection; False when the connection is gone."""
        self._breather.check()
        try:
            with _as_unavailable("the management API"):
                self.open().post_to_connection(ConnectionId=connection_id, Data=data)
        except self.open().exceptions.GoneException:
            return False
        except ResourceUnavailable:
            self._breather.begin()
            raise
        return True

    def close(self, connection_id: str) -> None:
        """Close a connection; one that is gone already stays so."""
        try:
            with _as_unavailable("the management API"):
                self.open().delete_connection(ConnectionId=connection_id)
        except self.open().exceptions.GoneException:
            return


def _redis_client(url: str) -> redis.Redis:
    """Open a client that reconnects by itself once, without a pause, when its connection has died unseen."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=REDIS_SECONDS,
        socket_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )


_making_a_client = Lock()
"""Many threads may use a client, but boto3 lets only one at a time make one."""


def _aws_client(service: str, seconds: float, attempts: int, endpoint_url: str | None = None) -> Any:
    with _making_a_client:
        return _make_aws_client(service, seconds, attempts, endpoint_url)


@cache
def _make_aws_client(service: str, seconds: float, attempts: int, endpoint_url: str | None) -> Any:
    """Open a client that gives up quickly: a worker that waits for a dead endpoint holds one of the ten slots."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=seconds,
        read_timeout=seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=16,
    )
    return boto3.client(service, endpoint_url=endpoint_url, config=config)


@contextmanager
def _as_unavailable(part: str) -> Iterator[None]:
    """Turn what botocore raises when a part does not answer into ``ResourceUnavailable``."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except BotoCoreError as error:
        raise ResourceUnavailable(part, error) from error
    except ClientError as error:
        if error.response["Error"]["Code"] in ("GoneException", "410"):
            raise
        raise ResourceUnavailable(part, error) from error

"""The outside world: Postgres, Redis, SQS and API Gateway's management API, each opened once a process.

A Lambda process lives for hours and is frozen between calls, so a connection may die unseen. Each resource is
opened at first use, kept while it works, and reopened when it turns out broken. The heavy libraries are imported
where they are first needed: a function that never touches one does not pay for it at its cold start.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_dumps, set_json_loads

from chalicelib.wire import decode_json, encode_json

if TYPE_CHECKING:
    import redis

Row = dict[str, Any]
CONNECT_SECONDS = 2
STATEMENT_SECONDS = 5
REDIS_SECONDS = 0.5

set_json_dumps(encode_json)
set_json_loads(decode_json)


class ResourceUnavailable(Exception):
    """A part the engine depends on does not answer; the caller may try again in a moment."""

    def __init__(self, part: str, reason: object) -> None:
        self.part = part
        super().__init__(f"{part} is not available: {reason}")


class Database:
    """A Postgres connection that comes back.

    Every statement is its own transaction. Each is written so that running it twice is safe (a fixed primary key,
    or a condition on the state it moves from), which is what allows the one retry on a fresh connection.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[Row] | None = None

    def run(self, statement: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Run one statement and return its rows.

        Raises:
            ResourceUnavailable: Postgres does not answer.
        """
        reused = self._connection is not None
        try:
            return self._run(statement, parameters)
        except psycopg.OperationalError as error:
            if not self._drop_if_broken() or not reused:
                raise ResourceUnavailable("Postgres", error) from error
        try:
            return self._run(statement, parameters)
        except psycopg.OperationalError as error:
            self._drop_if_broken()
            raise ResourceUnavailable("Postgres", error) from error

    def close(self) -> None:
        """Close the connection; the next statement opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, statement: str, parameters: Mapping[str, Any]) -> list[Row]:
        if self._connection is None:
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                row_factory=dict_row,
                connect_timeout=CONNECT_SECONDS,
                application_name="order-execution-engine",
                options=f"-c timezone=UTC -c statement_timeout={STATEMENT_SECONDS}s",
            )
        cursor = self._connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def _drop_if_broken(self) -> bool:
        """Forget a connection that cannot be used any more; say whether there is none now."""
        if self._connection is not None and self._connection.broken:
            self._connection = None
        return self._connection is None


class Redis:
    """A Redis connection for scripts, each of which is one atomic round trip."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: redis.Redis | None = None

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a Lua script and return its answer; strings come back as ``str``.

        Raises:
            ResourceUnavailable: Redis does not answer.
        """
        import redis

        if self._client is None:
            # It gives up quickly, since all that is in Redis may be lost, and reconnects by itself.
            self._client = redis.Redis.from_url(
                self._url,
                decode_responses=True,
                socket_connect_timeout=REDIS_SECONDS,
                socket_timeout=REDIS_SECONDS,
            )
        try:
            return self._client.eval(script, len(keys), *keys, *arguments)
        except redis.RedisError as error:
            raise ResourceUnavailable("Redis", error) from error

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

    def __init__(self, url: str) -> None:
        self._url = url

    @cached_property
    def _client(self) -> Any:
        return _aws_client("sqs")

    def send(self, message: object, delay: float = 0) -> None:
        """Put one message on the queue, visible after ``delay`` seconds (at most 15 minutes)."""
        with _as_unavailable("SQS"):
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=encode_json(message).decode(),
                DelaySeconds=min(math.ceil(delay), self.LONGEST_DELAY),
            )

    def send_all(self, messages: Iterable[object]) -> None:
        """Put many messages on the queue, ten to a request."""
        bodies = [encode_json(message).decode() for message in messages]
        for start in range(0, len(bodies), self.BATCH):
            entries = [
                {"Id": str(index), "MessageBody": body} for index, body in enumerate(bodies[start : start + self.BATCH])
            ]
            with _as_unavailable("SQS"):
                refused = self._client.send_message_batch(QueueUrl=self._url, Entries=entries).get("Failed")
            if refused:
                raise ResourceUnavailable("SQS", refused)

    def postpone(self, receipt_handle: str, delay: float) -> None:
        """Keep a received message invisible for ``delay`` seconds more (at most 12 hours)."""
        with _as_unavailable("SQS"):
            self._client.change_message_visibility(
                QueueUrl=self._url,
                ReceiptHandle=receipt_handle,
                VisibilityTimeout=min(math.ceil(delay), self.LONGEST_INVISIBILITY),
            )

    def probe(self) -> None:
        """Ask the queue for one attribute, to see whether it answers."""
        with _as_unavailable("SQS"):
            self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])


class ManagementApi:
    """API Gateway's ``@connections``: posts to a WebSocket connection, or closes it."""

    def __init__(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url

    @cached_property
    def _client(self) -> Any:
        return _aws_client("apigatewaymanagementapi", self._endpoint_url)

    def post(self, connection_id: str, data: bytes) -> bool:
        """Send ``data`` to a connection; False when the connection is gone."""
        try:
            with _as_unavailable("the management API"):
                self._client.post_to_connection(ConnectionId=connection_id, Data=data)
        except self._client.exceptions.GoneException:
            return False
        return True

    def close(self, connection_id: str) -> None:
        """Close a connection; one that is gone already stays so."""
        try:
            with _as_unavailable("the management API"):
                self._client.delete_connection(ConnectionId=connection_id)
        except self._client.exceptions.GoneException:
            return


@cache
def _aws_client(service: str, endpoint_url: str | None = None) -> Any:
    """Open a client that gives up quickly: a worker that waits for a dead endpoint holds one of the ten slots."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=1,
        read_timeout=3,
        retries={"mode": "standard", "total_max_attempts": 2},
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

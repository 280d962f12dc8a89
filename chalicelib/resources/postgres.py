"""Postgres: one connection, on which nothing waits for long."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
from psycopg.pq.abc import PGconn
from psycopg.rows import dict_row
from psycopg.types.json import set_json_dumps, set_json_loads

from chalicelib.exact_json import decode_json, encode_json
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.secrets import Secret

Row = dict[str, Any]

DATABASE_SECONDS = 0.8
"""One statement, or one connection, gets this long."""
CONNECT_SECONDS = 2

set_json_dumps(encode_json)
set_json_loads(decode_json)


class _ImpatientConnection(psycopg.Connection[Row]):
    """A connection on which nothing waits longer than ``patience`` seconds.

    The server's own ``statement_timeout`` does not help when the server, or the way to it, has stopped.
    """

    patience = DATABASE_SECONDS

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self._cursors: dict[str, psycopg.Cursor[Row]] = {}

    def rows(self, statement: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Run a statement and return its rows, if it has any; one at a time.

        Each statement has a cursor of its own, which keeps how its types are written and read.
        """
        cursor = self._cursors.get(statement)
        if cursor is None:
            cursor = self._cursors[statement] = self.cursor()
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else []

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

    def __init__(self, url: str, password: Secret | None = None) -> None:
        """Prepare a connection; ``password`` holds ``username`` and ``password`` where the URL has neither."""
        self._url = url
        self._password = password
        self._connection: _ImpatientConnection | None = None
        self._one_at_a_time = Lock()  # venues quote in threads of their own

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

    def url(self) -> str:
        """Return its address with user and password in it, for a client of another kind."""
        if self._password is None:
            return self._url
        user, password = (quote(part, safe="") for part in _credentials(self._password))
        parts = urlsplit(self._url)
        return parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()

    def close(self) -> None:
        """Close the connection; the next statement opens a new one."""
        with self._one_at_a_time:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _run(self, statement: str, parameters: Mapping[str, Any], patience: float) -> list[Row]:
        with self._one_at_a_time:
            if self._connection is None:
                self._connection = self._connect()
            connection = self._connection
            if connection.patience != patience:
                connection.execute(f"SET statement_timeout = {_milliseconds(patience)}")
                connection.patience = patience
            return connection.rows(statement, parameters)

    def _connect(self) -> _ImpatientConnection:
        """Connect with the password there is, and again if that has been rotated since it was read."""
        if self._password is None:
            return _open(self._url)
        try:
            return _open(self._url, *_credentials(self._password))
        except psycopg.OperationalError as refused:
            # libpq tells a refused password from other failures by its words only.
            if "authentication" not in str(refused) or not self._password.renew():
                raise
        return _open(self._url, *_credentials(self._password))

    def _forget_broken(self) -> None:
        with self._one_at_a_time:
            if self._connection is not None and self._connection.closed:
                self._connection = None


def _credentials(password: Secret) -> tuple[str, str]:
    """Read what RDS and its rotation keep in a secret: ``{"username", "password", …}``."""
    secret = decode_json(password.read())
    return secret["username"], secret["password"]


def _milliseconds(patience: float) -> int:
    """Return the server's own limit for a statement: a little less than ours, so that we hear of it."""
    return int(patience * 900)


def _open(url: str, user: str | None = None, password: str | None = None) -> _ImpatientConnection:
    """Connect, or give up after ``DATABASE_SECONDS``; libpq itself would wait two seconds at least."""

    def open_connection() -> _ImpatientConnection:
        connection = _ImpatientConnection.connect(
            url,
            row_factory=dict_row,
            user=user,
            password=password,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            application_name="order-execution-engine",
        )
        # Set by a statement, because RDS Proxy refuses options at the start of a session. What we no longer wait for
        # must not be done behind our back either.
        connection.execute(
            "SELECT set_config('timezone', 'UTC', false), set_config('statement_timeout', %s, false)",
            [str(_milliseconds(DATABASE_SECONDS))],
        )
        return connection

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

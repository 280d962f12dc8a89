"""Redis: scripts, each of which is one atomic round trip."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

from chalicelib.clock import Clock
from chalicelib.exact_json import decode_json
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.circuit_breaker import CircuitBreaker
from chalicelib.resources.secrets import Secret

REDIS_SECONDS = 0.3

Call = tuple[Sequence[str], Sequence[Any]]
"""The keys and the arguments that a script is run with."""


class Redis:
    """A Redis connection for scripts, each of which is one atomic round trip.

    All that is in Redis may be lost, so it is never waited for: a call gives up quickly, and after one that failed
    the next ones fail at once for a moment. There is one connection and no pool, which would cost half as much again.
    """

    def __init__(self, url: str, clock: Clock, password: Secret | None = None) -> None:
        """Prepare a connection; ``password`` holds the ``authToken`` where the URL has none."""
        self._url = url
        self._password = password
        self._circuit_breaker = CircuitBreaker("Redis", clock)
        self._connection: Any = None  # redis-py's connections are not typed
        self._one_at_a_time = Lock()  # viewers are served in threads of their own

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a Lua script and return its answer; strings come back as ``str``.

        Raises:
            ResourceUnavailable: Redis does not answer.
        """
        (answer,) = self.run_all(script, [(keys, arguments)])
        return answer

    def run_all(self, script: str, calls: Sequence[Call]) -> list[Any]:
        """Run a script once for each of these keys and arguments, in one round trip; each run by itself is atomic.

        Others wait for as long as all of them take: tens of runs are some milliseconds.

        Raises:
            ResourceUnavailable: Redis does not answer; some may have been run.
        """
        import redis

        with self._one_at_a_time:
            self._circuit_breaker.check()
            try:
                try:
                    return self._ask(script, calls)
                except redis.AuthenticationError:
                    if self._password is None or not self._password.renew():
                        raise
                    return self._ask(script, calls)
            except redis.RedisError as error:
                self._circuit_breaker.trip()
                raise ResourceUnavailable("Redis", error) from error

    def _ask(self, script: str, calls: Sequence[Call]) -> list[Any]:
        connection = self.open()

        def exchange() -> list[Any]:
            connection.send_packed_command(
                connection.pack_commands([("EVAL", script, len(keys), *keys, *arguments) for keys, arguments in calls])
            )
            return [connection.read_response() for _ in calls]

        try:
            answers: list[Any] = connection.retry.call_with_retry(exchange, lambda _: connection.disconnect())
            return answers
        except BaseException:
            # Answers that may still come must not be taken for those of the next scripts.
            connection.disconnect()
            raise

    def open(self) -> Any:
        """Return the connection, which is made when it is first used."""
        if self._connection is None:
            self._connection = _connection(self._url, self._password)
        return self._connection

    def close(self) -> None:
        """Close the connection; the next script opens a new one."""
        with self._one_at_a_time:
            if self._connection is not None:
                self._connection.disconnect()
                self._connection = None

    def probe(self) -> None:
        """Run the smallest script there is."""
        self.run("return 1", [], [])


def _connection(url: str, password: Secret | None) -> Any:
    """Prepare a connection that is made again once, without a pause, when it has died unseen."""
    import redis
    from redis.backoff import NoBackoff
    from redis.credentials import CredentialProvider
    from redis.retry import Retry

    class AuthToken(CredentialProvider):
        """Asked at every connection, so that a new one has the newest token."""

        def __init__(self, secret: Secret) -> None:
            self._secret = secret

        def get_credentials(self) -> tuple[str]:
            return (decode_json(self._secret.read())["authToken"],)

    # Only a pool reads a URL; it is asked for this one connection.
    pool = redis.ConnectionPool.from_url(
        url,
        credential_provider=AuthToken(password) if password else None,
        decode_responses=True,
        socket_connect_timeout=REDIS_SECONDS,
        socket_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
    return pool.make_connection()

"""Redis: scripts, each of which is one atomic round trip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from chalicelib.clock import Clock
from chalicelib.exact_json import decode_json
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.circuit_breaker import CircuitBreaker
from chalicelib.resources.secrets import Secret

if TYPE_CHECKING:
    import redis

REDIS_SECONDS = 0.3


class Redis:
    """A Redis connection for scripts, each of which is one atomic round trip.

    All that is in Redis may be lost, so it is never waited for: a call gives up quickly, and after one that failed
    the next ones fail at once for a moment.
    """

    def __init__(self, url: str, clock: Clock, password: Secret | None = None) -> None:
        """Prepare a client; ``password`` holds the ``authToken`` where the URL has none."""
        self._url = url
        self._password = password
        self._circuit_breaker = CircuitBreaker("Redis", clock)
        self._client: redis.Redis | None = None

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a Lua script and return its answer; strings come back as ``str``.

        Raises:
            ResourceUnavailable: Redis does not answer.
        """
        return self._ask(lambda client: client.eval(script, len(keys), *keys, *arguments))

    def run_all(self, script: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run a script once for each of these keys and arguments, in one round trip; each run by itself is atomic.

        Others wait for as long as all of them take: tens of runs are some milliseconds.

        Raises:
            ResourceUnavailable: Redis does not answer; some may have been run.
        """
        if len(calls) == 1:
            return [self.run(script, *calls[0])]
        answers: list[Any] = self._ask(partial(_run_all, script, calls))
        return answers

    def _ask(self, question: Callable[[redis.Redis], Any]) -> Any:
        import redis

        self._circuit_breaker.check()
        try:
            try:
                return question(self.open())
            except redis.AuthenticationError:
                if self._password is None or not self._password.renew():
                    raise
                return question(self.open())
        except redis.RedisError as error:
            self._circuit_breaker.trip()
            raise ResourceUnavailable("Redis", error) from error

    def open(self) -> redis.Redis:
        """Return the client, which connects when it is first used."""
        if self._client is None:
            self._client = _redis_client(self._url, self._password)
        return self._client

    def close(self) -> None:
        """Close the connection; the next script opens a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def probe(self) -> None:
        """Run the smallest script there is."""
        self.run("return 1", [], [])


def _run_all(script: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]], client: redis.Redis) -> list[Any]:
    with client.pipeline(transaction=False) as pipeline:
        for keys, arguments in calls:
            pipeline.eval(script, len(keys), *keys, *arguments)
        return pipeline.execute()


def _redis_client(url: str, password: Secret | None) -> redis.Redis:
    """Open a client that reconnects by itself once, without a pause, when its connection has died unseen."""
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

    return redis.Redis.from_url(
        url,
        credential_provider=AuthToken(password) if password else None,
        decode_responses=True,
        socket_connect_timeout=REDIS_SECONDS,
        socket_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )

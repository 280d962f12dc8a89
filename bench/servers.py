"""A Postgres and a Redis for what is measured without the emulated cloud."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from chalicelib.store.schema import migrate
from infra.local.postgres import LocalPostgres
from infra.local.processes import ChildProcess
from infra.local.redis import LocalRedis


@dataclass(frozen=True)
class Servers:
    """Both servers, on data of their own that goes with them; Postgres writes to disk as it would in production."""

    postgres: LocalPostgres
    redis: LocalRedis

    def settings(self) -> dict[str, str]:
        """Return where they are, as the engine is told."""
        return {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url}

    def confine(self, cores: list[int]) -> None:
        """Let them run on these cores only, where the system can do that; what Postgres forks later inherits it."""
        for process in (*_family(self.postgres.process), *_family(self.redis.process)):
            if hasattr(process, "cpu_affinity"):
                with suppress(psutil.NoSuchProcess):  # what Postgres starts and ends by itself
                    process.cpu_affinity(cores)

    def cpu_seconds(self) -> tuple[float, float]:
        """Return the processor time that Postgres, with the sessions that are open now, and Redis have used."""
        return _cpu_seconds(self.postgres.process), _cpu_seconds(self.redis.process)


@contextmanager
def own_servers() -> Iterator[Servers]:
    """Start both, with the engine's tables.

    Raises:
        StackError: one of them does not start.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        servers = Servers(LocalPostgres(Path(folder), os.environ), LocalRedis(Path(folder), os.environ))
        try:
            servers.postgres.start()
            servers.redis.start()
            migrate(servers.postgres.url)
            yield servers
        finally:
            servers.redis.stop()
            servers.postgres.stop()


def _family(server: ChildProcess) -> list[psutil.Process]:
    parent = psutil.Process(server.pid)
    return [parent, *parent.children(recursive=True)]


def _cpu_seconds(server: ChildProcess) -> float:
    seconds = 0.0
    for process in _family(server):
        with suppress(psutil.NoSuchProcess):
            used = process.cpu_times()
            seconds += used.user + used.system
    return seconds

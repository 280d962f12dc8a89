"""The front door: the one port a user sees, served by ``infra.local.proxy`` in a process of its own."""

import contextlib
import errno
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from infra.local.processes import ChildProcess, StackError, plain_environment

if TYPE_CHECKING:
    from infra.cloud import Addresses  # it loads the AWS SDK, and a busy port is named before that

PROJECT = Path(__file__).parents[2]


class LocalDoor:
    """The proxy on loopback, on IPv4 and, where the machine has it, IPv6.

    Both, because some clients try only the first address that ``localhost`` stands for. The stack holds the port
    from the beginning: a busy one is named before anything starts, and it stays ours when the door restarts.
    """

    name = "Front door"

    def __init__(self, port: int, data_dir: Path, environment: Mapping[str, str]) -> None:
        self._sockets = _bind(port)
        self.port: int = self._sockets[0].getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self.websocket_url = f"ws://localhost:{self.port}/ws"
        descriptors = [listener.fileno() for listener in self._sockets]
        self.process = ChildProcess(
            name="The front door",
            command=[],
            environment=plain_environment(environment),
            log_file=data_dir / "logs" / "door.log",
            inherited_sockets=descriptors,
            folder=PROJECT,
        )

    def lead_to(self, addresses: "Addresses") -> None:
        """Say where the two APIs are; takes effect at the next start."""
        self.process.command = [
            *(sys.executable, "-m", "infra.local.proxy"),
            *("--listen", *map(str, self.process.inherited_sockets)),
            *("--rest", addresses.rest),
            *("--websocket", addresses.websocket),
        ]

    def start(self) -> None:
        self.process.start()
        self.process.wait_ready(self._listens)

    def stop(self) -> None:
        self.process.stop()

    def restart(self) -> None:
        self.process.restart()
        self.process.wait_ready(self._listens)

    def close(self) -> None:
        """Stop it and give the port back."""
        self.stop()
        for listener in self._sockets:
            listener.close()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _bind(port: int) -> list[socket.socket]:
    """Bind the port without listening yet: until the door does, clients are refused.

    Raises:
        StackError: the port is in use, or not ours to take.
    """
    sockets: list[socket.socket] = []
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            listener = socket.socket(family)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port or sockets[0].getsockname()[1] if len(sockets) > 1 else port))
        except OSError as error:
            if family == socket.AF_INET6 and error.errno != errno.EADDRINUSE:
                # This machine has no IPv6.
                sockets.pop().close()
                continue
            for opened in sockets:
                opened.close()
            raise StackError(_why_not(port, error)) from error
    return sockets


def _why_not(port: int, error: OSError) -> str:
    another = f"choose another port: PORT={port + 1 if port < 65535 else 3000} make run"
    if error.errno != errno.EADDRINUSE:
        return f"Port {port} cannot be used ({error.strerror}); {another}"
    holder = _holder_of(port)
    return f"Port {port} is in use{f' by {holder}' if holder else ''}. Stop it or {another}"


def _holder_of(port: int) -> str | None:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr.port == port and connection.status == psutil.CONN_LISTEN and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return None

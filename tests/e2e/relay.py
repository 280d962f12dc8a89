"""A network between a client and the engine that fails when a test says so."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

CHUNK = 64 * 1024


class Relay:
    """Passes every connection on to the engine at ``url``, HTTP and WebSocket alike.

    ``swallow`` is how many answers are lost from now on: the engine gets the request, the client a closed connection.
    """

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        self._engine = (address.hostname, address.port or 80)
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.swallow = 0

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Closing it would not wake who accepts on it.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self._listener.getsockname()[1]}/ws"

    def cut(self) -> None:
        """Cut every connection there is."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _run(self, work: object, *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments))  # type: ignore[arg-type]
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                engine = socket.create_connection(self._engine)
                self._connections += [client, engine]
                self._run(self._pass_on, client, engine, False)
                self._run(self._pass_on, engine, client, True)

    def _pass_on(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError), source:
            while data := source.recv(CHUNK):
                if is_answer and self.swallow:
                    self.swallow -= 1
                    break
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

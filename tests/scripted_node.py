"""A Solana node on loopback that answers what a test tells it to: what it is asked next, or else a result a method."""

import json
import socket
import threading
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self


class Answer(NamedTuple):
    """What is sent back: a status, a body and headers."""

    status: int
    body: bytes
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it


class HangUp(Exception):
    """Raised by a turn to close the connection without an answer."""


Turn = Callable[[Any], Answer]
"""Given the parsed request, a call or a batch of them, says what is answered."""


def respond(request: dict[str, Any], **outcome: Any) -> dict[str, Any]:
    """Return the JSON-RPC answer to one call: ``result=…`` or ``error=…``."""
    return {"jsonrpc": "2.0", "id": request["id"], **outcome}


def error(code: int, message: str, data: Any = None) -> dict[str, Any]:
    return {"code": code, "message": message, "data": data}


def as_json(document: Any) -> Answer:
    return Answer(200, json.dumps(document).encode(), {"Content-Type": "application/json"})


def answers_with(**outcome: Any) -> Turn:
    """Answer one call, or each of a batch, with this."""

    def turn(request: Any) -> Answer:
        return as_json(
            [respond(each, **outcome) for each in request] if isinstance(request, list) else respond(request, **outcome)
        )

    return turn


def sends(status: int, body: bytes = b"", **headers: str) -> Turn:
    """Answer with this, whatever is asked; ``Retry_After`` is the header ``Retry-After``."""
    return lambda _: Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def hangs_up(_: Any) -> Answer:
    raise HangUp


class ScriptedNode:
    """A node whose answers a test decides while it runs."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        """What it answers to a method: a result, or what makes one of the call's params."""
        self.turns: list[Turn] = []
        """What it does with the next requests, before all else."""
        self.always: Turn | None = None
        """What it does with every request that has no turn of its own."""
        self.requests: list[Any] = []
        self.paths: list[str] = []
        self.headers: list[Message] = []
        self.connections = 0
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                node.connections += 1

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                node.requests.append(request)
                node.paths.append(self.path)
                node.headers.append(self.headers)
                turn = node.turns.pop(0) if node.turns else node.always or node.answer
                try:
                    status, body, headers = turn(request)
                except HangUp:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # A client that gave up on an answer is what some tests are about.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def methods(self) -> list[str]:
        """The methods that were called, one after the other."""
        return [
            call["method"]
            for request in self.requests
            for call in (request if isinstance(request, list) else [request])
        ]

    def answer(self, request: Any) -> Answer:
        """Answer with ``results``."""
        if isinstance(request, list):
            return as_json([self._respond(call) for call in request])
        return as_json(self._respond(request))

    def _respond(self, call: dict[str, Any]) -> dict[str, Any]:
        result = self.results[call["method"]]
        return respond(call, result=result(call["params"]) if callable(result) else result)

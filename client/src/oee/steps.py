"""How the protocol is kept apart from input and output.

What a call does is a generator, a ``Flow``: it yields one step after the other (make this HTTP request, wait so long,
receive a message), is told what came of each, and returns the result. It does nothing itself. ``client.py`` takes its
steps by blocking, ``async_client.py`` by awaiting; what they do and in which order is written once, here beside.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from oee.errors import Unreachable

Result = TypeVar("Result")
Flow: TypeAlias = Generator["Step", Any, Result]


@dataclass(frozen=True, kw_only=True)
class Request:
    """An HTTP request, without what is the same for all of them."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    needs_token: bool = True


@dataclass(frozen=True, kw_only=True)
class Response:
    """An HTTP response; ``headers`` has their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Exchange:
    """Send a request; the outcome is its ``Response``, or ``Unreachable``."""

    request: Request
    token: str | None = field(repr=False)
    timeout: float


@dataclass(frozen=True)
class AskToken:
    """The outcome is the user's token, or None; with ``renewed`` a newer one than before, None where there is none."""

    renewed: bool = False


@dataclass(frozen=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Connect:
    """Open a WebSocket; the outcome may be ``Unreachable`` or ``HandshakeRefused``."""

    url: str = field(repr=False)  # a ticket may be in it
    timeout: float


@dataclass(frozen=True)
class Say:
    """Send a text on the WebSocket; the outcome may be ``Cut``."""

    text: str


@dataclass(frozen=True)
class Receive:
    """The outcome is the WebSocket's next message, or ``Cut``, or ``Silence`` after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Disconnect:
    """Close the WebSocket, if it is open."""


@dataclass(frozen=True)
class Deliver:
    """Hand something to whoever iterates."""

    item: Any


Step: TypeAlias = Exchange | AskToken | Sleep | Connect | Say | Receive | Disconnect | Deliver


class Interruption(Exception):
    """Why a WebSocket has no next message. Flows deal with these; nobody outside sees one."""


class Cut(Interruption):
    """The connection was closed, by whichever side."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Silence(Interruption):
    """Nothing was said for as long as one listened."""


class HandshakeRefused(Interruption):
    """A connection was refused with an HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"refused with {status}")
        self.status = status


FAILURES = (Unreachable, Interruption)
"""What may come of a step besides its outcome."""


class Progress(Generic[Result]):
    """A flow, and the step that it waits for: None once it has returned or failed.

    The step stands until its outcome is known. If whoever takes it is cancelled meanwhile, it is taken again.
    """

    result: Result

    def __init__(self, flow: Flow[Result]) -> None:
        self._flow = flow
        self.step: Step | None = None
        self.succeed(None)

    def succeed(self, outcome: Any) -> None:
        """Go on with the outcome of the step."""
        self._advance(lambda: self._flow.send(outcome))

    def fail(self, error: Exception) -> None:
        """Go on with what went wrong with the step."""
        self._advance(lambda: self._flow.throw(error))

    def _advance(self, to_next_step: Callable[[], Step]) -> None:
        self.step = None
        try:
            self.step = to_next_step()
        except StopIteration as returned:
            self.result = returned.value

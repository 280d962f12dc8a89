"""The client for programs that block: ``with Client("http://localhost:3000") as client: …``."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from oee.answers import Accepted, Health, LaunchTaken, Order, OrderEvent, Quotes
from oee.connections import (
    CONNECT_ERRORS,
    connection_failed,
    http_options,
    request_failed,
    request_options,
    websocket_options,
)
from oee.feed import Feed
from oee.orders import NewOrder, Number, OrderFields, SideName, order_of
from oee.protocol import Protocol, Surroundings
from oee.retries import Retries
from oee.steps import (
    FAILURES,
    AskToken,
    Connect,
    Cut,
    Deliver,
    Disconnect,
    Exchange,
    Flow,
    Progress,
    Receive,
    Response,
    Say,
    Silence,
    Sleep,
    Step,
)

Result = TypeVar("Result")
Token = str | Callable[[], str] | None
DEFAULT_URL = "http://localhost:3000"
DEFAULT_TIMEOUT = 10.0


class Client:
    """Speaks to the engine at ``url``. Several threads may use one client.

    Args:
        url: The engine's address.
        token: The user's token where the engine asks for one, or what returns it: then it is called when one is needed,
            and once more when the engine refuses the one it gave.
        user_id: Whose orders they are, where an order does not say; with a token it is its user.
        websocket_url: The WebSocket API's address, if it is not ``/ws`` beside ``url``.
        timeout: After how many seconds a request is given up, and made again.
        retries: How long to try again.
        transport: What HTTP goes through in place of the network: for tests, or a proxy of one's own.
        sleep: What waits; for tests.
        surroundings: Clocks and chance; for tests.

    Every method may raise ``Refused``, ``Unreachable`` and ``UnexpectedAnswer``, which are ``OrderEngineError``.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: Token = None,
        user_id: str | None = None,
        websocket_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._protocol = Protocol(
            url=url,
            websocket_url=websocket_url,
            user_id=user_id,
            timeout=timeout,
            retries=retries or Retries(),
            surroundings=surroundings or Surroundings(),
        )
        self._token = token
        self._known_token: str | None = None
        self._sleep = sleep
        self._http = httpx.Client(**http_options(self._protocol.url), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @property
    def url(self) -> str:
        """The engine's address."""
        return self._protocol.url

    @property
    def websocket_url(self) -> str:
        """The WebSocket API's address."""
        return self._protocol.websocket_url()

    def close(self) -> None:
        """Close the connections over which requests are made."""
        self._http.close()

    def submit(self, order: NewOrder | None = None, /, **fields: Unpack[OrderFields]) -> Accepted:
        """Place an order: one of the types of ``oee.orders``, or its fields with ``order_type``.

        It is placed once, however often the client has to ask: it has a key, the ``client_order_id``. Where an error
        leaves open whether it was placed, the error has the key; submit it with that again.

        Raises:
            TypeError: a field is missing, is not one of this type of order, or is a float.
            ValueError: a number or a time cannot be read.
        """
        return self._run(self._protocol.submit(order_of(order, fields)))

    def watch(self, order: str | Accepted, after_seq: int = 0) -> Generator[OrderEvent, None, None]:
        """Iterate over the events of an order, from the first or after ``after_seq``, until it has ended.

        Each comes once and in order; a connection that breaks is replaced, and goes on where it broke. ``order`` is an
        id, or what ``submit`` returned.
        """
        order_id = order if isinstance(order, str) else order.order_id
        websocket_url = self._protocol.websocket_url(None if isinstance(order, str) else order)
        with Stream(self, self._protocol, Feed(of_one=True), websocket_url) as stream:
            stream.follow(order_id, after_seq)
            yield from stream

    def submit_and_watch(
        self, order: NewOrder | None = None, /, **fields: Unpack[OrderFields]
    ) -> Generator[OrderEvent, None, None]:
        """Place an order when the iteration begins, and iterate over its events until it has ended."""
        yield from self.watch(self.submit(order_of(order, fields)))

    def stream(self) -> "Stream":
        """Return a stream of many orders' events over one connection; close it, or use it in ``with``."""
        return Stream(self, self._protocol, Feed(), self._protocol.websocket_url())

    def cancel(self, order_id: str) -> Order:
        """Cancel what has not been submitted to a venue, and return it; what is cancelled stays so.

        Raises:
            Conflict: it is too late.
        """
        return self._run(self._protocol.cancel(order_id))

    def order(self, order_id: str) -> Order:
        """Return an order as it stands."""
        return self._run(self._protocol.order(order_id))

    def events(self, order_id: str) -> list[OrderEvent]:
        """Return an order's events so far."""
        return self._run(self._protocol.history(order_id))

    def orders(self, status: str | None = None, limit: int | None = None) -> Iterator[Order]:
        """Iterate over the user's orders, the newest first: all of them, or at most ``limit``.

        Without tokens an engine that is open to all answers with everybody's.

        They come page by page, so one that is placed meanwhile does not make another come twice.
        """
        progress = Progress(self._protocol.orders(status, limit))
        while progress.step is not None:
            if isinstance(progress.step, Deliver):
                yield progress.step.item
            take(progress, self._outcome)

    def quote(self, token_in: str, token_out: str, amount: Number, side: SideName | None = None) -> Quotes:
        """Return what every venue quotes now, and which one the router would choose."""
        return self._run(self._protocol.quote(token_in, token_out, amount, side))

    def launch(
        self, *, secret: str, pool: str, token_in: str, token_out: str | None = None, venue: str | None = None
    ) -> LaunchTaken:
        """Announce that a pool went live, signed with ``secret``.

        Raises:
            ValueError: the secret holds no key.
        """
        return self._run(self._protocol.launch(secret, pool, token_in, token_out, venue))

    def health(self) -> Health:
        """Return which parts the engine reaches, also when it reaches too few to take orders."""
        return self._run(self._protocol.health())

    def _run(self, flow: Flow[Result]) -> Result:
        return run(flow, self._outcome)

    def _outcome(self, step: Step) -> Any:
        match step:
            case Exchange():
                return self._exchange(step)
            case AskToken():
                return self._ask_token(step)
            case Sleep():
                return self._sleep(step.seconds)
            case Deliver():
                return None
            case Connect() | Say() | Receive() | Disconnect():
                raise TypeError(f"{step!r} is a step of a stream")

    def _exchange(self, step: Exchange) -> Response:
        try:
            answer = self._http.request(**request_options(step))
        except httpx.TransportError as error:
            raise request_failed(error, self.url, step.timeout) from error
        return Response(status=answer.status_code, headers=answer.headers, body=answer.content)

    def _ask_token(self, step: AskToken) -> str | None:
        if self._token is None or isinstance(self._token, str):
            return None if step.renewed else self._token
        if self._known_token is None or step.renewed:
            self._known_token = self._token()
        return self._known_token


class Stream:
    """The events of many orders, over one connection: iterate over it, and ``submit`` or ``follow`` orders meanwhile.

    Each order's events come once and in order. The iteration ends when every order that is followed has ended, and can
    begin again when another one is. An order that cannot be streamed raises its error from the iteration, which then
    goes on with the others.

    Orders are placed by HTTP and not over the connection: there, an error does not say which order it is about.
    """

    def __init__(self, client: Client, protocol: Protocol, feed: Feed, websocket_url: str) -> None:
        self._client = client
        self._protocol = protocol
        self._feed = feed
        self._websocket_url = websocket_url
        self._progress: Progress[None] | None = None
        self._opened = ExitStack()
        self._socket: ClientConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, order: NewOrder | None = None, /, **fields: Unpack[OrderFields]) -> Accepted:
        """Place an order as ``Client.submit`` does, and follow it."""
        accepted = self._client.submit(order_of(order, fields))
        self.follow(accepted.order_id)
        return accepted

    def follow(self, order_id: str, after_seq: int = 0) -> None:
        """Listen to an order as well, from its first event or after ``after_seq``.

        Raises:
            ValueError: a stream may follow 200 orders at once.
        """
        run(self._protocol.follow(self._feed, order_id, after_seq), self._outcome)

    def __iter__(self) -> Iterator[OrderEvent]:
        return self

    def __next__(self) -> OrderEvent:
        if self._progress is None or self._progress.step is None:
            self._progress = Progress(self._protocol.stream(self._feed, self._websocket_url))
        elif isinstance(self._progress.step, Deliver):
            self._progress.succeed(None)
        while self._progress.step is not None:
            if isinstance(self._progress.step, Deliver):
                event: OrderEvent = self._progress.step.item
                return event
            take(self._progress, self._outcome)
        raise StopIteration

    def close(self) -> None:
        """Close the connection."""
        self._feed.disconnected()
        self._disconnect()

    def _outcome(self, step: Step) -> Any:
        match step:
            case Connect():
                return self._connect(step)
            case Say():
                return self._say(step)
            case Receive():
                return self._receive(step)
            case Disconnect():
                return self._disconnect()
            case _:
                return self._client._outcome(step)

    def _connect(self, step: Connect) -> None:
        self._disconnect()
        try:
            self._socket = self._opened.enter_context(connect(step.url, **websocket_options(step.url, step.timeout)))
        except CONNECT_ERRORS as error:
            raise connection_failed(error, step.url) from error

    def _say(self, step: Say) -> None:
        if self._socket is None:
            raise Cut(None)
        try:
            self._socket.send(step.text)
        except ConnectionClosed as closed:
            raise Cut(self._socket.close_code) from closed

    def _receive(self, step: Receive) -> str:
        if self._socket is None:
            raise Cut(None)
        try:
            return self._socket.recv(step.seconds, decode=True)
        except TimeoutError as silent:
            raise Silence from silent
        except ConnectionClosed as closed:
            raise Cut(self._socket.close_code) from closed

    def _disconnect(self) -> None:
        self._socket = None
        self._opened.close()


def run(flow: Flow[Result], outcome_of: Callable[[Step], Any]) -> Result:
    """Take all steps of a flow and return its result."""
    progress = Progress(flow)
    while progress.step is not None:
        take(progress, outcome_of)
    return progress.result


def take(progress: Progress[Any], outcome_of: Callable[[Step], Any]) -> None:
    """Take the step that a flow waits for."""
    assert progress.step is not None  # noqa: S101 - for mypy
    try:
        outcome = outcome_of(progress.step)
    except FAILURES as error:
        progress.fail(error)
    else:
        progress.succeed(outcome)

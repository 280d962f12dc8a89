"""A client of the engine as users have one: HTTP and WebSocket through the front door, and nothing else."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPConnection
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.e2e.contract.keeping import check_answer, check_message

PATIENCE_SECONDS = 30
MARKET_ORDER = {"userId": "u1", "orderType": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": 1.5}

Item = TypeVar("Item")
Result = TypeVar("Result")


class Answer(NamedTuple):
    """An HTTP answer whose body is JSON, or None if it has none."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def content_type(self) -> str:
        """The media type, without parameters."""
        return self.headers["content-type"].partition(";")[0]


class Socket:
    """A WebSocket connection that speaks JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def send(self, message: Mapping[str, Any] | str | bytes) -> None:
        """Send an object as JSON, or text as it is."""
        self._connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def receive(self) -> dict[str, Any]:
        """Wait for the next message, which is one that the contract knows."""
        text = self._connection.recv(PATIENCE_SECONDS)
        check_message(text)
        message: dict[str, Any] = parse(text)
        return message

    def ask(self, message: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
        """Send a message and wait for the next one that comes."""
        self.send(message)
        return self.receive()

    def events_until_end(self, orders: int = 1) -> list[dict[str, Any]]:
        """Receive until so many orders have ended, and return every event that came."""
        events = []
        while orders:
            events.append(self.receive())
            orders -= events[-1].get("status") in ("confirmed", "failed")
        return events

    def close_code(self) -> int:
        """Wait until the engine closes the connection, without a further message, and return the code it gave."""
        try:
            raise AssertionError(f"received {self.receive()}, where the connection should have been closed")
        except ConnectionClosed:
            assert self._connection.close_code is not None
            return self._connection.close_code


@dataclass(frozen=True)
class Client:
    """Speaks to the engine at ``url`` and ``websocket_url``, with a token where it has one."""

    url: str
    websocket_url: str
    token: str | None = None
    expects_crashes: bool = False
    """Whether API Gateway may answer for a function that was killed, of which the contract says nothing."""

    def request(
        self, method: str, path: str, body: str | bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request as it is given; a body is said to be JSON unless ``headers`` say otherwise.

        Whatever is answered must be what the contract says, unless functions are being killed.
        """
        address = urlsplit(self.url)
        assert address.hostname is not None
        connection = HTTPConnection(address.hostname, address.port, timeout=PATIENCE_SECONDS)
        try:
            content_type = {} if body is None else {"Content-Type": "application/json"}
            authorization = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
            connection.request(method, path, body, {**content_type, **authorization, **(headers or {})})
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            content = answer.read()
            received = Answer(answer.status, named, parse(content) if content else None)
            if not self.expects_crashes:
                check_answer(method, path, received.status, received.content_type if content else "", content)
            return received
        finally:
            connection.close()

    def get(self, path: str, **query: Any) -> Answer:
        """Ask for ``path``."""
        return self.request("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(self, path: str, values: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
        """Post an object as JSON."""
        return self.request("POST", path, json.dumps(values), headers)

    def place(self, **changes: Any) -> str:
        """Place a market order, changed where ``changes`` says so, and return its id."""
        answer = self.post("/api/orders/execute", MARKET_ORDER | changes)
        assert answer.status == 200, answer
        order_id: str = answer.body["orderId"]
        return order_id

    def cancel_what_waits(self) -> None:
        """Cancel every order that is pending: other tests count who is woken."""
        while pending := self.get("/api/orders", status="pending", limit=100).body["orders"]:
            for order in pending:
                self.request("DELETE", f"/api/orders/{order['orderId']}")

    @contextmanager
    def socket(self, **query: Any) -> Iterator[Socket]:
        """Open a WebSocket connection."""
        address = f"{self.websocket_url}?{urlencode(query)}" if query else self.websocket_url
        with connect(address, proxy=None, open_timeout=PATIENCE_SECONDS, close_timeout=5) as connection:
            yield Socket(connection)

    def watch(self, order_id: str, **query: Any) -> list[dict[str, Any]]:
        """Watch an order on a socket of its own until it has ended, and return the events."""
        with self.socket(orderId=order_id, **query) as socket:
            return socket.events_until_end()

    def execute(self, **changes: Any) -> list[dict[str, Any]]:
        """Place an order and watch it until it has ended."""
        return self.watch(self.place(**changes))


def parse(text: str | bytes) -> Any:
    """Read JSON with exact numbers."""
    return json.loads(text, parse_float=Decimal)


def at_once(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Work on all items at the same time, each in a thread of its own."""
    items = list(items)
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(work, items))

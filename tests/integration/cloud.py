"""The cloud as a test sees it: queues whose clock it moves, and the sockets' other end.

The queues are moto's; the functions behind them are the app's real handlers, called with the events Lambda would
give them.
"""

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from chalice.local import LambdaContext

import app
from chalicelib.exact_json import decode_json
from chalicelib.queueing.sqs_batches import BatchAnswer

Message = dict[str, Any]
CONTEXT = LambdaContext("a-function", 512)

# Nothing listens on port 1, which is reserved.
NO_DATABASE = "postgresql://postgres@127.0.0.1:1/orders"
NO_REDIS = "redis://127.0.0.1:1/0"
NO_QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/none"


def at_once(tasks: Iterable[Callable[[], Any]]) -> list[Any]:
    """Begin all tasks at the same moment, each in a thread of its own; return their results, or raise what one raised.

    The app runs one call at a time in a process, so tasks that stand for processes get an engine each.
    """
    tasks = list(tasks)
    start = threading.Barrier(len(tasks))

    def run(task: Callable[[], Any]) -> Any:
        start.wait(10)
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [running.result(60) for running in [pool.submit(run, task) for task in tasks]]


class QueuesClock:
    """SQS's clock: it runs, and a test may move it on."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ahead = 0.0

    def __call__(self, *_: Any) -> float:
        """Return milliseconds since the epoch, as moto asks for them."""
        return self._now() + self._ahead * 1000

    def pass_time(self, seconds: float) -> None:
        self._ahead += seconds


class EventSource:
    """A queue with the function that works on it, as Lambda's event source mapping joins them."""

    def __init__(self, sqs: Any, name: str, handler: Callable[[Any, Any], BatchAnswer], batch_size: int) -> None:
        self._sqs = sqs
        self._handler = handler
        self._batch_size = batch_size
        attributes = {"VisibilityTimeout": "90"}
        self.name = f"{name}-{uuid4()}"
        self.url: str = sqs.create_queue(QueueName=self.name, Attributes=attributes)["QueueUrl"]

    def receive(self) -> list[Message]:
        """Receive what is visible, at most a batch."""
        answer = self._sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=self._batch_size, MessageSystemAttributeNames=["All"]
        )
        return answer.get("Messages", [])

    def deliver(self, messages: Sequence[Message]) -> BatchAnswer:
        """Call the function with these messages and delete those it is done with."""
        answer = self._handler(self.event(messages), CONTEXT)
        kept = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        for message in messages:
            if message["MessageId"] not in kept:
                self.delete(message)
        return answer

    def event(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Return the event that a function gets for these messages."""
        return {"Records": [self._record(message) for message in messages]}

    def delete(self, message: Message) -> None:
        self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def drain(self) -> list[Message]:
        """Take all visible messages out of the queue."""
        drained: list[Message] = []
        while messages := self.receive():
            drained += messages
            for message in messages:
                self.delete(message)
        return drained

    def poll(self) -> BatchAnswer | None:
        """Receive and deliver; None when nothing is visible."""
        messages = self.receive()
        return self.deliver(messages) if messages else None

    def send(self, body: Any) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self._sqs.send_message(QueueUrl=self.url, MessageBody=text)

    def count(self) -> int:
        """Return how many messages there are: visible, delayed or in flight."""
        counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
        counts.append("ApproximateNumberOfMessagesNotVisible")
        answer = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=counts)
        return sum(map(int, answer["Attributes"].values()))

    def _record(self, message: Message) -> dict[str, Any]:
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:{self.name}",
            "awsRegion": "us-east-1",
        }


class Queues:
    """The engine's queues."""

    def __init__(self, sqs: Any, clock: QueuesClock) -> None:
        self.clock = clock
        self.orders = EventSource(sqs, "orders", app.execute_order, batch_size=1)
        self.priority = EventSource(sqs, "priority", app.execute_order, batch_size=1)
        self.settlements = EventSource(sqs, "settlements", app.settle_orders, batch_size=10)
        self.replays = EventSource(sqs, "replays", app.replay_events, batch_size=1)
        self.orders_dead_letters = EventSource(sqs, "orders-dlq", app.bury_order, batch_size=1)
        self.settlements_dead_letters = EventSource(sqs, "settlements-dlq", app.bury_order, batch_size=1)

    def settings(self) -> dict[str, str]:
        """Return where the queues are, as the engine is told."""
        return {
            "ORDERS_QUEUE_URL": self.orders.url,
            "PRIORITY_QUEUE_URL": self.priority.url,
            "SETTLEMENTS_QUEUE_URL": self.settlements.url,
            "REPLAYS_QUEUE_URL": self.replays.url,
            "ORDERS_DEAD_LETTERS_URL": self.orders_dead_letters.url,
            "SETTLEMENTS_DEAD_LETTERS_URL": self.settlements_dead_letters.url,
        }

    def work_off(self, *sources: EventSource) -> None:
        """Let the functions work until these queues, by default all, are empty, however long that takes."""
        sources = sources or (self.priority, self.orders, self.settlements, self.replays)
        for _ in range(200):
            answers = [source.poll() for source in sources]
            if any(answers):
                continue
            if not any(source.count() for source in sources):
                return
            self.clock.pass_time(1)
        raise AssertionError("the queues do not run empty")


class RecordingConnections:
    """The clients' end of every WebSocket, with the interface of ``ManagementApi``."""

    def __init__(self) -> None:
        self.received: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.closed: list[str] = []
        self.gone: set[str] = set()
        self.refusals: Counter[str] = Counter()
        """How often a connection still cannot be reached, because it is not open yet."""
        self.before_post: Callable[[str], object] = lambda connection_id: None
        self._lock = threading.Lock()

    def post(self, connection_id: str, data: bytes) -> bool:
        self.before_post(connection_id)
        with self._lock:
            if not self._can_reach(connection_id):
                return False
            self.received[connection_id].append(decode_json(data))
            return True

    def close(self, connection_id: str) -> bool:
        with self._lock:
            if not self._can_reach(connection_id):
                return False
            self.closed.append(connection_id)
            return True

    def _can_reach(self, connection_id: str) -> bool:
        if self.refusals[connection_id] > 0:
            self.refusals[connection_id] -= 1
            return False
        return connection_id not in self.gone

    def events(self, connection_id: str) -> list[str]:
        """Return the names of what a client has received."""
        return [message["event"] for message in self.received[connection_id]]

    def seqs(self, connection_id: str) -> list[int]:
        return [message["seq"] for message in self.received[connection_id]]


class Socket:
    """A client's WebSocket: what it does, and what it has received."""

    def __init__(self, connections: RecordingConnections) -> None:
        self.id = f"connection-{uuid4()}"
        self._connections = connections

    def connect(self, headers: Mapping[str, str] | None = None, **query: Any) -> int:
        """Open it; returns the status code."""
        parameters = {name: str(value) for name, value in query.items()} or None
        answer = app.ws_connect(
            self._event("$connect", headers=headers or {}, queryStringParameters=parameters), CONTEXT
        )
        return answer["statusCode"]

    def send(self, message: Mapping[str, Any] | str) -> None:
        body = message if isinstance(message, str) else json.dumps(message)
        app.ws_message(self._event("$default", body=body), CONTEXT)

    def disconnect(self) -> None:
        app.ws_disconnect(self._event("$disconnect"), CONTEXT)

    @property
    def received(self) -> list[dict[str, Any]]:
        return self._connections.received[self.id]

    @property
    def events(self) -> list[str]:
        return self._connections.events(self.id)

    @property
    def seqs(self) -> list[int]:
        return self._connections.seqs(self.id)

    @property
    def closed(self) -> bool:
        return self.id in self._connections.closed

    def _event(self, route: str, **fields: Any) -> dict[str, Any]:
        context = {"connectionId": self.id, "routeKey": route, "apiId": "api", "stage": "ws", "domainName": "localhost"}
        return {"requestContext": context, **fields}

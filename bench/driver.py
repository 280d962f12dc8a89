"""Calls the app's handlers with the events that AWS would give them, and nothing of AWS in between.

What remains is the engine: its handlers unchanged, in a process that starts as Lambda's would, on a real Postgres and
Redis. Three things are stood in for. API Gateway and the event sources are the calls themselves. SQS is a dictionary,
which is given requests as they are signed and answers as SQS would: only the network is missing, and the delay of a
message, which costs nobody anything but time. A client's end of a WebSocket is a list.

The app is imported late, because it reads its settings from the environment when it is imported.
"""

import itertools
import json
import os
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

from chalice.local import LambdaContext

from chalicelib.clock import Clock
from chalicelib.exact_json import decode_json, encode_json
from chalicelib.resources import aws
from chalicelib.resources.management_api import ManagementApi
from chalicelib.resources.postgres import DATABASE_SECONDS, Database, Row
from chalicelib.resources.redis import Call, Redis

ORDER = {"userId": "bench", "orderType": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": 1.5}
BATCH = 10
"""Orders that are settled together, as the template has it."""
_QUEUES = "https://sqs.us-east-1.amazonaws.com/000000000000/"
SETTINGS = {
    "AUTH_MODE": "open",
    "USE_REAL_DEVNET": "",
    "ORDER_PROCESSOR_RATE": "0",
    "USER_ORDER_RATE": "0",
    "MOCK_LATENCY": "0",
    "MOCK_SEED": "",
    "MANAGEMENT_API_URL": "http://127.0.0.1:1",
    "ORDERS_QUEUE_URL": f"{_QUEUES}orders",
    "PRIORITY_QUEUE_URL": f"{_QUEUES}priority",
    "SETTLEMENTS_QUEUE_URL": f"{_QUEUES}settlements",
    "REPLAYS_QUEUE_URL": f"{_QUEUES}replays",
    # Whoever signs requests needs keys; nobody reads the signature.
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
}
"""No delays and no limits: what is left is the engine's own work."""

Message = dict[str, Any]


@dataclass(kw_only=True)
class RoundTrips:
    """How often a process has waited for something outside it."""

    database: int = 0
    chain: int = 0
    """Statements that stand for calls to the venues and their chain; real ones are RPC."""
    redis: int = 0
    sqs: int = 0


@cache
def _is_of_the_chain(statement: str) -> bool:
    return "simulated_" in statement


class CountedDatabase(Database):
    """Counts statements, each of which is a round trip, and notes when the engine's last one was answered."""

    def __init__(self, url: str, trips: RoundTrips) -> None:
        super().__init__(url)
        self._trips = trips
        self.answered_at = 0.0

    def run(self, statement: str, parameters: Mapping[str, Any], patience: float = DATABASE_SECONDS) -> list[Row]:
        rows = super().run(statement, parameters, patience)
        if _is_of_the_chain(statement):
            self._trips.chain += 1
        else:
            self._trips.database += 1
            self.answered_at = time.perf_counter()
        return rows


class CountedRedis(Redis):
    """Counts round trips, each of which runs a script."""

    def __init__(self, url: str, clock: Clock, trips: RoundTrips) -> None:
        super().__init__(url, clock)
        self._trips = trips

    def run_all(self, script: str, calls: Sequence[Call]) -> list[Any]:
        self._trips.redis += 1
        return super().run_all(script, calls)


class HeardConnections(ManagementApi):
    """The clients' end of every WebSocket: notes how long after its event's commit each message came."""

    def __init__(self, database: CountedDatabase, clock: Clock) -> None:
        super().__init__(SETTINGS["MANAGEMENT_API_URL"], clock)
        self._database = database
        self.delays: list[float] = []

    def post(self, connection_id: str, data: bytes) -> bool:  # noqa: ARG002
        self.delays.append(time.perf_counter() - self._database.answered_at)
        return True

    def close(self, connection_id: str) -> bool:  # noqa: ARG002
        return True


class QueuesInMemory:
    """Stands in for ``aws.exchange``, and so for SQS; see https://docs.aws.amazon.com/AWSSimpleQueueService/."""

    def __init__(self, trips: RoundTrips) -> None:
        self._messages: dict[str, deque[Message]] = defaultdict(deque)
        self._trips = trips
        self._ids = itertools.count(1)

    def take(self, queue: str, most: int) -> list[Message]:
        """Receive up to so many messages, as a function gets them; who takes one is done with it."""
        waiting = self._messages[queue]
        return [waiting.popleft() for _ in range(min(most, len(waiting)))]

    def put_back(self, queue: str, messages: Sequence[Message]) -> None:
        self._messages[queue].extend(messages)

    def exchange(self, request: aws.Request, part: str) -> aws.Response:  # noqa: ARG002
        """Answer a request of the engine's."""
        self._trips.sqs += 1
        asked = decode_json(request.body)
        queue = asked["QueueUrl"].rpartition("/")[2]
        answer: dict[str, Any] = {}
        if "Entries" in asked:
            for entry in asked["Entries"]:
                self._send(queue, entry["MessageBody"])
            answer = {"Successful": [], "Failed": []}
        elif "MessageBody" in asked:
            answer = {"MessageId": self._send(queue, asked["MessageBody"])}
        return aws.Response(200, encode_json(answer))

    def _send(self, queue: str, text: str) -> str:
        message_id = str(next(self._ids))
        self._messages[queue].append(
            {
                "messageId": message_id,
                "receiptHandle": message_id,
                "body": text,
                "attributes": {"ApproximateReceiveCount": "1"},
                "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{queue}",
            }
        )
        return message_id


class Driver:
    """One process of the engine, and whatever calls it. There is one in a process, as there is one engine."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        """Start the engine with these settings; what it logs is written, and read by nobody."""
        os.environ.update({**SETTINGS, **settings})
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        import app
        from chalicelib.engine import engine

        self._app = app
        self._context = LambdaContext("bench", 512)
        self.trips = RoundTrips()
        self._engine = engine()
        database = CountedDatabase(self._engine.settings.database_url, self.trips)
        self.connections = HeardConnections(database, self._engine.clock)
        self._engine.database = database
        self._engine.redis = CountedRedis(self._engine.settings.redis_url, self._engine.clock, self.trips)
        self._engine.connections = self.connections
        self._engine.prepare()
        self._queues = QueuesInMemory(self.trips)
        aws.exchange = self._queues.exchange
        body = json.dumps(ORDER)
        self._request = {
            "path": "/api/orders/execute",
            "headers": {"content-type": "application/json"},
            "multiValueQueryStringParameters": None,
            "pathParameters": None,
            "stageVariables": None,
            "body": body,
            "isBase64Encoded": False,
            "requestContext": {
                "httpMethod": "POST",
                "resourcePath": "/api/orders/execute",
                "path": "/api/orders/execute",
                "identity": {"sourceIp": "127.0.0.1"},
            },
        }

    def place(self) -> str:
        """Post an order; returns its id."""
        answer = self._app.app(self._request, self._context)
        assert answer["statusCode"] == 200, answer
        order_id: str = decode_json(answer["body"])["orderId"]
        return order_id

    def watch(self, order_id: str) -> None:
        """Open a WebSocket for an order and bring it up to date."""
        context = {"connectionId": str(uuid4()), "routeKey": "$connect", "apiId": "api"}
        context |= {"domainName": "localhost", "stage": "ws"}
        query = {"orderId": order_id}
        self._app.ws_connect({"requestContext": context, "headers": {}, "queryStringParameters": query}, self._context)
        self._work_off("replays", self._app.replay_events, 1)

    def finish(self) -> None:
        """Execute and settle what was placed."""
        self._work_off("orders", self._app.execute_order, 1)
        self._work_off("settlements", self._app.settle_orders, BATCH)

    def process(self, orders: int) -> None:
        """Place so many orders and take each to its end, as many at a time as are settled together."""
        for start in range(0, orders, BATCH):
            for _ in range(min(BATCH, orders - start)):
                self.place()
            self.finish()

    def _work_off(self, queue: str, handler: Callable[[Any, Any], Any], batch: int) -> None:
        while messages := self._queues.take(queue, batch):
            failed = {
                failure["itemIdentifier"]
                for failure in handler({"Records": messages}, self._context)["batchItemFailures"]
            }
            self._queues.put_back(queue, [message for message in messages if message["messageId"] in failed])

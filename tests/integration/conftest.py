"""An engine for each test: on the real Postgres and Redis, moto's SQS, and recorded WebSockets."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import boto3
import moto.sqs.models
import pytest
import redis
from chalice.local import LocalGatewayAuthorizer, NotAuthorizedError
from chalice.test import Client, HTTPResponse

import app
from chalicelib.authorizer import make_verifier
from chalicelib.clock import Clock
from chalicelib.config import load_settings
from chalicelib.engine import Engine
from chalicelib.exact_json import decode_json, encode_json
from chalicelib.execution.swap_plan import plan_swap
from chalicelib.observability import flush_metrics
from chalicelib.orders.swap import SignedTransaction
from chalicelib.web.responses import Unauthorized
from infra.local.postgres import LocalPostgres
from infra.local.redis import LocalRedis
from tests.builders import order_body
from tests.clocks import QuickClock
from tests.conftest import Database
from tests.integration.cloud import Queues, QueuesClock, RecordingConnections, Socket
from tests.moto_cloud import moto_cloud


@pytest.fixture(scope="session")
def sqs() -> Any:
    """A client of the tests' own: making one takes longer than most tests."""
    return boto3.client("sqs", "us-east-1", aws_access_key_id="test", aws_secret_access_key="test")


@pytest.fixture
def queues(sqs: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queues]:
    """Empty queues, on a clock that the test moves."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    clock = QueuesClock(moto.sqs.models.unix_time_millis)
    monkeypatch.setattr(moto.sqs.models, "unix_time_millis", clock)
    with moto_cloud():
        yield Queues(sqs, clock)


@pytest.fixture
def connections() -> RecordingConnections:
    return RecordingConnections()


MakeEngine = Callable[..., Engine]


@pytest.fixture
def make_engine(
    postgres: LocalPostgres,
    redis_server: LocalRedis,
    database: Database,
    cache: redis.Redis,
    queues: Queues,
    connections: RecordingConnections,
) -> Iterator[MakeEngine]:
    """Make engines, each what one process would have; settings are given by their variables' names."""
    made: list[Engine] = []

    def make(*, clock: Clock | None = None, engine_type: type[Engine] = Engine, **settings: str) -> Engine:
        environment = {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis_server.url,
            "MOCK_LATENCY": "0",
            "MOCK_SEED": "a test",
            "BACKOFF_BASE_MS": "0",
            "ORDER_PROCESSOR_RATE": "0",
            "USER_ORDER_RATE": "0",
            **queues.settings(),
            **settings,
        }
        engine = engine_type(load_settings(environment), clock or QuickClock())
        engine.connections = connections
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.database.close()
        engine.redis.close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Engine], Engine]:
    """Put an engine behind the app's handlers."""

    def put(engine: Engine) -> Engine:
        verifier = make_verifier(engine.settings, engine.clock)
        monkeypatch.setattr(app, "engine", lambda: engine)
        monkeypatch.setattr(app, "token_verifier", lambda: verifier)
        return engine

    return put


@pytest.fixture
def engine(make_engine: MakeEngine, serve: Callable[[Engine], Engine]) -> Engine:
    """An engine behind the app's handlers."""
    return serve(make_engine())


class Answer(NamedTuple):
    """What a REST call answered; a body that is not JSON is text."""

    status: int
    body: Any
    headers: dict[str, str]


class Gateway(LocalGatewayAuthorizer):
    """API Gateway's part before the app is called: it asks the authorizer where the deployed template tells it to."""

    def authorize(self, raw_path: str, lambda_event: Any, lambda_context: Any) -> Any:
        if app.engine().settings.auth_mode == "open":
            return lambda_event, lambda_context
        try:
            return super().authorize(raw_path, lambda_event, lambda_context)
        except Unauthorized as refused:
            raise NotAuthorizedError({}, json.dumps({"message": str(refused)}).encode()) from refused


class Api:
    """The REST API as a client calls it."""

    def __init__(self) -> None:
        self._http = Client(app.app).http
        self._http._local_gateway._authorizer = Gateway(app.app)

    def get(self, path: str, **headers: str) -> Answer:
        return _answer(self._http.get(path, headers=headers))

    def request(self, method: str, path: str, body: Any = b"", **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else encode_json(body)
        sent = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return _answer(self._http.request(method, path, headers=sent, body=data))

    def post(self, body: Any, path: str = "/api/orders/execute", **headers: str) -> Answer:
        return self.request("POST", path, body, **headers)

    def place(self, **changes: Any) -> str:
        """Place an order and return its id."""
        answer = self.post(order_body(**changes))
        assert answer.status == 200, answer.body
        return answer.body["orderId"]


@pytest.fixture
def api(engine: Engine) -> Api:
    return Api()


@pytest.fixture
def worked_off(api: Api, queues: Queues) -> Callable[..., str]:
    """Place an order and let the workers do all that follows now; returns its id."""

    def place(**changes: Any) -> str:
        order_id = api.place(**changes)
        queues.work_off()
        return order_id

    return place


@pytest.fixture
def let_time_pass(database: Database) -> Callable[..., None]:
    """Let time pass for every order, by default a minute, in which nothing happened."""
    columns = ("updated_at", "available_at", "lease_until", "recovered_at")
    changes = ", ".join(f"{column} = {column} - make_interval(secs => %s)" for column in columns)

    def passed(seconds: float = 60) -> None:
        database.change(f"UPDATE orders SET {changes}", *[seconds] * len(columns))

    return passed


@pytest.fixture
def metric_lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Return the lines written since the last look that CloudWatch makes metrics of, each as JSON."""

    def written() -> list[dict[str, Any]]:
        lines = capsys.readouterr().out.splitlines()
        return [json.loads(line) for line in lines if '"CloudWatchMetrics"' in line]

    flush_metrics()  # what tests have counted that call no handler
    written()
    return written


@pytest.fixture
def open_socket(engine: Engine, connections: RecordingConnections) -> Callable[..., Socket]:
    """Open WebSocket connections; their history is sent when the replay queue is worked off."""

    def connect(**query: Any) -> Socket:
        socket = Socket(connections)
        assert socket.connect(**query) == 200
        return socket

    return connect


@pytest.fixture
def record_swap(engine: Engine, database: Database) -> Callable[[str], None]:
    """Leave a pending order as a worker of an earlier release did that died between recording its swap and sending it.

    Such a worker committed ``building`` with the signed transaction, and ``submitted`` in a statement of its own.
    """

    def record(order_id: str) -> None:
        order = engine.store.find(order_id)
        assert order is not None
        plan = plan_swap(order, engine.router.route(order.trade).best)
        record_without_submitting(database, order_id, engine.router.venue(plan.venue).build(order, plan))

    return record


def record_without_submitting(database: Database, order_id: str, swap: SignedTransaction) -> None:
    """Move a pending order to ``building`` with a swap that is recorded."""
    database.change(
        "UPDATE orders SET status = 'building', seq = seq + 2, chosen_dex = %s, tx_hash = %s WHERE id = %s",
        swap.venue, swap.tx_hash, order_id,
    )  # fmt: skip
    database.change(
        """INSERT INTO order_events (order_id, seq, event, status, details)
           SELECT id, seq - later, step, step, '{}'
           FROM orders, (VALUES ('routing', 1), ('building', 0)) AS steps (step, later) WHERE id = %s""",
        order_id,
    )
    database.change(
        "INSERT INTO swaps (tx_hash, order_id, venue, payload, expires_at) VALUES (%s, %s, %s, %s, %s)",
        swap.tx_hash, order_id, swap.venue, swap.payload, swap.expires_at,
    )  # fmt: skip


def _answer(response: HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, _body(response.body, headers.get("content-type", "")), headers)


def _body(content: bytes, media_type: str) -> Any:
    if not content:
        return None
    return decode_json(content) if "json" in media_type else content.decode()

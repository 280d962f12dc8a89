"""Every entry point of the engine, on one page. Each reads its event, calls one function, and answers.

The handlers stand here and not in Chalice blueprints, because Lambda imports only the module that a handler is
declared in, and a blueprint's module does not register it with the app.
"""

import os
import re
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from chalice.app import Chalice, CloudWatchEvent, ConvertToMiddleware, Rate, Request, Response, SQSEvent, WebsocketEvent

from chalicelib.config import PRIORITY_SLOTS
from chalicelib.engine import engine
from chalicelib.exact_json import decode_json, encode_json
from chalicelib.execution.sqs_batches import BatchAnswer, order_id_of, read_records, work_off, work_off_together
from chalicelib.observability import flush_metrics, logger
from chalicelib.resources import ResourceUnavailable
from chalicelib.web.problems import Problem, RequestError, unavailable, wrong_address

app = Chalice(app_name="order-execution-engine")
app.experimental_feature_flags.update(["WEBSOCKETS"])
app.register_middleware(ConvertToMiddleware(logger.inject_lambda_context))

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    engine().prepare()

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
EXECUTING_AT_ONCE = 10
"""The template makes this a parameter, ``QueueMaxConcurrent``, and sets it as reserved concurrency as well."""


@app.middleware("all")
def write_metrics(event: Any, get_response: Callable[[Any], Any]) -> Any:
    """Write what the invocation counted."""
    try:
        return get_response(event)
    finally:
        flush_metrics()


@app.middleware("http")
def translate_errors(event: Any, get_response: Callable[[Any], Response]) -> Response:
    """Give Chalice's own errors (unknown method, media type, a bug) the form of all others."""
    response = get_response(event)
    if response.status_code >= HTTPStatus.BAD_REQUEST and isinstance(response.body, dict):
        status = HTTPStatus(response.status_code)
        detail = response.body.get("Message", status.description)
        return problem(Problem(title=status.phrase, status=status, detail=detail), response.headers)
    return response


def problem(body: Problem, headers: dict[str, Any]) -> Response:
    """Answer with an error."""
    content_type = {"Content-Type": "application/problem+json"}
    return Response(encode_json(body).decode(), {**headers, **content_type}, body.status)


def answered(view: Callable[..., Any]) -> Callable[..., Response]:
    """Turn what a view returns, or the error it raises, into a response."""

    @wraps(view)
    def answer(**path: str) -> Response:
        try:
            value = view(**path)
        except RequestError as refused:
            return problem(refused.problem, refused.headers)
        except ResourceUnavailable as down:
            logger.error(str(down))
            outage = unavailable()
            return problem(outage.problem, outage.headers)
        status, value = value if isinstance(value, tuple) else (HTTPStatus.OK, value)
        body = value if isinstance(value, bytes) else encode_json(value)
        return Response(body.decode(), {"Content-Type": "application/json"}, status)

    return answer


def current_request() -> Request:
    """Return the request that is being served."""
    assert app.current_request is not None
    return app.current_request


def query() -> dict[str, str]:
    """Return the current request's query string."""
    return dict(current_request().query_params or {})


def place_order() -> Any:
    """Accept the order in the current request's body."""
    request = current_request()
    return engine().rest.place_order(request.raw_body, request.headers.get("idempotency-key"))


# --- REST -----------------------------------------------------------------------------------------------------


@app.route("/api/orders/execute", methods=["POST"])
@answered
def execute() -> Any:
    """Accept an order."""
    return place_order()


@app.route("/api/orders", methods=["POST"])
@answered
def create_order() -> Any:
    """Accept an order: the other documented path."""
    return place_order()


@app.route("/api/orders", methods=["GET"])
@answered
def list_orders() -> Any:
    """List orders, newest first."""
    return engine().rest.orders(query())


@app.route("/api/orders/{order_id}", methods=["GET"])
@answered
def get_order(order_id: str) -> Any:
    """Return an order."""
    return engine().rest.order(order_id)


@app.route("/orders/{order_id}", methods=["GET"])
@answered
def get_order_short(order_id: str) -> Any:
    """Return an order: the other documented path."""
    return engine().rest.order(order_id)


@app.route("/api/orders/{order_id}", methods=["DELETE"])
@answered
def cancel_order(order_id: str) -> Any:
    """Cancel an order that has not been submitted."""
    return engine().rest.cancel(order_id)


@app.route("/orders/{order_id}", methods=["DELETE"])
@answered
def cancel_order_short(order_id: str) -> Any:
    """Cancel an order: the other documented path."""
    return engine().rest.cancel(order_id)


@app.route("/api/orders/{order_id}/events", methods=["GET"])
@answered
def get_order_events(order_id: str) -> Any:
    """Return an order's history."""
    return engine().rest.events(order_id)


@app.route("/api/quotes", methods=["GET"])
@answered
def get_quotes() -> Any:
    """Return what the router would choose now."""
    return engine().rest.quotes(query())


@app.route("/api/launches", methods=["POST"])
@answered
def take_launch() -> Any:
    """Take a signed webhook in: a pool went live."""
    request = current_request()
    body = request.raw_body
    return engine().rest.launch(body if isinstance(body, bytes) else body.encode(), request.headers)


@app.route("/health", methods=["GET"])
@answered
def health() -> Any:
    """Say which parts answer."""
    return engine().rest.health()


@app.route("/", methods=METHODS)
@app.route("/{proxy+}", methods=METHODS)
@answered
def not_served(**_path: str) -> Any:
    """Refuse whatever no other route serves; API Gateway itself would speak of a missing authentication token."""
    path = current_request().to_original_event()["path"]
    # As API Gateway does: a path that is written out goes before one with a parameter.
    patterns = [path] if path in app.routes else list(app.routes)
    served = {
        method
        for pattern in patterns
        for method, route in app.routes[pattern].items()
        if route.view_name != "not_served" and re.fullmatch(re.sub(r"{\w+}", "[^/]+", pattern), path)
    }
    raise wrong_address(current_request().method, path, sorted(served))


# --- WebSocket ------------------------------------------------------------------------------------------------


@app.on_ws_connect(name="ws_connect")
def ws_connect(event: WebsocketEvent) -> dict[str, int]:
    """Open a connection, or refuse it while it could not be served."""
    values = event.to_dict().get("queryStringParameters") or {}
    try:
        engine().sockets.connect(event.connection_id, values)
    except ResourceUnavailable as down:
        logger.error(str(down))
        return {"statusCode": HTTPStatus.SERVICE_UNAVAILABLE}
    return {"statusCode": HTTPStatus.OK}


@app.on_ws_message(name="ws_message")
def ws_message(event: WebsocketEvent) -> None:
    """Do what a client asks for on its connection."""
    engine().sockets.receive(event.connection_id, event.body)


@app.on_ws_disconnect(name="ws_disconnect")
def ws_disconnect(event: WebsocketEvent) -> None:
    """Forget a connection."""
    engine().sockets.disconnect(event.connection_id)


# --- Queues ---------------------------------------------------------------------------------------------------
# The ARNs are placeholders: infra/app.json puts the queues of the stack in their place.


@app.on_sqs_message(
    queue_arn="arn:aws:sqs:us-east-1:000000000000:orders",
    batch_size=1,
    maximum_concurrency=EXECUTING_AT_ONCE - PRIORITY_SLOTS,
    name="execute_order",
)
def execute_order(event: SQSEvent) -> BatchAnswer:
    """Take an order as far as submitted. The template adds the queue ``priority`` as a second source, for snipers."""
    records = read_records(event.to_dict())
    queue = engine().dispatcher.source_of(records)
    return work_off(records, queue, lambda record: engine().executor.execute(order_id_of(record)))


@app.on_sqs_message(
    queue_arn="arn:aws:sqs:us-east-1:000000000000:settlements",
    batch_size=10,
    maximum_concurrency=5,
    name="settle_orders",
)
def settle_orders(event: SQSEvent) -> BatchAnswer:
    """Take a batch of submitted orders to their end."""
    records = read_records(event.to_dict())
    return work_off_together(records, engine().settlement_queue, engine().settlement.settle)


@app.on_sqs_message(
    queue_arn="arn:aws:sqs:us-east-1:000000000000:replays", batch_size=1, maximum_concurrency=5, name="replay_events"
)
def replay_events(event: SQSEvent) -> BatchAnswer:
    """Bring a new connection up to date."""
    records = read_records(event.to_dict())
    return work_off(records, engine().replay_queue, lambda record: engine().sockets.replay(record.body))


@app.on_sqs_message(queue_arn="arn:aws:sqs:us-east-1:000000000000:dead-letters", batch_size=1, name="bury_order")
def bury_order(event: SQSEvent) -> None:
    """Keep a message that could not be processed, and end its order."""
    for record in read_records(event.to_dict()):
        engine().dead_letters.bury(record)


# --- Schedule and operators -----------------------------------------------------------------------------------


@app.schedule(Rate(1, unit=Rate.MINUTES), name="recover_orders")
def recover_orders(_event: CloudWatchEvent) -> dict[str, int]:
    """Put back on its queue whatever stopped moving."""
    return {"recovered": engine().recovery.watch()}


@app.schedule(Rate(1, unit=Rate.MINUTES), name="watch_market")
def watch_market(_event: CloudWatchEvent) -> dict[str, int]:
    """Wake the orders whose price is reached, and end those whose time is up."""
    return {"woken": engine().market_watch.watch()}


@app.lambda_function(name="dead_letters")
def dead_letters(event: dict[str, Any], _context: Any) -> Any:
    """List the dead letters, or redrive some or all: ``{"action": "list" | "redrive", "messageIds"?: [...]}``."""
    redriven = event["action"] == "redrive"
    letters = engine().dead_letters.redrive(event.get("messageIds")) if redriven else engine().dead_letters.waiting()
    return decode_json(encode_json(letters))


@app.lambda_function(name="steer_market")
def steer_market(event: dict[str, Any], _context: Any) -> Any:
    """Set, list or reset the base prices of the simulated venues; see ``Market.steer_from``."""
    return decode_json(encode_json(engine().market.steer_from(event)))

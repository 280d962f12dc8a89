"""Every entry point of the engine, on one page. Each reads its event, calls one function, and answers.

The handlers stand here and not in Chalice blueprints, because Lambda imports only the module that a handler is
declared in, and a blueprint's module does not register it with the app.
"""

import gc

# What is loaded stays: to look for garbage among it again and again is a fifth of a cold start. On again at the end.
gc.disable()

import logging
import os
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

from chalice.app import (
    AuthRequest,
    Chalice,
    CloudWatchEvent,
    ConvertToMiddleware,
    Rate,
    Request,
    Response,
    SQSEvent,
    WebsocketEvent,
)

from chalicelib.authorizer import token_verifier
from chalicelib.config import PRIORITY_SLOTS, check_template
from chalicelib.observability import about, flush_metrics, logger, without_secrets
from chalicelib.orders.order import Order
from chalicelib.queueing.sqs_batches import BatchAnswer, order_id_of, read_records, work_off, work_off_together
from chalicelib.release import take_part_in_deployment
from chalicelib.web.answers import (
    AcceptedOrder,
    Answer,
    DeadLetterList,
    LaunchTaken,
    OrderHistory,
    OrderPage,
    Quotes,
    Statistics,
    StreamTicket,
)
from chalicelib.web.cross_origin import preflight_headers, refuse_foreign_page
from chalicelib.web.identity import Caller
from chalicelib.web.responses import answered, as_problem, authorized, connected, protected
from chalicelib.web.unknown_paths import methods_served, wrong_address

if TYPE_CHECKING:
    from chalicelib.engine import Engine

app = Chalice(app_name="order-execution-engine", configure_logs=False)
app.log = logging.getLogger(logger.service)  # errors that Chalice catches are written like all others
app.experimental_feature_flags.update(["WEBSOCKETS"])
# Said outright, because Powertools would also take an answer from the environment: an event holds tokens.
app.register_middleware(ConvertToMiddleware(partial(logger.inject_lambda_context, log_event=False)))


def engine() -> "Engine":
    """Return this process's engine, which the authorizer's process does without: see ``chalicelib.authorizer``."""
    from chalicelib.engine import engine as this_process

    return this_process()


if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    check_template(os.environ)
if os.environ.get("_HANDLER") == "app.authorize":
    token_verifier().prepare()
elif os.environ.get("_HANDLER") == "app.execute_order":
    engine().prepare_to_swap()
elif "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    engine().prepare()

AUTHORIZATION_SECONDS = 60
"""How long API Gateway lets a token in before it asks ``authorize`` again. A key that its issuer withdraws is good for
that much longer, and asking once a minute costs next to nothing. An expired token gains nothing: each request asks."""
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
EXECUTING_AT_ONCE = 10
"""The template makes this a parameter, ``QueueMaxConcurrent``, and sets it as reserved concurrency as well."""


@app.middleware("all")
def log_of_itself(event: Any, get_response: Callable[[Any], Any]) -> Any:
    """Let each invocation say what its lines are about, and leave nothing of that to the next one."""
    with about():
        return get_response(event)


@app.middleware("all")
def keep_secrets(event: Any, get_response: Callable[[Any], Any]) -> Any:
    """Let no secret out with an error: what is raised here, Lambda's runtime prints."""
    try:
        return get_response(event)
    except Exception as error:
        told = without_secrets(error)
        if told is error:
            raise
        logger.exception("an error that holds a secret")  # with its traceback, which is lost with the error
        raise told from None


@app.middleware("all")
def write_metrics(event: Any, get_response: Callable[[Any], Any]) -> Any:
    """Write what the invocation counted, also when it failed."""
    try:
        return get_response(event)
    finally:
        flush_metrics()


@app.middleware("http")
def protect(request: Request, get_response: Callable[[Request], Response]) -> Response:
    """Give every answer, also an error, the headers that browsers heed."""
    return protected(get_response(request), engine().settings.cors_origins, request.headers.get("origin"))


app.register_middleware(as_problem, "http")


def current_request() -> Request:
    assert app.current_request is not None  # noqa: S101 - for mypy: a view runs within a request
    return app.current_request


def query() -> dict[str, str]:
    return dict(current_request().query_params or {})


def caller() -> Caller:
    """Return who makes the request; whoever is not let in is refused here."""
    return engine().identification.of_request(current_request().context)


@app.authorizer(name="authorize", ttl_seconds=AUTHORIZATION_SECONDS)
@authorized
def authorize(request: AuthRequest) -> Caller:
    """Say whose token a request carries. In open mode API Gateway does not ask: see ``infra/deployment.py``."""
    return token_verifier().verify(request.token)


# --- REST -----------------------------------------------------------------------------------------------------


@app.route("/api/orders/execute", methods=["POST"], authorizer=authorize)
@app.route("/api/orders", methods=["POST"], authorizer=authorize)
@answered
def place_order() -> AcceptedOrder:
    request = current_request()
    return engine().rest.place_order(caller(), request.raw_body, request.headers.get("idempotency-key"))


@app.route("/api/orders", methods=["GET"], authorizer=authorize)
@answered
def list_orders() -> OrderPage:
    return engine().rest.orders(caller(), query())


@app.route("/api/orders/{order_id}", methods=["GET"], authorizer=authorize)
@app.route("/orders/{order_id}", methods=["GET"], authorizer=authorize)
@answered
def get_order(order_id: str) -> bytes:
    return engine().rest.order(caller(), order_id)


@app.route("/api/orders/{order_id}", methods=["DELETE"], authorizer=authorize)
@app.route("/orders/{order_id}", methods=["DELETE"], authorizer=authorize)
@answered
def cancel_order(order_id: str) -> Order:
    return engine().rest.cancel(caller(), order_id)


@app.route("/api/orders/{order_id}/events", methods=["GET"], authorizer=authorize)
@answered
def get_order_events(order_id: str) -> OrderHistory:
    return engine().rest.events(caller(), order_id)


@app.route("/api/quotes", methods=["GET"], authorizer=authorize)
@answered
def get_quotes() -> Quotes:
    caller()  # a quote asks every venue, whose own limits anybody could use up
    return engine().rest.quotes(query())


@app.route("/api/stream/tickets", methods=["POST"], authorizer=authorize)
@answered
def issue_ticket() -> StreamTicket:
    return engine().rest.issue_ticket(caller())


@app.route("/api/dead-letters", methods=["GET"], authorizer=authorize)
@answered
def list_dead_letters() -> DeadLetterList:
    return engine().rest.list_dead_letters(caller())


@app.route("/api/dead-letters/redrive", methods=["POST"], authorizer=authorize)
@answered
def redrive_dead_letters() -> DeadLetterList:
    return engine().rest.redrive(caller(), current_request().raw_body)


@app.route("/api/statistics", methods=["GET"], authorizer=authorize)
@answered
def get_statistics() -> Statistics:
    caller()  # of nobody's orders, but of how much is traded
    return engine().monitoring.statistics()


@app.route("/metrics", methods=["GET"], authorizer=authorize)
@answered
def get_metrics() -> Answer:
    return engine().monitoring.metrics(caller(), current_request().headers.get("accept", ""))


# For who has no token: a webhook, which is signed; what a load balancer asks; the contract; and what there is not.


@app.route("/api/launches", methods=["POST"])
@answered
def take_launch() -> LaunchTaken:
    request = current_request()
    return engine().rest.launch(request.raw_body, request.headers)


@app.route("/health", methods=["GET"])
@answered
def health() -> Answer:
    return engine().rest.health()


@app.route("/openapi.json", methods=["GET"])
@answered
def contract() -> bytes:
    return engine().contract


@app.route("/", methods=["GET"])
@answered
def console() -> Answer:
    from chalicelib.web.console_page import console_page

    return console_page(engine().settings, current_request().context.get("path", "/"), query())


@app.route("/console/{version}/{file}", methods=["GET"])
@answered
def console_file(version: str, file: str) -> Answer:
    from chalicelib.web.console_page import console_asset

    return console_asset(version, file)


@app.route("/", methods=[method for method in METHODS if method not in ("GET", "OPTIONS")])
@app.route("/{proxy+}", methods=METHODS)
@answered
def not_served(**_path: str) -> NoReturn:
    """Refuse whatever no other route serves; API Gateway itself would speak of a missing authentication token."""
    request = current_request()
    path = request.to_original_event()["path"]
    routes = {pattern: methods_of(pattern) for pattern in app.routes}
    raise wrong_address(request.method, path, methods_served(path, routes))


def methods_of(pattern: str) -> list[str]:
    served = {method: route.view_function for method, route in app.routes[pattern].items() if method != "OPTIONS"}
    return [method for method, view in served.items() if view is not not_served]


@answered
def preflight(**_path: str) -> Answer:
    """Say which methods a path has; to a browser, what a page of another origin may do. No token comes with that."""
    request = current_request()
    origins, origin = engine().settings.cors_origins, request.headers.get("origin")
    headers = preflight_headers(origins, origin, methods_of(request.path))
    return Answer(b"", HTTPStatus.NO_CONTENT, headers)


# API Gateway answers OPTIONS only where a route has it.
for _pattern in [pattern for pattern in app.routes if "OPTIONS" not in app.routes[pattern]]:
    app.route(_pattern, methods=["OPTIONS"])(preflight)


# --- WebSocket ------------------------------------------------------------------------------------------------


@app.on_ws_connect(name="ws_connect")
@connected
def ws_connect(event: WebsocketEvent) -> None:
    settings = engine().settings
    refuse_foreign_page(settings.cors_origins, settings.own_origin, event.to_dict().get("headers") or {})
    engine().sockets.connect(event.connection_id, event.to_dict().get("queryStringParameters") or {})


@app.on_ws_message(name="ws_message")
def ws_message(event: WebsocketEvent) -> None:
    engine().sockets.receive(event.connection_id, event.body)


@app.on_ws_disconnect(name="ws_disconnect")
def ws_disconnect(event: WebsocketEvent) -> None:
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
    """Bring viewers up to date: a new connection, or all of an order that may have missed an event."""
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
    return engine().operators.handle_dead_letters(event)


@app.lambda_function(name="steer_market")
def steer_market(event: dict[str, Any], _context: Any) -> Any:
    return engine().operators.steer_market(event)


# --- Deployment -----------------------------------------------------------------------------------------------


@app.lambda_function(name="migrate_database")
def migrate_database(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Migrate the database; CloudFormation calls this before it gives the new code to any other function."""
    return take_part_in_deployment(event, engine().migrate)


gc.freeze()  # or the first call would look through all of it
gc.enable()

"""No secret reaches a log, an answer or an error, whatever goes wrong.

The functions are run as Lambda runs them, once with each trouble. All that is written is kept: the engine's log and
Chalice's, what other libraries log, what is printed, answers, messages to clients, and what a function raises, with
its traceback, because Lambda's runtime prints that.
"""

import io
import json
import logging
import traceback
from contextlib import contextmanager
from datetime import timedelta

import boto3
import pytest

import app
from chalicelib.clock import Clock
from chalicelib.config import SettingsError, load_settings
from chalicelib.engine import Engine
from chalicelib.observability import SHORTEST_SECRET, conceal, logger, redacted, without_secrets
from chalicelib.resources.secrets import Secret
from chalicelib.web.signatures import sign
from tests.builders import UNKNOWN_ORDER, order_body
from tests.integration.cloud import CONTEXT, NO_QUEUE, Socket

DATABASE_PASSWORD = 'data"base/pass word'
DATABASE_PASSWORD_IN_URL = "data%22base%2Fpass%20word"
REDIS_PASSWORD = "the-password-of-redis"
WEBHOOK_SECRET = "whsec_dGhlLWtleS1vZi1sYXVuY2hlcw=="
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl"
SECRETS = {
    "the database's password": DATABASE_PASSWORD,
    "as JSON writes it": json.dumps(DATABASE_PASSWORD)[1:-1],
    "as a URL writes it": DATABASE_PASSWORD_IN_URL,
    "the password of Redis": REDIS_PASSWORD,
    "the key of launches": WEBHOOK_SECRET,
    "a token": TOKEN,
}
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}


class Written:
    """All that was written while functions ran."""

    def __init__(self):
        self.log = io.StringIO()
        self.elsewhere = []

    def note(self, *things):
        self.elsewhere += map(str, things)

    def text(self):
        return "\n".join([self.log.getvalue(), *self.elsewhere])

    @contextmanager
    def as_lambda_runs_it(self):
        """Note what a function raises, as Lambda's runtime does."""
        try:
            yield
        except Exception as error:
            self.note("raised", *traceback.format_exception(error))


@pytest.fixture
def written(capfd, monkeypatch):
    """Keep all that is written, and find no secret in it after the test."""
    kept = Written()
    lines = logging.StreamHandler(kept.log)
    lines.setFormatter(logger.registered_formatter)
    others = logging.StreamHandler(kept.log)
    engines = logging.getLogger(logger.service)
    engines.addHandler(lines)
    monkeypatch.setattr(engines, "propagate", False)
    logging.getLogger().addHandler(others)
    yield kept
    engines.removeHandler(lines)
    logging.getLogger().removeHandler(others)
    kept.note(*capfd.readouterr())
    found = [name for name, secret in SECRETS.items() if secret in kept.text()]
    assert not found, kept.text()


@pytest.fixture
def with_secrets(postgres, redis_server, make_engine, serve, api):
    """Serve an engine whose settings hold secrets; Postgres takes any password here."""
    assert "postgres@" in postgres.url
    database = postgres.url.replace("postgres@", f"postgres:{DATABASE_PASSWORD_IN_URL}@")

    def make(**settings):
        return serve(make_engine(**{"DATABASE_URL": database, "LAUNCH_WEBHOOK_SECRET": WEBHOOK_SECRET, **settings}))

    return make


NO_DATABASE = f"postgresql://trader:{DATABASE_PASSWORD_IN_URL}@127.0.0.1:1/orders"
NO_DATABASE_BY_OPTION = f"postgresql://127.0.0.1:1/orders?user=trader&password={DATABASE_PASSWORD_IN_URL}"
UNREADABLE_DATABASE = NO_DATABASE_BY_OPTION + "&sslmode=sometimes"
NO_REDIS = f"redis://:{REDIS_PASSWORD}@127.0.0.1:1/0"


def use_every_function(api, connections, queues, written):
    """Call what clients, queues and schedules call; whether it goes well is not the question here."""
    placed = api.post(order_body(clientOrderId="k1"), **WITH_TOKEN)
    order_id = (placed.body or {}).get("orderId", UNKNOWN_ORDER)
    written.note(
        placed,
        api.post(order_body(clientOrderId="k1", amount=2), **WITH_TOKEN),
        api.post(b"{", **WITH_TOKEN),
        api.get(f"/api/orders/{order_id}", **WITH_TOKEN),
        api.get("/api/orders", **WITH_TOKEN),
        api.get("/api/quotes?tokenIn=SOL&tokenOut=USDC&amount=1", **WITH_TOKEN),
        api.get("/health", **WITH_TOKEN),
        api.request("DELETE", f"/api/orders/{order_id}", **WITH_TOKEN),
    )
    launch = b'{"pool":"p1","tokenIn":"WIF"}'
    for secret, age in ((WEBHOOK_SECRET, 0), (WEBHOOK_SECRET, 3600), ("another secret", 0)):
        at = int((Clock().now() - timedelta(seconds=age)).timestamp())
        signed = {name.replace("-", "_"): value for name, value in sign(secret, "evt-1", at, launch).items()}
        written.note(api.request("POST", "/api/launches", launch, **signed))
    socket = Socket(connections)
    with written.as_lambda_runs_it():
        written.note(socket.connect(WITH_TOKEN, orderId=order_id))
    for message in ({"action": "execute", **order_body()}, {"action": "subscribe", "orderId": order_id}, {}):
        with written.as_lambda_runs_it():
            socket.send(message)
    for _ in range(3):
        for source in (queues.orders, queues.settlements, queues.replays):
            with written.as_lambda_runs_it():
                source.poll()
    with written.as_lambda_runs_it():
        app.bury_order(
            queues.orders.event(
                [
                    {
                        "MessageId": "1",
                        "ReceiptHandle": "r",
                        "Body": "{}",
                        "Attributes": {"ApproximateReceiveCount": "51"},
                    }
                ]
            ),
            CONTEXT,
        )
    for operators in (app.dead_letters, app.steer_market):
        with written.as_lambda_runs_it():
            written.note(operators({"action": "list"}, CONTEXT))
    with written.as_lambda_runs_it():
        socket.disconnect()
    written.note(socket.received)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param({}, id="none"),
        pytest.param({"DATABASE_URL": NO_DATABASE}, id="no database"),
        pytest.param({"DATABASE_URL": NO_DATABASE_BY_OPTION}, id="no database, password as an option"),
        pytest.param({"DATABASE_URL": UNREADABLE_DATABASE}, id="a database URL with a bad option"),
        pytest.param({"REDIS_URL": NO_REDIS}, id="no Redis"),
        pytest.param({"ORDERS_QUEUE_URL": NO_QUEUE}, id="no queue"),
    ],
)
def test_no_secret_is_written_when_a_part_is_missing(with_secrets, api, connections, queues, written, trouble):
    with_secrets(**trouble)

    use_every_function(api, connections, queues, written)

    assert '"level"' in written.log.getvalue()


def test_no_secret_is_written_when_redis_refuses_the_password(
    with_secrets, redis_server, api, connections, queues, written
):
    with_secrets(REDIS_URL=redis_server.url.replace("redis://", f"redis://nobody:{REDIS_PASSWORD}@"))

    use_every_function(api, connections, queues, written)

    assert "Redis is not available" in written.log.getvalue()


def test_no_secret_is_written_when_a_library_repeats_the_url_it_was_given(
    with_secrets, api, connections, queues, written
):
    engine = with_secrets(REDIS_URL=NO_REDIS)

    def fail(*_arguments, **_options):
        try:
            raise ValueError(f"cannot use {engine.settings.database_url} nor {DATABASE_PASSWORD}")
        except ValueError as error:
            raise RuntimeError(f"neither {engine.settings.redis_url} nor {WEBHOOK_SECRET}") from error

    engine.database.run = engine.redis.run = fail
    use_every_function(api, connections, queues, written)

    assert "cannot use postgresql://postgres:***@" in written.log.getvalue()
    assert "RuntimeError: neither redis://:***@127.0.0.1:1/0 nor ***" in "".join(written.elsewhere)


def test_a_token_is_not_logged_where_powertools_is_told_to_log_events(monkeypatch, with_secrets, api, written):
    monkeypatch.setenv("POWERTOOLS_LOGGER_LOG_EVENT", "true")
    with_secrets()

    assert api.get("/health", **WITH_TOKEN).status == 200


def test_all_that_chalice_logs_goes_through_the_log_that_keeps_secrets():
    assert app.app.log.name == logger.service
    assert app.app.log.handlers
    assert {type(handler.formatter) for handler in app.app.log.handlers} == {type(logger.registered_formatter)}


def test_settings_and_parts_do_not_show_secrets_when_they_are_printed():
    made = Engine(
        load_settings({"DATABASE_URL": NO_DATABASE, "REDIS_URL": NO_REDIS, "LAUNCH_WEBHOOK_SECRET": WEBHOOK_SECRET}),
        Clock(),
    )

    for printed in (made.settings, made.rest, made.sockets, made.intake, made.redis, made.database):
        assert not [name for name, secret in SECRETS.items() if secret in repr(printed)]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", f"mysql://trader:{REDIS_PASSWORD}@db/orders"),
        ("DATABASE_URL", f"http://db/orders?password={REDIS_PASSWORD}"),
        ("DATABASE_URL", f"postgresql://trader:{REDIS_PASSWORD}%ZZ@db/orders"),
        ("DATABASE_URL", f"postgresql://trader:{REDIS_PASSWORD} @db/orders"),
        ("REDIS_URL", f"redis://:{REDIS_PASSWORD}/x@cache:6379/0"),
        ("REDIS_URL", f"redis://:12/{REDIS_PASSWORD}@cache:6379/0"),
        ("REDIS_URL", f"redis://:{REDIS_PASSWORD}@cache:port/0"),
        ("LAUNCH_WEBHOOK_SECRET", f"whsec_{REDIS_PASSWORD}"),
    ],
)
def test_a_setting_that_would_make_a_library_repeat_a_secret_stops_the_start_and_is_not_shown(variable, value):
    with pytest.raises(SettingsError, match=variable) as refused:
        load_settings({variable: value})

    assert REDIS_PASSWORD not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///orders?host=/tmp",
        "postgresql://one:5432,two:5432/orders",
        f"postgresql://trader:{DATABASE_PASSWORD_IN_URL}@db/orders?sslmode=verify-full",
    ],
)
def test_urls_that_postgres_takes_are_taken(url):
    assert load_settings({"DATABASE_URL": url}).database_url == url


def test_a_password_given_by_itself_is_a_secret_as_well():
    settings = load_settings({"POSTGRES_HOST": "db", "POSTGRES_PASSWORD": DATABASE_PASSWORD})

    assert settings.secrets == {DATABASE_PASSWORD, DATABASE_PASSWORD_IN_URL}


@pytest.mark.parametrize(
    ("stored", "confidential"),
    [
        ('{"username": "trader-of-orders", "password": "kept-in-a-manager-1"}', "kept-in-a-manager-1"),
        ('{"authToken": "kept-in-a-manager-2"}', "kept-in-a-manager-2"),
        ("whsec_kept-in-a-manager-3", "whsec_kept-in-a-manager-3"),
        ("[1] is not what it looks like", "[1] is not what it looks like"),
    ],
)
def test_a_password_that_secrets_manager_keeps_is_a_secret_once_it_was_read(queues, stored, confidential):
    manager = boto3.client("secretsmanager", "us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    arn = manager.create_secret(Name="a-secret", SecretString=stored)["ARN"]

    Secret(arn, Clock()).read()

    assert redacted(f"{confidential} of trader-of-orders") == "*** of trader-of-orders"


def test_what_is_too_short_to_be_a_secret_is_left_alone():
    conceal(["x" * (SHORTEST_SECRET - 1), ""])

    assert redacted("xxxxxxxxxx") == "xxxxxxxxxx"


def test_an_error_that_holds_no_secret_is_raised_as_it_is():
    error = ValueError("amount")

    assert without_secrets(error) is error

"""Settings: each is read, and each bad value is named."""

import pytest

from chalicelib.config import SET_BY_THE_TEMPLATE, SettingsError, check_template, current_settings, load_settings


def problems(**environment):
    with pytest.raises(SettingsError) as refused:
        load_settings(environment)
    assert str(refused.value) == "\n".join(refused.value.problems)
    return refused.value.problems


def test_every_setting_has_a_documented_default():
    settings = load_settings({})

    assert settings.port == 3000
    assert settings.database_url == "postgresql://postgres@localhost:5432/orders"
    assert settings.redis_url == "redis://localhost:6379/0"
    assert (settings.queue_max_concurrent, settings.order_processor_rate) == (10, 100)
    assert (settings.max_retries, settings.backoff_base_ms) == (3, 1000)
    assert (settings.log_level, settings.mock_seed, settings.mock_latency) == ("INFO", None, 1.0)


@pytest.mark.parametrize(
    ("variable", "value", "attribute", "expected"),
    [
        ("PORT", "3001", "port", 3001),
        ("DATABASE_URL", "postgres://u:p@db:5433/trades", "database_url", "postgres://u:p@db:5433/trades"),
        ("REDIS_URL", "rediss://cache:6380/1", "redis_url", "rediss://cache:6380/1"),
        ("QUEUE_MAX_CONCURRENT", "4", "queue_max_concurrent", 4),
        ("WORKER_CONCURRENCY", "7", "queue_max_concurrent", 7),
        ("ORDER_PROCESSOR_RATE", "0", "order_processor_rate", 0),
        ("USER_ORDER_RATE", "0", "user_order_rate", 0),
        ("MAX_RETRIES", "5", "max_retries", 5),
        ("BACKOFF_BASE_MS", "250", "backoff_base_ms", 250),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("MOCK_SEED", "42", "mock_seed", "42"),
        ("MOCK_LATENCY", "0.5", "mock_latency", 0.5),
        ("WEBSOCKET_URL", "wss://example.com/ws", "websocket_url", "wss://example.com/ws"),
        ("MANAGEMENT_API_URL", "https://example.com/ws", "management_api_url", "https://example.com/ws"),
        ("ORDERS_QUEUE_URL", "https://sqs/1/orders", "orders_queue_url", "https://sqs/1/orders"),
        ("PRIORITY_QUEUE_URL", "https://sqs/1/priority", "priority_queue_url", "https://sqs/1/priority"),
        ("LAUNCH_WEBHOOK_SECRET", "whsec_c2VjcmV0", "launch_webhook_secret", "whsec_c2VjcmV0"),
        ("LAUNCH_WEBHOOK_SECRET", "any text", "launch_webhook_secret", "any text"),
        ("SETTLEMENTS_QUEUE_URL", "https://sqs/1/settlements", "settlements_queue_url", "https://sqs/1/settlements"),
        ("REPLAYS_QUEUE_URL", "https://sqs/1/replays", "replays_queue_url", "https://sqs/1/replays"),
        ("AUTH_MODE", "OPEN", "auth_mode", "open"),
        ("AUTH_ISSUER", "https://tenant.example/", "auth_issuer", "https://tenant.example/"),
        ("AUTH_ISSUER", "http://127.0.0.1:8080/realm", "auth_issuer", "http://127.0.0.1:8080/realm"),
        ("AUTH_AUDIENCE", "engine", "auth_audience", ("engine",)),
        ("AUTH_AUDIENCE", "web, app,", "auth_audience", ("web", "app")),
        ("AUTH_ALGORITHMS", "es256,EdDSA", "auth_algorithms", ("ES256", "EdDSA")),
    ],
)
def test_a_setting_is_read_from_its_variable(variable, value, attribute, expected):
    assert getattr(load_settings({variable: value}), attribute) == expected


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *[("PORT", value) for value in ("0", "65536", "x", "3000.5", "-1", "NaN")],
        *[("DATABASE_URL", value) for value in ("mysql://db/orders", "orders", "http://db", "//db")],
        *[("REDIS_URL", value) for value in ("http://cache", "localhost:6379", "redis://", "redis://[::1")],
        *[("POSTGRES_PORT", value) for value in ("0", "x")],
        *[("REDIS_PORT", value) for value in ("0", "x")],
        *[("QUEUE_MAX_CONCURRENT", value) for value in ("1", "3", "1001", "ten")],
        *[("WORKER_CONCURRENCY", value) for value in ("1", "ten")],
        *[("ORDER_PROCESSOR_RATE", value) for value in ("-1", "fast", "1e3")],
        *[("USER_ORDER_RATE", value) for value in ("-1", "1000001", "fast")],
        *[("MAX_RETRIES", value) for value in ("0", "11", "three")],
        *[("BACKOFF_BASE_MS", value) for value in ("-1", "60001", "1s")],
        *[("LOG_LEVEL", value) for value in ("LOUD", "1")],
        *[("MOCK_LATENCY", value) for value in ("-0.1", "11", "nan", "inf", "x")],
        *[("WEBSOCKET_URL", value) for value in ("http://localhost/ws", "ws://")],
        *[("MANAGEMENT_API_URL", value) for value in ("ws://localhost", "localhost")],
        *[("AUTH_MODE", value) for value in ("none", "JWT,open")],
        *[("AUTH_ISSUER", value) for value in ("tenant.example", "http://tenant.example", "http://localhost.example")],
        *[("AUTH_ALGORITHMS", value) for value in ("none", "HS256", "RS256,HS256", ",", "RS256 ES256")],
        *[("USE_REAL_DEVNET", value) for value in ("true", "maybe")],
    ],
)
def test_a_bad_value_names_itself_and_what_is_allowed(variable, value):
    (problem,) = problems(**{variable: value})

    assert problem.startswith(f"{variable}={value!r} cannot be used: allowed is ")


def test_all_that_is_wrong_is_said_at_once():
    found = problems(PORT="x", MAX_RETRIES="0", LOG_LEVEL="LOUD", REDIS_URL="cache")

    assert {problem.split("=")[0] for problem in found} == {"PORT", "MAX_RETRIES", "LOG_LEVEL", "REDIS_URL"}


@pytest.mark.parametrize("variable", ["DATABASE_URL", "REDIS_URL"])
def test_a_password_is_not_repeated(variable):
    assert "secret" not in problems(**{variable: "ftp://user:secret@host/x"})[0]


def test_origins_are_read_from_a_list():
    assert load_settings({}).cors_origins == ()
    settings = load_settings({"CORS_ORIGINS": " https://app.example.com, http://localhost:5173,,http://[::1]:8080 "})
    assert settings.cors_origins == ("https://app.example.com", "http://localhost:5173", "http://[::1]:8080")


@pytest.mark.parametrize(
    "origin",
    [
        *("*", "null", "https://*.example.com", "https://app.example.com/", "https://app.example.com/path"),
        *("app.example.com", "//app.example.com", "ftp://app.example.com", "https://APP.example.com", "https://"),
        *("https://app.example.com:443", "http://app.example.com:80", "https://app.example.com:", "https://a b"),
        *("https://user@app.example.com", "https://app.example.com?x", "https://app.example.com:x", "https://.a"),
    ],
)
def test_an_origin_that_no_browser_sends_or_that_stands_for_many_is_refused(origin):
    (problem,) = problems(CORS_ORIGINS=f"https://app.example.com,{origin}")

    assert problem.startswith(f"CORS_ORIGINS={origin!r} cannot be used: allowed is a list")


@pytest.mark.parametrize("origin", ["*", "https://login.example.com/", "https://a.example,https://b.example"])
def test_where_the_console_gets_its_tokens_is_one_origin(origin):
    (problem,) = problems(CONSOLE_TOKEN_ORIGIN=origin)

    assert problem.startswith(f"CONSOLE_TOKEN_ORIGIN={origin!r} cannot be used: allowed is an origin such as https://")


@pytest.mark.parametrize(
    ("websocket_url", "origin"),
    [
        ("ws://localhost:3000/ws", "http://localhost:3000"),
        ("wss://trade.example.com/ws", "https://trade.example.com"),
    ],
)
def test_the_consoles_own_origin_is_that_of_the_websockets(websocket_url, origin):
    assert load_settings({"WEBSOCKET_URL": websocket_url}).own_origin == origin


def test_an_empty_variable_counts_as_absent():
    assert load_settings({"PORT": "", "MOCK_SEED": "  ", "DATABASE_URL": ""}) == load_settings({})


def test_the_database_may_be_given_in_parts():
    settings = load_settings(
        {
            "POSTGRES_HOST": "db",
            "POSTGRES_PORT": "5433",
            "POSTGRES_USER": "trader",
            "POSTGRES_PASSWORD": "p@ss/word",
            "POSTGRES_DB": "trades",
        }
    )

    assert settings.database_url == "postgresql://trader:p%40ss%2Fword@db:5433/trades"


def test_redis_may_be_given_in_parts():
    assert load_settings({"REDIS_HOST": "cache", "REDIS_PORT": "6380"}).redis_url == "redis://cache:6380/0"


def test_a_url_wins_over_its_parts():
    settings = load_settings(
        {
            "DATABASE_URL": "postgresql://one/orders",
            "POSTGRES_HOST": "two",
            "REDIS_URL": "redis://one/0",
            "REDIS_HOST": "two",
        }
    )

    assert settings.database_url == "postgresql://one/orders"
    assert settings.redis_url == "redis://one/0"


def test_the_first_documented_name_wins_over_the_second():
    settings = load_settings({"QUEUE_MAX_CONCURRENT": "4", "WORKER_CONCURRENCY": "5"})

    assert settings.queue_max_concurrent == 4


@pytest.mark.parametrize("value", ["false", "False", "FALSE"])
def test_simulated_venues_may_be_asked_for_by_name(value):
    assert load_settings({"USE_REAL_DEVNET": value}) == load_settings({})


def test_a_process_reads_its_environment_once(monkeypatch):
    current_settings.cache_clear()
    monkeypatch.setenv("PORT", "3001")
    settings = current_settings()
    monkeypatch.setenv("PORT", "3002")

    assert settings.port == 3001
    assert current_settings() is settings
    current_settings.cache_clear()


def test_anybody_is_let_in_unless_tokens_are_asked_for():
    settings = load_settings({})

    assert (settings.auth_mode, settings.auth_issuer, settings.auth_audience) == ("open", "", ())
    assert settings.auth_algorithms == ("RS256",)


def test_tokens_cannot_be_asked_for_without_saying_whose():
    found = problems(AUTH_MODE="jwt")

    assert [problem.split(" is not set: ")[0] for problem in found] == ["AUTH_ISSUER", "AUTH_AUDIENCE"]
    tokens = {"AUTH_MODE": "jwt", "AUTH_ISSUER": "https://tenant.example", "AUTH_AUDIENCE": "engine"}
    assert load_settings(tokens).auth_mode == "jwt"


@pytest.mark.parametrize("secret", ["whsec_", "whsec_no base64", "whsec_abc"])
def test_a_webhook_secret_that_is_no_key_is_refused_and_not_shown(secret):
    (problem,) = problems(LAUNCH_WEBHOOK_SECRET=secret)

    assert problem.startswith("LAUNCH_WEBHOOK_SECRET='whsec_***' cannot be used")


# --- Deployed without the template ---

DEPLOYED = dict.fromkeys(SET_BY_THE_TEMPLATE, "set")


def test_a_function_deployed_with_the_template_may_serve():
    check_template(DEPLOYED)


@pytest.mark.parametrize("variable", SET_BY_THE_TEMPLATE)
def test_a_function_deployed_without_the_template_says_so_and_what_to_do(variable):
    with pytest.raises(SettingsError, match=f"{variable}: not set.*`chalice deploy`.*python -m infra.deploy"):
        check_template({**DEPLOYED, variable: ""})


@pytest.mark.parametrize("mode", ["require", "verify-full"])
def test_how_postgres_is_reached_is_part_of_its_address(mode):
    settings = load_settings({"POSTGRES_HOST": "db.example", "POSTGRES_SSLMODE": mode})

    assert settings.database_url == f"postgresql://postgres@db.example:5432/orders?sslmode={mode}"


def test_an_unknown_sslmode_is_refused():
    with pytest.raises(SettingsError, match="POSTGRES_SSLMODE='maybe'"):
        load_settings({"POSTGRES_SSLMODE": "maybe"})

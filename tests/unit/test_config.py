"""Settings: each is read, and each bad value is named."""

from decimal import Decimal

import pytest

from chalicelib.config import (
    SET_BY_THE_TEMPLATE,
    SettingsError,
    check_template,
    current_settings,
    load_settings,
    read_rpc_urls,
)


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
        *[("USE_REAL_DEVNET", value) for value in ("maybe", "1", "yes")],
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


# --- The real venues ---

USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
CAPS = {"SOLANA_MAX_PER_ORDER": "SOL=0.5,USDC=100", "SOLANA_MAX_PER_DAY": "SOL=2,USDC=1000"}
REAL = {"USE_REAL_DEVNET": "true", "SOLANA_WALLET_KEY": "the-key-of-the-wallet", **CAPS}


def solana(**environment):
    return load_settings({**REAL, **environment}).solana


def test_what_concerns_the_real_venues_is_not_read_without_them():
    wrong = {"SOLANA_CLUSTER": "testnet", "SOLANA_RPC_URLS": "x", "SOLANA_MAX_PER_DAY": "x", "SOLANA_POOLS": "x"}

    assert load_settings(wrong) == load_settings({})
    assert load_settings({}).solana is None


def test_the_real_venues_are_those_of_devnet_unless_another_cluster_is_named():
    settings = solana(USE_REAL_DEVNET="True")

    assert (settings.cluster, settings.rpc_urls) == ("devnet", ("https://api.devnet.solana.com",))
    assert (settings.tokens, settings.pools, settings.max_priority_fee) == ((), (), 100_000)
    assert (settings.wallet_key, settings.wallet_secret_arn) == ("the-key-of-the-wallet", "")
    tokens = {"AUTH_MODE": "jwt", "AUTH_ISSUER": "https://tenant.example", "AUTH_AUDIENCE": "engine"}
    assert solana(SOLANA_CLUSTER="Mainnet-Beta", **tokens).rpc_urls == ("https://api.mainnet-beta.solana.com",)


def test_endpoints_are_asked_in_the_order_of_the_list():
    urls = "https://one.example/key, http://127.0.0.1:8899,https://one.example/key"

    assert solana(SOLANA_RPC_URLS=urls).rpc_urls == ("https://one.example/key", "http://127.0.0.1:8899")


@pytest.mark.parametrize(
    "url",
    [
        *("http://node.example/secret-key", "ws://node.example/secret-key", "node.example/secret-key"),
        *("https:///secret-key", "https://user:secret-key@[::1", "https://node.example/secret-key %zz"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_told_by_its_place_because_it_may_hold_a_key(url):
    (problem,) = problems(**REAL, SOLANA_RPC_URLS=f"https://node.example,{url}")

    assert problem.startswith("SOLANA_RPC_URLS='***' cannot be used: allowed is ")
    assert "number 2 of the list" in problem
    assert "secret-key" not in problem


def test_endpoints_are_in_the_environment_or_in_a_secret():
    assert solana(SOLANA_RPC_SECRET_ARN="arn:rpc").rpc_urls == ()
    (problem,) = problems(**REAL, SOLANA_RPC_SECRET_ARN="arn:rpc", SOLANA_RPC_URLS="https://node.example")
    assert problem.startswith("SOLANA_RPC_URLS and SOLANA_RPC_SECRET_ARN are both set")


def test_a_secret_lists_endpoints_as_the_environment_does():
    assert read_rpc_urls("https://one.example/key, https://two.example") == (
        "https://one.example/key",
        "https://two.example",
    )
    for unusable in ("http://node.example/secret-key", " , "):
        with pytest.raises(SettingsError, match="SOLANA_RPC_SECRET_ARN") as refused:
            read_rpc_urls(unusable)
        assert "secret-key" not in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        {"SOLANA_WALLET_KEY": ""},
        {"SOLANA_WALLET_SECRET_ARN": "arn:wallet"},
    ],
    ids=["none", "both"],
)
def test_the_wallet_is_named_once_and_its_key_not_shown(given):
    (problem,) = problems(**{**REAL, **given})

    assert problem.startswith("SOLANA_WALLET_KEY or SOLANA_WALLET_SECRET_ARN must be set, and not both")
    assert "the-key-of-the-wallet" not in problem


def test_the_wallet_may_be_in_a_secret():
    settings = solana(SOLANA_WALLET_KEY="", SOLANA_WALLET_SECRET_ARN="arn:wallet")

    assert (settings.wallet_key, settings.wallet_secret_arn) == ("", "arn:wallet")


def test_what_identifies_the_wallet_or_a_caller_of_endpoints_is_a_secret():
    urls = "https://us%20er:pass-word@one.example/v2/path-key/,https://two.example/?api-key=query-key"
    settings = load_settings({**REAL, "SOLANA_RPC_URLS": urls})

    assert settings.secrets >= {"the-key-of-the-wallet", "us er", "pass-word", "v2/path-key", "path-key", "query-key"}
    assert not [secret for secret in settings.secrets if secret in repr(settings)]
    assert load_settings(REAL).secrets == {"the-key-of-the-wallet"}


def test_tokens_are_read_from_a_list():
    settings = solana(SOLANA_TOKENS=f"BAR={USDC}:6, FEE={USDC}:0:token-2022,")

    assert settings.tokens == (("BAR", USDC, 6, False), ("FEE", USDC, 0, True))


@pytest.mark.parametrize(
    "token",
    [
        *(f"bar={USDC}:6", f"={USDC}:6", f"BAR/USD={USDC}:6", f"BAR={USDC}", f"BAR={USDC}:19", f"BAR={USDC}:6:spl"),
        *(f"BAR={USDC[:-2]}:6", f"BAR={USDC}x:6", f"BAR=0{USDC[1:]}:6", "BAR=:6", f"{'B' * 17}={USDC}:6"),
        *(f"SOL={USDC}:9", f"TWICE={USDC}:9"),
    ],
)
def test_a_token_that_cannot_be_is_named(token):
    (problem,) = problems(**REAL, SOLANA_TOKENS=f"TWICE={USDC}:6,{token}")

    assert problem.startswith(f"SOLANA_TOKENS={token!r} cannot be used: allowed is a ")


@pytest.mark.parametrize("address", [USDC, "1" * 32, "So11111111111111111111111111111111111111112"])
def test_an_address_is_32_bytes_in_base58(address):
    assert solana(SOLANA_POOLS=address).pools == (address,)


@pytest.mark.parametrize("address", ["1" * 31, "1" * 33, "z" * 44, USDC[:-1] + "l", "x", "z" * 5000])
def test_an_address_of_a_pool_that_is_none_is_named(address):
    (problem,) = problems(**REAL, SOLANA_POOLS=f"{USDC},{address}")

    assert problem.startswith(f"SOLANA_POOLS={address!r} cannot be used: allowed is a list")


def test_caps_are_exact():
    settings = solana(SOLANA_MAX_PER_ORDER="SOL=0.1,USDC=100", SOLANA_MAX_PER_DAY="SOL=0.3,USDC=100.000001")

    assert settings.max_per_order == {"SOL": Decimal("0.1"), "USDC": Decimal(100)}
    assert settings.max_per_day == {"SOL": Decimal("0.3"), "USDC": Decimal("100.000001")}


@pytest.mark.parametrize("variable", CAPS)
def test_real_money_is_not_spent_without_a_cap(variable):
    (problem,) = problems(**{**REAL, variable: ""})

    assert problem.startswith(f"{variable} is not set: what is not named may not be spent")


@pytest.mark.parametrize(
    "cap", ["SOL", "SOL=", "SOL=0", "SOL=0.0", "SOL=-1", "SOL=1e3", "SOL=NaN", "sol=1", "SOL=1.", "SOL=.5"]
)
def test_a_cap_that_cannot_be_is_named(cap):
    (problem,) = problems(**{**REAL, "SOLANA_MAX_PER_DAY": f"USDC=1000,SOL=2,JUP={'1' * 21}".replace("SOL=2", cap)})[:1]

    assert problem.startswith(f"SOLANA_MAX_PER_DAY={cap!r} cannot be used: allowed is a list")


def test_caps_that_cannot_be_meant_are_told():
    twice, missing = problems(**{**REAL, "SOLANA_MAX_PER_DAY": "SOL=2,SOL=3"})
    assert twice == "SOLANA_MAX_PER_DAY='SOL=3' cannot be used: allowed is one amount a token (it is there twice)"
    assert missing == "SOLANA_MAX_PER_DAY does not name USDC, which SOLANA_MAX_PER_ORDER does: name it in both"
    (exceeds,) = problems(**{**REAL, "SOLANA_MAX_PER_ORDER": "SOL=5,USDC=100"})
    assert exceeds.startswith("SOLANA_MAX_PER_ORDER='SOL=5' cannot be used: allowed is at most 2")


@pytest.mark.parametrize("cap", ["SOL", "sol=2", "SOL=0"])
def test_a_cap_that_cannot_be_read_is_not_said_to_be_missing_as_well(cap):
    (problem,) = problems(**{**REAL, "SOLANA_MAX_PER_DAY": f"USDC=1000,{cap}"})

    assert "with upper-case letters and digits, and a number above 0" in problem


@pytest.mark.parametrize("fee", ["-1", "10000001", "0.5", "cheap"])
def test_a_priority_fee_is_a_whole_number_of_lamports(fee):
    (problem,) = problems(**REAL, SOLANA_MAX_PRIORITY_FEE=fee)

    assert problem.startswith(f"SOLANA_MAX_PRIORITY_FEE={fee!r} cannot be used: allowed is a whole number")


def test_an_engine_that_lets_everybody_in_does_not_spend_real_money():
    (problem,) = problems(**REAL, SOLANA_CLUSTER="mainnet-beta")

    assert problem.startswith("AUTH_MODE='open' cannot be used: allowed is jwt (with SOLANA_CLUSTER=mainnet-beta")
    assert solana(SOLANA_CLUSTER="devnet").cluster == "devnet"


def test_all_that_is_wrong_with_the_real_venues_is_said_at_once():
    found = problems(USE_REAL_DEVNET="true", SOLANA_CLUSTER="testnet", SOLANA_POOLS="x", PORT="x")

    assert [problem.split("=")[0].split(" ")[0] for problem in found] == [
        *("PORT", "SOLANA_CLUSTER", "SOLANA_WALLET_KEY", "SOLANA_POOLS"),
        *("SOLANA_MAX_PER_ORDER", "SOLANA_MAX_PER_DAY"),
    ]


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

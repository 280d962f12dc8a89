"""Passwords that the environment only names, and their rotation: real servers, and moto's Secrets Manager."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
import redis

from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.postgres import Database
from chalicelib.resources.redis import Redis
from chalicelib.resources.secrets import RENEWAL_PAUSE_SECONDS, Secret
from infra.local.redis import LocalRedis
from tests.clocks import StoppedClock
from tests.moto_cloud import moto_cloud

USER = "rotated"


class Vault:
    """A secret in moto's Secrets Manager, and how often it was read."""

    def __init__(self, client: Any, clock: StoppedClock) -> None:
        self._client = client
        self._arn = client.create_secret(Name="a secret", SecretString="{}")["ARN"]
        self.secret = Secret(self._arn, clock)
        self.clock = clock

    def keep(self, **values: str) -> None:
        self._client.put_secret_value(SecretId=self._arn, SecretString=json.dumps(values))


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    for variable, value in (
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ):
        monkeypatch.setenv(variable, value)
    with moto_cloud():
        yield Vault(boto3.client("secretsmanager", "us-east-1"), StoppedClock())


def test_a_secret_is_read_once(vault: Vault) -> None:
    vault.keep(password="first")
    assert vault.secret.read() == '{"password": "first"}'

    vault.keep(password="second")

    assert vault.secret.read() == '{"password": "first"}'


def test_a_secret_that_was_rotated_is_read_again_when_asked(vault: Vault) -> None:
    vault.keep(password="first")
    vault.secret.read()
    vault.keep(password="second")
    vault.clock.sleep(RENEWAL_PAUSE_SECONDS)

    assert vault.secret.renew()
    assert vault.secret.read() == '{"password": "second"}'


def test_a_secret_that_is_the_same_was_not_renewed(vault: Vault) -> None:
    vault.keep(password="first")
    vault.secret.read()
    vault.clock.sleep(RENEWAL_PAUSE_SECONDS)

    assert not vault.secret.renew()


def test_a_password_that_stays_wrong_is_asked_for_only_now_and_then(vault: Vault) -> None:
    vault.keep(password="first")
    vault.secret.read()
    vault.keep(password="second")

    assert not vault.secret.renew()


def test_a_secret_that_cannot_be_read_is_unavailable_without_its_text(vault: Vault) -> None:
    missing = Secret("arn:aws:secretsmanager:us-east-1:123456789012:secret:nothing", vault.clock)

    with pytest.raises(ResourceUnavailable, match="Secrets Manager is not available"):
        missing.read()


# --- Postgres ---


@pytest.fixture
def set_password(connection: psycopg.Connection[dict[str, Any]]) -> Iterator[Callable[[str], None]]:
    """A user of Postgres who needs a password, which this sets; all others are trusted."""
    (shown,) = connection.execute("SHOW hba_file").fetchall()
    rules = Path(shown["hba_file"])
    before = rules.read_text()
    rules.write_text(f"host all {USER} all scram-sha-256\n{before}")
    connection.execute(f"CREATE ROLE {USER} LOGIN")
    connection.execute("SELECT pg_reload_conf()")
    yield lambda password: connection.execute(f"ALTER ROLE {USER} PASSWORD '{password}'") and None
    connection.execute(f"DROP ROLE {USER}")
    rules.write_text(before)
    connection.execute("SELECT pg_reload_conf()")


@pytest.fixture
def database(vault: Vault, postgres: Any) -> Iterator[Database]:
    database = Database(postgres.url, vault.secret)
    yield database
    database.close()


def who(database: Database) -> Any:
    return database.run("SELECT current_user AS who, current_setting('TimeZone') AS zone", {})


def test_postgres_is_entered_with_the_user_and_password_of_the_secret(
    vault: Vault, database: Database, set_password: Callable[[str], None]
) -> None:
    set_password("first")
    vault.keep(username=USER, password="first")

    assert who(database) == [{"who": USER, "zone": "UTC"}]


def test_a_rotated_password_of_postgres_is_noticed_at_the_next_connection(
    vault: Vault, database: Database, set_password: Callable[[str], None]
) -> None:
    set_password("first")
    vault.keep(username=USER, password="first")
    who(database)
    database.close()

    set_password("second")
    vault.keep(username=USER, password="second")
    vault.clock.sleep(RENEWAL_PAUSE_SECONDS)

    assert who(database) == [{"who": USER, "zone": "UTC"}]


def test_a_wrong_password_of_postgres_is_unavailable_and_not_shown(
    vault: Vault, database: Database, set_password: Callable[[str], None]
) -> None:
    set_password("right")
    vault.keep(username=USER, password="wrong-and-secret")

    with pytest.raises(ResourceUnavailable, match="password authentication failed") as refused:
        who(database)
    assert "wrong-and-secret" not in str(refused.value)


def test_whoever_needs_an_address_gets_it_with_user_and_password(vault: Vault) -> None:
    vault.keep(username="app/1", password="p@ss:word")

    address = Database("postgresql://postgres@db.example:5432/orders?sslmode=require", vault.secret).url()

    assert address == "postgresql://app%2F1:p%40ss%3Aword@db.example:5432/orders?sslmode=require"


# --- Redis ---


@pytest.fixture
def locked_redis(make_data_dir: Callable[[], Path]) -> Iterator[LocalRedis]:
    server = LocalRedis(make_data_dir(), {})
    server.start()
    yield server
    server.stop()


def lock(server: LocalRedis, token: str, before: str | None = None) -> None:
    """Let nobody in without the token, and throw out who is in."""
    with redis.Redis.from_url(server.url, password=before) as operator:
        operator.config_set("requirepass", token)
        operator.client_kill_filter(_type="normal", skipme=True)


def test_redis_is_entered_with_the_token_of_the_secret(vault: Vault, locked_redis: LocalRedis) -> None:
    lock(locked_redis, "first")
    vault.keep(authToken="first")

    assert Redis(locked_redis.url, vault.clock, vault.secret).run("return 7", [], []) == 7


def test_a_rotated_token_of_redis_is_noticed_at_the_next_connection(vault: Vault, locked_redis: LocalRedis) -> None:
    lock(locked_redis, "first")
    vault.keep(authToken="first")
    client = Redis(locked_redis.url, vault.clock, vault.secret)
    client.probe()

    lock(locked_redis, "second", before="first")
    vault.keep(authToken="second")
    vault.clock.sleep(RENEWAL_PAUSE_SECONDS)

    assert client.run("return 7", [], []) == 7
    client.close()


def test_a_wrong_token_of_redis_is_unavailable_and_not_shown(vault: Vault, locked_redis: LocalRedis) -> None:
    lock(locked_redis, "right")
    vault.keep(authToken="wrong-and-secret")

    with pytest.raises(ResourceUnavailable, match="Redis is not available") as refused:
        Redis(locked_redis.url, vault.clock, vault.secret).probe()
    assert "wrong-and-secret" not in str(refused.value)

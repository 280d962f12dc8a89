"""The engine put together."""

import pytest

from chalicelib import config
from chalicelib.clock import Clock
from chalicelib.config import load_settings
from chalicelib.engine import Engine, engine
from chalicelib.resources import aws
from chalicelib.resources.management_api import ManagementApi


def test_a_process_has_one_engine_with_its_settings(monkeypatch):
    for cached in (config.current_settings, engine):
        cached.cache_clear()
    monkeypatch.setenv("MAX_RETRIES", "7")

    made = engine()

    assert made.settings.max_retries == 7
    assert engine() is made
    for cached in (config.current_settings, engine):
        cached.cache_clear()


def test_parts_are_made_once_and_need_no_server_to_be_made():
    made = Engine(load_settings({}), Clock())

    for part in ("rest", "sockets", "executor", "settlement", "recovery", "dead_letters"):
        assert getattr(made, part) is getattr(made, part)
    assert isinstance(made.connections, ManagementApi)


@pytest.fixture
def fresh_clients():
    """Clients made here must not serve other tests, whose cloud is another."""
    aws._make_client.cache_clear()
    yield
    aws._make_client.cache_clear()


@pytest.mark.usefixtures("fresh_clients")
def test_a_process_prepares_itself_without_a_server(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    nobody = "127.0.0.1:1"
    made = Engine(
        load_settings({"REDIS_URL": f"redis://{nobody}/0", "MANAGEMENT_API_URL": f"http://{nobody}"}), Clock()
    )

    made.prepare()

    assert made.order_queue.open() is made.settlement_queue.open(), "queues share a client"

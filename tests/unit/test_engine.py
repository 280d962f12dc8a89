"""The engine put together."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib import config
from chalicelib.clock import Clock
from chalicelib.config import SET_BY_THE_TEMPLATE, load_settings
from chalicelib.engine import Engine, engine
from chalicelib.resources.management_api import ManagementApi

PROJECT = Path(__file__).parents[2]


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


def modules_of_a_process(handler, then="None"):
    """Return what is loaded in a Lambda process that will call ``handler``, once it has started, and done a thing."""
    code = f"import app, json, sys; from app import engine; {then}; print(json.dumps(sorted(sys.modules)))"
    settings = {"AWS_LAMBDA_FUNCTION_NAME": "a-function", "_HANDLER": handler, "AWS_DEFAULT_REGION": "us-east-1"}
    settings |= {**dict.fromkeys(SET_BY_THE_TEMPLATE, "http://127.0.0.1:1"), "AUTH_MODE": "open"}
    settings |= {"PATH": os.environ["PATH"]}
    started = subprocess.run(
        [sys.executable, "-c", code], env=settings, cwd=PROJECT, capture_output=True, check=True, text=True
    )
    return json.loads(started.stdout)


def test_a_process_loads_what_checks_tokens_only_if_it_is_the_authorizers():
    authorizer, another = modules_of_a_process("app.authorize"), modules_of_a_process("app.app")

    for_tokens, for_all_else = {"jwt", "cryptography.hazmat"}, {"redis", "urllib3", "psycopg", "chalicelib.engine"}
    assert for_tokens <= set(authorizer)
    assert for_all_else <= set(another)
    assert not for_all_else & set(authorizer)
    assert not for_tokens & set(another)
    assert not {"boto3", "botocore.client"} & {*authorizer, *another}, "a quarter of a second, at each cold start"


@pytest.mark.parametrize("handler", ["app.app", "app.execute_order", "app.settle_orders", "app.watch_market"])
def test_with_the_simulated_venues_a_process_loads_nothing_of_the_real_ones(handler):
    loaded = set(modules_of_a_process(handler, then="engine().executor, engine().settlement, engine().market_watch"))

    assert "chalicelib.venues.simulated.chain" in loaded
    assert not [name for name in loaded if name.split(".")[0] in ("solders", "jsonalias")]
    real = ("chalicelib.venues.raydium", "chalicelib.venues.meteora", "chalicelib.venues.solana")
    assert not [name for name in loaded if name.startswith(real)]


def test_a_process_prepares_itself_without_a_server():
    nobody = "127.0.0.1:1"
    made = Engine(
        load_settings({"REDIS_URL": f"redis://{nobody}/0", "MANAGEMENT_API_URL": f"http://{nobody}"}), Clock()
    )

    made.prepare()

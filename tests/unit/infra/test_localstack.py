"""``make localstack``: which emulator, which settings, which tests; the whole way is for who has one running."""

import os
import re
import subprocess
import sys

import pytest

from infra import localstack
from infra.cloud import Target
from infra.local.processes import free_port
from infra.localstack import DEFAULTS, NotStarted, main, run_tests, settings_of, wait_for_emulator
from infra.packaging import PROJECT
from tests.clocks import StoppedClock
from tests.e2e.conftest import ALLOWED_ORIGIN, NO_LIMITS
from tests.unit.infra.answering import server

ELSEWHERE = "http://127.0.0.1:14566"


class PretendDoor:
    url, websocket_url = "http://localhost:3000", "ws://localhost:3000/ws"


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    """Keep the developer's own emulator out of it."""
    for name in ("AWS_ENDPOINT_URL", "LOCALSTACK_HOST", "USE_SSL", *DEFAULTS):
        monkeypatch.delenv(name, raising=False)


def test_what_is_not_set_is_what_the_compose_file_starts():
    settings = settings_of({"REDIS_URL": "redis://elsewhere:6379/0", "DATABASE_URL": "", "LOG_LEVEL": "DEBUG"})

    assert settings == {**DEFAULTS, "REDIS_URL": "redis://elsewhere:6379/0", "LOG_LEVEL": "DEBUG"}


def test_the_engine_is_deployed_with_the_settings_that_its_tests_count_on():
    assert {**NO_LIMITS, "CORS_ORIGINS": ALLOWED_ORIGIN}.items() <= DEFAULTS.items()


@pytest.mark.parametrize(
    ("name", "value", "endpoint"),
    [
        (None, None, "http://localhost:4566"),
        ("AWS_ENDPOINT_URL", ELSEWHERE, ELSEWHERE),
        ("LOCALSTACK_HOST", "127.0.0.1:14566", ELSEWHERE),
    ],
)
def test_the_emulator_is_where_the_settings_of_localstacks_client_say(monkeypatch, name, value, endpoint):
    if name:
        monkeypatch.setenv(name, value)

    assert localstack.emulator().endpoint_url == endpoint
    assert localstack.emulator().stage == "localstack"


def test_where_nobody_listens_the_way_to_start_one_is_told_at_once():
    url, clock = f"http://127.0.0.1:{free_port()}", StoppedClock()

    with pytest.raises(NotStarted) as nobody:
        wait_for_emulator(Target(stage="localstack", endpoint_url=url), clock)

    assert url in str(nobody.value)
    assert "docker compose -f docker-compose.localstack.yml --profile ministack up --wait" in str(nobody.value)
    assert clock.slept == []


def test_an_emulator_that_starts_is_waited_for():
    clock = StoppedClock()
    with server(503, 503, 200) as (url, asked):
        wait_for_emulator(Target(stage="localstack", endpoint_url=url), clock)

    assert asked == ["/_localstack/health"] * 3
    assert len(clock.slept) == 2


def test_an_emulator_that_does_not_become_ready_is_given_up():
    clock = StoppedClock()
    with server(503) as (url, _), pytest.raises(NotStarted, match="503"):
        wait_for_emulator(Target(stage="localstack", endpoint_url=url), clock)

    assert clock.seconds() == pytest.approx(localstack.PATIENCE_SECONDS, abs=1)


def test_the_command_without_an_emulator_fails_with_what_to_do(monkeypatch, capsys):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("PORT", str(free_port()))

    assert main([]) == 1
    assert "Start it" in capsys.readouterr().err


def test_a_bad_setting_is_named_before_anything_is_looked_for(monkeypatch, capsys):
    monkeypatch.setenv("MAX_RETRIES", "0")

    assert main([]) == 2
    assert "MAX_RETRIES='0'" in capsys.readouterr().err


def test_why_an_engine_may_be_unwell_names_its_servers_and_no_password():
    why = localstack.why_it_may_be_unwell({**DEFAULTS, "DATABASE_URL": "postgresql://me:secret@db:5433/orders"})

    assert "DATABASE_URL db:5433, REDIS_URL redis:6379, EMULATOR_URL aws:4566" in why
    assert "secret" not in why


def test_the_tests_are_told_what_to_test_and_end_as_pytest_does(monkeypatch):
    called = {}

    def run(command, **options):
        called.update(options, command=command)
        return subprocess.CompletedProcess(command, 5)

    monkeypatch.setattr(localstack.subprocess, "run", run)
    target = Target(stage="localstack", endpoint_url=ELSEWHERE)

    assert run_tests(target, PretendDoor(), {**DEFAULTS, "PATH": "/bin"}, ["-k", "lifecycle"]) == 5
    assert called["command"] == [sys.executable, "-m", "pytest", "tests/e2e", "-k", "lifecycle"]
    assert {name: value for name, value in called["env"].items() if name.startswith("E2E_")} == {
        "E2E_STAGE": "localstack",
        "E2E_ENDPOINT_URL": ELSEWHERE,
        "E2E_URL": PretendDoor.url,
        "E2E_WEBSOCKET_URL": PretendDoor.websocket_url,
        "E2E_DATABASE_URL": DEFAULTS["HOST_DATABASE_URL"],
    }


def test_on_a_deployed_engine_only_the_tests_that_need_this_machine_are_left_out_each_with_its_reason():
    collect = [sys.executable, "-m", "pytest", "tests/e2e", "--collect-only", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "E2E_STAGE": "localstack"}

    collected = subprocess.run(collect, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)

    # It fails where a test needs this machine's stack and does not say so.
    assert collected.returncode == 0, collected.stdout
    left_out = re.findall(r"^LEFT OUT (tests/e2e/\S+): (.+)$", collected.stdout, re.MULTILINE)
    selected = re.findall(r"^tests/e2e/\S+::\S.*$", collected.stdout, re.MULTILINE)
    modules = {test.partition("::")[0].removeprefix("tests/e2e/test_") for test, _ in left_out}
    assert modules == {
        *("authentication.py", "client.py", "commands.py", "console.py", "deployment.py", "documents.py"),
        *("many_orders.py", "real_venues.py", "waiting_orders.py"),
    }
    assert len(selected) > 4 * len(left_out) > 0
    assert not {test for test, _ in left_out} & set(selected)
    assert all(reason for _, reason in left_out)

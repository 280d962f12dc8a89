"""The engine on LocalStack, or on the other emulator of docker-compose.localstack.yml: ``make localstack``.

It deploys the template that goes to AWS to the emulator that localstack-client's settings name (``AWS_ENDPOINT_URL``,
or ``LOCALSTACK_HOST``), opens the front door to it, so that documented URLs work as they do on the laptop, and runs the
end-to-end tests against it. ``--serve`` keeps the door open instead; what else is given goes to pytest.

Two machines look at the same servers: the functions run in the emulator's network and find Postgres under the name
that the compose file gives it, this machine under a port of its own. ``DATABASE_URL``, ``REDIS_URL`` and
``EMULATOR_URL`` are what the functions use, here as in every deployment; ``HOST_DATABASE_URL`` is this machine's way,
on which the tests look past the engine.
"""

import argparse
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from localstack_client.config import get_service_endpoint

from chalicelib.clock import Clock
from chalicelib.config import SettingsError, load_settings
from infra.cloud import Target, target_of
from infra.commands import EXIT_BAD_SETTINGS, failed
from infra.deploy import DeployError, deploy
from infra.deployment import resolve_settings
from infra.health import Unwell, wait_until_well
from infra.local.door import LocalDoor
from infra.local.processes import StackError
from infra.local.stack import LAUNCH_WEBHOOK_SECRET
from infra.packaging import PROJECT, PackagingError
from infra.schedules import begin_schedules

STAGE = "localstack"
HEALTH_PATH = "/_localstack/health"
"""MiniStack answers there as well."""
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.5
DEFAULTS: Mapping[str, str] = {
    "DATABASE_URL": "postgresql://postgres:postgres@postgres:5432/orders",
    "REDIS_URL": "redis://redis:6379/0",
    "EMULATOR_URL": "http://aws:4566",
    "HOST_DATABASE_URL": "postgresql://postgres:postgres@localhost:15432/orders",
    "LAUNCH_WEBHOOK_SECRET": LAUNCH_WEBHOOK_SECRET,
    # The tests place hundreds of orders, more than the documented limits let through, and come from this page.
    "ORDER_PROCESSOR_RATE": "0",
    "USER_ORDER_RATE": "0",
    "CORS_ORIGINS": "https://app.example.com",
}
"""What docker-compose.localstack.yml starts, and what the tests need; the environment overrides each."""
HOW_TO_START = """Start it, with a token for LocalStack:
  LOCALSTACK_AUTH_TOKEN=... docker compose -f docker-compose.localstack.yml --profile localstack up --wait
or without one, on MiniStack:
  docker compose -f docker-compose.localstack.yml --profile ministack up --wait
An emulator elsewhere is named by AWS_ENDPOINT_URL, or by LOCALSTACK_HOST=host:port."""


class NotStarted(Exception):
    """No emulator answers; the message says how to start one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Deploy, then test or serve; returns the exit code, which is pytest's where it tests."""
    parser = argparse.ArgumentParser(prog="python -m infra.localstack", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="keep the front door open instead of running the tests")
    options, pytest_arguments = parser.parse_known_args(arguments)
    environment = settings_of(os.environ)
    try:
        environment = resolve_settings(environment)
        door = LocalDoor(load_settings(environment).port, PROJECT / ".local" / STAGE, environment)
        try:
            target = bring_up(door, environment)
            return serve(door) if options.serve else run_tests(target, door, environment, pytest_arguments)
        finally:
            door.close()
    except SettingsError as error:
        return failed(f"These settings cannot be used:\n{error}", EXIT_BAD_SETTINGS)
    except (NotStarted, StackError, PackagingError, DeployError, Unwell) as error:
        return failed(error)


def settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the compose file's values where it has none of its own."""
    return {**environment, **{name: environment.get(name) or value for name, value in DEFAULTS.items()}}


def emulator() -> Target:
    """Return where localstack-client's settings say that the emulator is."""
    return target_of(STAGE, endpoint_url=get_service_endpoint("cloudformation"))


def bring_up(door: LocalDoor, environment: Mapping[str, str]) -> Target:
    """Deploy to the emulator, open the door to it and return where it is.

    Raises:
        NotStarted: no emulator answers.
        PackagingError, DeployError: the engine cannot be packaged or deployed.
        StackError: the door cannot be opened.
        Unwell: the engine is there, and does not say that it is well.
    """
    target = emulator()
    wait_for_emulator(target, Clock())
    print(f"deploying to {target.place}")
    outputs = deploy(target, environment={**environment, "WEBSOCKET_URL": door.websocket_url}, report=print)
    begin_schedules(target, outputs)
    door.lead_to(target.addresses(outputs))
    door.start()
    try:
        wait_until_well(door.url, Clock(), proxied=False)
    except Unwell as error:
        raise Unwell(f"{error}\n{why_it_may_be_unwell(environment)}") from error
    addresses = target.addresses(outputs)
    print(
        f"HTTP       {door.url}  ({addresses.rest})\nWebSocket  {door.websocket_url}  ({addresses.websocket})",
        flush=True,
    )
    return target


def wait_for_emulator(target: Target, clock: Clock) -> None:
    """Wait until the emulator answers.

    Raises:
        NotStarted: it does not, or something else listens there.
    """
    deadline = clock.seconds() + PATIENCE_SECONDS
    while why := unanswered(f"{target.endpoint_url}{HEALTH_PATH}"):
        # Where nobody listens, nobody is about to answer: who has just started it was told to --wait.
        if "refused" in why or clock.seconds() >= deadline:
            raise NotStarted(f"No emulator answers at {target.endpoint_url}: {why}.\n{HOW_TO_START}")
        clock.sleep(PAUSE_SECONDS)


def unanswered(url: str) -> str | None:
    """Return why a GET of ``url`` has no good answer, or None when it has."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=PAUSE_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"it answers {error.code} {error.reason}"
    except OSError as error:
        return str(getattr(error, "reason", error))


def why_it_may_be_unwell(environment: Mapping[str, str]) -> str:
    """Say what to look at: addresses are right or wrong where the functions run, not here."""
    used = {name: urlsplit(environment[name]) for name in ("DATABASE_URL", "REDIS_URL", "EMULATOR_URL")}
    addresses = ", ".join(f"{name} {address.hostname}:{address.port}" for name, address in used.items())
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"Its functions use {addresses}: they must be reachable from inside the emulator.\n"
        f"They were packaged for Python {version}. MiniStack runs them by its own, in its image 3.13: "
        "PYTHON=python3.13 make --always-make setup"
    )


def run_tests(target: Target, door: LocalDoor, environment: Mapping[str, str], pytest_arguments: Sequence[str]) -> int:
    """Run the end-to-end tests against what was deployed; returns pytest's exit code."""
    deployed = {
        "E2E_STAGE": target.stage,
        "E2E_ENDPOINT_URL": target.endpoint_url or "",
        "E2E_URL": door.url,
        "E2E_WEBSOCKET_URL": door.websocket_url,
        "E2E_DATABASE_URL": environment["HOST_DATABASE_URL"],
    }
    command = [sys.executable, "-m", "pytest", "tests/e2e", *pytest_arguments]
    told = {**environment, **deployed}
    return subprocess.run(command, cwd=PROJECT, env=told, check=False).returncode  # noqa: S603 - no shell


def serve(door: LocalDoor) -> int:
    """Keep the door open until Ctrl-C."""
    print("Ctrl-C closes the front door; the engine stays deployed.", flush=True)
    try:
        while door.process.running:
            time.sleep(PAUSE_SECONDS)
    except KeyboardInterrupt:
        return 0
    return failed(door.process.failure())


if __name__ == "__main__":
    sys.exit(main())

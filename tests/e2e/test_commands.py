"""The project's commands as processes: what they say, how they exit, and what they leave behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.local.processes import free_port
from infra.local.stack import PROJECT, Stack
from tests.e2e.client import Client, parse
from tests.e2e.deployed import Deployed

PATIENCE_SECONDS = 60
READY = "Ctrl-C stops everything."


@contextmanager
def started(module: str, *arguments: object, settings: Mapping[str, object]) -> Iterator[subprocess.Popen[str]]:
    """Start a module of the project, and end it at the latest when the test does."""
    # What is printed into a pipe is as wide as it is meant to be, however wide the tests' own output is.
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        env={**environment, **{name: str(value) for name, value in settings.items()}},
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def outcome(module: str, *arguments: object, settings: Mapping[str, object]) -> tuple[int, str]:
    """Run a module to its end and return its exit code and what it printed."""
    with started(module, *arguments, settings=settings) as process:
        printed, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, printed


def running_stack(process: subprocess.Popen[str], port: int) -> list[psutil.Process]:
    """Wait until a started stack is ready, let it work, and return every process that belongs to it."""
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if READY in line:
            break
    assert printed[-1:] == [f"{READY}\n"], "".join(printed)
    # An order starts Lambda processes, which are the children of a child.
    Client(f"http://localhost:{port}", f"ws://localhost:{port}/ws").place()
    processes: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    assert len(processes) > 4
    return processes


def still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.laptop("it starts a stack of its own")
def test_ctrl_c_leaves_no_process_behind(data_dir: Path, settings: dict[str, str]) -> None:
    port = free_port()
    with started("infra.local", "--data-dir", data_dir, settings={**settings, "PORT": port}) as process:
        processes = running_stack(process, port)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 0
    assert "nothing is left running" in printed
    assert still_running(processes) == []


@pytest.mark.laptop("it starts a stack of its own")
def test_killed_stack_takes_its_services_with_it(data_dir: Path, settings: dict[str, str]) -> None:
    port = free_port()
    with started("infra.local", "--data-dir", data_dir, settings={**settings, "PORT": port}) as process:
        processes = running_stack(process, port)
        # A Lambda process ends with the call that it is serving, and that may take a minute.
        services = [child for child in processes if child.ppid() == process.pid]
        process.kill()

    assert len(services) == 4
    deadline = time.monotonic() + PATIENCE_SECONDS
    while still_running(services) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert still_running(services) == []


@pytest.mark.laptop("it starts a stack of its own")
def test_service_that_dies_is_named_and_takes_the_stack_with_it(data_dir: Path, settings: dict[str, str]) -> None:
    port = free_port()
    with started("infra.local", "--data-dir", data_dir, settings={**settings, "PORT": port}) as process:
        processes = running_stack(process, port)
        next(child for child in processes if "redis" in child.name()).kill()
        printed, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 1
    assert "Redis was ended by SIGKILL" in printed
    assert still_running(processes) == []


@pytest.mark.laptop("it starts a stack of its own")
def test_busy_port_is_named_with_what_to_do(data_dir: Path, settings: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, printed = outcome("infra.local", "--data-dir", data_dir, settings={**settings, "PORT": port})

    assert code == 1
    assert f"Port {port} is in use by" in printed
    assert f"(process {os.getpid()})" in printed
    assert "make run" in printed


@pytest.mark.laptop("it starts a second stack on the data of the first")
def test_second_stack_on_the_same_data_is_refused(stack: Stack, settings: dict[str, str]) -> None:
    data_dir = stack.logs.parent

    code, printed = outcome("infra.local", "--data-dir", data_dir, settings={**settings, "PORT": free_port()})

    assert code == 1
    assert f"A stack already runs on the data in {data_dir} (process {os.getpid()}, {stack.url})" in printed


@pytest.mark.parametrize("module", ["infra.local", "infra.local.demo"])
def test_bad_settings_stop_the_start_and_name_themselves(module: str, settings: dict[str, str]) -> None:
    code, printed = outcome(module, settings={**settings, "PORT": "http", "MAX_RETRIES": "0"})

    assert code == 2
    assert "PORT='http' cannot be used" in printed
    assert "MAX_RETRIES='0' cannot be used" in printed


@pytest.mark.laptop("it looks at processes of this machine")
def test_everything_listens_on_loopback_only(client: Client, stack: Stack) -> None:
    client.place()
    listening = {
        (process.name(), connection.laddr.ip)
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }

    assert len(listening) >= len(stack.services)
    assert [(name, address) for name, address in listening if not ip_address(address).is_loopback] == []


def test_demo_shows_five_orders_confirmed(deployed: Deployed, settings: dict[str, str]) -> None:
    port = deployed.url.rpartition(":")[2]

    code, printed = outcome("infra.local.demo", "market", settings={**settings, "PORT": port})

    assert code == 0
    assert len([line for line in printed.splitlines() if "●━●━●━●━● confirmed" in line]) == 5
    assert "5 of 5 confirmed" in printed


def test_demo_without_a_stack_says_what_to_do(settings: dict[str, str]) -> None:
    port = free_port()

    code, printed = outcome("infra.local.demo", settings={**settings, "PORT": port})

    assert code == 1
    assert printed.startswith(f"http://localhost:{port} cannot be reached: connection refused.")
    assert printed.endswith("run `make run` first, in another terminal.\n")


def test_demo_shows_orders_that_wait_and_leaves_nothing_behind(
    client: Client, deployed: Deployed, settings: dict[str, str]
) -> None:
    port = deployed.url.rpartition(":")[2]

    code, printed = outcome(
        "infra.local.demo", "waiting", *deployed.target_options, settings={**settings, "PORT": port}
    )

    assert code == 0, printed
    ends = [line for line in printed.splitlines() if "✓ confirmed" in line or "◌" in line]
    assert [line.split()[1] for line in ends] == ["limit", "stop", "limit", "sniper", "limit"]
    assert ["≤ 120" in line for line in ends if "expired" in line] == [True]
    assert ["≥ 157.5" in line for line in ends if "cancelled" in line] == [True]
    assert "5 of 5 ended as they should" in printed
    pending = client.get("/api/orders", status="pending", limit=100).body["orders"]
    assert [order for order in pending if order["userId"] == "demo"] == []
    _, listed = outcome("infra.market", *deployed.target_options, settings=settings)
    assert "SOL/USDC" not in listed
    assert "WIF/USDC" not in listed


def test_demo_says_so_when_the_market_cannot_be_steered(deployed: Deployed, settings: dict[str, str]) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    arguments = ("waiting", "--endpoint-url", nobody)

    code, printed = outcome(
        "infra.local.demo", *arguments, settings={**settings, "PORT": deployed.url.rpartition(":")[2]}
    )

    assert code == 1
    assert printed.startswith(f"The market at {nobody} cannot be steered: ")
    assert "--endpoint-url" in printed


def test_market_is_steered_listed_and_reset_by_command(
    client: Client, deployed: Deployed, settings: dict[str, str]
) -> None:
    def market(*arguments: object) -> tuple[int, str]:
        return outcome("infra.market", *arguments, *deployed.target_options, settings=settings)

    def price() -> Any:
        quote = client.get("/api/quotes", tokenIn="RAY", tokenOut="USDT", amount=1).body
        return quote["quotes"][quote["chosen"]]["price"]

    try:
        code, printed = market("RAY/USDT", 9, "--walk", "0.01")
        assert (code, "RAY/USDT" in printed) == (0, True)
        assert 8.5 < price() < 9.5
        assert "RAY/USDT" in market()[1]
    finally:
        code, printed = market("--reset", "RAY/USDT")

    assert (code, "RAY/USDT" in printed) == (0, False)
    assert 2.4 < price() < 2.6
    assert market("RAY/RAY", 9)[0] == 1
    assert market("RAY/USDT")[0] == 2


def test_launch_command_wakes_a_sniper(client: Client, deployed: Deployed, settings: dict[str, str]) -> None:
    with client.socket() as socket:
        socket.send(
            {"action": "execute", "userId": "u1", "orderType": "sniper", "amount": 10}
            | {"tokenIn": "WIF", "tokenOut": "USDT"}
        )
        assert [socket.receive()["event"] for _ in range(2)] == ["pending", "waiting"]

        code, printed = outcome(
            "infra.launch", "WIF/USDT", "--pool", "launched-by-command", "--url", deployed.url, settings=settings
        )
        assert (code, printed) == (0, "WIF/USDT launched in pool launched-by-command: 1 order was woken.\n")
        # Announced too early, it finds no pool; the market watch wakes it again when there is one.
        assert [socket.receive()["event"] for _ in range(2)] == ["triggered", "waiting"]
        try:
            outcome("infra.market", "WIF/USDT", 2.5, *deployed.target_options, settings=settings)
            assert socket.events_until_end()[-1]["status"] == "confirmed"
        finally:
            outcome("infra.market", "--reset", "WIF/USDT", *deployed.target_options, settings=settings)


def test_logs_tell_an_orders_story_across_all_functions(
    client: Client, deployed: Deployed, settings: dict[str, str]
) -> None:
    def logs(*arguments: object) -> tuple[int, str]:
        return outcome("infra.logs", *arguments, *deployed.target_options, settings=settings)

    order_id = client.execute()[0]["orderId"]
    # Both are about it, and not the only ones of their batch.
    others = [client.place() for _ in range(3)]

    code, printed = logs(order_id)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "order confirmed" not in printed:  # its last line is there once the invocation is over
        assert time.monotonic() < deadline, printed
        code, printed = logs(order_id)
    assert code == 0
    steps = [line.split()[5] for line in printed.splitlines() if " order " in line]
    assert steps == ["pending", "submitted", "confirmed"], "a line for each commit"
    assert list(dict.fromkeys(line.split()[2] for line in printed.splitlines())) == [
        "APIHandler",
        "ExecuteOrder",
        "SettleOrders",
    ]
    assert not [other for other in others if other in printed]

    code, printed = logs(order_id, "--json")
    assert [parse(line)["step"] for line in printed.splitlines() if "step" in parse(line)] == steps
    code, printed = logs("00000000-0000-4000-8000-000000000000")
    assert (code, printed.startswith("Nothing about order 00000000-0000-4000-8000-000000000000 was logged")) == (
        1,
        True,
    )


@pytest.mark.laptop("it looks where no engine is")
def test_logs_without_a_stack_say_what_to_do(settings: dict[str, str]) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"

    code, printed = outcome(
        "infra.logs", "00000000-0000-4000-8000-000000000000", "--endpoint-url", nobody, settings=settings
    )

    assert (code, printed.startswith(f"Nothing answers at {nobody}: run `make run` first")) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "secret", "code", "says"),
    [
        (("WIF/WIF", "--venue", "nowhere"), "", 1, "venue: 'nowhere' is not a known venue"),
        (("WIF/USDC",), "another secret", 1, "(status 401)"),
        (("WIF/USDC", "--url", "https://engine.example"), "", 2, "LAUNCH_WEBHOOK_SECRET is not set"),
    ],
)
def test_launch_command_says_why_a_launch_was_not_taken(
    deployed: Deployed, settings: dict[str, str], arguments: tuple[str, ...], secret: str, code: int, says: str
) -> None:
    environment = {**settings, "PORT": deployed.url.rpartition(":")[2], "LAUNCH_WEBHOOK_SECRET": secret}

    refused, printed = outcome("infra.launch", *arguments, "--pool", "not-taken", settings=environment)

    assert refused == code
    assert says in printed

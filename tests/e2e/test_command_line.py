"""The command ``oee`` against the deployed stack, in processes of its own, as users and scripts have it."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.local.processes import free_port
from infra.local.stack import PROJECT
from tests.builders import STEPS, UNKNOWN_ORDER
from tests.e2e.deployed import Deployed

PATIENCE_SECONDS = 60
DONE, ORDER_FAILED, WRONG_USAGE, REFUSED, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130
NEVER_MET = ("submit", "SOL/USDC", "1.5", "--limit", "1")
Oee = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(deployed: Deployed) -> dict[str, str]:
    """Return an environment that knows the engine, and nothing of the developer's."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "PYTHONPATH": str(PROJECT / "client" / "src"),
        "OEE_URL": deployed.url,
        "OEE_WEBSOCKET_URL": deployed.websocket_url,
        "OEE_USER": "terminal",
    }


@pytest.fixture
def oee(environment: dict[str, str], tmp_path: Path) -> Oee:
    """Run the command to its end."""

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "oee", *arguments],
            env={**environment, **changes},
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )

    return run


def json_lines(outcome: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Read what was printed: JSON objects, one a line, and nothing else anywhere."""
    assert outcome.stderr == ""
    return [json.loads(line, parse_float=Decimal) for line in outcome.stdout.splitlines()]


def placed(oee: Oee, *arguments: str) -> str:
    """Place an order that waits, and return its id."""
    outcome = oee(*NEVER_MET, "--json", *arguments)
    assert outcome.returncode == DONE, outcome
    order_id: str = json_lines(outcome)[0]["orderId"]
    return order_id


def test_an_order_is_placed_and_watched_as_json_lines(oee: Oee) -> None:
    outcome = oee("submit", "SOL/USDC", "1.50", "--watch", "--json")

    events = json_lines(outcome)
    assert (outcome.returncode, [event["event"] for event in events]) == (DONE, STEPS)
    assert str(events[0]["details"]["amount"]) == "1.50"
    assert events[-1]["executedPrice"] == events[-1]["details"]["executedPrice"]
    watched = oee("watch", events[0]["orderId"], "--after-seq", "3", "--json")
    assert json_lines(watched) == events[3:]
    assert oee("watch", events[0]["orderId"], "--after-seq", "5").returncode == DONE


def test_what_goes_into_a_pipe_is_a_line_for_each_step_without_escapes(oee: Oee) -> None:
    outcome = oee("submit", "SOL/USDC", "1.5", "--watch", TERM="xterm-256color")

    lines = outcome.stdout.splitlines()
    assert (outcome.returncode, outcome.stderr, len(lines)) == (DONE, "", 5)
    assert [line.split()[2] for line in lines] == STEPS
    assert "raydium" in lines[1]
    assert "meteora" in lines[1]
    assert "bp against the quote" in lines[4]
    assert "\x1b" not in outcome.stdout


def test_an_order_that_does_not_execute_is_told_by_the_exit_code(oee: Oee) -> None:
    outcome = oee(*NEVER_MET, "--immediate", "--watch")

    assert outcome.returncode == ORDER_FAILED
    assert "cancelled" in outcome.stdout.splitlines()[-1]


def test_several_orders_are_watched_at_once(oee: Oee) -> None:
    first, second = placed(oee), placed(oee)
    assert oee("cancel", first, second).returncode == DONE

    outcome = oee("watch", first, second, "--json")

    ends = [event["orderId"] for event in json_lines(outcome) if event["event"] == "cancelled"]
    assert (outcome.returncode, set(ends)) == (ORDER_FAILED, {first, second})


def test_orders_are_listed_and_cancelled(oee: Oee) -> None:
    order_id = placed(oee)

    listed = oee("orders", "--status", "pending")
    assert order_id in listed.stdout
    assert "buy 1.5 SOL ← USDC" in listed.stdout
    assert json_lines(oee("orders", "--limit", "1", "--json"))[0]["orderId"] == order_id
    assert json_lines(oee("cancel", order_id, "--json"))[0]["status"] == "cancelled"
    assert oee("orders", "--status", "pending", "--json").stdout.find(order_id) == -1


def test_an_order_is_placed_once_for_a_key(oee: Oee) -> None:
    first, second = placed(oee, "--key", "command-line-1"), placed(oee, "--key", "command-line-1")

    assert first == second
    oee("cancel", first)


def test_a_quote_is_a_table_or_exact_json(oee: Oee) -> None:
    quotes = json_lines(oee("quote", "SOL/USDC", "1.50", "--json"))[0]
    table = oee("quote", "SOL/USDC", "1.50").stdout

    assert (str(quotes["amount"]), quotes["side"]) == ("1.50", "sell")
    assert isinstance(quotes["quotes"][quotes["chosen"]]["netPrice"], Decimal)
    assert table.count("✓ chosen") == 1
    assert "receives USDC" in table


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("quote", "SOL/DOGE", "1"), REFUSED, "tokenOut: 'DOGE' is not a known token; known are SOL"),
        (("submit", "SOL/USDC", "0.0000000001"), REFUSED, "amount: 1E-10 has too many digits"),
        (("watch", UNKNOWN_ORDER), REFUSED, f"There is no order {UNKNOWN_ORDER}"),
        (("cancel", "x"), REFUSED, "orderId: 'x' is not an order id"),
        (("quote", "SOL", "1"), WRONG_USAGE, "'SOL' is not a pair; expected is one such"),
        (("quote", "SOL/USDC", "1,5"), WRONG_USAGE, "'1,5' is not a number; expected is one such"),
        (("submit", "SOL/USDC", "1", "--until", "tomorrow"), WRONG_USAGE, "'tomorrow' is no time; expected is"),
        (("submit", "SOL/USDC", "1", "--until", "99999999999d"), WRONG_USAGE, "further away than there are years"),
        (("submit", "SOL/USDC", "1", "--type", "stop"), WRONG_USAGE, "a stop order needs --stop PRICE"),
        (("submit", "SOL/USDC", "1", "--type", "market", "--limit", "1"), WRONG_USAGE, "--limit is not for market"),
        (("orders", "--url", "localhost:3000"), WRONG_USAGE, "is not an engine's address"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_wrong_is_named_on_stderr(oee: Oee, arguments: tuple[str, ...], code: int, says: str) -> None:
    outcome = oee(*arguments, COLUMNS="200")

    assert (outcome.returncode, outcome.stdout) == (code, "")
    assert says in outcome.stderr


@pytest.mark.parametrize("arguments", [("orders",), ("submit", "SOL/USDC", "1", "--json"), ("watch", UNKNOWN_ORDER)])
def test_an_engine_that_does_not_run_is_told_at_once_with_what_to_do(oee: Oee, arguments: tuple[str, ...]) -> None:
    outcome = oee(*arguments, OEE_URL=f"http://localhost:{free_port()}", OEE_WEBSOCKET_URL="")

    assert (outcome.returncode, outcome.stdout) == (UNREACHABLE, "")
    assert "connection refused" in outcome.stderr
    assert "run `make run` first" in outcome.stderr


def test_who_interrupts_a_watch_is_told_how_to_go_on(oee: Oee, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "oee", *NEVER_MET, "--watch", "--json"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        order_id = json.loads(process.stdout.readline())["orderId"]
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == INTERRUPTED
    assert f"oee watch {order_id}" in told
    assert oee("cancel", order_id).returncode == DONE


def test_who_stops_reading_ends_a_watch_that_is_not_told_to_have_failed(environment: dict[str, str]) -> None:
    command = f"{sys.executable} -m oee submit SOL/USDC 1 --watch --json | head -n 1; echo ${{PIPESTATUS[0]}}"

    ran = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60)

    event, code = ran.stdout.splitlines()
    assert json.loads(event)["event"] == "pending"
    assert (code, ran.stderr) == ("141", "")


def test_a_token_on_the_command_line_is_warned_of(oee: Oee) -> None:
    outcome = oee("orders", "--token", "t0ken", "--limit", "1")

    assert (outcome.returncode, outcome.stderr.count("put it into OEE_TOKEN instead")) == (DONE, 1)


@pytest.mark.parametrize(("no_color", "has_colors"), [("", True), ("1", False)])
def test_at_a_terminal_the_steps_fill_in(environment: dict[str, str], no_color: str, has_colors: bool) -> None:
    shown = at_a_terminal(["submit", "SOL/USDC", "1.5", "--watch"], {**environment, "NO_COLOR": no_color})

    last_picture = shown.rpartition("\x1b[2K")[2]
    assert [step for step in STEPS if step in last_picture] == STEPS
    assert "○ confirmed" in shown
    assert "✓ confirmed" in last_picture
    assert ("\x1b[32m" in shown) == has_colors


def at_a_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """Run the command at a terminal and return what it wrote there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "oee", *arguments],
        env={**environment, "TERM": "xterm", "COLUMNS": "140", "LINES": "40"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with process, os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while data := terminal.read(65536):
                shown += data
        except OSError:
            pass  # how Linux says that nobody writes there any more
    assert process.returncode == DONE, shown
    return shown.decode()

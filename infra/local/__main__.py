"""``make run``: the engine on this machine, until Ctrl-C."""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from infra.local.processes import ServiceFailed, StackError
from infra.local.settings_file import local_environment
from infra.local.stack import DATA_DIR, Stack

EXIT_FAILED = 1
TERMINATIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ORDER = '{"userId":"u1","orderType":"market","tokenIn":"SOL","tokenOut":"USDC","amount":1.5}'
ORDER_OF_THE_TOKENS_USER = '{"orderType":"market","tokenIn":"SOL","tokenOut":"USDC","amount":1.5}'


def main() -> int:
    """Run until interrupted, or until a service ends by itself; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR, help="where data and logs are kept")
    options = parser.parse_args()
    for number in TERMINATIONS:
        signal.signal(number, _interrupt)
    started = time.monotonic()
    stack = Stack(data_dir=options.data_dir, environment=local_environment(), progress=_print_step)
    try:
        stack.start()
        print_addresses(stack, time.monotonic() - started)
        failure = _watch(stack)
    except StackError as error:
        print(f"\n{error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        failure = None
    if failure:
        print(f"\n{failure}", file=sys.stderr)
    _stop(stack)
    return EXIT_FAILED if failure else 0


def _watch(stack: Stack) -> ServiceFailed:
    while not (failure := stack.failure()):
        time.sleep(0.25)
    return failure


def _stop(stack: Stack) -> None:
    # Impatience must not leave something running; stopping takes a few seconds at most.
    for number in TERMINATIONS:
        signal.signal(number, signal.SIG_IGN)
    started = time.monotonic()
    print("\nStopping …", flush=True)
    stack.stop()
    print(f"Stopped in {time.monotonic() - started:.1f} s; nothing is left running.", flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _print_step(text: str, seconds: float | None) -> None:
    line = f"… {text}" if seconds is None else f"✓ {text:<58} {seconds:5.1f} s"
    print(line, flush=True)


def print_addresses(stack: Stack, seconds: float) -> None:
    """Say that a stack is ready, whether it swaps for real, and where its parts are."""
    # An address from the settings may hold a password.
    database = stack.database_url if "postgres" in stack.services else "the one in your settings"
    redis = stack.redis_url if "redis" in stack.services else "the one in your settings"
    warning = f"\n\n{stack.real_swaps}.\n\n" if stack.real_swaps else " "
    print(
        f"""
The engine is ready ({seconds:.1f} s).{warning}In another terminal:

{_first_steps(stack)}

  Console    {stack.url}
  HTTP       {stack.url}/api
  WebSocket  {stack.websocket_url}
  Postgres   {database}
  Redis      {redis}
  AWS        {stack.aws_endpoint_url}
  Logs       {stack.logs}

Ctrl-C stops everything.""",
        flush=True,
    )


def _first_steps(stack: Stack) -> str:
    if not stack.asks_for_tokens:
        return f"""\
  curl -X POST {stack.url}/api/orders/execute -H 'Content-Type: application/json' \\
    -d '{ORDER}'
  npx wscat -c "{stack.websocket_url}?orderId=<orderId>\""""
    return f"""\
  curl -X POST {stack.url}/api/orders/execute -H 'Content-Type: application/json' \\
    -H "Authorization: Bearer $TOKEN" -d '{ORDER_OF_THE_TOKENS_USER}'
  curl -X POST {stack.url}/api/stream/tickets -H "Authorization: Bearer $TOKEN"
  npx wscat -c "{stack.websocket_url}?orderId=<orderId>&ticket=<ticket>\""""


if __name__ == "__main__":
    sys.exit(main())

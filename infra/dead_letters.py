"""List and redrive what could not be processed: ``python -m infra.dead_letters list|redrive --stage local``.

It calls the function ``dead_letters`` of the deployed engine, which reaches Postgres and the queues where an
operator's machine may not.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.cloud import FunctionError, add_target_options, named_target
from infra.commands import failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    options = _options(arguments)
    target = named_target(options)
    try:
        letters = target.call("DeadLettersFunction", request_of(options.action, options.message_ids))
    except FunctionError as error:
        return failed(f"The engine at {target.place} cannot be asked: {error}")
    Console().print(_table(letters) if letters else "There are no dead letters.")
    if options.action == "redrive" and letters:
        print(f"{len(letters)} redriven.")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.dead_letters", description=__doc__)
    parser.add_argument("action", choices=["list", "redrive"])
    parser.add_argument("message_ids", nargs="*", metavar="message-id", help="redrive only these; otherwise all")
    add_target_options(parser)
    return parser.parse_args(arguments)


def request_of(action: str, message_ids: Sequence[str] = ()) -> dict[str, Any]:
    """Return the event that asks for this; without ids it is about all dead letters."""
    return {"action": action, "messageIds": list(message_ids)} if message_ids else {"action": action}


def _table(letters: list[dict[str, Any]]) -> Table:
    table = Table("message", "queue", "order", "reason", "buried at")
    for letter in letters:
        table.add_row(
            letter["messageId"], letter["queue"], letter["orderId"] or "-", letter["reason"], letter["buriedAt"][:19]
        )
    return table


if __name__ == "__main__":
    sys.exit(main())

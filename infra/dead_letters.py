"""List and redrive what could not be processed: ``python -m infra.dead_letters list|redrive --stage local``.

It calls the function ``dead_letters`` of the deployed engine, which reaches Postgres and the queues where an
operator's machine may not.
"""

import argparse
import sys
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from infra.cloud import FunctionError, target_of


def main() -> int:
    """Do what the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.dead_letters", description=__doc__)
    parser.add_argument("action", choices=["list", "redrive"])
    parser.add_argument("message_ids", nargs="*", metavar="message-id", help="redrive only these; otherwise all")
    parser.add_argument("--stage", default="local")
    parser.add_argument("--endpoint-url", help="where the cloud is, if not at AWS")
    parser.add_argument("--region")
    options = parser.parse_args()
    target = target_of(options.stage, options.region, options.endpoint_url)
    request = {"action": options.action, **({"messageIds": options.message_ids} if options.message_ids else {})}
    try:
        letters = target.call("DeadLettersFunction", request)
    except (BotoCoreError, ClientError, FunctionError) as error:
        print(f"The engine at {target.place} cannot be asked: {error}", file=sys.stderr)
        return 1
    Console().print(_table(letters) if letters else "There are no dead letters.")
    if options.action == "redrive" and letters:
        print(f"{len(letters)} redriven.")
    return 0


def _table(letters: list[dict[str, Any]]) -> Table:
    table = Table("message", "queue", "order", "reason", "buried at")
    for letter in letters:
        table.add_row(
            letter["messageId"], letter["queue"], letter["orderId"] or "-", letter["reason"], letter["buriedAt"][:19]
        )
    return table


if __name__ == "__main__":
    sys.exit(main())

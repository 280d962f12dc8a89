"""The command ``oee``, also as ``python -m oee``."""

import sys


def main() -> None:
    """Run the command, or say what it needs."""
    try:
        from oee.command_line.commands import run
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in ("typer", "rich"):
            raise
        print("oee needs what its extra brings: pip install 'order-execution-client[cli]'", file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()

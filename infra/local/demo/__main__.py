"""``make demo``: what the engine does, scene by scene, live in the terminal.

Where the engine asks for a token, put one into ``OEE_TOKEN``.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from chalicelib.config import load_settings
from infra.cloud import add_target_options, named_target
from infra.local.demo import market_orders, waiting_orders
from infra.local.demo.drawing import open_console
from infra.local.demo.engine import LocalEngine
from infra.local.demo.picture import save_picture
from infra.local.settings_file import local_environment
from infra.local.stack import LAUNCH_WEBHOOK_SECRET
from oee import OrderEngineError

SCENES = {"market": market_orders.show, "waiting": waiting_orders.show}
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the scenes; returns the exit code: 0 when every order ended as it was meant to."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.demo", description=__doc__)
    parser.add_argument("scene", nargs="?", choices=list(SCENES), help="show only this one")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write what is printed as a picture (SVG), too")
    add_target_options(parser)
    options = parser.parse_args(arguments)
    environment = local_environment()
    settings = load_settings(environment)
    engine = LocalEngine(
        port=settings.port,
        target=named_target(options),
        launch_secret=settings.launch_webhook_secret or LAUNCH_WEBHOOK_SECRET,
        token=environment.get("OEE_TOKEN") or None,
    )
    console = open_console(record=options.picture is not None)
    scenes = [SCENES[options.scene]] if options.scene else list(SCENES.values())
    try:
        went_well = [asyncio.run(show(console, engine)) for show in scenes]
    except OrderEngineError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if options.picture:
        save_picture(console, options.picture)
    return 0 if all(went_well) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())

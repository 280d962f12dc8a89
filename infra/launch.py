"""Announce a launch: ``python -m infra.launch WIF/USDC --pool 7YttLkHDo… --url http://localhost:3000``.

Whoever watches the chain for new pools posts such a signed webhook; this stands in for them. On a stack of this
machine the token needs a price as well, or its pool has none: ``python -m infra.market WIF/USDC 2.5``.
"""

import argparse
import sys
from collections.abc import Sequence

from chalicelib.config import load_settings
from infra.commands import EXIT_BAD_SETTINGS, failed
from infra.local.settings_file import local_environment
from infra.local.stack import LAUNCH_WEBHOOK_SECRET
from oee import Client, OrderEngineError, Refused, Retries
from oee.address import is_this_machine

RETRIES = Retries(wait_for_start=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    options = _options(arguments)
    settings = load_settings(local_environment())
    url = options.url or f"http://localhost:{settings.port}"
    secret = settings.launch_webhook_secret or (LAUNCH_WEBHOOK_SECRET if is_this_machine(url) else "")
    if not secret:
        return failed(
            f"LAUNCH_WEBHOOK_SECRET is not set: {url} takes no launch that is not signed with it.", EXIT_BAD_SETTINGS
        )
    token_in, _, token_out = options.pair.partition("/")
    try:
        with Client(url, retries=RETRIES) as client:
            taken = client.launch(
                secret=secret,
                pool=options.pool,
                token_in=token_in,
                token_out=token_out or None,
                venue=options.venue,
            )
    except Refused as refused:
        fields = (f"  {name}: {what}" for name, what in refused.errors.items())
        return failed("\n".join([f"{refused.detail} (status {refused.status})", *fields]))
    except (OrderEngineError, ValueError) as error:
        return failed(error)
    woken = f"{taken.orders_woken} {'order was' if taken.orders_woken == 1 else 'orders were'} woken"
    print(f"{options.pair} launched in pool {options.pool}: {woken}.")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.launch", description=__doc__)
    parser.add_argument("pair", help="tokenIn/tokenOut, or tokenIn alone when it trades against anything")
    parser.add_argument("--pool", required=True, help="the pool's name or address")
    parser.add_argument("--venue", help="the venue it trades on, such as raydium")
    parser.add_argument("--url", type=_address, help="the engine's address; by default the stack on this machine")
    return parser.parse_args(arguments)


def _address(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text} does not begin with http:// or https://")
    return text


if __name__ == "__main__":
    sys.exit(main())

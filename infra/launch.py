"""Announce a launch: ``python -m infra.launch WIF/USDC --pool 7YttLkHDo… --url http://localhost:3000``.

Whoever watches the chain for new pools posts such a signed webhook; this stands in for them. On a stack of this
machine the token needs a price as well, or its pool has none: ``python -m infra.market WIF/USDC 2.5``.
"""

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from http.client import HTTPException
from ipaddress import ip_address
from urllib.parse import urlsplit
from uuid import uuid4

from chalicelib.config import load_settings
from chalicelib.exact_json import encode_json
from chalicelib.orders.launch import Launch
from chalicelib.web.signatures import sign
from infra.commands import EXIT_BAD_SETTINGS, failed
from infra.local.settings_file import local_environment
from infra.local.stack import LAUNCH_WEBHOOK_SECRET

PATIENCE_SECONDS = 30


class LaunchError(Exception):
    """The launch was not taken; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    options = _options(arguments)
    settings = load_settings(local_environment())
    url = options.url or f"http://localhost:{settings.port}"
    secret = settings.launch_webhook_secret or (LAUNCH_WEBHOOK_SECRET if _is_this_machine(url) else "")
    if not secret:
        return failed(
            f"LAUNCH_WEBHOOK_SECRET is not set: {url} takes no launch that is not signed with it.", EXIT_BAD_SETTINGS
        )
    token_in, _, token_out = options.pair.partition("/")
    launch = Launch(pool=options.pool, token_in=token_in, token_out=token_out or None, venue=options.venue)
    try:
        woken = post_launch(url, launch, secret, datetime.now(UTC))
    except LaunchError as error:
        return failed(error)
    print(
        f"{options.pair} launched in pool {launch.pool}: {woken} {'order was' if woken == 1 else 'orders were'} woken."
    )
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.launch", description=__doc__)
    parser.add_argument("pair", help="tokenIn/tokenOut, or tokenIn alone when it trades against anything")
    parser.add_argument("--pool", required=True, help="the pool's name or address")
    parser.add_argument("--venue", help="the venue it trades on, such as raydium")
    parser.add_argument("--url", type=_address, help="the engine's address; by default the stack on this machine")
    return parser.parse_args(arguments)


def post_launch(url: str, launch: Launch, secret: str, now: datetime) -> int:
    """Sign a launch and post it to the engine at ``url``; returns how many orders it woke.

    Raises:
        LaunchError: nobody answers there, the launch is refused, or the secret cannot sign.
    """
    body = encode_json(launch)
    try:
        headers = sign(secret, f"msg_{uuid4().hex}", int(now.timestamp()), body)
    except ValueError as unusable:
        raise LaunchError(f"The launch cannot be signed: {unusable}.") from unusable
    address = f"{url.rstrip('/')}/api/launches"
    request = urllib.request.Request(  # noqa: S310 - the operator's own command opens what the operator names
        address, body, {"Content-Type": "application/json", **headers}
    )
    try:
        with _opener(url).open(request, timeout=PATIENCE_SECONDS) as answer:
            return int(json.load(answer)["ordersWoken"])
    except urllib.error.HTTPError as refused:
        raise LaunchError(_refusal(refused.code, refused.read())) from refused
    except OSError as unreachable:
        reason = getattr(unreachable, "reason", unreachable)
        raise LaunchError(
            f"{address} cannot be reached: {getattr(reason, 'strerror', None) or reason}."
        ) from unreachable
    except (HTTPException, ValueError, LookupError, TypeError) as strange:
        raise LaunchError(f"What answers at {address} is not the engine: {strange!r}.") from strange


def _opener(url: str) -> urllib.request.OpenerDirector:
    # A proxy from the user's environment knows nothing of this machine's loopback.
    proxies: dict[str, str] | None = {} if _is_this_machine(url) else None
    return urllib.request.build_opener(urllib.request.ProxyHandler(proxies))


def _refusal(status: int, body: bytes) -> str:
    """Write why the engine refused: its problem, and each field that was wrong on a line of its own."""
    try:
        problem = json.loads(body)
        fields = [f"  {name}: {what}" for name, what in problem.get("errors", {}).items()]
        return "\n".join([f"{problem['detail']} (status {status})", *fields])
    except (ValueError, LookupError, AttributeError):
        return f"The launch was refused with status {status}: {body.decode(errors='replace')[:500]}"


def _address(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text} does not begin with http:// or https://")
    return text


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    sys.exit(main())

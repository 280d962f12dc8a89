"""Ask a deployed engine how it is: ``python -m infra.health --stage prod``. Both pipelines end with it."""

import argparse
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.clock import Clock
from infra.cloud import add_target_options, named_target
from infra.commands import failed

PATIENCE_SECONDS = 60.0
"""A new version's first calls are cold starts, and a load balancer or a cache may still know the old one."""
PAUSE_SECONDS = 0.5
ANSWER_SECONDS = 30.0
QUOTED_CHARACTERS = 2000


class Unwell(Exception):
    """The engine did not become well in time; the message quotes what it answered last."""


def wait_until_well(url: str, clock: Clock, *, proxied: bool) -> None:
    """Ask the engine at ``url`` again and again until it says that it is well.

    Raises:
        Unwell: it does not say so in time.
    """
    deadline = clock.seconds() + PATIENCE_SECONDS
    while complaint := complaint_of(url, proxied=proxied):
        if clock.seconds() >= deadline:
            raise Unwell(f"The engine is not well. {url}/health answers: {complaint}")
        clock.sleep(PAUSE_SECONDS)


def complaint_of(url: str, *, proxied: bool) -> str | None:
    """Ask the engine at ``url`` how it is and return what it answers, or None when it is well.

    Args:
        url: Its address, without a slash at the end.
        proxied: Whether a proxy that the user's environment names leads there; none does to this machine's loopback.
    """
    proxies: dict[str, str] | None = None if proxied else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    try:
        with opener.open(f"{url}/health", timeout=ANSWER_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code} {error.read().decode(errors='replace')[:QUOTED_CHARACTERS]}"
    except OSError as error:
        return str(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask the engine that the command line names; returns the exit code: 0 when it is well."""
    parser = argparse.ArgumentParser(prog="python -m infra.health", description="Ask a deployed engine how it is.")
    add_target_options(parser, default_stage=None)
    target = named_target(parser.parse_args(arguments))
    try:
        url = target.addresses(target.outputs()).rest
        wait_until_well(url, Clock(), proxied=not target.emulated)
    except (BotoCoreError, ClientError, Unwell) as error:
        return failed(f"{target.stack} at {target.place}: {error}")
    print(f"{target.stack} is well: {url}/health")
    return 0


if __name__ == "__main__":
    sys.exit(main())

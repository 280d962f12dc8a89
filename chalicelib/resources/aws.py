"""Clients of AWS services that give up quickly, and one error for all that goes wrong with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from chalicelib.resources import ResourceUnavailable

_making_a_client = Lock()
"""Many threads may use a client, but boto3 lets only one at a time make one."""


def aws_client(service: str, seconds: float, attempts: int, endpoint_url: str | None = None) -> Any:
    """Return this process's client of a service; a call takes ``seconds`` at most, ``attempts`` times."""
    with _making_a_client:
        return _make_client(service, seconds, attempts, endpoint_url)


@cache
def _make_client(service: str, seconds: float, attempts: int, endpoint_url: str | None) -> Any:
    """Open a client that gives up quickly: a worker that waits for a dead endpoint holds one of the ten slots."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=seconds,
        read_timeout=seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=16,
        # As one text: by itself botocore puts its own together anew, twice for each request.
        user_agent="order-execution-engine",
        # A request that is wrong AWS refuses as well; ours are the same few each time.
        parameter_validation=False,
    )
    return boto3.client(service, endpoint_url=endpoint_url, config=config)


@contextmanager
def as_unavailable(part: str) -> Iterator[None]:
    """Turn what botocore raises when a part does not answer into ``ResourceUnavailable``."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except BotoCoreError as error:
        raise ResourceUnavailable(part, error) from error
    except ClientError as error:
        if error.response["Error"]["Code"] in ("GoneException", "410"):
            raise
        raise ResourceUnavailable(part, error) from error

"""AWS's services: signed requests over connections that are kept, and one error for all that goes wrong with them.

Three services are asked for seven things, each of them one POST or DELETE of a few bytes. boto3, which can ask for
anything, takes a quarter of a second of each cold start for that and half a millisecond of a processor for each
message; ``docs/benchmarks.md`` has what is left without it. So of it only the signature remains, in
``aws_signature``, and what carries its requests as well: urllib3.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from chalicelib.exact_json import decode_json, encode_json
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.aws_signature import Credentials, signed_headers

if TYPE_CHECKING:
    import urllib3

USER_AGENT = "order-execution-engine"
CONNECTIONS = 16
"""How many a process keeps to one host: threads send side by side."""
LONGEST_PAUSE_SECONDS = 0.05
"""Before a request is sent again; chance says how much of it, so that not all come at once."""
MAY_PASS = frozenset({429, 500, 502, 503, 504})
"""Statuses after which the same request may be answered."""
THROTTLED = frozenset({"ThrottlingException", "Throttling", "RequestThrottled", "RequestThrottledException"})
"""Names of refusals for which the same holds; their status is 400."""
LONGEST_REASON = 200
"""Characters: a refused signature is explained by the whole of the request, and what was sent with it."""
FIRST_REFUSAL = 300
"""Statuses from here on are none of success; nobody is followed elsewhere."""


class AwsRefused(ResourceUnavailable):
    """A service answered, and not with what it was asked for."""

    def __init__(self, part: str, status: int, reason: str) -> None:
        super().__init__(part, f"{reason} (HTTP {status})")
        self.status = status


@dataclass(frozen=True)
class Request:
    """A request as it is sent; ``seconds`` is how long a connection may take, and then an answer."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    seconds: float


class Response(NamedTuple):
    """What came back."""

    status: int
    body: bytes


@dataclass(frozen=True, kw_only=True)
class AwsService:
    """A service, and how patiently it is asked: a worker that waits for a dead one holds one of the ten slots.

    ``name`` is what a signature calls it. A connection, and then an answer, gets ``seconds``, and that ``attempts``
    times. Keys and region are the environment's, where Lambda puts them.
    """

    part: str
    """What errors call it: what AWS does, where that is in ``AWS_ENDPOINT_URL_…``."""
    name: str
    seconds: float
    attempts: int

    def address(self, of_aws: str = "") -> str:
        """Return where the service is: where the environment says so, as every SDK reads it, or else at AWS's own.

        ``of_aws`` is AWS's own where that is known; by default it is the one that all of the region share.
        """
        configured = os.environ.get(f"AWS_ENDPOINT_URL_{self.part.upper().replace(' ', '_')}")
        return configured or os.environ.get("AWS_ENDPOINT_URL") or of_aws or self._address_in_region()

    def send(self, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
        """Send one request, whose URL has a path and no query, and return the body of its answer.

        Raises:
            ResourceUnavailable: the service does not answer, or (``AwsRefused``) not with a success.
        """
        for _ in range(self.attempts - 1):
            try:
                status, answer = self._send_once(method, url, body, headers or {})
            except ResourceUnavailable:
                pass
            else:
                if status not in MAY_PASS and not (status >= FIRST_REFUSAL and _refusal(answer)[0] in THROTTLED):
                    break
            time.sleep(random.uniform(0, LONGEST_PAUSE_SECONDS))  # noqa: S311 - nothing to guess
        else:
            status, answer = self._send_once(method, url, body, headers or {})
        if status >= FIRST_REFUSAL:
            raise AwsRefused(self.part, status, ": ".join(filter(None, _refusal(answer)))[:LONGEST_REASON])
        return answer

    def ask(self, url: str, target: str, version: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Call an operation of a service that speaks JSON; ``target`` is ``Service.Operation``.

        The protocol: https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html

        Raises:
            ResourceUnavailable: the service does not answer, or (``AwsRefused``) not with a success.
        """
        headers = {"content-type": f"application/x-amz-json-{version}", "x-amz-target": target}
        # An operation that has nothing to tell, such as ChangeMessageVisibility, answers with an empty body.
        answer = _object(self.send("POST", f"{url.rstrip('/')}/", encode_json(parameters), headers) or b"{}")
        if answer is None:
            raise ResourceUnavailable(self.part, "its answer is not a JSON object")
        return answer

    def _send_once(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Response:
        address = urlsplit(url)
        signed = signed_headers(
            self._credentials(),
            self._region(),
            self.name,
            datetime.now(UTC),
            method=method,
            host=address.netloc,
            path=address.path,
            headers=headers,
            body=body,
        )
        request = Request(method, url, {"user-agent": USER_AGENT, **signed}, body, self.seconds)
        return exchange(request, self.part)

    def _credentials(self) -> Credentials:
        return Credentials(
            self._setting("AWS_ACCESS_KEY_ID"),
            self._setting("AWS_SECRET_ACCESS_KEY"),
            os.environ.get("AWS_SESSION_TOKEN"),
        )

    def _address_in_region(self) -> str:
        region = self._region()
        return f"https://{self.name}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"

    def _region(self) -> str:
        """Return the region; on Lambda both variables have it, elsewhere the first is what botocore reads."""
        return os.environ.get("AWS_DEFAULT_REGION") or self._setting("AWS_REGION")

    def _setting(self, name: str) -> str:
        value = os.environ.get(name)
        if not value:
            raise ResourceUnavailable(self.part, f"{name} is not set; Lambda sets it, elsewhere whoever starts us")
        return value


def exchange(request: Request, part: str) -> Response:
    """Send a signed request, once, and return what comes back.

    Raises:
        ResourceUnavailable: nothing comes back.
    """
    from urllib3 import Timeout
    from urllib3.exceptions import HTTPError

    try:
        answer = connections().request(
            request.method,
            request.url,
            body=request.body,
            headers=request.headers,
            timeout=Timeout(connect=request.seconds, read=request.seconds),
            retries=False,
            redirect=False,
        )
    except (HTTPError, ValueError) as error:
        raise ResourceUnavailable(part, error) from error
    return Response(answer.status, answer.data)


@cache
def connections() -> urllib3.PoolManager:
    """Return this process's connections, which are opened when they are first used.

    They share what TLS trusts: reading that takes tens of milliseconds, which a new connection must not cost.
    """
    import ssl

    import urllib3

    return urllib3.PoolManager(maxsize=CONNECTIONS, ssl_context=ssl.create_default_context())


def _refusal(answer: bytes) -> tuple[str, str]:
    """Return a refusal's name and what it says, as far as it is in JSON."""
    told = _object(answer)
    if told is None:
        return "", answer[:LONGEST_REASON].decode(errors="replace")
    return str(told.get("__type", "")).rpartition("#")[2], str(told.get("message") or told.get("Message") or "")


def _object(answer: bytes) -> dict[str, Any] | None:
    """Read a JSON object; None if it is something else."""
    try:
        told = decode_json(answer)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None

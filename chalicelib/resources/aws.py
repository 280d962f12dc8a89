"""AWS's services: signed requests over connections that are kept, and one error for all that goes wrong with them.

Three services are asked for eight things, all of them one POST or DELETE of a few bytes. boto3, which can ask for
anything, takes a quarter of a second of each cold start for that and half a millisecond of a processor for each
message; ``docs/benchmarks.md`` has what is left without it. So of it only the signature remains, in
``aws_signature``, and what carries its requests as well: urllib3.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from chalicelib.exact_json import decode_json, encode_json
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.aws_signature import Credentials, signed_headers

if TYPE_CHECKING:
    import urllib3

CONNECTIONS = 16
"""How many a process keeps to one host: threads send side by side."""
MAY_PASS = frozenset({429, 500, 502, 503, 504})
"""Statuses after which the same request may be answered, as botocore's standard mode has them."""


class AwsRefused(ResourceUnavailable):
    """A service answered, and not with what it was asked for."""

    def __init__(self, part: str, status: int, reason: str) -> None:
        super().__init__(part, f"{reason} (HTTP {status})")
        self.status = status


class Request(NamedTuple):
    """A request as it is sent, with how long each of its waits may take and how often it may be sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    attempts: int


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
    """What errors call it, and AWS itself."""
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
        address = urlsplit(url)
        signed = signed_headers(
            self._credentials(),
            self._region(),
            self.name,
            datetime.now(UTC),
            method=method,
            host=address.netloc,
            path=address.path,
            headers=headers or {},
            body=body,
        )
        status, answer = exchange(Request(method, url, signed, body, self.seconds, self.attempts), self.part)
        if status >= 300:
            raise AwsRefused(self.part, status, _reason(answer))
        return answer

    def ask(self, url: str, target: str, version: str, parameters: Mapping[str, Any]) -> Any:
        """Call an operation of a service that speaks JSON; ``target`` is ``Service.Operation``.

        The protocol: https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html

        Raises:
            ResourceUnavailable: the service does not answer, or (``AwsRefused``) not with a success.
        """
        headers = {"content-type": f"application/x-amz-json-{version}", "x-amz-target": target}
        answer = self.send("POST", f"{url.rstrip('/')}/", encode_json(parameters), headers)
        try:
            return decode_json(answer or b"{}")
        except ValueError as error:
            raise ResourceUnavailable(self.part, f"its answer is not JSON: {error}") from error

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
        return os.environ.get("AWS_REGION") or self._setting("AWS_DEFAULT_REGION")

    def _setting(self, name: str) -> str:
        value = os.environ.get(name)
        if not value:
            raise ResourceUnavailable(self.part, f"{name} is not set; Lambda sets it, elsewhere whoever starts us")
        return value


def exchange(request: Request, part: str) -> Response:
    """Send a signed request and return what comes back.

    A connection that has died unseen, while the process was frozen, is replaced.

    Raises:
        ResourceUnavailable: nothing comes back.
    """
    from urllib3 import Retry, Timeout
    from urllib3.exceptions import HTTPError

    again = Retry(
        request.attempts - 1,
        allowed_methods=None,
        status_forcelist=MAY_PASS,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    try:
        answer = connections().request(
            request.method,
            request.url,
            body=request.body,
            headers=request.headers,
            timeout=Timeout(connect=request.seconds, read=request.seconds),
            retries=again,
            redirect=False,
        )
    except HTTPError as error:
        raise ResourceUnavailable(part, error) from error
    return Response(answer.status, answer.data)


@cache
def connections() -> urllib3.PoolManager:
    """Return this process's connections, which are opened when they are first used."""
    import urllib3

    return urllib3.PoolManager(maxsize=CONNECTIONS)


def _reason(answer: bytes) -> str:
    """Return what a service says of a refusal, as far as it says it in JSON."""
    try:
        told = decode_json(answer)
    except ValueError:
        return answer[:200].decode(errors="replace")
    if not isinstance(told, dict):
        return str(told)[:200]
    kind = str(told.get("__type", "")).rpartition("#")[2]
    return ": ".join(filter(None, (kind, str(told.get("message") or told.get("Message") or ""))))

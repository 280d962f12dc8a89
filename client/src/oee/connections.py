"""What both clients tell httpx and websockets, and how they name what goes wrong there."""

from typing import Any

import httpx
from websockets.exceptions import InvalidStatus, WebSocketException

from oee import address
from oee.errors import Unreachable
from oee.steps import Exchange, HandshakeRefused
from oee.version import VERSION

USER_AGENT = f"order-execution-client/{VERSION}"
CLOSE_SECONDS = 1.0
LARGEST_MESSAGE = 1024 * 1024
"""In bytes; API Gateway passes on 128 KB at most."""
CONNECT_ERRORS = (OSError, WebSocketException)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


def http_options(url: str) -> dict[str, Any]:
    """Return what an HTTP client is made with."""
    return {
        "base_url": url,
        "headers": {"User-Agent": USER_AGENT, "Accept": "application/json, application/problem+json"},
        "trust_env": not address.is_this_machine(url),
        "follow_redirects": False,  # a token is for this address and no other
    }


def request_options(step: Exchange) -> dict[str, Any]:
    """Return what a request is made with."""
    authorization = {} if step.token is None else {"Authorization": f"Bearer {step.token}"}
    return {
        "method": step.request.method,
        "url": step.request.path,
        "params": step.request.query or None,
        "content": step.request.body,
        "headers": {**step.request.headers, **authorization},
        "timeout": step.timeout,
    }


def request_failed(error: httpx.TransportError, url: str, timeout: float) -> Unreachable:
    """Say why there is no answer to a request."""
    timed_out = isinstance(error, httpx.TimeoutException)
    reason = f"there was no answer within {timeout:g} s" if timed_out else _told(error)
    return address.unreachable(url, reason, is_uncertain=not isinstance(error, _NEVER_SENT))


def websocket_options(url: str, timeout: float) -> dict[str, Any]:
    """Return what a WebSocket connection is made with."""
    return {
        "open_timeout": timeout,
        "close_timeout": CLOSE_SECONDS,
        "max_size": LARGEST_MESSAGE,
        "user_agent_header": USER_AGENT,
        "proxy": None if address.is_this_machine(url) else True,
    }


def connection_failed(error: Exception, url: str) -> Exception:
    """Say why there is no WebSocket connection."""
    if isinstance(error, InvalidStatus):
        return HandshakeRefused(error.response.status_code)
    return address.unreachable(url, _told(error))


def _told(error: BaseException) -> str:
    """Return the reason in few words: the system's, where it is behind the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            # asyncio puts the address before it; both name the same error.
            return "connection refused" if isinstance(cause, ConnectionRefusedError) else cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error).rstrip(".") or type(error).__name__

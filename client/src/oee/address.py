"""Where the engine is: one address for REST, and one for WebSocket, which is beside it unless one is named."""

from ipaddress import ip_address
from urllib.parse import urlsplit, urlunsplit

from oee.errors import Unreachable


def base_url(url: str) -> str:
    """Return the REST API's address without a slash at its end.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an engine's address; expected is one such as http://localhost:3000")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{parts.scheme}://{parts.hostname}… is to have no user, query or fragment")
    return url.rstrip("/")


def websocket_base(websocket_url: str) -> str:
    """Return the WebSocket API's address without a query.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(websocket_url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"{websocket_url!r} is not a WebSocket's address; expected is one such as wss://host/ws")
    return urlunsplit(parts._replace(query="", fragment=""))


def beside(base: str) -> str:
    """Return where the WebSocket API is when both have one host, as on a laptop and behind CloudFront."""
    return f"ws{base.removeprefix('http')}/ws"


def as_answered(base: str, websocket_url: str) -> str | None:
    """Return the address that the engine's own answer names; None where it names none, or one that gives TLS up."""
    try:
        named = websocket_base(websocket_url)
    except ValueError:
        return None
    return None if base.startswith("https:") and not named.startswith("wss:") else named


def is_this_machine(url: str) -> bool:
    """Return whether an address is on loopback, of which a proxy from the environment knows nothing."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def unreachable(url: str, reason: str, *, is_uncertain: bool = False) -> Unreachable:
    """Say that nobody answers at an address, and what to do; ``is_uncertain``: a request may have arrived."""
    base = urlunsplit(urlsplit(url)._replace(query=""))
    if is_this_machine(url):
        todo = "If the engine is to run on this machine, run `make run` first, in another terminal."
    else:
        todo = "Check the address and the network, and whether the engine is up."
    return Unreachable(f"{base} cannot be reached: {reason}. {todo}", is_uncertain=is_uncertain)

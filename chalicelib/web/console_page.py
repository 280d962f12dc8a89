"""The console: a page that trades through the same API as everybody, and the files it is made of (``console/``).

The files are served under a path that has a hash over all of them in it, so they may be kept for good, and a page
never meets files of another release. What the page has to know of this engine stands in it as JSON; nothing of that is
a secret, so page and files need no token. Every address in it is relative: it works behind any stage and any host.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from string import Template
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from chalicelib.config import Settings
from chalicelib.exact_json import encode_json
from chalicelib.orders.tokens import TOKENS
from chalicelib.streaming.viewers import MOST_ORDERS
from chalicelib.web.answers import Answer
from chalicelib.web.console_bundle import script_of, stylesheet_of
from chalicelib.web.problems import RequestError, shown

FOLDER = Path(__file__).parent / "console"
PAGE = "index.html"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
STYLESHEETS = ("theme.css", "layout.css", "parts.css")
"""In this order: a later one has the last word."""
SCRIPT = "main.js"
"""The module that imports the others."""
KEPT_FOR_GOOD = "public, max-age=31536000, immutable"


class Assets(NamedTuple):
    """The files of the console by name, those that the page loads among them, and what all are called together."""

    version: str
    files: Mapping[str, str]


@cache
def assets() -> Assets:
    """Return the files of the console, read once a process; the page loads the merged ones and the icon."""
    files = {path.name: path.read_text("utf-8") for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES}
    files["console.css"] = stylesheet_of(files, STYLESHEETS)
    files["console.js"] = script_of(files, SCRIPT)
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0{content}".encode())
    return Assets(digest.hexdigest()[:16], files)


def console_asset(version: str, name: str) -> Answer:
    """Return a file of the console.

    Raises:
        RequestError: 404, this release has no such file.
    """
    known = assets()
    if version != known.version or name not in known.files:
        raise RequestError(
            HTTPStatus.NOT_FOUND, f"There is no file {shown(name)} of the console's version {shown(version)}."
        )
    media_type = f"{MEDIA_TYPES[Path(name).suffix]}; charset=utf-8"
    headers = {"Content-Type": media_type, "Cache-Control": KEPT_FOR_GOOD}
    return Answer(known.files[name].encode(), headers=headers)


def console_page(settings: Settings, path: str, query: Mapping[str, str]) -> Answer:
    """Return the page, for who asks for it at ``path``, which begins with the stage where there is one.

    A relative address stands for another one where the path has no slash at its end, so that is put right first.
    """
    if not path.endswith("/"):
        location = f"{path.rpartition('/')[2]}/" + (f"?{urlencode(query)}" if query else "")
        return Answer(b"", HTTPStatus.PERMANENT_REDIRECT, {"Location": location})
    page = Template((FOLDER / PAGE).read_text("utf-8")).substitute(
        version=assets().version,
        settings=_data_block(_told(settings)),
    )
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": _security_policy(settings)}
    return Answer(page.encode(), headers=headers)


def _told(settings: Settings) -> dict[str, object]:
    """Return what the page is told of this engine."""
    takes_tokens = settings.auth_mode == "jwt"
    return {
        "authMode": settings.auth_mode,
        "webSocketUrl": settings.websocket_url,
        "subscriptions": MOST_ORDERS,
        "tokens": {token.symbol: token.decimals for token in TOKENS.values()},
        "signIn": {
            "issuer": settings.auth_issuer,
            "clientId": settings.console_client_id,
            "scopes": settings.console_scopes,
            # Some issuers make a token for the API only if they are told which: Auth0 does, others pass over it.
            "audience": settings.auth_audience[0],
        }
        if takes_tokens
        else None,
    }


def _data_block(value: object) -> str:
    """Write JSON that a page may hold: nothing in it ends the element that it stands in."""
    return encode_json(value).decode().replace("<", "\\u003c")


def _security_policy(settings: Settings) -> str:
    """Return what the page may do: run and show its own files, and speak with the engine and the issuer."""
    speaks_with = ["'self'", _origin(settings.websocket_url)]
    if settings.auth_mode == "jwt":
        speaks_with += [_origin(settings.auth_issuer), settings.console_token_origin]
    directives = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": " ".join(dict.fromkeys(filter(None, speaks_with))),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in directives.items())


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

"""An OIDC issuer on loopback: publishes its keys over HTTP, and signs whatever tokens a test asks for.

A browser signs in there as well, as a public client with PKCE (RFC 7636): whoever comes is let in, without a question.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

AUDIENCE = "https://engine.example"
CONFIGURATION = "/.well-known/openid-configuration"
JWKS = "/keys"
AUTHORIZE = "/authorize"
TOKEN = "/token"
CLIENT_ID = "console"
ANY_PAGE = {"Access-Control-Allow-Origin": "*"}


@cache
def private_key(name: str) -> RSAPrivateKey:
    """Return a key of this name, the same each time: making one takes longer than most tests."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(name: str, **members: Any) -> dict[str, Any]:
    """Return the public half of a key as an issuer publishes it."""
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(private_key(name).public_key(), as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, "kid": name, "use": "sig", "alg": "RS256", **members}


class Grant(NamedTuple):
    """What a code is good for, once."""

    redirect_uri: str
    challenge: str


class LocalIssuer:
    """An issuer whose keys, and whose answers, a test changes while it runs."""

    def __init__(self) -> None:
        self.keys: list[Any] = [public_jwk("first")]
        self.asked: list[str] = []
        """The paths that were asked for."""
        self.instead: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        """What is answered to a path in place of what it holds: status, body and headers."""
        self.signs_in = "ann"
        """Who sits before the browser."""
        self.token_lives_for = 3600
        """In seconds."""
        self.sign_ins: list[dict[str, str]] = []
        """What was asked of the authorization endpoint."""
        self._grants: dict[str, Grant] = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                issuer.asked.append(path)
                self._send(issuer.authorize(dict(parse_qsl(query))) if path == AUTHORIZE else issuer.answer(path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                issuer.asked.append(self.path)
                found = self.path in issuer.instead or self.path != TOKEN
                self._send(issuer.answer(self.path) if found else issuer.exchange(dict(parse_qsl(body))))

            def _send(self, answer: tuple[int, bytes, dict[str, str]]) -> None:
                status, body, headers = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def settings(self) -> dict[str, str]:
        """The settings of an engine that takes this issuer's tokens."""
        return {"AUTH_MODE": "jwt", "AUTH_ISSUER": self.url, "AUTH_AUDIENCE": AUDIENCE}

    def answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        documents: dict[str, Any] = {
            CONFIGURATION: {
                "issuer": self.url,
                "jwks_uri": self.url + JWKS,
                "authorization_endpoint": self.url + AUTHORIZE,
                "token_endpoint": self.url + TOKEN,
            },
            JWKS: {"keys": self.keys},
        }
        if path in self.instead:
            return self.instead[path]
        return (200, json.dumps(documents[path]).encode(), ANY_PAGE) if path in documents else (404, b"", {})

    def authorize(self, asked: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """Let whoever is there in, and send the browser back with a code; nothing is sent back to a wrong client."""
        self.sign_ins.append(asked)
        if asked.get("client_id") != CLIENT_ID or asked.get("audience") != AUDIENCE:
            return (400, b"not a client of mine", {})
        if asked.get("response_type") != "code" or asked.get("code_challenge_method") != "S256":
            return (400, b"only codes, and only with S256", {})
        code = secrets.token_urlsafe()
        self._grants[code] = Grant(asked["redirect_uri"], asked["code_challenge"])
        back = urlencode({"code": code, "state": asked["state"], "iss": self.url})
        return (302, b"", {"Location": f"{asked['redirect_uri']}?{back}"})

    def exchange(self, asked: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """Give a token for a code, once, to whom it was made for: who knows what the challenge was made of."""
        grant = self._grants.pop(asked.get("code", ""), None)
        digest = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        good = asked.get("grant_type") == "authorization_code" and asked.get("client_id") == CLIENT_ID
        if not good or grant != Grant(asked.get("redirect_uri", ""), proof):
            return (400, json.dumps({"error": "invalid_grant"}).encode(), ANY_PAGE)
        token = self.token(self.signs_in, exp=int(time.time()) + self.token_lives_for)
        granted = {"access_token": token, "token_type": "Bearer", "expires_in": self.token_lives_for}
        return (200, json.dumps(granted).encode(), ANY_PAGE)

    def fails(self) -> None:
        """Answer nothing but errors from now on."""
        self.instead = {CONFIGURATION: (503, b"", {}), JWKS: (503, b"", {})}

    def claims(self, user: str = "u1", **changes: Any) -> dict[str, Any]:
        """Return the claims of a good token; one that is changed to None is left out."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": user, "iat": now, "exp": now + 3600}
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def token(
        self,
        user: str = "u1",
        *,
        key: Any = None,
        kid: str | None = "first",
        algorithm: str = "RS256",
        headers: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Sign a token with the first key, unless the test names another."""
        header = {**({"kid": kid} if kid is not None else {}), **(headers or {})}
        signing = private_key("first") if key is None else key
        return jwt.encode(self.claims(user, **changes), signing, algorithm, header)

    def bearer(self, user: str = "u1", **changes: Any) -> str:
        """Return what a client sends in the header ``Authorization``."""
        return f"Bearer {self.token(user, **changes)}"

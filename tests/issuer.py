"""An OIDC issuer on loopback: publishes its keys over HTTP, and signs whatever tokens a test asks for."""

import json
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

AUDIENCE = "https://engine.example"
CONFIGURATION = "/.well-known/openid-configuration"
JWKS = "/keys"


@cache
def private_key(name: str) -> RSAPrivateKey:
    """Return a key of this name, the same each time: making one takes longer than most tests."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(name: str, **members: Any) -> dict[str, Any]:
    """Return the public half of a key as an issuer publishes it."""
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(private_key(name).public_key(), as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, "kid": name, "use": "sig", "alg": "RS256", **members}


class LocalIssuer:
    """An issuer whose keys, and whose answers, a test changes while it runs."""

    def __init__(self) -> None:
        self.keys: list[Any] = [public_jwk("first")]
        self.asked: list[str] = []
        """The paths that were asked for."""
        self.instead: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        """What is answered to a path in place of what it holds: status, body and headers."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                status, body, headers = issuer.answer(self.path)
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
            CONFIGURATION: {"issuer": self.url, "jwks_uri": self.url + JWKS},
            JWKS: {"keys": self.keys},
        }
        if path in self.instead:
            return self.instead[path]
        return (200, json.dumps(documents[path]).encode(), {}) if path in documents else (404, b"", {})

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

"""An OIDC issuer: the public keys that its tokens are signed with.

Where they are is discovered (OpenID Connect Discovery 1.0, section 4), and they are kept. They are fetched again when
they are old, or when a token names a key that is not among them, because issuers replace their keys. Anybody can
write a token that names any key, so such a token must not cause a request each: after a fetch there is a cool-down.
While the issuer is down, the keys that are known go on being used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from chalicelib.clock import Clock
from chalicelib.exact_json import decode_json
from chalicelib.observability import logger
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.circuit_breaker import CircuitBreaker

PART = "the token issuer"
ISSUER_SECONDS = 1.5
"""How long each step of a request to the issuer is waited for."""
KEYS_SECONDS = 600.0
"""How old keys may get, and so how long a key that was withdrawn is still taken."""
COOL_DOWN_SECONDS = 30.0
"""How long no keys are fetched after they were, and so how long the tokens of a new key may be refused."""
LARGEST_ANSWER = 256 * 1024
DISCOVERY = "/.well-known/openid-configuration"


class SigningKey(NamedTuple):
    """A public key, and the one algorithm that the issuer says it is for, if it does."""

    public_key: Any
    algorithm: str | None


class Issuer:
    """The keys of one issuer, by their ids."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.url = url
        self._clock = clock
        self._circuit_breaker = CircuitBreaker(PART, clock)
        self._keys: dict[str, SigningKey] = {}
        self._fetched = self._tried = 0.0

    def key(self, key_id: str) -> SigningKey | None:
        """Return a key, or None when the issuer has no such key.

        Raises:
            ResourceUnavailable: the issuer does not answer, and no keys are known from before.
        """
        if not self._keys:
            self._circuit_breaker.check()
            self._fetch()
        elif self._is_due(key_id):
            try:
                self._fetch()
            except ResourceUnavailable as unavailable:
                logger.warning(f"tokens are checked with the keys from before: {unavailable}")
        return self._keys.get(key_id)

    def _is_due(self, key_id: str) -> bool:
        now = self._clock.seconds()
        wanted = key_id not in self._keys or now >= self._fetched + KEYS_SECONDS
        return wanted and now >= self._tried + COOL_DOWN_SECONDS

    def _fetch(self) -> None:
        from http.client import HTTPException

        self._tried = self._clock.seconds()
        try:
            keys = dict(_usable_keys(self._published()))
            if not keys:
                raise ValueError("it publishes no key that signs")
        except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
            self._circuit_breaker.trip()
            raise ResourceUnavailable(PART, f"{type(error).__name__}: {error}") from error
        self._keys, self._fetched = keys, self._tried

    def _published(self) -> list[Any]:
        """Return the keys as the issuer publishes them (RFC 7517, section 5)."""
        configuration = _get(self.url.removesuffix("/") + DISCOVERY)
        if configuration["issuer"] != self.url:
            raise ValueError(f"it writes itself {configuration['issuer']!r}, and AUTH_ISSUER is {self.url!r}")
        address = configuration["jwks_uri"]
        # Whoever is trusted over https must not send us on to what anybody on the way can change.
        if urlsplit(address).scheme not in ("https", urlsplit(self.url).scheme):
            raise ValueError(f"its jwks_uri {address!r} is not an https URL")
        keys = _get(address)["keys"]
        if not isinstance(keys, list):
            raise TypeError("its keys are not a list")
        return keys


def _usable_keys(published: list[Any]) -> Iterator[tuple[str, SigningKey]]:
    """Pick the keys that sign, with their ids; what else an issuer publishes is none of our business."""
    from jwt import PyJWK, PyJWTError

    for key in published:
        if not isinstance(key, Mapping) or not isinstance(key.get("kid"), str):
            continue
        if key.get("use", "sig") != "sig" or key.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        try:
            yield key["kid"], SigningKey(PyJWK(dict(key)).key, key.get("alg"))
        except PyJWTError as unusable:
            logger.warning(f"the issuer publishes a key that cannot be used: {type(unusable).__name__}")


def _get(url: str) -> Any:
    """Fetch a JSON document from where it is said to be, and from nowhere else."""
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class StayHere(HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    request = Request(url, headers={"Accept": "application/json"})  # noqa: S310 - the issuer's https, or what it names
    with build_opener(StayHere).open(request, timeout=ISSUER_SECONDS) as answer:
        text = answer.read(LARGEST_ANSWER + 1)
    if len(text) > LARGEST_ANSWER:
        raise ValueError(f"{url} has more than {LARGEST_ANSWER} bytes")
    return decode_json(text)

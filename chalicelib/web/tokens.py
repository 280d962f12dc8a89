"""Tokens: JWTs (RFC 7519) of one OIDC issuer, as access tokens (RFC 9068) or as Cognito and Auth0 write them.

What a token is checked with is decided here, never by the token: it names a key by its id, and that is all it has a
say in. Why one is refused is said in words of ours, because a token, and what a forged one holds, has no business in
a log.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.resources.issuer import Issuer
from chalicelib.web.identity import Caller

if TYPE_CHECKING:
    from jwt import PyJWTError

LEEWAY_SECONDS = 10
"""How far the issuer's clock may be from ours."""
LONGEST_USER = 255
"""As long as an issuer may make a subject: OpenID Connect Core 1.0, section 2."""
LATEST_EXPIRY = 253_402_300_799
"""The last second of the year 9999: a later one is no time, and may have thousands of digits."""
REQUIRED_CLAIMS = ["iss", "sub", "exp", "iat"]


class TokenRefused(Exception):
    """A token is not taken; the message says why, without a word of it."""


@dataclass(frozen=True, kw_only=True)
class TokenVerifier:
    """Says whose a token is."""

    issuer: Issuer
    audience: Collection[str]
    algorithms: Collection[str]

    def prepare(self) -> None:
        """Load what checking a token needs."""
        import jwt  # noqa: F401

    def verify(self, authorization: str) -> Caller:
        """Return whose token the header ``Authorization`` holds, what it allows, and until when.

        Raises:
            TokenRefused: it holds none that is good.
            ResourceUnavailable: the issuer's keys are not known, and cannot be had now.
        """
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenRefused("the header Authorization does not hold a Bearer token")
        claims = self._claims(token.strip())
        self._check_purpose(claims)
        user_id = claims["sub"]
        if not 1 <= len(user_id) <= LONGEST_USER or not user_id.isprintable():
            raise TokenRefused(f"its subject is not of 1 to {LONGEST_USER} printable characters")
        expires_at = int(claims["exp"])
        if expires_at > LATEST_EXPIRY:
            raise TokenRefused("it expires after the year 9999")
        return Caller(user_id=user_id, scopes=_scopes(claims), expires_at=expires_at)

    def _claims(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that the issuer signed, and that is valid now."""
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            algorithm, key_id = header.get("alg"), header.get("kid")
            if algorithm not in self.algorithms:
                raise TokenRefused("it is not signed with an algorithm that is allowed")
            if not isinstance(key_id, str):
                raise TokenRefused("it does not say which key it is signed with")
            key = self.issuer.key(key_id)
            if key is None or key.algorithm not in (None, algorithm):
                raise TokenRefused("the issuer has no such key")
            claims: dict[str, Any] = jwt.decode(
                token,
                key.public_key,
                algorithms=list(self.algorithms),
                issuer=self.issuer.url,
                leeway=LEEWAY_SECONDS,
                # The audience may stand in one of two claims: see _check_purpose.
                options={"require": REQUIRED_CLAIMS, "verify_aud": False, "enforce_minimum_key_length": True},
            )
        except jwt.PyJWTError as wrong:
            raise TokenRefused(_why(wrong)) from None
        except (ValueError, TypeError, ArithmeticError):
            # A key of another kind than the algorithm's, or JSON that only looks like a token's.
            raise TokenRefused("it is malformed, or not signed as it says") from None
        return claims

    def _check_purpose(self, claims: Mapping[str, Any]) -> None:
        """Refuse a token that was made for somebody else, or for something else.

        Cognito's access tokens have no audience; whom they were made for is their ``client_id``. Its ID tokens do, but
        tell a client who its user is, and are no permission to trade:
        https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-verifying-a-jwt.html
        """
        audience = claims["aud"] if "aud" in claims else claims.get("client_id")
        meant_for = audience if isinstance(audience, list) else [audience]
        if not any(name in self.audience for name in meant_for if isinstance(name, str)):
            raise TokenRefused("it is meant for another audience")
        if claims.get("token_use", "access") != "access":
            raise TokenRefused("it is no access token")


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return what a token allows: RFC 8693 has a text, ``scope``; others ``scp``, and Auth0's roles ``permissions``.

    Only a space parts two scopes (RFC 6749, 3.3). One with other white space in it is dropped: whoever reads it later
    would take it for two.
    """
    scopes: set[str] = set()
    for name in ("scope", "scp", "permissions"):
        value = claims.get(name)
        listed = value.split(" ") if isinstance(value, str) else value if isinstance(value, list) else []
        scopes.update(scope for scope in listed if isinstance(scope, str) and scope.split() == [scope])
    return frozenset(scopes)


def _why(wrong: "PyJWTError") -> str:
    import jwt

    match wrong:
        case jwt.ExpiredSignatureError():
            return "it has expired"
        case jwt.ImmatureSignatureError():
            return "it is not valid yet"
        case jwt.InvalidIssuerError():
            return "it is of another issuer"
        case jwt.MissingRequiredClaimError():
            return f"it lacks the claim {wrong.claim}"
        case jwt.InvalidSignatureError():
            return "its signature does not fit"
    return f"it is malformed ({type(wrong).__name__})"

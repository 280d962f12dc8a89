"""What the authorizer needs, put together apart from the engine.

Every client waits for it, once a minute and token, and it checks a token with no database, no Redis and no venue:
loading those would be the larger part of its start.
"""

from functools import cache

from chalicelib.clock import Clock
from chalicelib.config import Settings, current_settings
from chalicelib.observability import conceal
from chalicelib.resources.issuer import Issuer
from chalicelib.web.tokens import TokenVerifier


def make_verifier(settings: Settings, clock: Clock) -> TokenVerifier:
    """Return what checks tokens by these settings."""
    return TokenVerifier(
        issuer=Issuer(settings.auth_issuer, clock),
        audience=settings.auth_audience,
        algorithms=settings.auth_algorithms,
    )


@cache
def token_verifier() -> TokenVerifier:
    """Return this process's verifier."""
    settings = current_settings()
    conceal(settings.secrets)
    return make_verifier(settings, Clock())

"""Signature Version 4, which tells AWS who sends a request and that nobody has changed it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html has the steps. What is
signed here has no query, and its path is not S3's, so a path is encoded once more than it is sent.
"""

import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials(NamedTuple):
    """Whose request it is; ``session_token`` comes with keys that are good for a time, as all of a function are."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id})"


def signed_headers(
    credentials: Credentials,
    region: str,
    service: str,
    at: datetime,
    *,
    method: str,
    host: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
) -> dict[str, str]:
    """Return ``headers``, with lower-case names, and those that make the request a signed one.

    ``path`` is as it is sent, ``host`` with its port where that is not the scheme's own, ``at`` in UTC.
    """
    moment = at.strftime("%Y%m%dT%H%M%SZ")
    day = moment[:8]
    signed = {**headers, "host": host, "x-amz-date": moment}
    if credentials.session_token:
        signed["x-amz-security-token"] = credentials.session_token
    names = sorted(signed)
    listed = ";".join(names)
    canonical = "\n".join(
        [
            method,
            quote(path, safe="/~"),
            "",
            *[f"{name}:{' '.join(signed[name].split())}" for name in names],
            "",
            listed,
            sha256(body).hexdigest(),
        ]
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = f"{_ALGORITHM}\n{moment}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    key = _signing_key(credentials.secret_access_key, day, region, service)
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    signed["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope}, SignedHeaders={listed}, Signature={signature}"
    )
    return signed


@lru_cache(maxsize=8)
def _signing_key(secret_access_key: str, day: str, region: str, service: str) -> bytes:
    """Return the key of a day, a region and a service; the secret itself signs nothing."""
    key = f"AWS4{secret_access_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key

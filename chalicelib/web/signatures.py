"""Signed webhooks, as the Standard Webhooks specification has them (https://www.standardwebhooks.com).

A message carries three headers: ``webhook-id``, ``webhook-timestamp`` (Unix seconds) and ``webhook-signature``, a list
of ``v1,<base64>`` signatures, more than one while a secret is being replaced. What is signed is
``id.timestamp.body``, by HMAC-SHA256. A secret is ``whsec_`` and the key in base64; any other text is its own key.

An id must not hold a point: ``a.1`` sent at 2 and ``a`` sent at 1 would be signed alike, and whoever recorded the one
could send it again under the id of the other.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus

from chalicelib.web.problems import RequestError, shown

TOLERANCE_SECONDS = 300
"""How old a message may be, and how far the sender's clock may be ahead."""
PREFIX = "whsec_"
LONGEST_ID = 256


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that a message is sent with; ``timestamp`` is in Unix seconds.

    Raises:
        ValueError: the secret holds no key.
    """
    signature = base64.b64encode(_digest(secret, message_id, str(timestamp), body)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """Return the id of a message that was signed with ``secret`` at most five minutes before or after ``now``.

    ``headers`` are looked up in lower case.

    Raises:
        RequestError: 401, saying which header is missing or wrong.
        ValueError: the secret holds no key, so that anybody could sign with it.
    """
    message_id = _header(headers, "webhook-id")
    if len(message_id) > LONGEST_ID or not message_id.isprintable() or "." in message_id:
        raise _refused(
            f"webhook-id is {shown(message_id)}; expected are 1 to {LONGEST_ID} printable characters, no point"
        )
    timestamp = _header(headers, "webhook-timestamp")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise _refused(f"webhook-timestamp is {shown(timestamp)}; expected are Unix seconds")
    signatures = _header(headers, "webhook-signature")
    expected = _digest(secret, message_id, timestamp, body)
    if not any(hmac.compare_digest(expected, given) for given in _v1_signatures(signatures)):
        raise _refused("webhook-signature does not fit the message and the secret")
    age = now.timestamp() - int(timestamp)
    if abs(age) > TOLERANCE_SECONDS:
        where = "ago" if age > 0 else "ahead"
        raise _refused(f"webhook-timestamp is {abs(age):.1f} s {where}; at most {TOLERANCE_SECONDS} s are allowed")
    return message_id


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "").strip()
    if not value:
        raise _refused(f"the header {name} is missing")
    return value


def _v1_signatures(header: str) -> list[bytes]:
    """Return the decoded signatures of version 1; what cannot be decoded signs nothing."""
    signatures = []
    for part in header.split():
        version, _, encoded = part.partition(",")
        if version == "v1":
            # Most of what is wrong here is binascii.Error, which is a ValueError as well.
            with suppress(ValueError):
                signatures.append(base64.b64decode(encoded, validate=True))
    return signatures


def _digest(secret: str, message_id: str, timestamp: str, body: bytes) -> bytes:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return hmac.new(_key(secret), signed, hashlib.sha256).digest()


def _key(secret: str) -> bytes:
    if secret.startswith(PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except ValueError as wrong:
            raise ValueError(f"what follows {PREFIX} in the webhook secret is not base64") from wrong
    else:
        key = secret.encode()
    if not key:
        raise ValueError("the webhook secret holds no key")
    return key


def _refused(why: str) -> RequestError:
    return RequestError(HTTPStatus.UNAUTHORIZED, f"The launch is not signed as it should be: {why}.")

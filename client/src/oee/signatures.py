"""Signs what webhooks say, after the Standard Webhooks specification (https://www.standardwebhooks.com).

Three headers go with a message: ``webhook-id``, ``webhook-timestamp`` in Unix seconds, and ``webhook-signature``, which
is an HMAC-SHA256 of ``id.timestamp.body``. A secret is ``whsec_`` and the key in base64; any other text is its own key.
"""

import base64
import hashlib
import hmac

PREFIX = "whsec_"


def signature_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers with which ``body`` is sent.

    Raises:
        ValueError: the secret holds no key.
    """
    digest = hmac.new(_key(secret), f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _key(secret: str) -> bytes:
    if not secret.startswith(PREFIX):
        key = secret.encode()
    else:
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except ValueError as wrong:
            raise ValueError(f"the secret cannot be used: what follows {PREFIX} is not base64") from wrong
    if not key:
        raise ValueError("the secret cannot be used: it holds no key")
    return key

"""Secrets Manager: passwords, which the environment only names.

A secret is read when it is first needed and kept. Its rotation is noticed where the old password is refused: who meets
that asks for the new one. So a rotation costs one more call a process, and no call asks again for nothing.
"""

from chalicelib.clock import Clock
from chalicelib.exact_json import decode_json
from chalicelib.observability import conceal
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.aws import AwsService

_SECRETS_MANAGER = AwsService(part="Secrets Manager", name="secretsmanager", seconds=1.5, attempts=2)
PASSWORDS = ("password", "authToken")
"""What the secrets of Postgres and Redis call it."""
RENEWAL_PAUSE_SECONDS = 5.0
"""A password that is wrong, and not only old, must not cause a call to Secrets Manager with every order."""


class Secret:
    """One secret, by its ARN."""

    def __init__(self, arn: str, clock: Clock) -> None:
        self._arn = arn
        self._clock = clock
        self._text: str | None = None
        self._read_at = 0.0

    def read(self) -> str:
        """Return the secret's text.

        Raises:
            ResourceUnavailable: Secrets Manager does not answer, or refuses.
        """
        if self._text is None:
            self._text = self._fetch()
        return self._text

    def renew(self) -> bool:
        """Read it again, unless that was done a moment ago; says whether it has changed.

        Raises:
            ResourceUnavailable: Secrets Manager does not answer, or refuses.
        """
        if self._clock.seconds() < self._read_at + RENEWAL_PAUSE_SECONDS:
            return False
        before, self._text = self._text, self._fetch()
        return self._text != before

    def _fetch(self) -> str:
        self._read_at = self._clock.seconds()
        address, operation = _SECRETS_MANAGER.address(), "secretsmanager.GetSecretValue"
        text = _SECRETS_MANAGER.ask(address, operation, "1.1", {"SecretId": self._arn}).get("SecretString")
        if not isinstance(text, str):
            raise ResourceUnavailable("Secrets Manager", f"{self._arn} holds no text")
        conceal(_passwords(text))
        return text


def _passwords(text: str) -> list[str]:
    """Return what of a secret must not be read: all of it, or if it is JSON with other things in it the password."""
    try:
        parts = decode_json(text)
    except ValueError:
        return [text]
    return [parts[name] for name in PASSWORDS if name in parts] if isinstance(parts, dict) else [text]

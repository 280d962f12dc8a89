"""Secrets Manager: passwords, which the environment only names.

A secret is read when it is first needed and kept. Its rotation is noticed where the old password is refused: who meets
that asks for the new one. So a rotation costs one more call a process, and no call asks again for nothing.
"""

from chalicelib.clock import Clock
from chalicelib.resources.aws import as_unavailable, aws_client

SECRETS_SECONDS = 1.5
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
        with as_unavailable("Secrets Manager"):
            client = aws_client("secretsmanager", SECRETS_SECONDS, 2)
            return str(client.get_secret_value(SecretId=self._arn)["SecretString"])

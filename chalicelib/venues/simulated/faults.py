"""How the simulated venues and their chain misbehave: set in a table while they run, read by every process."""

import msgspec

from chalicelib.clock import Clock
from chalicelib.resources.postgres import Database

REREAD_SECONDS = 1.0

_READ = """
    SELECT quote_fails, dropped, lands_failed, lands_late, answer_lost, transaction_lifetime
    FROM simulated_faults
"""


class FaultRates(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of 1, and the lifetime of a transaction in seconds.

    A quote fails; a transaction that was sent is dropped, lands with an error, or lands five times as late; its
    sender gets no answer although it was taken.
    """

    quote_fails: float = 0.0
    dropped: float = 0.0
    lands_failed: float = 0.0
    lands_late: float = 0.0
    answer_lost: float = 0.0
    transaction_lifetime: float = 60.0
    """As long as a Solana blockhash lasts: about 150 slots of 0.4 s."""


class Faults:
    """The current fault rates, about a second old at most."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._rates = FaultRates()
        self._read_at: float | None = None

    def rates(self) -> FaultRates:
        """Return the rates, read again when they are older than a second."""
        now = self._clock.seconds()
        if self._read_at is None or now - self._read_at >= REREAD_SECONDS:
            rows = self._database.run(_READ, {})
            self._rates = FaultRates(**rows[0]) if rows else FaultRates()
            self._read_at = now
        return self._rates

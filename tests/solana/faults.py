"""What may happen to a transaction between the one who sends it and the chain, for a test to choose from.

What goes wrong with a whole node (down, behind, rate-limiting, answers that are lost) is set on the server: see
tests/solana/rpc_server.py.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dropped:
    """The node took it and no leader got it, until it has been sent again so often."""

    resends: int = 1


@dataclass(frozen=True)
class Expiring:
    """It is never taken into a block, however often it is sent."""


@dataclass(frozen=True)
class Late:
    """It lands so many blocks later than it could; its blockhash has to last that long."""

    blocks: int


@dataclass(frozen=True)
class Failing:
    """It lands and its swap fails with this error of the program; the fee is paid. Only what swaps can fail so."""

    code: int = 6005


@dataclass(frozen=True)
class Duplicated:
    """The network brings the same bytes to the leader twice."""


@dataclass(frozen=True)
class SlowlyConfirmed:
    """It lands at once and stays `processed` for so many blocks more than others do."""

    blocks: int


Fault = Dropped | Expiring | Late | Failing | Duplicated | SlowlyConfirmed

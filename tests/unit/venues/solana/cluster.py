"""A cluster that holds accounts, answers from them, and notes what it was asked: no network, no chain."""

import struct
from collections.abc import Sequence

from solders.pubkey import Pubkey

from chalicelib.resources.solana_rpc import Account, Blockhash, ProgramQuery, Simulation
from chalicelib.venues.solana.clusters import SPL_TOKEN
from chalicelib.venues.solana.pool import CLOCK, address_at

A_TIME = 1_800_000_045
"""Of the chain, when most of the measured swaps were executed."""
SYSVAR = "Sysvar1111111111111111111111111111111111111"
BLOCKHASH = Blockhash("4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi", 1150)


class Cluster:
    """Stands in for ``SolanaRpc``."""

    def __init__(self, *holds: dict[str, Account]) -> None:
        clock = struct.pack("<QqQQq", 7, 0, 1, 1, A_TIME)
        self.holds = {CLOCK: Account(SYSVAR, 1, clock)}
        for accounts in holds:
            self.holds |= accounts
        self.asked: list[str] = []
        self.refuses: Exception | None = None
        self.finds = True
        self.simulation = Simulation(None, 50_000, ())
        self.fees: list[int] = []
        self.simulated: list[bytes] = []

    def program_accounts(self, queries: Sequence[ProgramQuery]) -> list[list[tuple[str, Account]]]:
        self.asked.append("find")
        if self.refuses:
            raise self.refuses
        return [
            [(address, account) for address, account in self.holds.items() if self.finds and _matches(account, query)]
            for query in queries
        ]

    def accounts(self, addresses: Sequence[str]) -> list[Account | None]:
        self.asked.append("read")
        assert len(set(addresses)) == len(addresses)
        return [self.holds.get(address) for address in addresses]

    def blockhash_and_fees(self, writable: Sequence[str]) -> tuple[Blockhash, list[int]]:
        self.asked.append("blockhash")
        return BLOCKHASH, self.fees

    def simulate(self, transaction: bytes) -> Simulation:
        self.asked.append("simulate")
        self.simulated.append(transaction)
        return self.simulation


def a_mint(decimals: int, program: str = SPL_TOKEN) -> Account:
    """Return a mint without extensions as its program writes it."""
    data = bytearray(82)
    data[44:46] = bytes([decimals, 1])
    return Account(program, 1, bytes(data))


def an_address(number: int) -> str:
    return str(Pubkey.from_bytes(bytes([number] * 32)))


def _matches(account: Account, query: ProgramQuery) -> bool:
    return (
        account.owner == query.program
        and len(account.data) == query.size
        and all(address_at(account.data, offset) == mint for offset, mint in query.at)
    )

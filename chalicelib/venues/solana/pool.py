"""What the pools of real venues have in common: how they are found, read, priced and swapped in.

An ``Amm`` knows one program: which accounts are its pools and what their bytes say. A ``LivePool`` is one pool as it
stood when its accounts were read. Amounts are whole base units (``int``): both programs calculate in integers, and a
quote is what the program itself would say, to the unit. They are amounts at the pool: what a Token-2022 mint keeps of
a transfer is taken off before and after (``token_programs.TransferFee``).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from chalicelib.resources.solana_rpc import Account, ProgramQuery
from chalicelib.venues.venue import SwapRefused

U64_MAX = 2**64 - 1
U128_MAX = 2**128 - 1
CLOCK = "SysvarC1ock11111111111111111111111111111111"
"""The address of the account that holds the chain's time."""

_CLOCK_SYSVAR = struct.Struct("<QqQQq")
_ADDRESS_BYTES = 32


class Moment(NamedTuple):
    """The chain's own time, by which pools open and fees fall; never this machine's clock."""

    slot: int
    unix_timestamp: int
    epoch: int

    @classmethod
    def read(cls, data: bytes) -> Moment:
        """Read the account at ``CLOCK``.

        Raises:
            ValueError: these are not the bytes of a clock.
        """
        if len(data) != _CLOCK_SYSVAR.size:
            raise ValueError(f"The chain's clock has {len(data)} bytes, not {_CLOCK_SYSVAR.size}")
        slot, _epoch_start, epoch, _leader_schedule_epoch, unix_timestamp = _CLOCK_SYSVAR.unpack(data)
        return cls(slot, unix_timestamp, epoch)


class NotYetOpen(SwapRefused):
    """The pool opens later, at a time that its bytes say: what a sniper waits for."""


class SwapAccounts(NamedTuple):
    """Who swaps and between which token accounts; the pool itself knows the rest."""

    payer: str
    source: str
    destination: str
    input_mint: str
    output_mint: str
    input_program: str
    output_program: str


class RecordedSwap(NamedTuple):
    """What a swap's instruction says of itself: enough to find what it moved among a transaction's balances."""

    program: str
    pool: str
    wallet: str
    source: str
    destination: str
    input_mint: str
    output_mint: str
    input_vault: str
    output_vault: str


class LivePool(Protocol):
    """One pool as it stood when it was read."""

    @property
    def address(self) -> str: ...

    @property
    def mints(self) -> tuple[str, str]: ...

    @property
    def fee(self) -> Decimal:
        """What the pool keeps of a swap, as a fraction; the same in both directions."""

    def check_open(self, moment: Moment) -> None:
        """Do nothing if the pool takes swaps at ``moment``, and is of a kind that is covered.

        Raises:
            NotYetOpen: it opens later; the message says when.
            SwapRefused: it is disabled, or what it does was never measured; the message names the pool and the reason.
        """

    def reserve(self, mint: str) -> int:
        """Return what the pool has of a mint to swap."""

    def mid_price(self, base_mint: str) -> tuple[int, int]:
        """Return units of the other mint per unit of ``base_mint``, as an exact ratio."""

    def amount_out(self, input_mint: str, amount_in: int) -> int:
        """Return what the pool gives for ``amount_in``.

        Raises:
            SwapRefused: the program would refuse it, or give nothing.
        """

    def amount_in(self, input_mint: str, amount_out: int) -> int:
        """Return the smallest input for which the pool gives at least ``amount_out``.

        Raises:
            SwapRefused: it never gives so much.
        """

    def swap(self, accounts: SwapAccounts, amount_in: int, amount_out: int, *, exact_out: bool) -> Instruction:
        """Return the instruction that spends ``amount_in`` for at least ``amount_out``.

        With ``exact_out`` it receives exactly ``amount_out`` for at most ``amount_in`` (see ``Amm.exact_out``). Both
        are amounts of the wallet: what it sends, before a mint's transfer fee, and what it receives, after it.
        """


class Amm(Protocol):
    """A program whose pools swap, as it is deployed in one cluster."""

    @property
    def name(self) -> str:
        """The venue's name on the wire."""

    @property
    def program(self) -> str: ...

    @property
    def exact_out(self) -> bool:
        """Whether its pools swap for an exact output."""

    def queries(self, mint_a: str, mint_b: str) -> tuple[ProgramQuery, ...]:
        """Return what finds all pools of two mints, in whichever order a pool has them."""

    def needs(self, address: str, pool_data: bytes) -> tuple[str, ...]:
        """Return the accounts that ``live`` reads besides the pool; a pool's never change."""

    def depth(self, pool_data: bytes) -> int:
        """Return a measure of what a pool holds, to keep the deepest of many; 0 for one that is empty.

        Anybody can open pools, and those kept are all that is looked at. So it must not be had for less than it says.
        """

    def live(self, address: str, accounts: Mapping[str, Account], moment: Moment) -> LivePool:
        """Read a pool from its account and those that it ``needs``.

        Raises:
            SwapRefused: an account is missing, or is not what it should be.
        """


def divide_up(numerator: int, denominator: int) -> int:
    """Divide and round up, as programs do in the pool's favour."""
    return -(-numerator // denominator)


def address_at(data: bytes, offset: int) -> str:
    """Read an address from an account's bytes."""
    return str(Pubkey.from_bytes(data[offset : offset + _ADDRESS_BYTES]))


def side_of(pool: LivePool, mint: str) -> int:
    """Return which of the pool's two mints this is: 0 or 1."""
    if mint not in pool.mints:
        raise ValueError(f"Pool {pool.address} swaps {pool.mints[0]} and {pool.mints[1]}, not {mint}")
    return pool.mints.index(mint)


def check_amount(where: str, amount: int) -> None:
    """Refuse an amount that no token account can hold, or that is none."""
    if not 0 < amount <= U64_MAX:
        raise SwapRefused(f"{where}: an amount of {amount} base units cannot be swapped; allowed are 1 to {U64_MAX}")


def pool_account(where: str, account: Account | None, *, program: str, discriminator: bytes, size: int) -> bytes:
    """Return the bytes of a program's account, once they are known to be what they are read as.

    Raises:
        SwapRefused: there is no such account, another program owns it, or it is of another kind.
    """
    if account is None:
        raise SwapRefused(f"{where} does not exist")
    if account.owner != program:
        raise SwapRefused(f"{where} belongs to the program {account.owner}, not to {program}")
    if len(account.data) < size or not account.data.startswith(discriminator):
        raise SwapRefused(
            f"{where} is of another kind: {len(account.data)} bytes that start with {account.data[:8].hex()}, "
            f"not {size} that start with {discriminator.hex()}"
        )
    return account.data


def read_only(address: str) -> AccountMeta:
    return AccountMeta(Pubkey.from_string(address), is_signer=False, is_writable=False)


def writable(address: str) -> AccountMeta:
    return AccountMeta(Pubkey.from_string(address), is_signer=False, is_writable=True)


def signer(address: str) -> AccountMeta:
    """Return an account that must sign; one that pays a transaction's fee is writable in it anyway."""
    return AccountMeta(Pubkey.from_string(address), is_signer=True, is_writable=False)


def swap_data(discriminator: bytes, first: int, second: int) -> bytes:
    """Return an instruction's data: which one it is, and two amounts.

    Raises:
        ValueError: an amount is out of range.
    """
    for amount in (first, second):
        if not 0 <= amount <= U64_MAX:
            raise ValueError(f"An amount of {amount} base units does not fit into a swap; allowed are 0 to {U64_MAX}")
    return discriminator + struct.pack("<QQ", first, second)


def time_text(unix_timestamp: int) -> str:
    """Write a Unix time for people; one beyond the calendar stays a number."""
    try:
        return f"{datetime.fromtimestamp(unix_timestamp, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return f"Unix time {unix_timestamp}"

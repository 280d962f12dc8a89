"""Mints and token accounts of the two token programs: SPL Token and Token-2022.

A Token-2022 mint may carry extensions, which follow its 165 bytes as type, length and value (SPL Token-2022,
``extension/mod.rs``). One of them takes a fee of every transfer; others let somebody else move, freeze or run code on
what a wallet has, and a swap of such a token is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from solders.pubkey import Pubkey

from chalicelib.resources.solana_rpc import Account
from chalicelib.venues.solana.clusters import SOL, SPL_TOKEN, TOKEN_2022
from chalicelib.venues.solana.pool import U64_MAX, Moment, address_at, divide_up
from chalicelib.venues.venue import SwapRefused

TOKEN_PROGRAMS = (SPL_TOKEN, TOKEN_2022)
ASSOCIATED_TOKEN_PROGRAM = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"  # noqa: S105 - an address
WRAPPED_SOL = SOL.mint
"""The mint of SOL in token accounts; its program is SPL Token."""
TOKEN_ACCOUNT_BYTES = 165
"""A token account without extensions, such as one that holds wrapped SOL."""

_MINT_BYTES = 82
_MINT_KIND, _ACCOUNT_KIND = 1, 2
BASIS_POINTS = 10_000
_TRANSFER_FEE = struct.Struct("<QQH")
_NO_ADDRESS = bytes(32)


class TransferFee(NamedTuple):
    """What a mint keeps of each transfer: so many basis points, at most ``cap`` base units."""

    basis_points: int
    cap: int

    def on(self, amount: int) -> int:
        """Return the fee of a transfer of ``amount``: ``min(⌈amount·bps / 10⁴⌉, cap)``."""
        return min(divide_up(amount * self.basis_points, BASIS_POINTS), self.cap)

    def after(self, amount: int) -> int:
        """Return what arrives of ``amount``."""
        return amount - self.on(amount)

    def before(self, amount: int) -> int:
        """Return the smallest transfer of which at least ``amount`` arrives.

        Raises:
            SwapRefused: nothing that fits into a token account would do.
        """
        # Below the cap ⌊x·(10⁴ − bps) / 10⁴⌋ arrives, and from it on x − cap: whichever gives enough first.
        sent = amount + self.cap
        if self.basis_points < BASIS_POINTS:
            sent = min(sent, divide_up(amount * BASIS_POINTS, BASIS_POINTS - self.basis_points))
        if sent > U64_MAX:
            raise SwapRefused(
                f"With a transfer fee of {self.basis_points} basis points, {amount} base units never arrive"
            )
        return sent


NO_FEE = TransferFee(0, 0)


@dataclass(frozen=True, kw_only=True)
class Mint:
    """A token as its program knows it."""

    address: str
    program: str
    decimals: int
    older_fee: TransferFee = NO_FEE
    newer_fee: TransferFee = NO_FEE
    newer_from_epoch: int = 0

    @classmethod
    def read(cls, address: str, account: Account | None) -> Mint:
        """Read a mint's account.

        Raises:
            SwapRefused: there is no such mint, or it has an extension that swaps do not support.
        """
        where = f"Mint {address}"
        data = _token_data(where, account)
        program = account.owner if account else ""
        extensible = program == TOKEN_2022 and len(data) > TOKEN_ACCOUNT_BYTES
        is_mint = data[TOKEN_ACCOUNT_BYTES] == _MINT_KIND if extensible else len(data) == _MINT_BYTES
        if not is_mint:
            raise SwapRefused(f"{where} is no mint of the program {program}: it has {len(data)} bytes")
        decimals, initialized = data[44], data[45]
        if not initialized:
            raise SwapRefused(f"{where} is not initialized")
        fees = _check_extensions(where, data) if extensible else None
        if fees is None:
            return cls(address=address, program=program, decimals=decimals)
        _, older_cap, older_points = _TRANSFER_FEE.unpack_from(fees, 72)
        newer_from, newer_cap, newer_points = _TRANSFER_FEE.unpack_from(fees, 90)
        return cls(
            address=address,
            program=program,
            decimals=decimals,
            older_fee=TransferFee(older_points, older_cap),
            newer_fee=TransferFee(newer_points, newer_cap),
            newer_from_epoch=newer_from,
        )

    def transfer_fee(self, moment: Moment) -> TransferFee:
        """Return the fee of this epoch: one that was changed takes effect two epochs later."""
        return self.newer_fee if moment.epoch >= self.newer_from_epoch else self.older_fee


class TokenAccount(NamedTuple):
    """What a wallet, or a pool, holds of one mint."""

    mint: str
    owner: str
    amount: int

    @classmethod
    def read(cls, address: str, account: Account | None) -> TokenAccount:
        """Read a token account.

        Raises:
            SwapRefused: there is no such token account, or it is frozen.
        """
        where = f"Token account {address}"
        data = _token_data(where, account)
        if len(data) < TOKEN_ACCOUNT_BYTES or (
            len(data) > TOKEN_ACCOUNT_BYTES and data[TOKEN_ACCOUNT_BYTES] != _ACCOUNT_KIND
        ):
            raise SwapRefused(f"{where} is no token account: it has {len(data)} bytes")
        state = data[108]
        if state != 1:
            raise SwapRefused(f"{where} is {'frozen' if state == 2 else 'not initialized'}")
        return cls(address_at(data, 0), address_at(data, 32), int.from_bytes(data[64:72], "little"))


def associated_account(wallet: str, mint: str, program: str) -> str:
    """Return where a wallet keeps a mint; ``program`` is the mint's own, and derives another address than the other."""
    seeds = [bytes(Pubkey.from_string(part)) for part in (wallet, program, mint)]
    return str(Pubkey.find_program_address(seeds, Pubkey.from_string(ASSOCIATED_TOKEN_PROGRAM))[0])


def _token_data(where: str, account: Account | None) -> bytes:
    if account is None:
        raise SwapRefused(f"{where} does not exist")
    if account.owner not in TOKEN_PROGRAMS:
        raise SwapRefused(f"{where} belongs to the program {account.owner}, which is no token program")
    return account.data


_TRANSFER_FEE_CONFIG = 1
_TRANSFER_HOOK = 14
_HARMLESS = {
    _TRANSFER_FEE_CONFIG: "transfer fee",
    3: "mint close authority",  # only a mint without supply can be closed
    10: "interest-bearing",
    18: "metadata pointer",
    19: "token metadata",
    20: "group pointer",
    21: "token group",
    22: "group member pointer",
    23: "token group member",
    25: "scaled UI amount",
}
"""What changes nothing in base units but the transfer fee, which is calculated.

Interest and scaled amounts are only how a wallet shows a balance.
"""
_REFUSED = {
    4: "confidential transfers",
    6: "default account state",  # a new token account may be frozen
    9: "non-transferable",
    12: "permanent delegate",  # may take what was bought
    _TRANSFER_HOOK: "transfer hook",  # needs accounts that a swap does not give
    16: "confidential transfer fee",
    24: "confidential minting and burning",
    26: "pausable",
    28: "permissioned burn",
}


def _check_extensions(where: str, data: bytes) -> bytes | None:
    """Refuse a mint with an extension that makes a swap unsafe or impossible; return its transfer fees, if any."""
    fees = None
    for kind, value in _extensions(where, data):
        if kind == _TRANSFER_FEE_CONFIG:
            fees = value
        if kind in _HARMLESS or (kind == _TRANSFER_HOOK and value[:64] == _NO_ADDRESS * 2):
            continue  # A hook without a program and without anybody who may set one is none.
        name = _REFUSED.get(kind, "an unknown one")
        raise SwapRefused(f"{where} has the Token-2022 extension {kind} ({name}), which swaps do not support")
    return fees


def _extensions(where: str, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Read type, length and value one after the other, up to the end or the first type 0."""
    offset = TOKEN_ACCOUNT_BYTES + 1
    while offset + 4 <= len(data):
        kind, length = struct.unpack_from("<HH", data, offset)
        if kind == 0:
            return
        value = data[offset + 4 : offset + 4 + length]
        if len(value) < length:
            raise SwapRefused(f"{where}: its extension {kind} says {length} bytes, but {len(value)} follow")
        yield kind, value
        offset += 4 + length

"""The bytes of Solana's accounts, as the programs that own them lay them out: mints, token accounts, both AMMs' pools.

Written for the tests from the programs' published layouts, and apart from what the engine reads them with: if one of
the two is mistaken, they disagree.
"""

import struct
from dataclasses import dataclass
from math import isqrt
from typing import NamedTuple

from solders.account import Account
from solders.pubkey import Pubkey

SYSTEM_PROGRAM = Pubkey.from_string("11111111111111111111111111111111")
TOKEN_PROGRAM = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022_PROGRAM = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ASSOCIATED_TOKEN_PROGRAM = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
COMPUTE_BUDGET_PROGRAM = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
WRAPPED_SOL = Pubkey.from_string("So11111111111111111111111111111111111111112")
SOL_DECIMALS = 9
LAMPORTS = 10**SOL_DECIMALS
MINT_BYTES = 82
TOKEN_ACCOUNT_BYTES = 165
LAMPORTS_A_BYTE = 6960
"""The rent that makes an account stay, a byte of its data and of 128 bytes besides."""

_TRANSFER_FEE_CONFIG = 1
_TRANSFER_FEE_AMOUNT = 2
_MINT_KIND = 1
_TOKEN_ACCOUNT_KIND = 2
_ONE = 1 << 64
_METEORA_MIN_SQRT_PRICE = 4295048016
_METEORA_MAX_SQRT_PRICE = 79226673521066979257578248091


def rent(size: int) -> int:
    """The lamports that an account with so many bytes has to hold."""
    return (size + 128) * LAMPORTS_A_BYTE


def owned_by(program: Pubkey, data: bytes, lamports: int | None = None) -> Account:
    return Account(rent(len(data)) if lamports is None else lamports, data, program, False, 0)


class TransferFee(NamedTuple):
    """What Token-2022 keeps of a transfer."""

    basis_points: int
    maximum: int

    def of(self, amount: int) -> int:
        """min(ceil(amount × basis points / 10⁴), maximum)."""
        return min(-(-amount * self.basis_points // 10_000), self.maximum)

    def before(self, received: int) -> int:
        """The fee of the smallest transfer that has this much arrive: Token-2022's calculate_inverse_fee."""
        if self.basis_points == 0:
            return 0
        if received == 0:
            return 0
        sent = -(-received * 10_000 // (10_000 - self.basis_points)) if self.basis_points < 10_000 else 0
        if self.basis_points == 10_000 or sent - received >= self.maximum:
            return self.maximum
        return self.of(sent)


class Mint(NamedTuple):
    """A token, as its mint says."""

    address: Pubkey
    program: Pubkey
    decimals: int
    older_fee: TransferFee | None = None
    newer_fee: TransferFee | None = None
    newer_fee_epoch: int = 0

    def fee_in(self, epoch: int) -> TransferFee:
        fee = self.newer_fee if epoch >= self.newer_fee_epoch else self.older_fee
        return fee or TransferFee(0, 0)

    def data(self, supply: int) -> bytes:
        basic = struct.pack("<I32sQBBI32s", 0, bytes(32), supply, self.decimals, 1, 0, bytes(32))
        if self.newer_fee is None:
            return basic
        older = self.older_fee or self.newer_fee
        config = bytes(64) + struct.pack(
            "<QQQHQQH", 0, 0, older.maximum, older.basis_points, self.newer_fee_epoch, *reversed(self.newer_fee)
        )
        extended = basic.ljust(TOKEN_ACCOUNT_BYTES, b"\0") + bytes([_MINT_KIND])
        return extended + struct.pack("<HH", _TRANSFER_FEE_CONFIG, len(config)) + config

    @staticmethod
    def read(address: Pubkey, account: Account) -> "Mint":
        data = account.data
        mint = Mint(address, account.owner, data[44])
        for kind, value in extensions(data):
            if kind == _TRANSFER_FEE_CONFIG:
                _, older_maximum, older_points, epoch, maximum, points = struct.unpack_from("<QQHQQH", value, 72)
                return mint._replace(
                    older_fee=TransferFee(older_points, older_maximum),
                    newer_fee=TransferFee(points, maximum),
                    newer_fee_epoch=epoch,
                )
        return mint


class TokenAccount(NamedTuple):
    """Somebody's tokens of one mint, in their base units."""

    mint: Pubkey
    owner: Pubkey
    amount: int
    program: Pubkey

    @staticmethod
    def read(account: Account) -> "TokenAccount | None":
        """What a token account says; None of an account that is none."""
        is_basic = len(account.data) == TOKEN_ACCOUNT_BYTES
        is_extended = len(account.data) > TOKEN_ACCOUNT_BYTES and account.data[TOKEN_ACCOUNT_BYTES] == 2
        if account.owner not in (TOKEN_PROGRAM, TOKEN_2022_PROGRAM) or not (is_basic or is_extended):
            return None
        mint, owner, amount = struct.unpack_from("<32s32sQ", account.data)
        return TokenAccount(Pubkey(mint), Pubkey(owner), amount, account.owner)


def extensions(data: bytes) -> list[tuple[int, bytes]]:
    """The extensions of a Token-2022 mint or token account, each with its type."""
    found = []
    offset = TOKEN_ACCOUNT_BYTES + 1
    while offset + 4 <= len(data):
        kind, size = struct.unpack_from("<HH", data, offset)
        if kind == 0:
            break
        found.append((kind, data[offset + 4 : offset + 4 + size]))
        offset += 4 + size
    return found


def token_account(mint: Mint, owner: Pubkey, amount: int) -> Account:
    """A token account that holds so much; one of wrapped SOL holds the lamports too."""
    is_native = mint.address == WRAPPED_SOL
    reserve = rent(TOKEN_ACCOUNT_BYTES)
    data = struct.pack(
        "<32s32sQI32sBIQQI32s",
        *(bytes(mint.address), bytes(owner), amount, 0, bytes(32), 1),
        *(int(is_native), reserve if is_native else 0, 0, 0, bytes(32)),
    )
    if mint.newer_fee is not None:
        data += bytes([_TOKEN_ACCOUNT_KIND]) + struct.pack("<HHQ", _TRANSFER_FEE_AMOUNT, 8, 0)
    return owned_by(mint.program, data, rent(len(data)) + amount if is_native else None)


def with_owner(account: Account, owner: Pubkey) -> Account:
    """The same token account with another owner of its tokens."""
    data = account.data[:32] + bytes(owner) + account.data[64:]
    return Account(account.lamports, data, account.owner, account.executable, account.rent_epoch)


def with_data(account: Account, data: bytes) -> Account:
    return Account(account.lamports, data, account.owner, account.executable, account.rent_epoch)


def associated_account(owner: Pubkey, mint: Mint) -> Pubkey:
    seeds = [bytes(owner), bytes(mint.program), bytes(mint.address)]
    return Pubkey.find_program_address(seeds, ASSOCIATED_TOKEN_PROGRAM)[0]


@dataclass(frozen=True)
class AmmConfig:
    """A fee tier of Raydium's CPMM; rates are millionths, of the trade and of its fee."""

    index: int = 0
    trade_fee_rate: int = 2500
    protocol_fee_rate: int = 120_000
    fund_fee_rate: int = 40_000

    def data(self) -> bytes:
        rates = struct.pack("<QQQQ", self.trade_fee_rate, self.protocol_fee_rate, self.fund_fee_rate, 0)
        head = bytes.fromhex("daf42168cbcb2b6f") + struct.pack("<BBH", 255, 0, self.index)
        return (head + rates).ljust(236, b"\0")


@dataclass(frozen=True)
class RaydiumPool:
    """A pool of Raydium's CPMM, as its account says it."""

    config: Pubkey
    vaults: tuple[Pubkey, Pubkey]
    mints: tuple[Mint, Mint]
    observation: Pubkey
    status: int = 0
    open_time: int = 0
    enable_creator_fee: bool = False
    fees_owed: tuple[int, int, int, int] = (0, 0, 0, 0)
    """To the protocol of mint 0 and 1, then to the fund."""

    def data(self) -> bytes:
        keys = (
            *(self.config, SYSTEM_PROGRAM, *self.vaults, SYSTEM_PROGRAM),
            *(mint.address for mint in self.mints),
            *(mint.program for mint in self.mints),
            self.observation,
        )
        numbers = struct.pack(
            "<5B7Q2B6x2Q",
            *(255, self.status, 9, self.mints[0].decimals, self.mints[1].decimals),
            *(0, *self.fees_owed, self.open_time, 0),
            *(0, self.enable_creator_fee, 0, 0),
        )
        return (bytes.fromhex("f7ede3f5d7c3de46") + b"".join(map(bytes, keys)) + numbers).ljust(637, b"\0")


@dataclass(frozen=True)
class DynamicFee:
    """Meteora's fee that grows with the price's movement: its parameters, and where the movement stands."""

    control: int = 40_000
    bin_step: int = 1
    max_volatility: int = 14_460_000
    filter_period: int = 10
    decay_period: int = 120
    reduction_factor: int = 5000
    volatility: int = 0

    def data(self, sqrt_price: int) -> bytes:
        head = struct.pack(
            "<B7xIIHHHHQ",
            *(1, self.max_volatility, self.control, self.bin_step),
            *(self.filter_period, self.decay_period, self.reduction_factor, 0),
        )
        bin_step = self.bin_step * _ONE // 10_000
        return head + b"".join(
            number.to_bytes(16, "little") for number in (bin_step, sqrt_price, self.volatility, self.volatility)
        )


@dataclass(frozen=True)
class MeteoraPool:
    """A pool of Meteora's DAMM v2 over the full range of prices, as its account says it."""

    mints: tuple[Mint, Mint]
    vaults: tuple[Pubkey, Pubkey]
    reserves: tuple[int, int]
    cliff_fee: int = 2_500_000
    fee_mode: int = 0
    periods: int = 0
    period_length: int = 0
    reduction: int = 0
    dynamic_fee: DynamicFee | None = None
    activation_point: int = 0
    activation_type: int = 1
    status: int = 0
    collect_mode: int = 0
    protocol_fee_percent: int = 20
    compounding_fee_bps: int = 0

    def data(self) -> bytes:
        a, b = self.reserves
        sqrt_price = isqrt((b << 128) // a)
        liquidity = isqrt(a * b) << 64
        data = bytearray(1112)
        data[:8] = bytes.fromhex("f19a6d0411b16dbc")
        struct.pack_into(
            "<QB5xHQQ", data, 8, self.cliff_fee, self.fee_mode, self.periods, self.period_length, self.reduction
        )
        struct.pack_into("<BBB3xH", data, 48, self.protocol_fee_percent, 0, 20, self.compounding_fee_bps)
        if self.dynamic_fee:
            data[56:152] = self.dynamic_fee.data(sqrt_price)
        keys = (*(mint.address for mint in self.mints), *self.vaults)
        data[168:296] = b"".join(map(bytes, keys))
        write_u128(data, 152, sqrt_price)
        write_u128(data, 360, liquidity)
        write_u128(data, 424, _METEORA_MIN_SQRT_PRICE)
        write_u128(data, 440, _METEORA_MAX_SQRT_PRICE)
        write_u128(data, 456, sqrt_price)
        flags = [int(mint.program == TOKEN_2022_PROGRAM) for mint in self.mints]
        struct.pack_into(
            "<Q7B", data, 472, self.activation_point, self.activation_type, self.status, *flags, self.collect_mode, 0, 1
        )
        struct.pack_into("<QQB", data, 680, a, b, 1)
        return bytes(data)


def read_u128(data: bytes | bytearray, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 16], "little")


def write_u128(data: bytearray, offset: int, number: int) -> None:
    data[offset : offset + 16] = number.to_bytes(16, "little")

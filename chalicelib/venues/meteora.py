"""Meteora's pools of the second generation (DAMM v2, ``cp-amm``).

Layouts and formulas were checked against the deployed program, executed in LiteSVM: to the unit and to the byte. Base
fees that depend on the amount or the price (modes 2 to 4) and swaps for an exact output (``swap2``) were not, so
they are refused and not used.

Prices are square roots in Q64.64, of token B per token A in base units; liquidity is in the same scale, so that
``L·Δ√P / 2¹²⁸`` is an amount of token B.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from functools import cache
from math import isqrt
from typing import Protocol

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from chalicelib.resources.solana_rpc import Account, ProgramQuery
from chalicelib.venues.solana.pool import (
    U64_MAX,
    U128_MAX,
    Moment,
    NotYetOpen,
    RecordedSwap,
    SwapAccounts,
    address_at,
    check_amount,
    divide_up,
    pool_account,
    read_only,
    side_of,
    signer,
    swap_data,
    time_text,
    writable,
)
from chalicelib.venues.solana.token_programs import associated_account
from chalicelib.venues.venue import SwapRefused

NAME = "meteora"
POOL_BYTES = 1112
FEE_DENOMINATOR = 10**9

_POOL = bytes.fromhex("f19a6d0411b16dbc")
_SWAP = bytes([248, 198, 158, 145, 225, 117, 135, 200])
_MINT_A, _MINT_B, _VAULT_A, _VAULT_B = 168, 200, 232, 264
_COLLECT_MODE = 484
_BASIS_POINTS = 10_000
_ONE_Q64 = 1 << 64
_ENABLED = 0
_HIGHEST_FEES = {0: 500_000_000, 1: 990_000_000}
"""By the version of a pool's fees: what their numerator is cut to."""
_TOKEN_A, _TOKEN_B = 0, 1


class _BaseFeeMode(IntEnum):
    """How the base fee falls after a pool opens; the program knows more modes, which are not covered."""

    LINEAR = 0
    EXPONENTIAL = 1


class _CollectMode(IntEnum):
    """Which token the fee is taken in."""

    OUTPUT = 0
    TOKEN_B = 1
    COMPOUNDING = 2
    """Token B; a part of it stays in the pool, which is then priced by its reserves alone."""


class _ActivationType(IntEnum):
    """What a pool's activation point is."""

    SLOT = 0
    UNIX_TIME = 1


class _Curve(Protocol):
    """How a swap moves a pool, apart from fees. ``given`` is the side that goes in: 0 for token A, 1 for token B."""

    @property
    def reserves(self) -> tuple[int, int]: ...

    @property
    def price(self) -> tuple[int, int]:
        """Token B per token A, as an exact ratio."""

    def amount_out(self, given: int, amount_in: int) -> int: ...

    def amount_in(self, given: int, amount_out: int) -> int:
        """Return the smallest input for which ``amount_out`` is at least so much."""


@dataclass(frozen=True, kw_only=True)
class ConcentratedLiquidity:
    """Liquidity that is the same over a range of prices, and none beyond it."""

    where: str
    liquidity: int
    sqrt_price: int
    sqrt_min_price: int
    sqrt_max_price: int

    @property
    def reserves(self) -> tuple[int, int]:
        """What the price's way to the ends of its range gives, rounded up as the program counts it."""
        to_max = self.sqrt_max_price - self.sqrt_price
        to_min = self.sqrt_price - self.sqrt_min_price
        return (
            divide_up(self.liquidity * to_max, self.sqrt_price * self.sqrt_max_price),
            divide_up(self.liquidity * to_min, 1 << 128),
        )

    @property
    def price(self) -> tuple[int, int]:
        return self.sqrt_price**2, 1 << 128

    def amount_out(self, given: int, amount_in: int) -> int:
        """Move the price by the input, rounded towards where it was; what it passes, rounded down, is the output.

        A to B: ``s' = ⌈L·s / (L + x·s)⌉``, ``⌊L·(s − s') / 2¹²⁸⌋``.
        B to A: ``s' = s + ⌊x·2¹²⁸ / L⌋``, ``⌊L·(s' − s) / (s·s')⌋``.
        """
        liquidity, price = self.liquidity, self.sqrt_price
        if given == _TOKEN_A:
            next_price = divide_up(liquidity * price, liquidity + amount_in * price)
            self._check_range(next_price)
            return liquidity * (price - next_price) >> 128
        next_price = price + (amount_in << 128) // liquidity
        self._check_range(next_price)
        return liquidity * (next_price - price) // (price * next_price)

    def amount_in(self, given: int, amount_out: int) -> int:
        """Invert both steps of ``amount_out``, each exactly: ``t`` is the price nearest to ``s`` that gives enough.

        A to B: ``t = s − ⌈out·2¹²⁸ / L⌉``, ``⌈L·(s − t) / (s·t)⌉``.
        B to A: ``t = ⌈L·s / (L − out·s)⌉``, ``⌈(t − s)·L / 2¹²⁸⌉``.
        """
        liquidity, price = self.liquidity, self.sqrt_price
        if given == _TOKEN_A:
            next_price = price - divide_up(amount_out << 128, liquidity)
            self._check_range(next_price)
            return divide_up(liquidity * (price - next_price), price * next_price)
        remaining = liquidity - amount_out * price
        if remaining <= 0:
            raise self._beyond_range()
        next_price = divide_up(liquidity * price, remaining)
        self._check_range(next_price)
        return divide_up((next_price - price) * liquidity, 1 << 128)

    def _check_range(self, sqrt_price: int) -> None:
        if not self.sqrt_min_price <= sqrt_price <= self.sqrt_max_price:
            raise self._beyond_range()

    def _beyond_range(self) -> SwapRefused:
        reserve_a, reserve_b = self.reserves
        return SwapRefused(
            f"{self.where} has not enough liquidity: its price would leave its range, where it holds {reserve_a} base "
            f"units of token A and {reserve_b} of token B"
        )


@dataclass(frozen=True, kw_only=True)
class CompoundingLiquidity:
    """Reserves whose product a swap keeps."""

    where: str
    reserves: tuple[int, int]

    @property
    def price(self) -> tuple[int, int]:
        reserve_a, reserve_b = self.reserves
        return reserve_b, reserve_a

    def amount_out(self, given: int, amount_in: int) -> int:
        """Return ``⌊x·y_out / (y_in + x)⌋``."""
        return self.reserves[1 - given] * amount_in // (self.reserves[given] + amount_in)

    def amount_in(self, given: int, amount_out: int) -> int:
        """Return ``⌈y_in·out / (y_out − out)⌉``."""
        remaining = self.reserves[1 - given] - amount_out
        if remaining <= 0:
            raise SwapRefused(
                f"{self.where} holds {self.reserves[1 - given]} base units: {amount_out} cannot be bought"
            )
        return divide_up(self.reserves[given] * amount_out, remaining)


@dataclass(frozen=True, kw_only=True)
class PoolFees:
    """What makes up a pool's fee."""

    cliff: int
    """The base fee's numerator when the pool opens."""
    mode: int
    periods: int
    """How many times it falls."""
    frequency: int
    """How long each period is, in slots or seconds."""
    reduction: int
    """Each period takes this off the numerator (linear), or so many basis points of it (exponential)."""
    dynamic: bool
    control: int
    bin_step: int
    accumulator: int
    """How volatile the price has been: the program moves it after a swap, so the fee of the next is known."""
    version: int

    def numerator(self, where: str, since_activation: int) -> int:
        """Return the fee in units of 10⁻⁹; ``since_activation`` is in slots or seconds.

        Raises:
            SwapRefused: the fee is of a kind that is not covered, or the program could not calculate it.
        """
        if self.version not in _HIGHEST_FEES:
            raise SwapRefused(f"{where} has fees of version {self.version}: only {sorted(_HIGHEST_FEES)} are covered")
        return min(self._base(where, since_activation) + self._volatility(where), _HIGHEST_FEES[self.version])

    def _base(self, where: str, since_activation: int) -> int:
        """Return ``cliff − reduction·n``, or ``cliff·(1 − reduction/10⁴)ⁿ`` in Q64.64; ``n`` periods have passed."""
        if self.mode not in list(_BaseFeeMode):
            raise SwapRefused(
                f"{where} has a base fee of mode {self.mode} (2 is a rate limiter, 3 and 4 follow the market cap): "
                f"only the modes {[mode.value for mode in _BaseFeeMode]} are covered"
            )
        if self.frequency == 0:
            return self.cliff
        # Before activation only a vault that the pool's creator trusts may swap, at the lowest fee.
        passed = self.periods if since_activation < 0 else min(since_activation // self.frequency, self.periods)
        if self.mode == _BaseFeeMode.LINEAR:
            fee = self.cliff - self.reduction * passed
        else:
            share = _power(_ONE_Q64 - (self.reduction << 64) // _BASIS_POINTS, passed)
            fee = self.cliff * share >> 64 if share > 0 else -1
        if fee < 0:
            raise SwapRefused(f"{where}: its base fee of {self.cliff} cannot fall {passed} times by {self.reduction}")
        return fee

    def _volatility(self, where: str) -> int:
        """Return ``⌈control·(accumulator·bin step)² / 10¹¹⌉``."""
        if not self.dynamic:
            return 0
        scaled = self.control * (self.accumulator * self.bin_step) ** 2
        if scaled + 99_999_999_999 > U128_MAX:
            raise SwapRefused(f"{where}: its dynamic fee overflows (accumulator {self.accumulator})")
        return divide_up(scaled, 10**11)


@dataclass(frozen=True, kw_only=True)
class MeteoraPool:
    """A pool as it stood when it was read; see ``LivePool``."""

    address: str
    program: str
    authority: str
    mints: tuple[str, str]
    vaults: tuple[str, str]
    balances: tuple[int, int]
    """What the pool counts as its own."""
    curve: _Curve
    fees: PoolFees
    status: int
    collect_mode: int
    activation_type: int
    activation_point: int
    """A slot or a Unix time; see ``activation_type``."""
    moment: Moment

    @property
    def fee(self) -> Decimal:
        return Decimal(self._fee_numerator) / FEE_DENOMINATOR

    def check_open(self, moment: Moment) -> None:
        """See ``LivePool.check_open``."""
        if self.status != _ENABLED:
            raise SwapRefused(f"{self._where} takes no swaps: it is disabled (status {self.status})")
        if self.collect_mode not in list(_CollectMode):
            raise SwapRefused(f"{self._where} collects its fee in mode {self.collect_mode}, which is not covered")
        self.fees.numerator(self._where, 0)
        if self._since_activation(moment) < 0:
            if self.activation_type == _ActivationType.SLOT:
                opens, now = f"slot {self.activation_point}", f"slot {moment.slot}"
            else:
                opens, now = time_text(self.activation_point), time_text(moment.unix_timestamp)
            raise NotYetOpen(f"{self._where} opens at {opens}; on the chain it is {now}")

    def reserve(self, mint: str) -> int:
        return self.curve.reserves[side_of(self, mint)]

    def mid_price(self, base_mint: str) -> tuple[int, int]:
        token_b, token_a = self.curve.price
        return (token_b, token_a) if side_of(self, base_mint) == _TOKEN_A else (token_a, token_b)

    def amount_out(self, input_mint: str, amount_in: int) -> int:
        """See ``LivePool.amount_out``."""
        check_amount(self._where, amount_in)
        given = side_of(self, input_mint)
        if self.balances[given] + amount_in > U64_MAX:
            raise SwapRefused(
                f"{self._where} cannot take {amount_in} base units of {input_mint}: it holds {self.balances[given]}, "
                f"and no more than {U64_MAX} fit"
            )
        fee_on_input = self._fee_on_input(given)
        swapped = self.curve.amount_out(given, self._after_fee(amount_in) if fee_on_input else amount_in)
        if swapped > U64_MAX:
            raise SwapRefused(
                f"{self._where}: for {amount_in} base units it would give {swapped}, which nothing can hold"
            )
        amount_out = swapped if fee_on_input else self._after_fee(swapped)
        if amount_out == 0:
            raise SwapRefused(
                f"{self._where}: {amount_in} base units of {input_mint} are worth less than one of the other"
            )
        return amount_out

    def amount_in(self, input_mint: str, amount_out: int) -> int:
        """Invert each step of ``amount_out`` exactly; see ``LivePool.amount_in``."""
        check_amount(self._where, amount_out)
        given = side_of(self, input_mint)
        if self._fee_on_input(given):
            amount_in = self._before_fee(self.curve.amount_in(given, amount_out))
        else:
            amount_in = self.curve.amount_in(given, self._before_fee(amount_out))
        # The inverse knows no limits but the price's: what the program would refuse, this does.
        self.amount_out(input_mint, amount_in)
        return amount_in

    def swap(self, accounts: SwapAccounts, amount_in: int, amount_out: int, *, exact_out: bool) -> Instruction:
        """See ``LivePool.swap``."""
        if exact_out:
            raise ValueError(f"{NAME} has no swap for an exact output: see Amm.exact_out")
        given = side_of(self, accounts.input_mint)
        programs = (accounts.input_program, accounts.output_program)
        return Instruction(
            Pubkey.from_string(self.program),
            swap_data(_SWAP, amount_in, amount_out),
            [
                read_only(self.authority),
                writable(self.address),
                writable(accounts.source),
                writable(accounts.destination),
                writable(self.vaults[_TOKEN_A]),
                writable(self.vaults[_TOKEN_B]),
                read_only(self.mints[_TOKEN_A]),
                read_only(self.mints[_TOKEN_B]),
                signer(accounts.payer),
                read_only(programs[given]),
                read_only(programs[1 - given]),
                read_only(self.program),  # where a referral's account would stand
                read_only(_event_authority(self.program)),
                read_only(self.program),
            ],
        )

    @property
    def _where(self) -> str:
        return _where(self.address)

    @property
    def _fee_numerator(self) -> int:
        return self.fees.numerator(self._where, self._since_activation(self.moment))

    def _since_activation(self, moment: Moment) -> int:
        """Return how long the pool is open, in slots or seconds: negative before."""
        match self.activation_type:
            case _ActivationType.SLOT:
                return moment.slot - self.activation_point
            case _ActivationType.UNIX_TIME:
                return moment.unix_timestamp - self.activation_point
            case unknown:
                raise SwapRefused(f"{self._where} opens by an activation of type {unknown}, which is not covered")

    def _fee_on_input(self, given: int) -> bool:
        return self.collect_mode != _CollectMode.OUTPUT and given == _TOKEN_B

    def _after_fee(self, amount: int) -> int:
        return amount - divide_up(amount * self._fee_numerator, FEE_DENOMINATOR)

    def _before_fee(self, amount: int) -> int:
        """Return the smallest amount of which so much is left after the fee."""
        return divide_up(amount * FEE_DENOMINATOR, FEE_DENOMINATOR - self._fee_numerator)


@dataclass(frozen=True)
class Meteora:
    """Meteora's DAMM v2 program in one cluster; see ``Amm``."""

    program: str
    authority: str

    @property
    def name(self) -> str:
        return NAME

    @property
    def exact_out(self) -> bool:
        return False

    def queries(self, mint_a: str, mint_b: str) -> tuple[ProgramQuery, ...]:
        """See ``Amm.queries``: whoever made a pool chose which mint is A."""
        return tuple(
            ProgramQuery(self.program, POOL_BYTES, ((_MINT_A, first), (_MINT_B, second)))
            for first, second in ((mint_a, mint_b), (mint_b, mint_a))
        )

    def needs(self, address: str, pool_data: bytes) -> tuple[str, ...]:  # noqa: ARG002
        """See ``Amm.needs``: all that a quote takes is in the pool's own account."""
        return ()

    def depth(self, pool_data: bytes) -> int:
        """See ``Amm.depth``: ``√(x·y)`` of what the pool holds, as in the other program.

        Not its liquidity: over a range narrow enough next to nothing makes that as great as one likes. A product of
        holdings costs its maker at least what pools at the market's price cost, whatever the price it is made at.
        """
        try:
            reserve_a, reserve_b = _read_curve("", pool_data).reserves
        except SwapRefused:
            return 0
        return isqrt(reserve_a * reserve_b)

    def live(self, address: str, accounts: Mapping[str, Account], moment: Moment) -> MeteoraPool:
        """See ``Amm.live``; the fee depends on how long the pool is open."""
        where = _where(address)
        data = pool_account(where, accounts.get(address), program=self.program, discriminator=_POOL, size=POOL_BYTES)
        reserve_a, reserve_b = struct.unpack_from("<QQ", data, 680)
        return MeteoraPool(
            address=address,
            program=self.program,
            authority=self.authority,
            mints=(address_at(data, _MINT_A), address_at(data, _MINT_B)),
            vaults=(address_at(data, _VAULT_A), address_at(data, _VAULT_B)),
            balances=(reserve_a, reserve_b),
            curve=_read_curve(where, data),
            fees=_read_fees(data),
            status=data[481],
            collect_mode=data[_COLLECT_MODE],
            activation_type=data[480],
            activation_point=struct.unpack_from("<Q", data, 472)[0],
            moment=moment,
        )


def read_swap(program: str, data: bytes, accounts: Sequence[str]) -> RecordedSwap | None:
    """Read an instruction that ``MeteoraPool.swap`` built; None if it is another.

    It does not say which of the two mints goes in: the program looks at the token accounts. One of them at least is
    the wallet's associated account of its mint, because the other mint is not SOL then.
    """
    if data[:8] != _SWAP:
        return None
    _authority, pool, source, destination, vault_a, vault_b, mint_a, mint_b, wallet, program_a, program_b, *_ = accounts
    account_a = associated_account(wallet, mint_a, program_a)
    account_b = associated_account(wallet, mint_b, program_b)
    if source == account_a or destination == account_b:
        return RecordedSwap(program, pool, wallet, source, destination, mint_a, mint_b, vault_a, vault_b)
    if source == account_b or destination == account_a:
        return RecordedSwap(program, pool, wallet, source, destination, mint_b, mint_a, vault_b, vault_a)
    raise ValueError(f"Neither {source} nor {destination} is an associated account of {wallet}")


def _read_fees(data: bytes) -> PoolFees:
    cliff, mode, periods, frequency, reduction = struct.unpack_from("<QB5xHQQ", data, 8)
    control, bin_step = struct.unpack_from("<IH", data, 68)
    return PoolFees(
        cliff=cliff,
        mode=mode,
        periods=periods,
        frequency=frequency,
        reduction=reduction,
        dynamic=bool(data[56]),
        control=control,
        bin_step=bin_step,
        accumulator=_u128(data, 120),
        version=data[486],
    )


def _read_curve(where: str, data: bytes) -> _Curve:
    if data[_COLLECT_MODE] == _CollectMode.COMPOUNDING:
        return _read_compounding(where, data)
    return _read_range(where, data)


def _read_compounding(where: str, data: bytes) -> CompoundingLiquidity:
    reserve_a, reserve_b = struct.unpack_from("<QQ", data, 680)
    if not (reserve_a and reserve_b):
        raise SwapRefused(f"{where} is empty: it holds {reserve_a} and {reserve_b} base units")
    return CompoundingLiquidity(where=where, reserves=(reserve_a, reserve_b))


def _read_range(where: str, data: bytes) -> ConcentratedLiquidity:
    liquidity, lowest, highest, price = (_u128(data, offset) for offset in (360, 424, 440, 456))
    if not (liquidity and 0 < lowest <= price <= highest):
        raise SwapRefused(
            f"{where} is empty: liquidity {liquidity}, square root of the price {price} between {lowest} and {highest}"
        )
    return ConcentratedLiquidity(
        where=where, liquidity=liquidity, sqrt_price=price, sqrt_min_price=lowest, sqrt_max_price=highest
    )


def _u128(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 16], "little")


def _power(base: int, exponent: int) -> int:
    """Raise a fraction in Q64.64 to a power, squaring and truncating step by step as the program does.

    The program stops where nothing is left of it, or where it was no fraction; here that is 0 or less.
    """
    if base <= 0:
        return _ONE_Q64 if exponent == 0 else 0
    result = _ONE_Q64
    while exponent:
        if exponent & 1:
            result = result * base >> 64
        base = base * base >> 64
        exponent >>= 1
    return result


@cache
def _event_authority(program: str) -> str:
    """Return the account in whose name the program writes its events."""
    return str(Pubkey.find_program_address([b"__event_authority"], Pubkey.from_string(program))[0])


def _where(address: str) -> str:
    return f"pool {address}"

"""Raydium's constant-product pools (CPMM, ``raydium-cp-swap``).

Layouts and formulas were checked against the deployed program, executed in LiteSVM: to the unit and to the byte.
Pools that pay a fee to their creator are from after that program, so they are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from chalicelib.resources.solana_rpc import Account, ProgramQuery
from chalicelib.venues.solana.pool import (
    U64_MAX,
    Moment,
    NotYetOpen,
    RecordedSwap,
    SwapAccounts,
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
from chalicelib.venues.solana.token_programs import TokenAccount
from chalicelib.venues.venue import SwapRefused

NAME = "raydium"
POOL_BYTES = 637
FEE_DENOMINATOR = 10**6
SWAP_DISABLED = 0b100
"""The bit of a pool's status that stops swaps."""

_POOL = bytes.fromhex("f7ede3f5d7c3de46")
_CONFIG = bytes.fromhex("daf42168cbcb2b6f")
_SWAP_BASE_INPUT = bytes.fromhex("8fbe5adac41e33de")
_SWAP_BASE_OUTPUT = bytes.fromhex("37d96256a34ab4ad")
_MINT_0, _MINT_1 = 168, 200
_POOL_LAYOUT = struct.Struct("<8x" + "32s" * 10 + "5B7Q2B6x2Q")
_TRADE_FEE_RATE = struct.Struct("<12xQ")
_ADDRESSES = 10


class _PoolState(NamedTuple):
    """A pool's account, field by field."""

    config: str
    creator: str
    vault_0: str
    vault_1: str
    lp_mint: str
    mint_0: str
    mint_1: str
    program_0: str
    program_1: str
    observation: str
    authority_bump: int
    status: int
    lp_decimals: int
    decimals_0: int
    decimals_1: int
    lp_supply: int
    protocol_fees_0: int
    protocol_fees_1: int
    fund_fees_0: int
    fund_fees_1: int
    open_time: int
    recent_epoch: int
    creator_fee_on: int
    creator_fee_enabled: int
    creator_fees_0: int
    creator_fees_1: int

    @classmethod
    def read(cls, data: bytes) -> _PoolState:
        fields = _POOL_LAYOUT.unpack_from(data)
        addresses = [str(Pubkey.from_bytes(address)) for address in fields[:_ADDRESSES]]
        return cls._make([*addresses, *fields[_ADDRESSES:]])

    @property
    def owed(self) -> tuple[int, int]:
        """What lies in the vaults but is not the pool's any more."""
        return (
            self.protocol_fees_0 + self.fund_fees_0 + self.creator_fees_0,
            self.protocol_fees_1 + self.fund_fees_1 + self.creator_fees_1,
        )


@dataclass(frozen=True, kw_only=True)
class RaydiumPool:
    """A pool as it stood when it was read; see ``LivePool``."""

    address: str
    program: str
    authority: str
    config: str
    observation: str
    mints: tuple[str, str]
    vaults: tuple[str, str]
    balances: tuple[int, int]
    """What the vaults hold."""
    reserves: tuple[int, int]
    """What of it is the pool's: the rest is owed to the protocol, its fund and the pool's creator."""
    fee_rate: int
    """Millionths of what goes in."""
    status: int
    open_time: int
    """A Unix time."""
    creator_fee_enabled: bool

    @property
    def fee(self) -> Decimal:
        return Decimal(self.fee_rate) / FEE_DENOMINATOR

    def check_open(self, moment: Moment) -> None:
        """See ``LivePool.check_open``."""
        if self.status & SWAP_DISABLED:
            raise SwapRefused(f"{self._where} takes no swaps: they are disabled (status {self.status})")
        if self.creator_fee_enabled:
            raise SwapRefused(f"{self._where} pays a fee to its creator: swaps in such pools are not covered")
        if moment.unix_timestamp < self.open_time:
            opens = time_text(self.open_time)
            raise NotYetOpen(f"{self._where} opens at {opens}; on the chain it is {time_text(moment.unix_timestamp)}")

    def reserve(self, mint: str) -> int:
        return self.reserves[side_of(self, mint)]

    def mid_price(self, base_mint: str) -> tuple[int, int]:
        base = side_of(self, base_mint)
        return self.reserves[1 - base], self.reserves[base]

    def amount_out(self, input_mint: str, amount_in: int) -> int:
        """Return ``⌊net·y / (x + net)⌋`` where ``net`` is the input less its fee; see ``LivePool.amount_out``."""
        check_amount(self._where, amount_in)
        given = side_of(self, input_mint)
        self._check_vault(given, amount_in)
        reserve_in, reserve_out = self.reserves[given], self.reserves[1 - given]
        net = amount_in - divide_up(amount_in * self.fee_rate, FEE_DENOMINATOR)
        amount_out = net * reserve_out // (reserve_in + net)
        if amount_out == 0:
            raise SwapRefused(
                f"{self._where}: {amount_in} base units of {input_mint} are worth less than one of the other"
            )
        return amount_out

    def amount_in(self, input_mint: str, amount_out: int) -> int:
        """Return the program's own answer to ``swap_base_output``; see ``LivePool.amount_in``.

        ``⌈net·10⁶ / (10⁶ − rate)⌉`` where ``net = ⌈x·out / (y − out)⌉``. Both steps are exact inverses of those of
        ``amount_out``, so it is also the smallest input for ``swap_base_input``.
        """
        check_amount(self._where, amount_out)
        given = side_of(self, input_mint)
        reserve_in, reserve_out = self.reserves[given], self.reserves[1 - given]
        if amount_out >= reserve_out:
            raise SwapRefused(
                f"{self._where} holds {reserve_out} base units of {self.mints[1 - given]}: "
                f"{amount_out} cannot be bought"
            )
        net = divide_up(reserve_in * amount_out, reserve_out - amount_out)
        amount_in = divide_up(net * FEE_DENOMINATOR, FEE_DENOMINATOR - self.fee_rate)
        self._check_vault(given, amount_in)
        return amount_in

    def swap(self, accounts: SwapAccounts, amount_in: int, amount_out: int, *, exact_out: bool) -> Instruction:
        """See ``LivePool.swap``."""
        given = side_of(self, accounts.input_mint)
        return Instruction(
            Pubkey.from_string(self.program),
            swap_data(_SWAP_BASE_OUTPUT if exact_out else _SWAP_BASE_INPUT, amount_in, amount_out),
            [
                signer(accounts.payer),
                read_only(self.authority),
                read_only(self.config),
                writable(self.address),
                writable(accounts.source),
                writable(accounts.destination),
                writable(self.vaults[given]),
                writable(self.vaults[1 - given]),
                read_only(accounts.input_program),
                read_only(accounts.output_program),
                read_only(accounts.input_mint),
                read_only(accounts.output_mint),
                writable(self.observation),
            ],
        )

    @property
    def _where(self) -> str:
        return _where(self.address)

    def _check_vault(self, side: int, amount_in: int) -> None:
        """Refuse what the vault cannot hold besides what it has."""
        if self.balances[side] + amount_in > U64_MAX:
            raise SwapRefused(
                f"{self._where} cannot take {amount_in} base units of {self.mints[side]}: its vault holds "
                f"{self.balances[side]}, and no more than {U64_MAX} fit"
            )


@dataclass(frozen=True)
class Raydium:
    """Raydium's CPMM program in one cluster; see ``Amm``."""

    program: str
    authority: str

    @property
    def name(self) -> str:
        return NAME

    @property
    def exact_out(self) -> bool:
        return True

    def queries(self, mint_a: str, mint_b: str) -> tuple[ProgramQuery, ...]:
        """See ``Amm.queries``: a pool has its mints in the order of their bytes."""
        mint_0, mint_1 = sorted((mint_a, mint_b), key=lambda mint: bytes(Pubkey.from_string(mint)))
        return (ProgramQuery(self.program, POOL_BYTES, ((_MINT_0, mint_0), (_MINT_1, mint_1))),)

    def needs(self, address: str, pool_data: bytes) -> tuple[str, ...]:
        """See ``Amm.needs``: the fee's rate is in the config, what the pool holds in its vaults."""
        state = self._state(address, Account(self.program, 0, pool_data))
        return state.config, state.vault_0, state.vault_1

    def depth(self, pool_data: bytes) -> int:
        """See ``Amm.depth``: the supply of shares starts as √(x·y), and follows what is paid in and out."""
        return _PoolState.read(pool_data).lp_supply

    def live(self, address: str, accounts: Mapping[str, Account], moment: Moment) -> RaydiumPool:  # noqa: ARG002
        """See ``Amm.live``; nothing in these pools depends on the moment but whether they are open."""
        where = _where(address)
        state = self._state(address, accounts.get(address))
        vaults = (state.vault_0, state.vault_1)
        balances = (
            TokenAccount.read(vaults[0], accounts.get(vaults[0])).amount,
            TokenAccount.read(vaults[1], accounts.get(vaults[1])).amount,
        )
        reserves = (balances[0] - state.owed[0], balances[1] - state.owed[1])
        if min(reserves) <= 0:
            raise SwapRefused(f"{where} is empty: of {balances} base units it owes {state.owed}")
        return RaydiumPool(
            address=address,
            program=self.program,
            authority=self.authority,
            config=state.config,
            observation=state.observation,
            mints=(state.mint_0, state.mint_1),
            vaults=vaults,
            balances=balances,
            reserves=reserves,
            fee_rate=self._fee_rate(state.config, accounts.get(state.config)),
            status=state.status,
            open_time=state.open_time,
            creator_fee_enabled=bool(state.creator_fee_enabled),
        )

    def _state(self, address: str, account: Account | None) -> _PoolState:
        return _PoolState.read(
            pool_account(_where(address), account, program=self.program, discriminator=_POOL, size=POOL_BYTES)
        )

    def _fee_rate(self, address: str, account: Account | None) -> int:
        where = f"config {address}"
        data = pool_account(where, account, program=self.program, discriminator=_CONFIG, size=_TRADE_FEE_RATE.size)
        rate: int = _TRADE_FEE_RATE.unpack_from(data)[0]
        if rate >= FEE_DENOMINATOR:
            raise SwapRefused(f"{where}: a fee of {rate} millionths leaves nothing to swap")
        return rate


def read_swap(program: str, data: bytes, accounts: Sequence[str]) -> RecordedSwap | None:
    """Read an instruction that ``RaydiumPool.swap`` built; None if it is another."""
    if data[:8] not in (_SWAP_BASE_INPUT, _SWAP_BASE_OUTPUT):
        return None
    wallet, _authority, _config, pool, source, destination, input_vault, output_vault, _, _, mint_in, mint_out, _ = (
        accounts
    )
    return RecordedSwap(program, pool, wallet, source, destination, mint_in, mint_out, input_vault, output_vault)


def _where(address: str) -> str:
    return f"pool {address}"

"""What stands in for the two AMMs' programs, whose binaries are not in this repository.

Each says what one swap instruction does: which tokens move, and what the pool's account says afterwards; or the error
that the program would end the transaction with. The tokens are then really moved, by the token programs of the ledger.
The formulas and the order of the checks follow the programs' published sources, raydium-cp-swap and damm-v2; nothing
here is shared with the engine. tests/solana/test_programs.py holds both to what the real programs were measured to do.

Stood in for: Raydium's swap_base_input and swap_base_output, Meteora's swap. Not there: creator fees, Meteora's rate
limiter and market cap schedulers, referrals, concentrated ranges that end, observations (the account is checked, and
left as it is), and every other instruction: a transaction that asks for one of these fails.
"""

import struct
from collections.abc import Callable, Sequence
from math import isqrt
from typing import NamedTuple, Protocol

from solders.account import Account
from solders.instruction import AccountMeta
from solders.pubkey import Pubkey

from tests.solana.accounts import TOKEN_2022_PROGRAM, TOKEN_PROGRAM, Mint, TokenAccount, read_u128, write_u128

_U64 = 1 << 64
_FEE_DENOMINATOR = 10**9

# Anchor's own errors.
_FALLBACK_NOT_FOUND = 101
_NOT_DESERIALIZED = 102
_NOT_MUTABLE = 2000
_CONSTRAINT_HAS_ONE = 2001
_CONSTRAINT_RAW = 2003
_CONSTRAINT_SEEDS = 2006
_CONSTRAINT_ADDRESS = 2012
_CONSTRAINT_TOKEN_MINT = 2014
_CONSTRAINT_TOKEN_PROGRAM = 2023
_TOO_FEW_ACCOUNTS = 3005
_WRONG_DISCRIMINATOR = 3002
_WRONG_OWNER = 3007
_INVALID_PROGRAM = 3008
_NOT_SIGNED = 3010
_NOT_INITIALIZED = 3012
_REQUIRE_GREATER = 2505


class ProgramError(Exception):
    """The program ends the transaction with an error of its own."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Transfer(NamedTuple):
    """Tokens that the program moves; the token program keeps its fee of them, if the mint has one."""

    source: Pubkey
    destination: Pubkey
    mint: Mint
    token_program: Pubkey
    amount: int


class Effect(NamedTuple):
    """What a swap does."""

    payer: Pubkey
    paid: Transfer
    received: Transfer
    pool: Pubkey
    pool_data: bytes


class Moment(NamedTuple):
    slot: int
    unix_timestamp: int
    epoch: int


class Call(NamedTuple):
    """One instruction, and the accounts as they are when its turn comes."""

    data: bytes
    accounts: Sequence[AccountMeta]
    read: Callable[[Pubkey], Account | None]
    moment: Moment

    def account(self, address: Pubkey) -> Account:
        account = self.read(address)
        if account is None:
            raise ProgramError(_NOT_INITIALIZED, f"{address} does not exist")
        return account

    def token_account(self, address: Pubkey) -> TokenAccount:
        held = TokenAccount.read(self.account(address))
        if held is None:
            raise ProgramError(_WRONG_OWNER, f"{address} is no token account")
        return held

    def mint(self, address: Pubkey) -> Mint:
        account = self.account(address)
        if account.owner not in (TOKEN_PROGRAM, TOKEN_2022_PROGRAM):
            raise ProgramError(_WRONG_OWNER, f"{address} is no mint")
        return Mint.read(address, account)


class AmmProgram(Protocol):
    """A program that swaps."""

    program: Pubkey
    authority: Pubkey
    units: int
    """The compute units that its swap takes besides the token transfers."""

    def swap(self, call: Call) -> Effect: ...


class RaydiumCpmm:
    """Raydium's CPMM."""

    units = 35_000

    def __init__(self, program: str) -> None:
        self.program = Pubkey.from_string(program)
        self.authority = Pubkey.find_program_address([b"vault_and_lp_mint_auth_seed"], self.program)[0]

    def swap(self, call: Call) -> Effect:
        discriminator, first, second = _arguments(call)
        if discriminator == bytes.fromhex("8fbe5adac41e33de"):
            return self._swap(call, spent=first, least=second)
        if discriminator == bytes.fromhex("37d96256a34ab4ad"):
            return self._swap(call, bought=second, most=first)
        raise ProgramError(_FALLBACK_NOT_FOUND, "no such instruction of Raydium's is stood in for")

    def _swap(self, call: Call, *, spent: int = 0, least: int = 0, bought: int = 0, most: int = 0) -> Effect:
        if len(call.accounts) < 13:
            raise ProgramError(_TOO_FEW_ACCOUNTS, "a swap takes 13 accounts")
        payer, authority, config, pool, source, destination, vault_in, vault_out, *others = (
            meta.pubkey for meta in call.accounts[:13]
        )
        program_in, program_out, mint_in, mint_out, observation = others
        _check(call.accounts[0].is_signer, _NOT_SIGNED, "the payer did not sign")
        _check(authority == self.authority, _CONSTRAINT_SEEDS, "not the program's authority")
        state = _pool(call, pool, self.program, "f7ede3f5d7c3de46", 637)
        _check_writable(call.accounts, (3, 4, 5, 6, 7, 12))
        vaults = [Pubkey(state[72:104]), Pubkey(state[104:136])]
        _check(config == Pubkey(state[8:40]), _CONSTRAINT_ADDRESS, "not the pool's config")
        _check(observation == Pubkey(state[296:328]), _CONSTRAINT_ADDRESS, "not the pool's observation")
        _check(vault_in in vaults and vault_out in vaults and vault_in != vault_out, _CONSTRAINT_RAW, "not its vaults")
        _check_token_programs(program_in, program_out)
        held_in, held_out = call.token_account(vault_in), call.token_account(vault_out)
        call.token_account(source)
        call.token_account(destination)
        _check(mint_in == held_in.mint, _CONSTRAINT_ADDRESS, "not the input vault's mint")
        _check(mint_out == held_out.mint, _CONSTRAINT_ADDRESS, "not the output vault's mint")
        status, open_time = state[329], struct.unpack_from("<Q", state, 373)[0]
        _check(
            not status & 4 and call.moment.unix_timestamp >= open_time, 6000, "NotApproved: disabled or not open yet"
        )
        if state[390]:
            raise ProgramError(_FALLBACK_NOT_FOUND, "creator fees are not stood in for")

        direction = vaults.index(vault_in)
        owed = struct.unpack_from("<4Q", state, 341)
        reserve_in = held_in.amount - owed[direction] - owed[2 + direction]
        reserve_out = held_out.amount - owed[1 - direction] - owed[3 - direction]
        trade_rate, protocol_rate, fund_rate = struct.unpack_from("<QQQ", call.account(config).data, 12)
        token_in, token_out = call.mint(mint_in), call.mint(mint_out)
        fee_in, fee_out = token_in.fee_in(call.moment.epoch), token_out.fee_in(call.moment.epoch)
        if bought:
            given = bought + fee_out.before(bought)
            _check(given < reserve_out, 6006, "ZeroTradingTokens: the pool does not hold so much")
            net = _ceil(reserve_in * given, reserve_out - given)
            arrived = _ceil(net * 10**6, 10**6 - trade_rate) if trade_rate else net
            trade_fee = arrived - net
            taken = arrived + fee_in.before(arrived)
            _check(taken <= most, 6005, f"ExceededSlippage: takes {taken}, not at most {most}")
        else:
            taken = spent
            arrived = spent - fee_in.of(spent)
            _check(arrived > 0, _REQUIRE_GREATER, "nothing arrives")
            trade_fee = _ceil(arrived * trade_rate, 10**6)
            net = arrived - trade_fee
            given = net * reserve_out // (reserve_in + net)
            received = given - fee_out.of(given)
            _check(received > 0, _REQUIRE_GREATER, "nothing would be received")
            _check(received >= least, 6005, f"ExceededSlippage: gives {received}, not {least}")
        after = bytearray(state)
        _add(after, 341 + 8 * direction, trade_fee * protocol_rate // 10**6)
        _add(after, 357 + 8 * direction, trade_fee * fund_rate // 10**6)
        struct.pack_into("<Q", after, 381, call.moment.epoch)
        return Effect(
            payer,
            Transfer(source, vault_in, token_in, program_in, taken),
            Transfer(vault_out, destination, token_out, program_out, given),
            *(pool, bytes(after)),
        )


class _Fee(NamedTuple):
    """A fee of Meteora's, and who gets it."""

    claimed: int
    compounded: int
    protocol: int

    @property
    def total(self) -> int:
        return sum(self)


class MeteoraDammV2:
    """Meteora's DAMM v2."""

    units = 30_000

    def __init__(self, program: str) -> None:
        self.program = Pubkey.from_string(program)
        self.authority = Pubkey.find_program_address([b"pool_authority"], self.program)[0]
        self.event_authority = Pubkey.find_program_address([b"__event_authority"], self.program)[0]

    def swap(self, call: Call) -> Effect:
        discriminator, spent, least = _arguments(call)
        if discriminator != bytes([248, 198, 158, 145, 225, 117, 135, 200]):
            raise ProgramError(_FALLBACK_NOT_FOUND, "no such instruction of Meteora's is stood in for")
        if len(call.accounts) < 14:
            raise ProgramError(_TOO_FEW_ACCOUNTS, "a swap takes 14 accounts")
        authority, pool, source, destination, *others = (meta.pubkey for meta in call.accounts[:14])
        vault_a, vault_b, mint_a, mint_b, payer, program_a, program_b, referral, event_authority, program = others
        _check(authority == self.authority, _CONSTRAINT_ADDRESS, "not the program's authority")
        state = _pool(call, pool, self.program, "f19a6d0411b16dbc", 1112)
        _check_writable(call.accounts, (1, 2, 3, 4, 5))
        _check(vault_a == Pubkey(state[232:264]), _CONSTRAINT_HAS_ONE, "not the pool's vault a")
        _check(vault_b == Pubkey(state[264:296]), _CONSTRAINT_HAS_ONE, "not the pool's vault b")
        for vault, mint, token_program in ((vault_a, mint_a, program_a), (vault_b, mint_b, program_b)):
            held = call.token_account(vault)
            _check(held.program == token_program, _CONSTRAINT_TOKEN_PROGRAM, "not the vault's token program")
            _check(held.mint == mint, _CONSTRAINT_TOKEN_MINT, "not the vault's mint")
        _check(call.accounts[8].is_signer, _NOT_SIGNED, "the payer did not sign")
        _check(event_authority == self.event_authority, _CONSTRAINT_SEEDS, "not the event authority")
        _check(program == self.program, _INVALID_PROGRAM, "the last account is not the program")
        _check(referral == self.program, _FALLBACK_NOT_FOUND, "referrals are not stood in for")
        call.token_account(destination)
        a_to_b = call.token_account(source).mint == mint_a

        activation, by_time, is_disabled = struct.unpack_from("<QBB", state, 472)
        point = call.moment.unix_timestamp if by_time else call.moment.slot
        _check(not is_disabled and point >= activation, 6003, "PoolDisabled: disabled or not active yet")
        _check(spent > 0, 6006, "AmountIsZero")
        if state[16] > 1:
            raise ProgramError(_FALLBACK_NOT_FOUND, f"fee mode {state[16]} is not stood in for")

        after = bytearray(state)
        _update_references(after, call.moment.unix_timestamp)
        token_a, token_b = call.mint(mint_a), call.mint(mint_b)
        token_in, token_out = (token_a, token_b) if a_to_b else (token_b, token_a)
        arrived = spent - token_in.fee_in(call.moment.epoch).of(spent)
        _check(arrived > 0, 6006, "AmountIsZero: nothing arrives")
        numerator = self.fee_numerator(state, point)
        compounds = state[484] == 2
        fee_on_input = state[484] in (1, 2) and not a_to_b
        fee = self._split(state, _ceil(arrived * numerator, _FEE_DENOMINATOR)) if fee_on_input else _Fee(0, 0, 0)
        net = arrived - fee.total
        given, sqrt_price = (_along_product if compounds else _along_curve)(state, net, a_to_b)
        gross = given
        if not fee_on_input:
            fee = self._split(state, _ceil(given * numerator, _FEE_DENOMINATOR))
            given -= fee.total
        received = given - token_out.fee_in(call.moment.epoch).of(given)
        _check(received >= least, 6002, f"ExceededSlippage: gives {received}, not {least}")

        fee_on_a = state[484] == 0 and not a_to_b
        _record_fee(after, fee, on_a=fee_on_a)
        _add(after, 680 if a_to_b else 688, net)
        _add(after, 688 if a_to_b else 680, -gross)
        _add(after, 688, fee.compounded)
        if compounds:
            a, b = struct.unpack_from("<QQ", after, 680)
            sqrt_price = isqrt((b << 128) // a)
        write_u128(after, 456, sqrt_price)
        _update_volatility(after, read_u128(state, 456), call.moment.unix_timestamp)
        vault_in, vault_out = (vault_a, vault_b) if a_to_b else (vault_b, vault_a)
        program_in, program_out = (program_a, program_b) if a_to_b else (program_b, program_a)
        return Effect(
            payer,
            Transfer(source, vault_in, token_in, program_in, spent),
            Transfer(vault_out, destination, token_out, program_out, given),
            *(pool, bytes(after)),
        )

    @staticmethod
    def fee_numerator(state: bytes, point: int) -> int:
        """The fee in billionths: what the schedule says, and what the price's movement adds."""
        cliff, mode, periods, length, reduction = struct.unpack_from("<QB5xHQQ", state, 8)
        passed = min((point - struct.unpack_from("<Q", state, 472)[0]) // length, periods) if length else 0
        base = cliff - reduction * passed if mode == 0 else _decayed(cliff, reduction, passed)
        moved = 0
        if state[56]:
            control, bin_step = struct.unpack_from("<IH", state, 68)
            moved = _ceil(control * (read_u128(state, 120) * bin_step) ** 2, 10**11)
        return min(base + moved, 990_000_000 if state[486] else 500_000_000)

    @staticmethod
    def _split(state: bytes, fee: int) -> _Fee:
        protocol = fee * state[48] // 100
        compounded = (fee - protocol) * struct.unpack_from("<H", state, 54)[0] // 10_000
        return _Fee(fee - protocol - compounded, compounded, protocol)


def _along_product(state: bytes, amount: int, a_to_b: bool) -> tuple[int, int]:
    a, b = struct.unpack_from("<QQ", state, 680)
    reserve_in, reserve_out = (a, b) if a_to_b else (b, a)
    return reserve_out * amount // (reserve_in + amount), 0


def _along_curve(state: bytes, amount: int, a_to_b: bool) -> tuple[int, int]:
    """What comes out, and the root of the price afterwards, in 2⁻⁶⁴."""
    liquidity, price = read_u128(state, 360), read_u128(state, 456)
    if a_to_b:
        moved = _ceil(liquidity * price, liquidity + amount * price)
        _check(moved >= read_u128(state, 424), 6015, "PriceRangeViolation")
        return liquidity * (price - moved) >> 128, moved
    moved = price + (amount << 128) // liquidity
    _check(moved <= read_u128(state, 440), 6015, "PriceRangeViolation")
    return liquidity * (moved - price) // (price * moved), moved


def _decayed(cliff: int, reduction: int, periods: int) -> int:
    """cliff × (1 − reduction / 10⁴) ^ periods in 2⁻⁶⁴, by squaring, cut off at each multiplication as pow() does it."""
    power, result = _U64 - (reduction << 64) // 10_000, _U64
    while periods:
        if periods & 1:
            result = result * power >> 64
        power = power * power >> 64
        periods >>= 1
    return result * cliff >> 64


def _update_references(state: bytearray, now: int) -> None:
    """DynamicFeeStruct::update_references: how far back the movement of the price is counted."""
    if not state[56]:
        return
    filter_period, decay_period, reduction, last_update = struct.unpack_from("<HHHQ", state, 74)
    elapsed = max(0, now - last_update)
    if elapsed >= filter_period:
        write_u128(state, 104, read_u128(state, 456))
        write_u128(state, 136, read_u128(state, 120) * reduction // 10_000 if elapsed < decay_period else 0)


def _update_volatility(state: bytearray, price_before: int, now: int) -> None:
    """DynamicFeeStruct::update_volatility_accumulator, after the price has moved."""
    if not state[56]:
        return
    price, reference = read_u128(state, 456), read_u128(state, 104)
    moved = read_u128(state, 136) + _bins_between(state, price, reference) * 10_000
    write_u128(state, 120, min(moved, struct.unpack_from("<I", state, 64)[0]))
    if _bins_between(state, price_before, price):
        struct.pack_into("<Q", state, 80, now)


def _bins_between(state: bytearray, one: int, other: int) -> int:
    ratio = (max(one, other) << 64) // min(one, other)
    return (ratio - _U64) // read_u128(state, 88) * 2


def _record_fee(state: bytearray, fee: _Fee, *, on_a: bool) -> None:
    """Note whose the fee is: the protocol's, and the positions' by their share of the liquidity; and the metrics."""
    side = 0 if on_a else 1
    _add(state, 392 + 8 * side, fee.protocol)
    share = 488 + 32 * side
    grown = int.from_bytes(state[share : share + 32], "little") + (fee.claimed << 128) // read_u128(state, 360)
    state[share : share + 32] = grown.to_bytes(32, "little")
    total = 568 + 16 * side
    write_u128(state, total, read_u128(state, total) + fee.claimed + fee.compounded)
    _add(state, 600 + 8 * side, fee.protocol)


def _arguments(call: Call) -> tuple[bytes, int, int]:
    if len(call.data) < 8:
        raise ProgramError(_FALLBACK_NOT_FOUND, "the data has no discriminator")
    if len(call.data) < 24:
        raise ProgramError(_NOT_DESERIALIZED, "the data is too short for two amounts")
    first, second = struct.unpack_from("<QQ", call.data, 8)
    return call.data[:8], first, second


def _pool(call: Call, address: Pubkey, program: Pubkey, discriminator: str, size: int) -> bytes:
    account = call.account(address)
    _check(account.owner == program, _WRONG_OWNER, "the pool is not the program's")
    _check(
        account.data[:8].hex() == discriminator and len(account.data) == size,
        _WRONG_DISCRIMINATOR,
        f"{address} is no pool",
    )
    return account.data


def _check_writable(accounts: Sequence[AccountMeta], indexes: Sequence[int]) -> None:
    for index in indexes:
        _check(accounts[index].is_writable, _NOT_MUTABLE, f"account {index} is not writable")


def _check_token_programs(*programs: Pubkey) -> None:
    for program in programs:
        _check(program in (TOKEN_PROGRAM, TOKEN_2022_PROGRAM), _INVALID_PROGRAM, f"{program} is no token program")


def _check(holds: bool, code: int, reason: str) -> None:
    if not holds:
        raise ProgramError(code, reason)


def _add(state: bytearray, offset: int, amount: int) -> None:
    number = struct.unpack_from("<Q", state, offset)[0] + amount
    struct.pack_into("<Q", state, offset, number)


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)

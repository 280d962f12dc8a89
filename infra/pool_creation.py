"""The instructions that make a token and put it into a new pool of Raydium CPMM or Meteora DAMM v2.

The engine only swaps; pools are made here, so that devnet has some to swap in. Accounts and arguments stand in the
order of the programs' sources:

- raydium-io/raydium-cp-swap, ``programs/cp-swap/src/instructions/initialize.rs`` and ``lib.rs`` (commit 609780f)
- MeteoraAg/damm-v2, ``programs/cp-amm/src/instructions/initialize_pool/ix_initialize_customizable_pool.rs``, with
  ``params/fee_parameters.rs`` and ``base_fee/fee_time_scheduler.rs`` (release 0.2.1)

Both are Anchor programs, so an instruction begins with the first 8 bytes of SHA-256 of ``global:<its name>``. Nothing
here has run against the programs: the tests hold it against the layouts, and derived addresses against real pools.
"""

import hashlib
import math
import struct
from typing import NamedTuple

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.system_program import CreateAccountParams, TransferParams, create_account, transfer

from chalicelib.venues.solana.clusters import SOL, SPL_TOKEN, TOKEN_2022, Program
from chalicelib.venues.solana.pool import read_only, signer, writable
from chalicelib.venues.solana.token_programs import ASSOCIATED_TOKEN_PROGRAM, associated_account

MINT_BYTES = 82
MINT_RENT = 1_461_600
"""Lamports that keep a mint: (128 + 82 bytes) · 6,960, as for every account.
https://solana.com/docs/core/accounts#rent"""
RENT_SYSVAR = "SysvarRent111111111111111111111111111111111"
RAYDIUM_FEE_RECEIVER = "3oE58BKVt8KuYkGxx8zBojugnymWmBiyafWgMrnb6eYy"
"""Who gets devnet's fee for a pool: ``create_pool_fee_reveiver`` in ``lib.rs``, with the feature ``devnet``."""

METEORA_LOWEST_SQRT_PRICE = 4_295_048_016
METEORA_HIGHEST_SQRT_PRICE = 79_226_673_521_066_979_257_578_248_091
"""In Q64.64: ``MIN_SQRT_PRICE`` and ``MAX_SQRT_PRICE`` of ``constants.rs``. Between them a pool has all prices."""
METEORA_FEE = 2_500_000
"""0.25 % of 10⁹, about what Raydium's first config takes."""
_BY_TIMESTAMP = 1
_FEES_IN_BOTH_TOKENS = 0
_LINEAR_SCHEDULE = 0

_MINT_TO, _SYNC_NATIVE, _INITIALIZE_MINT_2 = 7, 17, 20
_CREATE_IDEMPOTENT = bytes([1])


class Deposit(NamedTuple):
    """A token that a wallet puts into a pool, in base units."""

    mint: str
    amount: int
    program: str = SPL_TOKEN

    def account(self, wallet: str) -> str:
        """Return where the wallet has it."""
        return associated_account(wallet, self.mint, self.program)


class NewPool(NamedTuple):
    """A pool, and what makes it."""

    address: str
    instruction: Instruction


class RaydiumConfig(NamedTuple):
    """What a config of Raydium's asks of a new pool."""

    closed: bool
    """Whether no pool may be made with it."""
    pool_fee: int
    """In lamports."""


def new_mint(mint: str, wallet: str, decimals: int) -> list[Instruction]:
    """Make a token whose supply the wallet decides on; the mint's key signs as well."""
    parameters = CreateAccountParams(
        from_pubkey=Pubkey.from_string(wallet),
        to_pubkey=Pubkey.from_string(mint),
        lamports=MINT_RENT,
        space=MINT_BYTES,
        owner=Pubkey.from_string(SPL_TOKEN),
    )
    # The last byte: nobody may freeze accounts.
    data = bytes([_INITIALIZE_MINT_2, decimals]) + bytes(Pubkey.from_string(wallet)) + bytes([0])
    return [create_account(parameters), _instruction(SPL_TOKEN, data, [writable(mint)])]


def associated_token_account(wallet: str, mint: str) -> Instruction:
    """Make the wallet's account of a token, if there is none."""
    accounts = [
        _paying(wallet),
        writable(associated_account(wallet, mint, SPL_TOKEN)),
        *map(read_only, (wallet, mint, str(SYSTEM_PROGRAM), SPL_TOKEN)),
    ]
    return _instruction(ASSOCIATED_TOKEN_PROGRAM, _CREATE_IDEMPOTENT, accounts)


def mint_to(wallet: str, mint: str, amount: int) -> Instruction:
    """Mint base units to the wallet."""
    accounts = [writable(mint), writable(associated_account(wallet, mint, SPL_TOKEN)), signer(wallet)]
    return _instruction(SPL_TOKEN, struct.pack("<BQ", _MINT_TO, amount), accounts)


def wrap(wallet: str, lamports: int) -> list[Instruction]:
    """Add SOL to the wallet's account of wrapped SOL."""
    account = associated_account(wallet, SOL.mint, SPL_TOKEN)
    parameters = TransferParams(
        from_pubkey=Pubkey.from_string(wallet), to_pubkey=Pubkey.from_string(account), lamports=lamports
    )
    return [transfer(parameters), _instruction(SPL_TOKEN, bytes([_SYNC_NATIVE]), [writable(account)])]


def raydium_config(program: Program, index: int) -> str:
    """Return the address of one of Raydium's fee configs."""
    return _derived(program, b"amm_config", index.to_bytes(2, "big"))


def read_raydium_config(data: bytes) -> RaydiumConfig:
    """Read what a config asks of new pools (``states/config.rs``)."""
    return RaydiumConfig(closed=bool(data[9]), pool_fee=int.from_bytes(data[36:44], "little"))


def raydium_vault(program: Program, pool: str, mint: str) -> str:
    """Return where a pool of Raydium keeps a token."""
    return _derived(program, b"pool_vault", _bytes(pool), _bytes(mint))


def raydium_observation(program: Program, pool: str) -> str:
    """Return where a pool of Raydium keeps its past prices."""
    return _derived(program, b"observation", _bytes(pool))


def raydium_pool(program: Program, config: str, wallet: str, deposits: tuple[Deposit, Deposit]) -> NewPool:
    """Make a pool that opens a second later; the deposits' ratio is its price."""
    first, second = sorted(deposits, key=lambda deposit: _bytes(deposit.mint))
    pool = _derived(program, b"pool", _bytes(config), _bytes(first.mint), _bytes(second.mint))
    shares = _derived(program, b"pool_lp_mint", _bytes(pool))
    accounts = [
        _paying(wallet),
        *map(read_only, (config, program.authority)),
        writable(pool),
        *map(read_only, (first.mint, second.mint)),
        writable(shares),
        *(writable(deposit.account(wallet)) for deposit in (first, second)),
        writable(associated_account(wallet, shares, SPL_TOKEN)),
        *(writable(raydium_vault(program, pool, deposit.mint)) for deposit in (first, second)),
        writable(RAYDIUM_FEE_RECEIVER),
        writable(raydium_observation(program, pool)),
        *map(read_only, (SPL_TOKEN, first.program, second.program)),
        *map(read_only, (ASSOCIATED_TOKEN_PROGRAM, str(SYSTEM_PROGRAM), RENT_SYSVAR)),
    ]
    at_once = 0
    data = _discriminator("initialize") + struct.pack("<QQQ", first.amount, second.amount, at_once)
    return NewPool(pool, _instruction(program.address, data, accounts))


def meteora_vault(program: Program, pool: str, mint: str) -> str:
    """Return where a pool of Meteora keeps a token."""
    return _derived(program, b"token_vault", _bytes(mint), _bytes(pool))


def meteora_pool(program: Program, wallet: str, position: str, deposits: tuple[Deposit, Deposit]) -> NewPool:
    """Make a pool that is open at once, for all prices and with one fee.

    ``position`` is the mint of the NFT that whoever owns the liquidity has; its key signs as well.
    """
    token_a, token_b = deposits
    mints = [_bytes(deposit.mint) for deposit in deposits]
    pool = _derived(program, b"cpool", max(mints), min(mints))
    accounts = [
        read_only(wallet),
        AccountMeta(Pubkey.from_string(position), is_signer=True, is_writable=True),
        writable(_derived(program, b"position_nft_account", _bytes(position))),
        _paying(wallet),
        read_only(program.authority),
        writable(pool),
        writable(_derived(program, b"position", _bytes(position))),
        *map(read_only, (token_a.mint, token_b.mint)),
        *(writable(meteora_vault(program, pool, deposit.mint)) for deposit in deposits),
        *(writable(deposit.account(wallet)) for deposit in deposits),
        *map(read_only, (token_a.program, token_b.program, TOKEN_2022, str(SYSTEM_PROGRAM))),
        *map(read_only, (_derived(program, b"__event_authority"), program.address)),
    ]
    return NewPool(pool, _instruction(program.address, _meteora_data(token_a.amount, token_b.amount), accounts))


def sqrt_price_of(amount_a: int, amount_b: int) -> int:
    """Return the price ``b/a`` as Meteora has it: its square root, in Q64.64, rounded down."""
    return math.isqrt((amount_b << 128) // amount_a)


def liquidity_of(amount_a: int, amount_b: int, sqrt_price: int) -> int:
    """Return the most liquidity that both amounts are enough for, over all prices.

    It takes ``a = ⌈L·(s_max − s) / (s·s_max)⌉`` and ``b = ⌈L·(s − s_min) / 2¹²⁸⌉``: Meteora's
    ``get_delta_amount_a_unsigned`` and ``…_b_unsigned``.
    """
    low, high = METEORA_LOWEST_SQRT_PRICE, METEORA_HIGHEST_SQRT_PRICE
    return min(amount_a * sqrt_price * high // (high - sqrt_price), (amount_b << 128) // (sqrt_price - low))


def _meteora_data(amount_a: int, amount_b: int) -> bytes:
    sqrt_price = sqrt_price_of(amount_a, amount_b)
    no_periods = struct.pack("<HQQ", 0, 0, 0)
    base_fee = struct.pack("<Q", METEORA_FEE) + no_periods + bytes([_LINEAR_SCHEDULE])
    nothing_compounded, no_dynamic_fee = bytes(3), bytes(1)
    prices = _u128(METEORA_LOWEST_SQRT_PRICE) + _u128(METEORA_HIGHEST_SQRT_PRICE)
    no_alpha_vault, from_now_on = bytes(1), bytes(1)
    return b"".join(
        (
            _discriminator("initialize_customizable_pool"),
            *(base_fee, nothing_compounded, no_dynamic_fee),
            *(prices, no_alpha_vault),
            *(_u128(liquidity_of(amount_a, amount_b, sqrt_price)), _u128(sqrt_price)),
            *(bytes([_BY_TIMESTAMP, _FEES_IN_BOTH_TOKENS]), from_now_on),
        )
    )


def _discriminator(name: str) -> bytes:
    return hashlib.sha256(f"global:{name}".encode()).digest()[:8]


def _u128(number: int) -> bytes:
    return number.to_bytes(16, "little")


def _bytes(address: str) -> bytes:
    return bytes(Pubkey.from_string(address))


def _derived(program: Program, *seeds: bytes) -> str:
    return str(Pubkey.find_program_address(seeds, Pubkey.from_string(program.address))[0])


def _paying(wallet: str) -> AccountMeta:
    return AccountMeta(Pubkey.from_string(wallet), is_signer=True, is_writable=True)


def _instruction(program: str, data: bytes, accounts: list[AccountMeta]) -> Instruction:
    return Instruction(Pubkey.from_string(program), data, accounts)

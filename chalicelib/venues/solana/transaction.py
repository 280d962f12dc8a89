"""One swap as one transaction: all of it happens, or nothing.

SOL is no token, so a swap of it wraps what it spends and unwraps what it receives. Both go through a token account that
exists within the transaction only. The wallet's own account of wrapped SOL would do as well, but closing it would
unwrap what lay there before, too.

Nothing here asks the chain for anything: what a transaction does is decided by values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.system_program import CreateAccountWithSeedParams, create_account_with_seed
from solders.transaction import VersionedTransaction

from chalicelib.venues import meteora, raydium
from chalicelib.venues.solana.clusters import SPL_TOKEN
from chalicelib.venues.solana.pool import (
    LivePool,
    RecordedSwap,
    SwapAccounts,
    divide_up,
    read_only,
    signer,
    writable,
)
from chalicelib.venues.solana.token_programs import (
    ASSOCIATED_TOKEN_PROGRAM,
    TOKEN_ACCOUNT_BYTES,
    WRAPPED_SOL,
    associated_account,
)
from chalicelib.venues.venue import SwapRefused

MEMO_PROGRAM = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"
LARGEST_TRANSACTION = 1232
"""Bytes: a packet of IPv6's least MTU, less its headers."""
MOST_COMPUTE_UNITS = 1_400_000
"""What a transaction may ask for, and so what one is simulated with."""
TEMPORARY_RENT = 2_039_280
"""Lamports that keep a token account: (128 + 165 bytes) · 6,960. Closing returns them, so too many are no loss."""

_INITIALIZE_ACCOUNT_3 = bytes([18])
_CLOSE_ACCOUNT = bytes([9])
_CREATE_IDEMPOTENT = bytes([1])


class ComputeBudget(NamedTuple):
    """What a transaction may take, and what it pays for that: micro-lamports a compute unit."""

    units: int
    price: int

    @property
    def priority_fee(self) -> int:
        """Lamports, besides the fee for each signature."""
        return divide_up(self.units * self.price, 10**6)


@dataclass(frozen=True, kw_only=True)
class WalletSwap:
    """What one try of an order swaps, in base units of the wallet; see ``LivePool.swap`` for the two amounts.

    A side whose mint is ``WRAPPED_SOL`` is the wallet's SOL.
    """

    pool: LivePool
    wallet: str
    order_id: str
    attempt: int
    input_mint: str
    input_program: str
    output_mint: str
    output_program: str
    amount_in: int
    amount_out: int
    exact_out: bool

    @property
    def memo(self) -> str:
        """What sets this try apart: two equal orders would otherwise be one transaction, with one signature."""
        return f"oee:{self.order_id}:{self.attempt}"

    @property
    def temporary_account(self) -> str:
        """The address of the token account that holds SOL while it is swapped: another one for each try."""
        return str(
            Pubkey.create_with_seed(Pubkey.from_string(self.wallet), self.temporary_seed, Pubkey.from_string(SPL_TOKEN))
        )

    @property
    def temporary_seed(self) -> str:
        """32 characters, the most that a seed may have: an order's id and the attempt would be more."""
        return hashlib.sha256(self.memo.encode()).hexdigest()[:32]

    @property
    def accounts(self) -> SwapAccounts:
        """Where the swap takes from, and where it puts what it receives."""
        return SwapAccounts(
            payer=self.wallet,
            source=self._account(self.input_mint, self.input_program),
            destination=self._account(self.output_mint, self.output_program),
            input_mint=self.input_mint,
            output_mint=self.output_mint,
            input_program=self.input_program,
            output_program=self.output_program,
        )

    def _account(self, mint: str, program: str) -> str:
        if mint == WRAPPED_SOL:
            return self.temporary_account
        return associated_account(self.wallet, mint, program)


class Signed(NamedTuple):
    """A transaction as it is sent, and the signature that names it."""

    signature: str
    payload: bytes


def compose(swap: WalletSwap, budget: ComputeBudget) -> list[Instruction]:
    """Return what the transaction does, in order.

    The destination of a token is created if the wallet has none. SOL's temporary account is created with what is to be
    spent, which wraps it, and closed at the end, which unwraps what it holds: what was received, or was not spent.
    """
    accounts = swap.accounts
    instructions = [
        set_compute_unit_limit(budget.units),
        set_compute_unit_price(budget.price),
        Instruction(Pubkey.from_string(MEMO_PROGRAM), swap.memo.encode(), []),
    ]
    if swap.output_mint != WRAPPED_SOL:
        instructions.append(_create_destination(accounts))
    native = WRAPPED_SOL in (swap.input_mint, swap.output_mint)
    if native:
        instructions += _open_temporary(swap)
    instructions.append(swap.pool.swap(accounts, swap.amount_in, swap.amount_out, exact_out=swap.exact_out))
    if native:
        instructions.append(_close_temporary(swap))
    return instructions


def sign(instructions: Sequence[Instruction], keypair: Keypair, blockhash: str) -> Signed:
    """Sign a transaction; it can land as long as ``blockhash`` is recent.

    Raises:
        SwapRefused: it does not fit into a packet.
    """
    message = Message.new_with_blockhash(instructions, keypair.pubkey(), Hash.from_string(blockhash))
    transaction = VersionedTransaction(message, [keypair])
    return Signed(str(transaction.signatures[0]), _checked(transaction))


def unsigned(instructions: Sequence[Instruction], wallet: str) -> bytes:
    """Return a transaction for a simulation that replaces its blockhash and verifies no signature."""
    message = Message.new_with_blockhash(instructions, Pubkey.from_string(wallet), Hash.default())
    return _checked(VersionedTransaction.populate(message, [Signature.default()]))


def written_accounts(instructions: Sequence[Instruction]) -> list[str]:
    """Return the accounts that a transaction writes: those that others pay a priority fee for, too."""
    addresses = [meta.pubkey for instruction in instructions for meta in instruction.accounts if meta.is_writable]
    return [str(address) for address in dict.fromkeys(addresses)]


def read_swap(payload: bytes) -> RecordedSwap:
    """Read the swap back from the bytes of a transaction that ``compose`` and ``sign`` made.

    Raises:
        ValueError: there is no such swap in it.
    """
    message = VersionedTransaction.from_bytes(payload).message
    keys = [str(key) for key in message.account_keys]
    for instruction in message.instructions:
        program = keys[instruction.program_id_index]
        accounts = [keys[index] for index in instruction.accounts]
        data = bytes(instruction.data)
        swap = raydium.read_swap(program, data, accounts) or meteora.read_swap(program, data, accounts)
        if swap is not None:
            return swap
    raise ValueError("The transaction holds no swap of Raydium or Meteora")


def _create_destination(accounts: SwapAccounts) -> Instruction:
    """Create the wallet's associated account of what it receives; one that is there stays as it is."""
    return Instruction(
        Pubkey.from_string(ASSOCIATED_TOKEN_PROGRAM),
        _CREATE_IDEMPOTENT,
        [
            _paying(accounts.payer),
            writable(accounts.destination),
            read_only(accounts.payer),
            read_only(accounts.output_mint),
            AccountMeta(SYSTEM_PROGRAM, is_signer=False, is_writable=False),
            read_only(accounts.output_program),
        ],
    )


def _open_temporary(swap: WalletSwap) -> list[Instruction]:
    """Create SOL's token account: what it has above its rent when it becomes one is wrapped."""
    wallet, address = Pubkey.from_string(swap.wallet), Pubkey.from_string(swap.temporary_account)
    wrapped = swap.amount_in if swap.input_mint == WRAPPED_SOL else 0
    return [
        create_account_with_seed(
            CreateAccountWithSeedParams(
                from_pubkey=wallet,
                to_pubkey=address,
                base=wallet,
                seed=swap.temporary_seed,
                lamports=TEMPORARY_RENT + wrapped,
                space=TOKEN_ACCOUNT_BYTES,
                owner=Pubkey.from_string(SPL_TOKEN),
            )
        ),
        Instruction(
            Pubkey.from_string(SPL_TOKEN),
            _INITIALIZE_ACCOUNT_3 + bytes(wallet),
            [writable(swap.temporary_account), read_only(WRAPPED_SOL)],
        ),
    ]


def _close_temporary(swap: WalletSwap) -> Instruction:
    """Give all that the temporary account has, rent included, back to the wallet."""
    return Instruction(
        Pubkey.from_string(SPL_TOKEN),
        _CLOSE_ACCOUNT,
        [writable(swap.temporary_account), writable(swap.wallet), signer(swap.wallet)],
    )


def _paying(address: str) -> AccountMeta:
    return AccountMeta(Pubkey.from_string(address), is_signer=True, is_writable=True)


def _checked(transaction: VersionedTransaction) -> bytes:
    payload = bytes(transaction)
    if len(payload) > LARGEST_TRANSACTION:
        raise SwapRefused(f"The swap takes {len(payload)} bytes: a transaction has at most {LARGEST_TRANSACTION}")
    return payload

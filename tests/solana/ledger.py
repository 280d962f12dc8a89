"""A Solana in this process: LiteSVM with blocks, blockhashes that expire, confirmations, and both AMMs' pools.

Real here: every instruction but the swaps, run by the programs that LiteSVM carries (System, SPL Token, Token-2022,
Associated Token, Memo, Compute Budget), with their errors, fees, rents and compute units; the checks of signatures;
atomicity; and the bytes of every account.

Stood in for:

- **The swap instruction of both AMMs.** Before a transaction runs, its message is rewritten: the swap becomes the two
  token transfers that the program makes, and these are run in the same transaction; then the pool's account is written.
  tests/solana/programs.py says how much moves, or with which error the program refuses, and it is held to the measured
  vectors. The transfer out of the vault is signed by its authority on a real chain; here the vault is lent to the payer
  for the length of the transaction. Accounts, signatures, fee and the index of a failed instruction stay as they were.
  Compute units are the transfers' own plus a constant a program, and its limit is enforced on the sum.
  With `RAYDIUM_CPMM_SO` or `METEORA_DAMM_V2_SO` in the environment (a path, as `solana program dump` writes it) that
  program is run instead of its stand-in. This has not been tried: no binary was at hand.
- **Consensus.** One node makes a block when `produce` says so, or every so often (`running`). A transaction lands in
  the first block after it was sent; it is `confirmed`, then `finalized`, so many blocks later. There is one state of
  the accounts, the newest: a node that reads at `confirmed` sees the block being processed. Every eighth slot stays
  empty, so that slots and block heights drift apart as they do on a real chain.
- **The network**, and what goes wrong in it: see tests/solana/faults.py.
"""

import hashlib
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from solders.account import Account
from solders.clock import Clock
from solders.hash import Hash
from solders.instruction import AccountMeta, CompiledInstruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, SimulatedTransactionInfo, TransactionMetadata
from solders.transaction_status import (
    InstructionErrorCustom,
    TransactionErrorInstructionError,
    TransactionErrorInsufficientFundsForRent,
)

from tests.solana.accounts import (
    ASSOCIATED_TOKEN_PROGRAM,
    COMPUTE_BUDGET_PROGRAM,
    MEMO_PROGRAM,
    SOL_DECIMALS,
    SYSTEM_PROGRAM,
    TOKEN_PROGRAM,
    WRAPPED_SOL,
    AmmConfig,
    MeteoraPool,
    Mint,
    RaydiumPool,
    TokenAccount,
    TransferFee,
    associated_account,
    owned_by,
    token_account,
    with_data,
    with_owner,
)
from tests.solana.faults import Dropped, Duplicated, Expiring, Failing, Fault, Late, SlowlyConfirmed
from tests.solana.programs import AmmProgram, Call, Effect, MeteoraDammV2, Moment, ProgramError, RaydiumCpmm, Transfer

RAYDIUM_MAINNET = "CPMMoo8L3F4NbTegBCKVNunggL7H1ZpdTHKxQB5qKP1C"
RAYDIUM_DEVNET = "DRaycpLY18LhpbydsBWbVJtxpNv9oXPgjRSfpF2bWpYb"
GENESIS_OF_DEVNET = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"
METEORA = "cpamdpZCGKUy5JxQXB4dcpGPiikHawvSWAd6mEn1sGG"
STATUS_CACHE_BLOCKS = 150
"""How many blocks a node remembers the statuses of without searching the transactions' history."""

_BINARIES = {"raydium": "RAYDIUM_CPMM_SO", "meteora": "METEORA_DAMM_V2_SO"}
_LARGEST_TRANSACTION = 1232
_DEFAULT_UNITS = 200_000
_REFUSED_DATA = b"\xff"
"""What the program at an AMM's address, a stand-in for none of its instructions, refuses."""
_MEMO = re.compile(r"oee:(?P<order_id>[^:]+):(?P<attempt>\d+)")
_FIRST_SLOT = 435_888_000
_EMPTY_SLOTS = 20_000_000
"""How many slots were empty before the first test: the height is behind the slot."""


class TransactionRefused(Exception):
    """The transaction is none that a node takes: malformed, too large, or not signed by whom it says."""


class Balances(NamedTuple):
    """What the accounts of a transaction held, in the order of its keys."""

    lamports: list[int]
    tokens: list[TokenAccount | None]


class Result(NamedTuple):
    """What running a transaction came to."""

    error: Any
    """As a node writes it: None, or for instance {"InstructionError": [3, {"Custom": 6005}]}."""
    fee: int
    units: int
    logs: tuple[str, ...]

    @property
    def is_for_a_block(self) -> bool:
        """Whether a leader takes it: what fails in an instruction pays its fee, what fails before that never lands."""
        return self.error is None or isinstance(self.error, dict)


@dataclass
class Sent:
    """A transaction on its way to a block."""

    signature: str
    payload: bytes
    transaction: VersionedTransaction
    height: int
    """Of the block in which it was sent first."""
    order_id: str | None = None
    attempt: int | None = None
    fault: Fault | None = None
    times: int = 1
    is_on_its_way: bool = True


class Landing(NamedTuple):
    """A transaction that a block took, whether it did what it should or failed."""

    sent: Sent
    slot: int
    height: int
    unix_timestamp: int
    result: Result
    before: Balances
    after: Balances


class _Prepared(NamedTuple):
    """A transaction with the token transfers in the place of its swap."""

    message: MessageV0 | Message
    swap_index: int | None = None
    """Of the instruction that became two, and is one in errors."""
    effect: Effect | None = None
    lent: tuple[Pubkey, Pubkey] | None = None
    """The vault that is the payer's while the transaction runs, and the payer."""
    units: int = 0
    """What the program's own part takes."""
    error: Any = None
    """What the swap fails with, in place of the error of the instruction that is run for it."""
    log: str = ""


@dataclass
class Ledger:
    """One chain, its blocks and all that is on it. Its methods may be called from any thread."""

    raydium_program: str = RAYDIUM_DEVNET
    genesis_hash: str = GENESIS_OF_DEVNET
    valid_blocks: int = 150
    """How many blocks a blockhash is good for."""
    confirmed_after: int = 1
    finalized_after: int = 32
    block_time: float = 0.4
    """Seconds of the chain's own time, a block."""
    unix_timestamp: float = 1_800_000_000
    epoch: int = 800
    faults: deque[Fault | None] = field(default_factory=deque)
    """What happens to the next transactions that are sent, one each; a resent one keeps what it has."""
    fault_of: Callable[[Sent], Fault | None] | None = None
    """Says what happens to a transaction for which `faults` has nothing."""
    priority_fees: tuple[int, ...] = (0, 0, 1000)
    """What the latest blocks' cheapest transactions paid, in micro-lamports a compute unit."""

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.slot, self.height = _FIRST_SLOT, _FIRST_SLOT - _EMPTY_SLOTS
        self.first_height = self.height
        self.slots: dict[int, int] = {}
        """The slot of the block at each height."""
        self.sent: dict[str, Sent] = {}
        self.landings: dict[str, Landing] = {}
        """By signature, in the order in which they landed."""
        self.already_processed: list[str] = []
        """What a block was given a second time, and did not take."""
        # Blockhashes are this ledger's own, and signatures are checked before a message is rewritten.
        self.svm = LiteSVM().with_sigverify(False).with_blockhash_check(False).with_transaction_history(0)
        self.raydium = RaydiumCpmm(self.raydium_program)
        self.meteora = MeteoraDammV2(METEORA)
        self._stand_ins: dict[Pubkey, AmmProgram] = {}
        self._last_valid: dict[Hash, int] = {}
        self._made = 0
        self._load_amms()
        self.wrapped_sol = Mint(WRAPPED_SOL, TOKEN_PROGRAM, SOL_DECIMALS)
        self.put(WRAPPED_SOL, owned_by(TOKEN_PROGRAM, self.wrapped_sol.data(supply=0)))
        self._start_block()

    def _load_amms(self) -> None:
        associated_token = self._existing(ASSOCIATED_TOKEN_PROGRAM)
        for amm in (self.raydium, self.meteora):
            variable = _BINARIES["raydium" if amm is self.raydium else "meteora"]
            if path := os.environ.get(variable):
                self.svm.add_program_from_file(amm.program, Path(path))
                continue
            # Some program has to be at the address, for the failures at the swap's place in a transaction.
            self.svm.add_program(amm.program, associated_token.data)
            self._stand_ins[amm.program] = amm

    # Blocks

    @property
    def moment(self) -> Moment:
        return Moment(self.slot, int(self.unix_timestamp), self.epoch)

    def blockhash(self, height: int | None = None) -> Hash:
        """The blockhash of the newest block, or of another."""
        return Hash.hash(f"block {self.height if height is None else height}".encode())

    def last_valid_height(self, blockhash: Hash) -> int | None:
        """The last block that takes a transaction with this blockhash; None when there never was such a block."""
        return self._last_valid.get(blockhash)

    def produce(self, blocks: int = 1) -> None:
        """Make blocks, of what was sent since the last one."""
        for _ in range(blocks):
            with self.lock:
                self.height += 1
                self.slot += 2 if self.height % 8 == 0 else 1
                self.unix_timestamp += self.block_time
                self._start_block()
                for sent in [sent for sent in self.sent.values() if sent.is_on_its_way]:
                    self._deliver(sent)

    def _start_block(self) -> None:
        self.slots[self.height] = self.slot
        self._last_valid[self.blockhash()] = self.height + self.valid_blocks
        self.svm.set_clock(Clock(self.slot, 0, self.epoch, self.epoch + 1, int(self.unix_timestamp)))

    @contextmanager
    def running(self, block_seconds: float) -> Iterator[None]:
        """Make a block every so often, for as long as the context lasts."""
        stopped = threading.Event()

        def run() -> None:
            while not stopped.wait(block_seconds):
                self.produce()

        thread = threading.Thread(target=run, name="ledger")
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    # Transactions

    @staticmethod
    def read(payload: bytes) -> VersionedTransaction:
        """Read a transaction's bytes.

        Raises:
            TransactionRefused: if they are none that this ledger understands.
        """
        if len(payload) > _LARGEST_TRANSACTION:
            raise TransactionRefused(f"{len(payload)} bytes: a transaction has at most {_LARGEST_TRANSACTION}")
        try:
            transaction = VersionedTransaction.from_bytes(payload)
            transaction.sanitize()
        except Exception as error:
            raise TransactionRefused(f"not a transaction: {error}") from error
        if isinstance(transaction.message, MessageV0) and transaction.message.address_table_lookups:
            raise TransactionRefused("this ledger has no address lookup tables")
        return transaction

    def send(self, payload: bytes) -> Sent:
        """Take a signed transaction for the coming blocks.

        Raises:
            TransactionRefused: if no leader would take it, whatever the state of the chain is.
        """
        transaction = self.read(payload)
        if not all(transaction.verify_with_results()):
            raise TransactionRefused("Transaction signature verification failure")
        signature = str(transaction.signatures[0])
        with self.lock:
            if sent := self.sent.get(signature):
                sent.times += 1
                sent.is_on_its_way = signature not in self.landings
                return sent
            sent = Sent(signature, payload, transaction, self.height, *_memo(transaction))
            sent.fault = self.faults.popleft() if self.faults else self.fault_of(sent) if self.fault_of else None
            self.sent[signature] = sent
            return sent

    def _deliver(self, sent: Sent) -> None:
        last_valid = self.last_valid_height(sent.transaction.message.recent_blockhash)
        match sent.fault:
            case Late(blocks) if self.height <= sent.height + blocks and last_valid is not None:
                return  # not yet
            case Expiring():
                sent.is_on_its_way = False
                return
            case Dropped(resends) if sent.times <= resends:
                sent.is_on_its_way = False
                return
        sent.is_on_its_way = False
        if last_valid is None or self.height > last_valid:
            return
        self._land(sent)
        if isinstance(sent.fault, Duplicated):
            self._land(sent)

    def _land(self, sent: Sent) -> None:
        if sent.signature in self.landings:
            self.already_processed.append(sent.signature)
            return
        before = self._balances(sent.transaction)
        failure = ProgramError(sent.fault.code, "it shall fail") if isinstance(sent.fault, Failing) else None
        result = self._run(sent.transaction, failure)
        if result.is_for_a_block:
            now = (self.slot, self.height, int(self.unix_timestamp))
            self.landings[sent.signature] = Landing(sent, *now, result, before, self._balances(sent.transaction))

    def simulate(self, payload: bytes) -> Result:
        """Run a transaction and forget what it did. Its signatures and its blockhash are not looked at."""
        with self.lock:
            return self._run(self.read(payload), is_simulation=True)

    def confirmation(self, landing: Landing, height: int) -> str:
        """How sure it is when the chain has got to a height: processed, confirmed or finalized."""
        slower = landing.sent.fault.blocks if isinstance(landing.sent.fault, SlowlyConfirmed) else 0
        depth = height - landing.height - slower
        if depth >= self.finalized_after:
            return "finalized"
        return "confirmed" if depth >= self.confirmed_after else "processed"

    def landings_of(self, order_id: str) -> list[Landing]:
        """Every transaction of an order that a block took, failed ones too."""
        with self.lock:
            return [landing for landing in self.landings.values() if landing.sent.order_id == order_id]

    def swaps_of(self, order_id: str) -> list[Landing]:
        """The transactions of an order that did what they should: at most one, whatever happened."""
        return [landing for landing in self.landings_of(order_id) if landing.result.error is None]

    def _balances(self, transaction: VersionedTransaction) -> Balances:
        accounts = [self.svm.get_account(key) for key in transaction.message.account_keys]
        return Balances(
            [account.lamports if account else 0 for account in accounts],
            [TokenAccount.read(account) if account else None for account in accounts],
        )

    # Running one, with the swap stood in for

    def _run(
        self, transaction: VersionedTransaction, failure: ProgramError | None = None, *, is_simulation: bool = False
    ) -> Result:
        prepared = self._prepare(transaction, failure)
        outcome = self._execute(transaction, prepared, is_simulation=True)
        if _units(outcome) + prepared.units > _units_limit(transaction):
            prepared = self._refusal(transaction, prepared.swap_index, "ComputationalBudgetExceeded", "out of units")
            outcome = self._execute(transaction, prepared, is_simulation=True)
        if not is_simulation:
            outcome = self._execute(transaction, prepared, is_simulation=False)
            if isinstance(outcome, TransactionMetadata) and prepared.effect:
                pool = prepared.effect.pool
                self.put(pool, with_data(self._existing(pool), prepared.effect.pool_data))
        return _result(outcome, prepared)

    def _prepare(self, transaction: VersionedTransaction, failure: ProgramError | None) -> _Prepared:
        """Put the token transfers that the AMM's program makes in the place of the swap."""
        message = transaction.message
        keys = message.account_keys
        swaps = [
            index for index, one in enumerate(message.instructions) if keys[one.program_id_index] in self._stand_ins
        ]
        if not swaps:
            return _Prepared(message)
        if len(swaps) > 1:
            raise TransactionRefused("this ledger stands in for one swap a transaction")
        index = swaps[0]
        instruction = message.instructions[index]
        amm = self._stand_ins[keys[instruction.program_id_index]]
        accounts = [_meta(message, account) for account in instruction.accounts]
        try:
            if failure:
                raise failure
            call = Call(instruction.data, accounts, self._reader_before(transaction, index), self.moment)
            effect = amm.swap(call)
        except ProgramError as error:
            return self._refusal(transaction, index, {"Custom": error.code}, str(error))
        transfers = [_transfer(message, transfer, effect.payer) for transfer in (effect.paid, effect.received)]
        instructions = [*message.instructions[:index], *transfers, *message.instructions[index + 1 :]]
        lent = (effect.received.source, effect.payer)
        return _Prepared(_with_instructions(message, instructions), index, effect, lent, amm.units)

    def _refusal(self, transaction: VersionedTransaction, index: int | None, error: Any, log: str) -> _Prepared:
        """Have the instruction fail where it stands, so that the fee is paid and nothing else happens."""
        assert index is not None
        message = transaction.message
        instructions = list(message.instructions)
        instructions[index] = CompiledInstruction(instructions[index].program_id_index, _REFUSED_DATA, b"")
        return _Prepared(_with_instructions(message, instructions), index, error=error, log=log)

    def _reader_before(self, transaction: VersionedTransaction, index: int) -> Callable[[Pubkey], Account | None]:
        """Read accounts as they are when the instruction's turn comes: after those before it have run."""
        message = transaction.message
        before = _Prepared(_with_instructions(message, message.instructions[:index]))
        outcome = self._execute(transaction, before, is_simulation=True)
        changed = dict(outcome.post_accounts()) if isinstance(outcome, SimulatedTransactionInfo) else {}

        def read(address: Pubkey) -> Account | None:
            account: Account | None = changed.get(address) or self.svm.get_account(address)
            return account if account and account.lamports else None

        return read

    def _execute(self, transaction: VersionedTransaction, prepared: _Prepared, *, is_simulation: bool) -> Any:
        rewritten = VersionedTransaction.populate(prepared.message, transaction.signatures)
        run = self.svm.simulate_transaction if is_simulation else self.svm.send_transaction
        with self._lent(prepared.lent):
            return run(rewritten)

    @contextmanager
    def _lent(self, lent: tuple[Pubkey, Pubkey] | None) -> Iterator[None]:
        if lent is None:
            yield
            return
        vault, payer = lent
        authority = Pubkey(self._existing(vault).data[32:64])
        self.put(vault, with_owner(self._existing(vault), payer))
        try:
            yield
        finally:
            self.put(vault, with_owner(self._existing(vault), authority))

    # What is on it

    def put(self, address: Pubkey, account: Account) -> None:
        """Set an account, as no transaction could."""
        with self.lock:
            self.svm.set_account(address, account)

    def account(self, address: Pubkey) -> Account | None:
        with self.lock:
            account: Account | None = self.svm.get_account(address)
            return account if account and account.lamports else None

    def _existing(self, address: Pubkey) -> Account:
        account = self.account(address)
        assert account is not None, f"nothing is at {address}"
        return account

    def new_keypair(self) -> Keypair:
        """A keypair that nobody had before; a ledger's are the same in every run."""
        with self.lock:
            self._made += 1
            return Keypair.from_seed(hashlib.sha256(f"keypair {self._made}".encode()).digest())

    def new_address(self) -> Pubkey:
        return self.new_keypair().pubkey()

    def new_wallet(self, lamports: int) -> Keypair:
        wallet = self.new_keypair()
        self.put(wallet.pubkey(), owned_by(SYSTEM_PROGRAM, b"", lamports))
        return wallet

    def new_mint(
        self,
        decimals: int,
        program: Pubkey = TOKEN_PROGRAM,
        fee: TransferFee | None = None,
        address: Pubkey | None = None,
    ) -> Mint:
        """A token, at an address of its own unless one is given; only one of Token-2022's can have a transfer fee."""
        mint = Mint(address or self.new_address(), program, decimals, newer_fee=fee)
        self.put(mint.address, owned_by(program, mint.data(supply=10**18)))
        return mint

    def give(self, owner: Pubkey, mint: Mint, amount: int) -> Pubkey:
        """Set what is in somebody's associated account, in base units; returns its address."""
        address = associated_account(owner, mint)
        self.put(address, token_account(mint, owner, amount))
        return address

    def lamports(self, address: Pubkey) -> int:
        account = self.account(address)
        return account.lamports if account else 0

    def held(self, owner: Pubkey, mint: Mint) -> int:
        """What is in somebody's associated account, in base units; 0 without one."""
        return self.tokens_in(associated_account(owner, mint))

    def tokens_in(self, address: Pubkey) -> int:
        account = self.account(address)
        tokens = TokenAccount.read(account) if account else None
        return tokens.amount if tokens else 0

    def new_raydium_pool(
        self,
        base: Mint,
        quote: Mint,
        amounts: tuple[int, int],
        *,
        config: AmmConfig = AmmConfig(),  # noqa: B008 - frozen
        open_time: int = 0,
        status: int = 0,
        enable_creator_fee: bool = False,
        owed: int = 0,
    ) -> Pubkey:
        """A pool of Raydium's CPMM with these amounts of both, in base units; the mints' order is the program's.

        ``owed`` is what the vaults have besides of each, to the protocol and once more to the fund. Pools whose configs
        have one index share the last one's.
        """
        (mint_0, amount_0), (mint_1, amount_1) = sorted(
            [(base, amounts[0]), (quote, amounts[1])], key=lambda side: bytes(side[0].address)
        )
        authority = self.raydium.authority
        vaults = (
            self._new_vault(mint_0, authority, amount_0 + 2 * owed),
            self._new_vault(mint_1, authority, amount_1 + 2 * owed),
        )
        observation = self.new_address()
        self.put(observation, owned_by(self.raydium.program, bytes(4075)))
        pool = RaydiumPool(
            *(self._config(config), vaults, (mint_0, mint_1), observation),
            status=status,
            open_time=open_time,
            enable_creator_fee=enable_creator_fee,
            fees_owed=(owed, owed, owed, owed),
        )
        address = self.new_address()
        self.put(address, owned_by(self.raydium.program, pool.data()))
        return address

    def new_meteora_pool(self, a: Mint, b: Mint, amounts: tuple[int, int], **settings: Any) -> Pubkey:
        """A pool of Meteora's DAMM v2 with these amounts of a and b, in base units; settings are MeteoraPool's."""
        vaults = tuple(
            self._new_vault(mint, self.meteora.authority, amount) for mint, amount in zip((a, b), amounts, strict=True)
        )
        address = self.new_address()
        pool = MeteoraPool((a, b), (vaults[0], vaults[1]), amounts, **settings)
        self.put(address, owned_by(self.meteora.program, pool.data()))
        return address

    def _new_vault(self, mint: Mint, authority: Pubkey, amount: int) -> Pubkey:
        vault = self.new_address()
        self.put(vault, token_account(mint, authority, amount))
        return vault

    def _config(self, config: AmmConfig) -> Pubkey:
        seeds = [b"amm_config", config.index.to_bytes(2, "big")]
        address = Pubkey.find_program_address(seeds, self.raydium.program)[0]
        self.put(address, owned_by(self.raydium.program, config.data()))
        return address


def _memo(transaction: VersionedTransaction) -> tuple[str | None, int | None]:
    """The order that a transaction's memo says it is for, and which attempt at it."""
    message = transaction.message
    for instruction in message.instructions:
        is_memo = message.account_keys[instruction.program_id_index] == MEMO_PROGRAM
        if is_memo and (said := _MEMO.fullmatch(instruction.data.decode())):
            return said["order_id"], int(said["attempt"])
    return None, None


def _meta(message: MessageV0 | Message, index: int) -> AccountMeta:
    header, total = message.header, len(message.account_keys)
    is_signer = index < header.num_required_signatures
    first_readonly = (
        header.num_required_signatures - header.num_readonly_signed_accounts
        if is_signer
        else total - header.num_readonly_unsigned_accounts
    )
    return AccountMeta(message.account_keys[index], is_signer, index < first_readonly)


def _transfer(message: MessageV0 | Message, transfer: Transfer, authority: Pubkey) -> CompiledInstruction:
    """TransferChecked, of either token program."""
    places = {key: place for place, key in enumerate(message.account_keys)}
    accounts = (transfer.source, transfer.mint.address, transfer.destination, authority)
    data = bytes([12]) + transfer.amount.to_bytes(8, "little") + bytes([transfer.mint.decimals])
    return CompiledInstruction(places[transfer.token_program], data, bytes(places[account] for account in accounts))


def _with_instructions(message: MessageV0 | Message, instructions: list[CompiledInstruction]) -> MessageV0 | Message:
    parts = (message.header, message.account_keys, message.recent_blockhash, instructions)
    if isinstance(message, MessageV0):
        return MessageV0(*parts, [])
    header = message.header
    return Message.new_with_compiled_instructions(
        header.num_required_signatures,
        header.num_readonly_signed_accounts,
        header.num_readonly_unsigned_accounts,
        *parts[1:],
    )


def _units(outcome: Any) -> int:
    units: int = _metadata(outcome).compute_units_consumed()
    return units


def _metadata(outcome: Any) -> TransactionMetadata:
    return outcome if isinstance(outcome, TransactionMetadata) else outcome.meta()


def _units_limit(transaction: VersionedTransaction) -> int:
    """What the transaction asks for, or what it gets without asking."""
    message = transaction.message
    programs = [message.account_keys[instruction.program_id_index] for instruction in message.instructions]
    for program, instruction in zip(programs, message.instructions, strict=True):
        if program == COMPUTE_BUDGET_PROGRAM and instruction.data[:1] == b"\x02":
            return int.from_bytes(instruction.data[1:5], "little")
    return _DEFAULT_UNITS * sum(program != COMPUTE_BUDGET_PROGRAM for program in programs)


def _result(outcome: Any, prepared: _Prepared) -> Result:
    metadata = _metadata(outcome)
    logs = (*metadata.logs(), *((f"Program log: {prepared.log}",) if prepared.log else ()))
    if not isinstance(outcome, FailedTransactionMetadata):
        return Result(None, metadata.fee(), metadata.compute_units_consumed() + prepared.units, logs)
    return Result(_error(outcome, prepared), metadata.fee(), metadata.compute_units_consumed(), logs)


def _error(outcome: FailedTransactionMetadata, prepared: _Prepared) -> Any:
    error = outcome.err()
    if isinstance(error, TransactionErrorInsufficientFundsForRent):
        return {"InsufficientFundsForRent": {"account_index": error.account_index}}
    if not isinstance(error, TransactionErrorInstructionError):
        return _name(error)
    index = error.index
    detail = {"Custom": error.err.code} if isinstance(error.err, InstructionErrorCustom) else _name(error.err)
    swap = prepared.swap_index
    if swap is not None and index == swap and prepared.error:
        detail = prepared.error
    elif swap is not None and index > swap and prepared.effect:
        index -= 1
    return {"InstructionError": [index, detail]}


def _name(error: Any) -> str:
    """The name of an error that says nothing but its name."""
    return str(error).rpartition(".")[2]

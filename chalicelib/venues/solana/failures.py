"""What the error of a transaction that landed, or was simulated, means.

A node tells an instruction by its number and an error of a program by its number. Which program that is, our own bytes
say: besides the venue's there are only the chain's own. Errors of the chain: ``TransactionError`` and
``InstructionError`` in Agave's ``sdk/transaction-error`` and ``sdk/instruction-error``; of the token programs:
``TokenError`` in spl-token-interface; of the System program: ``SystemError``. A venue's program passes on what a token
program answers it, so the small numbers are the token programs' there as well: its own start at 6000.
"""

from typing import Any

from solders.transaction import VersionedTransaction

from chalicelib.exact_json import encode_json
from chalicelib.venues.solana.clusters import SPL_TOKEN, TOKEN_2022
from chalicelib.venues.solana.token_programs import ASSOCIATED_TOKEN_PROGRAM
from chalicelib.venues.solana.transaction import MEMO_PROGRAM

SYSTEM = "11111111111111111111111111111111"
CHAIN_PROGRAMS = {
    SYSTEM: "the System program",
    SPL_TOKEN: "the Token program",
    TOKEN_2022: "the Token-2022 program",
    ASSOCIATED_TOKEN_PROGRAM: "the Associated Token Account program",
    "ComputeBudget111111111111111111111111111111": "the Compute Budget program",
    MEMO_PROGRAM: "the Memo program",
}
SLIPPAGE = {"raydium": 6005, "meteora": 6002}
"""With which error of its own a venue's program refuses a swap that would break its bound: measured."""
INSUFFICIENT = "insufficient funds"
TOKEN_ERRORS = {
    1: f"{INSUFFICIENT}: a token account holds less than the swap moves",
    17: "a token account of the swap is frozen",
}
ANCHOR_ERRORS = {3012: f"{INSUFFICIENT}: the wallet has no account of the token that the swap spends"}
"""``AccountNotInitialized`` of the framework that both programs are written in; a swap creates its other accounts."""
SYSTEM_ERRORS = {1: f"{INSUFFICIENT}: the wallet holds less SOL than the swap needs"}
ERRORS = {
    "InsufficientFundsForFee": f"{INSUFFICIENT}: the wallet cannot pay the transaction's fee",
    "AccountNotFound": f"{INSUFFICIENT}: the wallet holds no SOL to pay the transaction's fee",
    "BlockhashNotFound": "the transaction's blockhash is too old, or not known yet",
    "AlreadyProcessed": "the transaction has landed already",
}
INSTRUCTION_ERRORS = {
    "ComputationalBudgetExceeded": "the transaction's compute units were used up",
    "InsufficientFunds": INSUFFICIENT,
}


def describe_error(err: Any, payload: bytes, venue: str) -> str:
    """Say what an error means; one that is not known is shown as the node has it.

    Args:
        err: The error as JSON has it.
        payload: The transaction's bytes.
        venue: Whose program it swaps with.
    """
    match err:
        case str():
            return ERRORS.get(err, err)
        case {"InsufficientFundsForRent": {"account_index": int(index)}}:
            account = _account(payload, index)
            return f"{INSUFFICIENT}: account {account} would hold less SOL than an account must"
        case {"InstructionError": [int(index), detail]}:
            program = _program(payload, index)
            if program is not None:
                return _describe_instruction(index, detail, program, venue)
    return encode_json(err).decode()


def lacks_funds(err: Any, payload: bytes, venue: str) -> bool:
    """Whether an error is that the wallet has not what the swap takes: trying again would not help."""
    return describe_error(err, payload, venue).startswith(INSUFFICIENT)


def _describe_instruction(index: int, detail: Any, program: str, venue: str) -> str:
    where = f"{CHAIN_PROGRAMS.get(program, venue)}, instruction {index}"
    match detail:
        case {"Custom": int(code)}:
            meaning = _custom_error(code, program, venue)
            return f"{meaning} (error {code} of {where})" if meaning else f"error {code} of {where}"
        case str():
            meaning = INSTRUCTION_ERRORS.get(detail)
            return f"{meaning} ({where})" if meaning else f"{detail} ({where})"
    return f"{encode_json(detail).decode()} ({where})"


def _custom_error(code: int, program: str, venue: str) -> str | None:
    if program == SYSTEM:
        return SYSTEM_ERRORS.get(code)
    if program in (SPL_TOKEN, TOKEN_2022):
        return TOKEN_ERRORS.get(code)
    if program in CHAIN_PROGRAMS:
        return None
    if code == SLIPPAGE.get(venue):
        return "slippage: the price has moved beyond what the swap accepts"
    return {**TOKEN_ERRORS, **ANCHOR_ERRORS}.get(code)


def _program(payload: bytes, index: int) -> str | None:
    message = VersionedTransaction.from_bytes(payload).message
    if not 0 <= index < len(message.instructions):
        return None
    return str(message.account_keys[message.instructions[index].program_id_index])


def _account(payload: bytes, index: int) -> str:
    keys = VersionedTransaction.from_bytes(payload).message.account_keys
    return str(keys[index]) if 0 <= index < len(keys) else str(index)

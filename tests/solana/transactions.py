"""Transactions as a client writes them, for the tests of the ledger itself: the engine's own are not looked at here."""

import struct
from collections.abc import Sequence

from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from tests.solana.accounts import COMPUTE_BUDGET_PROGRAM, MEMO_PROGRAM, Mint, associated_account
from tests.solana.ledger import Ledger


def signed(
    ledger: Ledger, payer: Keypair, *instructions: Instruction, blockhash: Hash | None = None, legacy: bool = False
) -> bytes:
    """A transaction's bytes, signed by its payer, with the newest blockhash unless another is given."""
    recent = blockhash or ledger.blockhash()
    if legacy:
        message: Message | MessageV0 = Message.new_with_blockhash(list(instructions), payer.pubkey(), recent)
    else:
        message = MessageV0.try_compile(payer.pubkey(), list(instructions), [], recent)
    return bytes(VersionedTransaction(message, [payer]))


def pay(payer: Keypair, receiver: Pubkey, lamports: int) -> Instruction:
    return transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=receiver, lamports=lamports))


def memo(payer: Keypair, text: str) -> Instruction:
    return Instruction(MEMO_PROGRAM, text.encode(), [AccountMeta(payer.pubkey(), True, False)])


def units_limit(units: int) -> Instruction:
    return Instruction(COMPUTE_BUDGET_PROGRAM, struct.pack("<BI", 2, units), [])


def units_price(micro_lamports: int) -> Instruction:
    return Instruction(COMPUTE_BUDGET_PROGRAM, struct.pack("<BQ", 3, micro_lamports), [])


def raydium_swap(
    ledger: Ledger, payer: Keypair, pool: Pubkey, mints: tuple[Mint, Mint], amount: int, least: int
) -> Instruction:
    """Raydium's swap_base_input between the payer's associated accounts; mints are what is spent and what is bought."""
    data = _pool(ledger, pool)
    vaults = [Pubkey(data[72:104]), Pubkey(data[104:136])]
    side = [data[168:200], data[200:232]].index(bytes(mints[0].address))
    accounts = (
        *(payer.pubkey(), ledger.raydium.authority, Pubkey(data[8:40]), pool),
        *(associated_account(payer.pubkey(), mint) for mint in mints),
        *(vaults[side], vaults[1 - side], mints[0].program, mints[1].program),
        *(mints[0].address, mints[1].address, Pubkey(data[296:328])),
    )
    arguments = bytes.fromhex("8fbe5adac41e33de") + struct.pack("<QQ", amount, least)
    return Instruction(ledger.raydium.program, arguments, _metas(payer, accounts, writable=(3, 4, 5, 6, 7, 12)))


def meteora_swap(
    ledger: Ledger, payer: Keypair, pool: Pubkey, mints: tuple[Mint, Mint], amount: int, least: int
) -> Instruction:
    """Meteora's swap between the payer's associated accounts; mints are what is spent and what is bought."""
    data = _pool(ledger, pool)
    a_to_b = data[168:200] == bytes(mints[0].address)
    a, b = mints if a_to_b else reversed(mints)
    accounts = (
        *(ledger.meteora.authority, pool),
        *(associated_account(payer.pubkey(), mint) for mint in mints),
        *(Pubkey(data[232:264]), Pubkey(data[264:296]), a.address, b.address, payer.pubkey(), a.program, b.program),
        *(ledger.meteora.program, ledger.meteora.event_authority, ledger.meteora.program),
    )
    arguments = bytes([248, 198, 158, 145, 225, 117, 135, 200]) + struct.pack("<QQ", amount, least)
    return Instruction(ledger.meteora.program, arguments, _metas(payer, accounts, writable=(1, 2, 3, 4, 5)))


def _pool(ledger: Ledger, pool: Pubkey) -> bytes:
    account = ledger.account(pool)
    assert account is not None
    return account.data


def _metas(payer: Keypair, accounts: Sequence[Pubkey], writable: tuple[int, ...]) -> list[AccountMeta]:
    return [AccountMeta(key, key == payer.pubkey(), index in writable) for index, key in enumerate(accounts)]

"""Swaps that were measured by executing the real programs in LiteSVM: ``solana_vectors.json``.

30 of Raydium's CPMM and 60 of Meteora's DAMM v2, with the bytes of the accounts before each, what went in and out, and
for some of them the instruction that was sent.
"""

import base64
import json
import struct
from pathlib import Path
from typing import Any

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from chalicelib.resources.solana_rpc import Account
from chalicelib.venues.meteora import Meteora
from chalicelib.venues.raydium import Raydium
from chalicelib.venues.solana.clusters import SPL_TOKEN
from chalicelib.venues.solana.pool import SwapAccounts

RAYDIUM = Raydium("CPMMoo8L3F4NbTegBCKVNunggL7H1ZpdTHKxQB5qKP1C", "GpMZbSM2GgvTKHJirzeGfMFoaZ8UR2X7F4v8vHTvxFbL")
METEORA = Meteora("cpamdpZCGKUy5JxQXB4dcpGPiikHawvSWAd6mEn1sGG", "HLnpSz9h2S4hiLQ43rnSD9XkcUThA7B8hQMKmDaiTLcC")

_VECTORS = json.loads(Path(__file__).with_name("solana_vectors.json").read_text())
RAYDIUM_SWAPS: list[dict[str, Any]] = _VECTORS["raydiumCpmm"]
METEORA_SWAPS: list[dict[str, Any]] = _VECTORS["meteoraDammV2"]


def named(swaps: list[dict[str, Any]]) -> list[str]:
    """Return a name for each swap, for pytest."""
    return [f"{number}-{swap.get('kind', swap.get('case'))}".replace(" ", "-") for number, swap in enumerate(swaps)]


def an_account(owner: str, data: bytes) -> Account:
    return Account(owner=owner, lamports=1, data=data)


def a_token_account(mint: str, owner: str, amount: int, program: str = SPL_TOKEN, state: int = 1) -> Account:
    """Return a token account as its program writes it."""
    data = bytearray(165)
    data[0:64] = bytes(Pubkey.from_string(mint)) + bytes(Pubkey.from_string(owner))
    data[64:72] = struct.pack("<Q", amount)
    data[108] = state
    return an_account(program, bytes(data))


def altered(account: Account, offset: int, layout: str, value: int) -> Account:
    """Return an account with one field changed."""
    data = bytearray(account.data)
    struct.pack_into(layout, data, offset, value)
    return account._replace(data=bytes(data))


def raydium_accounts(swap: dict[str, Any]) -> dict[str, Account]:
    """Return what the chain held before a measured swap of Raydium."""
    pool = an_account(RAYDIUM.program, base64.b64decode(swap["poolData"]))
    config, vault_0, vault_1 = RAYDIUM.needs(swap["pool"], pool.data)
    mint_0, mint_1 = sorted_mints(swap)
    return {
        swap["pool"]: pool,
        config: an_account(RAYDIUM.program, base64.b64decode(swap["ammConfigData"])),
        vault_0: a_token_account(mint_0, RAYDIUM.authority, swap["vault0Amount"]),
        vault_1: a_token_account(mint_1, RAYDIUM.authority, swap["vault1Amount"]),
    }


def sorted_mints(swap: dict[str, Any]) -> tuple[str, str]:
    """Return a swap's mints in the order of the query that finds its pool."""
    (query,) = RAYDIUM.queries(swap["inputMint"], swap["outputMint"])
    return query.at[0][1], query.at[1][1]


def meteora_accounts(swap: dict[str, Any]) -> dict[str, Account]:
    """Return what the chain held before a measured swap of Meteora."""
    return {swap["pool"]: an_account(METEORA.program, base64.b64decode(swap["poolData"]))}


def swap_accounts(swap: dict[str, Any], source: str, destination: str) -> SwapAccounts:
    """Return the wallet's side of a measured swap; its mints were all of SPL Token."""
    return SwapAccounts(
        payer=swap["payer"],
        source=source,
        destination=destination,
        input_mint=swap["inputMint"],
        output_mint=swap["outputMint"],
        input_program=SPL_TOKEN,
        output_program=SPL_TOKEN,
    )


def as_measured(instruction: Instruction) -> dict[str, Any]:
    """Write an instruction as the measured ones are written."""
    return {
        "programId": str(instruction.program_id),
        "data": instruction.data.hex(),
        "accounts": [
            {"pubkey": str(account.pubkey), "signer": account.is_signer, "writable": account.is_writable}
            for account in instruction.accounts
        ],
    }

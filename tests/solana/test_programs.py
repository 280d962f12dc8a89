"""The stand-ins for the AMMs' programs do what the real programs were measured to do.

tests/unit/venues/solana_vectors.json holds 90 swaps that were measured by executing the real programs in LiteSVM: the
accounts' bytes before each, its instruction, and what came of it. Here the same instruction runs against the ledger,
on the same bytes; only its payer is another, whose key the tests have.
"""

import base64
import json
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from tests.solana.accounts import LAMPORTS, TOKEN_PROGRAM, WRAPPED_SOL, Mint, owned_by, token_account
from tests.solana.ledger import RAYDIUM_MAINNET, Landing, Ledger

_VECTORS = json.loads((Path(__file__).parents[1] / "unit/venues/solana_vectors.json").read_text())
_RAYDIUM, _METEORA = _VECTORS["raydiumCpmm"], _VECTORS["meteoraDammV2"]


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


class _Replay:
    """A measured swap's accounts on a ledger of its own."""

    def __init__(self, vector: dict[str, Any]) -> None:
        self.vector = vector
        self.ledger = Ledger(raydium_program=RAYDIUM_MAINNET, block_time=0)
        self.ledger.unix_timestamp = vector.get("unixTimestamp", 1_800_000_000)
        self.payer: Keypair = self.ledger.new_wallet(LAMPORTS)
        self.pool = Pubkey.from_string(vector["pool"])
        self.instruction = self._measured() if vector["instruction"] else self._written()
        put = self._put_raydium if "ammConfig" in vector else self._put_meteora
        put(_bytes(vector["poolData"]), [account.pubkey for account in self.instruction.accounts])

    def _measured(self) -> Instruction:
        wanted = self.vector["instruction"]
        accounts = [
            AccountMeta(
                self.payer.pubkey() if account["signer"] else Pubkey.from_string(account["pubkey"]),
                account["signer"],
                account["writable"],
            )
            for account in wanted["accounts"]
        ]
        return Instruction(Pubkey.from_string(wanted["programId"]), bytes.fromhex(wanted["data"]), accounts)

    def _written(self) -> Instruction:
        """The swap as its program wants it, for what was measured without keeping the instruction."""
        pool, ledger = _bytes(self.vector["poolData"]), self.ledger
        amounts = struct.pack("<QQ", self.vector["amountIn"], self.vector["amountOut"])
        payer, source, destination = self.payer.pubkey(), ledger.new_address(), ledger.new_address()
        mints = [Pubkey(pool[168:200]), Pubkey(pool[200:232])]
        if "ammConfig" in self.vector:
            exact_out = self.vector["kind"] == "swap_base_output"
            discriminator = bytes.fromhex("37d96256a34ab4ad" if exact_out else "8fbe5adac41e33de")
            vaults = [Pubkey(pool[72:104]), Pubkey(pool[104:136])]
            side = int(str(mints[1]) == self.vector["inputMint"])
            keys = [
                *(payer, ledger.raydium.authority, Pubkey(pool[8:40]), self.pool, source, destination),
                *(vaults[side], vaults[1 - side], TOKEN_PROGRAM, TOKEN_PROGRAM, mints[side], mints[1 - side]),
                Pubkey(pool[296:328]),
            ]
            writable, program = (3, 4, 5, 6, 7, 12), ledger.raydium.program
        else:
            discriminator, program = bytes.fromhex("f8c69e91e17587c8"), ledger.meteora.program
            keys = [
                *(ledger.meteora.authority, self.pool, source, destination),
                *(Pubkey(pool[232:264]), Pubkey(pool[264:296]), *mints, payer, TOKEN_PROGRAM, TOKEN_PROGRAM),
                *(program, ledger.meteora.event_authority, program),
            ]
            writable = (1, 2, 3, 4, 5)
        accounts = [AccountMeta(key, key == payer, index in writable) for index, key in enumerate(keys)]
        return Instruction(program, discriminator + amounts, accounts)

    def _put_raydium(self, pool: bytes, keys: list[Pubkey]) -> None:
        self.ledger.put(self.pool, owned_by(self.ledger.raydium.program, pool))
        config = _bytes(self.vector["ammConfigData"])
        self.ledger.put(keys[2], owned_by(self.ledger.raydium.program, config))
        self.ledger.put(keys[12], owned_by(self.ledger.raydium.program, bytes(4075)))
        mints = [
            Mint(Pubkey(pool[168:200]), TOKEN_PROGRAM, pool[331]),
            Mint(Pubkey(pool[200:232]), TOKEN_PROGRAM, pool[332]),
        ]
        for mint, vault, side in zip(mints, (pool[72:104], pool[104:136]), (0, 1), strict=True):
            held = token_account(mint, self.ledger.raydium.authority, self.vector[f"vault{side}Amount"])
            self.ledger.put(Pubkey(vault), held)
        self._put_tokens(mints, *keys[4:6])
        self.vaults = (keys[6], keys[7])

    def _put_meteora(self, pool: bytes, keys: list[Pubkey]) -> None:
        self.ledger.put(self.pool, owned_by(self.ledger.meteora.program, pool))
        # The vectors say nothing of the vaults' amounts: they do not enter a quote.
        mints = [Mint(Pubkey(pool[168:200]), TOKEN_PROGRAM, 9), Mint(Pubkey(pool[200:232]), TOKEN_PROGRAM, 9)]
        for mint, vault in zip(mints, (pool[232:264], pool[264:296]), strict=True):
            self.ledger.put(Pubkey(vault), token_account(mint, self.ledger.meteora.authority, 10**15))
        self._put_tokens(mints, *keys[2:4])
        is_a_spent = str(mints[0].address) == self.vector["inputMint"]
        self.vaults = (keys[4], keys[5]) if is_a_spent else (keys[5], keys[4])

    def _put_tokens(self, mints: list[Mint], source: Pubkey, destination: Pubkey) -> None:
        for mint in mints:
            if mint.address != WRAPPED_SOL:
                self.ledger.put(mint.address, owned_by(TOKEN_PROGRAM, mint.data(10**18)))
            is_spent = str(mint.address) == self.vector["inputMint"]
            amount = self.vector["amountIn"] if is_spent else 0
            held = token_account(mint, self.payer.pubkey(), amount)
            self.ledger.put(source if is_spent else destination, held)
        self.source, self.destination = source, destination

    def run(self, *, limit_by: int = 0) -> Landing:
        """Run the measured instruction, its bound stricter by so much."""
        data = bytearray(self.instruction.data)
        if limit_by:
            exact_out = self.vector.get("kind") == "swap_base_output"
            offset, change = (8, -limit_by) if exact_out else (16, limit_by)
            struct.pack_into("<Q", data, offset, struct.unpack_from("<Q", data, offset)[0] + change)
        instruction = Instruction(self.instruction.program_id, bytes(data), self.instruction.accounts)
        message = MessageV0.try_compile(self.payer.pubkey(), [instruction], [], self.ledger.blockhash())
        sent = self.ledger.send(bytes(VersionedTransaction(message, [self.payer])))
        self.ledger.produce()
        return self.ledger.landings[sent.signature]

    def pool_data(self) -> bytes:
        account = self.ledger.account(self.pool)
        assert account is not None
        return account.data


def _names(vectors: list[dict[str, Any]]) -> Iterator[str]:
    for number, vector in enumerate(vectors):
        yield f"{vector.get('kind') or vector['case'].replace(' ', '-')}-{number}"


every_swap = pytest.mark.parametrize("vector", _RAYDIUM + _METEORA, ids=list(_names(_RAYDIUM + _METEORA)))


@every_swap
def test_a_swap_moves_what_the_real_program_moved(vector: dict[str, Any]) -> None:
    replay = _Replay(vector)
    before = [replay.ledger.tokens_in(vault) for vault in replay.vaults]

    landing = replay.run()

    assert landing.result.error is None
    assert replay.ledger.tokens_in(replay.source) == 0
    assert replay.ledger.tokens_in(replay.destination) == vector["amountOut"]
    after = [replay.ledger.tokens_in(vault) for vault in replay.vaults]
    assert [after[0] - before[0], before[1] - after[1]] == [vector["amountIn"], vector["amountOut"]]


@every_swap
def test_a_bound_stricter_by_one_unit_fails_as_in_the_real_program_and_moves_nothing(vector: dict[str, Any]) -> None:
    replay = _Replay(vector)

    landing = replay.run(limit_by=1)

    assert landing.result.error == {"InstructionError": [0, {"Custom": 6005 if "ammConfig" in vector else 6002}]}
    assert landing.result.fee == 5000
    assert replay.ledger.tokens_in(replay.source) == vector["amountIn"]
    assert replay.pool_data() == _bytes(vector["poolData"])


def _successions(vectors: list[dict[str, Any]]) -> list[Any]:
    """Swaps of one pool between which nothing else happened to it, with the pool that the later one found."""
    return [
        pytest.param(earlier, later, id=f"{earlier.get('kind') or earlier['case'].replace(' ', '-')}-{number}")
        for number, (earlier, later) in enumerate(pairwise(vectors))
        if earlier["pool"] == later["pool"]
    ]


@pytest.mark.parametrize(("earlier", "later"), _successions(_RAYDIUM) + _successions(_METEORA))
def test_a_swap_leaves_the_pool_as_the_next_measured_one_found_it(earlier: Any, later: Any) -> None:
    replay = _Replay(earlier)
    replay.ledger.epoch = 0

    replay.run()

    assert replay.pool_data() == _bytes(later["poolData"])


def test_the_measured_schedules_are_of_many_fees() -> None:
    scheduled = [vector for vector in _METEORA if "scheduler" in vector["case"]]
    meteora = Ledger().meteora

    numerators = {meteora.fee_numerator(_bytes(vector["poolData"]), vector["unixTimestamp"]) for vector in scheduled}

    assert len(numerators) > 4

"""Transactions of a swap, executed by the built-in programs in LiteSVM.

The venues' programs are not among these: where something must be swapped, a transfer to or from a vault stands for it.
"""

import struct
from dataclasses import dataclass, replace
from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from chalicelib.venues.solana.clusters import SPL_TOKEN, TOKEN_2022
from chalicelib.venues.solana.pool import Moment, SwapAccounts
from chalicelib.venues.solana.token_programs import WRAPPED_SOL, TransferFee, associated_account
from chalicelib.venues.solana.transaction import (
    LARGEST_TRANSACTION,
    MEMO_PROGRAM,
    TEMPORARY_RENT,
    ComputeBudget,
    WalletSwap,
    compose,
    read_swap,
    sign,
    unsigned,
    written_accounts,
)
from chalicelib.venues.venue import SwapRefused
from tests.unit.venues.measured_swaps import (
    METEORA,
    METEORA_SWAPS,
    RAYDIUM,
    RAYDIUM_SWAPS,
    meteora_accounts,
    raydium_accounts,
)
from tests.unit.venues.solana.bank import SOL, Bank, transfer, transfer_fees

BUDGET = ComputeBudget(units=200_000, price=1_000)
ORDER = "5f0c7a52-4a52-4c3c-9f2e-0e1d1f4c9a77"
SIGNATURE_FEE = 5_000
MOST_UNITS_BESIDE_THE_SWAP = 40_000
"""The whole took 41 to 59 thousand with the real programs."""


@dataclass
class Till:
    """Stands for a pool: takes ``spends`` of what comes in, or gives ``gives`` of its own, which the wallet owns."""

    vault: str
    spends: int = 0
    gives: int = 0

    def swap(self, accounts: SwapAccounts, amount_in: int, amount_out: int, *, exact_out: bool) -> Instruction:
        if self.spends:
            into = (accounts.source, self.vault, accounts.payer, accounts.input_mint, accounts.input_program)
            return transfer(*into, self.spends)
        out_of = (self.vault, accounts.destination, accounts.payer, accounts.output_mint, accounts.output_program)
        return transfer(*out_of, self.gives)


def a_swap(pool: Any, wallet: str, input_mint: str, output_mint: str, **changes: Any) -> WalletSwap:
    fields: dict[str, Any] = {
        "pool": pool,
        "wallet": wallet,
        "order_id": ORDER,
        "attempt": 1,
        "input_mint": input_mint,
        "input_program": SPL_TOKEN,
        "output_mint": output_mint,
        "output_program": SPL_TOKEN,
        "amount_in": 2 * SOL,
        "amount_out": 1,
        "exact_out": False,
    }
    return WalletSwap(**{**fields, **changes})


@pytest.fixture
def bank() -> Bank:
    return Bank()


def test_what_is_spent_in_sol_is_wrapped_and_nothing_else(bank):
    mint = bank.make_mint()
    vault, own, destination = bank.vault(WRAPPED_SOL, 0), bank.hold(WRAPPED_SOL, 3 * SOL), bank.hold(mint, 0)
    swap = a_swap(Till(vault, spends=2 * SOL), bank.address, WRAPPED_SOL, mint)
    before = bank.lamports()

    bank.run(*compose(swap, BUDGET))

    assert bank.tokens(vault) == 2 * SOL
    assert bank.tokens(own) == 3 * SOL
    assert before - bank.lamports() == 2 * SOL + SIGNATURE_FEE + BUDGET.priority_fee
    assert bank.account(swap.temporary_account) is None
    assert bank.tokens(destination) == 0


def test_what_an_exact_output_did_not_take_comes_back(bank):
    mint = bank.make_mint()
    vault = bank.vault(WRAPPED_SOL, 0)
    bank.hold(mint, 0)
    swap = a_swap(Till(vault, spends=SOL), bank.address, WRAPPED_SOL, mint, exact_out=True)
    before = bank.lamports()

    bank.run(*compose(swap, BUDGET))

    assert before - bank.lamports() == SOL + SIGNATURE_FEE + BUDGET.priority_fee
    assert bank.account(swap.temporary_account) is None


def test_what_is_received_in_sol_is_unwrapped_and_nothing_else(bank):
    mint = bank.make_mint()
    vault, own = bank.vault(WRAPPED_SOL, 5 * SOL), bank.hold(WRAPPED_SOL, 3 * SOL)
    swap = a_swap(Till(vault, gives=4 * SOL), bank.address, mint, WRAPPED_SOL)
    before = bank.lamports()

    bank.run(*compose(swap, BUDGET))

    assert bank.lamports() - before == 4 * SOL - SIGNATURE_FEE - BUDGET.priority_fee
    assert bank.tokens(own) == 3 * SOL
    assert bank.account(swap.temporary_account) is None


def test_a_destination_is_created_once_and_kept(bank):
    sold, bought = bank.make_mint(), bank.make_mint()
    vault = bank.vault(bought, 1000)
    destination = associated_account(bank.address, bought, SPL_TOKEN)

    for attempt, held in ((1, 300), (2, 600)):
        swap = a_swap(Till(vault, gives=300), bank.address, sold, bought, attempt=attempt)
        bank.run(*compose(swap, BUDGET))

        assert bank.tokens(destination) == held


def test_a_swap_between_tokens_needs_no_temporary_account(bank):
    swap = a_swap(Till(bank.address, gives=1), bank.address, bank.make_mint(), bank.make_mint())

    programs = [str(instruction.program_id) for instruction in compose(swap, BUDGET)]

    assert len(programs) == 5
    assert programs.count("11111111111111111111111111111111") == 0


def test_a_fee_of_token_2022_is_kept_on_the_way_in_and_on_the_way_out(bank):
    fee = TransferFee(300, 10**6)
    mint = bank.make_mint(TOKEN_2022, transfer_fees(fee, fee, 0))
    bank.hold(mint, 1_000_000, TOKEN_2022)
    vault = bank.vault(mint, 0, TOKEN_2022)
    sell = a_swap(Till(vault, spends=777_777), bank.address, mint, WRAPPED_SOL, input_program=TOKEN_2022)

    bank.run(*compose(sell, BUDGET))

    assert bank.tokens(vault) == fee.after(777_777)

    buy = a_swap(Till(vault, gives=500_001), bank.address, WRAPPED_SOL, mint, output_program=TOKEN_2022)
    bank.run(*compose(buy, BUDGET))

    destination = associated_account(bank.address, mint, TOKEN_2022)
    assert bank.tokens(destination) == 1_000_000 - 777_777 + fee.after(500_001)


def test_a_destination_of_token_2022_is_created_by_its_own_program(bank):
    fee = TransferFee(300, 10**6)
    mint = bank.make_mint(TOKEN_2022, transfer_fees(fee, fee, 0))
    vault = bank.vault(mint, 1000, TOKEN_2022)
    swap = a_swap(Till(vault, gives=1000), bank.address, WRAPPED_SOL, mint, output_program=TOKEN_2022)

    bank.run(*compose(swap, BUDGET))

    assert bank.tokens(swap.accounts.destination) == 970
    assert bank.account(swap.accounts.destination).owner == TOKEN_2022


def test_a_temporary_account_is_paid_as_the_chain_asks(bank):
    assert bank.svm.minimum_balance_for_rent_exemption(165) == TEMPORARY_RENT


def test_nothing_happens_when_the_swap_fails(bank):
    mint = bank.make_mint()
    vault = bank.vault(WRAPPED_SOL, 0)
    swap = a_swap(Till(vault, spends=2 * SOL + 1), bank.address, WRAPPED_SOL, mint)
    before = bank.lamports()

    error = bank.fail(*compose(swap, BUDGET))

    assert "InstructionErrorCustom" in error
    assert before - bank.lamports() == SIGNATURE_FEE + BUDGET.priority_fee
    assert bank.account(swap.temporary_account) is None
    assert bank.account(swap.accounts.destination) is None


def test_each_try_of_each_order_has_a_signature_and_a_temporary_account_of_its_own(bank):
    mint = bank.make_mint()
    first = a_swap(Till(bank.address, spends=1), bank.address, WRAPPED_SOL, mint)
    tries = [first, replace(first, attempt=2), replace(first, order_id=ORDER.replace("5", "6"))]
    blockhash = str(bank.svm.latest_blockhash())

    assert len({sign(compose(swap, BUDGET), bank.wallet, blockhash).signature for swap in tries}) == 3
    assert len({swap.temporary_account for swap in tries}) == 3
    assert {len(swap.temporary_seed) for swap in tries} == {32}


def test_between_tokens_only_the_memo_tells_two_equal_orders_apart(bank):
    first = a_swap(Till(bank.address, gives=1), bank.address, bank.make_mint(), bank.make_mint())
    second = replace(first, order_id=ORDER.replace("5", "6"))

    for one, other in zip(compose(first, BUDGET), compose(second, BUDGET), strict=True):
        assert (one == other) == (str(one.program_id) != MEMO_PROGRAM)
    assert compose(first, BUDGET)[2].data == f"oee:{ORDER}:1".encode()
    assert compose(first, BUDGET)[2].accounts == []


def test_a_budget_is_said_in_units_and_their_price(bank):
    limit, price, *_ = compose(a_swap(Till(bank.address, gives=1), bank.address, bank.make_mint(), WRAPPED_SOL), BUDGET)

    assert limit.data == b"\2" + struct.pack("<I", 200_000)
    assert price.data == b"\3" + struct.pack("<Q", 1_000)
    assert ComputeBudget(1, 1).priority_fee == 1


def test_the_same_is_signed_or_tried_out_unsigned(bank):
    instructions = compose(a_swap(Till(bank.address, spends=1), bank.address, WRAPPED_SOL, bank.make_mint()), BUDGET)
    signed = sign(instructions, bank.wallet, str(bank.svm.latest_blockhash()))

    transaction = VersionedTransaction.from_bytes(signed.payload)
    trial = VersionedTransaction.from_bytes(unsigned(instructions, bank.address))

    assert str(transaction.signatures[0]) == signed.signature
    assert transaction.verify_with_results() == [True]
    assert trial.signatures == [Signature.default()]
    assert trial.message.instructions == transaction.message.instructions
    assert trial.message.account_keys == transaction.message.account_keys


def test_a_transaction_that_fits_into_no_packet_is_refused(bank):
    memo = Instruction(Pubkey.from_string(MEMO_PROGRAM), b"x" * LARGEST_TRANSACTION, [])

    with pytest.raises(SwapRefused, match=r"The swap takes 1\d\d\d bytes: a transaction has at most 1232"):
        sign([memo], bank.wallet, str(bank.svm.latest_blockhash()))
    with pytest.raises(SwapRefused, match="a transaction has at most 1232"):
        unsigned([memo], bank.address)


def real_pools() -> list[Any]:
    """Return a pool of each venue, as it was measured: each has SOL on one side."""
    moment = Moment(1, 1_800_000_045, 0)
    raydium, meteora = RAYDIUM_SWAPS[0], METEORA_SWAPS[0]
    return [
        RAYDIUM.live(raydium["pool"], raydium_accounts(raydium), moment),
        METEORA.live(meteora["pool"], meteora_accounts(meteora), moment),
    ]


def both_ways(pool: Any, wallet: str) -> list[WalletSwap]:
    mints = pool.mints
    return [a_swap(pool, wallet, mints[side], mints[1 - side]) for side in (0, 1)]


@pytest.mark.parametrize("pool", real_pools(), ids=["raydium", "meteora"])
def test_a_swap_in_a_real_pool_fits_with_room_to_spare(pool):
    wallet = Keypair()

    for swap in both_ways(pool, str(wallet.pubkey())):
        size = len(sign(compose(swap, BUDGET), wallet, str(Pubkey.new_unique())).payload)
        print(f"{swap.pool.address}: {size} bytes")
        assert size < LARGEST_TRANSACTION - 200


@pytest.mark.parametrize("pool", real_pools(), ids=["raydium", "meteora"])
def test_a_swap_is_read_back_from_its_bytes(pool):
    wallet = Keypair()

    for side, swap in enumerate(both_ways(pool, str(wallet.pubkey()))):
        read = read_swap(sign(compose(swap, BUDGET), wallet, str(Pubkey.new_unique())).payload)

        assert (read.program, read.pool, read.wallet) == (pool.program, pool.address, str(wallet.pubkey()))
        assert (read.input_mint, read.output_mint) == (swap.input_mint, swap.output_mint)
        assert (read.source, read.destination) == (swap.accounts.source, swap.accounts.destination)
        assert (read.input_vault, read.output_vault) == (pool.vaults[side], pool.vaults[1 - side])


@pytest.mark.parametrize("pool", real_pools(), ids=["raydium", "meteora"])
def test_a_swap_between_tokens_is_read_back_too(pool):
    wallet = Keypair()
    tokens = replace(pool, mints=(str(Pubkey.new_unique()), str(Pubkey.new_unique())))

    for side, swap in enumerate(both_ways(tokens, str(wallet.pubkey()))):
        read = read_swap(sign(compose(swap, BUDGET), wallet, str(Pubkey.new_unique())).payload)

        assert (read.input_mint, read.output_mint) == (swap.input_mint, swap.output_mint)
        assert (read.input_vault, read.output_vault) == (pool.vaults[side], pool.vaults[1 - side])


def test_a_transaction_without_a_swap_is_none_of_ours(bank):
    memo = Instruction(Pubkey.from_string(MEMO_PROGRAM), b"hello", [])

    with pytest.raises(ValueError, match="holds no swap of Raydium or Meteora"):
        read_swap(sign([memo], bank.wallet, str(bank.svm.latest_blockhash())).payload)


def test_the_accounts_that_others_bid_for_are_those_that_are_written(bank):
    pool = real_pools()[0]
    swap = both_ways(pool, bank.address)[0]

    written = written_accounts(compose(swap, BUDGET))

    assert {pool.address, *pool.vaults, swap.accounts.source, swap.accounts.destination} <= set(written)
    assert not {pool.config, *pool.mints, SPL_TOKEN} & set(written)
    assert len(written) == len(set(written))


def test_all_but_the_swap_takes_few_compute_units(bank):
    mint = bank.make_mint()
    spending = a_swap(Till(bank.vault(WRAPPED_SOL, 0), spends=2 * SOL), bank.address, WRAPPED_SOL, mint)

    took = bank.run(*compose(spending, BUDGET)).compute_units_consumed()

    print(f"creating the destination, wrapping, one transfer, unwrapping: {took} compute units")
    assert took < MOST_UNITS_BESIDE_THE_SWAP

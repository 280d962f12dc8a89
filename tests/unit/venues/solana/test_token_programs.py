"""Mints, token accounts and transfer fees, where it matters against the built-in token programs in LiteSVM."""

import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address

from chalicelib.resources.solana_rpc import Account
from chalicelib.venues.solana.clusters import SPL_TOKEN, TOKEN_2022
from chalicelib.venues.solana.pool import CLOCK, U64_MAX, Moment
from chalicelib.venues.solana.token_programs import NO_FEE, Mint, TokenAccount, TransferFee, associated_account
from chalicelib.venues.venue import SwapRefused
from tests.unit.venues.solana.bank import Bank, extension, mint_data, transfer, transfer_fees

OLDER, NEWER = TransferFee(100, 5_000), TransferFee(250, 70_000)
NOW = Moment(slot=1, unix_timestamp=2, epoch=7)
ADDRESS = str(Pubkey.new_unique())
AMOUNTS = st.integers(1, U64_MAX) | st.integers(1, 10_000)
FEES = st.builds(TransferFee, st.integers(0, 10_000), st.integers(0, U64_MAX) | st.integers(0, 10_000))


def read_mint(data, program=TOKEN_2022):
    return Mint.read(ADDRESS, Account(program, 1, data))


def test_a_plain_mint_has_decimals_and_no_fee():
    for program in (SPL_TOKEN, TOKEN_2022):
        mint = read_mint(mint_data(9), program)

        assert (mint.address, mint.program, mint.decimals) == (ADDRESS, program, 9)
        assert mint.transfer_fee(NOW) == NO_FEE


@pytest.mark.parametrize(("epoch", "fee"), [(6, OLDER), (7, NEWER), (8, NEWER)])
def test_a_fee_that_was_changed_takes_effect_with_its_epoch(epoch, fee):
    mint = read_mint(mint_data(6, extensions=transfer_fees(OLDER, NEWER, newer_from=7)))

    assert mint.transfer_fee(NOW._replace(epoch=epoch)) == fee


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (4, "confidential transfers"),
        (6, "default account state"),
        (9, "non-transferable"),
        (12, "permanent delegate"),
        (14, "transfer hook"),
        (16, "confidential transfer fee"),
        (24, "confidential minting and burning"),
        (26, "pausable"),
        (28, "permissioned burn"),
        (999, "an unknown one"),
    ],
)
def test_a_mint_with_an_unsafe_extension_is_refused_by_its_name(kind, name):
    extensions = extension(19, b"any metadata") + extension(kind, b"\1" * 64)

    with pytest.raises(SwapRefused, match=rf"^Mint {ADDRESS} has the Token-2022 extension {kind} \({name}\)"):
        read_mint(mint_data(6, extensions=extensions))


def test_what_changes_no_amount_is_no_matter():
    harmless = b"".join(extension(kind, bytes(64)) for kind in (3, 10, 18, 19, 20, 21, 22, 23, 25))

    assert read_mint(mint_data(6, extensions=harmless)).transfer_fee(NOW) == NO_FEE


def test_a_transfer_hook_that_nobody_can_set_is_none():
    assert read_mint(mint_data(6, extensions=extension(14, bytes(64)))).decimals == 6


def test_what_follows_the_last_extension_is_not_read():
    padded = transfer_fees(OLDER, OLDER, 0) + struct.pack("<HH", 0, 0) + extension(12, bytes(32))

    assert read_mint(mint_data(6, extensions=padded)).transfer_fee(NOW) == OLDER


def test_an_extension_that_is_cut_off_is_refused():
    with pytest.raises(SwapRefused, match="says 108 bytes, but 107 follow"):
        read_mint(mint_data(6, extensions=transfer_fees(OLDER, NEWER, 7)[:-1]))


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        (None, "does not exist"),
        (Account(ADDRESS, 1, mint_data(6)), "is no token program"),
        (Account(SPL_TOKEN, 1, bytes(165)), "is no mint"),
        (Account(TOKEN_2022, 1, bytes(165) + b"\2" + bytes(10)), "is no mint"),
        (Account(SPL_TOKEN, 1, bytes(82)), "is not initialized"),
    ],
    ids=["missing", "another-program", "token-account", "extended-token-account", "empty"],
)
def test_what_is_no_mint_is_refused(account, reason):
    with pytest.raises(SwapRefused, match=rf"^Mint {ADDRESS} .*{reason}"):
        Mint.read(ADDRESS, account)


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        (None, "does not exist"),
        (Account(ADDRESS, 1, bytes(165)), "is no token program"),
        (Account(SPL_TOKEN, 1, mint_data(6)), "is no token account"),
        (Account(TOKEN_2022, 1, bytes(165) + b"\1"), "is no token account"),
        (Account(SPL_TOKEN, 1, bytes(165)), "is not initialized"),
        (Account(SPL_TOKEN, 1, bytes(108) + b"\2" + bytes(56)), "is frozen"),
    ],
    ids=["missing", "another-program", "mint", "extended-mint", "empty", "frozen"],
)
def test_what_is_no_token_account_is_refused(account, reason):
    with pytest.raises(SwapRefused, match=rf"^Token account {ADDRESS} .*{reason}"):
        TokenAccount.read(ADDRESS, account)


def test_an_associated_account_is_derived_with_the_mints_own_program():
    wallet, mint = Pubkey.new_unique(), Pubkey.new_unique()

    old, new = (associated_account(str(wallet), str(mint), program) for program in (SPL_TOKEN, TOKEN_2022))

    assert old == str(get_associated_token_address(wallet, mint))
    assert new != old


def test_the_chains_time_is_read_from_its_own_account():
    bank = Bank()
    clock = bank.svm.get_clock()
    clock.slot, clock.epoch, clock.unix_timestamp = 12, 34, 1_800_000_000
    bank.svm.set_clock(clock)

    assert Moment.read(bank.account(CLOCK).data) == Moment(slot=12, epoch=34, unix_timestamp=1_800_000_000)


def test_other_bytes_are_no_time():
    with pytest.raises(ValueError, match="has 39 bytes, not 40"):
        Moment.read(bytes(39))


@pytest.mark.parametrize("amount", [1, 99, 100, 101, 12_345, 499_999, 500_000, 500_001, 7_000_000])
def test_the_fee_is_what_the_token_program_keeps(amount):
    bank = Bank()
    mint = bank.make_mint(TOKEN_2022, transfer_fees(OLDER, OLDER, 0))
    source = bank.hold(mint, 10_000_000, TOKEN_2022)
    destination = bank.vault(mint, 0, TOKEN_2022)
    fee = Mint.read(mint, bank.account(mint)).transfer_fee(NOW)

    bank.run(transfer(source, destination, bank.address, mint, TOKEN_2022, amount))

    assert bank.tokens(destination) == fee.after(amount) == amount - fee.on(amount)
    assert bank.tokens(source) == 10_000_000 - amount
    assert fee.before(fee.after(amount)) <= amount or fee.after(amount) == 0


@given(FEES, AMOUNTS)
def test_what_is_to_arrive_takes_the_smallest_transfer(fee, wanted):
    try:
        sent = fee.before(wanted)
    except SwapRefused:
        assume(False)

    assert fee.after(sent) >= wanted
    assert fee.after(sent - 1) < wanted


@given(FEES, AMOUNTS)
def test_a_fee_is_never_more_than_the_transfer_or_the_cap(fee, amount):
    assert 0 <= fee.on(amount) <= min(amount, fee.cap)


def test_what_can_never_arrive_is_refused():
    with pytest.raises(SwapRefused, match="18446744073709551615 base units never arrive"):
        TransferFee(1, 10**9).before(U64_MAX)


def test_a_fee_of_everything_up_to_a_cap_costs_the_cap():
    assert TransferFee(10_000, 500).before(7) == 507

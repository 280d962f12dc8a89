"""Raydium's CPMM, against swaps that were measured by executing the real program (``solana_vectors.json``)."""

import struct
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib.venues.raydium import RaydiumPool
from chalicelib.venues.solana.pool import U64_MAX, Moment, NotYetOpen
from chalicelib.venues.venue import SwapRefused
from tests.unit.venues.measured_swaps import (
    RAYDIUM,
    RAYDIUM_SWAPS,
    altered,
    an_account,
    as_measured,
    named,
    raydium_accounts,
    swap_accounts,
)

NOW = Moment(slot=1, unix_timestamp=1_800_000_000, epoch=0)
SWAP = RAYDIUM_SWAPS[0]
STATUS, OPEN_TIME, CREATOR_FEE = 329, 373, 390
AMOUNTS = st.integers(1, U64_MAX) | st.integers(1, 10_000)


def pool_of(swap=SWAP, **changes):
    return RAYDIUM.live(swap["pool"], {**raydium_accounts(swap), **changes}, NOW)


def altered_pool(offset, layout, value):
    return pool_of(**{SWAP["pool"]: altered(raydium_accounts(SWAP)[SWAP["pool"]], offset, layout, value)})


@st.composite
def pools(draw):
    reserves = draw(st.tuples(AMOUNTS, AMOUNTS))
    balances = tuple(min(reserve + draw(st.integers(0, 1000)), U64_MAX) for reserve in reserves)
    rate = draw(st.integers(0, 999_999) | st.sampled_from([100, 2500, 40_000]))
    return replace(pool_of(), reserves=reserves, balances=balances, fee_rate=rate)


def amount_out(pool: RaydiumPool, side: int, amount_in: int) -> int:
    """What a pool gives, or nothing where it refuses."""
    try:
        return pool.amount_out(pool.mints[side], amount_in)
    except SwapRefused:
        return 0


def amount_in(pool: RaydiumPool, side: int, wanted: int) -> int:
    """What so much costs; a pool that never gives it is of no interest."""
    try:
        return pool.amount_in(pool.mints[side], wanted)
    except SwapRefused:
        assume(False)
        raise


@pytest.mark.parametrize("swap", RAYDIUM_SWAPS, ids=named(RAYDIUM_SWAPS))
def test_a_quote_is_what_the_program_gave_to_the_unit(swap):
    pool = pool_of(swap)

    pool.check_open(NOW)
    if swap["kind"] == "swap_base_input":
        assert pool.amount_out(swap["inputMint"], swap["amountIn"]) == swap["amountOut"]
    else:
        assert pool.amount_in(swap["inputMint"], swap["amountOut"]) == swap["amountIn"]


SENT = [swap for swap in RAYDIUM_SWAPS if swap["instruction"]]


@pytest.mark.parametrize("swap", SENT, ids=named(SENT))
def test_an_instruction_is_what_the_program_took_byte_for_byte(swap):
    sent = swap["instruction"]
    wallet = swap_accounts(swap, sent["accounts"][4]["pubkey"], sent["accounts"][5]["pubkey"])
    bound = struct.unpack("<Q", bytes.fromhex(sent["data"])[16:])[0]

    assert as_measured(pool_of(swap).swap(wallet, swap["amountIn"], bound, exact_out=False)) == sent


def test_a_swap_for_an_exact_output_says_the_most_it_spends_first():
    wallet = swap_accounts(SWAP, SWAP["payer"], SWAP["payer"])

    exact_out = pool_of().swap(wallet, 500, 70, exact_out=True)

    assert exact_out.data == bytes.fromhex("37d96256a34ab4ad") + struct.pack("<QQ", 500, 70)
    assert exact_out.accounts == pool_of().swap(wallet, 500, 70, exact_out=False).accounts


def test_a_pool_is_found_whichever_mint_is_named_first():
    mints = SWAP["inputMint"], SWAP["outputMint"]

    (query,) = RAYDIUM.queries(*mints)

    assert RAYDIUM.queries(*reversed(mints)) == (query,)
    assert (query.program, query.size) == (RAYDIUM.program, 637)
    assert query.at == ((168, pool_of().mints[0]), (200, pool_of().mints[1]))


def test_what_is_owed_is_none_of_the_pools():
    swap = RAYDIUM_SWAPS[1]
    pool = pool_of(swap)

    assert pool.balances == (swap["vault0Amount"], swap["vault1Amount"])
    assert pool.reserves == (pool.balances[0], pool.balances[1] - 201_083 - 67_027)


def test_price_reserve_and_fee_are_exact():
    pool = pool_of()
    base, quote = pool.mints

    assert pool.mid_price(base) == (pool.reserve(quote), pool.reserve(base))
    assert pool.mid_price(quote) == (pool.reserve(base), pool.reserve(quote))
    assert str(pool.fee) == "0.0025"


def test_a_pool_whose_swaps_are_disabled_is_refused():
    with pytest.raises(SwapRefused, match=rf"^pool {SWAP['pool']} takes no swaps.*\(status 4\)"):
        altered_pool(STATUS, "<B", 0b100).check_open(NOW)


def test_a_pool_where_only_deposits_are_disabled_is_open():
    altered_pool(STATUS, "<B", 0b011).check_open(NOW)


def test_a_pool_that_opens_later_says_when():
    pool = altered_pool(OPEN_TIME, "<Q", NOW.unix_timestamp + 1)

    with pytest.raises(NotYetOpen, match=rf"^pool {SWAP['pool']} opens at 2027-01-15T08:00:01Z"):
        pool.check_open(NOW)
    pool.check_open(NOW._replace(unix_timestamp=NOW.unix_timestamp + 1))


def test_a_pool_that_opens_after_the_calendar_ends_is_refused_too():
    with pytest.raises(NotYetOpen, match=f"opens at Unix time {U64_MAX}"):
        altered_pool(OPEN_TIME, "<Q", U64_MAX).check_open(NOW)


def test_a_pool_that_pays_its_creator_is_refused():
    with pytest.raises(SwapRefused, match=rf"^pool {SWAP['pool']} pays a fee to its creator"):
        altered_pool(CREATOR_FEE, "<B", 1).check_open(NOW)


def test_a_pool_that_owes_more_than_it_has_is_refused():
    with pytest.raises(SwapRefused, match="is empty"):
        altered_pool(341, "<Q", U64_MAX)


@pytest.mark.parametrize("missing", range(4), ids=["pool", "config", "vault-0", "vault-1"])
def test_an_account_that_is_not_there_is_named(missing):
    address = list(raydium_accounts(SWAP))[missing]

    with pytest.raises(SwapRefused, match=f"{address} does not exist"):
        pool_of(**{address: None})


def test_an_account_of_another_program_is_no_pool():
    stranger = raydium_accounts(SWAP)[SWAP["pool"]]._replace(owner=SWAP["payer"])

    with pytest.raises(SwapRefused, match=f"belongs to the program {SWAP['payer']}"):
        pool_of(**{SWAP["pool"]: stranger})


@pytest.mark.parametrize("data", [b"", bytes(637)], ids=["closed", "zeroes"])
def test_an_account_of_another_kind_is_no_pool(data):
    with pytest.raises(SwapRefused, match="is of another kind"):
        pool_of(**{SWAP["pool"]: an_account(RAYDIUM.program, data)})


def test_a_fee_of_everything_is_refused():
    config = pool_of().config

    with pytest.raises(SwapRefused, match="leaves nothing to swap"):
        pool_of(**{config: altered(raydium_accounts(SWAP)[config], 12, "<Q", 10**6)})


@pytest.mark.parametrize("amount", [0, -1, U64_MAX + 1])
def test_an_amount_that_no_account_can_hold_is_refused(amount):
    pool = pool_of()

    with pytest.raises(SwapRefused, match=f"an amount of {amount} base units cannot be swapped"):
        pool.amount_out(pool.mints[0], amount)
    with pytest.raises(SwapRefused, match=f"an amount of {amount} base units cannot be swapped"):
        pool.amount_in(pool.mints[0], amount)


def test_what_a_vault_cannot_hold_is_refused():
    pool = pool_of()
    room = U64_MAX - pool.balances[0]

    pool.amount_out(pool.mints[0], room)
    with pytest.raises(SwapRefused, match="no more than 18446744073709551615 fit"):
        pool.amount_out(pool.mints[0], room + 1)


def test_not_all_that_a_pool_holds_can_be_bought():
    pool = pool_of()
    held = pool.reserve(pool.mints[1])

    with pytest.raises(SwapRefused, match=f"holds {held} base units of {pool.mints[1]}: {held} cannot be bought"):
        pool.amount_in(pool.mints[0], held)


def test_an_input_that_buys_nothing_is_refused():
    pool = replace(pool_of(), reserves=(1000, 1), balances=(1000, 1))

    with pytest.raises(SwapRefused, match="are worth less than one of the other"):
        pool.amount_out(pool.mints[0], 100)


def test_a_mint_of_another_pool_is_a_mistake():
    with pytest.raises(ValueError, match=f"not {SWAP['payer']}"):
        pool_of().reserve(SWAP["payer"])


@pytest.mark.parametrize("amount", [-1, U64_MAX + 1])
def test_an_instruction_holds_no_amount_beyond_64_bits(amount):
    with pytest.raises(ValueError, match="does not fit into a swap"):
        pool_of().swap(swap_accounts(SWAP, SWAP["payer"], SWAP["payer"]), amount, 1, exact_out=False)


@given(pools(), st.integers(0, 1), AMOUNTS)
def test_the_product_of_the_reserves_never_falls(pool, side, given_amount):
    taken = amount_out(pool, side, given_amount)

    fee = -(-given_amount * pool.fee_rate // 10**6)
    before, after = pool.reserves[side] * pool.reserves[1 - side], pool.reserves[1 - side] - taken
    assert (pool.reserves[side] + given_amount - fee) * after >= before


@given(pools(), st.integers(0, 1), AMOUNTS)
def test_there_and_back_never_profits(pool, side, given_amount):
    taken = amount_out(pool, side, given_amount)
    assume(taken > 0)
    moved = list(pool.reserves)
    moved[side] += given_amount
    moved[1 - side] -= taken
    assume(moved[1 - side] > 0)

    assert amount_out(replace(pool, reserves=tuple(moved), balances=tuple(moved)), 1 - side, taken) <= given_amount


@given(pools(), st.integers(0, 1), AMOUNTS)
def test_what_is_asked_for_costs_the_smallest_input_that_gives_it(pool, side, wanted):
    cost = amount_in(pool, side, wanted)

    assert amount_out(pool, side, cost) >= wanted
    assert cost == 1 or amount_out(pool, side, cost - 1) < wanted


@given(pools(), st.integers(0, 1), AMOUNTS, AMOUNTS)
def test_more_in_never_gives_less(pool, side, one, other):
    less, more = sorted((one, other))
    assume(pool.balances[side] + more <= U64_MAX)

    assert amount_out(pool, side, less) <= amount_out(pool, side, more)


@given(pools(), st.integers(0, 1), AMOUNTS)
def test_no_result_is_beyond_what_the_program_can_write(pool, side, amount):
    assert 0 <= amount_out(pool, side, amount) < pool.reserves[1 - side]
    assert 0 < amount_in(pool, side, amount) <= U64_MAX - pool.balances[side]

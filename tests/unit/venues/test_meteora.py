"""Meteora's DAMM v2, against swaps that were measured by executing the real program (``solana_vectors.json``)."""

import struct
from dataclasses import replace
from fractions import Fraction
from math import isqrt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib.venues.meteora import CompoundingLiquidity, ConcentratedLiquidity, MeteoraPool
from chalicelib.venues.solana.pool import U64_MAX, Moment, NotYetOpen
from chalicelib.venues.venue import SwapRefused
from tests.unit.venues.measured_swaps import (
    METEORA,
    METEORA_SWAPS,
    altered,
    an_account,
    as_measured,
    meteora_accounts,
    named,
    swap_accounts,
)

ACTIVATION = 1_800_000_000
NOW = Moment(slot=500, unix_timestamp=ACTIVATION + 45, epoch=0)
BY_CASE = {swap["case"]: swap for swap in reversed(METEORA_SWAPS)}
BOTH, ONLY_B, COMPOUNDING = BY_CASE["both tokens"], BY_CASE["only B"], BY_CASE["compounding"]
FEE_MODE, ACTIVATION_POINT, ACTIVATION_TYPE, STATUS, COLLECT_MODE, FEE_VERSION = 16, 472, 480, 481, 484, 486
AMOUNTS = st.integers(1, U64_MAX) | st.integers(1, 10_000)
MIN_SQRT_PRICE, MAX_SQRT_PRICE = 4_295_048_016, 79_226_673_521_066_979_257_578_248_091
"""The widest range that the program allows."""


def moment_of(swap):
    return NOW._replace(unix_timestamp=swap["unixTimestamp"])


def pool_of(swap=BOTH, moment=NOW, **changes):
    return METEORA.live(swap["pool"], {**meteora_accounts(swap), **changes}, moment)


def altered_pool(offset, layout, value, swap=BOTH, moment=NOW):
    pool = altered(meteora_accounts(swap)[swap["pool"]], offset, layout, value)
    return pool_of(swap, moment, **{swap["pool"]: pool})


@st.composite
def pools(draw):
    pool = pool_of(draw(st.sampled_from([BOTH, ONLY_B, COMPOUNDING])))
    if pool.collect_mode == 2:
        curve = CompoundingLiquidity(where="pool", reserves=draw(st.tuples(AMOUNTS, AMOUNTS)))
    else:
        lowest, price, highest = sorted(
            draw(st.tuples(*[st.integers(MIN_SQRT_PRICE, MAX_SQRT_PRICE) | st.integers(2**60, 2**68)] * 3))
        )
        curve = ConcentratedLiquidity(
            where="pool",
            liquidity=draw(st.integers(1, 2**128 - 1) | st.integers(2**64, 2**100)),
            sqrt_price=price,
            sqrt_min_price=lowest,
            sqrt_max_price=highest,
        )
    cliff = draw(st.integers(100_000, 990_000_000) | st.just(2_500_000))
    return replace(pool, curve=curve, fees=replace(pool.fees, cliff=cliff), balances=(0, 0))


def amount_out(pool: MeteoraPool, side: int, amount_in: int) -> int:
    """What a pool gives, or nothing where it refuses."""
    try:
        return pool.amount_out(pool.mints[side], amount_in)
    except SwapRefused:
        return 0


def moved(curve, side, amount_in):
    """Return the curve after a swap of so much, fees apart."""
    if isinstance(curve, CompoundingLiquidity):
        reserves = list(curve.reserves)
        reserves[1 - side] -= curve.amount_out(side, amount_in)
        reserves[side] += amount_in
        assume(min(reserves) > 0)
        return replace(curve, reserves=tuple(reserves))
    liquidity, price = curve.liquidity, curve.sqrt_price
    if side == 0:
        price = -(-liquidity * price // (liquidity + amount_in * price))
    else:
        price += (amount_in << 128) // liquidity
    return replace(curve, sqrt_price=price)


@pytest.mark.parametrize("swap", METEORA_SWAPS, ids=named(METEORA_SWAPS))
def test_a_quote_is_what_the_program_gave_to_the_unit(swap):
    moment = moment_of(swap)
    pool = pool_of(swap, moment)

    pool.check_open(moment)
    assert pool.amount_out(swap["inputMint"], swap["amountIn"]) == swap["amountOut"]


@pytest.mark.parametrize("swap", METEORA_SWAPS, ids=named(METEORA_SWAPS))
def test_what_the_program_gave_costs_no_more_than_was_paid_for_it(swap):
    pool = pool_of(swap, moment_of(swap))

    cost = pool.amount_in(swap["inputMint"], swap["amountOut"])

    assert cost <= swap["amountIn"]
    assert pool.amount_out(swap["inputMint"], cost) == swap["amountOut"]
    assert amount_out(pool, pool.mints.index(swap["inputMint"]), cost - 1) < swap["amountOut"]


SENT = [swap for swap in METEORA_SWAPS if swap["instruction"]]


@pytest.mark.parametrize("swap", SENT, ids=named(SENT))
def test_an_instruction_is_what_the_program_took_byte_for_byte(swap):
    sent = swap["instruction"]
    wallet = swap_accounts(swap, sent["accounts"][2]["pubkey"], sent["accounts"][3]["pubkey"])
    bound = struct.unpack("<Q", bytes.fromhex(sent["data"])[16:])[0]

    assert as_measured(pool_of(swap).swap(wallet, swap["amountIn"], bound, exact_out=False)) == sent


def test_each_side_keeps_its_own_token_program_whichever_goes_in():
    pool = pool_of()
    wallet = swap_accounts(BOTH, BOTH["payer"], BOTH["payer"])
    other = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"
    a_in = wallet._replace(input_mint=pool.mints[0], output_mint=pool.mints[1], input_program=other)
    b_in = wallet._replace(input_mint=pool.mints[1], output_mint=pool.mints[0], output_program=other)

    for accounts in (a_in, b_in):
        programs = pool.swap(accounts, 1, 1, exact_out=False).accounts[9:11]
        assert [str(program.pubkey) for program in programs] == [other, wallet.input_program]


def test_there_is_no_swap_for_an_exact_output():
    assert not METEORA.exact_out
    with pytest.raises(ValueError, match="no swap for an exact output"):
        pool_of().swap(swap_accounts(BOTH, BOTH["payer"], BOTH["payer"]), 1, 1, exact_out=True)


def test_a_pool_is_found_whichever_mint_its_maker_put_first():
    a, b = pool_of().mints

    assert METEORA.queries(a, b) == tuple(reversed(METEORA.queries(b, a)))
    assert [query.at for query in METEORA.queries(a, b)] == [((168, a), (200, b)), ((168, b), (200, a))]
    assert {(query.program, query.size) for query in METEORA.queries(a, b)} == {(METEORA.program, 1112)}


def test_a_quote_needs_the_pools_account_only():
    assert METEORA.needs(BOTH["pool"], meteora_accounts(BOTH)[BOTH["pool"]].data) == ()


@pytest.mark.parametrize("swap", [BOTH, ONLY_B, COMPOUNDING], ids=["both-tokens", "only-B", "compounding"])
def test_a_pool_is_as_deep_as_what_it_holds(swap):
    reserve_a, reserve_b = pool_of(swap).balances

    assert METEORA.depth(meteora_accounts(swap)[swap["pool"]].data) == isqrt(reserve_a * reserve_b)


def test_a_pool_whose_little_liquidity_lies_in_a_narrow_range_is_not_deep():
    deep = meteora_accounts(BOTH)[BOTH["pool"]]
    price = pool_of().curve.sqrt_price
    narrow = bytearray(deep.data)
    for offset, value in ((360, 2**120), (424, price - 1), (440, price + 1)):
        narrow[offset : offset + 16] = value.to_bytes(16, "little")

    assert pool_of(**{BOTH["pool"]: deep._replace(data=bytes(narrow))}).curve.liquidity > pool_of().curve.liquidity
    assert METEORA.depth(bytes(narrow)) < METEORA.depth(deep.data)


def test_an_empty_pool_has_no_depth():
    assert METEORA.depth(bytes(1112)) == 0


@pytest.mark.parametrize("swap", [BOTH, ONLY_B, COMPOUNDING], ids=["both-tokens", "only-B", "compounding"])
def test_what_the_curve_holds_is_what_the_program_counted(swap):
    pool = pool_of(swap)

    assert (pool.reserve(pool.mints[0]), pool.reserve(pool.mints[1])) == pool.balances


def test_price_and_fee_are_exact():
    pool = pool_of()
    a, b = pool.mints

    assert pool.mid_price(a) == (pool.curve.sqrt_price**2, 2**128)
    assert pool.mid_price(b) == (2**128, pool.curve.sqrt_price**2)
    assert str(pool.fee) == "0.0025"


def test_a_compounding_pools_price_is_that_of_its_reserves():
    pool = pool_of(COMPOUNDING)
    reserve_a, reserve_b = pool.balances

    assert pool.mid_price(pool.mints[0]) == (reserve_b, reserve_a)
    assert pool.mid_price(pool.mints[1]) == (reserve_a, reserve_b)


@pytest.mark.parametrize(
    ("case", "seconds", "fee"),
    [
        ("linear scheduler", 0, "0.04"),
        ("linear scheduler", 39, "0.04"),
        ("linear scheduler", 40, "0.0397"),
        ("linear scheduler", 40 * 80, "0.016"),
        ("linear scheduler", 10**9, "0.016"),
        ("linear scheduler", -1, "0.016"),
        ("exponential scheduler", 25, "0.39"),
        ("exponential scheduler", 50, "0.38025"),
    ],
)
def test_the_fee_falls_period_by_period_from_the_opening(case, seconds, fee):
    assert str(pool_of(BY_CASE[case], NOW._replace(unix_timestamp=ACTIVATION + seconds)).fee) == fee


@pytest.mark.parametrize(("version", "highest"), [(0, "0.5"), (1, "0.99")])
def test_no_fee_is_higher_than_its_version_allows(version, highest):
    pool = pool_of()

    assert str(replace(pool, fees=replace(pool.fees, version=version, cliff=10**9)).fee) == highest


def test_volatility_adds_to_the_fee_rounded_up():
    pool = pool_of()
    fees = replace(pool.fees, dynamic=True, control=3, bin_step=10, accumulator=20_000)

    # 3 · (20,000 · 10)² / 10¹¹ = 1.2
    assert fees.numerator("pool", 0) == pool.fees.cliff + 2
    assert replace(fees, dynamic=False).numerator("pool", 0) == pool.fees.cliff


def test_a_volatility_beyond_the_programs_numbers_is_refused():
    fees = replace(pool_of().fees, dynamic=True, control=2**32 - 1, bin_step=2**16 - 1, accumulator=2**128 - 1)

    with pytest.raises(SwapRefused, match="its dynamic fee overflows"):
        fees.numerator("pool", 0)


def test_a_fee_that_falls_by_a_share_is_cut_at_every_multiplication():
    fees = replace(pool_of().fees, cliff=500_000_000, mode=1, frequency=1, periods=2, reduction=50)

    # 500,000,000 · 0.995² is 495,012,500, but 0.995 is a little less in binary.
    assert fees.numerator("pool", 2) == 495_012_499


@pytest.mark.parametrize("reduction", [10_000, 10_001])
def test_a_fee_of_which_no_share_is_left_is_refused(reduction):
    fees = replace(pool_of().fees, mode=1, frequency=1, periods=2, reduction=reduction)

    assert fees.numerator("pool", 0) == fees.cliff
    with pytest.raises(SwapRefused, match="cannot fall 1 times"):
        fees.numerator("pool", 1)


@pytest.mark.parametrize("mode", [0, 1])
def test_a_fee_that_falls_below_nothing_is_refused(mode):
    fees = replace(pool_of().fees, mode=mode, frequency=1, periods=2, reduction=2**63)

    with pytest.raises(SwapRefused, match="cannot fall 2 times"):
        fees.numerator("pool", 5)


@pytest.mark.parametrize("mode", [2, 3, 4, 9])
def test_a_base_fee_of_another_mode_is_refused(mode):
    pool = altered_pool(FEE_MODE, "<B", mode)

    with pytest.raises(SwapRefused, match=rf"^pool {BOTH['pool']} has a base fee of mode {mode}"):
        pool.check_open(NOW)
    with pytest.raises(SwapRefused, match=f"base fee of mode {mode}"):
        pool.amount_out(BOTH["inputMint"], 1000)


def test_a_disabled_pool_is_refused():
    with pytest.raises(SwapRefused, match=rf"^pool {BOTH['pool']} takes no swaps.*\(status 1\)"):
        altered_pool(STATUS, "<B", 1).check_open(NOW)


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [(COLLECT_MODE, 3, "fee in mode 3"), (FEE_VERSION, 2, "version 2"), (ACTIVATION_TYPE, 2, "activation of type 2")],
    ids=["collect-mode", "fee-version", "activation-type"],
)
def test_a_pool_of_a_kind_that_is_not_known_is_refused(offset, value, reason):
    with pytest.raises(SwapRefused, match=reason):
        altered_pool(offset, "<B", value).check_open(NOW)


def test_a_pool_that_opens_at_a_later_time_says_when():
    pool = altered_pool(ACTIVATION_POINT, "<Q", NOW.unix_timestamp + 1)

    with pytest.raises(NotYetOpen, match=rf"^pool {BOTH['pool']} opens at 2027-01-15T08:00:46Z"):
        pool.check_open(NOW)
    pool.check_open(NOW._replace(unix_timestamp=NOW.unix_timestamp + 1))


def test_a_pool_that_opens_at_a_later_slot_says_which():
    pool = altered(meteora_accounts(BOTH)[BOTH["pool"]], ACTIVATION_POINT, "<Q", 501)
    pool = pool_of(**{BOTH["pool"]: altered(pool, ACTIVATION_TYPE, "<B", 0)})

    with pytest.raises(NotYetOpen, match="opens at slot 501; on the chain it is slot 500"):
        pool.check_open(NOW)
    pool.check_open(NOW._replace(slot=501))


@pytest.mark.parametrize("offset", [360, 424, 456], ids=["liquidity", "lowest-price", "price"])
def test_a_pool_without_liquidity_is_refused(offset):
    pool = altered(meteora_accounts(BOTH)[BOTH["pool"]], offset, "<Q", 0)

    with pytest.raises(SwapRefused, match="is empty"):
        pool_of(**{BOTH["pool"]: altered(pool, offset + 8, "<Q", 0)})


@pytest.mark.parametrize("offset", [680, 688], ids=["reserve-a", "reserve-b"])
def test_a_compounding_pool_without_reserves_is_refused(offset):
    with pytest.raises(SwapRefused, match="is empty"):
        altered_pool(offset, "<Q", 0, COMPOUNDING)


@pytest.mark.parametrize("account", [None, an_account(METEORA.program, b""), an_account(BOTH["payer"], b"")])
def test_what_is_no_pool_is_refused(account):
    with pytest.raises(SwapRefused, match=rf"^pool {BOTH['pool']} "):
        pool_of(**{BOTH["pool"]: account})


@pytest.mark.parametrize("amount", [0, -1, U64_MAX + 1])
def test_an_amount_that_no_account_can_hold_is_refused(amount):
    pool = pool_of()

    with pytest.raises(SwapRefused, match=f"an amount of {amount} base units cannot be swapped"):
        pool.amount_out(pool.mints[0], amount)
    with pytest.raises(SwapRefused, match=f"an amount of {amount} base units cannot be swapped"):
        pool.amount_in(pool.mints[0], amount)


def test_an_input_that_buys_nothing_is_refused():
    pool = pool_of(COMPOUNDING)
    scarce = replace(pool, curve=replace(pool.curve, reserves=(1000, 1)))

    with pytest.raises(SwapRefused, match=r"100 base units of .* are worth less than one of the other"):
        scarce.amount_out(pool.mints[0], 100)


@pytest.mark.parametrize("side", [0, 1])
def test_a_price_does_not_leave_its_range(side):
    pool = pool_of()
    price = pool.curve.sqrt_price
    narrow = replace(pool, curve=replace(pool.curve, sqrt_min_price=price - 2**50, sqrt_max_price=price + 2**50))
    mint, other = pool.mints[side], pool.mints[1 - side]

    with pytest.raises(SwapRefused, match="has not enough liquidity: its price would leave its range"):
        narrow.amount_out(mint, 10**9)
    with pytest.raises(SwapRefused, match="has not enough liquidity: its price would leave its range"):
        narrow.amount_in(mint, narrow.reserve(other) + 1)
    with pytest.raises(SwapRefused, match="has not enough liquidity: its price would leave its range"):
        narrow.amount_in(mint, U64_MAX)


def test_not_all_that_a_compounding_pool_holds_can_be_bought():
    pool = pool_of(COMPOUNDING)
    held = pool.reserve(pool.mints[0])

    with pytest.raises(SwapRefused, match=f"holds {held} base units: {held} cannot be bought"):
        pool.amount_in(pool.mints[1], held)


def test_what_a_pool_cannot_count_is_refused():
    pool = pool_of(COMPOUNDING)
    room = U64_MAX - pool.balances[0]

    pool.amount_out(pool.mints[0], room)
    with pytest.raises(SwapRefused, match="no more than 18446744073709551615 fit"):
        pool.amount_out(pool.mints[0], room + 1)


def test_more_than_an_account_can_hold_is_never_given():
    pool = pool_of()
    widest = {"sqrt_min_price": MIN_SQRT_PRICE, "sqrt_max_price": MAX_SQRT_PRICE}
    dear = replace(pool, curve=replace(pool.curve, liquidity=2**120, sqrt_price=MAX_SQRT_PRICE, **widest))

    with pytest.raises(SwapRefused, match=f"for {2**32} base units it would give \\d+, which nothing can hold"):
        dear.amount_out(pool.mints[0], 2**32)


@given(pools(), st.integers(0, 1), AMOUNTS)
def test_what_the_pool_is_worth_never_falls(pool, side, amount):
    """x·y = k on the reserves; with a range, on L/√P and L·√P, which the liquidity stands for."""
    curve = pool.curve
    try:
        taken = curve.amount_out(side, amount)
    except SwapRefused:
        assume(False)
    if isinstance(curve, CompoundingLiquidity):
        held = list(map(Fraction, curve.reserves))
    else:
        held = [Fraction(curve.liquidity, curve.sqrt_price), Fraction(curve.liquidity * curve.sqrt_price, 2**128)]

    assert (held[side] + amount) * (held[1 - side] - taken) >= held[0] * held[1]


@given(pools(), st.integers(0, 1), AMOUNTS)
def test_there_and_back_never_profits(pool, side, amount):
    taken = amount_out(pool, side, amount)
    assume(taken > 0)

    after = replace(pool, curve=moved(pool.curve, side, amount))

    assert amount_out(after, 1 - side, taken) <= amount


@given(pools(), st.integers(0, 1), AMOUNTS)
def test_what_is_asked_for_costs_the_smallest_input_that_gives_it(pool, side, wanted):
    try:
        cost = pool.amount_in(pool.mints[side], wanted)
    except SwapRefused:
        assume(False)

    assert amount_out(pool, side, cost) >= wanted
    assert cost == 1 or amount_out(pool, side, cost - 1) < wanted


@given(pools(), st.integers(0, 1), AMOUNTS)
def test_what_an_input_gives_can_be_asked_for(pool, side, amount):
    taken = amount_out(pool, side, amount)
    assume(taken > 0)

    assert pool.amount_in(pool.mints[side], taken) <= amount


@given(pools(), st.integers(0, 1), AMOUNTS, AMOUNTS)
def test_more_in_never_gives_less(pool, side, one, other):
    less, more = sorted((one, other))
    taken = amount_out(pool, side, more)
    assume(taken > 0)

    assert amount_out(pool, side, less) <= taken


@given(pools(), st.integers(0, 1), AMOUNTS)
def test_no_more_comes_out_than_is_there(pool, side, amount):
    assert 0 <= amount_out(pool, side, amount) <= min(pool.reserve(pool.mints[1 - side]), U64_MAX)

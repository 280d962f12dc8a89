"""The simulated market: base prices, their walk, and how a venue's price differs from them."""

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.orders.tokens import TOKENS
from chalicelib.venues.simulated.market import Market
from chalicelib.venues.simulated.prices import DOLLARS, Prices, SteeredPair
from tests.builders import NOON
from tests.clocks import StoppedClock

RANGE = (Decimal("0.98"), Decimal("1.02"))
HOUR = range(0, 3600, 7)
PAIRS = [f"{token_in}/{token_out}" for token_in in TOKENS for token_out in TOKENS if token_in != token_out]


class Table:
    """Rows as Postgres would answer them, and the statements that came."""

    def __init__(self, *rows):
        self.rows = list(rows)
        self.reads = 0
        self.written = []

    def run(self, statement, parameters):
        if statement.startswith("SELECT"):
            self.reads += 1
            return self.rows
        self.written.append(parameters)
        return []


def row(pair, base_price, walk="0"):
    return {"pair": pair, "base_price": Decimal(base_price), "walk": Decimal(walk), "set_at": NOON}


def prices(*rows, seed=None, seconds=0.0):
    steered = {values["pair"]: SteeredPair(**values) for values in rows}
    return Prices(steered=steered, seed=seed, at=NOON + timedelta(seconds=seconds))


def market(*rows, seed=None, at=NOON):
    return Market(Table(*rows), seed, StoppedClock(at))


# --- Base prices ---


@pytest.mark.parametrize(
    ("pair", "base"), [("SOL/USDC", "150"), ("SOL/RAY", "60"), ("BONK/USDT", "0.00002"), ("USDC/USDT", "1")]
)
def test_a_pair_starts_with_the_ratio_of_two_prices_in_dollars(pair, base):
    assert prices().base(pair) == Decimal(base)


def test_a_price_that_was_set_goes_before_the_one_it_started_with():
    assert prices(row("SOL/USDC", "140")).base("SOL/USDC") == 140


def test_the_reverse_of_a_pair_follows_it():
    assert prices(row("SOL/USDC", "160")).base("USDC/SOL") == Decimal("0.00625")


def test_the_reverse_of_a_pair_follows_its_walk():
    steered = row("SOL/USDC", "160", walk="0.1")
    for second in HOUR:
        now = prices(steered, seconds=second)
        assert abs(now.base("SOL/USDC") * now.base("USDC/SOL") - 1) < Decimal("1e-50")


def test_setting_a_pair_moves_no_other():
    assert prices(row("SOL/USDC", "140")).base("SOL/USDT") == 150


@pytest.mark.parametrize("pair", ["WIF/USDC", "USDC/WIF", "SOL/XYZ", "XYZ/SOL", "SOL", "", "SOL/USDC/RAY"])
def test_a_pair_without_a_price_has_no_pool(pair):
    assert prices().base(pair) is None
    assert prices().mid("raydium", pair, RANGE) is None


def test_a_token_without_a_price_in_dollars_goes_live_when_its_price_is_set():
    launched = prices(row("WIF/USDC", "2.5"))

    assert launched.base("WIF/USDC") == Decimal("2.5")
    assert launched.base("USDC/WIF") == Decimal("0.4")
    assert launched.base("WIF/SOL") is None


@pytest.mark.parametrize(
    ("pair", "dollars"), [("SOL/USDC", "150"), ("USDC/WIF", "1"), ("WIF/USDC", "2.5"), ("WIF/SOL", "300")]
)
def test_a_token_without_a_price_in_dollars_is_worth_what_it_trades_for(pair, dollars):
    assert prices(row("WIF/USDC", "2.5"), row("WIF/SOL", "2")).dollars(pair) == Decimal(dollars)


def test_every_pair_that_has_a_price_has_a_value_in_dollars():
    assert all(prices(row(pair, "2")).dollars(pair) > 0 for pair in PAIRS)
    # Of two tokens without a price in dollars neither would say what the other is worth.
    assert TOKENS.keys() - DOLLARS.keys() == {"WIF"}


# --- The walk ---


def test_without_a_walk_a_base_price_stands_still():
    assert {prices(row("SOL/USDC", "140"), seconds=second).base("SOL/USDC") for second in HOUR} == {140}


@pytest.mark.parametrize("seed", [None, "s"])
def test_a_walk_wanders_within_its_bounds_and_uses_them(seed):
    seen = [prices(row("SOL/USDC", "100", walk="0.1"), seed=seed, seconds=second).base("SOL/USDC") for second in HOUR]

    assert 90 <= min(seen) < 95
    assert 105 < max(seen) <= 110


def test_a_walk_moves_by_little_in_a_second():
    seen = [prices(row("SOL/USDC", "100", walk="0.1"), seconds=second).base("SOL/USDC") for second in range(1800)]
    steps = [abs(after - before) for before, after in pairwise(seen)]

    assert max(steps) < Decimal("0.5")
    assert sum(step > 0 for step in steps) > 1700


def test_pairs_walk_apart():
    rows = (row("SOL/USDC", "100", walk="0.1"), row("SOL/USDT", "100", walk="0.1"))

    assert prices(*rows).base("SOL/USDC") != prices(*rows).base("SOL/USDT")


# --- A venue's own price ---


def test_with_seeds_prices_fill_the_range_over_the_seeds():
    factors = [prices(seed=str(seed)).mid("raydium", "USDC/USDT", RANGE) for seed in range(300)]

    assert Decimal("0.98") <= min(factors) < Decimal("0.984")
    assert Decimal("1.016") < max(factors) <= Decimal("1.02")


def test_without_a_seed_a_price_moves_a_little_every_second():
    seen = [prices(seconds=second).mid("raydium", "SOL/USDC", RANGE) for second in range(600)]
    steps = [abs(after - before) for before, after in pairwise(seen)]

    # At most 1.5 / 10 s of the range's 4 %.
    assert max(steps) <= Decimal("0.006") * 150 + Decimal("1e-6")
    assert sum(step > 0 for step in steps) > 590


@given(st.text(), st.floats(0, 1e8))
def test_with_a_seed_time_does_not_move_a_price(seed, seconds):
    first, later = (prices(seed=seed, seconds=moment).mid("raydium", "SOL/USDC", RANGE) for moment in (0, seconds))

    assert first == later


def test_with_a_seed_nothing_but_the_base_moves_a_price():
    before, after = (prices(*rows, seed="s") for rows in ((), (row("SOL/USDC", "75"),)))

    halved = before.mid("raydium", "SOL/USDC", RANGE) / 2
    assert abs(after.mid("raydium", "SOL/USDC", RANGE) / halved - 1) < Decimal("1e-11")


@pytest.mark.parametrize("seed", [None, "s"])
def test_venues_and_pairs_differ(seed):
    now = prices(row("SOL/USDT", "150"), seed=seed)

    assert now.mid("raydium", "SOL/USDC", RANGE) != now.mid("meteora", "SOL/USDC", RANGE)
    assert now.mid("raydium", "SOL/USDC", RANGE) != now.mid("raydium", "SOL/USDT", RANGE)


def test_another_seed_gives_other_prices():
    assert len({prices(seed=seed).mid("raydium", "SOL/USDC", RANGE) for seed in ("a", "b", None)}) == 3


@pytest.mark.parametrize("seed", [None, "s"])
def test_two_processes_see_the_same_market_at_the_same_moment(seed):
    walking = row("RAY/USDC", "3", walk="0.2")
    one, other = market(walking, seed=seed), market(walking, seed=seed)

    for pair in ("RAY/USDC", "USDC/RAY", "SOL/USDC"):
        assert one.prices().mid("raydium", pair, RANGE) == other.fresh_prices().mid("raydium", pair, RANGE)


# --- Reading ---


def test_the_table_is_read_again_after_a_fifth_of_a_second():
    table, clock = Table(), StoppedClock()
    seen = Market(table, None, clock)

    assert seen.prices().base("SOL/USDC") == 150
    table.rows = [row("SOL/USDC", "140")]
    clock.pass_time(0.19)
    assert seen.prices().base("SOL/USDC") == 150
    clock.pass_time(0.01)
    assert seen.prices().base("SOL/USDC") == 140
    assert table.reads == 2


def test_a_fresh_look_reads_the_table_whenever_it_is_taken():
    table = Table()
    seen = Market(table, None, StoppedClock())
    seen.prices()
    table.rows = [row("SOL/USDC", "140")]

    assert seen.fresh_prices().base("SOL/USDC") == 140
    assert seen.prices().base("SOL/USDC") == 140, "and everybody else sees what it saw"


def test_time_goes_on_between_two_looks_at_the_table():
    table, clock = Table(), StoppedClock()
    seen = Market(table, None, clock)
    before = seen.prices().mid("raydium", "SOL/USDC", RANGE)
    clock.pass_time(0.15)

    assert seen.prices().mid("raydium", "SOL/USDC", RANGE) != before
    assert table.reads == 1


# --- Steering ---


@pytest.mark.parametrize(
    ("pair", "base_price", "walk", "named"),
    [
        ("SOL/XYZ", "1", 0, "pair is SOL/XYZ"),
        ("SOL/SOL", "1", 0, "pair is SOL/SOL"),
        ("SOL", "1", 0, "pair is SOL"),
        ("", "1", 0, "pair is "),
        ("SOL/USDC", "0", 0, "basePrice is 0"),
        ("SOL/USDC", "-1", 0, "basePrice is -1"),
        ("SOL/USDC", "NaN", 0, "basePrice is NaN"),
        ("SOL/USDC", "Infinity", 0, "basePrice is Infinity"),
        ("SOL/USDC", "1e999999", 0, r"basePrice is 1E\+999999"),
        ("SOL/USDC", "1e-16", 0, "basePrice is 1E-16"),
        ("SOL/USDC", "1.234567890123", 0, "at most 12 significant digits"),
        ("SOL/USDC", "140", -0.01, "walk is -0.01"),
        ("SOL/USDC", "140", Decimal("0.51"), "walk is 0.51; it must be a fraction from 0 to 0.5"),
        ("SOL/USDC", "140", float("nan"), "walk is nan"),
        ("WIF/USDC", None, 0, "basePrice is missing; WIF/USDC"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_and_nothing_is_set(pair, base_price, walk, named):
    table = Table()

    with pytest.raises(ValueError, match=named):
        Market(table, None, StoppedClock()).steer(pair, base_price and Decimal(base_price), walk)

    assert table.written == []


@pytest.mark.parametrize("base_price", ["1e-15", "0.000000133333333333", "140", "1.23456789012", "1e15"])
@pytest.mark.parametrize("walk", [0, "0.5"])
def test_every_price_and_walk_within_bounds_can_be_set(base_price, walk):
    table = Table()

    Market(table, None, StoppedClock()).steer("SOL/USDC", Decimal(base_price), Decimal(walk))

    assert [(new["base_price"], new["walk"]) for new in table.written] == [(Decimal(base_price), Decimal(walk))]

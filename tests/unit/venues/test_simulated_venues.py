"""Simulated Raydium and Meteora: ranges, fees, delays, faults, and numbers that a seed repeats."""

import hashlib
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest
from msgspec.structs import replace

from chalicelib.execution.swap_plan import plan_swap
from chalicelib.orders.order import Side
from chalicelib.orders.swap import SignedTransaction
from chalicelib.venues.simulated.amm import Simulation
from chalicelib.venues.simulated.chain import SimulatedChain, within_bounds
from chalicelib.venues.simulated.chance import Chance
from chalicelib.venues.simulated.faults import FaultRates
from chalicelib.venues.simulated.market import Market
from chalicelib.venues.simulated.meteora import meteora
from chalicelib.venues.simulated.raydium import raydium
from chalicelib.venues.simulated.transaction import read_transaction, sign
from chalicelib.venues.venue import SwapRefused, VenueUnavailable
from tests.builders import NOON, a_quote, a_trade, an_order
from tests.clocks import StoppedClock

DRAWS = 300
BASE = Decimal(150)  # SOL/USDC


class FixedFaults:
    def __init__(self, **rates):
        self._rates = FaultRates(**rates)

    def rates(self):
        return self._rates


class UnsteeredMarket:
    """A database in which no base price is set, or these."""

    def __init__(self, **base_prices):
        self._rows = [
            {"pair": pair, "base_price": Decimal(price), "walk": Decimal(0), "set_at": NOON}
            for pair, price in base_prices.items()
        ]

    def run(self, statement, parameters):
        return self._rows


class SteppingClock(StoppedClock):
    """A clock that goes on by seven seconds each time it is read."""

    def now(self):
        self.pass_time(7)
        return super().now()


def venues(seed=None, latency=1.0, clock=None, base_prices=None, **rates):
    clock = clock or StoppedClock()
    market = Market(UnsteeredMarket(**(base_prices or {})), seed, clock)
    simulation = Simulation(
        market=market, chance=Chance(seed), faults=FixedFaults(**rates), latency=latency, clock=clock
    )
    return {venue.name: venue for venue in (raydium(simulation), meteora(simulation))}


@pytest.mark.parametrize(
    ("name", "low", "high", "fee"), [("raydium", "0.98", "1.02", "0.003"), ("meteora", "0.97", "1.02", "0.002")]
)
def test_prices_fill_the_documented_range_around_the_base_price(name, low, high, fee):
    venue = venues(clock=SteppingClock())[name]
    quotes = [venue.quote(a_trade(), 0) for _ in range(DRAWS)]

    factors = [quote.price / BASE for quote in quotes]
    width = Decimal(high) - Decimal(low)
    assert Decimal(low) <= min(factors) < Decimal(low) + width / 10
    assert Decimal(high) - width / 10 < max(factors) <= Decimal(high)
    assert {quote.fee for quote in quotes} == {Decimal(fee)}


@pytest.mark.parametrize("name", ["raydium", "meteora"])
def test_a_quote_takes_200_to_400_milliseconds(name):
    clock = StoppedClock()
    venue = venues(clock=clock)[name]
    for _ in range(DRAWS):
        venue.quote(a_trade(), 0)

    assert len(clock.slept) == DRAWS
    assert 0.2 <= min(clock.slept) < 0.22
    assert 0.38 < max(clock.slept) <= 0.4


def test_delays_can_be_scaled():
    clock = StoppedClock()
    venues(latency=0.0, clock=clock)["raydium"].quote(a_trade(), 0)

    assert clock.slept == [0.0]


def test_the_net_price_is_the_price_after_fee_and_impact():
    quote = venues()["raydium"].quote(a_trade(amount="1.5"), 0)

    kept = 1 - quote.fee
    expected = quote.price * kept / (1 + Decimal("1.5") * kept / quote.liquidity)
    assert abs(quote.net_price / expected - 1) < Decimal("1e-10")


def test_with_a_seed_the_same_order_gets_the_same_numbers_whatever_runs_beside():
    first = venues("seed")["raydium"].quote(a_trade(), 0)
    beside = venues("seed")
    beside["meteora"].quote(a_trade("RAY/USDC"), 0)

    assert beside["raydium"].quote(a_trade(), 0) == first


@pytest.mark.parametrize(
    ("seed", "venue", "trade", "attempt"),
    [
        ("other", "raydium", a_trade(), 0),
        ("seed", "meteora", a_trade(), 0),
        ("seed", "raydium", a_trade(), 1),
        ("seed", "raydium", a_trade(amount="2"), 0),
        ("seed", "raydium", a_trade(side=Side.BUY), 0),
        (None, "raydium", a_trade(), 0),
    ],
)
def test_another_seed_venue_attempt_or_trade_gets_other_numbers(seed, venue, trade, attempt):
    clock, first_clock = StoppedClock(), StoppedClock()
    venues(seed, clock=clock)[venue].quote(trade, attempt)
    venues("seed", clock=first_clock)["raydium"].quote(a_trade(), 0)

    assert clock.slept != first_clock.slept


@pytest.mark.parametrize("seed", [None, "seed"])
def test_every_order_of_a_moment_sees_the_same_market(seed):
    raydium = venues(seed, latency=0.0)["raydium"]
    quotes = [
        raydium.quote(a_trade(side=side, amount=amount), attempt)
        for side in Side
        for amount in ("0.001", "1.5", "100")
        for attempt in (0, 1)
    ]

    assert len({quote.price for quote in quotes}) == 1
    assert len({venues(seed, latency=0.0)["raydium"].quote(a_trade(), 0).price for _ in range(5)}) == 1


@pytest.mark.parametrize(
    ("pair", "base"), [("RAY/USDC", "2.5"), ("SOL/RAY", "60"), ("USDC/SOL", "0.00666667"), ("BONK/USDC", "0.00002")]
)
def test_every_pair_of_tokens_has_a_price(pair, base):
    price = venues()["raydium"].quote(a_trade(pair, amount="100"), 0).price

    assert Decimal("0.97") * Decimal(base) < price < Decimal("1.03") * Decimal(base)


def test_a_token_without_a_pool_is_refused():
    with pytest.raises(SwapRefused, match=r"^has no pool for SOL/XYZ"):
        venues()["raydium"].quote(a_trade("SOL/XYZ"), 0)


def test_a_venue_can_be_told_to_fail():
    clock = StoppedClock()
    with pytest.raises(VenueUnavailable, match=r"^did not answer"):
        venues(clock=clock, quote_fails=1.0)["raydium"].quote(a_trade(), 0)

    assert len(clock.slept) == 1


def test_a_token_that_was_given_a_price_is_as_deep_as_any():
    quote = venues(base_prices={"WIF/USDC": "2.5"})["raydium"].quote(a_trade("WIF/USDC"), 0)

    assert quote.liquidity == 2_000_000


# --- Spot prices ---


def test_one_look_at_the_pools_takes_50_to_150_milliseconds_however_many_they_are():
    clock = StoppedClock()
    venue = venues(clock=clock)["raydium"]
    for _ in range(DRAWS):
        venue.spot(["SOL/USDC", "RAY/USDC", "BONK/SOL"])

    assert len(clock.slept) == DRAWS
    assert 0.05 <= min(clock.slept) < 0.06
    assert 0.14 < max(clock.slept) <= 0.15


def test_delays_of_looks_can_be_scaled():
    clock = StoppedClock()
    venues(latency=0.0, clock=clock)["raydium"].spot(["SOL/USDC"])

    assert clock.slept == [0.0]


def test_pairs_without_a_live_pool_are_absent():
    spots = venues()["raydium"].spot(["SOL/USDC", "WIF/USDC", "SOL/XYZ"])

    assert list(spots) == ["SOL/USDC"]
    assert spots["SOL/USDC"].fee == Decimal("0.003")


@pytest.mark.parametrize("seed", [None, "seed"])
@pytest.mark.parametrize("name", ["raydium", "meteora"])
@pytest.mark.parametrize("pair", ["SOL/USDC", "USDC/SOL", "BONK/SOL", "WIF/USDC"])
@pytest.mark.parametrize("side", Side)
def test_a_quote_and_a_look_at_the_same_moment_agree(seed, name, pair, side):
    venue = venues(seed, latency=0.0, base_prices={"WIF/USDC": "2.51234567"})[name]
    quote, spot = venue.quote(a_trade(pair, side, "1000"), 0), venue.spot([pair])[pair]

    assert spot.price == quote.price
    assert spot.marginal_price(side) == quote.marginal_price(side)


def test_quotes_that_fail_do_not_keep_anybody_from_looking():
    assert venues(quote_fails=1.0)["raydium"].spot(["SOL/USDC"])


# --- Transactions ---


def build(order=None, **rates):
    order = order or an_order()
    plan = plan_swap(order, a_quote("raydium", "150"))
    return venues(**rates)["raydium"].build(order, plan), order, plan


def test_a_transaction_is_named_by_the_hash_of_its_bytes():
    swap, _, _ = build()

    assert swap.tx_hash == hashlib.sha256(swap.payload).hexdigest()
    assert swap.venue == "raydium"


def test_a_transaction_says_what_was_planned_and_when_it_expires():
    swap, order, plan = build()

    written = read_transaction(swap.payload)
    assert (written.trade, written.plan, written.venue) == (order.trade, plan, "raydium")
    assert swap.expires_at == written.expires_at == NOON + timedelta(seconds=60)


def test_the_lifetime_of_a_transaction_can_be_set():
    assert build(transaction_lifetime=5)[0].expires_at == NOON + timedelta(seconds=5)


def test_each_attempt_of_each_order_has_a_transaction_of_its_own():
    order = an_order()
    second_try = msgspec.structs.replace(order, attempts=1)

    hashes = {build(which)[0].tx_hash for which in (order, second_try, an_order())}

    assert len(hashes) == 3


def test_a_transaction_that_was_stored_before_a_deployment_is_read_after_it():
    stored = (
        b'{"nonce":"o1:0:1","venue":"raydium","trade":{"tokenIn":"SOL","tokenOut":"USDC","side":"sell","amount":"1.5"},'
        b'"attempt":0,"plan":{"venue":"raydium","actions":["wrapSol","swap"],"expectedAmountOut":"150",'
        b'"minAmountOut":"148.5","maxAmountOut":null},"expires_at":"2026-11-21T12:00:00Z"}'
    )

    written = read_transaction(stored)

    assert (written.trade, written.expires_at) == (a_trade(), NOON)
    assert written.plan == plan_swap(an_order(), a_quote("raydium", "150"))
    assert sign(written).payload == stored


@pytest.mark.parametrize(
    ("side", "fill", "kept"),
    [
        (Side.SELL, "148.5", True),
        (Side.SELL, "148.499999", False),
        (Side.SELL, "200", True),
        (Side.BUY, "151.5", True),
        (Side.BUY, "151.500001", False),
        (Side.BUY, "100", True),
    ],
)
def test_a_fill_is_held_to_the_bound(side, fill, kept):
    plan = plan_swap(an_order(side=side), a_quote("raydium", "150"))

    assert within_bounds(plan, side, Decimal(fill)) == kept


def test_a_swap_that_was_sent_for_real_is_neither_sent_nor_ever_expired_by_the_simulation():
    """Its engine swaps in the simulation since; what was sent before may have landed."""

    class EmptyLedger:
        def run(self, *_):
            return []

    clock = StoppedClock()
    chain = SimulatedChain(database=EmptyLedger(), chance=Chance(1), faults=None, latency=1, clock=clock)
    swap = SignedTransaction(
        tx_hash="real", venue="raydium", payload=b"real", expires_at=NOON, last_valid_block_height=1000
    )
    clock.pass_time(3600)

    chain.submit(swap)
    assert chain.statuses([swap, replace(swap, tx_hash="simulated", last_valid_block_height=None)]).keys() == {
        "simulated"
    }

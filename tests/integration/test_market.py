"""Operators steer the simulated market while it runs, and every process follows."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from chalicelib.orders.order import Side
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.postgres import Database
from chalicelib.venues.simulated.market import Market
from chalicelib.venues.venue import SwapRefused
from infra.market import request_of
from tests.builders import a_trade
from tests.clocks import StoppedClock


@pytest.fixture
def other(make_engine):
    """The market as another process sees it."""
    return make_engine().market


def operate(engine, *arguments, reset=False):
    """Do what the operator's command asks for, through JSON as Lambda passes it."""
    request = request_of(*(*arguments, None, None, None)[:3], reset)
    return json.loads(json.dumps(engine.operators.steer_market(json.loads(json.dumps(request)))))


def test_another_process_sees_a_price_that_was_set_at_its_next_fresh_look(engine, other):
    assert other.fresh_prices().base("SOL/USDC") == 150

    engine.market.steer("SOL/USDC", Decimal(140))

    assert other.fresh_prices().base("SOL/USDC") == 140
    assert abs(other.fresh_prices().base("USDC/SOL") * 140 - 1) < Decimal("1e-50")


def test_a_look_at_the_pools_sees_what_another_process_has_just_set(engine, make_engine):
    watch = make_engine().router
    (before, _) = watch.market_prices([("SOL", "USDC")])

    engine.market.steer("SOL/USDC", Decimal(75))

    (after, _) = watch.market_prices([("SOL", "USDC")])
    assert abs(after.price / before.price - Decimal("0.5")) < Decimal("1e-10")


def test_who_sets_a_price_quotes_by_it_at_once(engine):
    before = engine.router.route(a_trade()).best.price
    engine.market.steer("SOL/USDC", Decimal(75))

    assert abs(engine.router.route(a_trade()).best.price / before - Decimal("0.5")) < Decimal("1e-10")


def test_setting_a_pair_replaces_what_was_set_for_its_reverse(engine, database):
    engine.market.steer("SOL/USDC", Decimal(140))
    engine.market.steer("USDC/SOL", Decimal("0.01"))

    assert [row["pair"] for row in database.rows("SELECT pair FROM simulated_market")] == ["USDC/SOL"]
    assert engine.market.fresh_prices().base("SOL/USDC") == 100


def test_setting_a_pair_again_replaces_its_price_its_walk_and_when_it_was_set(engine, database):
    engine.market.steer("SOL/USDC", Decimal(140), Decimal("0.1"))
    database.change("UPDATE simulated_market SET set_at = now() - interval '1 hour'")
    engine.market.steer("SOL/USDC", Decimal(150))

    (row,) = database.rows("SELECT base_price, walk, now() - set_at AS age FROM simulated_market")
    assert (row["base_price"], row["walk"]) == (150, 0)
    assert row["age"] < timedelta(minutes=1)


@pytest.mark.parametrize(("pair", "base"), [("SOL/USDC", "140"), ("USDC/SOL", "0.00714285714286"), ("RAY/USDC", "2.5")])
def test_without_a_price_a_pair_walks_from_where_it_is(engine, database, pair, base):
    engine.market.steer("SOL/USDC", Decimal(140), Decimal("0.3"))

    engine.market.steer(pair, None, Decimal("0.02"))

    rows = database.rows("SELECT base_price, walk FROM simulated_market WHERE pair = %s", pair)
    assert rows == [{"base_price": Decimal(base), "walk": Decimal("0.02")}]


def test_two_processes_see_a_walking_price_alike(engine, make_engine):
    clock = StoppedClock()
    engine.market.steer("SOL/USDC", Decimal(140), Decimal("0.1"))
    here, there = (make_engine(clock=clock).router for _ in range(2))

    assert here.market_prices([("SOL", "USDC")]) == there.market_prices([("SOL", "USDC")])


def test_a_token_launches_when_its_price_is_set_and_is_gone_when_that_is_reset(engine):
    with pytest.raises(SwapRefused, match="has no pool for WIF/USDC"):
        engine.router.route(a_trade("WIF/USDC"))
    assert engine.router.market_prices([("WIF", "USDC")]) == []

    engine.market.steer("WIF/USDC", Decimal("2.5"))
    assert Decimal("2.4") < engine.router.route(a_trade("WIF/USDC", Side.BUY)).best.net_price < Decimal("2.6")
    assert {price.side for price in engine.router.market_prices([("WIF", "USDC")])} == set(Side)

    engine.market.reset("WIF/USDC")
    with pytest.raises(SwapRefused):
        engine.router.route(a_trade("WIF/USDC"))


def test_quotes_that_fail_do_not_keep_anybody_from_looking_at_the_pools(engine, database):
    database.change("UPDATE simulated_faults SET quote_fails = 1")

    assert len(engine.router.market_prices([("SOL", "USDC")])) == len(Side)


@pytest.mark.parametrize("pair", ["SOL/USDC", "USDC/SOL"])
def test_resetting_a_pair_resets_its_reverse_and_no_other(engine, database, pair):
    engine.market.steer("SOL/USDC", Decimal(140))
    engine.market.steer("RAY/USDC", Decimal(3))

    engine.market.reset(pair)

    assert [row["pair"] for row in database.rows("SELECT pair FROM simulated_market")] == ["RAY/USDC"]
    assert engine.market.prices().base("SOL/USDC") == 150


def test_an_operator_sets_lists_and_resets(engine, database):
    (listed,) = operate(engine, "SOL/USDC", "140.5", "0.02")
    assert (listed["pair"], listed["basePrice"], listed["walk"]) == ("SOL/USDC", "140.5", "0.02")
    assert abs(datetime.fromisoformat(listed["setAt"]) - datetime.now(UTC)) < timedelta(minutes=1)
    operate(engine, "RAY/USDC", "3")

    assert [pair["pair"] for pair in operate(engine)] == ["RAY/USDC", "SOL/USDC"]
    assert [pair["pair"] for pair in operate(engine, "SOL/USDC", reset=True)] == ["RAY/USDC"]
    assert operate(engine, reset=True) == []
    assert database.count("simulated_market") == 0


def test_a_refused_value_leaves_the_market_as_it_is(engine):
    operate(engine, "SOL/USDC", "140")

    assert "basePrice is 0" in operate(engine, "SOL/USDC", "0")["error"]
    assert [pair["basePrice"] for pair in operate(engine)] == ["140"]


@pytest.mark.parametrize(
    ("base_price", "walk"), [("0", "0"), ("-1", "0"), ("140", "-0.1"), ("140", "0.6"), (None, "0"), ("140", None)]
)
def test_the_table_itself_takes_no_nonsense(database, base_price, walk):
    with pytest.raises(psycopg.errors.IntegrityError):
        database.change("INSERT INTO simulated_market VALUES ('SOL/USDC', %s, %s)", base_price, walk)


def test_without_postgres_there_is_no_market():
    market = Market(Database("postgresql://127.0.0.1:9/nowhere"), None, StoppedClock())

    for ask in (market.prices, market.listing, lambda: market.steer("SOL/USDC", Decimal(1)), market.reset):
        with pytest.raises(ResourceUnavailable):
            ask()

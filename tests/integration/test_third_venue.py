"""A third venue costs one file and one line: nothing in the engine knows how many there are."""

from datetime import UTC, datetime
from functools import cached_property

import pytest

from chalicelib.engine import Engine
from chalicelib.exact_json import encode_json
from chalicelib.orders.order import Side
from chalicelib.web.signatures import sign
from tests.builders import a_trade
from tests.integration.orca import orca

ALL_THREE = {"raydium", "meteora", "orca"}
ORCA_WINS, ORCA_LOSES = "seed 5", "seed 4"


class EngineWithOrca(Engine):
    @cached_property
    def venues(self):
        return (*super().venues, orca(self.simulation))


@pytest.fixture
def with_orca(make_engine, serve):
    """Serve an engine with three venues."""
    return lambda **settings: serve(make_engine(engine_type=EngineWithOrca, **settings))


@pytest.mark.parametrize(("seed", "wins"), [(ORCA_WINS, True), (ORCA_LOSES, False)])
def test_an_order_is_quoted_by_all_three_and_swapped_where_it_is_best(with_orca, api, queues, database, seed, wins):
    with_orca(MOCK_SEED=seed)
    order_id = api.place()

    queues.work_off()

    _, routing, building, _, confirmed = database.events(order_id)
    quotes = routing["details"]["quotes"]
    assert set(quotes) == ALL_THREE
    best = max(quotes, key=lambda venue: quotes[venue]["netPrice"])
    assert (best == "orca") is wins
    assert {routing["details"]["chosen"], building["details"]["venue"], confirmed["details"]["venue"]} == {best}
    order = api.get(f"/api/orders/{order_id}").body
    assert (order["status"], order["chosenDex"]) == ("confirmed", best)
    assert database.swaps(order_id)[0]["venue"] == best


def test_a_client_that_asks_for_quotes_gets_three(with_orca, api):
    with_orca(MOCK_SEED=ORCA_WINS)

    quotes = api.get("/api/quotes?tokenIn=SOL&tokenOut=USDC&amount=1.5").body

    assert set(quotes["quotes"]) == ALL_THREE
    assert quotes["chosen"] == "orca"


def test_the_third_venues_price_is_the_market_price_where_it_is_the_best(with_orca):
    router = with_orca(MOCK_SEED=ORCA_WINS).router

    market_price = router.market_price(a_trade())

    pair = a_trade().pair
    assert market_price == router.venue("orca").spot([pair])[pair].marginal_price(Side.SELL)


def test_a_pool_may_launch_on_the_third_venue(with_orca, api):
    secret = "whsec_c2VjcmV0IG9mIGEgdGVzdA=="
    with_orca(LAUNCH_WEBHOOK_SECRET=secret)
    body = encode_json({"pool": "a pool", "tokenIn": "WIF", "venue": "orca"})
    signed = sign(secret, "msg_1", int(datetime.now(UTC).timestamp()), body)

    answer = api.request("POST", "/api/launches", body, **signed)

    assert (answer.status, answer.body["venue"]) == (200, "orca")

"""The Python client against the deployed stack, over real HTTP and WebSocket."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from uuid import uuid4

import pytest

from infra.local.stack import LAUNCH_WEBHOOK_SECRET
from oee import AsyncClient, Client, Conflict, LimitOrder, MarketOrder, NotFound, OrderEvent, Refused
from tests.builders import STEPS, UNKNOWN_ORDER
from tests.e2e.deployed import Deployed
from tests.e2e.relay import Relay

SELL = MarketOrder(token_in="SOL", token_out="USDC", amount="1.5")
NEVER_MET = LimitOrder(token_in="SOL", token_out="USDC", amount="1.5", limit_price=1)


@pytest.fixture
def engine(deployed: Deployed) -> Iterator[Client]:
    with Client(deployed.url, websocket_url=deployed.websocket_url, user_id="python") as client:
        yield client


@pytest.fixture
def relay(deployed: Deployed) -> Iterator[Relay]:
    with Relay(deployed.url) as running:
        yield running


def steps(events: list[OrderEvent]) -> list[tuple[int, str]]:
    return [(event.seq, event.event) for event in events]


WHOLE_STORY = list(enumerate(STEPS, 1))


def test_an_order_is_placed_and_watched_to_its_end(engine: Client) -> None:
    events = list(engine.submit_and_watch(SELL))
    order = engine.order(events[0].order_id)

    assert steps(events) == WHOLE_STORY
    assert engine.events(order.order_id) == events
    assert (order.status, order.user_id, order.amount_in) == ("confirmed", "python", Decimal("1.5"))
    assert order.executed_price == events[-1].executed_price == events[-1].details["executedPrice"]
    assert events[1].chosen in events[1].quotes
    assert list(engine.watch(order.order_id, after_seq=3)) == events[3:]
    assert list(engine.watch(order.order_id, after_seq=5)) == []


def test_many_orders_are_watched_on_one_connection(deployed: Deployed) -> None:
    async def play() -> dict[str, list[OrderEvent]]:
        heard: dict[str, list[OrderEvent]] = {}
        async with (
            AsyncClient(deployed.url, websocket_url=deployed.websocket_url, user_id="python") as client,
            client.stream() as stream,
        ):
            await asyncio.gather(*(stream.submit(SELL) for _ in range(4)))
            async for event in stream:
                heard.setdefault(event.order_id, []).append(event)
        return heard

    heard = asyncio.run(play())

    assert [steps(events) for events in heard.values()] == [WHOLE_STORY] * 4


def test_a_cut_connection_goes_on_where_it_was_cut(relay: Relay) -> None:
    with Client(relay.url, websocket_url=relay.websocket_url, user_id="python") as client:
        events = client.watch(client.submit(SELL))
        heard = [next(events), next(events)]
        relay.cut()
        heard += list(events)

    assert steps(heard) == WHOLE_STORY


def test_a_cut_connection_goes_on_where_it_was_cut_for_asyncio_as_well(relay: Relay) -> None:
    async def play() -> list[OrderEvent]:
        async with AsyncClient(relay.url, websocket_url=relay.websocket_url, user_id="python") as client:
            events = client.watch(await client.submit(SELL))
            heard = [await anext(events)]
            relay.cut()
            return heard + [event async for event in events]

    assert steps(asyncio.run(play())) == WHOLE_STORY


def test_an_order_whose_answer_was_lost_is_placed_once(engine: Client, relay: Relay) -> None:
    relay.swallow = 2
    with Client(relay.url, websocket_url=relay.websocket_url, user_id="python") as client:
        accepted = client.submit(NEVER_MET)

    placed = [order.order_id for order in engine.orders() if order.client_order_id == accepted.client_order_id]
    assert (relay.swallow, placed) == (0, [accepted.order_id])
    assert engine.cancel(accepted.order_id).status == "cancelled"


def test_an_order_that_waits_is_cancelled_and_says_so_to_who_watches(engine: Client, relay: Relay) -> None:
    events = engine.submit_and_watch(NEVER_MET)
    heard = [next(events), next(events)]
    order_id = heard[0].order_id
    relay.swallow = 1
    with Client(relay.url) as client:
        assert client.cancel(order_id).status == "cancelled"
    heard += list(events)

    assert [event.event for event in heard] == ["pending", "waiting", "cancelled"]
    assert engine.cancel(order_id).status == "cancelled"


def test_an_order_that_has_ended_cannot_be_cancelled(engine: Client) -> None:
    *_, last = engine.submit_and_watch(SELL)

    with pytest.raises(Conflict, match="has ended: it is confirmed"):
        engine.cancel(last.order_id)


def test_a_refused_order_names_its_fields(engine: Client) -> None:
    with pytest.raises(Refused) as refused:
        engine.submit(order_type="limit", token_in="SOL", token_out="DOGE", amount=-1, limit_price=1)

    assert set(refused.value.errors) == {"tokenOut", "amount"}
    assert "tokenOut: 'DOGE' is not a known token; known are SOL" in str(refused.value)


def test_an_order_that_does_not_exist_is_not_found(engine: Client) -> None:
    with pytest.raises(NotFound):
        engine.order(UNKNOWN_ORDER)
    with pytest.raises(NotFound):
        next(engine.watch(UNKNOWN_ORDER))


def test_orders_are_listed_over_several_pages(engine: Client) -> None:
    newest = [engine.submit(NEVER_MET).order_id for _ in range(3)][::-1]

    assert [order.order_id for order in engine.orders(limit=3)] == newest
    assert len(list(engine.orders(limit=130))) == len({order.order_id for order in engine.orders(limit=130)})
    for order_id in newest:
        engine.cancel(order_id)


def test_a_quote_and_the_engines_health_are_told(engine: Client) -> None:
    quotes = engine.quote("SOL", "USDC", "1.5", "buy")

    assert quotes.best == min(quotes.quotes.values(), key=lambda quote: quote.net_price)
    assert (quotes.side, quotes.amount) == ("buy", Decimal("1.5"))
    assert engine.health().parts["postgres"] == "up"


@pytest.mark.laptop("it knows this machine's secret for webhooks")
def test_a_launch_is_announced(engine: Client) -> None:
    pool = f"pool-{uuid4()}"

    taken = engine.launch(secret=LAUNCH_WEBHOOK_SECRET, pool=pool, token_in="BONK")

    assert (taken.pool, taken.token_in, taken.token_out) == (pool, "BONK", None)
    with pytest.raises(Refused, match="signed"):
        engine.launch(secret="another", pool=pool, token_in="BONK")

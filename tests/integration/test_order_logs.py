"""Every line about an order says which: whatever becomes of it, in whichever function, and whatever is down."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import redis

import app
from chalicelib.engine import Engine
from chalicelib.resources import ResourceUnavailable
from chalicelib.venues.venue import SwapRefused, VenueUnavailable
from tests.builders import GOOD_TILL_TOMORROW, UNKNOWN_ORDER
from tests.conftest import Database
from tests.integration.cloud import CONTEXT, NO_DATABASE, NO_QUEUE, NO_REDIS, Queues, RecordingConnections, Socket
from tests.integration.conftest import Api, MakeEngine
from tests.integration.venues import fail_once, trouble_chain, trouble_venues

TIMEOUT = VenueUnavailable("timed out")
WAITING = {"orderType": "limit", "side": "buy", "limitPrice": 100}


@dataclass(frozen=True, kw_only=True)
class World:
    """What a story may use."""

    engine: Engine
    make_engine: MakeEngine
    serve: Callable[[Engine], Engine]
    api: Api
    queues: Queues
    connections: RecordingConnections
    database: Database
    cache: redis.Redis
    let_time_pass: Callable[..., None]

    def without(self, **settings: str) -> Engine:
        """Go on with an engine that lacks a part."""
        return self.serve(self.make_engine(**settings))

    def whole(self) -> Engine:
        return self.serve(self.engine)

    def wait(self) -> str:
        """Place an order and take it into the book."""
        order_id = self.api.place(**WAITING)
        self.queues.work_off()
        return order_id

    def reach(self, engine: Engine) -> None:
        """Let the market reach what waits, and an engine wake it."""
        engine.market.steer("SOL/USDC", Decimal(90))
        assert engine.waker.wake_limits(engine.router.market_prices([("SOL", "USDC")])).orders == 1


@pytest.fixture
def world(engine, make_engine, serve, api, queues, connections, database, cache, let_time_pass):
    return World(
        engine=engine,
        make_engine=make_engine,
        serve=serve,
        api=api,
        queues=queues,
        connections=connections,
        database=database,
        cache=cache,
        let_time_pass=let_time_pass,
    )


Story = Callable[[World], str]
STORIES: dict[str, tuple[Story, str]] = {}
"""Each with a line that it must have come to, so that it cannot be told without that."""


def ends_with(line: str) -> Callable[[Story], Story]:
    def add(story: Story) -> Story:
        STORIES[story.__name__] = (story, line)
        return story

    return add


@ends_with("order confirmed")
def all_goes_well(world: World) -> str:
    order_id = world.api.place()
    world.queues.work_off()
    return order_id


@ends_with("order retrying")
def tried_again(world: World) -> str:
    trouble_venues(world.engine, raydium=[TIMEOUT], meteora=[TIMEOUT])
    return all_goes_well(world)


@ends_with("order failed")
def refused(world: World) -> str:
    trouble_venues(world.engine, raydium=[SwapRefused("no pool")], meteora=[SwapRefused("no pool")])
    return all_goes_well(world)


@ends_with("order retrying")
def refused_by_the_chain(world: World) -> str:
    order_id = world.api.place()
    world.queues.orders.poll()
    world.database.change("UPDATE simulated_transactions SET outcome = 'failed', amount_out = NULL, error = 'refused'")
    world.queues.work_off()
    return order_id


@ends_with("order cancelled")
def cancelled(world: World) -> str:
    order_id = world.api.place()
    assert world.api.request("DELETE", f"/api/orders/{order_id}").status == 200
    world.queues.work_off()
    return order_id


@ends_with("order triggered")
def woken_from_the_book(world: World) -> str:
    order_id = world.wait()
    world.reach(world.engine)
    world.queues.work_off()
    return order_id


@ends_with("order expired")
def expired(world: World) -> str:
    order_id = world.api.place(**WAITING, **GOOD_TILL_TOMORROW)
    world.queues.work_off()
    world.database.change("UPDATE orders SET expires_at = now()")
    world.engine.expiry.expire()
    return order_id


@ends_with("order redriven")
def buried_and_redriven(world: World) -> str:
    order_id = world.api.place()
    for message in world.queues.orders.drain():
        app.bury_order(world.queues.orders.event([message]), CONTEXT)
    app.dead_letters({"action": "redrive"}, CONTEXT)
    world.queues.work_off()
    return order_id


@ends_with("not buried yet: Postgres is not available")
def cannot_be_buried(world: World) -> str:
    order_id = world.api.place()
    world.without(DATABASE_URL=NO_DATABASE)
    with pytest.raises(Exception, match="Postgres"):
        app.bury_order(world.queues.orders.event(world.queues.orders.drain()), CONTEXT)
    return order_id


@ends_with("1 stopped orders were put back on their queues")
def recovered(world: World) -> str:
    order_id = world.api.place()
    world.queues.orders.drain()
    world.let_time_pass()
    world.engine.recovery.recover()
    return order_id


@ends_with("no answer when the swap was sent")
def sent_without_an_answer(world: World) -> str:
    trouble_chain(world.engine, lost=1, error=TIMEOUT)
    return all_goes_well(world)


@ends_with("1 swaps not looked at")
def chain_that_does_not_answer(world: World) -> str:
    chain = trouble_chain(world.engine)
    order_id = world.api.place()
    world.queues.orders.poll()
    world.queues.clock.pass_time(2.1)
    chain.blind = True
    world.queues.settlements.poll()
    return order_id


@ends_with("spot prices without every venue")
def stop_with_a_venue_down(world: World) -> str:
    venues = trouble_venues(world.engine)

    def fail(_pairs: Any) -> Any:
        raise TIMEOUT

    venues[0].spot = fail
    order_id = world.api.place(orderType="stop", side="sell", triggerPrice=100)
    world.queues.orders.poll()
    return order_id


@ends_with("a bug kept the order from being prepared")
def bug_while_preparing(world: World) -> str:
    trouble_venues(world.engine, raydium=[ZeroDivisionError()])
    return all_goes_well(world)


@ends_with("cannot be worked on")
def bug_in_a_worker(world: World) -> str:
    fail_once(world.engine.store, "claim", ZeroDivisionError())
    order_id = world.api.place()
    world.queues.orders.poll()
    return order_id


@ends_with("1 orders cannot be worked on")
def bug_in_settlement(world: World) -> str:
    order_id = world.api.place()
    world.queues.orders.poll()
    world.queues.clock.pass_time(2.1)
    fail_once(world.engine.store, "in_flight", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        world.queues.settlements.poll()
    return order_id


@ends_with("Caught exception for path /api/orders/{order_id}")
def bug_in_a_request(world: World) -> str:
    fail_once(world.engine.store, "find", ZeroDivisionError())
    assert world.api.get(f"/api/orders/{UNKNOWN_ORDER}").status == 500
    return UNKNOWN_ORDER


@ends_with("Caught exception for path /api/orders/execute")
def bug_after_an_order_was_stored(world: World) -> str:
    fail_once(world.engine.dispatcher.order_queue, "send", ZeroDivisionError())
    world.api.post({**WAITING, "userId": "u1", "tokenIn": "SOL", "tokenOut": "USDC", "amount": 1})
    return str(world.database.rows("SELECT id FROM orders")[0]["id"])


@ends_with("is poison: there is no order")
def message_for_no_order(world: World) -> str:
    world.queues.orders.send({"orderId": UNKNOWN_ORDER})
    world.queues.orders.poll()
    return UNKNOWN_ORDER


@ends_with("given back: Postgres is not available")
def no_postgres_for_a_worker(world: World) -> str:
    order_id = world.api.place()
    world.without(DATABASE_URL=NO_DATABASE)
    world.queues.orders.poll()
    return order_id


@ends_with("1 orders given back: Postgres is not available")
def no_postgres_for_settlement(world: World) -> str:
    order_id = world.api.place()
    world.queues.orders.poll()
    world.queues.clock.pass_time(2.1)
    world.without(DATABASE_URL=NO_DATABASE)
    world.queues.settlements.poll()
    return order_id


@ends_with("Postgres is not available")
def no_postgres_for_a_request(world: World) -> str:
    world.without(DATABASE_URL=NO_DATABASE, REDIS_URL=NO_REDIS)
    for method, path in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
        assert world.api.request(method, f"/api/orders/{UNKNOWN_ORDER}{path}").status == 503
    return UNKNOWN_ORDER


@ends_with("message not served: Postgres is not available")
def no_postgres_for_a_subscription(world: World) -> str:
    world.without(DATABASE_URL=NO_DATABASE)
    Socket(world.connections).send({"action": "subscribe", "orderId": UNKNOWN_ORDER})
    return UNKNOWN_ORDER


@ends_with("given back: Postgres is not available")
def no_postgres_for_a_replay(world: World) -> str:
    socket = Socket(world.connections)
    socket.connect(orderId=UNKNOWN_ORDER)
    world.without(DATABASE_URL=NO_DATABASE)
    world.queues.replays.poll()
    return UNKNOWN_ORDER


@ends_with("starts unpaced: Redis is not available")
def no_redis(world: World) -> str:
    world.without(REDIS_URL=NO_REDIS, ORDER_PROCESSOR_RATE="100", USER_ORDER_RATE="60")
    order_id = world.api.place()
    world.api.get(f"/api/orders/{order_id}")
    world.queues.work_off(world.queues.orders, world.queues.settlements)
    return order_id


@ends_with("1 orders are unpaced: Redis is not available")
def no_redis_for_what_is_woken(world: World) -> str:
    order_id = world.wait()
    world.reach(world.without(REDIS_URL=NO_REDIS, ORDER_PROCESSOR_RATE="100"))
    return order_id


@ends_with("recovery will queue it: SQS is not available")
def no_queue(world: World) -> str:
    world.without(ORDERS_QUEUE_URL=NO_QUEUE)
    return world.api.place()


@ends_with("recovery will queue what was triggered: SQS is not available")
def no_queue_for_what_is_woken(world: World) -> str:
    order_id = world.wait()
    world.reach(world.without(ORDERS_QUEUE_URL=NO_QUEUE))
    return order_id


@ends_with("viewers catch up when they reconnect: SQS is not available")
def no_queue_and_no_redis_at_the_end(world: World) -> str:
    order_id = world.api.place()
    world.without(REDIS_URL=NO_REDIS, REPLAYS_QUEUE_URL=NO_QUEUE)
    world.api.request("DELETE", f"/api/orders/{order_id}")
    return order_id


@ends_with("not served: the gateway is not available")
def viewers_that_cannot_be_reached(world: World) -> str:
    order_id = world.api.place()
    sockets = [Socket(world.connections) for _ in range(2)]
    for socket in sockets:
        socket.connect(orderId=order_id)
    world.queues.replays.poll()
    world.queues.work_off(world.queues.replays)

    def fail(_connection_id: str) -> None:
        raise ResourceUnavailable("the gateway", "a test")

    world.connections.before_post = fail
    world.api.request("DELETE", f"/api/orders/{order_id}")
    return order_id


@pytest.mark.parametrize(("story", "comes_to"), STORIES.values(), ids=[name.replace("_", " ") for name in STORIES])
def test_every_line_about_an_order_says_which(world, log, story, comes_to):
    order_id = story(world)

    lines = log()
    assert [line for line in lines if comes_to in line["message"]] != []
    nameless = [line for line in lines if order_id not in (line.get("orderId"), *line.get("orderIds", []))]
    assert nameless == []


def test_lines_about_one_order_do_not_name_another(world, log):
    """Two orders settle in one batch, by one process: each line is about one of them."""
    first, second = world.api.place(), world.api.place()
    world.queues.work_off()
    world.api.get("/api/orders/not-an-id")

    told = {
        order_id: [line["message"] for line in log() if line["orderId"] == order_id] for order_id in (first, second)
    }
    assert told[first] == told[second]
    assert told[first][-1] == "order confirmed"
    assert not [line for line in log() if "orderIds" in line]


def test_nothing_of_an_invocation_is_left_to_the_next(world, log):
    world.without(DATABASE_URL=NO_DATABASE, REDIS_URL=NO_REDIS)
    world.api.get(f"/api/orders/{UNKNOWN_ORDER}")
    world.api.get("/health")
    world.api.get("/api/orders")

    of_an_order = [line.get("orderId") for line in log()]
    assert set(of_an_order[2:]) == {None}
    assert of_an_order[:2] == [UNKNOWN_ORDER] * 2

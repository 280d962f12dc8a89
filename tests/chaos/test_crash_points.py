"""Whichever side effect a process dies at, no order is lost, none is swapped twice, and every viewer hears the end.

An order is placed and executed with its process killed before the first side effect, between each two, and after the
last one, and then at each pair of these moments; an order that waits also while it goes into the book, while it waits,
and while its price, its launch, its owner or its time ends the waiting. They are enumerated, not sampled.
"""

import contextlib
import dataclasses
import itertools
import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import pytest

import app
from chalicelib.config import load_settings
from chalicelib.engine import Engine
from chalicelib.execution import recovery, settlement
from chalicelib.orders.launch import Launch
from chalicelib.orders.order import Trade
from chalicelib.orders.swap import SignedTransaction, SwapStatus
from chalicelib.resources.postgres import Database
from chalicelib.resources.redis import Redis
from chalicelib.routing.router import Router
from chalicelib.streaming import viewers
from chalicelib.triggers.launches import DeliveryRepeated
from chalicelib.venues.simulated import chain as simulated_chain
from chalicelib.venues.simulated.chain import SimulatedChain
from chalicelib.venues.simulated.faults import FaultRates
from chalicelib.venues.simulated.prices import Prices, SteeredPair
from chalicelib.venues.venue import Quote, VenueUnavailable
from tests.builders import NOON, order_body
from tests.chaos.crashes import Clock, Fate, Killed, MemoryQueue, event_of
from tests.clocks import QuickClock
from tests.integration.cloud import CONTEXT, RecordingConnections

VIEWER = "viewer"
TABLES = ("simulated_transactions", "swaps", "order_events", "orders", "launches", "launch_deliveries")
EVERY_ROW = "SELECT " + ", ".join(
    f"(SELECT array_agg({table}::text ORDER BY {table}::text) FROM {table}) AS {table}" for table in TABLES
)
EVERY_KEY = """
    local read = {hash = 'HGETALL', set = 'SMEMBERS', string = 'GET'}
    local keys, values = redis.call('KEYS', '*'), {}
    table.sort(keys)
    for i, key in ipairs(keys) do
        values[i] = {key, redis.call(read[redis.call('TYPE', key).ok], key)}
    end
    return values
"""
MOST_ROUNDS = 100


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Free at once what a dead process held, and look only twice: how long that takes is not what is tested."""
    monkeypatch.setattr(viewers, "SERVE_MS", 0)
    for idle in ("IDLE", "SETTLING", "LONG_IDLE"):
        monkeypatch.setattr(recovery, idle, timedelta())
    monkeypatch.setattr(settlement, "WATCH_SECONDS", 0.4)
    monkeypatch.setattr(simulated_chain, "EXPIRY_MARGIN", timedelta())


@pytest.fixture(autouse=True)
def no_logs() -> Iterator[None]:
    """Keep the log lines of a thousand lives from being written, and kept: an error says where its life was cut."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


class Chain:
    """The simulated chain, which misbehaves the first time: it outlives every process."""

    def __init__(self, database: Database, first_time: str) -> None:
        self._database = database
        self.first_time = first_time
        self.first: str | None = None
        self.sent = False

    def submit(self, ledger: SimulatedChain, transaction: SignedTransaction) -> None:
        self.first = self.first or transaction.tx_hash
        again, self.sent = self.sent, True
        if self.first_time == "always refused":
            self._refuse(transaction.tx_hash)
        elif transaction.tx_hash != self.first or self.first_time == "lands":
            ledger.submit(transaction)
        elif self.first_time == "expires":
            self._database.run("UPDATE swaps SET expires_at = now() WHERE tx_hash = %(it)s", {"it": self.first})
        elif self.first_time == "lands with an error":
            self._refuse(transaction.tx_hash)
        elif self.first_time == "answer lost":
            ledger.submit(transaction)
            raise VenueUnavailable("the answer was lost")
        elif self.first_time == "dropped" and again:
            ledger.submit(transaction)
        elif self.first_time == "lands late" and not again:
            ledger.submit(transaction)
            self._database.run(
                "UPDATE simulated_transactions SET lands_at = now() + interval '20 ms' WHERE tx_hash = %(it)s",
                {"it": self.first},
            )

    def _refuse(self, tx_hash: str) -> None:
        self._database.run(
            """INSERT INTO simulated_transactions (tx_hash, lands_at, outcome, error)
               VALUES (%(it)s, now(), 'failed', 'refused') ON CONFLICT DO NOTHING""",
            {"it": tx_hash},
        )


@dataclasses.dataclass(frozen=True)
class Waiting:
    """An order that waits, what ends its waiting, and how the order ends then."""

    order: Mapping[str, Any]
    until: Literal["price", "launch", "cancellation", "expiry"]
    ends: str


class StillMarket:
    """A market that moves when the test moves it."""

    def __init__(self) -> None:
        self._steered: dict[str, SteeredPair] = {}

    def move(self, pair: str, base_price: int) -> None:
        self._steered[pair] = SteeredPair(pair=pair, base_price=Decimal(base_price), walk=Decimal(0), set_at=NOON)

    def prices(self) -> Prices:
        return Prices(steered=self._steered, seed="crash points", at=NOON)

    fresh_prices = prices


class World:
    """What outlives a process: Postgres, Redis, the queues, the market, the chain, the client."""

    def __init__(self, settings: Mapping[str, str], first_time: str, waiting: Waiting | None = None) -> None:
        self.settings = settings
        self.waiting = waiting
        self.market = StillMarket()
        self.clock = Clock()
        self.connections = RecordingConnections()
        self.order_queue = MemoryQueue("orders", self.clock)
        self.priority_queue = MemoryQueue("priority", self.clock)
        self.settlement_queue = MemoryQueue("settlements", self.clock)
        self.replay_queue = MemoryQueue("replays", self.clock)
        self.queues = self.priority_queue, self.order_queue, self.settlement_queue, self.replay_queue
        # A process would open its own connections; here that would take most of the test's time.
        self.database = Database(settings["DATABASE_URL"])
        self.redis_clock = QuickClock()
        self.redis = Redis(settings["REDIS_URL"], self.redis_clock)
        self.chain = Chain(self.database, first_time)

    def state(self) -> object:
        """Return all of it that a process could find changed, except for the clock, which only ever goes on."""
        return (
            self.database.run(EVERY_ROW, {}),
            self.redis.run(EVERY_KEY, [], []),
            [list(map(dataclasses.astuple, queue.messages)) for queue in self.queues],
            dict(self.market.prices().steered),
            (self.chain.first, self.chain.sent),
            {viewer: list(messages) for viewer, messages in self.connections.received.items()},
            list(self.connections.closed),
        )

    def process(self, fate: Fate) -> Engine:
        """Start a process whose every side effect is counted."""
        engine = Engine(load_settings(self.settings), QuickClock())
        for name, effects in {
            "database": {"run": "statement"},
            "redis": {"run": "script", "run_all": "script"},
            "order_queue": {"send": "queue", "send_all": "queue", "postpone": "postpone"},
            "priority_queue": {"send": "queue", "send_all": "queue", "postpone": "postpone"},
            "settlement_queue": {"send": "queue", "send_all": "queue", "postpone": "postpone"},
            "replay_queue": {"send": "queue", "send_all": "queue", "postpone": "postpone"},
            "connections": {"post": "push", "close": "close"},
        }.items():
            setattr(engine, name, Counted(getattr(self, name), fate, effects))
        engine.faults, engine.market = NoFaults(), self.market
        ledger = SimulatedChain(
            database=self.database, chance=engine.chance, faults=engine.faults, latency=0.0, clock=engine.clock
        )
        engine.chain = CountedChain(self.chain, ledger, fate)
        if self.chain.first_time == "never quoted":
            engine.router = Router([NoVenue()])
        engine.executor = dataclasses.replace(engine.executor, lease=timedelta())
        return engine


class Counted:
    """Something with side effects, which ``fate`` counts."""

    def __init__(self, target: Any, fate: Fate, effects: Mapping[str, str]) -> None:
        self._target = target
        for method, name in effects.items():
            setattr(self, method, fate.wrap(name, getattr(target, method)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


class CountedChain:
    def __init__(self, chain: Chain, ledger: SimulatedChain, fate: Fate) -> None:
        self.look_seconds = ledger.look_seconds
        self.submit = fate.wrap("send swap", lambda transaction: chain.submit(ledger, transaction))
        self.statuses: Callable[[Collection[SignedTransaction]], Mapping[str, SwapStatus]] = fate.wrap(
            "look", ledger.statuses
        )


class NoVenue:
    name = "no venue"

    def quote(self, trade: Trade, attempt: int) -> Quote:
        raise VenueUnavailable(f"nobody quotes {trade.pair}")


class NoFaults:
    def rates(self) -> FaultRates:
        return FaultRates()


class Life:
    """One order's life through every process that works on it."""

    def __init__(self, world: World, fate: Fate, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.fate = fate
        self.engine = world.process(self.fate)
        self.happened = False
        monkeypatch.setattr(app, "engine", lambda: self.engine)

    def live(self) -> None:
        """Place the order, then deliver, watch and recover until nothing moves any more."""
        waiting = self.world.waiting
        order = order_body(clientOrderId="the order") | (dict(waiting.order) if waiting else {})
        message = json.dumps({"action": "execute", **order})
        while not self._is_answered(lambda: self.engine.sockets.receive(VIEWER, message)):
            pass
        for _ in range(MOST_ROUNDS):
            moved = [self._deliver(queue) for queue in self.world.queues]
            if not any(moved):
                looked = self._survives(lambda: self.engine.recovery.recover())
                if waiting:
                    looked = self._survives(lambda: self.engine.market_watch.look()) and looked
                if looked and not any(queue.messages for queue in self.world.queues):
                    if self.happened or waiting is None:
                        if self._survives(lambda: self.fate.reach("the end")):
                            return
                    else:
                        self.happened = self._is_answered(getattr(self, waiting.until))
                self.world.clock.now += 10
                # On a busy machine Redis may be slow to answer once: it is asked again, as it would be by then.
                self.world.redis_clock.sleep(10)
        raise AssertionError(f"the order never ends: {self.world.queues}")

    def price(self) -> None:
        self.fate.wrap("market", self.world.market.move)("SOL/USDC", 90)

    def launch(self) -> None:
        self.fate.wrap("market", self.world.market.move)("WIF/USDC", 2)
        with contextlib.suppress(DeliveryRepeated):  # the sender does not know that its first message was taken
            self.engine.launches.take(Launch(pool="a pool", token_in="WIF"), "the delivery")

    def cancellation(self) -> None:
        (order,) = self.world.database.run("SELECT id::text FROM orders", {})
        self.engine.cancellation.cancel(order["id"])

    def expiry(self) -> None:
        self.fate.wrap("time", self.world.database.run)("UPDATE orders SET expires_at = now()", {})

    def _deliver(self, queue: MemoryQueue) -> bool:
        handler, batch = {
            "priority": (app.execute_order, 1),
            "orders": (app.execute_order, 1),
            "settlements": (app.settle_orders, 10),
            "replays": (app.replay_events, 1),
        }[queue.name]
        if not queue.depth():
            return False

        def work() -> None:
            messages = self.fate.wrap("receive", queue.receive)(batch)
            answer = handler(event_of(queue, messages), CONTEXT)
            kept = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
            done = [message for message in messages if message.message_id not in kept]
            self.fate.wrap("delete", queue.delete)(done)

        self._survives(work)
        return True

    def _is_answered(self, ask: Callable[[], object]) -> bool:
        """Whether whoever asks hears back; if not, they do not know how far it went."""

        def answer() -> None:
            ask()
            self.fate.reach("answer")

        return self._survives(answer)

    def _survives(self, work: Callable[[], object]) -> bool:
        try:
            work()
        except Killed:
            self.engine = self.world.process(self.fate)
            return False
        return True


def check_invariants(database: Any, world: World, kills: Collection[int]) -> None:
    """One order, ended; at most one swap landed; no gap in the history; the viewer heard all of it."""
    orders = database.rows("SELECT id, status, attempts, seq, tx_hash FROM orders")
    assert len(orders) == 1, "the client placed one order, however often it had to say so"
    order = orders[0]
    ends = "failed" if world.chain.first_time in ("always refused", "never quoted") else "confirmed"
    ends = world.waiting.ends if world.waiting else ends
    assert order["status"] == ends
    ended_well = ends == "confirmed"
    landed = database.rows(
        """SELECT tx_hash FROM simulated_transactions JOIN swaps USING (tx_hash)
           WHERE order_id = %s AND outcome = 'landed'""",
        order["id"],
    )
    expected = [order["tx_hash"]] if ended_well else []
    assert [swap["tx_hash"] for swap in landed] == expected, "exactly the confirmed swap landed"
    assert (
        database.count("simulated_transactions")
        == database.rows("SELECT count(*) FROM swaps WHERE state <> 'expired'")[0]["count"]
    )
    events = database.events(order["id"])
    assert [event["seq"] for event in events] == list(range(1, order["seq"] + 1))
    heard = [message["seq"] for message in world.connections.received[VIEWER] if "seq" in message]
    assert list(dict.fromkeys(heard)) == list(range(1, order["seq"] + 1)), f"the viewer heard {heard}"
    if not kills:
        assert len(heard) == len(set(heard)), "and each once"
    database.change(";".join(f"DELETE FROM {table}" for table in TABLES))


@pytest.fixture
def make_world(postgres, redis_server, database, cache) -> Iterator[Callable[[str], World]]:
    settings = {
        "DATABASE_URL": postgres.url,
        "REDIS_URL": redis_server.url,
        "MOCK_LATENCY": "0",
        "BACKOFF_BASE_MS": "0",
        "MAX_RETRIES": "2",
        "ORDER_PROCESSOR_RATE": "0",
        "USER_ORDER_RATE": "0",
    }
    shared = World(settings, "lands")

    def make(first_time: str, waiting: Waiting | None = None) -> World:
        cache.flushall()
        world = World(settings, first_time, waiting)
        world.database, world.redis, world.redis_clock = shared.database, shared.redis, shared.redis_clock
        world.chain = Chain(shared.database, first_time)
        return world

    yield make
    shared.database.close()
    shared.redis.close()


def run(
    make_world, database, monkeypatch, first_time: str, kills: Collection[int], waiting: Waiting | None = None
) -> Fate:
    """Live a life; one without kills also checks that nothing changes the world between two effects."""
    world = make_world(first_time, waiting)
    fate = Fate(kills, look=None if kills else world.state)
    life = Life(world, fate, monkeypatch)
    try:
        life.live()
        check_invariants(database, world, kills)
    except AssertionError as error:
        raise AssertionError(
            f"killed before {' and '.join(map(str, kills)) or 'nothing'}: {error}\n{fate.log[-40:]}"
        ) from error
    return fate


@pytest.mark.parametrize(
    "first_time",
    [
        "lands",
        "lands late",
        "always refused",
        "never quoted",
        "lands with an error",
        "answer lost",
        "dropped",
        "expires",
    ],
)
def test_no_single_crash_loses_or_repeats_an_order(make_world, database, monkeypatch, capsys, first_time):
    run(make_world, database, monkeypatch, first_time, [])
    crashes = 0
    for kill in itertools.count(1):
        if not run(make_world, database, monkeypatch, first_time, [kill]).fulfilled:
            break
        crashes += 1
    with capsys.disabled():
        print(f"\n  {crashes} crash points survived; the first swap: {first_time}")
    assert crashes > 20


LIMIT = {"orderType": "limit", "limitPrice": 100}
STOP = {"orderType": "stop", "triggerPrice": 120}
SNIPER = {"orderType": "sniper", "tokenIn": "WIF"}
IN_A_DAY = {"timeInForce": "GTD", "expiresAt": (datetime.now(UTC) + timedelta(days=1)).isoformat()}


@pytest.mark.parametrize(
    "waiting",
    [
        Waiting(LIMIT, "price", "confirmed"),
        Waiting(STOP, "price", "confirmed"),
        Waiting(SNIPER, "launch", "confirmed"),
        Waiting(LIMIT, "cancellation", "cancelled"),
        Waiting(LIMIT | IN_A_DAY, "expiry", "expired"),
        Waiting(LIMIT | {"timeInForce": "IOC"}, "price", "cancelled"),
    ],
    ids=["limit", "stop", "sniper", "cancelled", "expired", "immediate"],
)
def test_no_single_crash_loses_or_repeats_an_order_that_waits(make_world, database, monkeypatch, capsys, waiting):
    run(make_world, database, monkeypatch, "lands", [], waiting)
    crashes = 0
    for kill in itertools.count(1):
        if not run(make_world, database, monkeypatch, "lands", [kill], waiting).fulfilled:
            break
        crashes += 1
    with capsys.disabled():
        print(f"\n  {crashes} crash points survived; the order waits, then: {waiting.until}")
    assert crashes > 20


@pytest.mark.no_cover  # it runs no line that a single crash does not, and measuring takes half as long again
@pytest.mark.timeout(300)  # over a thousand lives: half a minute on two cores
def test_no_pair_of_crashes_loses_or_repeats_an_order(make_world, database, monkeypatch, capsys):
    pairs = 0
    for first in itertools.count(1):
        if not run(make_world, database, monkeypatch, "lands", [first]).fulfilled:
            break
        for second in itertools.count(1):
            if not run(make_world, database, monkeypatch, "lands", [first, second]).fulfilled:
                break
            pairs += 1
    with capsys.disabled():
        print(f"\n  {pairs} pairs of crash points survived")
    assert pairs > 1000

"""The engine put together: every part with what it needs, made when it is first used.

A Lambda process serves one function, so it should pay only for the parts that this function touches. Tests put
engines together the same way, with settings and parts of their own.
"""

from collections.abc import Callable
from functools import cache, cached_property
from typing import TYPE_CHECKING

from chalicelib.clock import Clock
from chalicelib.config import Settings, current_settings
from chalicelib.counters import Counters
from chalicelib.exact_json import encode_json
from chalicelib.execution.budget import Budget
from chalicelib.execution.cancellation import Cancellation
from chalicelib.execution.dead_letters import DeadLetters
from chalicelib.execution.executor import Executor
from chalicelib.execution.intake import Intake
from chalicelib.execution.recovery import Recovery
from chalicelib.execution.retries import Retries
from chalicelib.execution.settlement import Settlement
from chalicelib.measurements import Measurements
from chalicelib.observability import conceal
from chalicelib.orders.tokens import Token, trade_only
from chalicelib.queueing.dispatch import Dispatcher
from chalicelib.queueing.pacing import Pacer
from chalicelib.rate_limit import RateLimit
from chalicelib.resources.aws import connections
from chalicelib.resources.management_api import ManagementApi
from chalicelib.resources.postgres import Database
from chalicelib.resources.redis import Redis
from chalicelib.resources.secrets import Secret
from chalicelib.resources.sqs import Queue
from chalicelib.routing.router import Router
from chalicelib.store.book import Book
from chalicelib.store.census import CensusTaker
from chalicelib.store.dead_letters import DeadLetterStore
from chalicelib.store.orders import OrderStore
from chalicelib.store.spending import SpendingStore
from chalicelib.streaming.publisher import Publisher
from chalicelib.streaming.tickets import Tickets
from chalicelib.streaming.viewers import Viewers
from chalicelib.triggers.expiry import Expiry
from chalicelib.triggers.launches import Launches
from chalicelib.triggers.market_watch import MarketWatch
from chalicelib.triggers.waking import Waker
from chalicelib.venues.simulated.amm import Simulation
from chalicelib.venues.simulated.chain import SimulatedChain
from chalicelib.venues.simulated.chance import Chance
from chalicelib.venues.simulated.faults import Faults
from chalicelib.venues.simulated.market import Market
from chalicelib.venues.simulated.meteora import meteora
from chalicelib.venues.simulated.raydium import raydium
from chalicelib.venues.venue import Chain, Venue
from chalicelib.web.identity import Identification
from chalicelib.web.monitoring import Monitoring
from chalicelib.web.operators import Operators
from chalicelib.web.rest import Rest
from chalicelib.web.sockets import MESSAGES_AT_ONCE, MESSAGES_PER_MINUTE, Sockets

if TYPE_CHECKING:
    from chalicelib.venues.solana.network import Network


class Engine:
    """All parts of one process, sharing its connections."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        conceal(settings.secrets)
        self.settings = settings
        self.clock = clock
        if settings.solana is not None:
            from chalicelib.venues.solana.clusters import tokens_of

            trade_only(Token(symbol, token.decimals) for symbol, token in tokens_of(settings.solana).items())

    def prepare(self) -> None:
        """Load and open what nearly every call needs, as far as that goes without the network.

        A process gets all of a core while it starts, and none of that counts against its function's timeout: the
        first order it serves should not wait for imports.
        """
        self.redis.open()
        connections()

    def prepare_to_swap(self) -> None:
        """Prepare for executions: a wallet that cannot pay must stop the start, not the first order.

        Raises:
            WalletKeyError: the wallet's key is no key.
            ResourceUnavailable: Secrets Manager does not give it.
        """
        self.prepare()
        if self.network is not None:
            self.network.wallet()

    def migrate(self) -> list[str]:
        """Bring the database to the schema of this version; returns the names of the migrations applied."""
        from chalicelib.store.schema import migrate

        return migrate(self.database.url())

    @cached_property
    def database(self) -> Database:
        return Database(self.settings.database_url, self._secret(self.settings.database_secret_arn))

    @cached_property
    def redis(self) -> Redis:
        return Redis(self.settings.redis_url, self.clock, self._secret(self.settings.redis_secret_arn))

    @cached_property
    def order_queue(self) -> Queue:
        return Queue(self.settings.orders_queue_url)

    @cached_property
    def priority_queue(self) -> Queue:
        """Snipers to execute, past all others."""
        return Queue(self.settings.priority_queue_url)

    @cached_property
    def settlement_queue(self) -> Queue:
        """Orders whose swap was sent."""
        return Queue(self.settings.settlements_queue_url)

    @cached_property
    def replay_queue(self) -> Queue:
        """Viewers that have to be brought up to date: of a new connection, or all of an order."""
        return Queue(self.settings.replays_queue_url)

    @cached_property
    def store(self) -> OrderStore:
        return OrderStore(self.database)

    @cached_property
    def book(self) -> Book:
        return Book(self.database)

    @cached_property
    def viewers(self) -> Viewers:
        return Viewers(self.redis, have_users=self.settings.auth_mode == "jwt")

    @cached_property
    def connections(self) -> ManagementApi:
        return ManagementApi(self.settings.management_api_url, self.clock)

    @cached_property
    def publisher(self) -> Publisher:
        return Publisher(self.store, self.viewers, self.connections, self.replay_queue, self.clock)

    @cached_property
    def chance(self) -> Chance:
        return Chance(self.settings.mock_seed)

    @cached_property
    def market(self) -> Market:
        return Market(self.database, self.settings.mock_seed, self.clock)

    @cached_property
    def simulation(self) -> Simulation:
        return Simulation(
            market=self.market,
            chance=self.chance,
            faults=self.faults,
            latency=self.settings.mock_latency,
            clock=self.clock,
        )

    @cached_property
    def network(self) -> "Network | None":
        """The real cluster that orders are swapped on; None when they are swapped on the simulated venues."""
        solana = self.settings.solana
        if solana is None:
            return None
        # Only who swaps for real should pay for these; others need not even have them.
        from chalicelib.venues.solana.network import connect

        budget = Budget(store=SpendingStore(self.database), per_order=solana.max_per_order, per_day=solana.max_per_day)
        return connect(solana, budget, self.clock)

    @cached_property
    def venues(self) -> tuple[Venue, ...]:
        """Where orders are swapped, a line each; where two are equally good, the first one is chosen."""
        if self.network is not None:
            return self.network.venues
        return (
            raydium(self.simulation),
            meteora(self.simulation),
        )

    @cached_property
    def router(self) -> Router:
        return Router(self.venues)

    @cached_property
    def chain(self) -> Chain:
        if self.network is not None:
            return self.network.chain
        return SimulatedChain(
            database=self.database,
            chance=self.chance,
            faults=self.faults,
            latency=self.settings.mock_latency,
            clock=self.clock,
        )

    @cached_property
    def pacer(self) -> Pacer:
        settings = self.settings
        return Pacer(self.redis, settings.order_processor_rate, settings.queue_max_concurrent, self.clock)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        return Dispatcher(
            store=self.store,
            publisher=self.publisher,
            order_queue=self.order_queue,
            priority_queue=self.priority_queue,
            settlement_queue=self.settlement_queue,
            pacer=self.pacer,
        )

    @cached_property
    def retries(self) -> Retries:
        return Retries(store=self.store, publisher=self.publisher, backoff_base_ms=self.settings.backoff_base_ms)

    @cached_property
    def user_limit(self) -> RateLimit:
        """How many orders a user may place; whoever was quiet for a minute may place a minute's worth at once."""
        rate = self.settings.user_order_rate
        return RateLimit(self.redis, self.clock, kind="orders", per_minute=rate, burst=rate)

    @cached_property
    def message_limit(self) -> RateLimit:
        """How many messages a WebSocket connection may send."""
        return RateLimit(
            self.redis, self.clock, kind="messages", per_minute=MESSAGES_PER_MINUTE, burst=MESSAGES_AT_ONCE
        )

    @cached_property
    def intake(self) -> Intake:
        return Intake(
            store=self.store,
            publisher=self.publisher,
            dispatcher=self.dispatcher,
            user_limit=self.user_limit,
            max_retries=self.settings.max_retries,
            clock=self.clock,
        )

    @cached_property
    def executor(self) -> Executor:
        return Executor(
            store=self.store,
            router=self.router,
            chain=self.chain,
            publisher=self.publisher,
            dispatcher=self.dispatcher,
            retries=self.retries,
            pacer=self.pacer,
        )

    @cached_property
    def settlement(self) -> Settlement:
        return Settlement(
            store=self.store,
            chain=self.chain,
            publisher=self.publisher,
            dispatcher=self.dispatcher,
            retries=self.retries,
            clock=self.clock,
        )

    @cached_property
    def recovery(self) -> Recovery:
        return Recovery(store=self.store, dispatcher=self.dispatcher, clock=self.clock)

    @cached_property
    def cancellation(self) -> Cancellation:
        return Cancellation(store=self.store, publisher=self.publisher, dispatcher=self.dispatcher)

    @cached_property
    def waker(self) -> Waker:
        return Waker(book=self.book, dispatcher=self.dispatcher, publisher=self.publisher)

    @cached_property
    def expiry(self) -> Expiry:
        return Expiry(book=self.book, publisher=self.publisher)

    @cached_property
    def market_watch(self) -> MarketWatch:
        return MarketWatch(book=self.book, router=self.router, waker=self.waker, expiry=self.expiry, clock=self.clock)

    @cached_property
    def launches(self) -> Launches:
        return Launches(book=self.book, waker=self.waker)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        return DeadLetters(
            letters=DeadLetterStore(self.database),
            store=self.store,
            retries=self.retries,
            publisher=self.publisher,
            dispatcher=self.dispatcher,
        )

    @cached_property
    def faults(self) -> Faults:
        return Faults(self.database, self.clock)

    @cached_property
    def operators(self) -> Operators:
        return Operators(market=self.market, dead_letters=self.dead_letters)

    @cached_property
    def launch_secret(self) -> Callable[[], str]:
        """What signs launches, read when one comes."""
        secret = self._secret(self.settings.launch_webhook_secret_arn)
        return secret.read if secret else lambda: self.settings.launch_webhook_secret

    @cached_property
    def identification(self) -> Identification:
        return Identification(
            open_to_all=self.settings.auth_mode == "open", tickets=Tickets(self.redis), clock=self.clock
        )

    @cached_property
    def rest(self) -> Rest:
        return Rest(
            intake=self.intake,
            cancellation=self.cancellation,
            launches=self.launches,
            dead_letters=self.dead_letters,
            identification=self.identification,
            store=self.store,
            viewers=self.viewers,
            router=self.router,
            websocket_url=self.settings.websocket_url,
            launch_secret=self.launch_secret,
            probes={"postgres": self.store.probe, "redis": self.redis.probe, "sqs": self.order_queue.depth},
            clock=self.clock,
        )

    @cached_property
    def contract(self) -> bytes:
        """The OpenAPI document, written when it is first asked for: that takes some 30 ms, which nobody else pays."""
        from chalicelib.web.contract.openapi import openapi

        return encode_json(openapi(open_to_all=self.settings.auth_mode == "open", venues=self.router.venue_names))

    @cached_property
    def measurements(self) -> Measurements:
        dead_letters = {
            "orders-dead-letters": Queue(self.settings.orders_dead_letters_url),
            "settlements-dead-letters": Queue(self.settings.settlements_dead_letters_url),
        }
        return Measurements(
            census_taker=CensusTaker(self.database),
            counters=Counters(self.redis),
            queues={
                "orders": self.order_queue,
                "priority": self.priority_queue,
                "settlements": self.settlement_queue,
                "replays": self.replay_queue,
                **dead_letters,
            },
            redis=self.redis,
            clock=self.clock,
        )

    @cached_property
    def monitoring(self) -> Monitoring:
        return Monitoring(measurements=self.measurements, slots=self.settings.queue_max_concurrent)

    @cached_property
    def sockets(self) -> Sockets:
        return Sockets(
            intake=self.intake,
            store=self.store,
            viewers=self.viewers,
            publisher=self.publisher,
            replay_queue=self.replay_queue,
            identification=self.identification,
            message_limit=self.message_limit,
            clock=self.clock,
        )

    def _secret(self, arn: str) -> Secret | None:
        return Secret(arn, self.clock) if arn else None


@cache
def engine() -> Engine:
    """Return this process's engine."""
    return Engine(current_settings(), Clock())

"""What happens when more orders come: the pipeline simulated, from a hundred orders a minute to a million.

Runs on a real stack say how long the API, a slot and a settlement take for an order, and what it costs Postgres and
Redis. The simulation (SimPy) sends orders through the same pipeline with those times: API, queue, slots, settlement in
batches. Before anything is concluded from it, it repeats another real run, of another size, and has to come out within
a tenth of it. Then it says what each rate needs, and that is held against what there is: the engine's own settings, the
instance it is deployed on by default, and AWS' quotas.
"""

import math
import random
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from string import Template
from typing import TYPE_CHECKING, Any

import psycopg
import redis
from rich.console import Console
from rich.table import Table

from bench.figures import judged, percentiles, table_with_goals
from bench.report import Chart, Section, draw, shown, table
from bench.throughput import POSTS_IN_FLIGHT, Figures, measure_throughput
from chalicelib.config import PRIORITY_SLOTS
from chalicelib.execution.settlement import WATCH_SECONDS
from chalicelib.queueing.dispatch import FIRST_STATUS_SECONDS
from chalicelib.venues.simulated.chain import SimulatedChain
from infra.local.stack import PROJECT, Stack

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CALIBRATION, CHECKED = 150, 300
"""Orders of each of the two runs that the simulation learns from, and of the one between them, which it repeats."""
CHECK_GOAL = 0.10
RATES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
DEPLOYED_RATES = (100, 300, 600, 900, 1_000, 1_100, 1_200, 1_500, 2_000)
DEPLOYED_MINUTES = 5
MOST_SIMULATED = 100_000
"""Orders in one simulation: at a million a minute six seconds of them, which fill every stage."""
BATCH = 10
SETTLERS = 5
LANDING_SECONDS = (2.0, 3.0)
SEED = 20261121
STATISTICS_SECONDS = 11.0
"""After which an idle Postgres process has reported all that it wrote (``PGSTAT_IDLE_INTERVAL`` is 10 s)."""
PAGE = PROJECT / "docs" / "scaling.md"
TEMPLATE = Path(__file__).with_name("scaling.md")
CHARTS = ("growth-latency", "growth-limits")

# What Postgres did for these orders; what stands for the chain is left out, but for the log, which has no names in it.
_STATEMENTS = """
    SELECT coalesce(sum(calls), 0)::float8 AS statements,
           coalesce(sum(calls) FILTER (WHERE wal_records > 0), 0)::float8 AS commits,
           coalesce(sum(total_exec_time) / 1000, 0)::float8 AS seconds
    FROM pg_stat_statements
    WHERE query ~ '(orders|order_events|swaps)' AND query !~ 'bench|simulated_' AND dbid = (
        SELECT oid FROM pg_database WHERE datname = current_database())
"""
_LOG = "SELECT wal_bytes::float8, wal_records::float8, wal_fpi::float8 FROM pg_stat_wal"
_ROWS = """
    SELECT count(*), avg(pg_column_size({table}.*))::float8, pg_table_size('{table}')::float8 / greatest(count(*), 1),
           pg_indexes_size('{table}')::float8 / greatest(count(*), 1)
    FROM {table}
"""
_SUBMITTED = """
    SELECT extract(epoch FROM created_at)::float8 FROM order_events
    WHERE event = 'submitted' AND created_at >= to_timestamp(%s) ORDER BY created_at
"""


# --- What an order costs, measured ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TableCost:
    """What a table keeps of an order, in bytes."""

    rows: float
    row: float
    """A row, as Postgres stores it."""
    disk: float
    """All rows of an order on their pages."""
    indexes: float


@dataclass(frozen=True, kw_only=True)
class OrderCost:
    """What one market order costs the parts it passes through."""

    statements: float
    commits: float
    """Statements that wrote, each a transaction that waits until its part of the log is on the disk."""
    database_seconds: float
    log_bytes: float
    log_pages: float
    """Whole pages in it, which Postgres logs when they first change after a checkpoint."""
    scripts: float
    script_seconds: float
    """What Redis, which runs one script at a time, spent on them."""
    chain_calls: float
    tables: dict[str, TableCost]

    @property
    def disk_bytes(self) -> float:
        return sum(kept.disk + kept.indexes for kept in self.tables.values())


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long an order's stages take, in seconds; lists are drawn from."""

    post: Sequence[float]
    slot: Sequence[float]
    handover: float
    """From the end of one order to the beginning of the next in the same slot, while the queue is not empty."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a simulation came to; times in seconds."""

    orders: int
    elapsed: float
    """From the first order to the last confirmation."""
    latencies: Sequence[float]
    """From the POST to ``confirmed``."""
    slots_used: float
    """How many slots the orders keep busy on average when they go on coming, handovers included."""
    settlers_used: float

    @property
    def per_minute(self) -> float:
        return self.orders / self.elapsed * 60


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """How the engine fares at a rate with the slots it is deployed with."""

    rate: int
    p50: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What a rate needs when there is enough of everything."""

    rate: int
    slots: float
    settlers: float
    p50: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class GrowthFigures:
    cost: OrderCost
    times: Times
    checked: Figures
    simulated: Outcome
    deployed: Sequence[Deployed]
    demands: Sequence[Demand]

    @property
    def slots(self) -> int:
        return self.checked.slots

    @property
    def deviation(self) -> float:
        """How far the simulation is from the run that it repeats; 0.05 is five per cent."""
        return self.simulated.per_minute / self.checked.confirmed_per_minute - 1


def measure_growth(stack: Stack, calibration: int = CALIBRATION, checked: int = CHECKED) -> GrowthFigures:
    """Learn what an order takes from a run before the one to be repeated and one after it, and simulate the rates.

    Both, because how busy this machine is otherwise changes from minute to minute.

    Raises:
        TimeoutError: not all orders of a run ended in time.
    """
    before, cost = _measure_cost(stack, calibration)
    real = measure_throughput(stack, checked)
    after = _measure_times(stack, calibration)[1]
    times = Times(
        post=[*before.post, *after.post],
        slot=[*before.slot, *after.slot],
        handover=mean((before.handover, after.handover)),
    )
    simulated = simulate(times, Together(checked, POSTS_IN_FLIGHT), slots=real.slots, settlers=SETTLERS)
    return GrowthFigures(
        cost=cost,
        times=times,
        checked=real,
        simulated=simulated,
        deployed=[_deployed(times, rate, real.slots) for rate in DEPLOYED_RATES],
        demands=[_demand(times, rate) for rate in RATES],
    )


def _measure_times(stack: Stack, orders: int) -> tuple[Figures, Times]:
    """Run so many orders; return the run's figures, and how long an order's stages took."""
    begun = time.time()
    figures = measure_throughput(stack, orders)
    with psycopg.connect(stack.database_url) as connection:
        submitted = [at for (at,) in connection.execute(_SUBMITTED, (begun,)).fetchall()]
    handover = handover_of(submitted, figures.slots, mean(figures.execute_times))
    return figures, Times(post=figures.post_times, slot=figures.execute_times, handover=handover)


def _measure_cost(stack: Stack, orders: int) -> tuple[Times, OrderCost]:
    """Run so many orders; return how long their stages took, and what each cost."""
    time.sleep(STATISTICS_SECONDS)
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        log_before = connection.execute(_LOG).fetchone()
        scripts_before = _scripts(stack)
        figures, times = _measure_times(stack, orders)
        scripts = _scripts(stack)
        spent = connection.execute(_STATEMENTS).fetchone()
        time.sleep(STATISTICS_SECONDS)
        log = connection.execute(_LOG).fetchone()
        assert log_before is not None
        assert log is not None
        assert spent is not None
        (stored,) = connection.execute("SELECT count(*) FROM orders").fetchone() or (0,)
        tables = {name: _table_cost(connection, name, stored) for name in ("orders", "order_events", "swaps")}
    return (
        times,
        OrderCost(
            statements=spent[0] / orders,
            commits=spent[1] / orders,
            database_seconds=spent[2] / orders,
            log_bytes=(log[0] - log_before[0]) / orders,
            log_pages=(log[2] - log_before[2]) / orders,
            scripts=(scripts[0] - scripts_before[0]) / orders,
            script_seconds=(scripts[1] - scripts_before[1]) / orders,
            chain_calls=figures.round_trips[1] / orders,
            tables=tables,
        ),
    )


def _table_cost(connection: psycopg.Connection[Any], name: str, orders: int) -> TableCost:
    row = connection.execute(_ROWS.format(table=name)).fetchone()
    assert row is not None
    rows, size, disk, indexes = row
    each = rows / max(orders, 1)
    return TableCost(rows=each, row=size or 0.0, disk=disk * each, indexes=indexes * each)


def _scripts(stack: Stack) -> tuple[float, float]:
    """Return how many scripts Redis has run, and for how many seconds."""
    with redis.Redis.from_url(stack.redis_url) as cache:
        statistics = cache.info("commandstats")
    kept = [statistics[name] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in statistics]
    return sum(entry["calls"] for entry in kept), sum(entry["usec"] for entry in kept) / 1e6


def handover_of(submitted: Sequence[float], slots: int, busy: float) -> float:
    """Return how long a slot is idle between two orders, from when orders were submitted while the queue was full.

    That is in the second half, but for the last tenth, where slots run empty: before, orders may come no faster than
    slots take them, and a slot waits for an order, not for its handover. ``busy`` is the mean time of an order in one.
    """
    steady = submitted[len(submitted) // 2 : len(submitted) - len(submitted) // 10]
    return max(slots * (steady[-1] - steady[0]) / (len(steady) - 1) - busy, 0.0)


# --- The simulation -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Together:
    """So many orders at once, of which the client has a few in flight."""

    orders: int
    in_flight: int


@dataclass(frozen=True)
class Stream:
    """Orders that come at random, so many a second on average."""

    orders: int
    a_second: float


@dataclass
class _Pipeline:
    """The stages between a client and ``confirmed``."""

    environment: Any
    chance: random.Random
    times: Times
    slots: Any
    """None where there are as many as it takes."""
    settlements: Any
    slots_busy: float = 0.0
    """Seconds, of all slots together."""
    settlers_busy: float = 0.0
    latencies: list[float] = field(default_factory=list)
    ended: float = 0.0

    def order(self, gate: Any = None) -> Generator[Any, Any, None]:
        """Post an order, execute it when a slot is free, and hand it to settlement."""
        if gate is not None:
            request = gate.request()
            yield request
        begun = self.environment.now
        yield self.environment.timeout(self.chance.choice(self.times.post))
        if gate is not None:
            gate.release(request)
        if self.slots is not None:
            slot = self.slots.request()
            yield slot
        started = self.environment.now
        yield self.environment.timeout(self.chance.choice(self.times.slot))
        submitted = self.environment.now
        self.environment.process(self._settle_later(begun, submitted))
        if self.slots is not None:
            yield self.environment.timeout(self.times.handover)
            self.slots.release(slot)
        self.slots_busy += submitted + self.times.handover - started

    def _settle_later(self, begun: float, submitted: float) -> Generator[Any, Any, None]:
        lands = submitted + self.chance.uniform(*LANDING_SECONDS)
        yield self.environment.timeout(FIRST_STATUS_SECONDS)
        self.settlements.put((begun, lands))

    def settler(self) -> Generator[Any, Any, None]:
        """Watch batches, one after another, each until all in it has landed."""
        look = SimulatedChain.look_seconds
        while True:
            first = yield self.settlements.get()
            batch = [first, *self.settlements.items[: BATCH - 1]]
            del self.settlements.items[: BATCH - 1]
            received = self.environment.now
            ticks = [max(math.ceil((lands - received) / look), 0) for _, lands in batch]
            yield self.environment.timeout(min(max(ticks) * look, WATCH_SECONDS) + self.times.handover)
            for (begun, _), tick in zip(batch, ticks, strict=True):
                confirmed = received + tick * look
                self.latencies.append(confirmed - begun)
                self.ended = max(self.ended, confirmed)
            self.settlers_busy += self.environment.now - received


def simulate(times: Times, arrivals: Together | Stream, *, slots: int | None, settlers: int) -> Outcome:
    """Send orders through the pipeline; ``slots`` None means as many as it takes."""
    import simpy

    environment = simpy.Environment()
    chance = random.Random(SEED)
    pipeline = _Pipeline(
        environment=environment,
        chance=chance,
        times=times,
        slots=None if slots is None else simpy.Resource(environment, slots),
        settlements=simpy.Store(environment),
    )
    for _ in range(settlers):
        environment.process(pipeline.settler())
    if isinstance(arrivals, Stream):
        environment.process(_arrive(environment, pipeline, arrivals, chance))
    else:
        gate = simpy.Resource(environment, arrivals.in_flight)
        for _ in range(arrivals.orders):
            environment.process(pipeline.order(gate))
    environment.run()
    lasted = arrivals.orders / arrivals.a_second if isinstance(arrivals, Stream) else pipeline.ended
    return Outcome(
        orders=len(pipeline.latencies),
        elapsed=pipeline.ended,
        latencies=pipeline.latencies,
        slots_used=pipeline.slots_busy / lasted,
        settlers_used=pipeline.settlers_busy / lasted,
    )


def _arrive(environment: Any, pipeline: _Pipeline, stream: Stream, chance: random.Random) -> Generator[Any, Any, None]:
    for _ in range(stream.orders):
        environment.process(pipeline.order())
        yield environment.timeout(chance.expovariate(stream.a_second))


def _deployed(times: Times, rate: int, slots: int) -> Deployed:
    stream = Stream(orders=rate * DEPLOYED_MINUTES, a_second=rate / 60)
    outcome = simulate(times, stream, slots=slots, settlers=SETTLERS)
    p50, p99 = percentiles(outcome.latencies)
    return Deployed(rate=rate, p50=p50 / 1000, p99=p99 / 1000)


def _demand(times: Times, rate: int) -> Demand:
    stream = Stream(orders=min(max(rate, 1_000), MOST_SIMULATED), a_second=rate / 60)
    # A full batch is watched for a second and a fifth at most; a few more, so that few orders make no queue.
    settlers = math.ceil(stream.a_second * 1.2 / BATCH) + SETTLERS
    outcome = simulate(times, stream, slots=None, settlers=settlers)
    p50, p99 = percentiles(outcome.latencies)
    return Demand(
        rate=rate,
        slots=outcome.slots_used,
        settlers=outcome.settlers_used,
        p50=p50 / 1000,
        p99=p99 / 1000,
    )


# --- Which limit comes first ----------------------------------------------------------------------------------

READ = "read 2026-11-21"
GATEWAY = "https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"
SOCKETS = "https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html"
LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"
POLLING = "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"
SQS = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html"
RDS = "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html"
STORAGE = "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Storage.html"
BURSTABLE = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-credits-baseline-concepts.html"
SOLANA = "https://solana.com/docs/references/clusters"
PROCESSOR_RATE = 100
DATABASE_CONNECTIONS = 400
BASELINE_CORES = 0.4
STORAGE_IOPS, STORAGE_BYTES = 3_000, 125 * 2**20
GATEWAY_REQUESTS, NEW_CONNECTIONS = 10_000, 500
CONCURRENCY, POLLED_AT_ONCE, MESSAGES_IN_FLIGHT = 1_000, 1_000, 120_000
PUBLIC_CALLS = 10
"""JSON-RPC calls a second that a public Solana endpoint takes from one address: 100 in 10 s."""
SWAP_CALLS = 4
"""The least that a swap asks of it: each venue's accounts, a block hash, the sending; statuses come by the ten."""
STANDING = 8
"""Processes there are whatever comes: the watch and recovery, each of which overlaps the next, and five for replays."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What ends, and from which rate on."""

    name: str
    there_is: str
    each: str
    """What an order takes of it."""
    reached: float
    """Orders a minute at which all of it is taken."""
    raise_it: str
    source: str


def limits_of(figures: GrowthFigures) -> list[Limit]:
    """Return the limits in the order in which growth comes to them."""
    cost, times = figures.cost, figures.times
    slot = mean(times.slot) + times.handover
    settling = _settling(figures.demands)
    processes = mean(times.post) + slot + settling
    events = cost.tables["order_events"].rows
    limits = [
        Limit(
            name="`ORDER_PROCESSOR_RATE`",
            there_is=f"{PROCESSOR_RATE} a minute",
            each="1",
            reached=PROCESSOR_RATE,
            raise_it="the parameter `OrderProcessorRate`; 0 lifts it",
            source="`infra/app.json`",
        ),
        Limit(
            name="Execution slots, without those kept for snipers",
            there_is=str(figures.slots),
            each=f"{slot * 1000:.0f} ms",
            reached=figures.slots / slot * 60,
            raise_it="`QueueMaxConcurrent`, `OrdersMaxConcurrent`",
            source="`infra/app.json`",
        ),
        Limit(
            name="Settlement batches",
            there_is=f"{SETTLERS} of {BATCH}",
            each=f"{settling * 1000:.0f} ms of a process",
            reached=SETTLERS / settling * 60,
            raise_it="`maximum_concurrency` of `settle_orders`",
            source="`app.py`",
        ),
        Limit(
            name="Public Solana endpoint",
            there_is="100 calls in 10 s",
            each=f"{SWAP_CALLS} calls at least",
            reached=PUBLIC_CALLS / SWAP_CALLS * 60,
            raise_it="an endpoint of one's own, or a provider's plan: `SOLANA_RPC_SECRET_ARN`",
            source=SOLANA,
        ),
        Limit(
            name="CPU of db.t4g.medium, lasting",
            there_is=f"2 cores at 20 %: {BASELINE_CORES}",
            each=f"{cost.database_seconds * 1000:.1f} ms",
            reached=BASELINE_CORES / cost.database_seconds * 60,
            raise_it="`DatabaseInstanceClass`: a class that is not burstable",
            source=BURSTABLE,
        ),
        Limit(
            name="Writes of the database",
            there_is=f"{STORAGE_IOPS:,} IOPS (gp3 below 400 GiB)",
            each=f"{cost.commits:.1f} commits",
            reached=STORAGE_IOPS / cost.commits * 60,
            raise_it="400 GiB: 12,000 IOPS; commits that come together share a write, so this is the pessimist's",
            source=STORAGE,
        ),
        Limit(
            name="Log volume of the database",
            there_is="125 MiB/s (gp3 below 400 GiB)",
            each=f"{cost.log_bytes / 1000:.1f} kB",
            reached=STORAGE_BYTES / cost.log_bytes * 60,
            raise_it="400 GiB: 500 MiB/s; fewer checkpoints (`max_wal_size`)",
            source=STORAGE,
        ),
        Limit(
            name="Connections to the database",
            there_is=f"about {DATABASE_CONNECTIONS} (4 GiB), of which {STANDING} stand",
            each=f"{processes * 1000:.0f} ms of a process",
            reached=(DATABASE_CONNECTIONS - STANDING) / processes * 60,
            raise_it="a larger class (at most 5,000); then a pooler that shares them between transactions",
            source=RDS,
        ),
        Limit(
            name="Lambda processes of the account",
            there_is=f"{CONCURRENCY:,} at once",
            each=f"{processes * 1000:.0f} ms of a process",
            reached=(CONCURRENCY - STANDING) / processes * 60,
            raise_it="the quota, on request",
            source=LAMBDA,
        ),
        Limit(
            name="Slots that one queue can fill",
            there_is=f"{POLLED_AT_ONCE:,} (`MaximumConcurrency`)",
            each=f"{slot * 1000:.0f} ms",
            reached=POLLED_AT_ONCE / slot * 60,
            raise_it="several `orders` queues with a function each, by the order's id; or several orders to a call",
            source=POLLING,
        ),
        Limit(
            name="Requests and posts of API Gateway",
            there_is=f"{GATEWAY_REQUESTS:,} a second in all",
            each=f"1 POST, {events:.0f} posts to its viewer, 1 connection",
            reached=GATEWAY_REQUESTS / (events + 2) * 60,
            raise_it="the quota, on request; one socket for all orders of a user",
            source=GATEWAY,
        ),
        Limit(
            name="New WebSocket connections",
            there_is=f"{NEW_CONNECTIONS} a second",
            each="1, if each order opens its own",
            reached=NEW_CONNECTIONS * 60,
            raise_it="the quota, on request; one socket for all orders of a user",
            source=SOCKETS,
        ),
        Limit(
            name="Redis, which runs one script at a time",
            there_is="1 core",
            each=f"{cost.script_seconds * 1e6:,.0f} µs in {cost.scripts:.0f} scripts",
            reached=60 / cost.script_seconds,
            raise_it="several Redis by the order's id: no script touches two orders, but for a connection's",
            source="measured",
        ),
        Limit(
            name="Messages received and not deleted, of a queue",
            there_is=f"{MESSAGES_IN_FLIGHT:,}",
            each=f"{settling * 1000:.0f} ms in a batch of {BATCH}",
            reached=MESSAGES_IN_FLIGHT / (settling * BATCH) * 60,
            raise_it="the quota, on request; several queues",
            source=SQS,
        ),
    ]
    return sorted(limits, key=lambda limit: limit.reached)


def _settling(demands: Sequence[Demand]) -> float:
    """Return for how long an order keeps a settling process busy, where batches are full."""
    most = max(demands, key=lambda demand: demand.rate)
    return most.settlers / (most.rate / 60)


# --- What is shown --------------------------------------------------------------------------------------------


def show_growth(console: Console, figures: GrowthFigures) -> None:
    """Print the figures as tables."""
    show_check(console, figures)
    show_cost(console, figures.cost)
    console.print(_demand_table(figures.demands))


def show_check(console: Console, figures: GrowthFigures) -> None:
    """Print the run and its repetition by the simulation."""
    checks = table_with_goals(f"The simulation against {figures.checked.orders} orders", "real", "simulated")
    met = judged(f"within {CHECK_GOAL:.0%}: {figures.deviation:+.1%}", abs(figures.deviation) <= CHECK_GOAL)
    checks.add_row(
        "confirmed a minute",
        f"{figures.checked.confirmed_per_minute:,.0f}",
        f"{figures.simulated.per_minute:,.0f}",
        met,
        f"{figures.slots} slots, {PRIORITY_SLOTS} more are kept for snipers; learned from two other runs",
    )
    checks.add_row(
        "last confirmation",
        f"{figures.checked.elapsed:.1f} s",
        f"{figures.simulated.elapsed:.1f} s",
        "",
        "after the first POST",
    )
    own, learned = figures.checked.execute_times, figures.times.slot
    in_slot = (f"{mean(own) * 1000:.0f} ms", f"{mean(learned) * 1000:.0f} + {figures.times.handover * 1000:.0f} ms")
    checks.add_row("time in a slot", *in_slot, "", "of the run itself; learned, with the handover")
    console.print(checks)


def show_cost(console: Console, cost: OrderCost) -> None:
    """Print what an order costs Postgres and Redis."""
    costs = Table(title="What a market order costs the parts it passes")
    costs.add_column("measured")
    costs.add_column("an order", justify="right")
    costs.add_column("how", style="dim")
    for row in (
        ("statements", f"{cost.statements:.1f}", "the engine's, pg_stat_statements; recovery and the watch included"),
        ("commits that write", f"{cost.commits:.1f}", "statements that wrote to the log"),
        ("time in Postgres", f"{cost.database_seconds * 1000:.2f} ms", "its execution, without waiting for the disk"),
        ("log (WAL)", f"{cost.log_bytes / 1000:.1f} kB", f"pg_stat_wal; {cost.log_pages:.1f} whole pages in it"),
        ("Redis scripts", f"{cost.scripts:.1f}", f"{cost.script_seconds * 1e6:,.0f} µs of its one thread"),
        *(
            (
                f"`{name}`: rows",
                f"{kept.rows:.1f}",
                f"{kept.row:,.0f} bytes each; {kept.disk:,.0f} on pages and {kept.indexes:,.0f} in indexes",
            )
            for name, kept in cost.tables.items()
        ),
        ("on disk in all", f"{cost.disk_bytes / 1000:.1f} kB", "pages are as full as right after the insert"),
    ):
        costs.add_row(*row)
    console.print(costs)


def _demand_table(demands: Sequence[Demand]) -> Table:
    needed = Table(title="What a rate needs (simulated)")
    for heading in ("orders a minute", "busy slots", "settling processes", "to confirmed, p50", "p99"):
        needed.add_column(heading, justify="right")
    for demand in demands:
        needed.add_row(
            f"{demand.rate:,}",
            f"{demand.slots:,.1f}",
            f"{demand.settlers:,.1f}",
            f"{demand.p50:.2f} s",
            f"{demand.p99:.2f} s",
        )
    return needed


def report(figures: GrowthFigures) -> Section:
    """Write down the figures for the page of benchmarks."""
    return Section(
        "Growth",
        f"""
A discrete-event simulation of the pipeline, with the times of two runs on the laptop stack, checked against another.
What follows from it, from which rate on which limit is reached and what to raise then, is in [scaling.md](scaling.md).

{shown(lambda console: show_growth(console, figures))}
""",
        (
            Chart(CHARTS[0], lambda axes: _draw_latency(axes, figures)),
            Chart(CHARTS[1], lambda axes: _draw_limits(axes, limits_of(figures))),
        ),
    )


def write_scaling(figures: GrowthFigures, page: Path = PAGE) -> None:
    """Write ``docs/scaling.md`` from its template, and its charts."""
    page.write_text(Template(TEMPLATE.read_text()).substitute(scaling_values(figures)))
    for chart in report(figures).charts:
        draw(chart, page.parent)


def scaling_values(figures: GrowthFigures) -> dict[str, str]:
    """Return what the template's names stand for."""
    cost, limits = figures.cost, limits_of(figures)
    kept = cost.disk_bytes
    slot = mean(figures.times.slot) + figures.times.handover
    return {
        "checked_orders": str(figures.checked.orders),
        "real_rate": f"{figures.checked.confirmed_per_minute:,.0f}",
        "simulated_rate": f"{figures.simulated.per_minute:,.0f}",
        "deviation": f"{figures.deviation:+.1%}",
        "slot_ms": f"{mean(figures.times.slot) * 1000:.0f}",
        "handover_ms": f"{figures.times.handover * 1000:.0f}",
        "slot_limit": f"{figures.slots / slot * 60:,.0f}",
        "all_slots_limit": f"{(figures.slots + PRIORITY_SLOTS) / slot * 60:,.0f}",
        "slots": str(figures.slots),
        "limits": table(
            ("what ends", "there is", "an order takes", "orders a minute", "what to raise", "source"),
            [
                (limit.name, limit.there_is, limit.each, rounded(limit.reached), limit.raise_it, _cited(limit.source))
                for limit in limits
            ],
            numbers_from=9,
        ),
        "demands": shown(lambda console: console.print(_demand_table(figures.demands))),
        "cost": shown(lambda console: show_cost(console, cost)),
        "growth": table(
            ("orders a minute", "commits/s", "log MB/s", "Postgres cores", "new on disk", "kept for 90 days"),
            [
                (
                    f"{rate:,}",
                    f"{rate / 60 * cost.commits:,.0f}",
                    f"{rate / 60 * cost.log_bytes / 1e6:,.2f}",
                    f"{rate / 60 * cost.database_seconds:,.2f}",
                    f"{size(rate * 1440 * kept)} a day",
                    size(rate * 1440 * kept * 90),
                )
                for rate in RATES
            ],
            numbers_from=0,
        ),
        "partitions": table(
            ("orders a minute", "partition", "orders in one", "size of one", "partitions in 90 days"),
            [_partition(rate, kept) for rate in RATES],
            numbers_from=2,
        ),
        "order_kb": f"{kept / 1000:.1f}",
        "row_order": f"{cost.tables['orders'].row:,.0f}",
        "row_event": f"{cost.tables['order_events'].row:,.0f}",
        "row_swap": f"{cost.tables['swaps'].row:,.0f}",
        "events": f"{cost.tables['order_events'].rows:.0f}",
        "log_kb": f"{cost.log_bytes / 1000:.1f}",
        "delete_hours": f"{100_000 * 1440 * cost.commits / STORAGE_IOPS / 3600:,.0f}",
        "shard_rate": rounded(16 / cost.database_seconds * 60),
        "read": READ,
    }


def _partition(rate: int, kept: float) -> tuple[str, ...]:
    """Return the longest span of time whose orders fit into the memory of a server: some 50 GB."""
    a_day = rate * 1440
    spans = {"a month": 30.0, "a week": 7.0, "a day": 1.0, "an hour": 1 / 24}
    name, days = next(
        ((name, days) for name, days in spans.items() if a_day * days * kept <= 50e9), ("an hour", 1 / 24)
    )
    return f"{rate:,}", name, f"{a_day * days:,.0f}", size(a_day * days * kept), f"{math.ceil(90 / days):,}"


def size(amount: float) -> str:
    """Write down so many bytes, such as ``1.2 GB``."""
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 1000 or unit == "TB":
            break
    return f"{amount:,.1f} {unit}" if amount < 10 else f"{amount:,.0f} {unit}"


def rounded(rate: float) -> str:
    """Write down a rate with two digits that count: more would be more than is known."""
    step = 10 ** max(math.floor(math.log10(rate)) - 1, 0)
    return f"{round(rate / step) * step:,.0f}"


def _cited(source: str) -> str:
    return f"[{source.split('/')[2]}]({source})" if source.startswith("https:") else source


def _draw_latency(axes: "Axes", figures: GrowthFigures) -> None:
    rates = [point.rate for point in figures.deployed]
    axes.plot(rates, [point.p99 for point in figures.deployed], marker="o", color="#9b2226", label="p99")
    axes.plot(rates, [point.p50 for point in figures.deployed], marker="o", color="#2a6f97", label="p50")
    axes.set_yscale("log")
    axes.set_xlabel(f"orders a minute, for {DEPLOYED_MINUTES} minutes, {figures.slots} slots")
    axes.set_ylabel("s from POST to confirmed")
    axes.set_title("As it is deployed, ORDER_PROCESSOR_RATE lifted (simulated)", loc="left", fontsize=10)
    axes.legend(frameon=False)


def _draw_limits(axes: "Axes", limits: Sequence[Limit]) -> None:
    names = [limit.name.replace("`", "") for limit in limits]
    axes.barh(names, [limit.reached for limit in limits], color="#2a6f97")
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(10, max(2e6, *(limit.reached * 3 for limit in limits)))
    for place, limit in enumerate(limits):
        axes.text(limit.reached * 1.1, place, rounded(limit.reached), va="center", fontsize=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("orders a minute at which all of it is taken")

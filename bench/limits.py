"""What there is of everything that an order takes, and from which rate on all of it is taken.

What there is: the engine's settings as they are deployed by default, the default instance, and the default quotas of
AWS and of Solana's endpoints. What an order takes was measured; see ``footprint`` and ``simulation``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bench.footprint import Footprint
from bench.simulation import BATCH, SETTLERS
from bench.throughput import EXECUTING_AT_ONCE
from chalicelib.config import PRIORITY_SLOTS

PROCESSOR_RATE = 100
MARKET_SLOTS = EXECUTING_AT_ONCE - PRIORITY_SLOTS
STANDING = 4
"""Processes there are whatever comes: the watch and recovery, each of which overlaps the next."""
REPLAYERS = 5
SMALL_CONNECTIONS = 400
BASELINE_CORES = 0.4
STORAGE_IOPS = 3_000
CONCURRENCY, POLLED_AT_ONCE, MESSAGES_IN_FLIGHT = 1_000, 1_000, 120_000
PUBLIC_CALLS = 10
"""JSON-RPC calls a second: 100 in 10 s."""
SWAP_CALLS: Mapping[str, int] = {
    "getMultipleAccounts": 1,
    "getLatestBlockhash": 1,
    "getRecentPrioritizationFees": 1,
    "simulateTransaction": 1,
    "sendTransaction": 1,
    "getTransaction": 1,
}
"""JSON-RPC calls of one swap, wherever they go in one request: the quote of both venues, what to pay, the try, the
sending, and what it has moved. Looks at its status come on top, for up to ten swaps each."""
FINDING_CALLS = 3
"""``getProgramAccounts`` for a pair's pools, of both venues: by each process, once a minute."""
DEARER_CALLS: Mapping[str, int] = {"getTransaction": 10}
"""Providers take so many credits for them, and one for any other."""


class Source(NamedTuple):
    """Where a number is from."""

    says: str
    where: str
    """An address, or a file of this project."""
    kind: str


PUBLISHER, SECOND_HAND, UNCHECKED, OURS = "its publisher", "second hand", "not checked", "this project"
READ = "2026-11-22"
_AWS = "https://docs.aws.amazon.com/"
SETTINGS = Source("defaults of the stack's parameters", "infra/app.json", OURS)
HANDLERS = Source("how many calls of a function run at once", "app.py", OURS)
MEASURED = Source("this page", "bench/footprint.py", OURS)
GATEWAY = Source(
    "API Gateway: 10,000 requests a second for an account in a region (2,500 in some newer regions), of REST, of "
    "WebSocket and of posts to connections (callbacks) together",
    _AWS + "apigateway/latest/developerguide/limits.html",
    PUBLISHER,
)
SOCKETS = Source(
    "500 new WebSocket connections a second; none on how many there are; 2 hours each at most",
    _AWS + "apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html",
    PUBLISHER,
)
LAMBDA = Source(
    "1,000 processes at once for an account in a region (a new account may have fewer); 1,000 more every 10 s for each "
    "function",
    _AWS + "lambda/latest/dg/scaling-behavior.html",
    PUBLISHER,
)
POLLING = Source(
    "an SQS event source begins with 5 calls at once, adds up to 300 a minute and ends at 1,250; `MaximumConcurrency` "
    "may be 1,000 at most; provisioned mode, which excludes that setting, goes up to 20,000 and adds 1,000 a minute",
    _AWS + "lambda/latest/dg/services-sqs-scaling.html",
    PUBLISHER,
)
SQS = Source(
    "about 120,000 messages of a standard queue received and not deleted; calls nearly unlimited; ten messages a call",
    _AWS + "AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html",
    PUBLISHER,
)
CONNECTIONS = Source(
    "`max_connections` = LEAST(DBInstanceClassMemory / 9531392, 5000): 450 for 4 GiB, and about 400 because the system "
    "keeps a part of the memory",
    _AWS + "prescriptive-guidance/latest/tuning-postgresql-parameters/max-connections.html",
    PUBLISHER,
)
PROXY = Source(
    "RDS Proxy: a session that runs `SET` is pinned to its connection, so that nobody shares it",
    _AWS + "AmazonRDS/latest/UserGuide/rds-proxy-pinning.html",
    PUBLISHER,
)
STORAGE = Source(
    "gp3 for Postgres: 3,000 IOPS and 125 MiB/s below 400 GiB; from there on four volumes, 12,000 IOPS and 500 MiB/s; "
    "64,000 and 4,000 at most, for money; 64 TiB",
    "https://rajeshnoql.medium.com/gp2-to-gp3-migration-for-amazon-rds-cd3af879c4d7",
    SECOND_HAND,
)
BURSTABLE = Source(
    "db.t4g.medium: 20 % of each of 2 cores lasts (read for t3.medium); what is used beyond is not slower but billed, "
    "$0.075 for each core and hour, where 24 hours are over that on average",
    "https://repost.aws/questions/QU8hqKXwKvTfi4vT1RqCioGQ/per-vcpu-hour-of-t3-cpu-credits",
    SECOND_HAND,
)
SOLANA = Source(
    "public endpoints: 100 calls in 10 s from one address, 40 of them of one method",
    "https://solana.com/docs/references/clusters",
    PUBLISHER,
)


class Supply(NamedTuple):
    """What there is of something, by default."""

    name: str
    there_is: str
    a_second: float
    """How much of it, in a second."""
    raise_it: str
    source: Source


OWN_RATE = Supply(
    "`ORDER_PROCESSOR_RATE`",
    f"{PROCESSOR_RATE} a minute",
    PROCESSOR_RATE / 60,
    "the parameter `OrderProcessorRate`; 0 lifts it",
    SETTINGS,
)
SLOTS = Supply(
    "Execution slots, without those kept for snipers",
    f"{MARKET_SLOTS}",
    MARKET_SLOTS,
    "`QueueMaxConcurrent`, `OrdersMaxConcurrent`",
    SETTINGS,
)
BATCHES = Supply(
    "Settlement batches", f"{SETTLERS} of {BATCH}", SETTLERS, "`maximum_concurrency` of `settle_orders`", HANDLERS
)
REPLAYS = Supply(
    "Replays to new viewers", f"{REPLAYERS} at once", REPLAYERS, "`maximum_concurrency` of `replay_events`", HANDLERS
)
PUBLIC_ENDPOINT = Supply(
    "Public Solana endpoint (real swaps only)",
    "100 calls in 10 s",
    PUBLIC_CALLS,
    "a provider's plan, a node: `SolanaRpcSecretArn`",
    SOLANA,
)
DATABASE_CPU = Supply(
    "CPU of db.t4g.medium, without extra charge",
    f"2 cores at 20 %: {BASELINE_CORES}",
    BASELINE_CORES,
    "nothing is slower from there on, but billed; `DatabaseInstanceClass`: one that is not burstable",
    BURSTABLE,
)
DATABASE_WRITES = Supply(
    "Writes of the database",
    f"{STORAGE_IOPS:,} IOPS (gp3 below 400 GiB)",
    STORAGE_IOPS,
    "400 GiB: 12,000 IOPS; commits that come together share a write, so this is the pessimist's",
    STORAGE,
)
DATABASE_LOG = Supply(
    "Log volume of the database",
    "125 MiB/s (gp3 below 400 GiB)",
    125 * 2**20,
    "400 GiB: 500 MiB/s; fewer checkpoints (`max_wal_size`)",
    STORAGE,
)
DATABASE_CONNECTIONS = Supply(
    "Connections to the database",
    f"about {SMALL_CONNECTIONS} (4 GiB), of which {STANDING} stand",
    SMALL_CONNECTIONS - STANDING,
    "a larger class (at most 5,000); then a pooler that shares them between transactions",
    CONNECTIONS,
)
REDIS = Supply(
    "Redis, which runs one script at a time",
    "1 core",
    1,
    "several Redis by the order's id: no script touches two orders, but for a connection's",
    MEASURED,
)
PROCESSES = Supply(
    "Lambda processes of the account",
    f"{CONCURRENCY:,} at once, of which {STANDING} stand",
    CONCURRENCY - STANDING,
    "the quota, on request",
    LAMBDA,
)
POLLED = Supply(
    "Slots that one queue can fill",
    f"{POLLED_AT_ONCE:,} (`MaximumConcurrency`)",
    POLLED_AT_ONCE,
    "provisioned mode in its place (20,000), or several `orders` queues by the order's id",
    POLLING,
)
REQUESTS = Supply(
    "Requests and posts of API Gateway", "10,000 a second in all", 10_000, "the quota, on request", GATEWAY
)
NEW_SOCKETS = Supply(
    "New WebSocket connections",
    "500 a second",
    500,
    "the quota, on request; one socket for all orders of a user",
    SOCKETS,
)
IN_FLIGHT = Supply(
    "Messages received and not deleted, of a queue",
    f"{MESSAGES_IN_FLIGHT:,}",
    MESSAGES_IN_FLIGHT,
    "the quota, on request; several queues",
    SQS,
)


class Limit(NamedTuple):
    """What ends, and how much of it an order takes."""

    supply: Supply
    takes: float
    each: str
    """What an order takes, as it is written."""

    @property
    def reached(self) -> float:
        """Orders a minute at which all of it is taken."""
        return self.supply.a_second / self.takes * 60


@dataclass(frozen=True, kw_only=True)
class Appetite:
    """What an order takes of everything: seconds that it keeps processes busy, calls, and what it leaves behind."""

    api: float
    """Of the API: the POST, and a viewer's connection."""
    slot: float
    """With the handover to the next order."""
    replay: float
    """What its viewer is told that happened before."""
    settling: float
    """Its share of a settling process, where batches are full."""
    looks: float
    """Its share of the looks at statuses on Solana, at a hundred orders a minute."""
    footprint: Footprint

    @property
    def processes(self) -> float:
        """Seconds of all processes together."""
        return self.api + self.slot + self.settling + self.replay

    @property
    def calls(self) -> float:
        """JSON-RPC calls of a swap."""
        return sum(SWAP_CALLS.values()) + self.looks

    @property
    def credits(self) -> float:
        """What a provider counts for them."""
        return self.looks + sum(calls * DEARER_CALLS.get(method, 1) for method, calls in SWAP_CALLS.items())


def limits_of(order: Appetite) -> list[Limit]:
    """Return the limits in the order in which growth comes to them."""
    left = order.footprint
    events = left.tables["order_events"].rows
    limits = [
        Limit(OWN_RATE, 1, "1"),
        Limit(SLOTS, order.slot, _milliseconds(order.slot)),
        Limit(BATCHES, order.settling, f"{_milliseconds(order.settling)} of a process"),
        Limit(REPLAYS, order.replay, f"{_milliseconds(order.replay)} at least"),
        Limit(PUBLIC_ENDPOINT, order.calls, f"{order.calls:.1f} calls"),
        Limit(DATABASE_CPU, left.database_seconds, f"{left.database_seconds * 1000:.1f} ms"),
        Limit(DATABASE_WRITES, left.commits, f"{left.commits:.1f} commits"),
        Limit(DATABASE_LOG, left.log_bytes, f"{left.log_bytes / 1000:.1f} kB"),
        Limit(DATABASE_CONNECTIONS, order.processes, f"{_milliseconds(order.processes)} of a process"),
        Limit(REDIS, left.script_seconds, f"{left.script_seconds * 1e6:,.0f} µs in {left.scripts:.0f} scripts"),
        Limit(PROCESSES, order.processes, f"{_milliseconds(order.processes)} of a process"),
        Limit(POLLED, order.slot, _milliseconds(order.slot)),
        Limit(REQUESTS, events + 2, f"1 POST, {events:.0f} posts to its viewer, 1 connection"),
        Limit(NEW_SOCKETS, 1, "1, if each order opens its own"),
        Limit(IN_FLIGHT, order.settling * BATCH, f"{_milliseconds(order.settling)} in a batch of {BATCH}"),
    ]
    return sorted(limits, key=lambda limit: limit.reached)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"

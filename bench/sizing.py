"""What to set, and what a month costs, for a rate: the smallest database that bears it, slots, processes, dollars.

Prices are those of us-east-1, on demand, without discounts and taxes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bench.cost import MILLION, Usage, always_on_dollars
from bench.limits import (
    BASELINE_CORES,
    OURS,
    PUBLISHER,
    SECOND_HAND,
    SMALL_CONNECTIONS,
    STANDING,
    UNCHECKED,
    Appetite,
    Source,
)
from chalicelib.config import PRIORITY_SLOTS

MONTH_MINUTES = 30 * 24 * 60
MONTH_HOURS = 730
HEADROOM = 1.5
"""Slots and processes for each one that is busy on average."""
BESIDES = 2.0
"""Cores for each one that executes statements: the protocol, commits and autovacuum come on top."""
SCRIPTS_SHARE = 0.5
"""How much of a Redis node's thread scripts may take; the protocol needs some, too."""
SMALL_REDIS_SHARE = 0.1
"""The same of a burstable node, whose cores last for a fifth of their time."""
MOST_KEPT = 10e12
"""Bytes of orders that are kept in Postgres at most; what is older is in the archive."""
KEPT_DAYS = (90, 30, 14, 7, 3, 1)
SMALLEST_STORAGE = 20e9
BINARY_GIGABYTE = 2**30
STORAGE_LIMIT = 200 * BINARY_GIGABYTE
"""``DatabaseStorageLimit``: how far storage grows by itself."""

RDS_PRICES = Source(
    "db.t4g.medium $0.065 an hour, db.r8g.xlarge $0.478 (the others of its family in proportion), gp3 $0.115 for a GB "
    "and month; a standby in another zone doubles each",
    "https://infratally.com/articles/aws-rds-pricing-explained-2026.html and "
    "https://www.usage.ai/blogs/aws/reserved-instances/rds/postgresql/read-replicas/",
    SECOND_HAND,
)
REDIS_PRICES = Source(
    "cache.t4g.small $0.032 an hour, cache.r7g.large $0.219; two nodes each",
    "https://aws.amazon.com/elasticache/pricing/",
    UNCHECKED,
)
ARCHIVE_PRICE = Source("S3 $0.023 for a GB and month", "https://aws.amazon.com/s3/pricing/", UNCHECKED)
USAGE_PRICES = Source("Lambda, SQS, API Gateway, logs: see its prices", "docs/benchmarks.md", OURS)
ENDPOINT_PLANS = Source(
    "a provider's plans, as an example of several alike: calls and sendings a second, credits; $5 for a million more "
    "credits, $100 for a hundred more calls a second on the largest",
    "https://www.helius.dev/docs/billing/rate-limits",
    PUBLISHER,
)
STORAGE_PRICE, ARCHIVED_PRICE = 0.115, 0.023
CREDIT_PRICE = 5 / MILLION
SMALL_REDIS, LARGE_REDIS = 0.032, 0.219


class DatabaseClass(NamedTuple):
    """An instance class of RDS."""

    name: str
    cores: float
    """That last."""
    connections: int
    dollars: float
    """An hour, in one zone."""


DATABASES = (
    DatabaseClass("db.t4g.medium", BASELINE_CORES, SMALL_CONNECTIONS, 0.065),
    DatabaseClass("db.r8g.large", 2, 1_700, 0.239),
    DatabaseClass("db.r8g.xlarge", 4, 3_400, 0.478),
    DatabaseClass("db.r8g.2xlarge", 8, 5_000, 0.956),
    DatabaseClass("db.r8g.4xlarge", 16, 5_000, 1.912),
)
REPLICA = DATABASES[1]


class Endpoint(NamedTuple):
    """A plan of those who answer Solana's JSON-RPC."""

    name: str
    calls: float
    """A second."""
    sends: float
    credits: float
    """A month."""
    dollars: float


ENDPOINTS = (
    Endpoint("public", 10, 4, math.inf, 0),
    Endpoint("Developer", 50, 5, 10 * MILLION, 49),
    Endpoint("Business", 200, 50, 100 * MILLION, 499),
    Endpoint("Professional", 500, 100, 200 * MILLION, 999),
)


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a rate needs."""

    rate: int
    slots: int
    settlers: int
    processes: int
    database: DatabaseClass
    writers: int
    """Databases of that class."""
    redis: int
    """Nodes with scripts; each has a replica."""
    small_redis: bool
    kept_days: int
    stored: float
    """Bytes that are kept in Postgres."""

    @property
    def executing_at_once(self) -> int:
        """``QueueMaxConcurrent``."""
        return self.slots + PRIORITY_SLOTS


def size_for(rate: int, order: Appetite) -> Size:
    """Return what so many orders a minute need, with room for half as many more at once."""
    a_second = rate / 60
    processes = math.ceil(a_second * order.processes * HEADROOM) + STANDING
    cores = a_second * order.footprint.database_seconds * BESIDES
    largest = DATABASES[-1]
    writers = max(math.ceil(cores / largest.cores), 1)
    database = next((one for one in DATABASES if one.cores >= cores and one.connections >= processes), largest)
    scripting = a_second * order.footprint.script_seconds
    a_day = rate * 24 * 60 * order.footprint.disk_bytes
    days = next((days for days in KEPT_DAYS if days * a_day <= MOST_KEPT), KEPT_DAYS[-1])
    return Size(
        rate=rate,
        slots=max(math.ceil(a_second * order.slot * HEADROOM), 8),
        settlers=max(math.ceil(a_second * order.settling * HEADROOM), 5),
        processes=processes,
        database=database,
        writers=writers,
        redis=max(math.ceil(scripting / SCRIPTS_SHARE), 1),
        small_redis=scripting <= SMALL_REDIS_SHARE,
        kept_days=days,
        stored=max(days * a_day, SMALLEST_STORAGE),
    )


def bill(size: Size, usage: Usage) -> Mapping[str, float]:
    """Return what a month at that rate costs, in dollars, by what is paid for; a standby of each server included."""
    orders = size.rate * MONTH_MINUTES
    node = SMALL_REDIS if size.small_redis else LARGE_REDIS
    return {
        "Lambda, SQS, API Gateway, logs": orders / MILLION * sum(usage.costs().values())
        + sum(always_on_dollars().values()),
        "Postgres": 2 * size.writers * size.database.dollars * MONTH_HOURS,
        "its storage": storage_dollars(size),
        "Redis": 2 * size.redis * node * MONTH_HOURS,
    }


def storage_dollars(size: Size) -> float:
    """Return what the storage of Postgres and of its standby costs in a month."""
    return 2 * size.stored / BINARY_GIGABYTE * STORAGE_PRICE


def endpoint_dollars(endpoint: Endpoint, rate: float, order: Appetite) -> float:
    """Return what an endpoint takes for a month at a rate: the plan, and credits that are not in it."""
    used = rate * MONTH_MINUTES * order.credits
    return endpoint.dollars + max(used - endpoint.credits, 0.0) * CREDIT_PRICE


def endpoint_rate(endpoint: Endpoint, order: Appetite) -> float:
    """Return how many swaps a minute an endpoint takes."""
    return min(endpoint.calls / order.calls, endpoint.sends) * 60


def days_until_full(rate: int, order: Appetite) -> float:
    """Return after how many days the orders of a rate fill the storage that there may be, if nothing is deleted."""
    return STORAGE_LIMIT / (rate * 24 * 60 * order.footprint.disk_bytes)

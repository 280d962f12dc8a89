"""What a look at the book costs while ten thousand orders wait, and while a million do.

Both books lie in one Postgres of their own, durable as everywhere, and are looked at in turn, so that whatever
disturbs this machine disturbs both. The statements are the engine's, run the way it runs them.

Each claim is of orders that no statement has touched before: prices lie on a grid, so what crosses is known without
asking Postgres, which would read the very rows into memory. What was claimed is replaced, so that as many wait at
the next claim.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from psycopg import sql
from rich.console import Console
from rich.progress import track

from bench.figures import judged, milliseconds, table_with_goals
from chalicelib.execution.recovery import IDLE, LONG_IDLE, RECOVERED_AT_ONCE, SETTLING
from chalicelib.orders.events import Step
from chalicelib.orders.order import Side
from chalicelib.orders.waiting import MarketPrice, WakesWhen
from chalicelib.resources.postgres import DATABASE_SECONDS, Database, Row
from chalicelib.store.book import Book
from chalicelib.store.orders import OrderStore
from chalicelib.store.schema import migrate
from chalicelib.triggers.expiry import EXPIRED_AT_ONCE
from chalicelib.triggers.waking import WOKEN_AT_ONCE
from infra.local.postgres import LocalPostgres

FEW, MANY = 10_000, 1_000_000
CROSSING = 100
ROUNDS = 30
WARM_UP = 6
"""Rounds that are not measured; after five, psycopg has Postgres keep the statements prepared."""
CLAIM_RATIO_GOAL = 1.5
CLAIM_GOAL = 0.05
SHARED_BUFFERS = "1GB"
"""A quarter of a server with 4 GB, as Postgres advises
(https://www.postgresql.org/docs/current/runtime-config-resource.html). The 128 MB that it takes without being told do
not hold a million orders and their indexes."""
CHUNK = 20_000
SCATTER = 7919
"""Any prime that divides no group's size: orders that lie side by side in the book came at different times."""
APART = 7
"""So do orders that lie at the same place in two groups."""
NEAREST, FARTHEST = Decimal("0.01"), Decimal("0.4")
"""How far from the market the wake prices lie, as fractions of it."""

MARKET = {
    ("SOL", "USDC"): Decimal(150),
    ("SOL", "USDT"): Decimal(150),
    ("RAY", "USDC"): Decimal("2.5"),
    ("JUP", "USDC"): Decimal("0.8"),
    ("BONK", "USDC"): Decimal("0.00002"),
}
KINDS = (
    ("limit", Side.BUY, WakesWhen.AT_OR_BELOW),
    ("stop", Side.SELL, WakesWhen.AT_OR_BELOW),
    ("limit", Side.SELL, WakesWhen.AT_OR_ABOVE),
    ("stop", Side.BUY, WakesWhen.AT_OR_ABOVE),
)
_DIRECTIONS = list(WakesWhen)
GROUPS = [(*pair, *kind) for pair in MARKET for kind in KINDS]
CROSSING_OF_GROUP = CROSSING * 2 // len(GROUPS)
"""A price moves one way: it reaches half of the groups."""

# As an order stands after its first look: accepted a while ago, one look, two events. A tenth expire in a month.
_FILL = """
    WITH groups AS (
        SELECT *
        FROM unnest(%(token_ins)s::text[], %(token_outs)s::text[], %(types)s::text[], %(sides)s::text[],
                    %(wakes_whens)s::text[], %(markets)s::numeric[])
            WITH ORDINALITY AS kind (token_in, token_out, order_type, side, wakes_when, market, number)
    ), numbers AS (
        SELECT n, n %% %(groups)s + 1 AS kind, n / %(groups)s AS place,
               now() - greatest(%(waiting)s - n, 0) * interval '30 days' / %(waiting)s AS arrived_at
        FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) AS n
    ), placed AS (
        SELECT *, round(market * (1 + (CASE wakes_when WHEN 'at_or_above' THEN 1 ELSE -1 END) * (
                   %(nearest)s + %(width)s * CASE
                       WHEN place < %(group_size)s
                       THEN (place + kind * %(apart)s) * %(scatter)s %% %(group_size)s
                       ELSE place
                   END)), 18) AS price
        FROM numbers JOIN groups ON groups.number = numbers.kind
    ), accepted AS (
        INSERT INTO orders (
            id, user_id, idempotency_key, request_digest, order_type, side, token_in, token_out, amount_in, slippage,
            limit_price, trigger_price, time_in_force, expires_at, status, seq, max_retries, available_at, created_at,
            updated_at, waits_for, wakes_when, wake_price
        )
        SELECT gen_random_uuid(), 'trader-' || n %% 5000, CASE WHEN n %% 4 = 0 THEN gen_random_uuid()::text END,
               encode(sha256(n::text::bytea), 'hex'), order_type, side, token_in, token_out, 1 + n %% 50, 0.01,
               CASE order_type WHEN 'limit' THEN price END, CASE order_type WHEN 'stop' THEN price END,
               CASE WHEN n / %(groups)s %% 10 = 0 THEN 'GTD' ELSE 'GTC' END,
               CASE WHEN n / %(groups)s %% 10 = 0 THEN now() + interval '30 days' END,
               'pending', 2, 3, arrived_at, arrived_at, arrived_at + interval '1 second',
               'price', wakes_when, price
        FROM placed ORDER BY n
        RETURNING *
    )
    INSERT INTO order_events (order_id, seq, event, status, details, created_at)
    SELECT id, 1, 'pending', 'pending', jsonb_build_object(
               'orderType', order_type, 'side', side, 'tokenIn', token_in, 'tokenOut', token_out,
               'amount', amount_in, 'slippageTolerance', slippage), created_at
    FROM accepted
    UNION ALL
    SELECT id, 2, 'waiting', 'pending', jsonb_build_object('waitingFor', jsonb_build_object(
               'limitPrice', limit_price, 'triggerPrice', trigger_price)), updated_at
    FROM accepted
"""
# Workers take what was triggered to its end; recovery would have to look at it otherwise.
_FINISH = "UPDATE orders SET status = 'confirmed' WHERE id = ANY(%s::uuid[])"
_WAITING = "SELECT count(*) FROM orders WHERE waits_for = 'price'"


@dataclass(kw_only=True)
class LookTimes:
    """How long each statement took with so many orders waiting, in seconds."""

    waiting: int
    claim: list[float] = field(default_factory=list)
    """``Book.trigger_stops`` and ``trigger_limits`` when ``CROSSING`` orders cross, each time after a checkpoint.

    Postgres logs a page whole when it first changes after a checkpoint, some 3 MB for such a claim. A market that
    moves now and then pays that, and so does every claim here, in both books.
    """
    claim_again: list[float] = field(default_factory=list)
    """The same without a checkpoint in between.

    A second's claims have soon changed every page of the small book, and log no more than rows from then on. In the
    large book each finds pages that have not changed yet.
    """
    nothing_fires: list[float] = field(default_factory=list)
    """``Book.waiting_pairs`` and those two when no order crosses."""
    due: list[float] = field(default_factory=list)
    """``Book.due`` when no order's time is up."""
    take_stopped: list[float] = field(default_factory=list)
    """``OrderStore.take_stopped`` when no order has stopped."""
    plans: dict[str, str] = field(default_factory=dict)
    """What Postgres does for each statement, by the statement's name."""

    @property
    def full_scans(self) -> list[str]:
        """Names of the statements that read every order."""
        return [name for name, plan in self.plans.items() if "Seq Scan on orders" in plan]


class _ExplainingDatabase(Database):
    """Runs statements to see how Postgres goes about them; what they return is its explanation."""

    def __init__(self, url: str, how: str) -> None:
        super().__init__(url)
        self._how = how
        self.plan = ""

    def run(self, statement: str, parameters: Mapping[str, Any], patience: float = DATABASE_SECONDS) -> list[Row]:
        rows = super().run(f"EXPLAIN ({self._how}) {statement}", parameters, max(patience, 10.0))
        self.plan = "\n".join(row["QUERY PLAN"] for row in rows)
        return []


class _FilledBook:
    """A database of its own with so many waiting orders, and the market that they wait on."""

    def __init__(self, server_url: str, waiting: int) -> None:
        self._group_size = waiting // len(GROUPS)
        self._name = f"waiting_{waiting}"
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._name)))
        self.url = f"{server_url.rpartition('/')[0]}/{self._name}"
        migrate(self.url)
        self._connection = psycopg.connect(self.url, autocommit=True)
        # Every order has its events: there is no need to look each one up again.
        self._connection.execute("SET session_replication_role = replica")
        self._placed = 0
        self._reached = dict.fromkeys(WakesWhen, 0)
        database = Database(self.url)
        self.book, self.store = Book(database), OrderStore(database)
        self.times = LookTimes(waiting=waiting)

    def fill(self, console: Console) -> None:
        waiting = self.times.waiting
        for _ in track(range(0, waiting, CHUNK), f"{waiting:,} orders begin to wait", console=console):
            self._place(min(CHUNK, waiting - self._placed))
        # What autovacuum and the checkpointer get round to by themselves.
        self._connection.execute("VACUUM (ANALYZE) orders, order_events")
        self.checkpoint()

    def measure_quiet(self) -> None:
        """Look once, with each statement, when there is nothing to find."""
        times, prices = self.times, self._prices(WakesWhen.AT_OR_BELOW)
        with _clock(times.nothing_fires):
            pairs, woken = self.book.waiting_pairs(), self._claim(prices)
        with _clock(times.due):
            due = self.book.due(EXPIRED_AT_ONCE)
        with _clock(times.take_stopped):
            stopped = self._take_stopped(self.store)
        assert (len(pairs), len(woken), len(due), len(stopped)) == (len(MARKET), 0, 0, 0)

    def measure_claim(self, number: int, times: list[float]) -> None:
        """Look once at a market that has just reached ``CROSSING`` orders, every other time by falling."""
        direction = _DIRECTIONS[number % 2]
        self._reached[direction] += CROSSING_OF_GROUP
        prices = self._prices(direction)
        with _clock(times):
            crossing = self._claim(prices)
        assert len(crossing) == CROSSING, f"{len(crossing)} orders crossed instead of {CROSSING}"
        self._connection.execute(_FINISH, ([step.order.order_id for step in crossing],))
        self._place(CROSSING)

    def _claim(self, prices: Sequence[MarketPrice]) -> list[Step]:
        """Take out of the book what these prices reach, stops and limit orders, as the market watch does."""
        return self.book.trigger_stops(prices, WOKEN_AT_ONCE) + self.book.trigger_limits(prices, WOKEN_AT_ONCE)

    def checkpoint(self) -> None:
        """Write out all that has changed, as Postgres does by itself every few minutes."""
        self._connection.execute("CHECKPOINT")

    def explain(self) -> None:
        """Ask Postgres how it finds what crosses, what waits, what is due and what has stopped.

        The claim is explained twice: by a run of it, and as planned once for any prices, which is what a connection
        that has prepared the statement may come to use.
        """
        ran = _ExplainingDatabase(self.url, "ANALYZE, BUFFERS")
        planned = _ExplainingDatabase(self.url, "GENERIC_PLAN")
        self._reached[WakesWhen.AT_OR_BELOW] += CROSSING_OF_GROUP
        prices = self._prices(WakesWhen.AT_OR_BELOW)
        statements: dict[str, Callable[[Database], object]] = {
            "trigger_stops": lambda database: Book(database).trigger_stops(prices, WOKEN_AT_ONCE),
            "trigger_limits": lambda database: Book(database).trigger_limits(prices, WOKEN_AT_ONCE),
            "waiting_pairs": lambda database: Book(database).waiting_pairs(),
            "due": lambda database: Book(database).due(EXPIRED_AT_ONCE),
            "take_stopped": lambda database: self._take_stopped(OrderStore(database)),
        }
        for name, statement in statements.items():
            for database, suffix in ((planned, " for any values"), (ran, "")):
                statement(database)
                self.times.plans[f"{name}{suffix}"] = database.plan
        for database in (ran, planned):
            database.close()

    def count_waiting(self) -> int:
        row = self._connection.execute(_WAITING).fetchone()
        assert row is not None
        return int(row[0])

    def _take_stopped(self, store: OrderStore) -> Sequence[object]:
        return store.take_stopped(
            idle=IDLE, long_idle=LONG_IDLE, settling=SETTLING, queue_is_empty=True, limit=RECOVERED_AT_ONCE
        )

    def _prices(self, direction: WakesWhen) -> list[MarketPrice]:
        """Return the market after it has gone as far in ``direction`` as it was to; the grid says how far that is."""
        away = NEAREST + self._width * (self._reached[direction] - Decimal("0.5"))
        factor = 1 + away if direction is WakesWhen.AT_OR_ABOVE else 1 - away
        return [MarketPrice(*pair, side, market * factor) for pair, market in MARKET.items() for side in Side]

    @property
    def _width(self) -> Decimal:
        return (FARTHEST - NEAREST) / self._group_size

    def _place(self, orders: int) -> None:
        token_ins, token_outs, types, sides, wakes_whens = zip(*GROUPS, strict=True)
        self._connection.execute(
            _FILL,
            {
                "token_ins": list(token_ins),
                "token_outs": list(token_outs),
                "types": list(types),
                "sides": list(sides),
                "wakes_whens": list(wakes_whens),
                "markets": [MARKET[group[0], group[1]] for group in GROUPS],
                "groups": len(GROUPS),
                "waiting": self.times.waiting,
                "group_size": self._group_size,
                "scatter": SCATTER,
                "apart": APART,
                "nearest": NEAREST,
                "width": self._width,
                "first": self._placed,
                "last": self._placed + orders,
            },
        )
        self._placed += orders


def measure_book(console: Console) -> tuple[LookTimes, LookTimes]:
    """Measure both books; returns the small one's times and the large one's.

    Raises:
        StackError: Postgres does not start.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        server = LocalPostgres(Path(folder), os.environ)
        try:
            server.start()
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute(f"ALTER SYSTEM SET shared_buffers = '{SHARED_BUFFERS}'")
            server.restart()
            books = [_FilledBook(server.url, waiting) for waiting in (FEW, MANY)]
            for book in books:
                book.fill(console)
            for number in track(range(WARM_UP + ROUNDS), "Looking when nothing crosses", console=console):
                for book in _in_turn(books, number):
                    if number == WARM_UP:
                        book.times = LookTimes(waiting=book.times.waiting)
                    book.measure_quiet()
            for number in track(range(WARM_UP + ROUNDS), f"Claiming {CROSSING} in each book in turn", console=console):
                for book in _in_turn(books, number):
                    book.measure_claim(number, book.times.claim_again if number >= WARM_UP else [])
            for number in track(range(ROUNDS), "… after a checkpoint each", console=console):
                for book in _in_turn(books, number):
                    book.checkpoint()
                    book.measure_claim(number, book.times.claim)
            for book in books:
                assert book.count_waiting() == book.times.waiting
                book.explain()
        finally:
            server.stop()
    return books[0].times, books[1].times


def _in_turn(books: list[_FilledBook], number: int) -> list[_FilledBook]:
    """Return the books, every other time of a direction the other way round."""
    return books if number % 4 < 2 else books[::-1]


@contextmanager
def _clock(times: list[float]) -> Iterator[None]:
    """Add how long the block took, in seconds."""
    begun = time.perf_counter()
    yield
    times.append(time.perf_counter() - begun)


def show_book(console: Console, few: LookTimes, many: LookTimes) -> None:
    """Print the figures as a table."""
    table = table_with_goals(
        f"Looking at the book, {len(many.claim)} times each, p50 / p99 / max, shared_buffers {SHARED_BUFFERS}",
        f"{few.waiting:,} wait",
        f"{many.waiting:,} wait",
        "ratio of p50",
    )
    for name, few_times, many_times, is_claim, how in (
        (f"claim the {CROSSING} that cross", few.claim, many.claim, True, "stops and limits, after a checkpoint"),
        ("… again and again", few.claim_again, many.claim_again, False, "no checkpoint: few pages against many"),
        ("look, and nothing crosses", few.nothing_fires, many.nothing_fires, False, "waiting_pairs, stops and limits"),
        ("look for what is due", few.due, many.due, False, "Book.due, nothing is"),
        (
            "look for what has stopped",
            few.take_stopped,
            many.take_stopped,
            False,
            "OrderStore.take_stopped, nothing has",
        ),
    ):
        ratio = median(many_times) / median(few_times)
        met = ratio <= CLAIM_RATIO_GOAL and max(many_times) < CLAIM_GOAL
        goal = judged(f"≤ {CLAIM_RATIO_GOAL} ×, < {CLAIM_GOAL * 1000:.0f} ms", met) if is_claim else ""
        table.add_row(name, milliseconds(few_times), milliseconds(many_times), f"{ratio:.2f} ×", goal, how)
    scans = [", ".join(times.full_scans) or "none" for times in (few, many)]
    table.add_row("statements that read every order", *scans, "", judged("none", not many.full_scans), "EXPLAIN")
    console.print(table)


def show_plans(console: Console, times: LookTimes) -> None:
    """Print what Postgres does for each statement."""
    for name, plan in times.plans.items():
        console.rule(f"{name}, {times.waiting:,} orders waiting")
        console.print(plan, markup=False, highlight=False, soft_wrap=True)

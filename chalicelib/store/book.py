"""The book: every statement about orders that wait, and about what ends their waiting.

These statements move many orders at once, and each order once: whoever locks a row moves it, and everybody else, a
second market watch included, skips it. What they cost depends on how many orders they move, not on how many wait.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from psycopg.types.json import Jsonb

from chalicelib.orders import events
from chalicelib.orders.events import Step
from chalicelib.orders.launch import Launch
from chalicelib.orders.lifecycle import statuses_before
from chalicelib.orders.order import Side, Status, WaitsFor
from chalicelib.orders.waiting import MarketPrice, WakesWhen
from chalicelib.resources.postgres import Database
from chalicelib.store.rows import BATCH_SECONDS, ORDER_COLUMNS, event_row, is_launched, step_of
from chalicelib.store.transitions import DROP_UNSENT, END_LEASE, LEAVE_BOOK

DELIVERY_KEPT = "15 minutes"
"""Longer than a webhook's signature is good for, before and after."""


def _pairs(name: str, waits_for: WaitsFor) -> str:
    """Write the recursive query ``name`` that finds the pairs of orders that wait for something.

    One probe of the index for each pair, however many orders wait: Postgres has no skip scan of its own that stops at
    each distinct value (https://wiki.postgresql.org/wiki/Loose_indexscan).
    """
    return f"""
    (
        SELECT token_in, token_out FROM orders WHERE waits_for = '{waits_for}' ORDER BY token_in, token_out LIMIT 1
    )
    UNION ALL
    SELECT next.token_in, next.token_out
    FROM {name} CROSS JOIN LATERAL (
        SELECT token_in, token_out FROM orders
        WHERE waits_for = '{waits_for}' AND (token_in, token_out) > ({name}.token_in, {name}.token_out)
        ORDER BY token_in, token_out
        LIMIT 1
    ) AS next
"""


_WAITING_PAIRS = f"""
    WITH RECURSIVE priced AS ({_pairs("priced", WaitsFor.PRICE)}),
    unlaunched AS ({_pairs("unlaunched", WaitsFor.LAUNCH)})
    SELECT token_in, token_out, 'price' AS waits_for FROM priced
    UNION ALL
    SELECT token_in, token_out, 'launch'
    FROM unlaunched
    WHERE %(unannounced)s OR {is_launched("unlaunched")}
"""


def _reached(side: Side, wakes_when: WakesWhen) -> str:
    """Write the query for the orders of one side and direction that the prices wake, the farthest passed first."""
    above = wakes_when is WakesWhen.AT_OR_ABOVE
    return f"""
        SELECT reached.id, token_in, token_out, side, abs(price - wake_price) AS passed
        FROM prices CROSS JOIN LATERAL (
            SELECT id, wake_price FROM orders
            WHERE waits_for = 'price' AND orders.token_in = prices.token_in AND orders.token_out = prices.token_out
              AND orders.side = '{side}' AND wakes_when = '{wakes_when}'
              AND wake_price {"<=" if above else ">="} prices.price
            ORDER BY wake_price {"ASC" if above else "DESC"}
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        ) AS reached
        WHERE prices.side = '{side}'
    """


def _trigger(sells_wake: WakesWhen, buys_wake: WakesWhen, *, overdue: bool) -> str:
    """Write the statement that takes stops, or limit orders, out of the book.

    Of one side, stops and limit orders are woken from opposite directions; that tells them apart. ``overdue`` says
    whether it also takes those that are to be looked at again whatever the price. Every pair and side gets its share of
    a batch, so that a crowd on one does not keep the others waiting. The ids go through an array, so that the update
    looks each one up instead of reading the whole table.
    """
    return f"""
    WITH prices AS (
        SELECT *
        FROM unnest(
            %(token_ins)s::text[], %(token_outs)s::text[], %(sides)s::text[], %(prices)s::numeric[],
            %(details)s::jsonb[]
        ) AS price (token_in, token_out, side, price, details)
    ), sells AS ({_reached(Side.SELL, sells_wake)}
    ), buys AS ({_reached(Side.BUY, buys_wake)}
    ), overdue AS (
        SELECT id, token_in, token_out, side, 0 AS passed FROM orders
        WHERE waits_for = 'price' AND look_again_at <= now() AND {overdue}
        ORDER BY look_again_at
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    ), shares AS (
        SELECT id, row_number() OVER (PARTITION BY token_in, token_out, side ORDER BY passed DESC) AS place
        FROM (SELECT * FROM sells UNION ALL SELECT * FROM buys UNION ALL SELECT * FROM overdue) AS met
    ), moved AS (
        UPDATE orders
        SET {LEAVE_BOOK}, seq = seq + 1, updated_at = now(), available_at = now(), triggered_at = now()
        WHERE id = ANY(ARRAY(SELECT id FROM shares ORDER BY place LIMIT %(limit)s))
        RETURNING *
    ), triggered AS (
        SELECT moved.*, prices.price AS market_price, coalesce(prices.details, %(unpriced)s) AS details
        FROM moved LEFT JOIN prices USING (token_in, token_out, side)
    ), {event_row("details", source="triggered")}
    SELECT {ORDER_COLUMNS}, market_price FROM triggered
"""


_TRIGGER_STOPS = _trigger(WakesWhen.AT_OR_BELOW, WakesWhen.AT_OR_ABOVE, overdue=False)
_TRIGGER_LIMITS = _trigger(WakesWhen.AT_OR_ABOVE, WakesWhen.AT_OR_BELOW, overdue=True)

_WAKE_LAUNCHED = f"""
    WITH pairs AS (
        SELECT * FROM unnest(%(token_ins)s::text[], %(token_outs)s::text[]) AS pair (token_in, token_out)
    ), launched AS (
        SELECT woken.id
        FROM pairs CROSS JOIN LATERAL (
            SELECT id FROM orders
            WHERE waits_for = 'launch' AND orders.token_in = pairs.token_in
              AND (pairs.token_out IS NULL OR orders.token_out = pairs.token_out)
              AND (limit_price IS NOT NULL OR {is_launched("orders")})
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        ) AS woken
    ), moved AS (
        UPDATE orders
        SET {LEAVE_BOOK}, seq = seq + 1, updated_at = now(), available_at = now(), triggered_at = now()
        WHERE id = ANY(ARRAY(SELECT id FROM launched LIMIT %(limit)s))
        RETURNING *
    ), {event_row()}
    SELECT {ORDER_COLUMNS} FROM moved
"""

# The statuses are those of the index, so they are written out.
_MAY_EXPIRE = "expires_at <= now() AND status IN ('pending', 'routing', 'building')"
assert set(statuses_before(Status.EXPIRED)) == {Status.PENDING, Status.ROUTING, Status.BUILDING}  # noqa: S101 - on import
_DUE = f"SELECT id::text FROM orders WHERE {_MAY_EXPIRE} ORDER BY expires_at LIMIT %(limit)s"

# What is submitted can land: only the chain ends it.
_EXPIRE = f"""
    WITH due AS (
        SELECT id FROM orders
        WHERE id = ANY(%(order_ids)s::uuid[]) AND {_MAY_EXPIRE}
        FOR UPDATE SKIP LOCKED
    ), moved AS (
        UPDATE orders
        SET {LEAVE_BOOK}, status = 'expired', seq = seq + 1, updated_at = now(), {END_LEASE}
        WHERE id = ANY(ARRAY(SELECT id FROM due))
        RETURNING *
    ), {event_row()}{DROP_UNSENT}
    SELECT {ORDER_COLUMNS} FROM moved
"""

# The same delivery is taken once; only the call that took it may come again, when its answer was lost.
_RECORD_LAUNCH = f"""
    WITH outdated AS (
        DELETE FROM launch_deliveries WHERE received_at < now() - interval '{DELIVERY_KEPT}'
    ), delivery AS (
        INSERT INTO launch_deliveries AS earlier (delivery_id, receipt)
        VALUES (%(delivery_id)s, %(receipt)s)
        ON CONFLICT (delivery_id) DO UPDATE SET receipt = earlier.receipt WHERE earlier.receipt = EXCLUDED.receipt
        RETURNING delivery_id
    ), launch AS (
        INSERT INTO launches AS earlier (pool, token_in, token_out, venue)
        SELECT %(pool)s, %(token_in)s, %(token_out)s, %(venue)s FROM delivery
        ON CONFLICT (pool) DO UPDATE SET pool = earlier.pool
        RETURNING *
    )
    SELECT pool, token_in, token_out, venue FROM launch
"""


class WaitingPair(NamedTuple):
    """A pair that orders wait on: for a price, or for a launch that is known."""

    token_in: str
    token_out: str
    waits_for: WaitsFor


class Book:
    """The orders that wait, in Postgres.

    Every method is one statement and raises ``ResourceUnavailable`` when Postgres does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting_pairs(self, *, unannounced: bool = False) -> list[WaitingPair]:
        """Return each pair with orders that a price would wake, or that a known launch should have woken.

        ``unannounced`` adds those that wait for a launch of which nothing is known.
        """
        rows = self._database.run(_WAITING_PAIRS, {"unannounced": unannounced})
        return [WaitingPair(row["token_in"], row["token_out"], WaitsFor(row["waits_for"])) for row in rows]

    def trigger_stops(self, prices: Sequence[MarketPrice], limit: int) -> list[Step]:
        """Take up to ``limit`` stops out of the book that these prices trigger."""
        return self._trigger(_TRIGGER_STOPS, prices, limit)

    def trigger_limits(self, prices: Sequence[MarketPrice], limit: int) -> list[Step]:
        """Take up to ``limit`` orders out of the book whose limit these prices reach, or that are to be looked at."""
        return self._trigger(_TRIGGER_LIMITS, prices, limit)

    def wake_launched(self, pairs: Sequence[tuple[str, str | None]], limit: int) -> list[Step]:
        """Take up to ``limit`` snipers of these pairs out of the book; a pair without tokenOut means any.

        A sniper that names no limit stays there until a launch was announced: it would only come back.
        """
        draft = events.launched()
        parameters: dict[str, Any] = {
            "token_ins": [token_in for token_in, _ in pairs],
            "token_outs": [token_out for _, token_out in pairs],
            "limit": limit,
            "event": draft.event,
            "details": Jsonb(draft.details),
        }
        rows = self._database.run(_WAKE_LAUNCHED, parameters, BATCH_SECONDS)
        return [step_of(row, draft) for row in rows]

    def _trigger(self, statement: str, prices: Sequence[MarketPrice], limit: int) -> list[Step]:
        unpriced = events.price_reached(None)
        parameters: dict[str, Any] = {
            "token_ins": [price.token_in for price in prices],
            "token_outs": [price.token_out for price in prices],
            "sides": [price.side for price in prices],
            "prices": [price.price for price in prices],
            "event": unpriced.event,
            "details": [Jsonb(events.price_reached(price.price).details) for price in prices],
            "unpriced": Jsonb(unpriced.details),
            "limit": limit,
        }
        rows = self._database.run(statement, parameters, BATCH_SECONDS)
        return [step_of(row, events.price_reached(row["market_price"])) for row in rows]

    def due(self, limit: int) -> list[str]:
        """Return up to ``limit`` orders whose time is up and that have not been submitted."""
        return [row["id"] for row in self._database.run(_DUE, {"limit": limit}, BATCH_SECONDS)]

    def expire(self, order_ids: Sequence[str]) -> list[Step]:
        """Move those of these orders that are due to ``expired``."""
        draft = events.expired()
        parameters = {"order_ids": list(order_ids), "event": draft.event, "details": Jsonb(draft.details)}
        rows = self._database.run(_EXPIRE, parameters, BATCH_SECONDS)
        return [step_of(row, draft) for row in rows]

    def record_launch(self, launch: Launch, delivery_id: str) -> Launch | None:
        """Store a launch, once for each pool; return what is stored for its pool.

        None when this delivery was taken before.
        """
        rows = self._database.run(
            _RECORD_LAUNCH,
            {
                "delivery_id": delivery_id,
                "receipt": uuid4(),
                "pool": launch.pool,
                "token_in": launch.token_in,
                "token_out": launch.token_out,
                "venue": launch.venue,
            },
        )
        return Launch(**rows[0]) if rows else None

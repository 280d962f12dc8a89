"""Orders and their swaps: accepted, claimed, moved, read. How each moves is in ``transitions``."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb

from chalicelib.orders import events
from chalicelib.orders.events import EventDraft, OrderEvent, Step
from chalicelib.orders.lifecycle import CLAIMABLE
from chalicelib.orders.order import Order, OrderType, Status
from chalicelib.orders.swap import EndedSwap, Fill, SignedTransaction, SwapPlan
from chalicelib.orders.waiting import FIRST_PAUSE, LONGEST_PAUSE, Unmet
from chalicelib.resources.postgres import DATABASE_SECONDS, Database, Row
from chalicelib.store import transitions
from chalicelib.store.rows import (
    BATCH_SECONDS,
    ORDER_COLUMNS,
    event_row,
    is_launched,
    is_owned,
    order_of,
    step_of,
    steps_of,
)

_ACCEPT = f"""
    WITH accepted AS (
        INSERT INTO orders (
            id, user_id, idempotency_key, request_digest, order_type, side, token_in, token_out, amount_in,
            slippage, limit_price, trigger_price, time_in_force, expires_at, status, max_retries
        )
        VALUES (
            %(order_id)s, %(user_id)s, %(client_order_id)s, %(request_digest)s, %(order_type)s, %(side)s,
            %(token_in)s, %(token_out)s, %(amount_in)s, %(slippage)s, %(limit_price)s, %(trigger_price)s,
            %(time_in_force)s, %(expires_at)s, 'pending', %(max_retries)s
        )
        ON CONFLICT DO NOTHING
        RETURNING *
    ), {event_row(source="accepted")}
    SELECT {ORDER_COLUMNS} FROM accepted
"""

_FIND_ACCEPTED = f"""
    SELECT {ORDER_COLUMNS}, request_digest
    FROM orders
    WHERE id = %(order_id)s OR (user_id = %(user_id)s AND idempotency_key = %(client_order_id)s)
"""

# A claim need not be on disk before it counts. Should Postgres crash and lose it, the move that it is for finds no
# lease and is not made; and what is on disk never lacks what was committed before it.
_CLAIM = f"""
    WITH not_flushed AS (
        SELECT set_config('synchronous_commit', 'off', true)
    ), claimed AS (
        UPDATE orders
        SET lease_owner = %(worker)s, lease_until = now() + %(lease)s,
            takeovers = takeovers + (lease_owner IS NOT NULL)::integer
        FROM not_flushed
        WHERE id = %(order_id)s
          AND status = ANY(%(claimable)s)
          AND (lease_until IS NULL OR lease_until <= now())
          AND available_at <= now()
          AND waits_for IS NULL
          AND (expires_at IS NULL OR expires_at > now())
        RETURNING orders.*
    ), seen AS (
        SELECT true AS claimed, claimed.* FROM claimed
        UNION ALL
        SELECT false, orders.* FROM orders WHERE id = %(order_id)s AND NOT EXISTS (SELECT FROM claimed)
    ), live_swap AS (
        SELECT tx_hash AS swap_tx_hash, venue AS swap_venue, payload AS swap_payload,
               expires_at AS swap_expires_at, last_valid_block_height AS swap_last_valid_block_height
        FROM swaps
        WHERE order_id = %(order_id)s AND state = 'live'
    )
    SELECT {ORDER_COLUMNS}, claimed, takeovers, greatest(lease_until, available_at) - now() AS wait,
           waits_for IS NOT NULL OR expires_at <= now() AS is_at_rest,
           order_type = 'sniper' AND {is_launched("seen")} AS launched,
           live_swap.*
    FROM seen LEFT JOIN live_swap ON true
"""

_IN_FLIGHT = f"""
    WITH in_flight AS (
        SELECT tx_hash AS swap_tx_hash, venue AS swap_venue, payload AS swap_payload,
               expires_at AS swap_expires_at, last_valid_block_height AS swap_last_valid_block_height,
               order_id AS swap_order_id
        FROM swaps
        WHERE order_id = ANY(%(order_ids)s::uuid[]) AND state = 'live'
    )
    SELECT {ORDER_COLUMNS}, in_flight.*
    FROM in_flight JOIN orders ON orders.id = swap_order_id AND status = 'submitted'
"""

_FIND = f"""
    SELECT {ORDER_COLUMNS}
    FROM orders
    WHERE id = %(order_id)s AND {is_owned("orders")}
"""

_EVENTS = """
    SELECT order_id::text, event, status, seq, created_at AS timestamp, details
    FROM order_events
    WHERE order_id = %(order_id)s AND seq > %(after_seq)s
    ORDER BY seq
"""

_EVENTS_OF_OWNER = f"""
    SELECT order_id::text, event, order_events.status, order_events.seq, order_events.created_at AS timestamp, details
    FROM order_events JOIN orders ON orders.id = order_id
    WHERE order_id = %(order_id)s AND order_events.seq > %(after_seq)s AND {is_owned("orders")}
    ORDER BY order_events.seq
"""


def _page(whose: str) -> str:
    return f"""
    SELECT {ORDER_COLUMNS}
    FROM orders
    WHERE {whose}
      AND (%(status)s::text IS NULL OR status = %(status)s)
      AND (%(before)s::timestamptz IS NULL OR (created_at, id) < (%(before)s, %(before_id)s::uuid))
    ORDER BY created_at DESC, id DESC
    LIMIT %(limit)s
"""


_PAGE = _page("true")
# Of its own: with a condition that may be none, Postgres could plan to read everybody's orders to find one user's.
_PAGE_OF_OWNER = _page("user_id = %(owner)s")

_DEFER = """
    UPDATE orders SET available_at = greatest(available_at, now() + deferred.wait)
    FROM unnest(%(order_ids)s::uuid[], %(waits)s::interval[]) AS deferred (order_id, wait)
    WHERE orders.id = deferred.order_id AND status = 'pending'
"""

# A lease that ran out belongs to a dead worker. A submitted order is looked at again after a while, in case its
# message was lost. A pending one may just as well wait in the queue: only an empty queue tells, or a long time. What
# rests in the book has not stopped; the first two conditions are those of the index, so that it is not even read.
_STOPPED = """
    WITH stopped AS (
        SELECT id
        FROM orders
        WHERE waits_for IS NULL AND status IN ('pending', 'routing', 'building', 'submitted') AND CASE
            WHEN status = 'submitted' THEN greatest(updated_at, recovered_at) < now() - %(settling)s
            WHEN lease_until IS NOT NULL THEN greatest(lease_until, recovered_at + %(idle)s) < now()
            ELSE status = 'pending' AND greatest(updated_at, available_at, recovered_at)
                < now() - CASE WHEN %(queue_is_empty)s THEN %(idle)s ELSE %(long_idle)s END
        END
        ORDER BY updated_at
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    )
    UPDATE orders SET recovered_at = now() FROM stopped WHERE orders.id = stopped.id
    RETURNING orders.id::text AS order_id, orders.status, orders.order_type
"""


class Claim(NamedTuple):
    """The outcome of asking for an order.

    ``claimed`` says whether the caller now holds the lease. If not, ``wait`` is how many seconds until it may ask
    again, or None when the order is no worker's business: it has ended, waits for its condition, or its time is up.
    ``swap`` is a transaction recorded for it, ``takeovers`` how often a worker has died with it, ``launched`` whether
    a launch that a sniper waits for is known.
    """

    order: Order
    claimed: bool
    wait: float | None
    swap: SignedTransaction | None
    takeovers: int
    launched: bool


class StoppedOrder(NamedTuple):
    """An unfinished order that nobody moves on any more."""

    order_id: str
    status: Status
    order_type: OrderType


class OrderStore:
    """The orders in Postgres.

    Every method is one statement and raises ``ResourceUnavailable`` when Postgres does not answer. Where there may be
    an ``owner``, orders of other users are not found: for whoever asks as that user they do not exist.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(self, order: Order, request_digest: str) -> Step | None:
        """Store a new order with its first event; None when its id or its idempotency key is taken."""
        draft = events.accepted(order)
        rows = self._database.run(
            _ACCEPT,
            {
                "order_id": order.order_id,
                "user_id": order.user_id,
                "client_order_id": order.client_order_id,
                "request_digest": request_digest,
                "order_type": order.order_type,
                "side": order.side,
                "token_in": order.token_in,
                "token_out": order.token_out,
                "amount_in": order.amount_in,
                "slippage": order.slippage_tolerance,
                "limit_price": order.limit_price,
                "trigger_price": order.trigger_price,
                "time_in_force": order.time_in_force,
                "expires_at": order.expires_at,
                "max_retries": order.max_retries,
                "event": draft.event,
                "details": Jsonb(draft.details),
            },
        )
        return step_of(rows[0], draft) if rows else None

    def find_accepted(self, order: Order) -> tuple[Order, str] | None:
        """Return the stored order with this id or idempotency key, and the digest of its request."""
        rows = self._database.run(
            _FIND_ACCEPTED,
            {"order_id": order.order_id, "user_id": order.user_id, "client_order_id": order.client_order_id},
        )
        return (order_of(rows[0]), rows[0]["request_digest"]) if rows else None

    def claim(self, order_id: str, worker: UUID, lease: timedelta) -> Claim | None:
        """Take the order for ``lease``, unless another worker has it or it must wait; None if there is none."""
        rows = self._database.run(
            _CLAIM, {"order_id": order_id, "worker": worker, "lease": lease, "claimable": list(CLAIMABLE)}
        )
        if not rows:
            return None
        row = rows[0]
        order = order_of(row)
        wait = None
        if not row["claimed"] and order.status in CLAIMABLE and not row["is_at_rest"]:
            wait = max(row["wait"].total_seconds() if row["wait"] else 0.0, 0.0)
        return Claim(order, row["claimed"], wait, _swap(row), row["takeovers"], row["launched"])

    def route(self, order: Order, worker: UUID, chosen_dex: str, draft: EventDraft) -> Step | None:
        """Move to ``routing`` with the quotes and the choice, which ``draft`` says, when nothing came of them."""
        changes: dict[str, Any] = {"chosen_dex": chosen_dex, "route_meta": Jsonb(draft.details)}
        return self._move(transitions.ROUTE, order.order_id, draft, worker=worker, **changes)

    def submit(
        self, order: Order, worker: UUID, routed: EventDraft, swap: SignedTransaction, plan: SwapPlan
    ) -> list[Step]:
        """Move through ``routing`` and ``building`` to ``submitted``, and record the signed transaction.

        The lease is given back: from here on the order belongs to settlement. No steps mean that it has been
        cancelled, has expired or was taken over, and that ``swap`` must not be sent.
        """
        drafts = [routed, events.building(plan), events.submitted(swap)]
        rows = self._database.run(
            transitions.SUBMIT,
            {
                "order_id": order.order_id,
                "worker": worker,
                "chosen_dex": plan.venue,
                "min_amount_out": plan.min_amount_out,
                "max_amount_out": plan.max_amount_out,
                "tx_hash": swap.tx_hash,
                "payload": swap.payload,
                "swap_expires_at": swap.expires_at,
                "last_valid_block_height": swap.last_valid_block_height,
                **{draft.event: Jsonb(draft.details) for draft in drafts},
            },
        )
        return steps_of(rows[0], drafts) if rows else []

    def submit_recorded(self, order: Order, worker: UUID, swap: SignedTransaction) -> Step | None:
        """Move on to ``submitted`` with a transaction that an earlier release recorded in ``building``."""
        return self._move(
            transitions.SUBMIT_RECORDED, order.order_id, events.submitted(swap), worker=worker, tx_hash=swap.tx_hash
        )

    def put_in_book(self, order: Order, worker: UUID, unmet: Unmet) -> Step | None:
        """Put an order whose condition is not met into the book; the lease is given back, its tries begin anew."""
        changes: dict[str, Any] = {
            "waits_for": unmet.waits_for,
            "wakes_when": unmet.wakes_when,
            "wake_price": unmet.wake_price,
            "past_limit": unmet.past_limit,
            "pause": FIRST_PAUSE,
            "most": LONGEST_PAUSE,
        }
        return self._move(transitions.WAIT, order.order_id, events.waiting(unmet), worker=worker, **changes)

    def trigger(self, order: Order, worker: UUID, market_price: Decimal) -> Step | None:
        """Note that a stop was reached at its first look: it stays triggered wherever the price goes."""
        return self._move(transitions.TRIGGER, order.order_id, events.price_reached(market_price), worker=worker)

    def cancel(
        self, order_id: str, *, reason: str, worker: UUID | None = None, owner: str | None = None
    ) -> Step | None:
        """Move to ``cancelled``, unless the order has been submitted or has ended."""
        return self._move(transitions.CANCEL, order_id, events.cancelled(reason), worker=worker, owner=owner)

    def retry(
        self,
        order: Order,
        *,
        error: str,
        delay: timedelta,
        worker: UUID | None = None,
        ended_swap: EndedSwap | None = None,
    ) -> Step | None:
        """Move back to ``pending`` for another try after ``delay``; for the rest see ``fail``."""
        draft = events.retrying(order, error, delay)
        return self._end_try(transitions.RETRY, order, draft, error, worker, ended_swap, delay=delay)

    def fail(
        self, order: Order, *, error: str, worker: UUID | None = None, ended_swap: EndedSwap | None = None
    ) -> Step | None:
        """Move to ``failed``.

        A recorded swap that may still land keeps this from happening, unless ``ended_swap`` is that swap. Without
        ``worker`` and ``ended_swap`` it happens only while nobody is at the order and it does not wait.
        """
        return self._end_try(transitions.FAIL, order, events.failed(order, error), error, worker, ended_swap)

    def confirm(self, fills: Sequence[Fill]) -> list[Step]:
        """Move every order whose swap landed to ``confirmed``, in one statement; there is at least one."""
        fills = sorted(fills, key=lambda fill: fill.order_id)  # two batches lock their rows in the same order
        drafts = {fill.order_id: events.confirmed(fill) for fill in fills}
        rows = self._database.run(
            transitions.CONFIRM,
            {
                "order_ids": [fill.order_id for fill in fills],
                "tx_hashes": [fill.tx_hash for fill in fills],
                "amounts_out": [fill.amount_out for fill in fills],
                "executed_prices": [fill.executed_price for fill in fills],
                "event": drafts[fills[0].order_id].event,
                "details": [Jsonb(drafts[fill.order_id].details) for fill in fills],
            },
        )
        return [step_of(row, drafts[row["order_id"]]) for row in rows]

    def in_flight(self, order_ids: Collection[str]) -> list[tuple[Order, SignedTransaction]]:
        """Return those of these orders that are submitted and not settled, each with its live swap."""
        rows = self._database.run(_IN_FLIGHT, {"order_ids": list(order_ids)})
        return [(order_of(row), swap) for row in rows if (swap := _swap(row)) is not None]

    def find(self, order_id: str, owner: str | None = None) -> Order | None:
        """Return the order, or None."""
        rows = self._database.run(_FIND, {"order_id": order_id, "owner": owner})
        return order_of(rows[0]) if rows else None

    def events(self, order_id: str, after_seq: int = 0, owner: str | None = None) -> list[OrderEvent]:
        """Return the order's events after ``after_seq``, oldest first; every order has at least one."""
        statement = _EVENTS if owner is None else _EVENTS_OF_OWNER
        rows = self._database.run(statement, {"order_id": order_id, "after_seq": after_seq, "owner": owner})
        return [OrderEvent.of(**{**row, "status": Status(row["status"])}) for row in rows]

    def page(
        self,
        *,
        status: Status | None,
        limit: int,
        before: tuple[datetime, str] | None = None,
        owner: str | None = None,
    ) -> list[Order]:
        """Return up to ``limit`` orders, newest first, that come after the keyset position ``before``."""
        created_at, order_id = before or (None, None)
        parameters = {"status": status, "limit": limit, "before": created_at, "before_id": order_id, "owner": owner}
        rows = self._database.run(_PAGE if owner is None else _PAGE_OF_OWNER, parameters)
        return [order_of(row) for row in rows]

    def defer(self, waits: Mapping[str, timedelta]) -> None:
        """Note how long pending orders have to wait for their turn, so that nobody takes them for stopped."""
        parameters = {"order_ids": list(waits), "waits": list(waits.values())}
        # A worker that defers the order at hand has less time than who defers thousands.
        self._database.run(_DEFER, parameters, BATCH_SECONDS if len(waits) > 1 else DATABASE_SECONDS)

    def take_stopped(
        self, *, idle: timedelta, long_idle: timedelta, settling: timedelta, queue_is_empty: bool, limit: int
    ) -> list[StoppedOrder]:
        """Return unfinished orders that nobody moves on any more.

        A pending order counts as stopped after ``idle`` if the queues are empty, else after ``long_idle``; a submitted
        one after ``settling``. An order that was returned counts as moved. Two callers at once get different orders.
        """
        parameters: dict[str, Any] = {"idle": idle, "long_idle": long_idle, "settling": settling}
        parameters |= {"queue_is_empty": queue_is_empty, "limit": limit}
        rows = self._database.run(_STOPPED, parameters, BATCH_SECONDS)
        return [StoppedOrder(row["order_id"], Status(row["status"]), OrderType(row["order_type"])) for row in rows]

    def probe(self) -> None:
        """Run the cheapest statement there is."""
        self._database.run("SELECT 1", {})

    def _end_try(
        self,
        statement: str,
        order: Order,
        draft: EventDraft,
        error: str,
        worker: UUID | None,
        ended_swap: EndedSwap | None,
        **changes: Any,
    ) -> Step | None:
        tx_hash, ended_as = ended_swap or (None, None)
        changes |= {"error": error, "ended_as": ended_as}
        return self._move(statement, order.order_id, draft, worker=worker, tx_hash=tx_hash, **changes)

    def _move(
        self,
        statement: str,
        order_id: str,
        draft: EventDraft,
        *,
        worker: UUID | None = None,
        tx_hash: str | None = None,
        **changes: Any,
    ) -> Step | None:
        """Move an order: as the worker that has its lease, or as who saw its swap end, where these are given."""
        parameters = {"order_id": order_id, "worker": worker, "tx_hash": tx_hash, "event": draft.event}
        rows = self._database.run(statement, {**parameters, "details": Jsonb(draft.details), **changes})
        return step_of(rows[0], draft) if rows else None


def _swap(row: Row) -> SignedTransaction | None:
    if row["swap_tx_hash"] is None:
        return None
    return SignedTransaction(
        tx_hash=row["swap_tx_hash"],
        venue=row["swap_venue"],
        payload=bytes(row["swap_payload"]),
        expires_at=row["swap_expires_at"],
        last_valid_block_height=row["swap_last_valid_block_height"],
    )

"""Every statement about orders, their events and their swaps.

A transition is one statement: it moves the status on the condition that the order still is where it is moved
from, counts, and writes the event row with the next ``seq``, or does nothing at all. No row back means that
somebody else moved the order first; the caller then stops, it never forces.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from chalicelib.orders.lifecycle import EXECUTING, statuses_before
from chalicelib.orders.order import Order, OrderEvent, OrderType, Side, Status, TimeInForce, WaitsFor
from chalicelib.orders.swap import SignedTransaction, SwapPlan
from chalicelib.orders.waiting import Unmet
from chalicelib.resources.postgres import Database, Row

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=10)
"""Between two looks at an order whose limit the market is past, but not for its amount; each pause is twice as long."""
BATCH_SECONDS = 10.0
"""How long a statement about many orders may take."""

ORDER_COLUMNS = """
    id::text AS order_id, user_id, idempotency_key AS client_order_id, order_type, side, token_in, token_out,
    amount_in, slippage AS slippage_tolerance, limit_price, trigger_price, time_in_force, expires_at,
    triggered_at, waits_for, wake_price, status, seq, attempts, max_retries, chosen_dex,
    route_meta, min_amount_out, max_amount_out, amount_out, executed_price, tx_hash, last_error, created_at,
    updated_at
"""

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
    ), event AS (
        INSERT INTO order_events (order_id, seq, event, status, details, created_at)
        SELECT id, seq, 'pending', status, %(details)s, created_at FROM accepted
    )
    SELECT {ORDER_COLUMNS} FROM accepted
"""

_FIND_ACCEPTED = f"""
    SELECT {ORDER_COLUMNS}, request_digest
    FROM orders
    WHERE id = %(order_id)s OR (user_id = %(user_id)s AND idempotency_key = %(client_order_id)s)
"""

_CLAIM = f"""
    WITH claimed AS (
        UPDATE orders
        SET lease_owner = %(worker)s, lease_until = now() + %(lease)s,
            takeovers = takeovers + (lease_owner IS NOT NULL)::integer
        WHERE id = %(order_id)s
          AND status = ANY(%(executing)s)
          AND (lease_until IS NULL OR lease_until <= now())
          AND available_at <= now()
          AND waits_for IS NULL
          AND (expires_at IS NULL OR expires_at > now())
        RETURNING *
    ), seen AS (
        SELECT true AS claimed, claimed.* FROM claimed
        UNION ALL
        SELECT false, orders.* FROM orders WHERE id = %(order_id)s AND NOT EXISTS (SELECT FROM claimed)
    ), live_swap AS (
        SELECT tx_hash AS swap_tx_hash, venue AS swap_venue, payload AS swap_payload,
               expires_at AS swap_expires_at
        FROM swaps
        WHERE order_id = %(order_id)s AND state = 'live'
    )
    SELECT {ORDER_COLUMNS}, claimed, takeovers, greatest(lease_until, available_at) - now() AS wait,
           waits_for IS NOT NULL OR expires_at <= now() AS is_at_rest,
           order_type = 'sniper' AND EXISTS (
               SELECT FROM launches
               WHERE launches.token_in = seen.token_in
                 AND (launches.token_out IS NULL OR launches.token_out = seen.token_out)
           ) AS launched,
           live_swap.*
    FROM seen LEFT JOIN live_swap ON true
"""


def _transition(to: Status, changes: str, *, only_if: str = "true", also: str = "") -> str:
    """Write the statement that moves one order to ``to``: for its lease's owner, or for its current swap."""
    return f"""
    WITH moved AS (
        UPDATE orders
        SET status = '{to}', seq = seq + 1, updated_at = now(), {changes}
        WHERE id = %(order_id)s
          AND status IN ({", ".join(f"'{status}'" for status in statuses_before(to))})
          AND (%(worker)s::uuid IS NULL OR lease_owner = %(worker)s)
          AND (%(tx_hash)s::text IS NULL OR tx_hash = %(tx_hash)s)
          AND {only_if}
        RETURNING *
    ), event AS (
        INSERT INTO order_events (order_id, seq, event, status, details, created_at)
        SELECT id, seq, %(event)s, status, %(details)s, updated_at FROM moved
    ){also}
    SELECT {ORDER_COLUMNS} FROM moved
"""


_ROUTE = _transition(Status.ROUTING, "chosen_dex = %(chosen_dex)s, route_meta = %(route_meta)s")

_BUILD = _transition(
    Status.BUILDING,
    "tx_hash = %(swap_tx_hash)s, min_amount_out = %(min_amount_out)s, max_amount_out = %(max_amount_out)s",
    also=""", recorded AS (
        INSERT INTO swaps (tx_hash, order_id, venue, payload, expires_at)
        SELECT %(swap_tx_hash)s, id, chosen_dex, %(payload)s, %(expires_at)s FROM moved
    )""",
)

_SUBMIT = _transition(
    Status.SUBMITTED,
    "lease_owner = NULL, lease_until = NULL",
    only_if="(expires_at IS NULL OR expires_at > now())",
)

# A swap that may still land forbids a new try and a failure: only who saw it end, and names it, may set it aside.
# The order's own tx_hash is what decides: Postgres looks again at the row it waited for, not at a subquery. And who
# neither holds the lease nor saw a swap end has no say while a worker is at it, or while the order waits.
_MAY_END_TRY = """tx_hash IS NOT DISTINCT FROM %(tx_hash)s
          AND (%(worker)s::uuid IS NOT NULL
               OR waits_for IS NULL AND (lease_until IS NULL OR lease_until <= now()))"""
_END_SWAP = """, ended AS (
        UPDATE swaps SET state = %(ended_as)s FROM moved
        WHERE swaps.order_id = moved.id AND swaps.state = 'live'
    )"""

_RETRY = _transition(
    Status.PENDING,
    """attempts = attempts + 1, last_error = %(error)s, available_at = now() + %(delay)s,
            lease_owner = NULL, lease_until = NULL, tx_hash = NULL""",
    only_if=_MAY_END_TRY,
    also=_END_SWAP,
)

_FAIL = _transition(
    Status.FAILED,
    "attempts = attempts + 1, last_error = %(error)s, lease_owner = NULL, lease_until = NULL",
    only_if=_MAY_END_TRY,
    also=_END_SWAP,
)

_WAIT = _transition(
    Status.PENDING,
    """waits_for = %(waits_for)s, wakes_when = %(wakes_when)s, wake_price = %(wake_price)s, attempts = 0,
            takeovers = 0, lease_owner = NULL, lease_until = NULL,
            look_again_at = CASE WHEN %(past_limit)s THEN now() + least(%(pause)s * 2 ^ vain_looks, %(most)s) END,
            vain_looks = CASE WHEN %(past_limit)s THEN least(vain_looks + 1, 10) ELSE 0 END""",
    only_if="tx_hash IS NULL",
)

_TRIGGER = _transition(Status.PENDING, "triggered_at = now()", only_if="tx_hash IS NULL")

# Whoever holds the lease finds out at the next step: from here on no transition of the order's worker applies.
_CANCEL = _transition(
    Status.CANCELLED,
    """waits_for = NULL, wakes_when = NULL, wake_price = NULL, look_again_at = NULL, lease_owner = NULL,
            lease_until = NULL""",
    also=""", unsent AS (
        UPDATE swaps SET state = 'unsent' FROM moved WHERE swaps.order_id = moved.id AND swaps.state = 'live'
    )""",
)

_CONFIRM = f"""
    WITH fills AS (
        SELECT *
        FROM unnest(
            %(order_ids)s::uuid[], %(tx_hashes)s::text[], %(amounts_out)s::numeric[],
            %(executed_prices)s::numeric[], %(details)s::jsonb[]
        ) AS fill (order_id, tx_hash, amount_out, executed_price, details)
    ), moved AS (
        UPDATE orders
        SET status = 'confirmed', seq = seq + 1, attempts = attempts + 1, updated_at = now(),
            amount_out = fills.amount_out, executed_price = fills.executed_price
        FROM fills
        WHERE orders.id = fills.order_id
          AND orders.tx_hash = fills.tx_hash
          AND orders.status IN ({", ".join(f"'{status}'" for status in statuses_before(Status.CONFIRMED))})
        RETURNING orders.*
    ), event AS (
        INSERT INTO order_events (order_id, seq, event, status, details, created_at)
        SELECT moved.id, moved.seq, 'confirmed', moved.status, fills.details, moved.updated_at
        FROM moved JOIN fills ON fills.order_id = moved.id
    ), landed AS (
        UPDATE swaps SET state = 'landed' FROM moved WHERE swaps.tx_hash = moved.tx_hash
    )
    SELECT {ORDER_COLUMNS} FROM moved
"""

_IN_FLIGHT = f"""
    WITH in_flight AS (
        SELECT tx_hash AS swap_tx_hash, venue AS swap_venue, payload AS swap_payload,
               expires_at AS swap_expires_at, order_id AS swap_order_id
        FROM swaps
        WHERE order_id = ANY(%(order_ids)s::uuid[]) AND state = 'live'
    )
    SELECT {ORDER_COLUMNS}, in_flight.*
    FROM in_flight JOIN orders ON orders.id = swap_order_id AND status = 'submitted'
"""

_FIND = f"SELECT {ORDER_COLUMNS} FROM orders WHERE id = %(order_id)s"

_EVENTS = """
    SELECT order_id::text, event, status, seq, created_at AS timestamp, details
    FROM order_events
    WHERE order_id = %(order_id)s AND seq > %(after_seq)s
    ORDER BY seq
"""

_PAGE = f"""
    SELECT {ORDER_COLUMNS}
    FROM orders
    WHERE (%(status)s::text IS NULL OR status = %(status)s)
      AND (%(before)s::timestamptz IS NULL OR (created_at, id) < (%(before)s, %(before_id)s::uuid))
    ORDER BY created_at DESC, id DESC
    LIMIT %(limit)s
"""

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

_BURY = """
    INSERT INTO dead_letters (message_id, queue, body, order_id, reason)
    VALUES (%(message_id)s, %(queue)s, %(body)s, %(order_id)s, %(reason)s)
    ON CONFLICT (message_id) DO NOTHING
"""

_DEAD_LETTERS = """
    SELECT message_id, queue, body, order_id::text, reason, buried_at
    FROM dead_letters
    WHERE redriven_at IS NULL AND (%(message_ids)s::text[] IS NULL OR message_id = ANY(%(message_ids)s))
    ORDER BY buried_at
    LIMIT %(limit)s
"""

_REDRIVEN = "UPDATE dead_letters SET redriven_at = now() WHERE message_id = %(message_id)s"

# Only for an operator: a failed order may be tried again if none of its swaps has landed or still may.
_REVIVE = f"""
    WITH moved AS (
        UPDATE orders
        SET status = 'pending', seq = seq + 1, updated_at = now(), available_at = now(), attempts = 0,
            takeovers = 0, tx_hash = NULL
        WHERE id = %(order_id)s
          AND status = 'failed'
          AND NOT EXISTS (
              SELECT FROM swaps WHERE swaps.order_id = orders.id AND swaps.state IN ('live', 'landed')
          )
        RETURNING *
    ), event AS (
        INSERT INTO order_events (order_id, seq, event, status, details, created_at)
        SELECT id, seq, %(event)s, status, %(details)s, updated_at FROM moved
    )
    SELECT {ORDER_COLUMNS} FROM moved
"""


class Step(NamedTuple):
    """A transition that was committed: the order after it, and its event."""

    order: Order
    event: OrderEvent


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


class Fill(NamedTuple):
    """A landed swap, to be confirmed."""

    order_id: str
    tx_hash: str
    venue: str
    amount_out: Decimal
    executed_price: Decimal

    @property
    def details(self) -> dict[str, Any]:
        """What the ``confirmed`` event says."""
        return {
            "txHash": self.tx_hash,
            "executedPrice": self.executed_price,
            "amountOut": self.amount_out,
            "venue": self.venue,
        }


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message that could not be processed."""

    message_id: str
    queue: str
    body: str
    order_id: str | None
    reason: str
    buried_at: datetime


class OrderStore:
    """The orders in Postgres.

    Every method is one round trip and raises ``ResourceUnavailable`` when Postgres does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(self, order: Order, request_digest: str, details: dict[str, Any]) -> Step | None:
        """Store a new order with its first event; None when its id or its idempotency key is taken."""
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
                "details": Jsonb(details),
            },
        )
        return _step(rows, "pending", details)

    def find_accepted(self, order: Order) -> tuple[Order, str] | None:
        """Return the stored order with this id or idempotency key, and the digest of its request."""
        rows = self._database.run(
            _FIND_ACCEPTED,
            {"order_id": order.order_id, "user_id": order.user_id, "client_order_id": order.client_order_id},
        )
        return (read_order(rows[0]), rows[0]["request_digest"]) if rows else None

    def claim(self, order_id: str, worker: UUID, lease: timedelta) -> Claim | None:
        """Take the order for ``lease``, unless another worker has it or it must wait; None if there is none."""
        rows = self._database.run(
            _CLAIM, {"order_id": order_id, "worker": worker, "lease": lease, "executing": list(EXECUTING)}
        )
        if not rows:
            return None
        row = rows[0]
        order = read_order(row)
        wait = None
        if not row["claimed"] and order.status in EXECUTING and not row["is_at_rest"]:
            wait = max(row["wait"].total_seconds() if row["wait"] else 0.0, 0.0)
        return Claim(order, row["claimed"], wait, _swap(row), row["takeovers"], row["launched"])

    def route(self, order: Order, worker: UUID, chosen_dex: str, route_meta: dict[str, Any]) -> Step | None:
        """Move to ``routing`` with the quotes and the choice."""
        changes: dict[str, Any] = {"chosen_dex": chosen_dex, "route_meta": Jsonb(route_meta)}
        return self._move(_ROUTE, order.order_id, "routing", route_meta, worker=worker, **changes)

    def build(self, order: Order, worker: UUID, swap: SignedTransaction, plan: SwapPlan) -> Step | None:
        """Move to ``building`` and record the signed transaction, before it is ever sent."""
        details: dict[str, Any] = {"venue": plan.venue, "actions": plan.actions}
        if plan.min_amount_out is not None:
            details["minAmountOut"] = plan.min_amount_out
        if plan.max_amount_out is not None:
            details["maxAmountOut"] = plan.max_amount_out
        changes: dict[str, Any] = {
            "swap_tx_hash": swap.tx_hash,
            "payload": swap.payload,
            "expires_at": swap.expires_at,
            "min_amount_out": plan.min_amount_out,
            "max_amount_out": plan.max_amount_out,
        }
        return self._move(_BUILD, order.order_id, "building", details, worker=worker, **changes)

    def submit(self, order: Order, worker: UUID, swap: SignedTransaction) -> Step | None:
        """Move to ``submitted`` and give the lease back: from here on the order belongs to settlement."""
        details = {"txHash": swap.tx_hash, "venue": swap.venue}
        return self._move(_SUBMIT, order.order_id, "submitted", details, worker=worker, tx_hash=swap.tx_hash)

    def wait(self, order: Order, worker: UUID, unmet: Unmet) -> Step | None:
        """Put an order whose condition is not met into the book; the lease is given back, its tries begin anew."""
        rest: dict[str, Any] = {
            "waits_for": unmet.waits_for,
            "wakes_when": unmet.wakes_when,
            "wake_price": unmet.wake_price,
            "past_limit": unmet.past_limit,
            "pause": FIRST_PAUSE,
            "most": LONGEST_PAUSE,
        }
        details = {"waitingFor": unmet.waiting_for}
        return self._move(_WAIT, order.order_id, "waiting", details, worker=worker, **rest)

    def trigger(self, order: Order, worker: UUID, market_price: Decimal) -> Step | None:
        """Note that a stop was reached at its first look: it stays triggered wherever the price goes."""
        return self._move(_TRIGGER, order.order_id, "triggered", {"marketPrice": market_price}, worker=worker)

    def cancel(self, order_id: str, *, reason: str, worker: UUID | None = None) -> Step | None:
        """Move to ``cancelled``, unless the order has been submitted or has ended."""
        return self._move(_CANCEL, order_id, "cancelled", {"reason": reason}, worker=worker)

    def retry(
        self,
        order: Order,
        *,
        error: str,
        delay: timedelta,
        worker: UUID | None = None,
        ended_swap: SignedTransaction | None = None,
        ended_as: str | None = None,
    ) -> Step | None:
        """Move back to ``pending`` for another try after ``delay``; for the rest see ``fail``."""
        details = {
            "error": error,
            "attempt": order.attempts + 1,
            "maxRetries": order.max_retries,
            "delayMs": round(delay.total_seconds() * 1000),
        }
        return self._end_try(_RETRY, order, "retrying", details, worker, ended_swap, ended_as, delay=delay)

    def fail(
        self,
        order: Order,
        *,
        error: str,
        worker: UUID | None = None,
        ended_swap: SignedTransaction | None = None,
        ended_as: str | None = None,
    ) -> Step | None:
        """Move to ``failed``.

        A recorded swap that may still land keeps this from happening, unless ``ended_swap`` is that swap and
        ``ended_as`` says how it ended (``failed`` or ``expired``).
        """
        details = {"error": error, "attempts": order.attempts + 1}
        return self._end_try(_FAIL, order, "failed", details, worker, ended_swap, ended_as)

    def confirm(self, fills: Sequence[Fill]) -> list[Step]:
        """Move every order whose swap landed to ``confirmed``, in one statement."""
        fills = sorted(fills, key=lambda fill: fill.order_id)  # two batches lock their rows in the same order
        rows = self._database.run(
            _CONFIRM,
            {
                "order_ids": [fill.order_id for fill in fills],
                "tx_hashes": [fill.tx_hash for fill in fills],
                "amounts_out": [fill.amount_out for fill in fills],
                "executed_prices": [fill.executed_price for fill in fills],
                "details": [Jsonb(fill.details) for fill in fills],
            },
        )
        details = {fill.order_id: fill.details for fill in fills}
        orders = [read_order(row) for row in rows]
        return [Step(order, event_of(order, "confirmed", details[order.order_id])) for order in orders]

    def in_flight(self, order_ids: Collection[str]) -> list[tuple[Order, SignedTransaction]]:
        """Return those of these orders that are submitted and not settled, each with its live swap."""
        rows = self._database.run(_IN_FLIGHT, {"order_ids": list(order_ids)})
        return [(read_order(row), swap) for row in rows if (swap := _swap(row)) is not None]

    def find(self, order_id: str) -> Order | None:
        """Return the order, or None."""
        rows = self._database.run(_FIND, {"order_id": order_id})
        return read_order(rows[0]) if rows else None

    def events(self, order_id: str, after_seq: int = 0) -> list[OrderEvent]:
        """Return the order's events after ``after_seq``, oldest first; every order has at least one."""
        rows = self._database.run(_EVENTS, {"order_id": order_id, "after_seq": after_seq})
        return [OrderEvent.of(**{**row, "status": Status(row["status"])}) for row in rows]

    def page(self, *, status: Status | None, limit: int, before: tuple[datetime, str] | None = None) -> list[Order]:
        """Return up to ``limit`` orders, newest first, that come after the keyset position ``before``."""
        created_at, order_id = before or (None, None)
        rows = self._database.run(
            _PAGE, {"status": status, "limit": limit, "before": created_at, "before_id": order_id}
        )
        return [read_order(row) for row in rows]

    def defer(self, waits: Mapping[str, timedelta]) -> None:
        """Note how long pending orders have to wait for their turn, so that nobody takes them for stopped."""
        parameters = {"order_ids": list(waits), "waits": list(waits.values())}
        self._database.run(_DEFER, parameters, BATCH_SECONDS)

    def take_stopped(
        self, *, idle: timedelta, long_idle: timedelta, settling: timedelta, queue_is_empty: bool, limit: int
    ) -> list[StoppedOrder]:
        """Return unfinished orders that nobody moves on any more.

        A pending order counts as stopped after ``idle`` if its queue is empty, else after ``long_idle``; a submitted
        one after ``settling``. An order that was returned counts as moved. Two callers at once get different orders.
        """
        parameters: dict[str, Any] = {"idle": idle, "long_idle": long_idle, "settling": settling}
        parameters |= {"queue_is_empty": queue_is_empty, "limit": limit}
        rows = self._database.run(_STOPPED, parameters, BATCH_SECONDS)
        return [StoppedOrder(row["order_id"], Status(row["status"]), OrderType(row["order_type"])) for row in rows]

    def bury(self, *, message_id: str, queue: str, body: str, order_id: str | None, reason: str) -> None:
        """Keep a message that could not be processed."""
        parameters = {"message_id": message_id, "queue": queue, "body": body}
        self._database.run(_BURY, {**parameters, "order_id": order_id, "reason": reason})

    def dead_letters(self, message_ids: Collection[str] | None = None, limit: int = 1000) -> list[DeadLetter]:
        """Return dead letters that were not redriven, oldest first: these, or all."""
        chosen = None if message_ids is None else list(message_ids)
        rows = self._database.run(_DEAD_LETTERS, {"message_ids": chosen, "limit": limit})
        return [DeadLetter(**row) for row in rows]

    def mark_redriven(self, message_id: str) -> None:
        """Note that a dead letter was put back on its queue."""
        self._database.run(_REDRIVEN, {"message_id": message_id})

    def revive(self, order: Order) -> Step | None:
        """Move a failed order back to ``pending``, unless one of its swaps has landed or still may."""
        return self._move(_REVIVE, order.order_id, "redriven", {"lastError": order.last_error})

    def probe(self) -> None:
        """Run the cheapest statement there is."""
        self._database.run("SELECT 1", {})

    def _end_try(
        self,
        statement: str,
        order: Order,
        event: str,
        details: dict[str, Any],
        worker: UUID | None,
        ended_swap: SignedTransaction | None,
        ended_as: str | None,
        **changes: Any,
    ) -> Step | None:
        changes |= {"error": details["error"], "ended_as": ended_as}
        tx_hash = ended_swap.tx_hash if ended_swap else None
        return self._move(statement, order.order_id, event, details, worker=worker, tx_hash=tx_hash, **changes)

    def _move(
        self,
        statement: str,
        order_id: str,
        event: str,
        details: dict[str, Any],
        *,
        worker: UUID | None = None,
        tx_hash: str | None = None,
        **changes: Any,
    ) -> Step | None:
        parameters = {
            "order_id": order_id,
            "worker": worker,
            "tx_hash": tx_hash,
            "event": event,
            "details": Jsonb(details),
            **changes,
        }
        return _step(self._database.run(statement, parameters), event, details)


def read_order(row: Row) -> Order:
    fields = {name: row[name] for name in Order.__struct_fields__}
    fields["order_type"] = OrderType(fields["order_type"])
    fields["side"] = Side(fields["side"])
    fields["status"] = Status(fields["status"])
    fields["time_in_force"] = TimeInForce(fields["time_in_force"])
    fields["waits_for"] = WaitsFor(fields["waits_for"]) if fields["waits_for"] else None
    return Order(**fields)


def event_of(order: Order, event: str, details: dict[str, Any]) -> OrderEvent:
    return OrderEvent.of(
        order_id=order.order_id,
        event=event,
        status=order.status,
        seq=order.seq,
        timestamp=order.updated_at,
        details=details,
    )


def _step(rows: Sequence[Row], event: str, details: dict[str, Any]) -> Step | None:
    if not rows:
        return None
    order = read_order(rows[0])
    return Step(order, event_of(order, event, details))


def _swap(row: Row) -> SignedTransaction | None:
    if row["swap_tx_hash"] is None:
        return None
    return SignedTransaction(
        tx_hash=row["swap_tx_hash"],
        venue=row["swap_venue"],
        payload=bytes(row["swap_payload"]),
        expires_at=row["swap_expires_at"],
    )

"""How an order moves: each transition is one statement, and those on the way to a swap's first send are one together.

It moves the status on the condition that the order still is where it is moved from, counts, and writes the event row
with the next ``seq``, or does nothing at all. No row back means that somebody else moved the order first; the caller
then stops, it never forces.
"""

from collections.abc import Sequence

from chalicelib.orders.lifecycle import statuses_before
from chalicelib.orders.order import Status
from chalicelib.store.rows import ORDER_COLUMNS, event_row, is_owned

LEAVE_BOOK = "waits_for = NULL, wakes_when = NULL, wake_price = NULL, look_again_at = NULL"
END_LEASE = "lease_owner = NULL, lease_until = NULL"
DROP_UNSENT = """, unsent AS (
        UPDATE swaps SET state = 'unsent' FROM moved WHERE swaps.order_id = moved.id AND swaps.state = 'live'
    )"""
"""What an earlier release signed but did not submit was never sent, and will not be."""


def _listed(statuses: Sequence[Status]) -> str:
    return ", ".join(f"'{status}'" for status in statuses)


def _transition(to: Status, changes: str, *, only_if: str = "true", also: str = "") -> str:
    """Write the statement that moves one order to ``to``.

    ``worker`` holds its lease, ``tx_hash`` is its current swap: whichever is given must be so. For a try's end
    (``_MAY_END_TRY``) no ``tx_hash`` means that the order must have none.
    """
    return f"""
    WITH moved AS (
        UPDATE orders
        SET status = '{to}', seq = seq + 1, updated_at = now(), {changes}
        WHERE id = %(order_id)s
          AND status IN ({_listed(statuses_before(to))})
          AND (%(worker)s::uuid IS NULL OR lease_owner = %(worker)s)
          AND (%(tx_hash)s::text IS NULL OR tx_hash = %(tx_hash)s)
          AND {only_if}
        RETURNING *
    ), {event_row()}{also}
    SELECT {ORDER_COLUMNS} FROM moved
"""


ROUTE = _transition(Status.ROUTING, "chosen_dex = %(chosen_dex)s, route_meta = %(route_meta)s")

_IN_TIME = "(expires_at IS NULL OR expires_at > now())"

# Three transitions that nothing can come between: each still has its event, with a `seq` of its own.
SUBMIT = f"""
    WITH moved AS (
        UPDATE orders
        SET status = 'submitted', seq = seq + 3, updated_at = now(), {END_LEASE},
            chosen_dex = %(chosen_dex)s, route_meta = %(routing)s, tx_hash = %(tx_hash)s,
            min_amount_out = %(min_amount_out)s, max_amount_out = %(max_amount_out)s
        WHERE id = %(order_id)s
          AND status IN ({_listed(statuses_before(Status.ROUTING))})
          AND lease_owner = %(worker)s
          AND {_IN_TIME}
        RETURNING *
    ), event AS (
        INSERT INTO order_events (order_id, seq, event, status, details, created_at)
        SELECT id, seq - later, step, step, details, updated_at
        FROM moved, (VALUES
            ('routing', %(routing)s::jsonb, 2), ('building', %(building)s, 1), ('submitted', %(submitted)s, 0)
        ) AS steps (step, details, later)
    ), recorded AS (
        INSERT INTO swaps (tx_hash, order_id, venue, payload, expires_at, last_valid_block_height)
        SELECT tx_hash, id, chosen_dex, %(payload)s, %(swap_expires_at)s, %(last_valid_block_height)s FROM moved
    )
    SELECT {ORDER_COLUMNS} FROM moved
"""

SUBMIT_RECORDED = _transition(Status.SUBMITTED, END_LEASE, only_if=_IN_TIME)

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

RETRY = _transition(
    Status.PENDING,
    f"""attempts = attempts + 1, last_error = %(error)s, available_at = now() + %(delay)s, {END_LEASE},
            tx_hash = NULL""",
    only_if=_MAY_END_TRY,
    also=_END_SWAP,
)

FAIL = _transition(
    Status.FAILED,
    f"attempts = attempts + 1, last_error = %(error)s, {END_LEASE}",
    only_if=_MAY_END_TRY,
    also=_END_SWAP,
)

WAIT = _transition(
    Status.PENDING,
    f"""waits_for = %(waits_for)s, wakes_when = %(wakes_when)s, wake_price = %(wake_price)s, attempts = 0,
            takeovers = 0, {END_LEASE},
            look_again_at = CASE WHEN %(past_limit)s THEN now() + least(%(pause)s * 2 ^ vain_looks, %(most)s) END,
            vain_looks = CASE WHEN %(past_limit)s THEN least(vain_looks + 1, 10) ELSE 0 END""",
    only_if="tx_hash IS NULL",
)

TRIGGER = _transition(Status.PENDING, "triggered_at = now()", only_if="tx_hash IS NULL")

# Whoever holds the lease finds out at the next step: from here on no transition of the order's worker applies.
CANCEL = _transition(Status.CANCELLED, f"{LEAVE_BOOK}, {END_LEASE}", only_if=is_owned("orders"), also=DROP_UNSENT)

CONFIRM = f"""
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
          AND orders.status IN ({_listed(statuses_before(Status.CONFIRMED))})
        RETURNING orders.*, fills.details
    ), {event_row("details")}, landed AS (
        UPDATE swaps SET state = 'landed' FROM moved WHERE swaps.tx_hash = moved.tx_hash
    )
    SELECT {ORDER_COLUMNS} FROM moved
"""

# Only for an operator: a failed order may be tried again if none of its swaps has landed or still may.
REVIVE = f"""
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
    ), {event_row()}
    SELECT {ORDER_COLUMNS} FROM moved
"""

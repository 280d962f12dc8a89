"""What the statements about orders share: an order is read from a row, and each move of one writes its event."""

from collections.abc import Sequence

from chalicelib.orders.events import EventDraft, OrderEvent, Step
from chalicelib.orders.order import Order, OrderType, Side, Status, TimeInForce, WaitsFor
from chalicelib.resources.postgres import Row

BATCH_SECONDS = 10.0
"""How long a statement about many orders may take."""

ORDER_COLUMNS = """
    id::text AS order_id, user_id, idempotency_key AS client_order_id, order_type, side, token_in, token_out,
    amount_in, slippage AS slippage_tolerance, limit_price, trigger_price, time_in_force, expires_at,
    triggered_at, waits_for, wake_price, status, seq, attempts, max_retries, chosen_dex,
    route_meta, min_amount_out, max_amount_out, amount_out, executed_price, tx_hash, last_error, created_at,
    updated_at
"""


def event_row(details: str = "%(details)s", *, source: str = "moved") -> str:
    """Write the part of a statement that gives each order in ``source`` the event of its move: no move without one."""
    return f"""event AS (
        INSERT INTO order_events (order_id, seq, event, status, details, created_at)
        SELECT id, seq, %(event)s, status, {details}, updated_at FROM {source}
    )"""


def is_owned(order: str) -> str:
    """Write the condition that ``order``, a row, belongs to the user ``owner``; without an owner each does."""
    return f"(%(owner)s::text IS NULL OR {order}.user_id = %(owner)s)"


def is_launched(pair: str) -> str:
    """Write the condition that a launch is known for ``pair``, a row with ``token_in`` and ``token_out``."""
    return f"""EXISTS (
        SELECT FROM launches
        WHERE launches.token_in = {pair}.token_in
          AND (launches.token_out IS NULL OR launches.token_out = {pair}.token_out)
    )"""


def order_of(row: Row) -> Order:
    """Read an order from a row with ``ORDER_COLUMNS``."""
    fields = {name: row[name] for name in Order.__struct_fields__}
    fields["order_type"] = OrderType(fields["order_type"])
    fields["side"] = Side(fields["side"])
    fields["status"] = Status(fields["status"])
    fields["time_in_force"] = TimeInForce(fields["time_in_force"])
    fields["waits_for"] = WaitsFor(fields["waits_for"]) if fields["waits_for"] else None
    return Order(**fields)


def step_of(row: Row, draft: EventDraft) -> Step:
    """Read an order that has moved, and put its event together as it was stored."""
    order = order_of(row)
    return _step(order, draft, order.status, order.seq)


def steps_of(row: Row, drafts: Sequence[EventDraft]) -> list[Step]:
    """Read an order that has moved through several statuses, each named as its event; every step shows where it is."""
    order = order_of(row)
    before = order.seq - len(drafts)
    return [_step(order, draft, Status(draft.event), before + number) for number, draft in enumerate(drafts, 1)]


def _step(order: Order, draft: EventDraft, status: Status, seq: int) -> Step:
    event = OrderEvent.of(
        order_id=order.order_id,
        event=draft.event,
        status=status,
        seq=seq,
        timestamp=order.updated_at,
        details=draft.details,
    )
    return Step(order, event)

"""Every statement about dead letters: messages that could not be processed, and the orders they were about."""

from collections.abc import Collection
from datetime import datetime
from typing import Literal

import msgspec
from psycopg.types.json import Jsonb

from chalicelib.orders import events
from chalicelib.orders.events import Step
from chalicelib.orders.order import Order
from chalicelib.resources.postgres import Database
from chalicelib.store import transitions
from chalicelib.store.rows import step_of

QueueName = Literal["orders", "settlements"]
MOST_LISTED = 1000

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


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message that could not be processed."""

    message_id: str
    queue: QueueName
    body: str
    order_id: str | None
    reason: str
    buried_at: datetime


class DeadLetterStore:
    """The dead letters in Postgres; see ``OrderStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def bury(self, *, message_id: str, queue: str, body: str, order_id: str | None, reason: str) -> None:
        """Keep a message that could not be processed."""
        parameters = {"message_id": message_id, "queue": queue, "body": body}
        self._database.run(_BURY, {**parameters, "order_id": order_id, "reason": reason})

    def waiting(self, message_ids: Collection[str] | None = None) -> list[DeadLetter]:
        """Return dead letters that were not redriven, oldest first: these, or all (at most ``MOST_LISTED``)."""
        chosen = None if message_ids is None else list(message_ids)
        rows = self._database.run(_DEAD_LETTERS, {"message_ids": chosen, "limit": MOST_LISTED})
        return [DeadLetter(**row) for row in rows]

    def mark_redriven(self, message_id: str) -> None:
        """Note that a dead letter was put back on its queue."""
        self._database.run(_REDRIVEN, {"message_id": message_id})

    def revive(self, order: Order) -> Step | None:
        """Move a failed order back to ``pending``, unless one of its swaps has landed or still may."""
        draft = events.redriven(order)
        parameters = {"order_id": order.order_id, "event": draft.event, "details": Jsonb(draft.details)}
        rows = self._database.run(transitions.REVIVE, parameters)
        return step_of(rows[0], draft) if rows else None

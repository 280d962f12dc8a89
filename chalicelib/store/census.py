"""How many orders stand where, counted by indexes that hold what is unfinished: what has ended costs nothing here.

Orders that have ended are not counted in Postgres: their number only grows, and so would the time it takes.
``counters`` says how many have ended since when. Nor is each of a million orders that rest in the book: beyond
``EXACTLY``, Postgres's own estimate for the index that they lie in takes the count's place.
"""

from datetime import datetime

import msgspec

from chalicelib.orders.lifecycle import CLAIMABLE
from chalicelib.orders.order import Status, WaitsFor
from chalicelib.resources.postgres import Database
from chalicelib.store.rows import BATCH_SECONDS

EXACTLY = 20_000
"""Up to so many waiting orders are counted one by one, which takes a few milliseconds."""


def _waiting(waits_for: WaitsFor, index: str) -> str:
    """Write the query that counts the orders which wait for something.

    Of a partial index Postgres knows about how many entries it has, since it was last vacuumed or analyzed
    (https://www.postgresql.org/docs/current/catalog-pg-class.html, ``reltuples``).
    """
    return f"""(
        SELECT CASE WHEN counted < %(exactly)s THEN counted
                    ELSE greatest(counted, (SELECT reltuples::bigint FROM pg_class WHERE oid = '{index}'::regclass))
               END
        FROM (
            SELECT count(*) AS counted
            FROM (SELECT FROM orders WHERE waits_for = '{waits_for}' LIMIT %(exactly)s) AS first
        ) AS counting
    )"""


# The first two conditions are those of the index; what rests in the book is in others. A worker that holds a lease has
# the order in a slot. Who may claim an order, and from when on, is what the claim itself asks (``OrderStore.claim``).
_CENSUS = f"""
    WITH moving AS (
        SELECT status, count(*) AS orders,
               count(*) FILTER (WHERE lease_until > now()) AS claimed,
               min(CASE WHEN status = 'submitted' THEN updated_at
                        WHEN greatest(available_at, lease_until) <= now() THEN greatest(available_at, lease_until)
                   END) AS oldest
        FROM orders
        WHERE waits_for IS NULL AND status IN ('pending', 'routing', 'building', 'submitted')
        GROUP BY status
    ), others AS (
        SELECT {_waiting(WaitsFor.PRICE, "orders_book")} AS await_price,
               {_waiting(WaitsFor.LAUNCH, "orders_awaiting_launch")} AS await_launch,
               (SELECT count(*) FROM dead_letters WHERE redriven_at IS NULL) AS dead_letters
    )
    SELECT status, orders, claimed, extract(epoch FROM now() - oldest)::float8 AS oldest_seconds,
           await_price, await_launch, dead_letters, now() AS counted_at
    FROM others LEFT JOIN moving ON true
"""


class Census(msgspec.Struct, frozen=True, kw_only=True):
    """How many orders stand where.

    ``moving`` are unfinished orders by status, without those that rest in the book: these are ``await_price`` and
    ``await_launch``. ``claimed`` have a worker. Ages are in seconds: of the oldest order that a worker could claim and
    none has, and of the oldest that is submitted.
    """

    moving: dict[str, int]
    claimed: int
    await_price: int
    await_launch: int
    dead_letters: int
    oldest_due_seconds: float
    oldest_submitted_seconds: float
    counted_at: datetime

    @property
    def unclaimed(self) -> int:
        """How many orders are to be executed and have no worker: due, or queued until it is their turn or next try."""
        return sum(self.moving.get(status, 0) for status in CLAIMABLE) - self.claimed


class CensusTaker:
    """Counts orders in Postgres."""

    def __init__(self, database: Database, exactly: int = EXACTLY) -> None:
        self._database = database
        self._exactly = exactly

    def count(self) -> Census:
        """Count, in one statement.

        Raises:
            ResourceUnavailable: Postgres does not answer.
        """
        rows = self._database.run(_CENSUS, {"exactly": self._exactly}, BATCH_SECONDS)
        by_status = {row["status"]: row for row in rows if row["status"] is not None}
        oldest = {status: max(row["oldest_seconds"] or 0.0, 0.0) for status, row in by_status.items()}
        return Census(
            moving={status: row["orders"] for status, row in by_status.items()},
            claimed=sum(row["claimed"] for row in by_status.values()),
            await_price=rows[0]["await_price"],
            await_launch=rows[0]["await_launch"],
            dead_letters=rows[0]["dead_letters"],
            oldest_due_seconds=max((oldest[status] for status in CLAIMABLE if status in oldest), default=0.0),
            oldest_submitted_seconds=oldest.get(Status.SUBMITTED, 0.0),
            counted_at=rows[0]["counted_at"],
        )

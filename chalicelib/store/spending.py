"""What the wallet has spent, and is about to: each order reserves its most before its swap is signed."""

from decimal import Decimal

from chalicelib.resources.postgres import Database

_RESERVE = """
    SELECT reserved, spent
    FROM reserve_spending(%(order_id)s::uuid, %(token)s::text, %(amount)s::numeric, %(most_in_a_day)s::numeric)
"""


class SpendingStore:
    """The reservations in Postgres; every method raises ``ResourceUnavailable`` when it does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(self, order_id: str, token: str, amount: Decimal, most_in_a_day: Decimal) -> Decimal | None:
        """Reserve ``amount`` of a token for an order, in place of what was reserved for it before.

        Returns:
            None, or if that would be more than ``most_in_a_day`` what other orders have taken of it in 24 hours.
        """
        (row,) = self._database.run(
            _RESERVE,
            {"order_id": order_id, "token": token, "amount": amount, "most_in_a_day": most_in_a_day},
        )
        return None if row["reserved"] else row["spent"]

"""How much the engine's own wallet may spend: so much an order, and so much a day, of each token.

A cap is the last line against an order, or a client, gone wild. So a token that has none may not be spent at all, what
counts is the most that a swap may take, and it is reserved before anything is signed: two workers cannot both find the
last of the day's money unspent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from chalicelib.orders.tokens import EXACT
from chalicelib.store.spending import SpendingStore
from chalicelib.venues.venue import SwapRefused


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The caps, by token: ``per_order`` and, over any 24 hours, ``per_day``."""

    store: SpendingStore
    per_order: Mapping[str, Decimal]
    per_day: Mapping[str, Decimal]

    def reserve(self, order_id: str, token: str, amount: Decimal) -> None:
        """Set ``amount`` of a token aside for an order; reserved again for the same order, only the last one counts.

        Raises:
            SwapRefused: it is more than the caps allow; says which cap, and what is left of it.
            ResourceUnavailable: Postgres does not answer.
        """
        most, most_in_a_day = self.per_order.get(token), self.per_day.get(token)
        if most is None or most_in_a_day is None:
            missing = "SOLANA_MAX_PER_ORDER" if most is None else "SOLANA_MAX_PER_DAY"
            raise SwapRefused(f"{token} may not be spent: {missing} has no cap for it")
        if amount > most:
            raise SwapRefused(
                f"the order may spend {_text(amount)} {token}; at most {_text(most)} are allowed (SOLANA_MAX_PER_ORDER)"
            )
        spent = self.store.reserve(order_id, token, amount, most_in_a_day)
        if spent is not None:
            raise SwapRefused(
                f"the order may spend {_text(amount)} {token}; of {_text(most_in_a_day)} a day (SOLANA_MAX_PER_DAY) "
                f"{_text(max(most_in_a_day - spent, Decimal(0)))} are left"
            )


def _text(amount: Decimal) -> str:
    """Write an amount without the zeros at its end: one that was base units has as many as its token has decimals."""
    return f"{EXACT.normalize(amount):f}"

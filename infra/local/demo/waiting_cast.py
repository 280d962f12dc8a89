"""The orders of scene two, and the prices that they and the market are set to."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from infra.local.demo.order import DemoOrder
from oee import OrderEvent

# Venues differ from the base price by at most 3 %: a fall of 8 % surely crosses what lies 5 % below, and nothing
# crosses what lies 5 % above.
BASE, FALLEN = "150", "138"
LIMIT_BELOW, STOP_BELOW, FAR_BELOW, LIMIT_ABOVE = "142.5", "141", "120", "157.5"
LAUNCH_PRICE = "2.5"
GOOD_FOR_SECONDS = 11


@dataclass(kw_only=True)
class WaitingOrder(DemoOrder):
    """An order that waits, what for, and how it is meant to end.

    ``stage`` is its last event; ``good_until`` is a time of ``time.monotonic``; ``market_price`` is what it would
    have executed at when that was last asked.
    """

    waits_for: str
    meant_to_be: str
    good_until: float | None = None
    stage: str = ""
    has_waited: bool = False
    market_price: Decimal | None = None

    def hear(self, event: OrderEvent) -> None:
        """Take in one event."""
        super().hear(event)
        self.stage = event.event
        self.has_waited |= self.stage == "waiting"

    @property
    def ended_as_meant(self) -> bool:
        """Whether it ended as the scene wants it to."""
        return self.status == self.meant_to_be

    def expire_after(self, seconds: float, now: datetime) -> None:
        """Make it good for so long only."""
        self.terms = {**self.terms, "expires_at": now + timedelta(seconds=seconds)}
        self.good_until = time.monotonic() + seconds


@dataclass(frozen=True, kw_only=True)
class Cast:
    """The orders, by their parts."""

    limit_below: WaitingOrder
    stop: WaitingOrder
    good_till_date: WaitingOrder
    sniper: WaitingOrder
    limit_above: WaitingOrder

    @property
    def orders(self) -> Sequence[WaitingOrder]:
        """All of them, in the order in which they end."""
        return self.limit_below, self.stop, self.good_till_date, self.sniper, self.limit_above


def five_waiting_orders() -> Cast:
    """Return orders that wait for different things; how long the good-till-date one does is said when it is placed."""
    sol = partial(WaitingOrder, token_in="SOL", token_out="USDC", amount="1.5")
    return Cast(
        limit_below=sol(
            order_type="limit",
            side="buy",
            terms={"limit_price": LIMIT_BELOW},
            waits_for=f"≤ {LIMIT_BELOW}",
            meant_to_be="confirmed",
        ),
        stop=sol(
            order_type="stop",
            side="sell",
            terms={"trigger_price": STOP_BELOW},
            waits_for=f"≤ {STOP_BELOW}",
            meant_to_be="confirmed",
        ),
        good_till_date=sol(
            order_type="limit",
            side="buy",
            terms={"limit_price": FAR_BELOW},
            waits_for=f"≤ {FAR_BELOW}",
            meant_to_be="expired",
        ),
        sniper=WaitingOrder(
            order_type="sniper",
            side="buy",
            token_in="WIF",
            token_out="USDC",
            amount="100",
            waits_for="launch",
            meant_to_be="confirmed",
        ),
        limit_above=sol(
            order_type="limit",
            side="sell",
            terms={"limit_price": LIMIT_ABOVE},
            waits_for=f"≥ {LIMIT_ABOVE}",
            meant_to_be="cancelled",
        ),
    )

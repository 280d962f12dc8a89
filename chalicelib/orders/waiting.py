"""What an order that rests in the book waits for, and what wakes it."""

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

import msgspec

from chalicelib.orders.order import Side, WaitsFor

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=10)
"""Between two looks at an order whose limit the market is past, but not for its amount; each pause is twice as long."""


class MarketPrice(NamedTuple):
    """The best net price of an amount too small to move a pool, tokenOut per tokenIn, for one side of a pair."""

    token_in: str
    token_out: str
    side: Side
    price: Decimal


class WakesWhen(StrEnum):
    """On which side of its wake price the market price must be for a waiting order to be looked at again."""

    AT_OR_ABOVE = "at_or_above"
    AT_OR_BELOW = "at_or_below"

    def met_by(self, market_price: Decimal, wake_price: Decimal) -> bool:
        """Whether ``market_price`` has reached ``wake_price``."""
        return market_price >= wake_price if self is WakesWhen.AT_OR_ABOVE else market_price <= wake_price


class AwaitedLimit(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The net price that an order waits for, and the best one there is."""

    limit_price: Decimal
    net_price: Decimal
    venue: str


class AwaitedTrigger(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The market price that a stop waits for, and the one there is."""

    trigger_price: Decimal
    market_price: Decimal


class AwaitedLaunch(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The token whose launch a sniper waits for, and against which."""

    launch: str
    against: str


Awaited = AwaitedLimit | AwaitedTrigger | AwaitedLaunch


class Unmet(msgspec.Struct, frozen=True, kw_only=True):
    """Why an order does not execute now. ``waiting_for`` says it to its owner, the rest to the book.

    ``past_limit`` says that the market price is where the limit is or better, and only the order's own amount keeps it
    from being met: then it is looked at again after a while, whatever the price.
    """

    waits_for: WaitsFor
    wakes_when: WakesWhen | None = None
    wake_price: Decimal | None = None
    past_limit: bool = False
    waiting_for: Awaited
    reason: str

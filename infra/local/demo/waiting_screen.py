"""How scene two is drawn: the orders, what each waits for, and what has happened so far."""

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from infra.local.demo.drawing import WIDE, elapsed, failure, heading, price, spinner, swap
from infra.local.demo.waiting_cast import WaitingOrder

ENDS = {
    "confirmed": ("✓", "green"),
    "expired": ("◌", "magenta"),
    "cancelled": ("◌", "magenta"),
    "failed": ("✗", "red"),
}
"""How an end is marked; what goes on has a spinner."""


class Moment(NamedTuple):
    """Something that happens, and when, in seconds from the beginning."""

    second: float
    what: str


class WaitingScreen:
    """Draws the orders and the story; rich asks for a new picture with each frame."""

    def __init__(
        self, console: Console, websocket_url: str, orders: Sequence[WaitingOrder], story: Sequence[Moment]
    ) -> None:
        self._wide = console.width >= WIDE
        self._websocket_url = websocket_url
        self._orders = orders
        self._story = story

    def __rich__(self) -> Group:
        title = heading("Five orders that wait", self._websocket_url)
        failures = [failure(order) for order in self._orders if order.error]
        return Group("", title, "", self._table(), "", *self._told(), "", *failures, self._summary(), "")

    def _table(self) -> Table:
        # Every column has its width from the beginning, so that nothing moves while numbers come in.
        table = Table(box=None, pad_edge=False, padding=(0, 2 if self._wide else 1, 0, 0), header_style="bright_black")
        if self._wide:
            table.add_column("order", width=8, style="bright_black")
        table.add_column("type", width=6)
        table.add_column("swap", width=19)
        table.add_column("waits for", width=11)
        table.add_column("price now", width=9, justify="right")
        table.add_column("status", width=14)
        table.add_column("executed", width=8, justify="right")
        table.add_column("time", width=6, justify="right")
        for order in self._orders:
            table.add_row(
                *([order.order_id[:8] or "…"] if self._wide else []),
                order.order_type,
                swap(order),
                _condition(order),
                _price_now(order),
                _stage(order),
                Text(price(order.executed_price), "bold"),
                elapsed(order, self._wide),
            )
        return table

    def _told(self) -> list[Text]:
        """Write what has happened, the last of it bright: that is what happens now."""
        going_on = any(order.ended_at is None for order in self._orders)
        last = len(self._story) - 1 if going_on else -1
        return [
            Text.assemble((f"{moment.second:5.1f} s  ", "bright_black"), (moment.what, "bold" if index == last else ""))
            for index, moment in enumerate(self._story)
        ]

    def _summary(self) -> Text:
        ended = [order for order in self._orders if order.ended_at is not None]
        parts = [f"{sum(order.ended_as_meant for order in ended)} of {len(self._orders)} ended as they should"]
        if len(ended) == len(self._orders):
            parts.append(f"{max(order.elapsed for order in ended):.1f} s in all")
        return Text(" · ".join(parts), "bold")


def _condition(order: WaitingOrder) -> Text:
    """Write ``≤ 142.5``, and for an order with an end the seconds that are left: ``≤ 120, 7 s``."""
    if order.good_until is None or order.ended_at is not None:
        return Text(order.waits_for)
    left = max(math.ceil(order.good_until - time.monotonic()), 0)
    return Text.assemble(order.waits_for, (f", {left} s", "bright_black"))


def _price_now(order: WaitingOrder) -> Text:
    """Write what the order would execute at now, or would have at its end."""
    if order.market_price is None:
        waits = order.ended_at is None and order.has_waited
        return Text("no pool" if waits and order.order_type == "sniper" else "", "bright_black")
    return Text(price(order.market_price), "bright_black" if order.ended_at is not None else "")


def _stage(order: WaitingOrder) -> Text:
    """Write ``◐ submitted ↻1``: its last event, and retries."""
    if not order.stage:
        return Text("…", "bright_black")
    mark, color = ENDS.get(order.status, (spinner(), "yellow" if order.stage == "waiting" else "cyan"))
    picture = Text(f"{mark} {order.stage}", color)
    if order.retries:
        picture.append(f" ↻{order.retries}", "yellow")
    return picture

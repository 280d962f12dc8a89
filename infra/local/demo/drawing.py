"""What the scenes draw with: the console, the live picture, and how an order's values are written."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from infra.local.demo.order import DemoOrder

FRAMES_PER_SECOND = 12
SPINNER = "◐◓◑◒"
WIDE = 100
"""Columns from which on there is room for more than the numbers."""
WIDTH_OF_A_FILE = 100


def open_console(*, record: bool = False) -> Console:
    """Open the console; what goes to a file or a pipe is wide, unless ``COLUMNS`` says otherwise.

    One that records what it prints does so as into a file: each picture once, without what moves.
    """
    console = Console(highlight=False, record=record, force_terminal=False if record else None)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_OF_A_FILE
    return console


@contextmanager
def shown_live(console: Console, screen: RenderableType) -> Iterator[None]:
    """Draw ``screen`` anew with each frame, and leave its last picture behind."""
    try:
        with Live(screen, console=console, refresh_per_second=FRAMES_PER_SECOND, transient=True):
            yield
    finally:
        # Where stdout is no terminal, this is all that is seen.
        console.print(screen)


def heading(title: str, where: str) -> Text:
    """Write a scene's title and where it plays."""
    return Text.assemble((title, "bold"), (f"  on one WebSocket, {where}", "bright_black"))


def spinner() -> str:
    """Return this moment's picture of something that is going on."""
    return SPINNER[int(time.monotonic() * FRAMES_PER_SECOND / 2) % len(SPINNER)]


def swap(order: DemoOrder) -> Text:
    """Write ``sell 1.5 SOL → USDC`` or ``buy 0.8 SOL ← USDC``."""
    return Text.assemble(
        (f"{order.side} ", "bright_black"),
        f"{order.amount} {order.token_in}",
        (" → " if order.side == "sell" else " ← ", "bright_black"),
        order.token_out,
    )


def price(value: Decimal | None) -> str:
    """Write a price in at most eight characters: five significant digits, four below one."""
    if value is None:
        return ""
    digits = 5 if value >= 1 else 4
    return f"{value:,.{max(digits - 1 - value.adjusted(), 0)}f}"


def elapsed(order: DemoOrder, wide: bool) -> Text:
    """Write an order's time, pale while it goes on."""
    return Text(f"{order.elapsed:.1f}{' ' if wide else ''}s", "" if order.ended_at else "bright_black")


def failure(order: DemoOrder) -> Text:
    """Write why an order failed."""
    return Text.assemble(("✗ ", "red"), (f"{order.order_id[:8]} ", "bright_black"), order.error)

"""``make demo``: five market orders at once, on one WebSocket, and every step of theirs as it happens."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median
from typing import Any
from uuid import uuid4

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from chalicelib.config import SettingsError, load_settings
from infra.local.settings_file import read_settings_file

STEPS = ("pending", "routing", "building", "submitted", "confirmed")
VENUES = ("raydium", "meteora")
PATIENCE_SECONDS = 60
FRAMES_PER_SECOND = 12
SPINNER = "◐◓◑◒"
WIDE = 100
"""Columns from which on a step is named beside its dots."""
WIDTH_OF_A_FILE = 100
EXIT_FAILED, EXIT_BAD_SETTINGS, EXIT_INTERRUPTED = 1, 2, 130


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


@dataclass
class WatchedOrder:
    """One order of the demo and what has been heard of it."""

    side: str
    amount: str
    token_in: str
    token_out: str
    client_order_id: str = field(default_factory=lambda: f"demo-{uuid4()}")
    order_id: str = ""
    status: str = ""
    steps_done: int = 0
    net_prices: dict[str, Decimal] = field(default_factory=dict)
    chosen: str = ""
    executed_price: Decimal | None = None
    retries: int = 0
    error: str = ""
    sent_at: float = 0.0
    ended_at: float | None = None

    def message(self) -> str:
        """Return what submits it on a WebSocket."""
        order = {
            "userId": "demo",
            "orderType": "market",
            "side": self.side,
            "tokenIn": self.token_in,
            "tokenOut": self.token_out,
            "amount": self.amount,
            "clientOrderId": self.client_order_id,
        }
        return json.dumps({"action": "execute", **order})

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        self.order_id, self.status = event["orderId"], event["status"]
        if self.status in STEPS:
            self.steps_done = STEPS.index(self.status) + 1
        details = event["details"]
        match event["event"]:
            case "routing":
                self.net_prices = {venue: quote["netPrice"] for venue, quote in details["quotes"].items()}
                self.chosen = details["chosen"]
            case "retrying":
                self.retries += 1
                self.net_prices, self.chosen = {}, ""
            case "confirmed":
                self.executed_price = event["executedPrice"]
                self.ended_at = time.monotonic()
            case "failed":
                self.error = event["error"]
                self.ended_at = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since it was sent, until it ended."""
        return (self.ended_at or time.monotonic()) - self.sent_at if self.sent_at else 0.0

    @property
    def basis_points(self) -> Decimal | None:
        """How far the executed price lies above the quoted net price, in 1/100 of a percent."""
        if self.executed_price is None or self.chosen not in self.net_prices:
            return None
        return (self.executed_price / self.net_prices[self.chosen] - 1) * 10_000

    @property
    def is_better_than_quoted(self) -> bool:
        """Whether its owner got more, or paid less, than was quoted."""
        difference = self.basis_points or Decimal(0)
        return difference > 0 if self.side == "sell" else difference < 0


def five_orders() -> list[WatchedOrder]:
    """Return orders that differ in pair, side and size."""
    return [
        WatchedOrder("sell", "1.5", "SOL", "USDC"),
        WatchedOrder("buy", "0.8", "SOL", "USDC"),
        WatchedOrder("sell", "400", "RAY", "USDC"),
        WatchedOrder("buy", "250", "JUP", "SOL"),
        WatchedOrder("sell", "50", "USDC", "BONK"),
    ]


async def show(console: Console, websocket_url: str, orders: Sequence[WatchedOrder]) -> None:
    """Submit all orders on one connection and draw what is heard of them until each has ended.

    Raises:
        DemoError: nobody answers, somebody else does, or the engine falls silent.
    """
    try:
        async with connect(websocket_url, proxy=None) as socket:
            screen = Screen(console, websocket_url, orders)
            try:
                with Live(screen, console=console, refresh_per_second=FRAMES_PER_SECOND, transient=True):
                    await _submit(socket, orders)
                    await _listen(socket, orders)
            finally:
                # Where stdout is no terminal, this is all that is seen.
                console.print(screen)
    except ConnectionRefusedError as refused:
        raise DemoError(f"Nothing answers at {websocket_url}: run `make run` first, in another terminal.") from refused
    except (InvalidHandshake, InvalidMessage) as strange:
        raise DemoError(f"What answers at {websocket_url} is not a running engine: {strange}.") from strange
    except ConnectionClosed as closed:
        raise DemoError(f"The engine closed the connection: {closed}.") from closed
    except TimeoutError as silent:
        raise DemoError(f"The engine said nothing for {PATIENCE_SECONDS} s; its logs are in .local/logs.") from silent
    except OSError as unreachable:
        raise DemoError(f"{websocket_url} cannot be reached: {unreachable.strerror or unreachable}.") from unreachable


async def _submit(socket: ClientConnection, orders: Sequence[WatchedOrder]) -> None:
    for order in orders:
        await socket.send(order.message())
        order.sent_at = time.monotonic()


async def _listen(socket: ClientConnection, orders: Sequence[WatchedOrder]) -> None:
    by_client_order_id = {order.client_order_id: order for order in orders}
    known: dict[str, WatchedOrder] = {}
    while any(order.ended_at is None for order in orders):
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = json.loads(await socket.recv(), parse_float=Decimal, parse_int=Decimal)
        if message["event"] == "error":
            raise DemoError(f"The engine refused an order: {message['error']['detail']}")
        if message["event"] == "pending":
            known[message["orderId"]] = by_client_order_id[message["details"]["clientOrderId"]]
        known[message["orderId"]].hear(message)


class Screen:
    """Draws the orders; rich asks for a new picture with each frame."""

    def __init__(self, console: Console, websocket_url: str, orders: Sequence[WatchedOrder]) -> None:
        self._wide = console.width >= WIDE
        self._difference_name = "vs quote" if self._wide else "bp"
        self._websocket_url = websocket_url
        self._orders = orders

    def __rich__(self) -> Group:
        heading = Text.assemble(
            ("Five market orders", "bold"), (f"  on one WebSocket, {self._websocket_url}", "bright_black")
        )
        failures = [_failure(order) for order in self._orders if order.error]
        legend = Text(
            f"✓ better net price, after fee and price impact · {self._difference_name}: executed against it",
            "bright_black",
        )
        return Group("", heading, "", self._table(), "", *failures, _summary(self._orders), legend, "")

    def _table(self) -> Table:
        # Every column has its width from the beginning, so that nothing moves while numbers come in.
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bright_black")
        table.add_column("order", width=9 if self._wide else 8, style="bright_black")
        table.add_column("swap", width=20 if self._wide else 19)
        table.add_column("progress" if self._wide else "steps", width=22 if self._wide else 7)
        for venue in VENUES:
            table.add_column(venue, width=8, justify="right")
            table.add_column(width=1)
        table.add_column("executed", width=8, justify="right")
        table.add_column(self._difference_name, width=8 if self._wide else 6, justify="right")
        table.add_column("time", width=6 if self._wide else 5, justify="right")
        for order in self._orders:
            table.add_row(
                order.order_id[:8] or "…",
                _swap(order),
                _progress(order, self._wide),
                *(cell for venue in VENUES for cell in _net_price(order, venue)),
                Text(_price(order.executed_price), "bold"),
                _difference(order, " bp" if self._wide else ""),
                Text(f"{order.elapsed:.1f}{' ' if self._wide else ''}s", "" if order.ended_at else "bright_black"),
            )
        return table


def _swap(order: WatchedOrder) -> Text:
    """Write ``sell 1.5 SOL → USDC`` or ``buy 0.8 SOL ← USDC``."""
    return Text.assemble(
        (f"{order.side} ", "bright_black"),
        f"{order.amount} {order.token_in}",
        (" → " if order.side == "sell" else " ← ", "bright_black"),
        order.token_out,
    )


def _progress(order: WatchedOrder, wide: bool) -> Text:
    """Draw ``●━●━●━◐─○ building ↻1`` (so far, and retries); a narrow screen gets the dots alone."""
    color = {"confirmed": "green", "failed": "red"}.get(order.status, "cyan")
    spinner = SPINNER[int(time.monotonic() * FRAMES_PER_SECOND / 2) % len(SPINNER)]
    picture = Text()
    for index in range(len(STEPS)):
        if wide and index:
            picture.append(*("━", color) if index < order.steps_done else ("─", "bright_black"))
        if index < order.steps_done:
            picture.append("●", color)
        elif index == order.steps_done and order.sent_at:
            picture.append("✗" if order.status == "failed" else spinner, color)
        else:
            picture.append("○", "bright_black")
    if wide:
        picture.append(f" {order.status}", color)
    if order.retries:
        picture.append(f"{' ' if wide else ''}↻{order.retries}", "yellow")
    return picture


def _net_price(order: WatchedOrder, venue: str) -> tuple[Text, Text]:
    """Write what a venue quoted, and the mark of the chosen one."""
    if venue not in order.net_prices:
        # Where the other venue has quoted, this one gave none.
        return Text("none" if order.net_prices else "", "bright_black"), Text()
    price = _price(order.net_prices[venue])
    if venue == order.chosen:
        return Text(price, "green"), Text("✓", "green")
    return Text(price, "bright_black"), Text()


def _difference(order: WatchedOrder, unit: str) -> Text:
    difference = order.basis_points
    if difference is None:
        return Text("")
    sign = "−" if difference < 0 else "+"
    return Text(f"{sign}{abs(difference):.1f}{unit}", "green" if order.is_better_than_quoted else "yellow")


def _failure(order: WatchedOrder) -> Text:
    return Text.assemble(("✗ ", "red"), (f"{order.order_id[:8]} ", "bright_black"), order.error)


def _summary(orders: Sequence[WatchedOrder]) -> Text:
    confirmed = sum(order.status == "confirmed" for order in orders)
    parts = [f"{confirmed} of {len(orders)} confirmed"]
    if all(order.ended_at is not None for order in orders):
        retries = sum(order.retries for order in orders)
        parts.append(f"{max(order.elapsed for order in orders):.1f} s in all")
        parts.append(f"{retries} {'retry' if retries == 1 else 'retries'}")
        differences = [abs(order.basis_points) for order in orders if order.basis_points is not None]
        if differences:
            parts.append(f"median {median(differences):.1f} bp from the quote")
    return Text(" · ".join(parts), "bold")


def _price(price: Decimal | None) -> str:
    """Write a price in at most eight characters: five significant digits, four below one."""
    if price is None:
        return ""
    digits = 5 if price >= 1 else 4
    return f"{price:,.{max(digits - 1 - price.adjusted(), 0)}f}"


def main() -> int:
    """Run the demo; returns the exit code: 0 when every order was confirmed."""
    try:
        port = load_settings({**os.environ, **read_settings_file()}).port
    except SettingsError as error:
        print(f"These settings cannot be used:\n{error}", file=sys.stderr)
        return EXIT_BAD_SETTINGS
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_OF_A_FILE
    websocket_url, orders = f"ws://localhost:{port}/ws", five_orders()
    try:
        asyncio.run(show(console, websocket_url, orders))
    except DemoError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0 if all(order.status == "confirmed" for order in orders) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())

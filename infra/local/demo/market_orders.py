"""Scene one: five market orders at once, on one WebSocket, and every step of theirs as it happens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from infra.local.demo.drawing import WIDE, elapsed, failure, heading, price, shown_live, spinner, swap
from infra.local.demo.engine import LocalEngine
from infra.local.demo.order import DemoOrder
from oee import OrderEvent

STEPS = ("pending", "routing", "building", "submitted", "confirmed")


@dataclass(kw_only=True)
class MarketOrder(DemoOrder):
    """A market order, and what the venues quoted for it."""

    order_type: str = "market"
    steps_done: int = 0
    net_prices: dict[str, Decimal] = field(default_factory=dict)
    chosen: str = ""

    def hear(self, event: OrderEvent) -> None:
        """Take in one event."""
        super().hear(event)
        if self.status in STEPS:
            self.steps_done = STEPS.index(self.status) + 1
        match event.event:
            case "routing":
                self.net_prices = {venue: quote.net_price for venue, quote in event.quotes.items()}
                self.chosen = event.chosen or ""
            case "retrying":
                self.net_prices, self.chosen = {}, ""

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


def five_orders() -> list[MarketOrder]:
    """Return orders that differ in pair, side and size."""
    return [
        MarketOrder(side="sell", amount="1.5", token_in="SOL", token_out="USDC"),
        MarketOrder(side="buy", amount="0.8", token_in="SOL", token_out="USDC"),
        MarketOrder(side="sell", amount="400", token_in="RAY", token_out="USDC"),
        MarketOrder(side="buy", amount="250", token_in="JUP", token_out="SOL"),
        MarketOrder(side="sell", amount="50", token_in="USDC", token_out="BONK"),
    ]


async def show(console: Console, engine: LocalEngine) -> bool:
    """Submit all orders at once and draw what is heard of them; returns whether each was confirmed.

    Raises:
        OrderEngineError: nobody answers, somebody else does, an order is refused, or the engine falls silent.
    """
    orders = five_orders()
    async with engine.connection() as connection:
        venues = await connection.venues(orders[0])
        with shown_live(console, Screen(console, connection.websocket_url, venues, orders)):
            await connection.submit(orders)
            await connection.listen(orders, until=lambda: all(order.ended_at is not None for order in orders))
    return all(order.status == "confirmed" for order in orders)


class Screen:
    """Draws the orders; rich asks for a new picture with each frame."""

    def __init__(
        self, console: Console, websocket_url: str, venues: Sequence[str], orders: Sequence[MarketOrder]
    ) -> None:
        self._wide = console.width >= WIDE
        self._difference_name = "vs quote" if self._wide else "bp"
        self._websocket_url = websocket_url
        self._venues = venues
        self._orders = orders

    def __rich__(self) -> Group:
        title = heading("Five market orders", self._websocket_url)
        failures = [failure(order) for order in self._orders if order.error]
        legend = Text(
            f"✓ better net price, after fee and price impact · {self._difference_name}: executed against it",
            "bright_black",
        )
        return Group("", title, "", self._table(), "", *failures, _summary(self._orders), legend, "")

    def _table(self) -> Table:
        # Every column has its width from the beginning, so that nothing moves while numbers come in.
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bright_black")
        table.add_column("order", width=9 if self._wide else 8, style="bright_black")
        table.add_column("swap", width=20 if self._wide else 19)
        table.add_column("progress" if self._wide else "steps", width=22 if self._wide else 7)
        if self._room_for_all:
            for venue in self._venues:
                table.add_column(venue, width=8, justify="right")
                table.add_column(width=1)
        else:
            table.add_column("best", width=8, justify="right")
            table.add_column(f"of {len(self._venues)}", width=12)
        table.add_column("executed", width=8, justify="right")
        table.add_column(self._difference_name, width=8 if self._wide else 6, justify="right")
        table.add_column("time", width=6 if self._wide else 5, justify="right")
        for order in self._orders:
            table.add_row(
                order.order_id[:8] or "…",
                swap(order),
                _progress(order, self._wide),
                *self._quotes(order),
                Text(price(order.executed_price), "bold"),
                _difference(order, " bp" if self._wide else ""),
                elapsed(order, self._wide),
            )
        return table

    @property
    def _room_for_all(self) -> bool:
        return len(self._venues) <= 2

    def _quotes(self, order: MarketOrder) -> tuple[Text, ...]:
        """Write what every venue quoted, or the best quote alone where there are too many venues."""
        if self._room_for_all:
            return tuple(cell for venue in self._venues for cell in _net_price(order, venue))
        return Text(price(order.net_prices.get(order.chosen)), "green"), Text(order.chosen, "green")


def _progress(order: MarketOrder, wide: bool) -> Text:
    """Draw ``●━●━●━◐─○ building ↻1`` (so far, and retries); a narrow screen gets the dots alone."""
    color = {"confirmed": "green", "failed": "red"}.get(order.status, "cyan")
    picture = Text()
    for index in range(len(STEPS)):
        if wide and index:
            picture.append(*("━", color) if index < order.steps_done else ("─", "bright_black"))
        if index < order.steps_done:
            picture.append("●", color)
        elif index == order.steps_done and order.sent_at is not None:
            picture.append("✗" if order.status == "failed" else spinner(), color)
        else:
            picture.append("○", "bright_black")
    if wide:
        picture.append(f" {order.status}", color)
    if order.retries:
        picture.append(f"{' ' if wide else ''}↻{order.retries}", "yellow")
    return picture


def _net_price(order: MarketOrder, venue: str) -> tuple[Text, Text]:
    """Write what a venue quoted, and the mark of the chosen one."""
    if venue not in order.net_prices:
        # Where another venue has quoted, this one gave none.
        return Text("none" if order.net_prices else "", "bright_black"), Text()
    quoted = price(order.net_prices[venue])
    if venue == order.chosen:
        return Text(quoted, "green"), Text("✓", "green")
    return Text(quoted, "bright_black"), Text()


def _difference(order: MarketOrder, unit: str) -> Text:
    difference = order.basis_points
    if difference is None:
        return Text("")
    sign = "−" if difference < 0 else "+"
    return Text(f"{sign}{abs(difference):.1f}{unit}", "green" if order.is_better_than_quoted else "yellow")


def _summary(orders: Sequence[MarketOrder]) -> Text:
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

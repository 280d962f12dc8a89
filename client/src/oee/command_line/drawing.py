"""What is shown to a person: tables, an order's steps as they fill in, and the same line by line into a pipe.

Whatever the engine says is written as text: no markup of rich, and no control character, comes out of it.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from oee.answers import Accepted, Order, OrderEvent, Quotes, VenueQuote
from oee.command_line.story import OrderStory, swap_of, written

WIDTH_OF_A_PIPE = 1000
"""Columns where nobody looks at the end of a line: nothing is cut or broken."""
WIDTH_OF_ORDERS = 120
"""Columns that a table of orders takes, long numbers included."""
FRAMES_PER_SECOND = 10
SPINNER = "◐◓◑◒"
PALE = "bright_black"
ENDS = {
    "confirmed": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("◌", "magenta"),
    "expired": ("◌", "magenta"),
}
ON_THE_WAY = ("●", "cyan")
STOPS = {"waiting": ("◔", "yellow"), "retrying": ("↻", "yellow")}


def open_console() -> Console:
    """Open stdout; into a pipe or a file lines are as long as they are, unless ``COLUMNS`` says otherwise."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_OF_A_PIPE
    return console


def printable(text: object) -> str:
    """Return a text of the engine's without what could steer a terminal."""
    return "".join(character if character.isprintable() else "�" for character in str(text))


def accepted(order: Accepted) -> Group:
    """Show an order that was placed, and how to go on."""
    return Group(
        Text.assemble(("✓ ", "green"), "order ", (printable(order.order_id), "bold"), f" {printable(order.status)}"),
        Text(f"  oee watch {printable(order.order_id)}", PALE),
    )


def cancelled(order: Order) -> Text:
    """Show an order that was cancelled."""
    mark, color = ENDS.get(order.status, ON_THE_WAY)
    return Text.assemble((f"{mark} ", color), "order ", (order.order_id, "bold"), f" {printable(order.status)}")


def quotes(answer: Quotes) -> Group:
    """Show what every venue quotes, the chosen one marked."""
    verb = "receives" if answer.side == "sell" else "pays"
    table = _table("venue", "net price", "price", "fee", f"{verb} {printable(answer.token_out)}", "")
    for column in table.columns[1:5]:
        column.justify = "right"
    for venue, quote in answer.quotes.items():
        is_chosen = venue == answer.chosen
        table.add_row(
            printable(venue),
            written(quote.net_price),
            written(quote.price),
            written(quote.fee),
            "" if quote.amount_out is None else written(quote.amount_out),
            Text("✓ chosen", "green") if is_chosen else "",
            style="bold" if is_chosen else None,
        )
    for venue, why in answer.errors.items():
        table.add_row(printable(venue), Text(printable(why), PALE))
    swap = swap_of(answer.side, answer.amount, answer.token_in, answer.token_out)
    return Group(Text(printable(swap), "bold"), table)


def orders(found: Iterable[Order], width: int) -> Table | Group:
    """Show orders, one a line, or two where the lines are too short for a table."""
    rows = [(order, *_row(order)) for order in found]
    if width < WIDTH_OF_ORDERS:
        return Group(*(line for row in rows for line in _lines(*row)))
    table = _table("order", "placed", "type", "swap", "status", "executed at")
    table.columns[5].justify = "right"
    for order, status, *told in rows:
        executed_at = "" if order.executed_price is None else written(order.executed_price)
        table.add_row(printable(order.order_id), *told, status, executed_at)
    return table


def _row(order: Order) -> tuple[Text, str, str, str]:
    mark, color = ENDS.get(order.status, ON_THE_WAY)
    return (
        Text(f"{mark} {printable('waiting' if order.waits_for else order.status)}", color),
        f"{order.created_at.astimezone():%m-%d %H:%M:%S}",
        printable(order.order_type),
        printable(swap_of(order.side, order.amount_in, order.token_in, order.token_out)),
    )


def _lines(order: Order, status: Text, *told: str) -> Iterator[Text]:
    yield Text.assemble((printable(order.order_id), "bold"), "  ", status)
    executed_at = [] if order.executed_price is None else [f"at {written(order.executed_price)}"]
    yield Text("  " + " · ".join([*told, *executed_at]))


class Watching:
    """Shows stories while they go on: in place at a terminal, line by line elsewhere."""

    def __init__(self, console: Console, stories: Sequence[OrderStory]) -> None:
        self._console = console
        self._stories = stories

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the stories anew with each frame, and leave the last picture behind."""
        if not self._console.is_terminal:
            yield
            return
        try:
            with Live(self, console=self._console, refresh_per_second=FRAMES_PER_SECOND, transient=True):
                yield
        finally:
            self._console.print(self)

    def tell(self, story: OrderStory, event: OrderEvent) -> None:
        """Write an event where there is no picture."""
        if not self._console.is_terminal:
            line = _happened(story, event)
            if event.event == "pending":
                line.append(printable(story.title))
            self._console.print(Text(story.order_id[:8]), line, sep="", soft_wrap=True)

    def __rich__(self) -> Group:
        return Group(*(line for story in self._stories for line in (*_picture(story), Text())))


def _picture(story: OrderStory) -> Iterator[Text]:
    yield Text.assemble((printable(story.title or "…"), "bold"), (f"  {story.order_id}", PALE))
    for event in story.events:
        yield _happened(story, event)
    for index, step in enumerate(story.steps_ahead):
        is_next = index == 0 and (not story.events or story.events[-1].event not in STOPS)
        mark = SPINNER[int(time.monotonic() * FRAMES_PER_SECOND / 2) % len(SPINNER)] if is_next else "○"
        yield Text(f"  {mark} {step}", "cyan" if is_next else PALE)


def _happened(story: OrderStory, event: OrderEvent) -> Text:
    """Write ``● routing      0.4 s  raydium 148.1 · meteora 148.3 ✓``."""
    mark, color = ENDS.get(event.event) or STOPS.get(event.event) or ON_THE_WAY
    line = Text.assemble(
        (f"  {mark} {printable(event.event):<10}", color), (f"{story.seconds_until(event):6.1f} s  ", PALE)
    )
    parts = [Text(printable(part)) for part in story.told(event) if part]
    if event.quotes:
        parts = [_quoted(venue, quote, venue == event.chosen) for venue, quote in event.quotes.items()]
    if event.is_last and story.basis_points is not None:
        parts.insert(1, _difference(story))
    for index, part in enumerate(parts):
        line.append(" · " if index else "", PALE).append_text(part)
    return line


def _quoted(venue: str, quote: VenueQuote, is_chosen: bool) -> Text:
    text = Text(f"{printable(venue)} {written(quote.net_price)}", "bold green" if is_chosen else PALE)
    return text.append(" ✓", "green") if is_chosen else text


def _difference(story: OrderStory) -> Text:
    points = story.basis_points or 0
    sign = "−" if points < 0 else "+"
    return Text(f"{sign}{abs(points):.1f} bp against the quote", "green" if story.is_better_than_quoted else "yellow")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=PALE)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

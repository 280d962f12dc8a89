import asyncio
import io
import re
from contextlib import suppress
from decimal import Decimal
from xml.etree import ElementTree

import pytest
from rich.console import Console

from infra.cloud import Target
from infra.local.demo.drawing import open_console
from infra.local.demo.engine import DemoError
from infra.local.demo.market_orders import Screen as MarketScreen
from infra.local.demo.market_orders import five_orders
from infra.local.demo.picture import save_picture
from infra.local.demo.waiting_cast import five_waiting_orders
from infra.local.demo.waiting_orders import Scene
from infra.local.demo.waiting_screen import WaitingScreen
from oee import OrderEvent
from tests.builders import NOON

URL = "ws://localhost:3000/ws"


class PretendEngine:
    """A connection to an engine on which orders wait at once, and end at once when they should."""

    url = "http://localhost:3000"
    target = Target(stage="local", endpoint_url="http://127.0.0.1:4566")

    def __init__(self):
        self.fails_at = None
        self.sees_prices = True
        self.prices = {}
        self.waiting = {}
        self.ids = {}
        self.placed = asyncio.Event()
        self.takes_more = asyncio.Event()
        self.takes_more.set()
        self._heard = {}
        self._events = asyncio.Queue()

    async def submit(self, orders):
        for order in orders:
            order.mark_sent()
            new_order = order.new_order()
            if new_order.client_order_id not in self.ids:
                order_id = f"{len(self.ids):08}-0000"
                self.ids[new_order.client_order_id] = order_id
                self.waiting[order_id] = new_order
                self._say(order_id, "pending", "pending")
                self._say(order_id, "waiting", "pending")
                self.placed.set()
                await self.takes_more.wait()
            order.order_id = self.ids[new_order.client_order_id]

    async def listen(self, orders, until):
        while not until():
            event = await self._events.get()
            for order in orders:
                if order.order_id == event.order_id:
                    order.hear(event)

    async def net_price(self, order):
        return Decimal(self.prices.get(order.pair, "150")) if self.sees_prices else Decimal(150)

    async def set_price(self, pair, base_price):
        self._fail("set_price")
        self.prices[pair] = base_price
        for order_id, order in list(self.waiting.items()):
            below = getattr(order, "limit_price" if order.side == "buy" else "trigger_price", None)
            if below is not None and pair == "SOL/USDC" and Decimal(base_price) < below:
                self._end(order_id, "confirmed")
            elif order.expires_at and base_price == "138":
                self._end(order_id, "expired")

    async def reset_price(self, pair):
        self._fail("reset_price")
        self.prices.pop(pair, None)

    async def announce_launch(self, pool, sniper):
        self._fail("announce_launch")
        self._end(sniper.order_id, "confirmed")

    async def cancel(self, order):
        in_time = order.order_id in self.waiting
        if in_time:
            self._end(order.order_id, "cancelled")
        return in_time

    def _fail(self, where):
        if self.fails_at is not None and where in self.fails_at:
            raise DemoError(f"{where} failed")

    def _end(self, order_id, status):
        del self.waiting[order_id]
        self._say(order_id, status, status)

    def _say(self, order_id, event, status):
        seq = self._heard[order_id] = self._heard.get(order_id, 0) + 1
        self._events.put_nowait(
            OrderEvent(order_id=order_id, event=event, status=status, seq=seq, timestamp=NOON, details={})
        )


def scene_on(engine):
    return Scene(engine=engine, cast=five_waiting_orders(), reading_seconds=0)


def test_each_order_of_the_waiting_scene_ends_as_it_should():
    async def play():
        engine = PretendEngine()
        scene = scene_on(engine)
        await scene.play()
        assert [order.status for order in scene.cast.orders] == [
            *("confirmed", "confirmed", "expired", "confirmed", "cancelled"),
        ]
        assert all(order.ended_as_meant for order in scene.cast.orders)
        assert (engine.waiting, engine.prices) == ({}, {})

    asyncio.run(play())


def test_a_waiting_scene_that_breaks_off_leaves_no_order_and_no_price_behind():
    async def play():
        engine = PretendEngine()
        engine.fails_at = ("announce_launch",)
        scene = scene_on(engine)
        with pytest.raises(DemoError, match="announce_launch failed"):
            await scene.play()
        assert (engine.waiting, engine.prices) == ({}, {})
        assert scene.cast.sniper.status == "cancelled"

    asyncio.run(play())


def test_an_interrupted_waiting_scene_leaves_no_order_and_no_price_behind():
    async def play():
        engine = PretendEngine()
        engine.takes_more.clear()
        scene = scene_on(engine)
        playing = asyncio.create_task(scene.play())
        await engine.placed.wait()
        playing.cancel()
        with suppress(asyncio.CancelledError):
            await playing
        assert playing.cancelled()
        assert (engine.waiting, engine.prices) == ({}, {})

    asyncio.run(play())


def test_what_went_wrong_first_is_told_even_if_the_market_cannot_be_reset_then():
    async def play():
        engine = PretendEngine()
        engine.fails_at = ("announce_launch", "reset_price")
        with pytest.raises(DemoError, match="announce_launch failed"):
            await scene_on(engine).play()

    asyncio.run(play())


def test_a_market_that_cannot_be_reset_is_an_error_though_all_else_went_well():
    async def play():
        engine = PretendEngine()
        engine.fails_at = ("reset_price",)
        with pytest.raises(DemoError, match="reset_price failed"):
            await scene_on(engine).play()

    asyncio.run(play())


def test_a_price_that_is_set_on_another_stack_than_the_one_shown_is_noticed():
    async def play():
        engine = PretendEngine()
        engine.sees_prices = False
        with pytest.raises(DemoError, match=r"SOL/USDC was set to 138 .* quotes 150\. Are these two stacks\?"):
            await scene_on(engine).play()

    asyncio.run(play())


@pytest.mark.parametrize("width", [80, 140])
def test_the_waiting_scene_fits_on_a_terminal_without_breaking_a_line(width):
    async def play():
        scene = scene_on(PretendEngine())
        await scene.play()
        for order in scene.cast.orders:
            order.executed_price = order.market_price = Decimal("1234.5678")
            order.stage, order.status, order.retries, order.ended_at = "submitted", "submitted", 2, None
        return scene

    scene = asyncio.run(play())
    printed = io.StringIO()
    console = Console(file=printed, width=width, highlight=False)
    console.print(WaitingScreen(console, URL, scene.cast.orders, scene.story))

    lines = printed.getvalue().splitlines()
    assert len(lines) == 4 + len(scene.cast.orders) + 1 + len(scene.story) + 3
    assert len(lines) < 24
    assert len([line for line in lines if "submitted ↻2" in line and "1,234.6" in line]) == 5
    assert all(any(moment.what in line for line in lines) for moment in scene.story)


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("venues", [("raydium", "meteora"), ("raydium", "meteora", "orca")])
def test_the_market_scene_fits_on_a_terminal_however_many_venues_there_are(width, venues):
    orders = five_orders()
    for order in orders:
        order.status, order.retries, order.executed_price, order.steps_done = "submitted", 2, Decimal("1234.5678"), 4
        order.net_prices, order.chosen = dict.fromkeys(venues, Decimal("1234.5678")), venues[-1]
    printed = io.StringIO()
    console = Console(file=printed, width=width, highlight=False)
    console.print(MarketScreen(console, URL, venues, orders))

    lines = printed.getvalue().splitlines()
    chosen = "1,234.6 ✓" if len(venues) == 2 else f"1,234.6 {venues[-1]}"
    assert len([line for line in lines if chosen in line and "↻2" in line]) == len(orders)
    assert all(len(line.rstrip()) <= width for line in lines)


def test_a_picture_of_the_demo_shows_what_was_printed_and_loads_nothing(tmp_path):
    console = open_console(record=True)
    console.print(MarketScreen(console, URL, ("raydium", "meteora"), five_orders()))
    save_picture(console, tmp_path / "demo.svg")

    picture = ElementTree.fromstring((tmp_path / "demo.svg").read_text())
    assert "Five\N{NO-BREAK SPACE}market\N{NO-BREAK SPACE}orders" in "".join(picture.itertext())
    assert not re.search(r"url\((?!#)|@import|href=", (tmp_path / "demo.svg").read_text())

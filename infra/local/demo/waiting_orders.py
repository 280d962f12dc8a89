"""Scene two: orders that wait for a price, a time or a launch, while the market is steered.

It sets the base prices of SOL/USDC and WIF/USDC. However it ends, both get back the prices that they started with,
and what still waits is cancelled.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

from rich.console import Console

from infra.local.demo.drawing import shown_live
from infra.local.demo.engine import Connection, DemoError, LocalEngine
from infra.local.demo.waiting_cast import (
    BASE,
    FALLEN,
    FAR_BELOW,
    GOOD_FOR_SECONDS,
    LAUNCH_PRICE,
    LIMIT_ABOVE,
    LIMIT_BELOW,
    STOP_BELOW,
    Cast,
    WaitingOrder,
    five_waiting_orders,
)
from infra.local.demo.waiting_screen import Moment, WaitingScreen
from oee import OrderEngineError

SOL, WIF = "SOL/USDC", "WIF/USDC"
FARTHEST_FROM_BASE = Decimal("0.04")
"""As a fraction: a quote farther away than this was not made from the base price that was set."""
LOOKS_AT_A_NEW_PRICE = 10
READING_SECONDS = 2.0
"""How long the audience gets to read the book before the market moves."""
SECONDS_BETWEEN_PRICES = 0.5
LAST_WORDS_SECONDS = 2.0


async def show(console: Console, engine: LocalEngine) -> bool:
    """Play the scene and draw it; returns whether each order ended as it was meant to.

    Raises:
        OrderEngineError: nobody answers, the market cannot be steered, or the engine falls silent.
    """
    async with engine.connection() as connection:
        # Before there is a picture: where nobody answers or the market cannot be steered, one line says so.
        await connection.client.health()
        await connection.reset_price(WIF)
        scene = Scene(engine=connection, cast=five_waiting_orders())
        with shown_live(console, WaitingScreen(console, connection.websocket_url, scene.cast.orders, scene.story)):
            await scene.play()
    return all(order.ended_as_meant for order in scene.cast.orders)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Plays the scene; ``story`` is what has happened so far."""

    engine: Connection
    cast: Cast
    reading_seconds: float = READING_SECONDS
    story: list[Moment] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)

    async def play(self) -> None:
        """Play it from beginning to end, and leave nothing behind however it ends."""
        prices = asyncio.create_task(self._follow_prices())
        try:
            await self._play()
        except BaseException:
            self._tell("It breaks off: what still waits is cancelled, the market is reset.")
            # What went wrong first says more than what goes wrong because of it.
            with suppress(OrderEngineError):
                await self._leave_nothing_behind()
            raise
        else:
            await self._leave_nothing_behind()
        finally:
            prices.cancel()

    async def _play(self) -> None:
        cast = self.cast
        self._tell(f"SOL costs about {BASE} USDC, WIF has no pool. Five orders are placed.")
        await self._steer(SOL, BASE, cast.limit_below)
        cast.good_till_date.expire_after(GOOD_FOR_SECONDS, datetime.now(UTC))
        await self.engine.submit(cast.orders)
        await self._listen(lambda: all(order.has_waited or order.ended_at for order in cast.orders))
        waiting = sum(order.ended_at is None for order in cast.orders)
        self._tell(f"{waiting} of {len(cast.orders)} wait in Postgres; no worker and no queue holds them.")
        await asyncio.sleep(self.reading_seconds)

        self._tell(f"SOL falls to {FALLEN}: the buy at {LIMIT_BELOW} and the stop at {STOP_BELOW} wake.")
        await self._steer(SOL, FALLEN, cast.limit_below)
        await self._until_ended(cast.limit_below, cast.stop)

        self._tell(f"The buy at {FAR_BELOW} was good for {GOOD_FOR_SECONDS} s: its time runs out.")
        await self._until_ended(cast.good_till_date)

        self._tell(f"WIF launches at {LAUNCH_PRICE} USDC: a signed webhook wakes the sniper.")
        await self._steer(WIF, LAUNCH_PRICE, cast.sniper)
        pool = f"demo-{uuid4()}"
        await self.engine.announce_launch(pool, cast.sniper)
        await self._until_ended(cast.sniper)

        self._tell(f"The sell at {LIMIT_ABOVE} would wait on: DELETE cancels it.")
        await self.engine.cancel(cast.limit_above)
        await self._until_ended(cast.limit_above)

    def _tell(self, what: str) -> None:
        self.story.append(Moment(time.monotonic() - self.began_at, what))

    async def _steer(self, pair: str, base_price: str, order: WaitingOrder) -> None:
        """Set a base price, and make sure that the engine at the front door sees it: there may be two stacks.

        Raises:
            DemoError: it sees another price.
        """
        await self.engine.set_price(pair, base_price)
        price = None
        for _ in range(LOOKS_AT_A_NEW_PRICE):
            price = await self.engine.net_price(order)
            if price is not None and abs(price / Decimal(base_price) - 1) <= FARTHEST_FROM_BASE:
                return
            await asyncio.sleep(0.2)
        raise DemoError(
            f"{pair} was set to {base_price} at {self.engine.target.place}, but {self.engine.url} quotes "
            f"{'nothing' if price is None else f'{price:f}'}. Are these two stacks? --endpoint-url says where the "
            "emulated AWS of the one at the front door is."
        )

    async def _listen(self, until: Callable[[], bool]) -> None:
        await self.engine.listen(self.cast.orders, until)

    async def _until_ended(self, *orders: WaitingOrder) -> None:
        await self._listen(lambda: all(order.ended_at is not None for order in orders))

    async def _follow_prices(self) -> None:
        """Note for each order, until it ends, what it would execute at now."""
        while True:
            alike: dict[tuple[str, str], list[WaitingOrder]] = {}
            for order in self.cast.orders:
                if order.ended_at is None:
                    alike.setdefault((order.pair, order.side), []).append(order)
            await asyncio.gather(*(self._note_price(orders) for orders in alike.values()))
            await asyncio.sleep(SECONDS_BETWEEN_PRICES)

    async def _note_price(self, orders: Sequence[WaitingOrder]) -> None:
        """Ask for the price of orders that share a pair, a side and an amount."""
        # That it is not answered for once is no reason to stop.
        with suppress(OrderEngineError):
            price = await self.engine.net_price(orders[0])
            for order in orders:
                if order.ended_at is None:
                    order.market_price = price

    async def _leave_nothing_behind(self) -> None:
        """Cancel what still waits and reset the market."""
        left = [order for order in self.cast.orders if order.sent_at is not None and order.ended_at is None]
        try:
            # Of an order that was just sent one does not know which id it has: placed again, it says so.
            await self.engine.submit([order for order in left if not order.order_id])
            cancelled = [order for order in left if await self.engine.cancel(order)]
            await self._hear_out(lambda: all(order.ended_at is not None for order in cancelled))
        finally:
            await self.engine.reset_price(SOL)
            await self.engine.reset_price(WIF)

    async def _hear_out(self, until: Callable[[], bool]) -> None:
        """Listen on for a moment, if the connection allows."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._listen(until)

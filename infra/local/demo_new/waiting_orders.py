"""Scene two: orders that wait for a price, a time or a launch, while the market is steered.

It sets the base prices of SOL/USDC and WIF/USDC. However it ends, both get back the prices that they started with,
and what still waits is cancelled.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from rich.console import Console
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from chalicelib.orders.launch import Launch
from infra.local.demo.drawing import shown_live
from infra.local.demo.engine import DemoError, LocalEngine, listen, submit
from infra.local.demo.order import DemoOrder
from infra.local.demo.waiting_screen import WaitingScreen

SOL, WIF = "SOL/USDC", "WIF/USDC"
# A venue's price is at most 3 % away from the base, so a fall of 8 % crosses what lies 5 % below, and nothing else does.
BASE, FALLEN, LIMIT_BELOW, LIMIT_ABOVE, STOP_BELOW, FAR_BELOW = "150", "138", "142.5", "157.5", "141", "120"
FARTHEST_FROM_BASE = Decimal("0.04")
LAUNCH_PRICE = "2.5"
GOOD_FOR_SECONDS = 11
READING_SECONDS = 2.0
"""How long the audience gets to read the book before the market moves."""
SECONDS_BETWEEN_PRICES = 0.5
LAST_WORDS_SECONDS = 2.0


@dataclass(kw_only=True)
class WaitingOrder(DemoOrder):
    """An order that waits, what for, and how it is meant to end."""

    waits_for: str
    meant_to_be: str
    good_until: float | None = None
    stage: str = ""
    has_waited: bool = False
    market_price: Decimal | None = None

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        super().hear(event)
        self.stage = event["event"]
        self.has_waited |= self.stage == "waiting"

    @property
    def ended_as_meant(self) -> bool:
        """Whether it ended as the scene wants it to."""
        return self.status == self.meant_to_be


@dataclass(frozen=True, kw_only=True)
class Cast:
    """The orders of the scene."""

    limit_below: WaitingOrder
    stop: WaitingOrder
    good_till_date: WaitingOrder
    sniper: WaitingOrder
    limit_above: WaitingOrder

    @property
    def orders(self) -> Sequence[WaitingOrder]:
        """All of them, in the order in which they end."""
        return self.limit_below, self.stop, self.good_till_date, self.sniper, self.limit_above


def waiting_cast(now: datetime) -> Cast:
    """Return the orders; ``now`` is when the good-till-date one begins to count."""
    sol = {"amount": "1.5", "token_in": "SOL", "token_out": "USDC"}
    expires_at = now + timedelta(seconds=GOOD_FOR_SECONDS)
    return Cast(
        limit_below=WaitingOrder(
            **sol,
            order_type="limit",
            side="buy",
            terms={"limitPrice": LIMIT_BELOW},
            waits_for=f"≤ {LIMIT_BELOW}",
            meant_to_be="confirmed",
        ),
        stop=WaitingOrder(
            **sol,
            order_type="stop",
            side="sell",
            terms={"triggerPrice": STOP_BELOW},
            waits_for=f"≤ {STOP_BELOW}",
            meant_to_be="confirmed",
        ),
        good_till_date=WaitingOrder(
            **sol,
            order_type="limit",
            side="buy",
            terms={"limitPrice": FAR_BELOW, "timeInForce": "GTD", "expiresAt": expires_at.isoformat()},
            waits_for=f"≤ {FAR_BELOW}",
            meant_to_be="expired",
            good_until=time.monotonic() + GOOD_FOR_SECONDS,
        ),
        sniper=WaitingOrder(
            amount="100",
            token_in="WIF",
            token_out="USDC",
            order_type="sniper",
            side="buy",
            waits_for="launch",
            meant_to_be="confirmed",
        ),
        limit_above=WaitingOrder(
            **sol,
            order_type="limit",
            side="sell",
            terms={"limitPrice": LIMIT_ABOVE},
            waits_for=f"≥ {LIMIT_ABOVE}",
            meant_to_be="cancelled",
        ),
    )


async def show(console: Console, engine: LocalEngine) -> bool:
    """Play the scene and draw it; returns whether each order ended as it was meant to.

    Raises:
        DemoError: nobody answers, the market cannot be steered, or the engine falls silent.
    """
    async with engine.connection() as socket:
        # Before the picture, so that a stack whose market cannot be steered is told of by one line.
        await engine.reset_price(WIF)
        scene = Scene(engine=engine, socket=socket, cast=waiting_cast(datetime.now(UTC)))
        with shown_live(console, WaitingScreen(console, engine.websocket_url, scene.cast.orders, scene.story)):
            await scene.play()
    return all(order.ended_as_meant for order in scene.cast.orders)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Plays the scene; ``story`` is what has happened so far, each with its second."""

    engine: LocalEngine
    socket: ClientConnection
    cast: Cast
    story: list[tuple[float, str]] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)

    async def play(self) -> None:
        """Play it from beginning to end, and leave nothing behind however it ends."""
        prices = asyncio.create_task(self._follow_prices())
        try:
            await self._play()
        except BaseException:
            self._tell("Interrupted: what still waits is cancelled, the market is reset.")
            # What went wrong first says more than what went wrong because of it.
            with suppress(DemoError):
                await self._leave_nothing_behind()
            raise
        else:
            await self._leave_nothing_behind()
        finally:
            prices.cancel()

    async def _play(self) -> None:
        cast = self.cast
        await self._steer(SOL, BASE, cast.limit_below)
        self._tell(f"SOL costs about {BASE} USDC, WIF has no pool; five orders are placed.")
        await submit(self.socket, cast.orders)
        await self._listen(lambda: all(order.has_waited or order.ended_at for order in cast.orders))
        self._tell("All five wait, in Postgres alone: no worker, no queue, no timer.")
        await asyncio.sleep(READING_SECONDS)

        self._tell(f"SOL falls to {FALLEN}: that wakes the limit buy at {LIMIT_BELOW} and the stop at {STOP_BELOW}.")
        await self._steer(SOL, FALLEN, cast.limit_below)
        await self._until_ended(cast.limit_below, cast.stop)

        await self._until_ended(cast.good_till_date)
        self._tell(f"The limit buy at {FAR_BELOW} was good for {GOOD_FOR_SECONDS} s: it has expired.")

        self._tell(f"WIF launches at {LAUNCH_PRICE} USDC: a signed webhook wakes the sniper.")
        await self._steer(WIF, LAUNCH_PRICE, cast.sniper)
        pool = f"demo-{uuid4()}"
        await self.engine.announce(Launch(pool=pool, token_in="WIF", token_out="USDC", venue="raydium"))
        await self._until_ended(cast.sniper)

        self._tell(f"The limit sell at {LIMIT_ABOVE} would wait on: DELETE cancels it.")
        await self.engine.cancel(cast.limit_above)
        await self._until_ended(cast.limit_above)

    def _tell(self, what: str) -> None:
        self.story.append((time.monotonic() - self.began_at, what))

    async def _steer(self, pair: str, base_price: str, order: WaitingOrder) -> None:
        """Set a base price, and make sure that the engine at the front door sees it: there may be two stacks."""
        await self.engine.set_price(pair, base_price)
        price = await self.engine.net_price(order)
        if price is not None and abs(price / Decimal(base_price) - 1) > FARTHEST_FROM_BASE:
            raise DemoError(
                f"{pair} was set to {base_price} at {self.engine.target.place}, but {self.engine.url} quotes "
                f"{price:f}: these are two stacks. --endpoint-url says where the AWS of the second one is."
            )

    async def _listen(self, until: Any) -> None:
        await listen(self.socket, self.cast.orders, until)

    async def _until_ended(self, *orders: WaitingOrder) -> None:
        await self._listen(lambda: all(order.ended_at is not None for order in orders))

    async def _follow_prices(self) -> None:
        """Note for each order, until it ends, what it would execute at now."""
        while True:
            open_orders = [order for order in self.cast.orders if order.ended_at is None]
            groups: dict[tuple[str, str], list[WaitingOrder]] = {}
            for order in open_orders:
                groups.setdefault((order.pair, order.side), []).append(order)
            await asyncio.gather(*(self._note_price(group) for group in groups.values()))
            await asyncio.sleep(SECONDS_BETWEEN_PRICES)

    async def _note_price(self, orders: Sequence[WaitingOrder]) -> None:
        # A price that is missing for once is no reason to stop.
        with suppress(DemoError):
            price = await self.engine.net_price(orders[0])
            for order in orders:
                if order.ended_at is None:
                    order.market_price = price

    async def _leave_nothing_behind(self) -> None:
        orders = [order for order in self.cast.orders if order.sent_at is not None and order.ended_at is None]
        try:
            # An order that was just sent has an id, and cannot be cancelled, only once the engine has said so.
            with suppress(TimeoutError, ConnectionClosed):
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await self._listen(lambda: all(order.order_id for order in orders))
            for order in orders:
                if order.order_id and order.ended_at is None:
                    await self.engine.cancel(order)
        finally:
            await self.engine.reset_price(SOL)
            await self.engine.reset_price(WIF)

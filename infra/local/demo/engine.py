"""The running engine as the demo speaks to it: by its Python client, and by its market, which no client can move."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.cloud import FunctionError, Target
from infra.local.demo.order import DemoOrder
from infra.market import call_market, request_of
from oee import AsyncClient, AsyncStream, Conflict, OrderEngineError, Quotes, Retries, Unavailable, Unprocessable

PATIENCE_SECONDS = 60
RETRIES = Retries(deadline=10, wait_for_start=False)
USER = "demo"


class DemoError(OrderEngineError):
    """The demo cannot go on; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class LocalEngine:
    """A stack on this machine: its front door, and the emulated AWS in which its market is steered.

    With a token, orders are its user's.
    """

    port: int
    target: Target
    launch_secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The front door."""
        return f"http://localhost:{self.port}"

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["Connection"]:
        """Open a client, and one WebSocket for all orders; what goes wrong with them is an OrderEngineError."""
        user_id = None if self.token else USER
        async with (
            AsyncClient(self.url, token=self.token, user_id=user_id, retries=RETRIES) as client,
            client.stream() as stream,
        ):
            yield Connection(client=client, stream=stream, target=self.target, launch_secret=self.launch_secret)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """What a scene does with the engine."""

    client: AsyncClient
    stream: AsyncStream
    target: Target
    launch_secret: str = field(repr=False)

    @property
    def url(self) -> str:
        """The front door."""
        return self.client.url

    @property
    def websocket_url(self) -> str:
        """The front door for WebSocket."""
        return self.client.websocket_url

    async def submit(self, orders: Sequence[DemoOrder]) -> None:
        """Place orders at once; one that was placed before, as far as one knows, is placed once all the same."""
        outcomes = await asyncio.gather(*(self._place(order) for order in orders), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _place(self, order: DemoOrder) -> None:
        # First: whoever is interrupted while sending must take it for sent.
        order.mark_sent()
        order.order_id = (await self.stream.submit(order.new_order())).order_id

    async def listen(self, orders: Sequence[DemoOrder], until: Callable[[], bool]) -> None:
        """Let the orders hear what the engine says of them until a condition holds.

        Raises:
            DemoError: the engine said nothing for a minute.
        """
        by_id = {order.order_id: order for order in orders}
        while not until():
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    event = await anext(self.stream)
            except TimeoutError as silent:
                raise DemoError(
                    f"The engine said nothing for {PATIENCE_SECONDS} s; its logs are in .local/logs."
                ) from silent
            by_id[event.order_id].hear(event)

    async def venues(self, order: DemoOrder) -> list[str]:
        """Return the names of all venues, those included that have no quote for ``order``."""
        quotes = await self._quotes(order)
        if quotes is None:
            raise DemoError(f"No venue has a quote for {order.pair}: is the market reset?")
        return [*quotes.quotes, *quotes.errors]

    async def net_price(self, order: DemoOrder) -> Decimal | None:
        """Return the best net price for an order now, or None when no venue gives one."""
        quotes = await self._quotes(order)
        return None if quotes is None else quotes.best.net_price

    async def _quotes(self, order: DemoOrder) -> Quotes | None:
        """Return what the router would choose for an order now, or None when no venue has a quote."""
        try:
            return await self.client.quote(order.token_in, order.token_out, order.amount, order.side)
        except (Unprocessable, Unavailable):
            return None

    async def cancel(self, order: DemoOrder) -> bool:
        """Cancel an order; returns whether that came in time."""
        try:
            await self.client.cancel(order.order_id)
        except Conflict:
            return False
        return True

    async def announce_launch(self, pool: str, order: DemoOrder) -> None:
        """Say, as a signed webhook does, that a pool of an order's pair went live."""
        await self.client.launch(
            secret=self.launch_secret,
            pool=pool,
            token_in=order.token_in,
            token_out=order.token_out,
            venue="raydium",
        )

    async def set_price(self, pair: str, base_price: str) -> None:
        """Set a pair's base price."""
        await self._steer(request_of(pair, base_price))

    async def reset_price(self, pair: str) -> None:
        """Give a pair the base price it started with."""
        await self._steer(request_of(pair, reset=True))

    async def _steer(self, request: dict[str, Any]) -> None:
        try:
            await asyncio.to_thread(call_market, self.target, request)
        except (BotoCoreError, ClientError, FunctionError) as error:
            raise DemoError(
                f"The market at {self.target.place} cannot be steered: {error}\n"
                "Orders that wait are shown on a stack that `make run` started; --endpoint-url says where its AWS is."
            ) from error

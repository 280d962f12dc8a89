"""The running engine as the demo speaks to it: its WebSocket, its REST API, its market."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from aiohttp import ClientError as HttpError
from aiohttp import ClientSession, ClientTimeout
from botocore.exceptions import BotoCoreError, ClientError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from chalicelib.orders.launch import Launch
from infra.cloud import FunctionError, Target
from infra.launch import LaunchError, post_launch
from infra.local.demo.order import DemoOrder
from infra.market import call_market, request_of

PATIENCE_SECONDS = 60


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class LocalEngine:
    """A stack on this machine: its front door, and the emulated AWS in which its market is steered."""

    port: int
    target: Target
    launch_secret: str = field(repr=False)

    @property
    def url(self) -> str:
        """The front door."""
        return f"http://localhost:{self.port}"

    @property
    def websocket_url(self) -> str:
        """The front door for WebSocket."""
        return f"ws://localhost:{self.port}/ws"

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[ClientConnection]:
        """Connect, and say in a DemoError what goes wrong until the connection is closed."""
        try:
            async with connect(self.websocket_url, proxy=None) as socket:
                yield socket
        except ConnectionRefusedError as refused:
            raise DemoError(
                f"Nothing answers at {self.websocket_url}: run `make run` first, in another terminal."
            ) from refused
        except (InvalidHandshake, InvalidMessage) as strange:
            raise DemoError(f"What answers at {self.websocket_url} is not a running engine: {strange}.") from strange
        except ConnectionClosed as closed:
            raise DemoError(f"The engine closed the connection: {closed}.") from closed
        except TimeoutError as silent:
            raise DemoError(
                f"The engine said nothing for {PATIENCE_SECONDS} s; its logs are in .local/logs."
            ) from silent
        except OSError as unreachable:
            raise DemoError(
                f"{self.websocket_url} cannot be reached: {unreachable.strerror or unreachable}."
            ) from unreachable

    async def venues(self, order: DemoOrder) -> list[str]:
        """Return the names of all venues, those included that have no quote for ``order``."""
        values = await self._quotes(order)
        if values is None:
            raise DemoError(f"No venue has a quote for {order.token_in}/{order.token_out}: is the market reset?")
        return [*values["quotes"], *values.get("errors", {})]

    async def net_price(self, order: DemoOrder) -> Decimal | None:
        """Return the best net price for an order now, or None when no venue gives one."""
        values = await self._quotes(order)
        if values is None:
            return None
        price: Decimal = values["quotes"][values["chosen"]]["netPrice"]
        return price

    async def _quotes(self, order: DemoOrder) -> Any:
        """Return what the router would choose for an order now, or None when no venue has a quote."""
        query = {"tokenIn": order.token_in, "tokenOut": order.token_out, "amount": order.amount, "side": order.side}
        status, values = await self._request("GET", "/api/quotes", query)
        return values if status == HTTPStatus.OK else None

    async def cancel(self, order: DemoOrder) -> bool:
        """Cancel an order; returns whether that came in time."""
        status, values = await self._request("DELETE", f"/api/orders/{order.order_id}")
        if status not in (HTTPStatus.OK, HTTPStatus.CONFLICT):
            raise DemoError(f"The engine did not cancel order {order.order_id}: {values.get('detail', status)}")
        return status == HTTPStatus.OK

    async def announce(self, launch: Launch) -> None:
        """Say, as a signed webhook does, that a pool went live."""
        try:
            await asyncio.to_thread(post_launch, self.url, launch, self.launch_secret, datetime.now(UTC))
        except LaunchError as error:
            raise DemoError(str(error)) from error

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

    async def _request(self, method: str, path: str, query: Mapping[str, str] | None = None) -> tuple[int, Any]:
        timeout = ClientTimeout(total=PATIENCE_SECONDS)
        try:
            async with (
                ClientSession(self.url, timeout=timeout) as session,
                session.request(method, path, params=query) as answer,
            ):
                return answer.status, read_exactly(await answer.text())
        except (HttpError, TimeoutError, ValueError) as error:
            raise DemoError(f"{self.url} does not answer {method} {path}: {error!r}") from error


async def submit(socket: ClientConnection, orders: Sequence[DemoOrder]) -> None:
    """Place all orders on one connection."""
    for order in orders:
        # First: whoever is interrupted while sending must take it for sent.
        order.mark_sent()
        await socket.send(order.message())


async def listen(socket: ClientConnection, orders: Sequence[DemoOrder], until: Callable[[], bool]) -> None:
    """Let the orders hear what the engine says of them until a condition holds.

    Raises:
        DemoError: the engine refused an order.
        TimeoutError: the engine said nothing for a minute.
    """
    while not until():
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = read_exactly(await socket.recv())
        if message["event"] == "error":
            raise DemoError(f"The engine refused an order: {_refusal(message['error'])}")
        for order in orders:
            if order.is_meant_by(message):
                order.hear(message)


def read_exactly(text: str | bytes) -> Any:
    """Read JSON; every number becomes a Decimal."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def _refusal(problem: Mapping[str, Any]) -> str:
    return " ".join([problem["detail"], *(f"{name} {what}." for name, what in problem.get("errors", {}).items())])

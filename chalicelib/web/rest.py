"""What each REST call answers, apart from how Chalice carries it."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from chalicelib.clock import Clock
from chalicelib.exact_json import encode_json
from chalicelib.execution.cancellation import Cancellation, NotCancellable
from chalicelib.execution.intake import IdempotencyConflict, Intake, TooLate
from chalicelib.observability import logger
from chalicelib.orders.order import Order
from chalicelib.resources import ResourceUnavailable
from chalicelib.routing.router import Router
from chalicelib.store.orders import OrderStore
from chalicelib.streaming.viewers import Viewers
from chalicelib.triggers.launches import DeliveryRepeated, LaunchConflict, Launches
from chalicelib.venues.venue import SwapRefused, VenueUnavailable
from chalicelib.web.problems import RequestError, invalid
from chalicelib.web.requests import (
    read_launch,
    read_object,
    read_order,
    read_order_id,
    read_page,
    read_trade,
    write_cursor,
)
from chalicelib.web.signatures import verify

Probe = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Rest:
    """The REST API. Every method returns a JSON value, or JSON already written as bytes."""

    intake: Intake
    cancellation: Cancellation
    launches: Launches
    store: OrderStore
    viewers: Viewers
    router: Router
    websocket_url: str
    launch_secret: str
    probes: Mapping[str, Probe]
    clock: Clock

    def place_order(self, body: bytes | str, idempotency_key: str | None) -> dict[str, Any]:
        """``POST /api/orders/execute``: accept an order.

        Raises:
            RequestError: 400 for what it says, 409 for its key, 413 for its size.
        """
        request = read_order(read_object(body), idempotency_key, now=self.clock.now())
        try:
            order = self.intake.place(request)
        except IdempotencyConflict as conflict:
            raise RequestError(HTTPStatus.CONFLICT, str(conflict)) from conflict
        except TooLate as late:
            raise invalid({"expiresAt": str(late)}) from late
        return {
            "orderId": order.order_id,
            "message": "Order accepted",
            "status": order.status,
            "webSocketUrl": f"{self.websocket_url}?orderId={order.order_id}",
        }

    def order(self, order_id: str) -> bytes:
        """``GET /api/orders/{id}``: from Redis while it is active, else from Postgres.

        Raises:
            RequestError: 400 for an id that is none, 404 for one that is not known.
        """
        order_id = read_order_id(order_id)
        try:
            if state := self.viewers.read_state(order_id):
                return state
        except ResourceUnavailable as unavailable:
            logger.warning(f"read from Postgres: {unavailable}", orderId=order_id)
        order = self._find(order_id)
        state = encode_json(order)
        try:
            self.viewers.fill_state(order_id, order.seq, state)
        except ResourceUnavailable as unavailable:
            logger.warning(f"not kept in Redis: {unavailable}", orderId=order_id)
        return state

    def cancel(self, order_id: str) -> Order:
        """``DELETE /api/orders/{id}``: cancel what has not been submitted; the answer is the cancelled order.

        Raises:
            RequestError: 400 for an id that is none, 404 for one that is not known, 409 when it is too late.
        """
        order_id = read_order_id(order_id)
        try:
            order = self.cancellation.cancel(order_id)
        except NotCancellable as late:
            raise RequestError(HTTPStatus.CONFLICT, str(late)) from late
        if order is None:
            raise _not_found(order_id)
        return order

    def launch(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """``POST /api/launches``: a signed webhook says that a pool went live.

        Raises:
            RequestError: 401 for a message that is not signed as it should be, 409 for one that was taken before or
                contradicts what is known of its pool, 400 for what it says, 503 while no secret is set.
        """
        if not self.launch_secret:
            raise RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE, "Launches are not taken: LAUNCH_WEBHOOK_SECRET is not set."
            )
        delivery_id = verify(self.launch_secret, headers, body, self.clock.now())
        launch = read_launch(read_object(body), self.router.venue_names)
        try:
            woken = self.launches.take(launch, delivery_id)
        except (DeliveryRepeated, LaunchConflict) as refused:
            raise RequestError(HTTPStatus.CONFLICT, f"The launch cannot be accepted: {refused}.") from refused
        return {
            "pool": launch.pool,
            "tokenIn": launch.token_in,
            "tokenOut": launch.token_out,
            "venue": launch.venue,
            "ordersWoken": woken,
        }

    def events(self, order_id: str) -> dict[str, Any]:
        """``GET /api/orders/{id}/events``: the order's history, oldest first."""
        order_id = read_order_id(order_id)
        events = self.store.events(order_id)
        if not events:
            raise _not_found(order_id)
        return {"orderId": order_id, "events": events}

    def orders(self, query: Mapping[str, str]) -> dict[str, Any]:
        """``GET /api/orders``: a page of orders, newest first, and the cursor of the next one."""
        page = read_page(query)
        found = self.store.page(status=page.status, limit=page.limit + 1, before=page.before)
        orders = found[: page.limit]
        next_cursor = write_cursor(orders[-1]) if len(found) > page.limit else None
        return {"orders": orders, "nextCursor": next_cursor}

    def quotes(self, query: Mapping[str, str]) -> dict[str, Any]:
        """``GET /api/quotes``: what the router would choose now."""
        trade = read_trade(query)
        try:
            route = self.router.route(trade)
        except SwapRefused as refused:
            raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, str(refused)) from refused
        except VenueUnavailable as unanswered:
            raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, str(unanswered), Retry_After="1") from unanswered
        return {
            "tokenIn": trade.token_in,
            "tokenOut": trade.token_out,
            "side": trade.side,
            "amount": trade.amount,
            **route.news.details,
        }

    def health(self) -> tuple[HTTPStatus, dict[str, Any]]:
        """``GET /health``: which parts answer; 503 when Postgres, without which no order is taken, does not."""
        with ThreadPoolExecutor(len(self.probes)) as pool:
            answers = dict(zip(self.probes, pool.map(_answers, self.probes.values()), strict=True))
        healthy = all(answers.values())
        status = HTTPStatus.OK if answers["postgres"] else HTTPStatus.SERVICE_UNAVAILABLE
        parts = {part: "up" if up else "down" for part, up in answers.items()}
        return status, {"status": "ok" if healthy else "degraded", "parts": parts}

    def _find(self, order_id: str) -> Order:
        order = self.store.find(order_id)
        if order is None:
            raise _not_found(order_id)
        return order


def _not_found(order_id: str) -> RequestError:
    return RequestError(HTTPStatus.NOT_FOUND, f"There is no order {order_id}.")


def _answers(probe: Probe) -> bool:
    try:
        probe()
    except ResourceUnavailable as unavailable:
        logger.warning(str(unavailable))
        return False
    return True

"""Take an order in: stored, announced, queued, in that order.

The client gets its ``orderId`` only after the commit. If the queue cannot be reached the order is safe all the same:
recovery queues whatever was accepted and never moved.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from chalicelib.clock import Clock
from chalicelib.observability import about_from_here
from chalicelib.orders.order import Order
from chalicelib.orders.request import OrderRequest
from chalicelib.queueing.dispatch import Dispatcher
from chalicelib.rate_limit import RateLimit
from chalicelib.resources import ResourceUnavailable
from chalicelib.store.orders import OrderStore
from chalicelib.streaming.publisher import Publisher


class IdempotencyConflict(Exception):
    """The key was used before, for another order."""


class TooLate(Exception):
    """The order would have expired before it is placed."""


class TooManyOrders(Exception):
    """The user has placed more orders than one may in that time; after ``wait`` seconds another is accepted."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"the user's next order is accepted in {wait:.1f} s")
        self.wait = wait


@dataclass(frozen=True, kw_only=True)
class Intake:
    store: OrderStore
    publisher: Publisher
    dispatcher: Dispatcher
    user_limit: RateLimit
    max_retries: int
    clock: Clock

    def place(self, request: OrderRequest, before_publishing: Callable[[str], object] = lambda _: None) -> Order:
        """Store, announce and queue an order; a repeated request gives the order it gave before.

        ``before_publishing`` is called with the order's id once it is stored, so that a listener can be added who
        misses nothing.

        Every call counts towards the user's limit, but one that repeats a request is never refused for it: beyond the
        limit, a request with a key is looked up, which costs what reading an order costs.

        Raises:
            TooManyOrders: its user's limit is reached.
            IdempotencyConflict: the key belongs to another request.
            TooLate: its time is up, and it does not repeat a request that was in time.
            ResourceUnavailable: Postgres does not answer. Should the order have been stored all the same, then the
                same key finds it.
        """
        order = self._new_order(request)
        about_from_here(orderId=order.order_id)
        in_time = order.expires_at is None or order.expires_at > order.created_at
        wait = self.user_limit.take(order.user_id)
        if wait and order.client_order_id is None:
            raise TooManyOrders(wait)
        accepted = self.store.accept(order, request.digest) if in_time and not wait else None
        if accepted is None:
            return self._accepted_before(order, request.digest, before_publishing, wait)
        before_publishing(order.order_id)
        self.publisher.publish(accepted)
        self.dispatcher.send_accepted(order)
        return accepted.order

    def _new_order(self, request: OrderRequest) -> Order:
        now = self.clock.now()
        trade = request.trade
        return Order(
            order_id=str(uuid4()),
            user_id=request.user_id,
            client_order_id=request.client_order_id,
            order_type=request.order_type,
            side=trade.side,
            token_in=trade.token_in,
            token_out=trade.token_out,
            amount_in=trade.amount,
            slippage_tolerance=request.slippage_tolerance,
            limit_price=request.limit_price,
            trigger_price=request.trigger_price,
            time_in_force=request.time_in_force,
            expires_at=request.expires_at,
            max_retries=self.max_retries,
            created_at=now,
            updated_at=now,
        )

    def _accepted_before(
        self, order: Order, digest: str, before_publishing: Callable[[str], object], wait: float
    ) -> Order:
        found = self.store.find_accepted(order)
        if found is None and wait:
            raise TooManyOrders(wait)
        if found is None and order.expires_at is not None and order.expires_at <= order.created_at:
            raise TooLate(f"the order's time was up at {order.expires_at:%Y-%m-%dT%H:%M:%SZ}")
        if found is None:
            raise ResourceUnavailable("Postgres", "an order that was there is gone")
        earlier, earlier_digest = found
        about_from_here(orderId=earlier.order_id)
        if earlier_digest != digest:
            raise IdempotencyConflict(f"{order.client_order_id!r} was used for another order: {earlier.order_id}")
        before_publishing(earlier.order_id)
        if earlier.order_id == order.order_id:
            # The first attempt was committed, but its answer was lost with the connection.
            self.dispatcher.send_accepted(earlier)
        return earlier

"""The first phase: quote, choose, build, sign, record, send. It never waits for a swap to land.

The order of these steps is what keeps an order from being swapped twice. The signed transaction is committed
before it is sent, and a worker that finds one recorded sends those same bytes, whatever happened to the worker
before it. Whether they arrived is settlement's question.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from chalicelib.execution.building import plan_swap
from chalicelib.execution.messages import PoisonMessage
from chalicelib.execution.pacing import Pacer
from chalicelib.execution.retries import next_try
from chalicelib.observability import logger
from chalicelib.orders.lifecycle import is_terminal
from chalicelib.orders.order import Order
from chalicelib.resources import Queue, ResourceUnavailable
from chalicelib.routing.router import Router
from chalicelib.store.orders import OrderStore
from chalicelib.streaming.publisher import Publisher
from chalicelib.venues.venue import Chain, SignedTransaction, SwapRefused, VenueUnavailable

LEASE = timedelta(seconds=10)
"""Longer than ``execute_order`` may run, so that a lease ends only after its worker."""
LOOK_AGAIN = 1.0
MOST_TAKEOVERS = 10
"""After so many workers have died with an order, the order is what kills them."""
FIRST_LOOK = 2.0
"""Seconds from sending a swap to the first look at its status: none lands sooner."""


@dataclass(frozen=True, kw_only=True)
class Executor:
    """Executes orders, one at a time."""

    store: OrderStore
    router: Router
    chain: Chain
    publisher: Publisher
    settlements: Queue
    pacer: Pacer
    backoff_base_ms: int
    lease: timedelta = LEASE

    def execute(self, order_id: str) -> float | None:
        """Take the order as far as ``submitted``.

        Returns:
            None when its message is done with, or the seconds after which the message is to come back.

        Raises:
            PoisonMessage: there is no such order.
            ResourceUnavailable: Postgres does not answer; the order stays where it was.
        """
        wait = self.pacer.start(order_id)
        if wait > 0:
            self.store.defer(order_id, timedelta(seconds=wait))
            return wait
        worker = uuid4()
        claim = self.store.claim(order_id, worker, self.lease)
        if claim is None:
            raise PoisonMessage(f"there is no order {order_id}")
        if not claim.claimed:
            if is_terminal(claim.order.status):
                # Whoever ended it may have died before saying so.
                self.publisher.catch_up_later(order_id)
            return claim.wait
        if claim.swap is None and claim.takeovers > MOST_TAKEOVERS:
            self._fail(claim.order, worker, f"{claim.takeovers} workers have died executing it")
            return None
        try:
            swap = claim.swap or self._prepare(claim.order, worker)
        except VenueUnavailable as unavailable:
            return self._retry(claim.order, worker, str(unavailable))
        except SwapRefused as refused:
            self._fail(claim.order, worker, str(refused))
            return None
        except ResourceUnavailable:
            raise
        except Exception as bug:
            logger.exception("a bug kept the order from being prepared", orderId=order_id)
            return self._retry(claim.order, worker, f"internal error: {type(bug).__name__}")
        if swap is not None:
            self._send(claim.order, worker, swap)
        return None

    def _prepare(self, order: Order, worker: UUID) -> SignedTransaction | None:
        """Quote, choose, build and record; None when another worker took the order over meanwhile."""
        route = self.router.route(order.trade, order.attempts)
        details = route.as_details()
        routed = self.store.route(order, worker, route.best.venue, details)
        if routed is None:
            return None
        self.publisher.publish(routed)

        plan = plan_swap(order, route.best)
        swap = self.router.venue(plan.venue).build(order, plan)
        built = self.store.build(order, worker, swap, plan)
        if built is None:
            return None
        self.publisher.publish(built)
        return swap

    def _send(self, order: Order, worker: UUID, swap: SignedTransaction) -> None:
        try:
            self.chain.submit(swap)
        except VenueUnavailable as unanswered:
            # It may have been taken all the same. Settlement looks, and sends the same bytes again.
            logger.warning(f"no answer when the swap was sent: {unanswered}", orderId=order.order_id)
        submitted = self.store.submit(order, worker, swap)
        if submitted is None:
            return
        try:
            self.settlements.send({"orderId": order.order_id}, delay=FIRST_LOOK)
        except ResourceUnavailable as unavailable:
            logger.warning(f"recovery will settle it: {unavailable}", orderId=order.order_id)
        self.publisher.publish(submitted)

    def _retry(self, order: Order, worker: UUID, error: str) -> float | None:
        delay = next_try(order.attempts + 1, order.max_retries, self.backoff_base_ms)
        if delay is None:
            self._fail(order, worker, error)
            return None
        retried = self.store.retry(order, error=error, delay=delay, worker=worker)
        if retried is None:
            # Somebody else moved it, or we did and the answer was lost: the next claim tells.
            return LOOK_AGAIN
        self.publisher.publish(retried)
        return delay.total_seconds()

    def _fail(self, order: Order, worker: UUID, error: str) -> None:
        failed = self.store.fail(order, error=error, worker=worker)
        if failed is not None:
            self.publisher.publish(failed)
        else:
            self.publisher.catch_up_later(order.order_id)

"""The first phase: quote, choose, build, sign, record, send. It never waits for a swap to land.

The order of these steps is what keeps an order from being swapped twice. The signed transaction is committed
before it is sent, and a worker that finds one recorded sends those same bytes, whatever happened to the worker
before it. ``submitted`` is committed before the first send as well: until then the order may be cancelled or expire,
after that only the chain decides. Whether the bytes arrived is settlement's question.

An order whose condition is not met goes into the book and costs nothing until a price or a launch wakes it.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from chalicelib.execution.pacing import Pacer
from chalicelib.execution.retries import next_try
from chalicelib.execution.sqs_batches import PoisonMessage
from chalicelib.execution.swap_plan import plan_swap
from chalicelib.observability import logger
from chalicelib.orders.lifecycle import is_terminal
from chalicelib.orders.order import Order, OrderType, TimeInForce
from chalicelib.orders.swap import SignedTransaction
from chalicelib.orders.waiting import Unmet
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.sqs import Queue
from chalicelib.routing.conditions import unlaunched, unmet_limit, unmet_stop
from chalicelib.routing.router import Route, Router
from chalicelib.store.orders import Claim, OrderStore
from chalicelib.streaming.publisher import Publisher
from chalicelib.venues.venue import Chain, SwapRefused, VenueUnavailable

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
    settlement_queue: Queue
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
            self.store.defer({order_id: timedelta(seconds=wait)})
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
            swap = claim.swap or self._prepare(claim, worker)
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

    def _prepare(self, claim: Claim, worker: UUID) -> SignedTransaction | None:
        """Quote, choose, build and record; None when the order has to wait, or is no longer this worker's."""
        order = claim.order
        route = self._look(claim, worker)
        if isinstance(route, Unmet):
            self._rest(order, worker, route)
        if not isinstance(route, Route):
            return None
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

    def _look(self, claim: Claim, worker: UUID) -> Route | Unmet | None:
        """Return the route that the order may take now, or what it waits for; None when it is no longer ours."""
        order = claim.order
        if order.order_type is OrderType.SNIPER and not claim.launched:
            return unlaunched(order, f"{order.token_in} has not launched")
        if order.order_type is OrderType.STOP and order.triggered_at is None:
            market_price = self.router.market_price(order.trade)
            unmet = unmet_stop(order, market_price)
            if unmet is not None:
                return unmet
            triggered = self.store.trigger(order, worker, market_price)
            if triggered is None:
                return None
            self.publisher.publish(triggered)
        try:
            route = self.router.route(order.trade, order.attempts)
        except SwapRefused:
            if order.order_type is OrderType.SNIPER and not self.router.has_pool(order.trade):
                return unlaunched(order, f"no pool for {order.trade.pair} is live yet")
            raise
        return unmet_limit(order, route) or route

    def _rest(self, order: Order, worker: UUID, unmet: Unmet) -> None:
        """Put an order into the book, or end it if it must not wait."""
        if order.time_in_force is TimeInForce.IOC:
            step = self.store.cancel(order.order_id, reason=f"not met now: {unmet.reason}", worker=worker)
        else:
            step = self.store.wait(order, worker, unmet)
        if step is not None:
            self.publisher.publish(step)

    def _send(self, order: Order, worker: UUID, swap: SignedTransaction) -> None:
        submitted = self.store.submit(order, worker, swap)
        if submitted is None:
            return  # cancelled, expired or taken over, and nothing was sent by this worker
        try:
            self.chain.submit(swap)
        except Exception as unanswered:
            # Whatever went wrong, it may have been taken. Settlement looks, and sends the same bytes again.
            logger.warning(f"no answer when the swap was sent: {unanswered!r}", orderId=order.order_id)
        try:
            self.settlement_queue.send({"orderId": order.order_id}, delay=FIRST_LOOK)
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

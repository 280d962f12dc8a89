"""The first phase: quote, choose, build, sign, record, send. It never waits for a swap to land.

The order of these steps is what keeps an order from being swapped twice. The signed transaction is committed, and
``submitted`` with it, before it is sent for the first time: until then the order may be cancelled or expire, after
that only the chain decides. Whether the bytes arrived is settlement's question, and whoever comes after a worker that
died at any of these steps finds either no transaction at all, or the one that settlement sends again.

``routing``, ``building`` and ``submitted`` are one statement: only the venue's build lies between the quotes and the
send, and a commit costs a round trip of the slot's time and a write to the disk. Viewers still get all three.

An order whose condition is not met goes into the book and costs nothing until a price or a launch wakes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, assert_never
from uuid import UUID, uuid4

from chalicelib.execution.retries import EndedTry, Retries
from chalicelib.execution.swap_plan import plan_swap
from chalicelib.observability import logger
from chalicelib.orders.events import Step
from chalicelib.orders.lifecycle import is_terminal
from chalicelib.orders.order import Order, OrderType, TimeInForce
from chalicelib.orders.swap import SignedTransaction
from chalicelib.orders.waiting import Unmet
from chalicelib.queueing.dispatch import Dispatcher
from chalicelib.queueing.pacing import Pacer
from chalicelib.queueing.sqs_batches import PoisonMessage
from chalicelib.resources import ResourceUnavailable
from chalicelib.routing.conditions import unlaunched, unmet_limit, unmet_stop
from chalicelib.routing.router import Route, Router
from chalicelib.store.orders import Claim, OrderStore
from chalicelib.streaming.publisher import Publisher
from chalicelib.venues.venue import Chain, SwapRefused, VenueUnavailable

LEASE = timedelta(seconds=10)
"""Longer than ``execute_order`` may run, so that a lease ends only after its worker."""
CLAIM_AGAIN_SECONDS = 1.0
MOST_TAKEOVERS = 10
"""When more workers than that have died with an order, the order is what kills them."""


class Overtaken(Exception):
    """The order is no longer this worker's: it was cancelled, has expired, or another worker has taken over."""


class Submitted(NamedTuple):
    """A swap that may be sent now, and the steps that were committed with it."""

    swap: SignedTransaction
    steps: Sequence[Step]


@dataclass(frozen=True, kw_only=True)
class Executor:
    """Executes orders, one at a time."""

    store: OrderStore
    router: Router
    chain: Chain
    publisher: Publisher
    dispatcher: Dispatcher
    retries: Retries
    pacer: Pacer
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
        if claim.claimed:
            return self._execute(claim, worker)
        if is_terminal(claim.order.status):
            self.dispatcher.pass_on(claim.order)
        return claim.wait

    def _execute(self, claim: Claim, worker: UUID) -> float | None:
        """Work on an order of our own; returns what ``execute`` does."""
        order = claim.order
        if claim.swap is None and claim.takeovers > MOST_TAKEOVERS:
            return self._give_up(order, worker, f"{claim.takeovers} workers have died executing it")
        try:
            submitted = self._submit_recorded(order, worker, claim.swap) if claim.swap else self._submit(claim, worker)
        except Overtaken:
            return None
        except VenueUnavailable as unavailable:
            return self._end_try(order, worker, str(unavailable))
        except SwapRefused as refused:
            return self._give_up(order, worker, str(refused))
        except ResourceUnavailable:
            raise
        except Exception as bug:
            logger.exception("a bug kept the order from being prepared", orderId=order.order_id)
            return self._end_try(order, worker, f"internal error: {type(bug).__name__}")
        if submitted is not None:
            self._send(order, submitted)
        return None

    def _submit(self, claim: Claim, worker: UUID) -> Submitted | None:
        """Quote, choose, build, sign and commit; None when the order has to wait.

        Raises:
            Overtaken: the order is no longer ours, and what was signed must not be sent.
        """
        order = claim.order
        route = self._route(claim, worker)
        if isinstance(route, Unmet):
            self._rest(order, worker, route)
            return None
        try:
            plan = plan_swap(order, route.best)
            swap = self.router.venue(plan.venue).build(order, plan)
        except Exception:
            # What was quoted is worth knowing, above all where nothing could be made of it.
            self._announce(self.store.route(order, worker, route.best.venue, route.event))
            raise
        steps = self.store.submit(order, worker, route.event, swap, plan)
        if not steps:
            raise Overtaken
        return Submitted(swap, steps)

    def _submit_recorded(self, order: Order, worker: UUID, swap: SignedTransaction) -> Submitted:
        """Commit ``submitted`` alone: releases before this one recorded a swap in a statement of its own.

        Raises:
            Overtaken: the order is no longer ours.
        """
        step = self.store.submit_recorded(order, worker, swap)
        if step is None:
            raise Overtaken
        return Submitted(swap, [step])

    def _route(self, claim: Claim, worker: UUID) -> Route | Unmet:
        """Return the route that the order takes now, or what it waits for.

        A stop may be triggered on the way; one that was is never asked for its trigger again.
        """
        order = claim.order
        match order.order_type:
            case OrderType.MARKET | OrderType.LIMIT:
                unmet = None
            case OrderType.STOP:
                unmet = self._trigger(order, worker) if order.triggered_at is None else None
            case OrderType.SNIPER:
                # Anybody can open a pool, at any price: a sniper that names no limit waits for somebody's word.
                launched = claim.launched or (self.router.tells_launches and order.limit_price is not None)
                unmet = None if launched else unlaunched(order, f"{order.token_in} has not launched")
            case _:
                assert_never(order.order_type)
        if unmet is not None:
            return unmet
        try:
            route = self.router.route(order.trade, order.attempts)
        except SwapRefused:
            if order.order_type is OrderType.SNIPER and not self.router.has_pool(order.trade):
                return unlaunched(order, f"no pool for {order.trade.pair} is live yet")
            raise
        return unmet_limit(order, route) or route

    def _trigger(self, order: Order, worker: UUID) -> Unmet | None:
        """Trigger a stop whose price is reached at its first look, or return what it waits for."""
        market_price = self.router.market_price(order.trade)
        unmet = unmet_stop(order, market_price)
        if unmet is None:
            self._announce(self.store.trigger(order, worker, market_price))
        return unmet

    def _rest(self, order: Order, worker: UUID, unmet: Unmet) -> None:
        """Put an order into the book, or end it if it must not wait."""
        if order.time_in_force is TimeInForce.IOC:
            reason = f"not met now: {unmet.reason}"
            self._announce(self.store.cancel(order.order_id, reason=reason, worker=worker))
        else:
            self._announce(self.store.put_in_book(order, worker, unmet))

    def _send(self, order: Order, submitted: Submitted) -> None:
        """Send the swap, have it settled, and tell the viewers."""
        try:
            self.chain.submit(submitted.swap)
        except Exception as unanswered:
            # Whatever went wrong, it may have been taken. Settlement looks, and sends the same bytes again.
            logger.warning(f"no answer when the swap was sent: {unanswered!r}", orderId=order.order_id)
        self.dispatcher.send_submitted(order)
        self.publisher.publish(*submitted.steps)

    def _announce(self, step: Step | None) -> None:
        """Publish a step of ours.

        Raises:
            Overtaken: it was not taken.
        """
        if step is None:
            raise Overtaken
        self.publisher.publish(step)

    def _end_try(self, order: Order, worker: UUID, error: str) -> float | None:
        return _comes_back(self.retries.end_try(order, error, worker=worker))

    def _give_up(self, order: Order, worker: UUID, error: str) -> float | None:
        return _comes_back(self.retries.give_up(order, error, worker=worker))


def _comes_back(ended: EndedTry) -> float | None:
    """Return after how many seconds the message of an order whose try has ended comes back, or None if it does not."""
    if not ended.moved:
        # Somebody else moved it, or we did and the answer was lost: the next claim tells.
        return CLAIM_AGAIN_SECONDS
    return ended.delay.total_seconds() if ended.delay is not None else None

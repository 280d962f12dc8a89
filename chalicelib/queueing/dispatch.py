"""Send orders to whoever moves them next: the one place that decides which message, to which queue, in whose turn.

Snipers have a queue and slots of their own, so that a flood of other orders does not delay them. Everybody else
shares ``orders``; what the market watch wakes is spread out there, so that thousands of orders reached by one price
leave room for those that come meanwhile.

A message only says that an order may have to be moved. One too many is harmless, because workers claim; one that
cannot be sent now, or is lost, recovery sends.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from chalicelib.observability import logger
from chalicelib.orders.lifecycle import is_terminal
from chalicelib.orders.order import Order, OrderType, Status
from chalicelib.queueing.pacing import Lane, Pacer
from chalicelib.queueing.sqs_batches import Record
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.sqs import Queue
from chalicelib.store.dead_letters import QueueName
from chalicelib.store.orders import OrderStore, StoppedOrder
from chalicelib.streaming.publisher import Publisher

SHORT_WAIT = 2.0
"""An order that waits no longer than this need not be told from one that has stopped: recovery is not that quick."""

FIRST_STATUS_SECONDS = 2.0
"""From sending a swap to the first look at its status: a chain needs about as long."""


@dataclass(frozen=True, kw_only=True)
class Dispatcher:
    """Sends orders to be executed and settled."""

    store: OrderStore
    publisher: Publisher
    order_queue: Queue
    priority_queue: Queue
    settlement_queue: Queue
    pacer: Pacer

    def send(self, order: Order, delay: float = 0.0) -> None:
        """Have an order executed after ``delay`` seconds."""
        self._send(self._queue(order.order_type), order, delay)

    def send_accepted(self, order: Order) -> None:
        """Have a new order executed when its turn comes: until then its message is not delivered."""
        lane = Lane.PRIORITY if order.order_type.goes_first else Lane.ARRIVALS
        wait = self.pacer.take_turn(order.order_id, lane)
        try:
            self._note_long_waits([order.order_id], [wait])
        except ResourceUnavailable as unavailable:
            logger.warning(f"recovery may queue it before its turn: {unavailable}", orderId=order.order_id)
        self.send(order, wait)

    def send_triggered(self, orders: Sequence[Order]) -> float:
        """Have orders executed whose condition was met; return how many seconds away the last one's turn is.

        What cannot be queued is as if its turn were now.
        """
        by_type: dict[OrderType, list[str]] = {}
        for order in orders:
            by_type.setdefault(order.order_type, []).append(order.order_id)
        farthest = 0.0
        try:
            for order_type, order_ids in by_type.items():
                waits = self.pacer.take_turns(order_ids, _lane_from_the_book(order_type), anew=True)
                self._note_long_waits(order_ids, waits)
                self._queue(order_type).send_all(_messages(order_ids), waits)
                farthest = max(farthest, *waits)
        except ResourceUnavailable as unavailable:
            order_ids = [order.order_id for order in orders]
            logger.warning(f"recovery will queue what was triggered: {unavailable}", orderIds=order_ids)
        return farthest

    def send_submitted(self, order: Order) -> None:
        """Have an order settled whose swap was sent just now."""
        self._send(self.settlement_queue, order, FIRST_STATUS_SECONDS)

    def send_stopped(self, stopped: Collection[StoppedOrder]) -> None:
        """Put orders that stopped moving back on their queues.

        Raises:
            ResourceUnavailable: a queue does not answer.
        """
        submitted = [order for order in stopped if order.status is Status.SUBMITTED]
        unsubmitted = [order for order in stopped if order.status is not Status.SUBMITTED]
        self.settlement_queue.send_all(_messages(order.order_id for order in submitted))
        for queue in (self.priority_queue, self.order_queue):
            queue.send_all(_messages(order.order_id for order in unsubmitted if self._queue(order.order_type) is queue))

    def pass_on(self, order: Order) -> None:
        """Finish what somebody else may have left half done when it moved this order and died.

        A new try may not be queued yet, a swap not settled, or the viewers not told of the end.
        """
        if is_terminal(order.status):
            self.publisher.catch_up_later(order.order_id)
        elif order.status is Status.SUBMITTED:
            self._send(self.settlement_queue, order, 0.0)
        else:
            self.send(order)

    def send_back(self, queue: QueueName, text: str) -> None:
        """Put a message that names no order back as it was; a sniper's, too, goes to ``orders``.

        Raises:
            ResourceUnavailable: the queue does not answer.
        """
        (self.settlement_queue if queue == "settlements" else self.order_queue).send_text(text)

    def source_of(self, records: Sequence[Record]) -> Queue:
        """Return the queue that a batch of messages for ``execute_order`` came from."""
        return self.priority_queue if records[0].queue == self.priority_queue.name else self.order_queue

    def is_idle(self) -> bool:
        """Whether no order waits to be received from a queue.

        Raises:
            ResourceUnavailable: a queue does not answer.
        """
        return self.order_queue.depth() == 0 and self.priority_queue.depth() == 0

    def _queue(self, order_type: OrderType) -> Queue:
        return self.priority_queue if order_type.goes_first else self.order_queue

    def _send(self, queue: Queue, order: Order, delay: float) -> None:
        try:
            queue.send({"orderId": order.order_id}, delay=delay)
        except ResourceUnavailable as unavailable:
            logger.warning(f"recovery will queue it: {unavailable}", orderId=order.order_id)

    def _note_long_waits(self, order_ids: Sequence[str], waits: Sequence[float]) -> None:
        """Tell recovery which orders wait for their turn, so that it does not take them for stopped."""
        long = {
            order_id: timedelta(seconds=wait)
            for order_id, wait in zip(order_ids, waits, strict=True)
            if wait > SHORT_WAIT
        }
        if long:
            self.store.defer(long)


def _lane_from_the_book(order_type: OrderType) -> Lane:
    match order_type:
        case OrderType.MARKET | OrderType.LIMIT:
            return Lane.TRIGGERED
        case OrderType.STOP:
            return Lane.STOPS
        case OrderType.SNIPER:
            return Lane.PRIORITY


def _messages(order_ids: Iterable[str]) -> list[dict[str, str]]:
    return [{"orderId": order_id} for order_id in order_ids]

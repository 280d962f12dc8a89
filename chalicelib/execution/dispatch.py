"""Which queue an order goes on, and when its message is delivered.

Snipers have a queue and slots of their own, so that a flood of other orders does not delay them. Everybody else
shares ``orders``; what the market watch wakes is spread out there, so that thousands of orders reached by one price
leave room for those that come meanwhile.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from chalicelib.execution.pacing import Lane, Pacer
from chalicelib.execution.sqs_batches import Record
from chalicelib.observability import logger
from chalicelib.orders.order import Order, OrderType
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.sqs import Queue
from chalicelib.store.orders import OrderStore

SHORT_WAIT = 2.0
"""An order that waits no longer than this need not be told from one that has stopped: recovery is not that quick."""

LANES_FROM_THE_BOOK = {OrderType.SNIPER: Lane.PRIORITY, OrderType.STOP: Lane.STOPS}


@dataclass(frozen=True, kw_only=True)
class Dispatcher:
    """Sends orders to be executed."""

    store: OrderStore
    order_queue: Queue
    priority_queue: Queue
    pacer: Pacer

    def send(self, order: Order, delay: float = 0.0) -> None:
        """Have an order executed after ``delay`` seconds; recovery sees to it if the queue is down."""
        try:
            self._queue(order.order_type).send({"orderId": order.order_id}, delay=delay)
        except ResourceUnavailable as unavailable:
            logger.warning(f"recovery will queue it: {unavailable}", orderId=order.order_id)

    def send_accepted(self, order: Order) -> None:
        """Have a new order executed when its turn comes: until then its message is not delivered."""
        lane = Lane.PRIORITY if order.order_type is OrderType.SNIPER else Lane.ARRIVALS
        wait = self.pacer.take_turn(order.order_id, lane)
        try:
            self._note_long_waits([order.order_id], [wait])
        except ResourceUnavailable as unavailable:
            logger.warning(f"recovery may queue it before its turn: {unavailable}", orderId=order.order_id)
        self.send(order, wait)

    def send_triggered(self, orders: Sequence[Order]) -> float:
        """Have orders executed whose condition was met; return how many seconds away the last one's turn is.

        Raises:
            ResourceUnavailable: Postgres or a queue does not answer; recovery queues what is missing.
        """
        last = 0.0
        by_kind: dict[OrderType, list[str]] = {}
        for order in orders:
            by_kind.setdefault(order.order_type, []).append(order.order_id)
        for kind, order_ids in by_kind.items():
            waits = self.pacer.take_turns(order_ids, LANES_FROM_THE_BOOK.get(kind, Lane.TRIGGERED), anew=True)
            self._note_long_waits(order_ids, waits)
            self._queue(kind).send_all([{"orderId": order_id} for order_id in order_ids], waits)
            last = max(last, *waits)
        return last

    def send_stopped(self, stopped: Collection[tuple[str, OrderType]]) -> None:
        """Put orders that stopped moving back on their queues.

        Raises:
            ResourceUnavailable: a queue does not answer.
        """
        for queue in (self.priority_queue, self.order_queue):
            messages = [{"orderId": order_id} for order_id, kind in stopped if self._queue(kind) is queue]
            queue.send_all(messages)

    def source_of(self, records: Sequence[Record]) -> Queue:
        """Return the queue that a batch of messages came from."""
        return self.priority_queue if "priority" in records[0].queue.lower() else self.order_queue

    def is_idle(self) -> bool:
        """Whether no order waits to be received from a queue.

        Raises:
            ResourceUnavailable: a queue does not answer.
        """
        return self.order_queue.depth() == 0 and self.priority_queue.depth() == 0

    def _queue(self, kind: OrderType) -> Queue:
        return self.priority_queue if kind is OrderType.SNIPER else self.order_queue

    def _note_long_waits(self, order_ids: Sequence[str], waits: Sequence[float]) -> None:
        """Tell recovery which orders wait for their turn, so that it does not take them for stopped."""
        long = {
            order_id: timedelta(seconds=wait)
            for order_id, wait in zip(order_ids, waits, strict=True)
            if wait > SHORT_WAIT
        }
        if long:
            self.store.defer(long)

"""Put back on its queue whatever stopped moving.

An order stops when something between two of its steps is lost: the queue was down when it was accepted, a worker
died, a message vanished. Recovery does not judge why. It finds unfinished orders that nobody moves on any more and
sends each the message that does; a message too many is harmless, because workers claim. So it may run twice at
once, and as often as one likes.
"""

from dataclasses import dataclass
from datetime import timedelta

from chalicelib.clock import Clock
from chalicelib.execution.dispatch import Dispatcher
from chalicelib.execution.watching import keep_looking
from chalicelib.observability import count, logger
from chalicelib.orders.order import Status
from chalicelib.resources.sqs import Queue
from chalicelib.store.orders import OrderStore, StoppedOrder

TICK_SECONDS = 2.0
WATCH_SECONDS = 57.0
"""The schedule starts a watch each minute; one ends shortly before the next begins."""
IDLE = timedelta(seconds=5)
SETTLING = timedelta(seconds=10)
"""Longer than a swap takes to land, so that settlement does not drown in second messages when the chain is slow."""
LONG_IDLE = timedelta(minutes=1)
BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Finds stopped orders and sends them on."""

    store: OrderStore
    dispatcher: Dispatcher
    settlement_queue: Queue
    clock: Clock

    def watch(self) -> int:
        """Recover every two seconds until the next watch takes over; return how many orders were sent on."""
        return keep_looking(self.recover, self.clock, every=TICK_SECONDS, lasting=WATCH_SECONDS)

    def recover(self) -> int:
        """Send every stopped order on, a batch at a time; return how many.

        Raises:
            ResourceUnavailable: Postgres or SQS does not answer; what was found is found again later.
        """
        recovered = 0
        queue_is_empty = self.dispatcher.is_idle()
        while True:
            stopped = self.store.take_stopped(
                idle=IDLE, long_idle=LONG_IDLE, settling=SETTLING, queue_is_empty=queue_is_empty, limit=BATCH
            )
            if stopped:
                self._send_on(stopped)
            recovered += len(stopped)
            if len(stopped) < BATCH:
                return recovered

    def _send_on(self, stopped: list[StoppedOrder]) -> None:
        submitted = [order for order in stopped if order.status is Status.SUBMITTED]
        self.settlement_queue.send_all([{"orderId": order.order_id} for order in submitted])
        self.dispatcher.send_stopped(
            [(order.order_id, order.order_type) for order in stopped if order.status is not Status.SUBMITTED]
        )
        logger.warning(f"{len(stopped)} stopped orders were put back on their queues")
        count("OrdersRecovered", len(stopped))

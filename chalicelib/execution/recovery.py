"""Put back on its queue whatever stopped moving.

An order stops when something between two of its steps is lost: the queue was down when it was accepted, a worker
died, a message vanished. Recovery does not judge why. It finds unfinished orders that nobody moves on any more and
sends each the message that does; a message too many is harmless, because workers claim. So it may run twice at
once, and as often as one likes.
"""

from dataclasses import dataclass
from datetime import timedelta

from chalicelib.clock import Clock
from chalicelib.observability import count, logger
from chalicelib.polling import poll
from chalicelib.queueing.dispatch import Dispatcher
from chalicelib.store.orders import OrderStore

TICK_SECONDS = 2.0
WATCH_SECONDS = 57.0
"""The schedule starts a watch each minute; one ends shortly before the next begins."""
IDLE = timedelta(seconds=5)
"""A pending order that has not moved for so long has stopped, if both queues for orders are empty."""
LONG_IDLE = timedelta(minutes=1)
"""The same while they are not: it may just as well wait there."""
SETTLING = timedelta(seconds=10)
"""The same for a submitted order: longer than a swap takes to land, so that settlement does not drown in second
messages when the chain is slow."""
RECOVERED_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Finds stopped orders and sends them on."""

    store: OrderStore
    dispatcher: Dispatcher
    clock: Clock

    def watch(self) -> int:
        """Recover every two seconds until the next watch takes over; return how many orders were sent on."""
        return poll(self.recover, self.clock, every=TICK_SECONDS, lasting=WATCH_SECONDS)

    def recover(self) -> int:
        """Send every stopped order on, a batch at a time; return how many.

        Raises:
            ResourceUnavailable: Postgres or SQS does not answer; what was found is found again later.
        """
        recovered = 0
        queue_is_empty = self.dispatcher.is_idle()
        while True:
            stopped = self.store.take_stopped(
                idle=IDLE,
                long_idle=LONG_IDLE,
                settling=SETTLING,
                queue_is_empty=queue_is_empty,
                limit=RECOVERED_AT_ONCE,
            )
            if stopped:
                self.dispatcher.send_stopped(stopped)
                order_ids = [order.order_id for order in stopped]
                logger.warning(f"{len(stopped)} stopped orders were put back on their queues", orderIds=order_ids)
                count("OrdersRecovered", len(stopped))
            recovered += len(stopped)
            if len(stopped) < RECOVERED_AT_ONCE:
                return recovered

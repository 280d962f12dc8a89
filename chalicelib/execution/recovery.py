"""Put back on its queue whatever stopped moving.

An order stops when something between two of its steps is lost: the queue was down when it was accepted, a worker
died, a message vanished. Recovery does not judge why. It finds unfinished orders on which nothing has happened for
a while and sends each the message that moves it on; a message too many is harmless, because workers claim.
"""

from dataclasses import dataclass
from datetime import timedelta

from chalicelib.observability import logger
from chalicelib.orders.order import Status
from chalicelib.resources import Queue
from chalicelib.store.orders import OrderStore

IDLE = timedelta(seconds=30)
BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Finds stopped orders and sends them on."""

    store: OrderStore
    orders: Queue
    settlements: Queue

    def recover(self) -> int:
        """Send every stopped order on, a batch at a time; return how many."""
        recovered = 0
        while stopped := self.store.take_stopped(IDLE, BATCH):
            submitted = [{"orderId": order_id} for order_id, status in stopped if status is Status.SUBMITTED]
            others = [{"orderId": order_id} for order_id, status in stopped if status is not Status.SUBMITTED]
            self.settlements.send_all(submitted)
            self.orders.send_all(others)
            recovered += len(stopped)
        if recovered:
            logger.warning(f"{recovered} stopped orders were put back on their queues")
        return recovered

"""Take an order back, as long as no swap of it may land."""

from dataclasses import dataclass

from chalicelib.orders.order import Order, Status
from chalicelib.queueing.dispatch import Dispatcher
from chalicelib.store.orders import OrderStore
from chalicelib.streaming.publisher import Publisher


class NotCancellable(Exception):
    """The order has been submitted or has ended."""


@dataclass(frozen=True, kw_only=True)
class Cancellation:
    store: OrderStore
    publisher: Publisher
    dispatcher: Dispatcher

    def cancel(self, order_id: str, owner: str | None = None) -> Order | None:
        """Cancel an order and return it, or None if there is none; a cancelled one stays so.

        With ``owner``, there are only the orders of that user.

        A worker that is at it stops at its next step, before it has sent anything: one statement decides whether the
        cancellation or the submission came first.

        Raises:
            NotCancellable: it came too late; the message says where the order stands.
            ResourceUnavailable: Postgres does not answer.
        """
        cancelled = self.store.cancel(order_id, reason="its owner cancelled it", owner=owner)
        if cancelled is not None:
            self.publisher.publish(cancelled)
            return cancelled.order
        order = self.store.find(order_id, owner)
        if order is None:
            return None
        if order.status is Status.CANCELLED:
            # That its client asks again is a sign that whoever cancelled it died before saying so.
            self.dispatcher.pass_on(order)
            return order
        if order.status is Status.SUBMITTED:
            raise NotCancellable(f"Order {order_id} is submitted: its swap is on its way and cannot be taken back.")
        raise NotCancellable(f"Order {order_id} has ended: it is {order.status}.")

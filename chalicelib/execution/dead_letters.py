"""The end of a message that could not be processed: never silence.

The message is kept, and its order fails with the reason, unless a swap was signed for it that may still land: then
the order goes back to settlement, which knows how that ends. An operator lists dead letters and redrives them once
the cause is gone; a redriven order goes on where it stopped.
"""

from collections.abc import Collection
from dataclasses import dataclass

from chalicelib.execution.dispatch import Dispatcher
from chalicelib.execution.sqs_batches import PoisonMessage, Record, order_id_of
from chalicelib.observability import count, logger
from chalicelib.orders.lifecycle import is_terminal
from chalicelib.orders.order import Status
from chalicelib.resources.sqs import Queue
from chalicelib.store.orders import DeadLetter, OrderStore
from chalicelib.streaming.publisher import Publisher


@dataclass(frozen=True, kw_only=True)
class DeadLetters:
    """Buries dead letters and brings them back."""

    store: OrderStore
    publisher: Publisher
    dispatcher: Dispatcher
    order_queue: Queue
    settlement_queue: Queue

    def bury(self, record: Record) -> None:
        """Keep a message from a dead-letter queue and end its order.

        Raises:
            ResourceUnavailable: Postgres does not answer; the message stays where it is.
        """
        queue = "settlements" if "settlements" in record.queue.lower() else "orders"
        order_id = None
        try:
            order_id = order_id_of(record)
            reason = f"no worker could process its message from the queue {queue}"
        except PoisonMessage as poison:
            reason = str(poison)
        order = self.store.find(order_id) if order_id else None
        if order_id and order is None:
            reason = f"there is no order {order_id}"
        logger.error(f"dead letter: {reason}", orderId=order_id, messageId=record.message_id)
        count("DeadLetters")
        self.store.bury(message_id=record.message_id, queue=queue, body=record.text, order_id=order_id, reason=reason)
        if order is None:
            return
        if is_terminal(order.status):
            # Whoever ended it may have died before saying so.
            self.publisher.catch_up_later(order.order_id)
            return
        failed = self.store.fail(order, error=reason)
        if failed is not None:
            self.publisher.publish(failed)
        elif order.status is Status.SUBMITTED:
            self.settlement_queue.send({"orderId": order.order_id})
        else:
            # A worker is at it, it waits, or a swap is recorded: who finds that sends the same bytes.
            self.dispatcher.send(order)

    def waiting(self) -> list[DeadLetter]:
        """Return the dead letters nobody has redriven."""
        return self.store.dead_letters()

    def redrive(self, message_ids: Collection[str] | None = None) -> list[DeadLetter]:
        """Put these dead letters, or all, back on their queues; return which."""
        letters = self.store.dead_letters(message_ids)
        for letter in letters:
            order = self.store.find(letter.order_id) if letter.order_id else None
            if order is not None and (revived := self.store.revive(order)) is not None:
                self.publisher.publish(revived)
                self.dispatcher.send(order)
            elif order is not None and letter.queue == "orders":
                self.dispatcher.send(order)
            else:
                queue = self.settlement_queue if letter.queue == "settlements" else self.order_queue
                queue.send_text(letter.body)
            self.store.mark_redriven(letter.message_id)
        return letters

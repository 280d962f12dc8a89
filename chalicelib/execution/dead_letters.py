"""The end of a message that could not be processed: never silence.

The message is kept, and its order fails with the reason, unless it has ended, waits, is in a worker's hands, or has a
swap that may still land: then it is passed on to who knows how that ends. An operator lists dead letters and redrives
them once the cause is gone; a redriven order goes on, one that failed starts anew.
"""

from collections.abc import Collection
from dataclasses import dataclass

from chalicelib.execution.retries import Retries
from chalicelib.observability import about, count, logger
from chalicelib.orders.lifecycle import is_terminal
from chalicelib.queueing.dispatch import Dispatcher
from chalicelib.queueing.sqs_batches import PoisonMessage, Record, order_id_of, subject_of
from chalicelib.resources import ResourceUnavailable
from chalicelib.store.dead_letters import DeadLetter, DeadLetterStore, QueueName
from chalicelib.store.orders import OrderStore
from chalicelib.streaming.publisher import Publisher


@dataclass(frozen=True, kw_only=True)
class DeadLetters:
    """Buries dead letters and brings them back."""

    letters: DeadLetterStore
    store: OrderStore
    retries: Retries
    publisher: Publisher
    dispatcher: Dispatcher

    def bury(self, record: Record) -> None:
        """Keep a message from a dead-letter queue and end its order.

        Raises:
            ResourceUnavailable: Postgres does not answer; the message stays where it is.
        """
        with about(**subject_of(record)):
            try:
                self._bury(record)
            except ResourceUnavailable as unavailable:
                logger.warning(f"not buried yet: {unavailable}")
                raise

    def _bury(self, record: Record) -> None:
        # Two dead-letter queues, whose names CloudFormation makes from those in the template.
        queue: QueueName = "settlements" if "settlements" in record.queue.lower() else "orders"
        order_id, order = None, None
        try:
            order_id = order_id_of(record)
            order = self.store.find(order_id)
            known = f"no worker could process its message from the queue {queue}"
            reason = known if order is not None else f"there is no order {order_id}"
        except PoisonMessage as poison:
            reason = str(poison)
        logger.error(f"dead letter: {reason}")
        count("DeadLetters")
        self.letters.bury(message_id=record.message_id, queue=queue, body=record.text, order_id=order_id, reason=reason)
        if order is not None and (is_terminal(order.status) or not self.retries.give_up(order, reason).moved):
            # It has ended, a worker is at it, it waits, or a swap is recorded: who finds that sends the same bytes.
            self.dispatcher.pass_on(order)

    def waiting(self) -> list[DeadLetter]:
        """Return the dead letters nobody has redriven."""
        return self.letters.waiting()

    def redrive(self, message_ids: Collection[str] | None = None) -> list[DeadLetter]:
        """Put these dead letters, or all, back on their queues; return which."""
        letters = self.letters.waiting(message_ids)
        for letter in letters:
            with about(orderId=letter.order_id, messageId=letter.message_id):
                self._redrive(letter)
        return letters

    def _redrive(self, letter: DeadLetter) -> None:
        order = self.store.find(letter.order_id) if letter.order_id else None
        if order is None:
            self.dispatcher.send_back(letter.queue, letter.body)
        elif (revived := self.letters.revive(order)) is not None:
            self.publisher.publish(revived)
            self.dispatcher.send(revived.order)
        else:
            self.dispatcher.pass_on(order)
        self.letters.mark_redriven(letter.message_id)

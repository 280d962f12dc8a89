"""Between an SQS batch and the code that works on orders: read each record, and say which have to come back."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from chalicelib.exact_json import decode_json
from chalicelib.observability import about, logger
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.sqs import Queue

LONGEST_OUTAGE_PAUSE = 30.0
FRESH_COPY_AFTER = 30
"""Waiting, for a turn or for an outage to end, must not use a message up: after so many receives a fresh copy takes
its place."""
POISON_PAUSE = 0.0
"""Poison does not wait for its visibility to end: the sooner it is in the dead-letter queue, the better."""

BatchAnswer = dict[str, list[dict[str, str]]]


class PoisonMessage(Exception):
    """A message that no retry can help; it goes to the dead-letter queue."""


class Record(NamedTuple):
    """An SQS message."""

    message_id: str
    receipt_handle: str
    queue: str
    """The name of the queue it came from."""
    receives: int
    """How often it was received by now."""
    text: str

    @property
    def body(self) -> Any:
        """The message as JSON; None if it is none."""
        try:
            return decode_json(self.text)
        except ValueError:
            return None


def read_records(event: Mapping[str, Any]) -> list[Record]:
    """Read the records of an SQS event."""
    return [
        Record(
            message_id=record["messageId"],
            receipt_handle=record["receiptHandle"],
            queue=record["eventSourceARN"].rpartition(":")[2],
            receives=int(record["attributes"]["ApproximateReceiveCount"]),
            text=record["body"],
        )
        for record in event["Records"]
    ]


def order_id_of(record: Record) -> str:
    """Return the id of the order that a message is about.

    Raises:
        PoisonMessage: it names none.
    """
    body = record.body
    order_id = body.get("orderId") if isinstance(body, dict) else None
    try:
        return str(UUID(order_id))
    except (ValueError, TypeError, AttributeError) as wrong:
        raise PoisonMessage(f"the message names no order: {record.text[:200]!r}") from wrong


def work_off(records: Collection[Record], queue: Queue, work: Callable[[Record], float | None]) -> BatchAnswer:
    """Work on each record and answer which have to come back.

    ``work`` returns the seconds after which its message comes back, or None when it is done with. A message whose
    work raises comes back too, and lands in the dead-letter queue when that goes on.
    """
    unfinished = []
    for record in records:
        with about(**subject_of(record)):
            if not _is_worked_off(record, queue, work):
                unfinished.append(record)
    return _failures(unfinished)


def _is_worked_off(record: Record, queue: Queue, work: Callable[[Record], float | None]) -> bool:
    """Work on a record; return whether its message is done with."""
    try:
        delay = work(record)
    except ResourceUnavailable as unavailable:
        logger.warning(f"message {record.message_id} given back: {unavailable}")
        delay = outage_pause(record)
    except PoisonMessage as poison:
        _refuse(record, queue, poison)
        return False
    except Exception:
        logger.exception(f"message {record.message_id} cannot be worked on", body=record.text)
        return False
    if delay is None or _replaced(record, queue, delay):
        return True
    _postpone(record, queue, delay)
    return False


def outage_pause(record: Record) -> float:
    """Return when to try again while a part is down: soon at first, then ever later, so as not to be buried."""
    return min(float(record.receives), LONGEST_OUTAGE_PAUSE)


def work_off_together(
    records: Collection[Record], queue: Queue, work: Callable[[Collection[str]], Mapping[str, float]]
) -> BatchAnswer:
    """Work on all records at once.

    What has to wait comes back as it is, and only in an outage as a fresh copy; a bug takes the whole batch back.
    ``work`` takes the order ids and returns, for those whose message has to come back, after how many seconds.
    """
    by_order: dict[str, list[Record]] = {}
    unfinished = []
    for record in records:
        try:
            by_order.setdefault(order_id_of(record), []).append(record)
        except PoisonMessage as poison:
            with about(**subject_of(record)):
                _refuse(record, queue, poison)
            unfinished.append(record)
    try:
        delays: Mapping[str, float] = work(by_order.keys())
    except ResourceUnavailable as unavailable:
        logger.warning(f"{len(by_order)} orders given back: {unavailable}", orderIds=list(by_order))
        by_order = {
            order_id: [record for record in same if not _replaced(record, queue, outage_pause(record))]
            for order_id, same in by_order.items()
        }
        delays = {order_id: outage_pause(same[0]) for order_id, same in by_order.items() if same}
    except Exception:
        logger.exception(f"{len(by_order)} orders cannot be worked on", orderIds=list(by_order))
        raise
    for order_id, delay in delays.items():
        for record in by_order[order_id]:
            with about(**subject_of(record)):
                _postpone(record, queue, delay)
            unfinished.append(record)
    return _failures(unfinished)


def _replaced(record: Record, queue: Queue, delay: float) -> bool:
    """Put a fresh copy of a message that was received often on its queue; False if that is not needed or fails."""
    if record.receives < FRESH_COPY_AFTER:
        return False
    try:
        queue.send_text(record.text, delay=delay)
    except ResourceUnavailable:
        return False
    return True


def _refuse(record: Record, queue: Queue, poison: PoisonMessage) -> None:
    logger.error(f"message {record.message_id} is poison: {poison}")
    _postpone(record, queue, POISON_PAUSE)


def _postpone(record: Record, queue: Queue, delay: float) -> None:
    try:
        queue.postpone(record.receipt_handle, delay)
    except ResourceUnavailable as unavailable:
        logger.warning(f"message {record.message_id} comes back when its visibility ends: {unavailable}")


def subject_of(record: Record) -> dict[str, str]:
    """Return what the lines are about that are logged while a record is worked on."""
    try:
        return {"messageId": record.message_id, "orderId": order_id_of(record)}
    except PoisonMessage:
        return {"messageId": record.message_id}


def _failures(records: Collection[Record]) -> BatchAnswer:
    return {"batchItemFailures": [{"itemIdentifier": record.message_id} for record in records]}

"""Between an SQS batch and the code that works on orders: read each record, and say which have to come back."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from chalicelib.observability import logger
from chalicelib.resources import Queue, ResourceUnavailable
from chalicelib.wire import decode_json

OUTAGE_SECONDS = 2.0
"""When a message comes back that could not be worked on because a part was down."""

BatchAnswer = dict[str, list[dict[str, str]]]


class PoisonMessage(Exception):
    """A message that no retry can help; it goes to the dead-letter queue."""


class Record(NamedTuple):
    """An SQS message: its id, its receipt handle, and its JSON body (None if it is not JSON)."""

    message_id: str
    receipt_handle: str
    body: Any


def read_records(event: Mapping[str, Any]) -> list[Record]:
    """Read the records of an SQS event."""
    return [
        Record(record["messageId"], record["receiptHandle"], _read_body(record["body"])) for record in event["Records"]
    ]


def order_id_of(record: Record) -> str:
    """Return the id of the order that a message is about.

    Raises:
        PoisonMessage: it names none.
    """
    order_id = record.body.get("orderId") if isinstance(record.body, dict) else None
    try:
        # Postgres refuses any other text with an error, which would take a whole batch down.
        return str(UUID(order_id))
    except (TypeError, ValueError, AttributeError) as wrong:
        raise PoisonMessage(f"{record.body!r} names no order") from wrong


def work_off(records: Collection[Record], queue: Queue, work: Callable[[Record], float | None]) -> BatchAnswer:
    """Work on each record and answer which have to come back.

    ``work`` returns the seconds after which its message comes back, or None when it is done with. A message whose
    work raises comes back too, and lands in the dead-letter queue when that goes on.
    """
    unfinished = []
    for record in records:
        try:
            delay = work(record)
        except ResourceUnavailable as unavailable:
            logger.warning(f"message {record.message_id} given back: {unavailable}")
            delay = OUTAGE_SECONDS
        except Exception:
            logger.exception(f"message {record.message_id} cannot be worked on", body=record.body)
            unfinished.append(record)
            continue
        if delay is not None:
            _postpone(record, queue, delay)
            unfinished.append(record)
    return _failures(unfinished)


def work_off_together(
    records: Collection[Record], queue: Queue, work: Callable[[Collection[str]], Mapping[str, float]]
) -> BatchAnswer:
    """Work on all records at once, as ``work_off`` does one by one.

    ``work`` takes the order ids and returns, for those whose message has to come back, after how many seconds.
    """
    by_order: dict[str, list[Record]] = {}
    unfinished = []
    for record in records:
        try:
            by_order.setdefault(order_id_of(record), []).append(record)
        except PoisonMessage as poison:
            logger.error(str(poison))
            unfinished.append(record)
    try:
        delays = work(by_order.keys())
    except ResourceUnavailable as unavailable:
        logger.warning(f"{len(by_order)} orders given back: {unavailable}")
        delays = dict.fromkeys(by_order, OUTAGE_SECONDS)
    for order_id, delay in delays.items():
        for record in by_order[order_id]:
            _postpone(record, queue, delay)
            unfinished.append(record)
    return _failures(unfinished)


def _postpone(record: Record, queue: Queue, delay: float) -> None:
    try:
        queue.postpone(record.receipt_handle, delay)
    except ResourceUnavailable as unavailable:
        logger.warning(f"message {record.message_id} comes back when its visibility ends: {unavailable}")


def _failures(records: Collection[Record]) -> BatchAnswer:
    return {"batchItemFailures": [{"itemIdentifier": record.message_id} for record in records]}


def _read_body(text: str) -> Any:
    try:
        return decode_json(text)
    except ValueError:
        return None

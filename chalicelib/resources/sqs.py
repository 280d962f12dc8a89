"""SQS: queues of JSON messages."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from chalicelib.exact_json import encode_json
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.aws import AwsService

_SQS = AwsService(part="SQS", name="sqs", seconds=1.5, attempts=2)


class QueueDepth(NamedTuple):
    """How many messages of a queue wait to be received, were received and are not done with, and come later."""

    visible: int
    in_flight: int
    delayed: int


class Queue:
    """An SQS queue of JSON messages.

    Delays are whole seconds, as SQS counts them; a fraction is rounded up so that nothing comes early.
    """

    LONGEST_DELAY = 900
    LONGEST_INVISIBILITY = 43_200
    BATCH = 10
    REQUESTS_AT_ONCE = 8

    def __init__(self, url: str) -> None:
        self._url = url
        self.name = url.rpartition("/")[2]
        """It ends the queue's URL as it ends its ARN."""

    def send(self, message: object, delay: float = 0) -> None:
        """Put one message on the queue as JSON, visible after ``delay`` seconds (at most 15 minutes)."""
        self.send_text(encode_json(message).decode(), delay)

    def send_text(self, text: str, delay: float = 0) -> None:
        """Put one message on the queue as it is."""
        self._ask("SendMessage", MessageBody=text, DelaySeconds=min(math.ceil(delay), self.LONGEST_DELAY))

    def send_all(self, messages: Sequence[object], delays: Sequence[float] = ()) -> None:
        """Put many messages on the queue, ten to a request and several requests at once.

        ``delays`` holds each message's delay in seconds; without it they are visible at once.
        """
        entries = [
            {
                "Id": str(index % self.BATCH),
                "MessageBody": encode_json(message).decode(),
                "DelaySeconds": min(math.ceil(delay), self.LONGEST_DELAY),
            }
            for index, (message, delay) in enumerate(zip(messages, delays or [0.0] * len(messages), strict=True))
        ]
        batches = [entries[start : start + self.BATCH] for start in range(0, len(entries), self.BATCH)]
        if len(batches) < 2:
            for batch in batches:
                self._send_batch(batch)
            return
        with ThreadPoolExecutor(min(len(batches), self.REQUESTS_AT_ONCE), thread_name_prefix="send") as pool:
            list(pool.map(self._send_batch, batches))

    def _send_batch(self, entries: Sequence[Mapping[str, Any]]) -> None:
        refused = self._ask("SendMessageBatch", Entries=entries).get("Failed")
        if refused:
            raise ResourceUnavailable("SQS", refused)

    def postpone(self, receipt_handle: str, delay: float) -> None:
        """Keep a received message invisible for ``delay`` seconds more (at most 12 hours)."""
        self._ask(
            "ChangeMessageVisibility",
            ReceiptHandle=receipt_handle,
            VisibilityTimeout=min(math.ceil(delay), self.LONGEST_INVISIBILITY),
        )

    def depth(self) -> int:
        """Return about how many messages wait to be received; those received or delayed do not count."""
        (waiting,) = self._attributes("ApproximateNumberOfMessages")
        return waiting

    def depths(self) -> QueueDepth:
        """Return about how many messages there are, by where they are."""
        waiting = "ApproximateNumberOfMessages"
        return QueueDepth(*self._attributes(waiting, f"{waiting}NotVisible", f"{waiting}Delayed"))

    def _attributes(self, *names: str) -> list[int]:
        answer = self._ask("GetQueueAttributes", AttributeNames=names)
        try:
            return [int(answer["Attributes"][name]) for name in names]
        except (KeyError, TypeError, ValueError) as error:
            raise ResourceUnavailable("SQS", f"it did not tell {error}") from error

    def _ask(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation of https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/ on this queue."""
        url = urlsplit(self._url)
        address = _SQS.address(f"{url.scheme}://{url.netloc}")
        return _SQS.ask(address, f"AmazonSQS.{action}", "1.0", {"QueueUrl": self._url, **parameters})

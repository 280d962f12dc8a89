"""A process that can be killed at any of its side effects, and the queues that outlive it.

The engine is the real one, on the real Postgres and Redis. What stands between it and the world is wrapped so that
a run can be cut off right before its n-th side effect. What a kill leaves behind is then delivered again, to a new
process, until nothing moves any more.

A kill right after an effect needs no run of its own: it leaves what a kill right before the next effect leaves. The
memory of the process is gone either way, and nothing changes the world between two effects, because whatever
changes it is counted, one at a time: what the engine does, and what is done around it, such as receiving a message,
answering a client, or moving the market. So the kills before every effect, and before the end, are all there are.
``Fate`` checks both premises, the second one on every run that it is given a look at the world for.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from chalicelib.resources.sqs import Queue


class Killed(BaseException):
    """The process is gone. No handler of the engine may catch it."""


class Fate:
    """Decides when the current process dies: before the effects that ``kills`` number from 1, counted anew after each.

    ``look`` returns the state of the world; with it, every change between two effects is an error.
    """

    def __init__(self, kills: Iterable[int], look: Callable[[], object] | None = None) -> None:
        self._kills = list(kills)
        self._look = look
        self._seen = look() if look else None
        self._effects = 0
        self.log: list[str] = []

    @property
    def fulfilled(self) -> bool:
        """Whether every kill has happened."""
        return not self._kills

    def wrap(self, name: str, effect: Callable[..., Any]) -> Callable[..., Any]:
        """Count each call of ``effect``, and die before it when its time has come."""

        def counted(*arguments: Any, **named: Any) -> Any:
            self.reach(name)
            try:
                return effect(*arguments, **named)
            finally:
                if self._look:
                    self._seen = self._look()

        return counted

    def reach(self, name: str) -> None:
        """Count a moment before something happens, and die when its time has come."""
        self._effects += 1
        self.log.append(name)
        assert threading.current_thread() is threading.main_thread(), f"{name}: effects would overlap"
        if self._look:
            assert self._look() == self._seen, f"something that is not counted changed the world before: {name}"
        if self._kills and self._kills[0] == self._effects:
            self._kills.pop(0)
            self._effects = 0
            raise Killed


@dataclass
class _Message:
    message_id: str
    text: str
    visible_at: float
    receives: int = 0


class MemoryQueue(Queue):
    """An SQS queue in memory, on a clock that the test moves: at least once, never lost."""

    VISIBILITY = 48.0
    _ids = count(1)

    def __init__(self, name: str, clock: "Clock") -> None:
        super().__init__(name)
        self.name = name
        self._clock = clock
        self.messages: list[_Message] = []

    def send_text(self, text: str, delay: float = 0) -> None:
        self.messages.append(_Message(str(next(self._ids)), text, self._clock.now + delay))

    def send_all(self, messages: Sequence[object], delays: Sequence[float] = ()) -> None:
        for message, delay in zip(messages, delays or [0.0] * len(messages), strict=True):
            self.send(message, delay)

    def postpone(self, receipt_handle: str, delay: float) -> None:
        for message in self.messages:
            if message.message_id == receipt_handle:
                message.visible_at = self._clock.now + delay

    def depth(self) -> int:
        return sum(message.visible_at <= self._clock.now for message in self.messages)

    def receive(self, most: int) -> list[_Message]:
        received = [message for message in self.messages if message.visible_at <= self._clock.now][:most]
        for message in received:
            message.visible_at = self._clock.now + self.VISIBILITY
            message.receives += 1
        return received

    def delete(self, messages: Iterable[_Message]) -> None:
        gone = {message.message_id for message in messages}
        self.messages = [message for message in self.messages if message.message_id not in gone]


@dataclass
class Clock:
    """Seconds, moved by the test."""

    now: float = field(default=0.0)


def event_of(queue: MemoryQueue, messages: Iterable[_Message]) -> dict[str, Any]:
    """Return the event that Lambda gets for these messages."""
    return {
        "Records": [
            {
                "messageId": message.message_id,
                "receiptHandle": message.message_id,
                "body": message.text,
                "attributes": {"ApproximateReceiveCount": str(message.receives)},
                "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{queue.name}",
            }
            for message in messages
        ]
    }

"""Which orders are listened to and how far each was heard: what a stream knows, apart from connections.

Each event is passed on once and in order, whatever the connections do: ``seq`` counts an order's events without a
gap, so what was heard is not heard again, and what is missing is asked for with ``afterSeq``.
"""

from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec

from oee.answers import OrderEvent
from oee.errors import Problem, UnexpectedAnswer, refusal
from oee.exact_json import decode_json, encode_json
from oee.retries import TRANSIENT
from oee.steps import Cut

QUIET_SECONDS = 60.0
"""After so long without a word the stream connects anew. An order that waits is silent for hours; but so is a gateway
that has lost a connection, or ends it after ten idle minutes, and an engine that has lost its Redis."""
LAST_WORD_SECONDS = 2.0
"""How long the engine has to close a connection that it has told the last event."""
MOST_ORDERS = 200
"""How many orders a connection may listen to."""


@dataclass
class Followed:
    """An order, the last event that was heard of it, and whether this connection has been asked for it."""

    seq: int
    has_ended: bool = False
    asked_for: bool = False


class Feed:
    """The orders of one stream.

    With ``of_one`` the connection is opened for its one order, and the engine closes it after the last event. It knows
    better than a client which one that is: an operator may revive a failed order.
    """

    def __init__(self, *, of_one: bool = False) -> None:
        self.is_connected = False
        self._of_one = of_one
        self._orders: dict[str, Followed] = {}
        self._was_closed = False

    def follow(self, order_id: str, after_seq: int = 0) -> None:
        """Listen to one more order, from the event after ``after_seq``; to one that is followed, go on as before.

        Raises:
            ValueError: a connection may not listen to so many.
        """
        if order_id in self._orders and not self._orders[order_id].has_ended:
            return
        if sum(not followed.has_ended for followed in self._orders.values()) >= MOST_ORDERS:
            raise ValueError(f"a stream follows at most {MOST_ORDERS} orders at once: open another for {order_id}")
        self._orders[order_id] = Followed(after_seq)

    @property
    def has_heard_the_last(self) -> bool:
        """Whether every order has ended, as far as was heard."""
        return all(followed.has_ended for followed in self._orders.values())

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to hear."""
        return self.has_heard_the_last and (self._was_closed or not self._of_one or not self._orders)

    def close(self) -> None:
        """Note that the engine has said all of the one order."""
        self._was_closed = True

    @property
    def patience(self) -> float:
        """After how many seconds without a word something is wrong."""
        return LAST_WORD_SECONDS if self.has_heard_the_last else QUIET_SECONDS

    def address(self, websocket_url: str, ticket: str | None) -> str:
        """Return what to connect to."""
        query = {} if ticket is None else {"ticket": ticket}
        if self._of_one:
            ((order_id, followed),) = self._orders.items()
            query |= {"orderId": order_id, "afterSeq": str(followed.seq)}
        return f"{websocket_url}?{urlencode(query)}" if query else websocket_url

    def connected(self) -> None:
        """Note that there is a new connection, which listens to nothing yet but what it was opened for."""
        self.is_connected = True
        for followed in self._orders.values():
            followed.asked_for = self._of_one

    def disconnected(self) -> None:
        """Note that there is no connection."""
        self.is_connected = False

    def subscriptions(self) -> list[str]:
        """Return the messages that ask for the orders that this connection has not been asked for yet."""
        messages = []
        for order_id, followed in list(self._orders.items()):
            if not followed.asked_for and not followed.has_ended:
                followed.asked_for = True
                subscription = {"action": "subscribe", "orderId": order_id, "afterSeq": followed.seq}
                messages.append(encode_json(subscription).decode())
        return messages

    def hear(self, text: str) -> OrderEvent | None:
        """Return the event that a message tells of; None when it tells of none, or of one that was heard before.

        Raises:
            Cut: the connection is of no use any more.
            Retry: it is to be tried again in a moment.
            Refused: the engine does not stream an order.
            UnexpectedAnswer: the event cannot be read.
        """
        message = _read(text)
        if message is None:
            return None
        if isinstance(message.error, Problem):
            raise self._trouble(message.error)
        followed = self._orders.get(message.order_id or "")
        if followed is None or message.seq is None or message.seq <= followed.seq:
            return None
        if message.seq > followed.seq + 1:
            # It never should: connecting again asks for what is missing.
            raise Cut(None)
        try:
            event = decode_json(text, OrderEvent)
        except ValueError as wrong:
            raise UnexpectedAnswer(
                f"An event cannot be read ({wrong}). Is the client older than the engine?"
            ) from wrong
        followed.seq, followed.has_ended = event.seq, event.is_last
        return event

    def _trouble(self, problem: Problem) -> Exception:
        if problem.status == 401:
            return Cut(None)  # it is no longer known whose connection this is; a new one gets a new ticket
        if problem.status in TRANSIENT:
            return Retry(problem)
        # Which order it is about, the text says alone.
        for order_id in [order_id for order_id in self._orders if self._of_one or order_id in problem.detail]:
            del self._orders[order_id]
        return refusal(problem)


class Retry(Exception):
    """The engine asks for a moment."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class _Message(msgspec.Struct, rename="camel"):
    """What tells the kinds of message apart."""

    order_id: str | None = None
    seq: int | None = None
    error: Problem | str | None = None
    """A problem where the message is an error; a text in the event of an order that failed."""


def _read(text: str) -> _Message | None:
    """Read a message; None for one of a kind that a later version may have."""
    try:
        return decode_json(text, _Message)
    except ValueError:
        return None

"""The WebSocket protocol: what a client may send, and what it is answered.

Events are sent by the publisher; everything else a client hears is here. A message that cannot be understood is
answered with an error and leaves the socket open. Only a socket opened for an order that does not exist is closed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from chalicelib.clock import Clock
from chalicelib.execution.intake import Intake
from chalicelib.observability import about_from_here, logger
from chalicelib.rate_limit import RateLimit
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.sqs import Queue
from chalicelib.store.orders import OrderStore
from chalicelib.streaming.publisher import Publisher
from chalicelib.streaming.viewers import TooManySubscriptions, Viewers
from chalicelib.web.identity import ANYBODY, Caller, Identification, nobodys_connection
from chalicelib.web.problems import Problem, RequestError, invalid, refusal_of, shown, unknown_order
from chalicelib.web.requests import read_object, read_order, read_order_id, read_seq

MESSAGES_PER_MINUTE = 20 * 60
MESSAGES_AT_ONCE = 200
"""So that a client may subscribe to all the orders that a connection may listen to, one message after the other."""
ACTIONS = ("execute", "subscribe", "unsubscribe", "ping")


@dataclass(frozen=True, kw_only=True)
class Sockets:
    """Serves WebSocket connections, each by its API Gateway connection id."""

    intake: Intake
    store: OrderStore
    viewers: Viewers
    publisher: Publisher
    replay_queue: Queue
    identification: Identification
    message_limit: RateLimit
    clock: Clock

    def connect(self, connection_id: str, query: Mapping[str, str]) -> None:
        """Open a connection; with ``orderId`` it listens to that order, from ``afterSeq`` on.

        Nothing can be sent to it before this has returned, so its history is sent from the replay queue.

        Raises:
            RequestError: 401, it has no ticket that is good.
        """
        caller = self.identification.of_new_connection(connection_id, query)
        if "orderId" not in query:
            if caller is ANYBODY:  # a ticket notes the connection it is taken for
                self._note_opened(connection_id)
            return
        try:
            self._listen_from_opening(connection_id, caller, query)
        except ResourceUnavailable:
            # It will not be opened, so nobody will say that it was closed; and its user may have so many only.
            self.viewers.forget(connection_id)
            raise

    def _note_opened(self, connection_id: str) -> None:
        try:
            self.viewers.opened(connection_id)
        except ResourceUnavailable as unavailable:
            logger.warning(f"{connection_id} is not counted: {unavailable}")

    def _listen_from_opening(self, connection_id: str, caller: Caller, query: Mapping[str, str]) -> None:
        message: dict[str, Any] = {"connectionId": connection_id}
        try:
            message["orderId"] = order_id = read_order_id(query["orderId"])
            about_from_here(orderId=order_id)
            after_seq = read_seq(query.get("afterSeq", "0"))
            # Before it listens: a viewer is served by whoever publishes next, and nobody asks again whose it is.
            if caller is not ANYBODY and self.store.find(order_id, caller.user_id) is None:
                raise unknown_order(order_id)
            self.viewers.add(order_id, connection_id, after_seq, replay=True, opened_for=True)
        except RequestError as refused:
            message["error"] = refused.problem
        self.replay_queue.send(message)

    def replay(self, message: Mapping[str, Any]) -> float | None:
        """Bring viewers up to date: a new connection, or all of an order that may have missed an event.

        A new connection that cannot be served is told why and closed, and so is one whose user's token has expired.

        Returns:
            None when done, or after how many seconds to try again.
        """
        if "connectionId" not in message:
            return self.publisher.catch_up(message["orderId"])
        connection_id, error = message["connectionId"], message.get("error")
        expired = "expired" in message
        if expired:
            error = nobodys_connection().problem
        elif error is None:
            if self.publisher.replay(message["orderId"], connection_id, opening=True):
                return None
            error = unknown_order(message["orderId"]).problem
        if self.publisher.send(connection_id, _error(error), opening=not expired):
            self.publisher.close(connection_id)
        return None

    def receive(self, connection_id: str, body: str) -> None:
        """Do what a message asks for, or answer why not."""
        try:
            self._count_message(connection_id)
            caller = self.identification.of_connection(connection_id)
            values = read_object(body)
            action = values.pop("action", None)
            if action == "execute":
                self._execute(connection_id, caller, values)
            elif action == "subscribe":
                self._subscribe(connection_id, caller, values)
            elif action == "unsubscribe":
                self._unsubscribe(connection_id, values)
            elif action == "ping":
                self.publisher.send(connection_id, {"event": "pong"})
            else:
                raise invalid({"action": f"{shown(action)} is not allowed; expected is {' or '.join(ACTIONS)}"})
        except Exception as error:
            refused = refusal_of(error)
            if refused is None:
                raise
            if isinstance(error, ResourceUnavailable):
                logger.warning(f"message not served: {error}")
            self.publisher.send(connection_id, _error(refused.problem))

    def disconnect(self, connection_id: str) -> None:
        """Forget a connection that was closed."""
        self.viewers.forget(connection_id)

    def _execute(self, connection_id: str, caller: Caller, values: dict[str, Any]) -> None:
        """Place an order and stream it on this connection; its first event is the acknowledgement."""
        request = read_order(values, now=self.clock.now(), caller=caller.user_id)
        unheard: ResourceUnavailable | TooManySubscriptions | None = None

        def listen(order_id: str) -> None:
            # The order is stored by now: nothing may undo that.
            nonlocal unheard
            try:
                self.viewers.add(order_id, connection_id, 0, replay=False)
            except (ResourceUnavailable, TooManySubscriptions) as error:
                logger.warning(f"not streamed to {connection_id}: {error}", orderId=order_id)
                unheard = error

        order = self.intake.place(request, before_publishing=listen)
        accepted = f"Order {order.order_id} was accepted, but"
        if isinstance(unheard, TooManySubscriptions):
            raise RequestError(HTTPStatus.CONFLICT, f"{accepted} is not streamed here: {unheard}.")
        try:
            # An order that was there already publishes nothing now; a new one has nothing left to replay.
            self.publisher.replay(order.order_id, connection_id)
        except ResourceUnavailable as down:
            unheard = down
        if unheard:
            detail = f"{accepted} cannot be streamed now: subscribe to it in a moment."
            raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, detail) from unheard

    def _count_message(self, connection_id: str) -> None:
        if wait := self.message_limit.take(connection_id):
            raise RequestError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"This connection sends too many messages: allowed are {MESSAGES_PER_MINUTE // 60} a second, and "
                f"{MESSAGES_AT_ONCE} at once.",
                retry_after=wait,
            )

    def _subscribe(self, connection_id: str, caller: Caller, values: dict[str, Any]) -> None:
        order_id, after_seq = read_order_id(values.pop("orderId", None)), read_seq(values.pop("afterSeq", 0))
        _refuse_leftovers(values)
        about_from_here(orderId=order_id)
        if self.store.find(order_id, caller.user_id) is None:
            raise unknown_order(order_id)
        if not self.viewers.add(order_id, connection_id, after_seq, replay=True):
            raise RequestError(HTTPStatus.CONFLICT, f"This connection listens to order {order_id} already.")
        self.publisher.replay(order_id, connection_id)

    def _unsubscribe(self, connection_id: str, values: dict[str, Any]) -> None:
        order_id = read_order_id(values.pop("orderId", None))
        _refuse_leftovers(values)
        about_from_here(orderId=order_id)
        if not self.viewers.remove(order_id, connection_id):
            raise RequestError(HTTPStatus.NOT_FOUND, f"This connection does not listen to order {order_id}.")
        self.publisher.send(connection_id, {"event": "unsubscribed", "orderId": order_id})


def _error(problem: Problem | Mapping[str, Any]) -> dict[str, Any]:
    return {"event": "error", "error": problem}


def _refuse_leftovers(values: Mapping[str, Any]) -> None:
    if values:
        raise invalid({shown(name)[1:-1]: "is not a known field of this action" for name in values})

"""Say what happened: one log line, one metric, and one message to everybody who listens.

A step is published after its commit, so nobody hears of what did not happen. If publishing fails, the step still
stands: the log line is written, and a message to the replay queue sees to it that the viewers catch up.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from chalicelib.clock import Clock
from chalicelib.exact_json import encode_json
from chalicelib.observability import about, count, in_this_context, logger
from chalicelib.orders.events import OrderEvent, Step
from chalicelib.orders.lifecycle import is_terminal
from chalicelib.orders.order import Order
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.management_api import ManagementApi
from chalicelib.resources.sqs import Queue
from chalicelib.store.orders import OrderStore
from chalicelib.streaming.viewers import SERVE_MS, Remaining, Viewer, Viewers

PUSH_THREADS = 8
CATCH_UP_SECONDS = SERVE_MS / 1000 + 1
"""When a viewer that a dead process served is free again."""
OPENING_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0)
"""A connection cannot be posted to until its $connect has returned, and the replay may be quicker than that."""


class Publisher:
    """Publishes steps, and serves viewers until they have every event."""

    def __init__(
        self,
        store: OrderStore,
        viewers: Viewers,
        connections: ManagementApi,
        replays: Queue,
        clock: Clock,
    ) -> None:
        self._store = store
        self._viewers = viewers
        self._connections = connections
        self._replays = replays
        self._clock = clock

    def publish(self, *steps: Step) -> None:
        """Log, count and push one committed step, or several of one order that were committed together, in order."""
        with about(orderId=steps[0].order.order_id):
            for step in steps:
                _record(step)
            self._push(steps[-1].order, [step.event for step in steps])

    def _push(self, order: Order, events: Sequence[OrderEvent]) -> None:
        newest = events[-1]
        try:
            audience = self._viewers.take_lacking(order.order_id, newest.seq, encode_json(order), events)
        except ResourceUnavailable as unavailable:
            logger.warning(f"not streamed: {unavailable}", orderId=order.order_id, seq=newest.seq)
            # What a viewer misses here comes with the next event; after the last one there is no next.
            if is_terminal(newest.status):
                self.catch_up_later(order.order_id)
            return
        self._end_expired(audience.expired)
        self._serve_all(audience.free, lambda viewer: self._serve_events(viewer, events))
        if audience.busy:
            # Whoever serves them will see these events too, unless it has died.
            self.catch_up_later(order.order_id)

    def catch_up(self, order_id: str) -> float | None:
        """Serve every viewer that lacks an event, after something kept one from being published.

        Returns:
            None when nobody lacks one, or after how many seconds to look again.

        Raises:
            ResourceUnavailable: Postgres or Redis does not answer.
        """
        order = self._store.find(order_id)
        if order is None:
            return None
        audience = self._viewers.take_lacking(order_id, order.seq, encode_json(order))
        self._end_expired(audience.expired)
        ended = is_terminal(order.status)
        self._serve_all(audience.free, lambda viewer: self._serve(order_id, viewer, ended=ended))
        return CATCH_UP_SECONDS if audience.busy else None

    def catch_up_later(self, *order_ids: str) -> None:
        """Have ``catch_up`` called once a viewer whose server died is free again."""
        messages = [{"orderId": order_id} for order_id in order_ids]
        try:
            self._replays.send_all(messages, [CATCH_UP_SECONDS] * len(messages))
        except ResourceUnavailable as unavailable:
            logger.warning(f"viewers catch up when they reconnect: {unavailable}", orderIds=list(order_ids))

    def replay(self, order_id: str, connection_id: str, *, opening: bool = False) -> bool:
        """Bring a viewer up to date that was added for a replay; False when there is no such order.

        ``opening`` says that the connection may not be open yet: it is given a moment.
        """
        viewer = self._viewers.take(order_id, connection_id)
        if viewer is None:
            return True
        events = self._store.events(order_id, viewer.cursor)
        ended = False
        if not events:
            order = self._store.find(order_id)
            if order is None:
                self._viewers.remove(order_id, connection_id)
                return False
            ended = is_terminal(order.status)
        self._serve(order_id, viewer, events, ended=ended, opening=opening)
        return True

    def send(self, connection_id: str, message: object, *, opening: bool = False) -> bool:
        """Post one message that is not an event; False when the connection is gone.

        Raises:
            ResourceUnavailable: the management API does not answer.
        """
        return self._post(connection_id, message, opening)

    def close(self, connection_id: str) -> None:
        """Close a connection from the server's side."""
        self._connections.close(connection_id)

    def _end_expired(self, connection_ids: Sequence[str]) -> None:
        """Have connections told that they are nobody's any more, and closed: not here, where an order waits."""
        if not connection_ids:
            return
        messages = [{"connectionId": connection_id, "expired": True} for connection_id in connection_ids]
        try:
            self._replays.send_all(messages, [0.0] * len(messages))
        except ResourceUnavailable as unavailable:
            logger.warning(f"expired connections stay open and hear nothing: {unavailable}")

    def _serve_all(self, viewers: Sequence[Viewer], serve: Callable[[Viewer], None]) -> None:
        if len(viewers) < 2:
            for viewer in viewers:
                serve(viewer)
            return
        with ThreadPoolExecutor(min(len(viewers), PUSH_THREADS)) as pool:
            list(pool.map(in_this_context(serve), viewers))

    def _serve_events(self, viewer: Viewer, events: Sequence[OrderEvent]) -> None:
        """Serve the events at hand; what lies between the viewer's cursor and them is read from the history."""
        lacking = [event for event in events if event.seq > viewer.cursor]
        in_turn = lacking[0].seq == viewer.cursor + 1
        self._serve(events[0].order_id, viewer, lacking if in_turn else None)

    def _serve(
        self,
        order_id: str,
        viewer: Viewer,
        events: Sequence[OrderEvent] | None = None,
        *,
        ended: bool = False,
        opening: bool = False,
    ) -> None:
        """Deliver ``events``, by default the history, and what comes up meanwhile, until the viewer has everything."""
        connection_id, cursor = viewer.connection_id, viewer.cursor
        try:
            while True:
                for event in self._store.events(order_id, cursor) if events is None else events:
                    if not self._post(connection_id, event, opening):
                        self._viewers.forget(connection_id)
                        return
                    cursor, ended, opening = event.seq, is_terminal(event.status), False
                remaining = self._viewers.delivered(order_id, connection_id, cursor, ended=ended)
                if remaining is Remaining.CLOSE:
                    # Who has everything already is closed without being posted to, and may not be open yet either.
                    self._reach(connection_id, lambda: self._connections.close(connection_id), opening)
                if remaining is not Remaining.MORE:
                    return
                events = None
        except ResourceUnavailable as unavailable:
            logger.warning(f"{connection_id} not served: {unavailable}", orderId=order_id, seq=cursor)
            # After the last event there is still to be asked whether to close: only who delivers it again does so.
            if cursor > viewer.cursor and not ended:
                self._note_interruption(order_id, connection_id, cursor)
            self.catch_up_later(order_id)

    def _note_interruption(self, order_id: str, connection_id: str, cursor: int) -> None:
        try:
            self._viewers.interrupted(order_id, connection_id, cursor)
        except ResourceUnavailable as unavailable:
            logger.warning(f"{connection_id} gets events again: {unavailable}", orderId=order_id, seq=cursor)

    def _post(self, connection_id: str, message: object, opening: bool) -> bool:
        data = encode_json(message)
        return self._reach(connection_id, lambda: self._connections.post(connection_id, data), opening)

    def _reach(self, connection_id: str, reach: Callable[[], bool], opening: bool) -> bool:
        """Call ``reach``; as long as it finds no connection that may just not be open yet, again after a while."""
        for pause in OPENING_PAUSES if opening else ():
            if reach():
                return True
            if not self._viewers.may_open(connection_id):
                return False
            self._clock.sleep(pause)
        return reach()


def _record(step: Step) -> None:
    order, event = step
    logger.info(
        f"order {event.event}",
        orderId=order.order_id,
        userId=order.user_id,
        step=event.event,
        seq=event.seq,
        dex=order.chosen_dex,
        quotes=event.details.get("quotes"),
        txHash=event.tx_hash,
        executedPrice=event.executed_price,
        error=event.error,
    )
    count(f"Orders{event.event.capitalize()}")

"""Say what happened: one log line, one metric, and one message to everybody who listens.

A step is published after its commit, so nobody hears of what did not happen. If publishing fails, the step still
stands: the log line is written, and a message to the replay queue sees to it that the viewers catch up.

Who publishes is on its way with an order, and may hold one of the few slots. So it posts to one or two viewers itself,
and hands a crowd on to the replay queue.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import TypeVar

from chalicelib.clock import Clock
from chalicelib.exact_json import encode_json
from chalicelib.observability import about, count, in_this_context, logger
from chalicelib.orders.events import OrderEvent, Step
from chalicelib.orders.lifecycle import is_terminal
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.management_api import ManagementApi
from chalicelib.resources.sqs import Queue
from chalicelib.store.orders import OrderStore
from chalicelib.streaming.viewers import MOST_TAKEN, NOBODY, SERVE_MS, Audience, Published, Remaining, Viewer, Viewers

Item = TypeVar("Item")
Result = TypeVar("Result")

PUSH_THREADS = 8
SERVED_BY_PUBLISHER = 2
"""To how many viewers the publisher of a step posts itself; when there are more, it hands all of them on.

A post takes some 10 ms, and an execution publishes three steps at its end: that is for how long its slot is held for
the sake of viewers, to whom it posts at the same time."""
PUBLISHED_AT_ONCE = 50
"""Of how many orders the viewers are taken before they are posted to. All of a batch of a thousand at once would mean
that the last of them are free again, and served by somebody else, before it is their turn."""
CROWD_SERVERS = 5
"""How many processes share a crowd: as many as ``replay_events`` may run of."""
SERVE_CROWD_SECONDS = 5.0
"""For how long one of them goes on taking viewers, and begins with those it has taken: long before ``SERVE_MS`` is over
and another process may take them. ``replay_events`` has 15 s, enough for both."""
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
        self._publish([steps])

    def publish_all(self, steps: Sequence[Step]) -> None:
        """Publish committed steps of different orders, all at once: each may have to be posted to somebody."""
        self._publish([[step] for step in steps])

    def _publish(self, commits: Sequence[Sequence[Step]]) -> None:
        for steps in commits:
            _record(steps)
        published = [Published(steps[-1].order, [step.event for step in steps]) for steps in commits]
        for start in range(0, len(published), PUBLISHED_AT_ONCE):
            together = published[start : start + PUBLISHED_AT_ONCE]
            try:
                audiences = self._viewers.publish(together, most=SERVED_BY_PUBLISHER)
            except ResourceUnavailable as unavailable:
                self._miss(published[start:], unavailable)
                return
            watched = [watched for watched in zip(together, audiences, strict=True) if watched[1] != NOBODY]
            _at_once(lambda watched: self._serve_audience(*watched), watched)

    def _miss(self, published: Sequence[Published], unavailable: ResourceUnavailable) -> None:
        """Leave the viewers of what could not be streamed to the next event; after the last one there is no next."""
        for order, events in published:
            logger.warning(f"not streamed: {unavailable}", orderId=order.order_id, seq=events[-1].seq)
        if ended := [order.order_id for order, events in published if is_terminal(events[-1].status)]:
            self.catch_up_later(*ended)

    def _serve_audience(self, published: Published, audience: Audience) -> None:
        order_id = published.order.order_id
        with about(orderId=order_id):
            self._end_expired(audience.expired)
            served = _at_once(lambda viewer: self._serve_events(viewer, published.events), audience.free)
            if audience.left:
                self._hand_on(order_id, audience.left)
            elif audience.busy or not all(served):
                # Whoever serves the busy ones will see these events too, unless it has died.
                self.catch_up_later(order_id)

    def catch_up(self, order_id: str) -> float | None:
        """Serve every viewer that lacks an event: a crowd, or after something kept one from being published.

        Returns:
            None when nobody lacks one, or after how many seconds to look again.

        Raises:
            ResourceUnavailable: Postgres or Redis does not answer.
        """
        order = self._store.find(order_id)
        if order is None:
            return None
        # What cannot be read is noticed before any viewer is taken.
        history = _History(partial(self._store.events, order_id))
        until = self._clock.seconds() + SERVE_CROWD_SECONDS
        cut_off = False
        while True:
            audience = self._viewers.take_lacking(order_id, order.seq, encode_json(order), most=MOST_TAKEN)
            self._end_expired(audience.expired)
            served = self._serve_crowd(order_id, audience.free, history)
            cut_off = cut_off or not served
            if not audience.left:
                return CATCH_UP_SECONDS if audience.busy or cut_off else None
            if self._clock.seconds() >= until:
                return 0.0

    def catch_up_later(self, *order_ids: str) -> None:
        """Have ``catch_up`` called once a viewer whose server died is free again."""
        self._have_caught_up(order_ids, [CATCH_UP_SECONDS] * len(order_ids))

    def _hand_on(self, order_id: str, viewers: int) -> None:
        """Have ``catch_up`` called now, by as many processes as so many viewers are worth; and once one may have died.

        A message whose process died comes back by itself, but much later.
        """
        servers = min(math.ceil(viewers / MOST_TAKEN), CROWD_SERVERS)
        self._have_caught_up([order_id] * (servers + 1), [0.0] * servers + [CATCH_UP_SECONDS])

    def _have_caught_up(self, order_ids: Sequence[str], delays: Sequence[float]) -> None:
        try:
            self._replays.send_all([{"orderId": order_id} for order_id in order_ids], delays)
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
        if not self._serve(order_id, viewer, events, ended=ended, opening=opening):
            self.catch_up_later(order_id)
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

    def _serve_events(self, viewer: Viewer, events: Sequence[OrderEvent]) -> bool:
        """Serve the events at hand; what lies between the viewer's cursor and them is read from the history."""
        lacking = [event for event in events if event.seq > viewer.cursor]
        in_turn = lacking[0].seq == viewer.cursor + 1
        return self._serve(events[0].order_id, viewer, lacking if in_turn else None)

    def _serve_crowd(self, order_id: str, viewers: Sequence[Viewer], history: "_History") -> bool:
        """Serve viewers who were taken just now; False when not all of them have everything."""
        until = self._clock.seconds() + SERVE_CROWD_SECONDS

        def serve_in_time(viewer: Viewer) -> bool:
            return self._clock.seconds() < until and self._serve(order_id, viewer, read=history.after)

        return all(_at_once(serve_in_time, viewers))

    def _serve(
        self,
        order_id: str,
        viewer: Viewer,
        events: Sequence[OrderEvent] | None = None,
        *,
        read: Callable[[int], Sequence[OrderEvent]] | None = None,
        ended: bool = False,
        opening: bool = False,
    ) -> bool:
        """Deliver ``events``, by default the history, and what comes up meanwhile, until the viewer has everything.

        ``read`` returns the history after an event. False when it was cut off, and the viewer has to catch up.
        """
        connection_id, cursor = viewer.connection_id, viewer.cursor
        read = read or partial(self._store.events, order_id)
        try:
            while True:
                for event in read(cursor) if events is None else events:
                    if not self._post(connection_id, event, opening):
                        self._viewers.forget(connection_id)
                        return True
                    cursor, ended, opening = event.seq, is_terminal(event.status), False
                remaining = self._viewers.delivered(order_id, connection_id, cursor, ended=ended)
                if remaining is Remaining.CLOSE:
                    # Who has everything already is closed without being posted to, and may not be open yet either.
                    self._reach(connection_id, lambda: self._connections.close(connection_id), opening)
                if remaining is not Remaining.MORE:
                    return True
                events = None
        except ResourceUnavailable as unavailable:
            logger.warning(f"{connection_id} not served: {unavailable}", orderId=order_id, seq=cursor)
            # After the last event there is still to be asked whether to close: only who delivers it again does so.
            if cursor > viewer.cursor and not ended:
                self._note_interruption(order_id, connection_id, cursor)
            return False

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


class _History:
    """An order's events, read once for all viewers of a crowd, and again when there are newer ones."""

    def __init__(self, read: Callable[[int], Sequence[OrderEvent]]) -> None:
        self._read = read
        self._events = list(read(0))
        self._reading = Lock()

    def after(self, seq: int) -> Sequence[OrderEvent]:
        """Return the events after this one."""
        with self._reading:
            newest = self._events[-1].seq
            if newest <= seq:
                self._events += self._read(newest)
            return [event for event in self._events if event.seq > seq]


def _at_once(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Do the work for each item, ``PUSH_THREADS`` at a time."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(len(items), PUSH_THREADS)) as pool:
        return list(pool.map(in_this_context(work), items))


def _record(steps: Sequence[Step]) -> None:
    """Write one line for what was committed together, and count each step of it."""
    newest = steps[-1]
    details = {name: value for _, event in steps for name, value in event.details.items()}
    logger.info(
        f"order {newest.event.event}",
        orderId=newest.order.order_id,
        userId=newest.order.user_id,
        step=newest.event.event,
        seq=newest.event.seq,
        dex=newest.order.chosen_dex,
        quotes=details.get("quotes"),
        txHash=newest.event.tx_hash,
        executedPrice=newest.event.executed_price,
        error=newest.event.error,
    )
    for _, event in steps:
        count(f"Orders{event.event.capitalize()}")

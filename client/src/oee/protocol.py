"""What each call does, step by step, whichever way its steps are taken (see ``steps.py``).

Trying again is safe because it is always the same thing that is asked for: an order has a key, what is cancelled stays
cancelled, a launch may be announced twice, and everything else only reads.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote as quoted
from uuid import uuid4

import msgspec

from oee import address
from oee.answers import (
    Accepted,
    Health,
    LaunchTaken,
    Order,
    OrderEvent,
    OrderHistory,
    OrderPage,
    Quotes,
    StreamTicket,
)
from oee.errors import (
    Conflict,
    OrderEngineError,
    Problem,
    TooManyRequests,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
    refusal,
)
from oee.exact_json import encode_json
from oee.feed import Feed, Retry
from oee.orders import NewOrder, Number, exact
from oee.reading import error_of, read, read_health, says_health
from oee.retries import TRANSIENT, Attempts, Retries
from oee.signatures import signature_headers
from oee.steps import (
    AskToken,
    Connect,
    Cut,
    Deliver,
    Disconnect,
    Exchange,
    Flow,
    HandshakeRefused,
    Receive,
    Request,
    Response,
    Say,
    Silence,
    Sleep,
)

log = logging.getLogger("oee")
Result = TypeVar("Result")
JSON = {"Content-Type": "application/json"}
LARGEST_PAGE = 100
UNAUTHORIZED, FORBIDDEN, CONFLICT, UNAVAILABLE = 401, 403, 409, 503
SHORTEST_TIMEOUT = 1.0
"""Seconds that a request is given even where the deadline is nearer."""
SETTLED_SECONDS = 10.0
"""A connection that lasted so long was a good one, though nothing was said on it."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the protocol knows of the world besides the outcomes of its steps.

    ``now`` counts seconds from anywhere, ``unix_time`` from 1970; ``chance`` is a random number from 0 to 1.
    """

    now: Callable[[], float] = time.monotonic
    unix_time: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random


class Protocol:
    """The calls of one client, as flows."""

    def __init__(
        self,
        *,
        url: str,
        websocket_url: str | None,
        user_id: str | None,
        timeout: float,
        retries: Retries,
        surroundings: Surroundings,
    ) -> None:
        self.url = address.base_url(url)
        self._websocket_url = None if websocket_url is None else address.websocket_base(websocket_url)
        self._user_id = user_id
        self._timeout = timeout
        self._retries = retries
        self._surroundings = surroundings
        self._was_answered = False
        self._is_open_to_all = False

    # --- Orders ---

    def submit(self, order: NewOrder) -> Flow[Accepted]:
        """Place an order, once, however often that has to be asked for."""
        key = order.client_order_id or str(uuid4())
        keyed = msgspec.structs.replace(order, client_order_id=key, user_id=order.user_id or self._user_id)
        request = Request(method="POST", path="/api/orders", headers=JSON, body=encode_json(keyed))
        try:
            accepted = yield from self._call(request, Accepted)
        except OrderEngineError as error:
            if error.is_uncertain:
                error.client_order_id = key
            raise
        return msgspec.structs.replace(accepted, client_order_id=key)

    def cancel(self, order_id: str) -> Flow[Order]:
        """Cancel an order; one that is cancelled already is answered as it is."""
        return (yield from self._call(Request(method="DELETE", path=_path(order_id)), Order))

    def order(self, order_id: str) -> Flow[Order]:
        """Ask for an order."""
        return (yield from self._call(Request(method="GET", path=_path(order_id)), Order))

    def history(self, order_id: str) -> Flow[list[OrderEvent]]:
        """Ask for an order's events so far."""
        history = yield from self._call(Request(method="GET", path=f"{_path(order_id)}/events"), OrderHistory)
        return list(history.events)

    def orders(self, status: str | None, limit: int | None) -> Flow[None]:
        """Deliver orders, the newest first, page by page."""
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            size = LARGEST_PAGE if left is None else min(left, LARGEST_PAGE)
            query = _without_none({"status": status, "limit": str(size), "cursor": cursor})
            page = yield from self._call(Request(method="GET", path="/api/orders", query=query), OrderPage)
            for order in page.orders:
                yield Deliver(order)
            left = None if left is None else left - len(page.orders)
            cursor = page.next_cursor
            if cursor is None:
                return

    # --- The market, and the engine itself ---

    def quote(self, token_in: str, token_out: str, amount: Number, side: str | None) -> Flow[Quotes]:
        """Ask what the router would choose now."""
        query = {"tokenIn": token_in, "tokenOut": token_out, "amount": str(exact("amount", amount)), "side": side}
        return (yield from self._call(Request(method="GET", path="/api/quotes", query=_without_none(query)), Quotes))

    def launch(
        self, secret: str, pool: str, token_in: str, token_out: str | None, venue: str | None
    ) -> Flow[LaunchTaken]:
        """Announce a launch. Each try is a delivery of its own: the same pool may come again, a delivery may not."""
        values = {"pool": pool, "tokenIn": token_in, "tokenOut": token_out, "venue": venue}
        body = encode_json(_without_none(values))

        def signed() -> Request:
            timestamp = int(self._surroundings.unix_time())
            signature = signature_headers(secret, f"msg_{uuid4().hex}", timestamp, body)
            headers = {**JSON, **signature}
            return Request(method="POST", path="/api/launches", headers=headers, body=body, needs_token=False)

        return read((yield from self._exchange(signed)), LaunchTaken)

    def health(self) -> Flow[Health]:
        """Ask which of its parts the engine reaches; that Postgres is down is an answer too, and not tried again."""
        request = Request(method="GET", path="/health", needs_token=False)
        return read_health((yield from self._exchange(lambda: request, is_final=says_health)))

    # --- Streams ---

    def websocket_url(self, accepted: Accepted | None = None) -> str:
        """Return where the WebSocket API is: as the client was told, as the engine told it, or beside REST."""
        if self._websocket_url is not None:
            return self._websocket_url
        named = None if accepted is None else address.as_answered(self.url, accepted.web_socket_url)
        return named or address.beside(self.url)

    def follow(self, feed: Feed, order_id: str, after_seq: int) -> Flow[None]:
        """Add an order to a stream; one that has ended and has nothing left to tell is not added."""
        if after_seq > 0:
            order = yield from self.order(order_id)
            if order.has_ended and order.seq <= after_seq:
                return
        feed.follow(order_id, after_seq)
        if feed.is_connected:
            # Whoever listens finds out as well that it was cut, connects anew and asks for all of them.
            with suppress(Cut):
                yield from _say_all(feed.subscriptions())

    def stream(self, feed: Feed, websocket_url: str) -> Flow[None]:
        """Deliver the events of the orders that are followed until all have ended; connect as often as that takes."""
        attempts = self._attempts()
        while not feed.is_over:
            retry_after: float | None = None
            trouble: OrderEngineError | None = None
            connected_at = self._surroundings.now()
            try:
                if not feed.is_connected:
                    yield from self._connect(feed, websocket_url, attempts)
                    connected_at = self._surroundings.now()
                yield from self._listen(feed, attempts)
            except Silence:
                attempts.reset()
                if feed.has_heard_the_last:
                    feed.close()
            except Cut:
                trouble = address.unreachable(websocket_url, "the connection was closed")
                if feed.has_heard_the_last:
                    feed.close()
                elif self._surroundings.now() - connected_at > SETTLED_SECONDS:
                    attempts.reset()
            except Retry as asked:
                retry_after, trouble = asked.problem.retry_after, refusal(asked.problem)
            except Unreachable as unreachable:
                if not self._was_answered and not self._retries.wait_for_start:
                    raise
                trouble = unreachable
            if feed.is_connected:
                yield Disconnect()
                feed.disconnected()
            if trouble is not None and not feed.is_over:
                yield from _pause(attempts, retry_after, trouble)

    def _connect(self, feed: Feed, websocket_url: str, attempts: Attempts) -> Flow[None]:
        ticket = yield from self._ticket()
        try:
            yield Connect(feed.address(websocket_url, ticket), self._time_left(attempts))
        except HandshakeRefused as refused:
            if refused.status == FORBIDDEN and ticket is None and not self._is_open_to_all:
                yield from self._new_ticket()  # says so, where the reason is that one is needed
            raise self._not_let_in(refused.status, websocket_url, ticket) from refused
        self._was_answered = True
        feed.connected()
        yield from _say_all(feed.subscriptions())

    def _listen(self, feed: Feed, attempts: Attempts) -> Flow[None]:
        while not feed.is_over:
            text = yield Receive(feed.patience)
            event = feed.hear(text)
            if event is not None:
                attempts.reset()
                yield Deliver(event)
        yield Disconnect()
        feed.disconnected()

    def _ticket(self) -> Flow[str | None]:
        """Exchange the token for a ticket; None where there is no token, or nobody needs a ticket."""
        if self._is_open_to_all or (yield AskToken()) is None:
            return None
        return (yield from self._new_ticket())

    def _new_ticket(self) -> Flow[str | None]:
        try:
            issued = yield from self._call(Request(method="POST", path="/api/stream/tickets"), StreamTicket)
        except Conflict:
            self._is_open_to_all = True
            return None
        return issued.ticket

    def _not_let_in(self, status: int, websocket_url: str, ticket: str | None) -> Exception:
        if status in TRANSIENT:
            return Retry(Problem(status=status))
        if status == FORBIDDEN and ticket is None:
            # No ticket is needed. MiniStack answers so whatever the reason is, such as that Redis is away.
            detail = f"{websocket_url} opens no connection (status 403): a part of the engine may be down."
            return Retry(Problem(status=UNAVAILABLE, detail=detail))
        if status == UNAUTHORIZED and ticket is None:
            return _without_token(f"{websocket_url} lets nobody in without a token.")
        if status in (UNAUTHORIZED, FORBIDDEN):
            return Retry(
                Problem(status=UNAUTHORIZED, detail=f"{websocket_url} does not take the tickets of {self.url}.")
            )
        if status == CONFLICT:
            return Conflict(Problem(status=status, detail="No connection: close one first, you have too many open."))
        return UnexpectedAnswer(
            f"{websocket_url} speaks no WebSocket (status {status}). If it is elsewhere, say where: websocket_url."
        )

    # --- One request ---

    def _call(self, request: Request, kind: type[Result]) -> Flow[Result]:
        try:
            return read((yield from self._exchange(lambda: request)), kind)
        except Unauthorized as refused:
            raise _without_token(refused.detail) from refused

    def _exchange(
        self, make_request: Callable[[], Request], is_final: Callable[[Response], bool] = lambda _response: False
    ) -> Flow[Response]:
        """Make a request until it is answered for good, with a newer token once, or until the deadline."""
        attempts = self._attempts()
        token: str | None = None
        was_renewed = is_uncertain = False
        while True:
            request = make_request()
            if request.needs_token and token is None:
                token = yield AskToken()
            try:
                response: Response = yield Exchange(request, token, self._time_left(attempts))
            except Unreachable as unreachable:
                trouble: OrderEngineError = unreachable
                if not self._was_answered and not self._retries.wait_for_start:
                    raise
            else:
                self._was_answered = True
                if response.status == UNAUTHORIZED and token is not None and not was_renewed:
                    was_renewed = True
                    newer: str | None = yield AskToken(renewed=True)
                    if newer is not None:
                        token = newer
                        continue
                if response.status not in TRANSIENT or is_final(response):
                    return response
                trouble = error_of(response)
            # A limit that is reached says that nothing was done, also by the tries before: a repeated one passes it.
            is_uncertain = (is_uncertain or trouble.is_uncertain) and not isinstance(trouble, TooManyRequests)
            trouble.is_uncertain = is_uncertain
            yield from _pause(attempts, getattr(trouble, "retry_after", None), trouble)

    def _attempts(self) -> Attempts:
        return Attempts(self._retries, self._surroundings.now, self._surroundings.chance)

    def _time_left(self, attempts: Attempts) -> float:
        return min(self._timeout, max(attempts.remaining, SHORTEST_TIMEOUT))


def _pause(attempts: Attempts, retry_after: float | None, trouble: OrderEngineError) -> Flow[None]:
    """Wait before the next try, or raise what kept the last one from going well."""
    pause = attempts.next_pause(retry_after)
    if pause is None:
        raise trouble
    log.info("trying again in %.1f s: %s", pause, trouble)
    yield Sleep(pause)


def _say_all(messages: Iterable[str]) -> Flow[None]:
    for message in messages:
        yield Say(message)


def _path(order_id: str) -> str:
    return f"/api/orders/{quoted(order_id, safe='')}"


def _without_none(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _without_token(detail: str) -> Unauthorized:
    advice = "Pass a token of the engine's issuer: Client(token=…), or the variable OEE_TOKEN for the command oee."
    return Unauthorized(Problem(status=UNAUTHORIZED, title="Unauthorized", detail=f"{detail}\n{advice}"))

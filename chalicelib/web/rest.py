"""What each REST call answers, apart from how Chalice carries it."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus

from chalicelib.clock import Clock
from chalicelib.exact_json import encode_json
from chalicelib.execution.cancellation import Cancellation
from chalicelib.execution.dead_letters import DeadLetters
from chalicelib.execution.intake import Intake
from chalicelib.observability import about_from_here, logger
from chalicelib.orders.order import Order
from chalicelib.resources import ResourceUnavailable
from chalicelib.routing.router import Router
from chalicelib.store.dead_letters import DeadLetter
from chalicelib.store.orders import OrderStore
from chalicelib.streaming.viewers import Viewers
from chalicelib.triggers.launches import Launches
from chalicelib.web.answers import (
    AcceptedOrder,
    Answer,
    DeadLetterList,
    Health,
    LaunchTaken,
    ListedDeadLetter,
    OrderHistory,
    OrderPage,
    Quotes,
    StreamTicket,
)
from chalicelib.web.identity import OPERATE, Caller, Identification
from chalicelib.web.problems import RequestError, unknown_order
from chalicelib.web.requests import (
    read_launch,
    read_message_ids,
    read_object,
    read_order,
    read_order_id,
    read_page,
    read_trade,
    write_cursor,
)
from chalicelib.web.signatures import verify

Probe = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Rest:
    """The REST API. Every method returns what is to be written as JSON, or JSON already written as bytes.

    Besides what a method names, any of them may raise ``ResourceUnavailable``; ``problems.refusal_of`` says what a
    client is told of each error. Those that are about a user's own things take the caller: what belongs to others is
    answered like what does not exist.
    """

    intake: Intake
    cancellation: Cancellation
    launches: Launches
    dead_letters: DeadLetters
    identification: Identification
    store: OrderStore
    viewers: Viewers
    router: Router
    websocket_url: str
    launch_secret: Callable[[], str]
    probes: Mapping[str, Probe]
    clock: Clock

    def place_order(self, caller: Caller, body: bytes | str, idempotency_key: str | None) -> AcceptedOrder:
        """``POST /api/orders/execute``: accept an order.

        Raises:
            RequestError: 400 for what it says, 403 for another user's, 413 for its size.
            TooManyOrders: its user's limit is reached.
            IdempotencyConflict: its key belongs to another order.
            TooLate: its time is up.
        """
        values = read_object(body)
        request = read_order(values, idempotency_key, now=self.clock.now(), caller=caller.user_id)
        order = self.intake.place(request)
        return AcceptedOrder(
            order_id=order.order_id,
            status=order.status,
            web_socket_url=f"{self.websocket_url}?orderId={order.order_id}",
        )

    def order(self, caller: Caller, order_id: str) -> bytes:
        """``GET /api/orders/{id}``: from Redis while it is active, else from Postgres.

        Raises:
            RequestError: 400 for an id that is none, 404 for one that is not known.
        """
        order_id = read_order_id(order_id)
        about_from_here(orderId=order_id)
        try:
            if state := self.viewers.read_state(order_id, caller.user_id):
                return state
        except ResourceUnavailable as unavailable:
            logger.warning(f"read from Postgres: {unavailable}", orderId=order_id)
        order = self.store.find(order_id, caller.user_id)
        if order is None:
            raise unknown_order(order_id)
        state = encode_json(order)
        try:
            self.viewers.fill_state(order_id, order.seq, state)
        except ResourceUnavailable as unavailable:
            logger.warning(f"not kept in Redis: {unavailable}", orderId=order_id)
        return state

    def cancel(self, caller: Caller, order_id: str) -> Order:
        """``DELETE /api/orders/{id}``: cancel what has not been submitted; the answer is the cancelled order.

        Raises:
            RequestError: 400 for an id that is none, 404 for one that is not known.
            NotCancellable: it is too late.
        """
        order_id = read_order_id(order_id)
        about_from_here(orderId=order_id)
        order = self.cancellation.cancel(order_id, caller.user_id)
        if order is None:
            raise unknown_order(order_id)
        return order

    def launch(self, body: bytes | str, headers: Mapping[str, str]) -> LaunchTaken:
        """``POST /api/launches``: a signed webhook says that a pool went live.

        Raises:
            RequestError: 401 for a message that is not signed as it should be, 400 for what it says, 503 while no
                secret is set.
            DeliveryRepeated: it was taken before.
            LaunchConflict: it contradicts what is known of its pool.
        """
        secret = self.launch_secret()
        if not secret:
            raise RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE, "Launches are not taken: LAUNCH_WEBHOOK_SECRET is not set."
            )
        signed = body if isinstance(body, bytes) else body.encode()
        delivery_id = verify(secret, headers, signed, self.clock.now())
        launch = read_launch(read_object(signed), self.router.venue_names)
        woken = self.launches.take(launch, delivery_id)
        return LaunchTaken(
            pool=launch.pool,
            token_in=launch.token_in,
            token_out=launch.token_out,
            venue=launch.venue,
            orders_woken=woken,
        )

    def events(self, caller: Caller, order_id: str) -> OrderHistory:
        """``GET /api/orders/{id}/events``: the order's history, oldest first.

        Raises:
            RequestError: 400 for an id that is none, 404 for one that is not known.
        """
        order_id = read_order_id(order_id)
        about_from_here(orderId=order_id)
        events = self.store.events(order_id, owner=caller.user_id)
        if not events:
            raise unknown_order(order_id)
        return OrderHistory(order_id=order_id, events=events)

    def orders(self, caller: Caller, query: Mapping[str, str]) -> OrderPage:
        """``GET /api/orders``: a page of the caller's orders, newest first, and the cursor of the next one.

        Raises:
            RequestError: 400 for what it says.
        """
        page = read_page(query)
        found = self.store.page(status=page.status, limit=page.limit + 1, before=page.before, owner=caller.user_id)
        orders = found[: page.limit]
        next_cursor = write_cursor(orders[-1]) if len(found) > page.limit else None
        return OrderPage(orders=orders, next_cursor=next_cursor)

    def quotes(self, query: Mapping[str, str]) -> Quotes:
        """``GET /api/quotes``: what the router would choose now.

        Raises:
            RequestError: 400 for what it says.
            SwapRefused: no venue can ever make this trade.
            VenueUnavailable: no venue has a quote now.
        """
        trade = read_trade(query)
        route = self.router.route(trade)
        return Quotes(
            token_in=trade.token_in,
            token_out=trade.token_out,
            side=trade.side,
            amount=trade.amount,
            quotes=route.quotes_by_venue,
            chosen=route.best.venue,
            errors=route.errors,
        )

    def issue_ticket(self, caller: Caller) -> StreamTicket:
        """``POST /api/stream/tickets``: a ticket for one WebSocket connection.

        Raises:
            RequestError: 409, no ticket is needed.
        """
        ticket = self.identification.issue_ticket(caller)
        return StreamTicket(ticket=ticket.text, expires_at=self.clock.now() + timedelta(seconds=ticket.seconds))

    def list_dead_letters(self, caller: Caller) -> DeadLetterList:
        """``GET /api/dead-letters``: the messages that could not be processed, oldest first.

        Raises:
            RequestError: 403, the caller is no operator.
        """
        caller.require_scope(OPERATE)
        return _listed(self.dead_letters.waiting())

    def redrive(self, caller: Caller, body: bytes | str) -> DeadLetterList:
        """``POST /api/dead-letters/redrive``: put dead letters back on their queues; the answer says which.

        Raises:
            RequestError: 403, the caller is no operator; 400 for what it says, 413 for its size.
        """
        caller.require_scope(OPERATE)
        return _listed(self.dead_letters.redrive(read_message_ids(read_object(body))))

    def health(self) -> Answer:
        """``GET /health``: which parts answer; 503 when Postgres, without which no order is taken, does not."""
        with ThreadPoolExecutor(len(self.probes)) as pool:
            answers = dict(zip(self.probes, pool.map(_answers, self.probes.values()), strict=True))
        health = Health(
            status="ok" if all(answers.values()) else "degraded",
            parts={part: "up" if up else "down" for part, up in answers.items()},
        )
        return Answer(health, HTTPStatus.OK if answers["postgres"] else HTTPStatus.SERVICE_UNAVAILABLE)


def _listed(letters: Iterable[DeadLetter]) -> DeadLetterList:
    return DeadLetterList(
        dead_letters=[
            ListedDeadLetter(
                message_id=letter.message_id,
                queue=letter.queue,
                order_id=letter.order_id,
                reason=letter.reason,
                buried_at=letter.buried_at,
            )
            for letter in letters
        ]
    )


def _answers(probe: Probe) -> bool:
    try:
        probe()
    except ResourceUnavailable as unavailable:
        logger.warning(str(unavailable))
        return False
    return True

"""The second phase: watch a batch of sent swaps until each has landed, failed or expired.

One status call covers the whole batch. "Not found" does not mean "failed": a swap that is not known is sent again,
the same bytes, and only when it has expired and a last look still finds nothing is the order tried anew.
"""

from collections.abc import Collection
from dataclasses import dataclass
from random import sample
from typing import NamedTuple, assert_never

from chalicelib.clock import Clock
from chalicelib.execution.retries import Retries
from chalicelib.observability import about, logger
from chalicelib.orders.order import Order, Side
from chalicelib.orders.swap import EndedSwap, Fill, SignedTransaction, SwapOutcome, SwapStatus
from chalicelib.orders.tokens import EXACT, round_price
from chalicelib.polling import ticks
from chalicelib.queueing.dispatch import Dispatcher
from chalicelib.store.orders import OrderStore
from chalicelib.streaming.publisher import Publisher
from chalicelib.venues.venue import Chain, VenueUnavailable

WATCH_SECONDS = 4.0
"""How long one call watches its batch before it gives back what has not landed."""
COME_BACK_SECONDS = 2.0
SENDING_SECONDS = 10.0
"""After which no swap is sent again in this call: ``settle_orders`` has 15 s, and sending one may take 3."""


class InFlight(NamedTuple):
    """An order whose swap has been sent."""

    order: Order
    swap: SignedTransaction


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """Settles submitted orders in batches."""

    store: OrderStore
    chain: Chain
    publisher: Publisher
    dispatcher: Dispatcher
    retries: Retries
    clock: Clock

    def settle(self, order_ids: Collection[str]) -> dict[str, float]:
        """Settle what lands while watching.

        Returns:
            For each order that is still in flight, the seconds after which to look again.

        Raises:
            ResourceUnavailable: Postgres does not answer; nothing was lost.
        """
        send_until = self.clock.seconds() + SENDING_SECONDS
        in_flight = {swap.tx_hash: InFlight(order, swap) for order, swap in self.store.in_flight(order_ids)}
        for order_id in set(order_ids) - {order.order_id for order, _ in in_flight.values()}:
            self._pass_on(order_id)
        for _ in ticks(self.clock, every=self.chain.look_seconds, lasting=WATCH_SECONDS):
            self._look(in_flight)
            if not in_flight:
                return {}
        self._send_again(in_flight.values(), send_until)
        return {order.order_id: COME_BACK_SECONDS for order, _ in in_flight.values()}

    def _look(self, in_flight: dict[str, InFlight]) -> None:
        """Settle all that has an outcome by now and take it out of ``in_flight``."""
        try:
            statuses = self.chain.statuses([swap for _, swap in in_flight.values()])
        except VenueUnavailable as unavailable:
            order_ids = [order.order_id for order, _ in in_flight.values()]
            logger.warning(f"{len(in_flight)} swaps not looked at: {unavailable}", orderIds=order_ids)
            return
        landed: list[Fill] = []
        for tx_hash, status in statuses.items():
            order, swap = in_flight.pop(tx_hash)
            match status.outcome:
                case SwapOutcome.LANDED:
                    landed.append(_fill(order, swap, status))
                case SwapOutcome.FAILED:
                    self._end_try(order, EndedSwap(tx_hash, "failed"), status.error or "the chain gave no reason")
                case SwapOutcome.EXPIRED:
                    self._end_try(order, EndedSwap(tx_hash, "expired"), "the swap expired before it landed")
                case _:
                    assert_never(status.outcome)
        if landed:
            self._confirm(landed)

    def _confirm(self, fills: list[Fill]) -> None:
        confirmed = self.store.confirm(fills)
        self.publisher.publish_all(confirmed)
        for order_id in {fill.order_id for fill in fills} - {step.order.order_id for step in confirmed}:
            self._pass_on(order_id)

    def _end_try(self, order: Order, swap: EndedSwap, error: str) -> None:
        with about(orderId=order.order_id):
            ended = self.retries.end_try(order, error, ended_swap=swap)
            if not ended.moved:
                self._pass_on(order.order_id)
            elif ended.delay is not None:
                self.dispatcher.send(order, ended.delay.total_seconds())

    def _pass_on(self, order_id: str) -> None:
        """Pass an order on that is settled already: by somebody else, or by us and the answer was lost."""
        with about(orderId=order_id):
            order = self.store.find(order_id)
            if order is not None:
                self.dispatcher.pass_on(order)

    def _send_again(self, in_flight: Collection[InFlight], until: float) -> None:
        """Send the same bytes again, as many as there is time for; in any order, so that none always comes last."""
        for order, swap in sample(list(in_flight), len(in_flight)):
            if self.clock.seconds() >= until:
                logger.warning("no time was left to send all swaps again: the chain is slow")
                return
            try:
                self.chain.submit(swap)
            except VenueUnavailable as unavailable:
                logger.warning(f"the swap was not sent again: {unavailable}", orderId=order.order_id)


def _fill(order: Order, swap: SignedTransaction, status: SwapStatus) -> Fill:
    if not status.spent or not status.received:
        raise ValueError(f"swap {swap.tx_hash} landed, but moved {status.spent} for {status.received}")
    sells = order.side is Side.SELL
    amount_in, amount_out = (status.spent, status.received) if sells else (status.received, status.spent)
    return Fill(
        order_id=order.order_id,
        tx_hash=swap.tx_hash,
        venue=swap.venue,
        amount_in=amount_in,
        amount_out=amount_out,
        executed_price=round_price(EXACT.divide(amount_out, amount_in)),
        explorer_url=status.explorer_url,
    )

"""A token has launched: remember the pool, and wake who waits for it."""

from dataclasses import dataclass

from chalicelib.observability import logger
from chalicelib.orders.launch import Launch
from chalicelib.store.book import Book
from chalicelib.triggers import waking
from chalicelib.triggers.waking import Waker


class LaunchConflict(Exception):
    """The pool is known, but for other tokens or on another venue."""


class DeliveryRepeated(Exception):
    """This very message was taken before."""


@dataclass(frozen=True, kw_only=True)
class Launches:
    book: Book
    waker: Waker

    def take(self, launch: Launch, delivery_id: str) -> int:
        """Remember a launch and wake its snipers; return how many.

        The same pool may be announced again, in another delivery: that wakes whoever has come to wait since. Should
        this be cut off after the launch was stored, the market watch wakes them.

        Raises:
            DeliveryRepeated: this delivery was taken before.
            LaunchConflict: the pool was announced with other tokens or on another venue.
            ResourceUnavailable: Postgres does not answer.
        """
        known = self.book.record_launch(launch, delivery_id)
        if known is None:
            raise DeliveryRepeated(f"the delivery {delivery_id} was taken before")
        if known != launch:
            pair, venue = f"{known.token_in}/{known.token_out or 'any token'}", known.venue or "a venue not said"
            raise LaunchConflict(f"pool {launch.pool} is known for {pair} on {venue}")
        woken = 0
        while True:
            batch = self.waker.wake_launched([(launch.token_in, launch.token_out)])
            woken += batch.orders
            if batch.orders < waking.WOKEN_AT_ONCE:
                break
        logger.info("a token has launched", pool=launch.pool, tokenIn=launch.token_in, woken=woken)
        return woken

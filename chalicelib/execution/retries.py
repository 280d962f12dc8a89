"""What follows a try that failed: another one after a while, or the order fails.

Both phases end tries: the executor when no venue answers or there is a bug, settlement when the chain refused the swap
or never took it in. Where another try would be of no use, they and the dead letters give up.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from chalicelib.orders.order import Order
from chalicelib.orders.swap import EndedSwap
from chalicelib.store.orders import OrderStore
from chalicelib.streaming.publisher import Publisher


class EndedTry(NamedTuple):
    """The end of a try.

    ``moved`` says whether it was this call that ended it; ``delay`` is how long the next try waits, or None if there
    is none.
    """

    moved: bool
    delay: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Retries:
    store: OrderStore
    publisher: Publisher
    backoff_base_ms: int

    def end_try(
        self, order: Order, error: str, *, worker: UUID | None = None, ended_swap: EndedSwap | None = None
    ) -> EndedTry:
        """End a try of ``order``, as the worker that holds its lease or as who saw its swap end.

        Raises:
            ResourceUnavailable: Postgres does not answer.
        """
        delay = next_try(order.attempts + 1, order.max_retries, self.backoff_base_ms)
        if delay is None:
            return self.give_up(order, error, worker=worker, ended_swap=ended_swap)
        retried = self.store.retry(order, error=error, delay=delay, worker=worker, ended_swap=ended_swap)
        if retried is None:
            return EndedTry(moved=False)
        self.publisher.publish(retried)
        return EndedTry(moved=True, delay=delay)

    def give_up(
        self, order: Order, error: str, *, worker: UUID | None = None, ended_swap: EndedSwap | None = None
    ) -> EndedTry:
        """Fail an order for which another try would be of no use.

        Raises:
            ResourceUnavailable: Postgres does not answer.
        """
        failed = self.store.fail(order, error=error, worker=worker, ended_swap=ended_swap)
        if failed is not None:
            self.publisher.publish(failed)
        return EndedTry(moved=failed is not None)


def backoff(attempt: int, base_ms: int) -> timedelta:
    """Return the wait after the failed try number ``attempt`` (from 1): ``base_ms`` × 2^(attempt − 1)."""
    return timedelta(milliseconds=base_ms * 2 ** (attempt - 1))


def next_try(attempt: int, max_retries: int, base_ms: int) -> timedelta | None:
    """Return how long to wait after the failed try number ``attempt``, or None when it was the last one."""
    return None if attempt >= max_retries else backoff(attempt, base_ms)

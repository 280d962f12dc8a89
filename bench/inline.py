"""The documented inline design, to compare the engine with: a worker that sleeps in its slot until the swap has landed.

It is the engine's own first phase but for its last step. Where that one hands a sent swap over to settlement and is
done, this one waits, and then confirms the order by itself. Store, router, venues, chain and publisher are the same.

What it is spared: it sleeps through the shortest time in which a swap can land without asking, and from then on looks
four times as often as settlement does, because only its own order waits for the answer. A ratio to it is therefore
rather too small than too large.
"""

from dataclasses import dataclass, replace
from functools import cache

from chalicelib.clock import Clock
from chalicelib.engine import Engine, engine
from chalicelib.execution.executor import Executor, Submitted
from chalicelib.execution.settlement import Settlement
from chalicelib.orders.order import Order
from chalicelib.venues.simulated.chain import LANDING_SECONDS, SimulatedChain

LOOK_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class InlineExecutor(Executor):
    """Takes an order from ``pending`` to its end in one go."""

    settlement: Settlement
    clock: Clock
    earliest_landing: float
    """Seconds after it was sent; before that no swap lands."""

    def _send(self, order: Order, submitted: Submitted) -> None:
        """Send the swap, and stay until the order has been settled."""
        self.chain.submit(submitted.swap)
        self.publisher.publish(*submitted.steps)
        self.clock.sleep(self.earliest_landing)
        while self.settlement.settle([order.order_id]):
            pass


@cache
def inline_executor() -> InlineExecutor:
    """Return this process's inline executor."""
    return inline_executor_of(engine())


def inline_executor_of(parts: Engine) -> InlineExecutor:
    """Put an inline executor together from an engine's parts."""
    chain = parts.chain
    assert isinstance(chain, SimulatedChain), "only the simulated venues are measured"
    return InlineExecutor(
        store=parts.store,
        router=parts.router,
        chain=chain,
        publisher=parts.publisher,
        dispatcher=parts.dispatcher,
        retries=parts.retries,
        pacer=parts.pacer,
        settlement=replace(parts.settlement, chain=replace(chain, look_seconds=LOOK_SECONDS)),
        clock=parts.clock,
        earliest_landing=LANDING_SECONDS[0] * chain.latency,
    )

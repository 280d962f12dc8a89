"""How long settlement takes where the chain is slow: its function is killed when it takes too long."""

from datetime import timedelta
from types import SimpleNamespace

from chalicelib.execution.settlement import COME_BACK_SECONDS, SENDING_SECONDS, Settlement
from chalicelib.orders.swap import SignedTransaction
from tests.builders import NOON, an_order
from tests.clocks import StoppedClock

SECONDS_A_CALL = 1.5


class SlowChain:
    """Nothing lands, and whatever it is asked takes its time."""

    look_seconds = 0.5

    def __init__(self, clock):
        self.clock = clock
        self.sent = []

    def statuses(self, _):
        self.clock.pass_time(SECONDS_A_CALL)
        return {}

    def submit(self, swap):
        self.clock.pass_time(SECONDS_A_CALL)
        self.sent.append(swap.tx_hash)


def a_swap(number):
    expires_at = NOON + timedelta(seconds=60)
    return SignedTransaction(tx_hash=f"swap {number}", venue="raydium", payload=b"", expires_at=expires_at)


def test_swaps_are_sent_again_only_as_long_as_there_is_time_and_come_back_all_the_same():
    clock = StoppedClock()
    chain = SlowChain(clock)
    in_flight = [(an_order(order_id=str(number)), a_swap(number)) for number in range(10)]
    store = SimpleNamespace(in_flight=lambda _: in_flight)
    settlement = Settlement(store=store, chain=chain, publisher=None, dispatcher=None, retries=None, clock=clock)

    delays = settlement.settle([order.order_id for order, _ in in_flight])

    assert delays == {order.order_id: COME_BACK_SECONDS for order, _ in in_flight}
    assert 0 < len(chain.sent) < len(in_flight)
    assert clock.seconds() <= SENDING_SECONDS + SECONDS_A_CALL

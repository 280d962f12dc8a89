"""Whatever workers, settlements and recoveries do in whatever order, an order keeps to its lifecycle.

Hypothesis plays several workers, living and dead, a chain, and an operator against the real Postgres, and looks for
a sequence of theirs that breaks an invariant.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from chalicelib.orders.lifecycle import TRANSITIONS, is_terminal
from chalicelib.orders.order import Side, Status, WaitsFor
from chalicelib.orders.swap import EndedSwap, Fill, SignedTransaction, SwapPlan
from chalicelib.orders.waiting import AwaitedLimit, MarketPrice, Unmet, WakesWhen
from chalicelib.store.book import Book
from chalicelib.store.dead_letters import DeadLetterStore
from chalicelib.store.orders import OrderStore
from tests.builders import ROUTED, an_order
from tests.integration.conftest import record_without_submitting

LEASES = [timedelta(minutes=1), timedelta()]
"""A lease that holds, and one that has run out at once: the worker counts as dead and goes on all the same."""
_numbers = count(1)

whose = st.sampled_from(["the newest worker's", "the newest worker's", "an older worker's"])
rarely = st.integers(0, 5).map(lambda number: number == 5)


class OneOrder(RuleBasedStateMachine):
    store: OrderStore
    book: Book
    dead_letters: DeadLetterStore
    database: object

    @initialize()
    def accept(self) -> None:
        order = an_order()
        self.order_id = order.order_id
        for table in ("swaps", "order_events", "orders"):
            self.database.change(f"DELETE FROM {table}")
        assert self.store.accept(order, "digest") is not None
        self.workers = [uuid4(), uuid4()]
        self.statuses = [Status.PENDING]
        self.landed: set[str] = set()

    @property
    def order(self):
        return self.store.find(self.order_id)

    @property
    def live(self) -> SignedTransaction | None:
        rows = self.database.rows("SELECT tx_hash FROM swaps WHERE order_id = %s AND state = 'live'", self.order_id)
        return swap(rows[0]["tx_hash"]) if rows else None

    @rule(lease=st.sampled_from(LEASES))
    def claim(self, lease) -> None:
        worker = uuid4()
        if self.store.claim(self.order_id, worker, lease).claimed:
            self.workers.append(worker)

    def worker(self, whose):
        return self.workers[-1 if whose == "the newest worker's" else -2]

    @rule(step=whose)
    def route(self, step) -> None:
        self.moved(self.store.route(self.order, self.worker(step), "raydium", ROUTED))

    @rule(step=whose)
    def submit(self, step) -> None:
        signed = swap(f"tx-{next(_numbers)}")
        for moved in self.store.submit(self.order, self.worker(step), ROUTED, signed, PLAN):
            self.moved(moved)

    @rule(really=rarely)
    def a_worker_of_an_earlier_release_recorded_a_swap(self, really) -> None:
        order = self.order
        if really and order.status is Status.PENDING and order.waits_for is None:
            record_without_submitting(self.database, self.order_id, swap(f"tx-{next(_numbers)}"))
            self.statuses += [Status.ROUTING, Status.BUILDING]

    @rule(step=whose)
    def submit_what_was_recorded(self, step) -> None:
        if self.live:
            self.moved(self.store.submit_recorded(self.order, self.worker(step), self.live))

    @rule()
    def land_and_confirm(self) -> None:
        """The chain lands the swap: it may have been sent as soon as the order is submitted, and not before."""
        if (live := self.live) and self.order.status is Status.SUBMITTED:
            self.landed.add(live.tx_hash)
            for step in self.store.confirm(
                [Fill(self.order_id, live.tx_hash, "raydium", Decimal(1), Decimal(1), Decimal(1))]
            ):
                self.moved(step)

    @rule(ended_as=st.sampled_from(["failed", "expired"]), last_try=st.booleans())
    def the_swap_ends(self, ended_as, last_try) -> None:
        live = self.live
        if live is None or live.tx_hash in self.landed or self.order.status is not Status.SUBMITTED:
            return  # what has landed does not end otherwise
        end = {"error": "ended", "ended_swap": EndedSwap(live.tx_hash, ended_as)}
        self.moved(
            self.store.fail(self.order, **end) if last_try else self.store.retry(self.order, delay=timedelta(), **end)
        )

    @rule(step=whose, really=rarely)
    def a_try_fails(self, step, really) -> None:
        if really:
            self.moved(self.store.retry(self.order, error="no answer", delay=timedelta(), worker=self.worker(step)))

    @rule()
    def the_worker_goes_on(self) -> None:
        """What usually comes next, so that the unusual meets orders in every state."""
        status = self.order.status
        if status is Status.PENDING:
            self.claim(LEASES[0])
            self.submit("the newest worker's")
        elif status is Status.ROUTING:
            self.submit("the newest worker's")
        elif status is Status.BUILDING:
            self.claim(LEASES[0])
            self.submit_what_was_recorded("the newest worker's")

    @rule(step=whose)
    def the_order_waits(self, step) -> None:
        self.moved(self.store.put_in_book(self.order, self.worker(step), UNMET))

    @rule(really=rarely)
    def the_price_is_reached(self, really) -> None:
        price = MarketPrice("SOL", "USDC", Side.SELL, Decimal(100 if really else 99))
        for step in self.book.trigger_limits([price], limit=10):
            self.moved(step)

    @rule(really=rarely)
    def its_owner_cancels_it(self, really) -> None:
        if really:
            self.moved(self.store.cancel(self.order_id, reason="its owner cancelled it"))

    @rule(really=rarely)
    def its_time_is_up(self, really) -> None:
        if really and not is_terminal(self.order.status):
            self.database.change("UPDATE orders SET time_in_force = 'GTD', expires_at = now()")
            for step in self.book.expire(self.book.due(10)):
                self.moved(step)
            self.database.change("UPDATE orders SET time_in_force = 'GTC', expires_at = NULL")

    @rule(step=whose, really=rarely)
    def the_order_fails(self, step, really) -> None:
        if really:
            self.moved(self.store.fail(self.order, error="refused", worker=self.worker(step)))

    @rule(really=rarely)
    def the_order_is_buried(self, really) -> None:
        if really:
            self.moved(self.store.fail(self.order, error="buried"))

    @rule()
    def somebody_recovers(self) -> None:
        now = timedelta()
        self.store.take_stopped(idle=now, long_idle=now, settling=now, queue_is_empty=True, limit=10)

    @rule()
    def an_operator_revives(self) -> None:
        before = self.order.status
        if (step := self.dead_letters.revive(self.order)) is not None:
            assert before is Status.FAILED
            self.statuses.append(step.order.status)

    def moved(self, step) -> None:
        """Note a transition that happened, and that it was allowed to."""
        if step is not None:
            assert step.event.status in TRANSITIONS[self.statuses[-1]]
            assert step.event.seq == len(self.statuses) + 1
            self.statuses.append(step.event.status)

    @invariant()
    def the_history_is_what_happened(self) -> None:
        events = self.store.events(self.order_id)
        assert [event.seq for event in events] == list(range(1, len(self.statuses) + 1))
        assert [event.status for event in events] == self.statuses

    @invariant()
    def at_most_one_swap_may_still_land(self) -> None:
        swaps = self.database.swaps(self.order_id)
        assert sum(row["state"] in ("live", "landed") for row in swaps) <= 1
        assert len(self.landed) <= 1

    @invariant()
    def an_order_that_ended_badly_has_no_swap_that_landed(self) -> None:
        if is_terminal(self.order.status) and self.order.status is not Status.CONFIRMED:
            assert not self.landed

    @invariant()
    def what_was_not_submitted_when_it_ended_was_not_sent(self) -> None:
        if self.order.status in (Status.CANCELLED, Status.EXPIRED):
            assert not self.live

    @invariant()
    def an_order_that_waits_is_pending_and_nobodys(self) -> None:
        order = self.database.order(self.order_id)
        if order["waits_for"] is not None:
            assert order["status"] == "pending"
            assert order["lease_owner"] is None
            assert not self.store.claim(self.order_id, uuid4(), LEASES[0]).claimed


UNMET = Unmet(
    waits_for=WaitsFor.PRICE,
    wakes_when=WakesWhen.AT_OR_ABOVE,
    wake_price=Decimal(100),
    waiting_for=AwaitedLimit(limit_price=Decimal(100), net_price=Decimal(99), venue="raydium"),
    reason="the price is 99",
)
PLAN = SwapPlan(
    venue="raydium",
    actions=("swap",),
    expected_amount_out=Decimal(1),
    min_amount_out=Decimal(1),
    max_amount_out=None,
)


def swap(tx_hash: str) -> SignedTransaction:
    return SignedTransaction(
        tx_hash=tx_hash, venue="raydium", payload=b"", expires_at=datetime.now(UTC) + timedelta(minutes=1)
    )


def test_no_sequence_of_steps_breaks_an_orders_lifecycle(engine, database):
    class Machine(OneOrder):
        pass

    Machine.store, Machine.book, Machine.database = engine.store, engine.book, database
    Machine.dead_letters = engine.dead_letters.letters
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=100,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

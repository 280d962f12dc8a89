"""The simulated chain: a ledger that swaps land in, some seconds after they were sent.

The ledger is a table of its own (``simulated_transactions``), because it stands for a system outside the engine:
it must go on existing when a worker dies, and nothing but this module may write it. A transaction's end is
decided when it is first sent and becomes visible when it lands; sending it again changes nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from chalicelib.clock import Clock
from chalicelib.observability import logger
from chalicelib.orders.order import Side
from chalicelib.orders.swap import SignedTransaction, SwapOutcome, SwapPlan, SwapStatus
from chalicelib.orders.tokens import EXACT, TOKENS
from chalicelib.resources.postgres import Database, Row
from chalicelib.venues.simulated.chance import Chance
from chalicelib.venues.simulated.faults import Faults
from chalicelib.venues.simulated.transaction import read_transaction
from chalicelib.venues.venue import VenueUnavailable

LANDING_SECONDS = (2.0, 3.0)
PRICE_MOVE = (0.998, 1.002)
"""How far a price moves between the quote and the landing, as a factor."""

EXPIRY_MARGIN = timedelta(seconds=2)
"""How far Postgres' clock may be behind ours: only this long after its expiry is a transaction said to have expired."""

LATE = 5
"""How many times as long a late transaction takes."""

# What would land after its expiry never lands. A chain has a disk of its own, so nobody waits for Postgres's: what a
# crash loses was dropped, as chains do, and nothing that the engine has committed says that it landed.
_SUBMIT = """
    WITH not_flushed AS (
        SELECT set_config('synchronous_commit', 'off', true)
    )
    INSERT INTO simulated_transactions (tx_hash, lands_at, outcome, amount_out, error)
    SELECT %(tx_hash)s, now() + %(delay)s, %(outcome)s, %(amount_out)s, %(error)s
    FROM not_flushed
    WHERE now() + %(delay)s < %(expires_at)s
    ON CONFLICT (tx_hash) DO NOTHING
"""
_STATUSES = """
    SELECT tx_hash, outcome, amount_out, error
    FROM simulated_transactions
    WHERE tx_hash = ANY(%(tx_hashes)s) AND lands_at <= now()
"""


@dataclass(frozen=True, kw_only=True)
class SimulatedChain:
    """A chain on which a swap lands 2–3 s after it was sent."""

    database: Database
    chance: Chance
    faults: Faults
    latency: float
    clock: Clock
    look_seconds: float = 0.2

    def submit(self, transaction: SignedTransaction) -> None:
        """Take a transaction in; one that could not land before it expires is ignored. See ``Chain.submit``."""
        if not _lands_here(transaction):
            return
        swap = read_transaction(transaction.payload)
        rates = self.faults.rates()
        drawn_for = (swap.venue, swap.trade.pair, swap.trade.side, swap.trade.amount, swap.attempt)
        if self.chance.happens(rates.dropped, "dropped", *drawn_for):
            return
        move = Decimal(str(self.chance.uniform(*PRICE_MOVE, "move", *drawn_for)))
        amount_out = TOKENS[swap.trade.token_out].round_amount(EXACT.multiply(swap.plan.expected_amount_out, move))
        error = None
        if not within_bounds(swap.plan, swap.trade.side, amount_out):
            error = f"slippage: the fill of {amount_out} is outside the bound"
        elif self.chance.happens(rates.lands_failed, "lands failed", *drawn_for):
            error = "the program refused the swap"
        delay = self.latency * self.chance.uniform(*LANDING_SECONDS, "landing", *drawn_for)
        if self.chance.happens(rates.lands_late, "lands late", *drawn_for):
            delay *= LATE
        self.database.run(
            _SUBMIT,
            {
                "tx_hash": transaction.tx_hash,
                "delay": timedelta(seconds=delay),
                "outcome": SwapOutcome.FAILED if error else SwapOutcome.LANDED,
                "amount_out": None if error else amount_out,
                "error": error,
                "expires_at": transaction.expires_at,
            },
        )
        if self.chance.happens(rates.answer_lost, "answer lost", *drawn_for):
            raise VenueUnavailable("the chain took the transaction, but its answer was lost")

    def statuses(self, transactions: Collection[SignedTransaction]) -> Mapping[str, SwapStatus]:
        """Return what has landed, and what no longer can; see ``Chain.statuses``."""
        # Before the look: whatever had expired by now cannot land after it.
        expired_by = self.clock.now() - EXPIRY_MARGIN
        rows = self.database.run(_STATUSES, {"tx_hashes": [transaction.tx_hash for transaction in transactions]})
        landed = {row["tx_hash"]: row for row in rows}
        statuses: dict[str, SwapStatus] = {}
        for transaction in filter(_lands_here, transactions):
            row = landed.get(transaction.tx_hash)
            if row is not None:
                statuses[transaction.tx_hash] = _status(transaction, row)
            elif transaction.expires_at <= expired_by:
                statuses[transaction.tx_hash] = SwapStatus(outcome=SwapOutcome.EXPIRED)
        return statuses


def _lands_here(swap: SignedTransaction) -> bool:
    """Whether a swap was made for the simulation; one that was sent for real, before it was switched on, may land."""
    if swap.last_valid_block_height is not None:
        logger.error(f"swap {swap.tx_hash} was sent to a real chain: what became of it only that one says")
        return False
    return True


def _status(transaction: SignedTransaction, row: Row) -> SwapStatus:
    outcome = SwapOutcome(row["outcome"])
    if outcome is not SwapOutcome.LANDED:
        return SwapStatus(outcome=outcome, error=row["error"])
    trade, amount_out = read_transaction(transaction.payload).trade, row["amount_out"]
    spent, received = (trade.amount, amount_out) if trade.side is Side.SELL else (amount_out, trade.amount)
    return SwapStatus(outcome=outcome, spent=spent, received=received)


def within_bounds(plan: SwapPlan, side: Side, amount_out: Decimal) -> bool:
    """Whether a fill keeps the plan's promise to its owner."""
    if side is Side.SELL:
        return plan.min_amount_out is None or amount_out >= plan.min_amount_out
    return plan.max_amount_out is None or amount_out <= plan.max_amount_out

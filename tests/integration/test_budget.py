"""What the wallet may spend: so much an order, and so much a day."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from decimal import Decimal

import pytest

from chalicelib.execution.budget import Budget
from chalicelib.resources.postgres import Database
from chalicelib.store.spending import SpendingStore
from chalicelib.venues.venue import SwapRefused

PER_ORDER = {"SOL": Decimal(2), "USDC": Decimal(100)}
PER_DAY = {"SOL": Decimal(5), "RAY": Decimal(1)}


@pytest.fixture
def budget(engine):
    return Budget(store=SpendingStore(engine.database), per_order=PER_ORDER, per_day=PER_DAY)


def test_an_order_may_spend_its_cap_and_no_more(api, budget):
    order_id = api.place()

    budget.reserve(order_id, "SOL", Decimal(2))
    with pytest.raises(SwapRefused, match=r"may spend 2.000000001 SOL; at most 2 are allowed .*MAX_PER_ORDER"):
        budget.reserve(order_id, "SOL", Decimal("2.000000001"))


def test_amounts_are_told_without_zeros_at_their_end(engine, api):
    caps = {"SOL": Decimal("100000.000")}
    budget = Budget(store=SpendingStore(engine.database), per_order=caps, per_day={"SOL": Decimal("150000.00")})

    with pytest.raises(SwapRefused, match="may spend 200000 SOL; at most 100000 are allowed"):
        budget.reserve(api.place(), "SOL", Decimal("200000.000000000"))
    budget.reserve(api.place(), "SOL", Decimal("99999.500000000"))
    with pytest.raises(
        SwapRefused, match=r"may spend 60000 SOL; of 150000 a day \(SOLANA_MAX_PER_DAY\) 50000\.5 are left"
    ):
        budget.reserve(api.place(), "SOL", Decimal("60000.000000000"))


@pytest.mark.parametrize(
    ("token", "missing"), [("BONK", "SOLANA_MAX_PER_ORDER"), ("USDC", "SOLANA_MAX_PER_DAY"), ("RAY", "MAX_PER_ORDER")]
)
def test_a_token_without_a_cap_may_not_be_spent(api, budget, token, missing):
    with pytest.raises(SwapRefused, match=f"{token} may not be spent: .*{missing} has no cap for it"):
        budget.reserve(api.place(), token, Decimal(1))


def test_all_orders_of_a_day_share_a_cap(api, budget):
    for _ in range(2):
        budget.reserve(api.place(), "SOL", Decimal(2))

    with pytest.raises(SwapRefused, match=r"of 5 a day .*MAX_PER_DAY.* 1 are left"):
        budget.reserve(api.place(), "SOL", Decimal("1.5"))
    budget.reserve(api.place(), "SOL", Decimal(1))


def test_an_order_that_is_tried_again_counts_once(api, budget):
    order_id = api.place()
    for amount in (2, "1.9", 2):
        budget.reserve(order_id, "SOL", Decimal(amount))
    budget.reserve(api.place(), "SOL", Decimal(2))

    budget.reserve(api.place(), "SOL", Decimal(1))


@pytest.mark.parametrize("status", ["failed", "cancelled", "expired"])
def test_an_order_that_ended_without_a_swap_has_spent_nothing(api, budget, database, status):
    for _ in range(2):
        order_id = api.place()
        budget.reserve(order_id, "SOL", Decimal(2))
        database.change("UPDATE orders SET status = %s WHERE id = %s", status, order_id)

    for _ in range(2):
        budget.reserve(api.place(), "SOL", Decimal(2))


def test_what_was_spent_a_day_ago_is_not_counted_any_more(api, budget, database):
    for _ in range(2):
        budget.reserve(api.place(), "SOL", Decimal(2))
    database.change("UPDATE wallet_spending SET reserved_at = now() - interval '24 hours 1 second'")

    for _ in range(2):
        budget.reserve(api.place(), "SOL", Decimal(2))


def test_workers_at_the_same_moment_do_not_spend_the_same_money(api, budget, engine, database):
    order_ids = [api.place() for _ in range(12)]

    def reserve(worker: Budget, order_id: str) -> bool:
        try:
            worker.reserve(order_id, "SOL", Decimal(1))
        except SwapRefused:
            return False
        return True

    with ExitStack() as connections, ThreadPoolExecutor(len(order_ids)) as pool:
        workers = []
        for _ in order_ids:
            own = connections.enter_context(closing(Database(engine.settings.database_url)))
            workers.append(Budget(store=SpendingStore(own), per_order=PER_ORDER, per_day=PER_DAY))
        reserved = list(pool.map(reserve, workers, order_ids))

    assert sum(reserved) == 5
    assert database.count("wallet_spending") == 5

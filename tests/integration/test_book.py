"""Two market watches at the same moment: each order is moved by one of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from chalicelib.orders.order import Side
from chalicelib.orders.waiting import MarketPrice
from chalicelib.store.book import Book
from tests.builders import GOOD_TILL_TOMORROW

PRICES = [MarketPrice("SOL", "USDC", Side.BUY, Decimal(90))]


class Transaction:
    """A database whose statements are not committed before the test says so."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def run(self, statement: str, parameters: Any, patience: float = 0) -> list[dict[str, Any]]:
        return self._connection.cursor(row_factory=dict_row).execute(statement, parameters).fetchall()


@pytest.mark.parametrize(
    ("order", "move", "event"),
    [
        ({"orderType": "limit", "limitPrice": 100}, lambda book: book.trigger_limits(PRICES, 10), "triggered"),
        (
            {"orderType": "sniper", "tokenIn": "WIF", "limitPrice": 1},
            lambda book: book.wake_launched([("WIF", None)], 10),
            "triggered",
        ),
        (
            {"orderType": "limit", "limitPrice": 100, **GOOD_TILL_TOMORROW},
            lambda book: book.expire(book.due(10)),
            "expired",
        ),
    ],
    ids=["trigger", "launch", "expiry"],
)
def test_an_order_that_another_watch_is_moving_is_left_to_it(
    engine, worked_off, postgres, database, order, move: Callable[[Book], list[Any]], event
):
    order_id = worked_off(**order)
    database.change("UPDATE orders SET expires_at = now() WHERE expires_at IS NOT NULL")

    with psycopg.connect(postgres.url) as connection, ThreadPoolExecutor(1) as other:
        moved = move(Book(Transaction(connection)))
        second = other.submit(move, engine.book)
        wait([second], timeout=0.5)  # it need not wait for the first; one that does would go on after the commit
        connection.commit()

    assert [step.order.order_id for step in moved] == [order_id]
    assert second.result() == []
    assert database.event_names(order_id) == ["pending", "waiting", event]

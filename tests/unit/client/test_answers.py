"""What the engine answers is read exactly, and a later version's answers too."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from oee import NotFound, Refused, Unprocessable
from tests.unit.client.engines import ORDER, ORDER_ID, OTHER_ID, Engine, answer, event, problem

DIGITS = "148.35800733312345678901234567890123456"
QUOTES = (
    '{"tokenIn":"SOL","tokenOut":"USDC","side":"sell","amount":1.50,"chosen":"b","quotes":{'
    '"a":{"price":1,"fee":0.003,"liquidity":1,"netPrice":148,"amountOut":1,"new":1},'
    f'"b":{{"price":1,"fee":0.002,"liquidity":1,"netPrice":{DIGITS},"amountOut":1}}}}}}'
)


def test_numbers_are_read_with_all_their_digits(caller):
    engine = Engine(answer(QUOTES))

    quotes = caller(engine).quote("SOL", "USDC", Decimal("1.50"), "sell")

    assert str(quotes.best.net_price) == DIGITS
    assert str(quotes.amount) == "1.50"
    assert dict(engine.requests[0].url.params) == {
        "tokenIn": "SOL",
        "tokenOut": "USDC",
        "amount": "1.50",
        "side": "sell",
    }


def test_numbers_in_an_events_details_are_exact(caller):
    details = f'{{"quotes":{{"a":{{"price":1,"fee":0,"netPrice":{DIGITS}}}}},"chosen":"a"}}'
    told = (
        f'{{"orderId":"{ORDER_ID}","event":"routing","status":"routing","seq":2,'
        f'"timestamp":"2026-11-21T12:00:00.5Z","details":{details}}}'
    )

    (read,) = caller(Engine(answer(f'{{"orderId":"{ORDER_ID}","events":[{told}]}}'))).events(ORDER_ID)

    assert str(read.quotes["a"].net_price) == DIGITS
    assert read.chosen == "a"
    assert read.timestamp == datetime(2026, 11, 21, 12, 0, 0, 500_000, tzinfo=UTC)


def test_an_answer_of_a_later_version_is_read(caller):
    newer = {**ORDER, "status": "netting", "orderType": "twap", "slices": [1, 2], "side": "both"}

    order = caller(Engine(answer(newer))).order(ORDER_ID)

    assert (order.status, order.order_type, order.has_ended) == ("netting", "twap", False)


def test_orders_come_page_by_page_until_there_are_no_more(caller):
    other = {**ORDER, "orderId": OTHER_ID}
    engine = Engine(answer({"orders": [ORDER], "nextCursor": "c1"}), answer({"orders": [other], "nextCursor": None}))

    orders = caller(engine).orders("pending")

    assert [order.order_id for order in orders] == [ORDER_ID, OTHER_ID]
    assert [dict(request.url.params) for request in engine.requests] == [
        {"status": "pending", "limit": "100"},
        {"status": "pending", "limit": "100", "cursor": "c1"},
    ]


def test_no_more_orders_are_asked_for_than_are_wanted(caller):
    engine = Engine(answer({"orders": [ORDER] * 2, "nextCursor": "c1"}))

    assert len(caller(engine).orders(limit=2)) == 2
    assert [dict(request.url.params) for request in engine.requests] == [{"limit": "2"}]


def test_a_refusal_names_each_field_with_what_is_wrong(caller):
    engine = Engine(problem(400, "See amount, side.", {"amount": "is required", "side": "'hold' is not allowed"}))

    with pytest.raises(Refused) as refused:
        caller(engine).order(ORDER_ID)

    assert refused.value.errors == {"amount": "is required", "side": "'hold' is not allowed"}
    assert str(refused.value) == "See amount, side.\n  amount: is required\n  side: 'hold' is not allowed"


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (422, Unprocessable), (418, Refused)])
def test_a_refusal_has_a_type_by_its_status(caller, status, kind):
    with pytest.raises(Refused) as refused:
        caller(Engine(problem(status))).order(ORDER_ID)

    assert type(refused.value) is kind


@pytest.mark.parametrize("order_id", ["../launches", "a/b", "?x", "#"])
def test_an_id_cannot_lead_to_another_path(caller, order_id):
    engine = Engine(answer(ORDER))

    caller(engine).order(order_id)

    assert engine.requests[0].url.raw_path.startswith(b"/api/orders/")
    assert b"/" not in engine.requests[0].url.raw_path.removeprefix(b"/api/orders/")
    assert engine.requests[0].url.query == b""


def test_events_say_whether_they_are_the_last(caller):
    story = [event(1), event(2), event(3, "failed", error="no pool")]

    events = caller(Engine(answer({"orderId": ORDER_ID, "events": story}))).events(ORDER_ID)

    assert [each.is_last for each in events] == [False, False, True]
    assert events[-1].error == "no pool"

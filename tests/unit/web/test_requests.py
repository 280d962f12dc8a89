"""What clients send: good requests are read, and each bad field of a bad one is named."""

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.orders.order import OrderType, Side, Status
from chalicelib.web.problems import RequestError
from chalicelib.web.requests import (
    LARGEST_BODY,
    read_object,
    read_order,
    read_order_id,
    read_page,
    read_seq,
    read_trade,
    write_cursor,
)
from tests.builders import NOON, an_order, order_body

FIELDS = ("userId", "orderType", "tokenIn", "tokenOut", "side", "amount", "slippageTolerance", "clientOrderId")


def read(body, idempotency_key=None):
    """Read an order from JSON, as it arrives."""
    return read_order(read_object(body if isinstance(body, str | bytes) else json.dumps(body)), idempotency_key)


def errors(reader, *arguments):
    """Return what a reader says of each field that it refuses."""
    with pytest.raises(RequestError) as refused:
        reader(*arguments)
    assert refused.value.status == 400
    assert refused.value.problem.errors
    return refused.value.problem.errors


# --- Good orders ---


def test_an_order_is_read_with_its_defaults():
    order = read(order_body(amount=1.5))

    assert order.user_id == "u1"
    assert order.order_type is OrderType.MARKET
    assert (order.trade.token_in, order.trade.token_out) == ("SOL", "USDC")
    assert order.trade.side is Side.SELL
    assert order.trade.amount == Decimal("1.5")
    assert order.slippage_tolerance == Decimal("0.01")
    assert order.client_order_id is None


def test_both_documented_spellings_mean_the_same():
    second = {"userId": "u1", "type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 1.5}

    assert read(second) == read(order_body(amount=1.5))


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("1.5", "1.5"),
        ('"1.5"', "1.5"),
        ("0.000000001", "0.000000001"),
        ("1000000000000", "1000000000000"),
        ("123456789.123456789", "123456789.123456789"),
        ("1.50", "1.5"),
        ("15e-1", "1.5"),
        ('"1E3"', "1000"),
        ("1.5000000000000", "1.5"),
    ],
)
def test_an_amount_is_read_exactly(amount, expected):
    body = json.dumps(order_body(amount=0)).replace('"amount": 0', f'"amount": {amount}')

    assert read(body).trade.amount == Decimal(expected)


def test_optional_fields_are_read():
    order = read(order_body(side="buy", slippageTolerance="0.05", clientOrderId="k1"))

    assert order.trade.side is Side.BUY
    assert order.slippage_tolerance == Decimal("0.05")
    assert order.client_order_id == "k1"


def test_null_counts_as_absent():
    assert read(order_body(side=None, slippageTolerance=None, clientOrderId=None)) == read(order_body())


def test_the_idempotency_key_is_the_client_order_id():
    assert (
        read(order_body(), "k1") == read(order_body(clientOrderId="k1")) == read(order_body(clientOrderId="k1"), "k1")
    )


def test_requests_that_ask_for_the_same_have_the_same_digest():
    assert read(order_body(amount=1.5)).digest == read(order_body(amount="1.5")).digest
    assert read(order_body(amount=1.5)).digest != read(order_body(amount=1.6)).digest


# --- Bad orders ---

HUGE = "x" * 10_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("amount", value) for value in ([1], True, False, "abc", {}, "", "NaN", "Infinity", "-inf", "0x10", "1_0")],
        *[("amount", value) for value in (0, -1, -0.5, "0", "-0", 1e30, "1e30", "1e400", "1e-30", "1e-999999999")],
        *[
            ("amount", value)
            for value in ("0.0000000001", "1." + "1" * 39, "9" * 41, "9" * 5000, 10**13, " 1", "1 ", "١")
        ],
        *[("amount", value) for value in ("1e9999999", "1000000000000.1")],
        *[("tokenIn", value) for value in ("XYZ", "sol", "", "SOL\0", "SOL ", "\x1b[31m", HUGE, 7, ["SOL"], {}, True)],
        *[("tokenOut", value) for value in ("XYZ", "usdc", "SOL", "\0", HUGE, 7, ["USDC"])],
        *[("side", value) for value in ("hold", "SELL", "", 1, True, ["buy"])],
        *[("orderType", value) for value in ("swap", "Market", "", 1, None, ["market"])],
        *[("userId", value) for value in ("", "u\0", "u\n", "\x7f", "\u202e", "u" * 129, HUGE, 1, None, ["u"])],
        *[("clientOrderId", value) for value in ("", "k\0", "k" * 129, 1, ["k"])],
        *[("slippageTolerance", value) for value in (-0.01, 0.51, 1, "x", True, "0.0000001", "0e-999999", [0])],
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_bad_field_is_named(field, value):
    found = errors(read, order_body(**{field: value}))

    assert set(found) == {field}
    assert len(found[field]) < 300
    assert found[field].isprintable()


@pytest.mark.parametrize("literal", ["1e400", "1e30", "1e-30", "-1", "0", "9" * 5000, "true", "[1]", '"abc"', "1e-400"])
def test_a_bad_amount_is_named_as_it_stands_in_json(literal):
    body = json.dumps(order_body(amount=0)).replace('"amount": 0', f'"amount": {literal}')

    assert set(errors(read, body)) == {"amount"}


@pytest.mark.parametrize("field", ["userId", "orderType", "tokenIn", "tokenOut", "amount"])
def test_a_missing_field_is_named(field):
    body = {name: value for name, value in order_body().items() if name != field}

    assert errors(read, body) == {field: "is required"}


def test_all_bad_fields_are_named_at_once():
    assert set(errors(read, {})) == {"userId", "orderType", "tokenIn", "tokenOut", "amount"}


def test_the_same_token_twice_is_refused():
    assert "two different tokens" in errors(read, order_body(tokenIn="USDC"))["tokenOut"]


def test_an_amount_may_have_as_many_digits_as_its_token():
    assert read(order_body(tokenIn="USDC", tokenOut="SOL", amount="0.000001")).trade.amount == Decimal("0.000001")
    assert "has 6" in errors(read, order_body(tokenIn="USDC", tokenOut="SOL", amount="0.0000001"))["amount"]


@pytest.mark.parametrize("field", ["amonut", "limitPrice", "__proto__", "Amount", ""])
def test_an_unknown_field_is_refused_because_a_typo_must_not_pass(field):
    found = errors(read, order_body(**{field: 1}))

    assert set(found) == {field}
    assert all(known in found[field] for known in FIELDS)


def test_an_unknown_field_with_control_characters_is_named_without_them():
    (name,) = errors(read, order_body(**{"a\0\x1b" + "b" * 1000: 1}))

    assert name.isprintable()
    assert len(name) < 100


@pytest.mark.parametrize(("first", "second"), [("orderType", "type"), ("amount", "amountIn")])
def test_a_field_in_both_spellings_is_refused(first, second):
    body = order_body()

    assert set(errors(read, {**body, second: body[first]})) == {second}


def test_an_error_uses_the_clients_own_spelling():
    body = {"userId": "u1", "type": "swap", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 0}

    assert set(errors(read, body)) == {"type", "amountIn"}


@pytest.mark.parametrize("key", ["", "k\0", "k" * 129])
def test_a_bad_idempotency_key_is_named(key):
    assert set(errors(read, order_body(), key)) == {"Idempotency-Key"}


def test_a_key_that_differs_from_the_client_order_id_is_refused():
    assert set(errors(read, order_body(clientOrderId="k1"), "k2")) == {"clientOrderId"}


SCALARS = st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text()
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(), SCALARS, max_size=2)


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(), VALUES, max_size=4))
def test_whatever_a_field_holds_the_answer_is_an_order_or_an_error_that_names_fields(fields):
    try:
        order = read_order({**order_body(amount=Decimal("1.5")), **fields})
    except RequestError as refused:
        assert refused.problem.errors  # noqa: PT017 -- either outcome is right
    else:
        assert 0 < order.trade.amount <= 10**12


# --- Bodies ---


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is empty"),
        (b"{", "is not JSON"),
        (b"not json", "is not JSON"),
        (b"NaN", "is not JSON"),
        (b'{"amount": NaN}', "is not JSON"),
        (b'{"amount": Infinity}', "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 15_000, "is not JSON"),
        (b'{"amount": 1e99999999999999999999}', "is not JSON"),
        (b"[1]", "is not a JSON object"),
        (b"true", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b'"abc"', "is not a JSON object"),
        (b"7", "is not a JSON object"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_body_that_is_no_object_is_refused(body, said):
    with pytest.raises(RequestError, match=said) as refused:
        read_object(body)

    assert refused.value.status == 400


def test_a_body_may_be_16_kilobytes_and_no_more():
    body = json.dumps({"a": "x" * (LARGEST_BODY - 9)})
    assert len(body) == LARGEST_BODY
    assert read_object(body)

    for too_large in (body + " ", b"x" * 1_000_000):
        with pytest.raises(RequestError, match=f"has {len(too_large)} bytes") as refused:
            read_object(too_large)
        assert refused.value.status == 413


# --- Ids, places and pages ---


def test_an_order_id_is_a_uuid_in_any_case():
    order_id = str(uuid4())

    assert read_order_id(order_id) == read_order_id(order_id.upper()) == order_id


@pytest.mark.parametrize(
    "order_id", ["", "abc", "1' OR '1'='1", str(uuid4()) + "0", str(uuid4()).replace("-", ""), 7, None, ["a"], "\0"]
)
def test_what_is_no_order_id_is_named(order_id):
    assert set(errors(read_order_id, order_id)) == {"orderId"}


@pytest.mark.parametrize(("given", "seq"), [(0, 0), ("0", 0), (4, 4), ("4", 4), (Decimal("4.0"), 4), (None, 0)])
def test_a_place_to_resume_from_is_a_whole_number(given, seq):
    assert read_seq(given) == seq


@pytest.mark.parametrize("given", [-1, "x", "1.5", 2**31, "9" * 30, True, "", [1]])
def test_a_bad_place_to_resume_from_is_named(given):
    assert set(errors(read_seq, given)) == {"afterSeq"}


def test_a_page_has_twenty_orders_unless_asked_otherwise():
    assert read_page({}) == (None, 20, None)
    assert read_page({"limit": "7", "status": "confirmed"}) == (Status.CONFIRMED, 7, None)


def test_a_cursor_leads_to_what_comes_after_its_order():
    order = an_order(created_at=datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC))

    assert read_page({"cursor": write_cursor(order)}).before == (order.created_at, order.order_id)


def cursor(text):
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("limit", value) for value in ("0", "101", "-1", "x", "1.5", "")],
        *[("status", value) for value in ("done", "CONFIRMED", "")],
        *[("cursor", value) for value in ("", "abc", "%%%", "é", cursor("x"), cursor("x y"), cursor(f"{NOON} x"))],
        ("cursor", cursor(f"2026-11-21T12:00:00 {uuid4()}")),
        ("offset", "1"),
    ],
)
def test_a_bad_page_request_names_the_field(field, value):
    assert set(errors(read_page, {field: value})) == {field}


def test_a_quote_is_asked_for_with_a_trade():
    trade = read_trade({"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "side": "buy"})

    assert (trade.pair, trade.side, trade.amount) == ("SOL/USDC", Side.BUY, Decimal("1.5"))
    assert set(errors(read_trade, {"tokenIn": "SOL", "userId": "u1"})) == {"tokenOut", "amount", "userId"}

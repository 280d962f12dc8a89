"""What clients send: good requests are read, and each bad field of a bad one is named."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.exact_json import encode_json
from chalicelib.orders.launch import Launch
from chalicelib.orders.order import OrderType, Side, Status, TimeInForce
from chalicelib.orders.tokens import round_price
from chalicelib.web.problems import RequestError
from chalicelib.web.requests import (
    LARGEST_BODY,
    read_launch,
    read_object,
    read_order,
    read_order_id,
    read_page,
    read_seq,
    read_trade,
    write_cursor,
)
from tests.builders import NOON, an_order, order_body

FIELDS = (
    *("userId", "orderType", "tokenIn", "tokenOut", "side", "amount", "slippageTolerance", "clientOrderId"),
    *("limitPrice", "triggerPrice", "timeInForce", "expiresAt"),
)
CONDITIONS = {
    "market": {},
    "limit": {"limitPrice": "150"},
    "stop": {"triggerPrice": "150"},
    "sniper": {},
}
"""What each type of order has to say beyond a market order."""


def read(body, idempotency_key=None):
    """Read an order from JSON, as it arrives, at noon."""
    values = read_object(body if isinstance(body, str | bytes) else json.dumps(body))
    return read_order(values, idempotency_key, now=NOON)


def body_of(order_type, **changes):
    """Return a good order of a type, with changes."""
    return order_body(**{"orderType": order_type, **CONDITIONS[order_type], **changes})


def errors(reader, *arguments):
    """Return what a reader says of each field that it refuses."""
    with pytest.raises(RequestError) as refused:
        reader(*arguments)
    assert refused.value.status == 400
    assert refused.value.problem.errors
    return refused.value.problem.errors


def bad_values(said_of):
    """Return the cases of ``{(field, what is said of it): bad values}``."""
    return [
        pytest.param(field, said, value, id=f"{field} {said}: {value!r}"[:80])
        for (field, said), values in said_of.items()
        for value in values
    ]


def assert_only(field, said, found):
    """Check that one field is named, and that what is said of it is the reason, short, and safe to print."""
    assert set(found) == {field}
    assert said in found[field]
    assert len(found[field]) < 300
    assert found[field].isprintable()


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
    assert order.limit_price is None
    assert order.trigger_price is None
    assert order.time_in_force is TimeInForce.GTC
    assert order.expires_at is None


@pytest.mark.parametrize("order_type", OrderType)
def test_every_order_type_is_read(order_type):
    assert read(body_of(order_type)).order_type is order_type


@pytest.mark.parametrize(
    ("order_type", "side"),
    [("market", Side.SELL), ("stop", Side.SELL), ("limit", Side.BUY), ("sniper", Side.BUY)],
)
def test_the_side_follows_from_the_type_unless_it_is_given(order_type, side):
    assert read(body_of(order_type)).trade.side is side
    assert read(body_of(order_type, side=None)).trade.side is side
    for given_side in Side:
        assert read(body_of(order_type, side=given_side)).trade.side is given_side


def test_a_quote_sells_unless_it_is_told_to_buy():
    assert read_trade({"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}).side is Side.SELL


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


def test_the_limit_price_has_two_spellings():
    second = {"userId": "u1", "type": "limit", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 1.5}

    order = read({**second, "targetPrice": "150.25"})

    assert order == read(body_of("limit", limitPrice="150.25"))
    assert order.limit_price == Decimal("150.25")


@pytest.mark.parametrize("order_type", ["stop", "sniper"])
def test_a_stop_and_a_sniper_may_have_a_limit(order_type):
    assert read(body_of(order_type)).limit_price is None
    assert read(body_of(order_type, limitPrice=150)).limit_price == 150


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("150", "150"),
        ("1.50", "1.50"),
        ('"1.50"', "1.50"),
        ("0.1", "0.1"),
        ("15e-1", "1.5"),
        ('"1E3"', "1000"),
        ("1e-12", "0.000000000001"),
        ("123456.789012", "123456.789012"),
        ("1.23456789012000", "1.23456789012000"),
        ("1000000000000000", "1000000000000000"),
        ("1e15", "1000000000000000"),
    ],
)
@pytest.mark.parametrize(("order_type", "field"), [("limit", "limitPrice"), ("stop", "triggerPrice")])
def test_a_price_is_read_exactly_and_written_out(order_type, field, price, expected):
    body = json.dumps(body_of(order_type, **{field: "PRICE"})).replace('"PRICE"', price)

    order = read(body)

    read_price = order.limit_price if field == "limitPrice" else order.trigger_price
    assert read_price.as_tuple() == Decimal(expected).as_tuple()


@pytest.mark.parametrize("order_type", OrderType)
def test_every_order_type_may_wait_not_at_all_or_until_a_time(order_type):
    assert read(body_of(order_type, timeInForce="IOC")).time_in_force is TimeInForce.IOC

    until = read(body_of(order_type, timeInForce="GTD", expiresAt="2026-11-22T12:00:00Z"))

    assert until.time_in_force is TimeInForce.GTD
    assert until.expires_at == NOON + timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T12:00:01Z", NOON + timedelta(seconds=1)),
        ("2026-11-21T12:00:00.001Z", NOON + timedelta(milliseconds=1)),
        ("2026-11-21T12:00:00.000001Z", NOON + timedelta(microseconds=1)),
        ("2026-11-21T12:01Z", NOON + timedelta(minutes=1)),
        ("2026-11-21t12:01:00z", NOON + timedelta(minutes=1)),
        ("2026-11-21T14:30:00+01:00", NOON + timedelta(minutes=90)),
        ("2026-11-21T08:00:00-05:00", NOON + timedelta(hours=1)),
        ("2027-11-22T12:00:00Z", NOON + timedelta(days=366)),
    ],
)
def test_a_time_is_read_with_its_zone_and_kept_in_utc(text, expected):
    expires_at = read(body_of("limit", timeInForce="GTD", expiresAt=text)).expires_at

    assert expires_at == expected
    assert expires_at.tzinfo is UTC


@given(
    ahead=st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=366)),
    offset=st.integers(min_value=-23 * 60, max_value=23 * 60),
)
def test_any_time_of_the_next_366_days_is_read_as_that_moment_whatever_its_zone(ahead, offset):
    text = (NOON + ahead).astimezone(timezone(timedelta(minutes=offset))).isoformat()

    assert read(body_of("limit", timeInForce="GTD", expiresAt=text)).expires_at == NOON + ahead


def test_optional_fields_are_read():
    order = read(order_body(side="buy", slippageTolerance="0.05", clientOrderId="k1"))

    assert order.trade.side is Side.BUY
    assert order.slippage_tolerance == Decimal("0.05")
    assert order.client_order_id == "k1"


def test_null_counts_as_absent():
    assert read(order_body(side=None, slippageTolerance=None, clientOrderId=None)) == read(order_body())
    for name in ("limitPrice", "targetPrice", "triggerPrice", "timeInForce", "expiresAt"):
        assert read(order_body(**{name: None})) == read(order_body())


def test_the_idempotency_key_is_the_client_order_id():
    assert (
        read(order_body(), "k1") == read(order_body(clientOrderId="k1")) == read(order_body(clientOrderId="k1"), "k1")
    )


def test_requests_that_ask_for_the_same_have_the_same_digest():
    assert read(order_body(amount=1.5)).digest == read(order_body(amount="1.5")).digest
    assert read(order_body(amount=1.5)).digest != read(order_body(amount=1.6)).digest


def test_a_market_order_keeps_the_digest_it_was_stored_with_before_there_were_conditions():
    stored = "4e50d695636714cc9958529b3eefc312e710922610bb00cfe6c8a62e59110b24"

    assert read(order_body(amount=1.5)).digest == stored


@pytest.mark.parametrize(
    "changes",
    [
        {"limitPrice": "149"},
        {"triggerPrice": "149"},
        {"timeInForce": "IOC"},
        {"timeInForce": "GTD", "expiresAt": "2026-11-22T12:00:00Z"},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_requests_under_other_conditions_have_other_digests(changes):
    assert read(body_of("stop", **changes)).digest != read(body_of("stop")).digest


# --- Bad orders ---

HUGE = "x" * 10_000


BAD_FIELDS = {
    ("amount", "is not a number"): (
        *([1], True, False, {}, "", "abc", "NaN", "Infinity", "-inf", "0x10", "1_0", " 1", "1 ", "١"),
        *("1e-999999999", "1e9999999"),
    ),
    ("amount", "an amount is greater than 0"): (0, -1, -0.5, "0", "-0"),
    ("amount", "is too large; at most 1000000000000 is allowed"): (1e30, "1e30", 10**13, "1000000000000.1"),
    ("amount", "is out of range"): ("1e400", "1e-400"),
    ("amount", "digits after the point; this token has 9"): ("1e-30", "0.0000000001", "1." + "1" * 39),
    ("amount", "digits; at most 40 are allowed"): ("9" * 41, "9" * 5000),
    ("tokenIn", "is not a known token; known are SOL, USDC"): (
        *("XYZ", "sol", "", "SOL\0", "SOL ", "\x1b[31m", HUGE, 7, ["SOL"], {}, True),
    ),
    ("tokenOut", "is not a known token; known are SOL, USDC"): ("XYZ", "usdc", "\0", HUGE, 7, ["USDC"]),
    ("tokenOut", "is tokenIn as well"): ("SOL",),
    ("side", "expected is sell or buy"): ("hold", "SELL", "", 1, True, ["buy"]),
    ("orderType", "expected is market or limit or stop or sniper"): ("swap", "Market", "", 1, ["market"]),
    ("orderType", "is required"): (None,),
    ("userId", "expected are 1 to 128 printable characters"): (
        *("", "u\0", "u\n", "\x7f", "\u202e", "u" * 129, HUGE, 1, ["u"]),
    ),
    ("userId", "is required"): (None,),
    ("clientOrderId", "expected are 1 to 128 printable characters"): ("", "k\0", "k" * 129, 1, ["k"]),
    ("slippageTolerance", "expected is a fraction from 0 to 0.5"): (-0.01, 0.51, 1),
    ("slippageTolerance", "is not a number"): ("x", True, [0]),
    ("slippageTolerance", "at most 6 after the point are allowed"): ("0.0000001",),
    ("slippageTolerance", "is out of range"): ("0e-999999",),
    ("timeInForce", "expected is GTC or IOC or GTD"): ("FOK", "gtc", "", 1, True, ["IOC"]),
}


@pytest.mark.parametrize(("field", "said", "value"), bad_values(BAD_FIELDS))
def test_a_bad_field_is_named_with_the_reason(field, said, value):
    assert_only(field, said, errors(read, order_body(**{field: value})))


@pytest.mark.parametrize(
    ("literal", "said"),
    [
        ("1e400", "is out of range"),
        ("1e-400", "is out of range"),
        ("1e30", "is too large"),
        ("1e-30", "digits after the point"),
        ("-1", "an amount is greater than 0"),
        ("0", "an amount is greater than 0"),
        ("9" * 5000, "has 5000 digits"),
        ("true", "is not a number"),
        ("[1]", "is not a number"),
        ('"abc"', "is not a number"),
    ],
    ids=lambda value: value[:30],
)
def test_a_bad_amount_is_named_as_it_stands_in_json(literal, said):
    body = json.dumps(order_body(amount=0)).replace('"amount": 0', f'"amount": {literal}')

    assert_only("amount", said, errors(read, body))


BAD_PRICES = {
    "is not a number": ([1], True, {}, "", "abc", "NaN", "Infinity", "0x10", " 1", "1e-999999999", HUGE),
    "a price is greater than 0": (0, -1, "-0"),
    "is too large; at most 1000000000000000 is allowed": ("1e16", "1000000000000000.1", "1000000000001e3"),
    "is out of range": ("1e400", "1e-400"),
    "a price has at most 12 significant ones": ("1.234567890123", "1234567890123", "0.1234567890123"),
    "digits; at most 40 are allowed": ("9" * 41,),
}


@pytest.mark.parametrize(
    ("said", "price"),
    [(said, price) for said, prices in BAD_PRICES.items() for price in prices],
    ids=lambda value: repr(value)[:40],
)
@pytest.mark.parametrize(
    ("order_type", "field"),
    [("limit", "limitPrice"), ("limit", "targetPrice"), ("stop", "triggerPrice"), ("sniper", "limitPrice")],
)
def test_a_bad_price_is_named_in_the_clients_spelling_with_the_reason(order_type, field, said, price):
    body = body_of(order_type)
    if field == "targetPrice":
        del body["limitPrice"]

    assert_only(field, said, errors(read, {**body, field: price}))


def test_a_price_with_too_many_digits_is_told_how_many_are_allowed():
    assert errors(read, body_of("limit", limitPrice="1.234567890123")) == {
        "limitPrice": "1.234567890123 has too many digits; a price has at most 12 significant ones"
    }


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.decimals(min_value=0, max_value=10**10, places=4))
def test_a_price_that_is_taken_is_one_that_rounding_leaves_as_it_is(price):
    try:
        order = read_order(body_of("limit", amount="1.5", limitPrice=price), now=NOON)
    except RequestError as refused:
        assert set(refused.problem.errors) == {"limitPrice"}  # noqa: PT017 -- either outcome is right
    else:
        assert 0 < order.limit_price <= 10**15
        assert round_price(order.limit_price) == order.limit_price == price


@pytest.mark.parametrize(
    ("order_type", "field", "said"),
    [
        ("limit", "limitPrice", "is required for a limit order"),
        ("stop", "triggerPrice", "is required for a stop order"),
    ],
)
@pytest.mark.parametrize("how", ["absent", "null"])
def test_a_price_that_a_type_needs_is_asked_for(order_type, field, said, how):
    body = body_of(order_type, **{field: None})
    if how == "absent":
        del body[field]

    assert errors(read, body) == {field: said}


@pytest.mark.parametrize("field", ["limitPrice", "targetPrice"])
@pytest.mark.parametrize("price", [150, "abc"])
def test_a_market_order_has_no_limit(field, price):
    found = errors(read, order_body(**{field: price}))

    assert set(found) == {field}
    assert "send a limit order" in found[field]


@pytest.mark.parametrize("order_type", ["market", "limit", "sniper"])
@pytest.mark.parametrize("price", [150, "abc"])
def test_only_a_stop_order_has_a_trigger(order_type, price):
    assert errors(read, body_of(order_type, triggerPrice=price)) == {
        "triggerPrice": f"is for stop orders only, not for a {order_type} order"
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-21T12:00:00Z", "is in the past; it is 2026-11-21T12:00:00Z now"),
        ("2026-11-21T12:59:59+01:00", "is in the past"),
        ("0001-01-01T00:00:00Z", "is in the past"),
        ("2027-11-22T12:00:00.000001Z", "is too far away; at most 366 days"),
        ("9999-12-31T23:59:59Z", "is too far away"),
        ("0001-01-01T00:00:00+23:59", "is not a time"),
        ("9999-12-31T23:59:59-23:59", "is not a time"),
        ("2026-11-31T12:00:00Z", "is not a time"),
        ("2026-13-01T12:00:00Z", "is not a time"),
        ("2026-11-22T25:00:00Z", "is not a time"),
        ("2026-11-22T12:00:00+24:00", "is not a time"),
        *[
            (value, "is not allowed; expected is a time with its zone")
            for value in (
                *("2026-11-22T12:00:00", "2026-11-22", "2026-11-22 12:00:00Z", "20261122T120000Z", "tomorrow", ""),
                *("2026-11-22T12:00:00 Z", "2026-11-22T12:00:00Z\n", "2026-11-22T12:00:00+0100", "2026-W48-1T12:00Z"),
                *("2026-11-22T12:00:00.0000001Z", "２０２６-11-22T12:00:00Z", HUGE, 1795348800, True, ["x"], {}),
            )
        ],
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_time_that_cannot_be_waited_for_is_named(text, said):
    assert_only("expiresAt", said, errors(read, body_of("limit", timeInForce="GTD", expiresAt=text)))


@pytest.mark.parametrize("expires_at", [{}, {"expiresAt": None}], ids=["absent", "null"])
def test_an_order_good_till_a_time_has_to_say_which(expires_at):
    assert errors(read, body_of("limit", timeInForce="GTD", **expires_at)) == {
        "expiresAt": "is required with timeInForce GTD"
    }


@pytest.mark.parametrize("time_in_force", ["GTC", "IOC", None])
@pytest.mark.parametrize("text", ["2026-11-22T12:00:00Z", "2020-01-01T00:00:00Z", "soon"])
def test_a_time_goes_with_good_till_a_time_only(time_in_force, text):
    assert errors(read, body_of("limit", timeInForce=time_in_force, expiresAt=text)) == {
        "expiresAt": f"goes with timeInForce GTD only, not {time_in_force or 'GTC'}"
    }


@pytest.mark.parametrize("order_type", ["swap", None, 7])
def test_an_unknown_type_leaves_the_fields_that_depend_on_it_in_peace(order_type):
    good = {"limitPrice": 150, "triggerPrice": 150, "timeInForce": "GTD", "expiresAt": "2026-11-22T12:00:00Z"}

    assert set(errors(read, order_body(orderType=order_type))) == {"orderType"}
    assert set(errors(read, order_body(orderType=order_type, **good))) == {"orderType"}


def test_an_unknown_type_hides_no_other_error():
    bad = {"orderType": "swap", "limitPrice": 0, "triggerPrice": "x", "timeInForce": "GTD", "amount": 0}

    assert set(errors(read, order_body(**bad))) == {*bad, "expiresAt"} - {"timeInForce"}


@pytest.mark.parametrize("expires_at", [{}, {"expiresAt": "2026-11-22T12:00:00Z"}], ids=["without", "with"])
def test_an_unknown_time_in_force_leaves_the_time_in_peace(expires_at):
    assert set(errors(read, body_of("limit", timeInForce="FOK", **expires_at))) == {"timeInForce"}


def test_errors_of_conditions_are_named_together_with_all_others():
    bad = {"amount": 0, "limitPrice": -1, "triggerPrice": 1, "expiresAt": "soon", "side": "hold", "colour": "red"}

    assert set(errors(read, body_of("limit", **bad))) == set(bad)


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


@pytest.mark.parametrize("field", ["amonut", "limitprice", "stopPrice", "__proto__", "Amount", ""])
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

    assert errors(read, {**body, second: body[first]}) == {second: f"is the same field as {first}; send one of the two"}


def test_a_limit_price_in_both_spellings_is_refused():
    assert errors(read, body_of("limit", targetPrice="150")) == {
        "targetPrice": "is the same field as limitPrice; send one of the two"
    }


def test_an_error_uses_the_clients_own_spelling():
    body = {"userId": "u1", "type": "swap", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 0}

    assert set(errors(read, body)) == {"type", "amountIn"}


@pytest.mark.parametrize("key", ["", "k\0", "k" * 129])
def test_a_bad_idempotency_key_is_named(key):
    said = "expected are 1 to 128 printable characters"

    assert_only("Idempotency-Key", said, errors(read, order_body(), key))


def test_a_key_that_differs_from_the_client_order_id_is_refused():
    assert errors(read, order_body(clientOrderId="k1"), "k2") == {
        "clientOrderId": "differs from the Idempotency-Key header; send one of the two"
    }


SCALARS = st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text()
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(), SCALARS, max_size=2)


@given(st.sampled_from(OrderType), st.dictionaries(st.sampled_from(FIELDS) | st.text(), VALUES, max_size=4))
def test_whatever_a_field_holds_the_answer_is_an_order_or_an_error_that_names_fields(order_type, fields):
    try:
        order = read_order({**body_of(order_type, amount=Decimal("1.5")), **fields}, now=NOON)
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


def test_a_body_is_measured_in_bytes_however_it_came():
    body = json.dumps({"a": "ü" * (LARGEST_BODY // 2)}, ensure_ascii=False)

    for same in (body, body.encode()):
        with pytest.raises(RequestError, match=f"The body has {LARGEST_BODY + 9} bytes"):
            read_object(same)


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


BAD_ORDER_IDS = {
    ("orderId", "is not an order id; expected is a UUID"): (
        *("", "abc", "1' OR '1'='1", str(UUID(int=7)) + "0", UUID(int=7).hex, "\0", 7, ["a"]),
    ),
    ("orderId", "is required"): (None,),
}


@pytest.mark.parametrize(("field", "said", "order_id"), bad_values(BAD_ORDER_IDS))
def test_what_is_no_order_id_is_named_with_the_reason(field, said, order_id):
    assert_only(field, said, errors(read_order_id, order_id))


@pytest.mark.parametrize(("given", "seq"), [(0, 0), ("0", 0), (4, 4), ("4", 4), (Decimal("4.0"), 4), (None, 0)])
def test_a_place_to_resume_from_is_a_whole_number(given, seq):
    assert read_seq(given) == seq


BAD_SEQS = {
    ("afterSeq", "expected is a whole number from 0 to 2147483647"): (-1, "1.5", 2**31, "9" * 30),
    ("afterSeq", "is not a number"): ("x", "", True, [1]),
}


@pytest.mark.parametrize(("field", "said", "given"), bad_values(BAD_SEQS))
def test_a_bad_place_to_resume_from_is_named_with_the_reason(field, said, given):
    assert_only(field, said, errors(read_seq, given))


def test_a_page_has_twenty_orders_unless_asked_otherwise():
    assert read_page({}) == (None, 20, None)
    assert read_page({"limit": "7", "status": "confirmed"}) == (Status.CONFIRMED, 7, None)


def test_a_cursor_leads_to_what_comes_after_its_order():
    order = an_order(created_at=datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC))

    assert read_page({"cursor": write_cursor(order)}).before == (order.created_at, order.order_id)


def cursor(text):
    return base64.urlsafe_b64encode(text.encode()).decode()


BAD_PAGES = {
    ("limit", "expected is a whole number from 1 to 100"): ("0", "101", "-1", "1.5"),
    ("limit", "is not a number"): ("x", ""),
    ("status", "expected is pending or routing or building"): ("done", "CONFIRMED", ""),
    ("cursor", "is not a cursor; send the nextCursor of an earlier answer"): (
        *("", "abc", "%%%", "é", cursor("x"), cursor("x y"), cursor(f"{NOON} x")),
        cursor(f"2026-11-21T12:00:00 {UUID(int=7)}"),  # a time without its zone
    ),
    ("offset", "is not a known field; known are status, limit, cursor"): ("1",),
}


@pytest.mark.parametrize(("field", "said", "value"), bad_values(BAD_PAGES))
def test_a_bad_page_request_names_the_field_and_the_reason(field, said, value):
    assert_only(field, said, errors(read_page, {field: value}))


def test_a_quote_is_asked_for_with_a_trade():
    trade = read_trade({"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "side": "buy"})

    assert (trade.pair, trade.side, trade.amount) == ("SOL/USDC", Side.BUY, Decimal("1.5"))
    assert set(errors(read_trade, {"tokenIn": "SOL", "userId": "u1"})) == {"tokenOut", "amount", "userId"}


# --- Launches ---

VENUES = ("raydium", "meteora")
LAUNCH = {"pool": "7qbRF6YsyGuLUVs6Y1q64bdVrfe4ZcUUz1JRdoVNUJnm", "tokenIn": "WIF"}


def test_a_launch_names_a_pool_and_a_token():
    assert read_launch(LAUNCH, VENUES) == Launch(pool=LAUNCH["pool"], token_in="WIF", token_out=None, venue=None)
    assert read_launch({**LAUNCH, "tokenOut": None, "venue": None}, VENUES) == read_launch(LAUNCH, VENUES)


@pytest.mark.parametrize("venue", ["raydium", "meteora"])
def test_a_launch_may_say_against_what_and_where(venue):
    launch = read_launch({**LAUNCH, "tokenOut": "USDC", "venue": venue}, VENUES)

    assert (launch.token_out, launch.venue) == ("USDC", venue)


def test_a_launch_is_written_as_it_is_sent():
    sent = {**LAUNCH, "tokenOut": "USDC", "venue": "raydium"}

    assert json.loads(encode_json(read_launch(sent, VENUES))) == sent


BAD_LAUNCHES = {
    ("pool", "expected are 1 to 128 printable characters"): ("", "p" * 129, "p\0", HUGE, 7, ["p"]),
    ("pool", "is required"): (None,),
    ("tokenIn", "is not a known token; known are SOL, USDC"): ("XYZ", "wif", "", 7, ["WIF"]),
    ("tokenIn", "is required"): (None,),
    ("tokenOut", "is not a known token; known are SOL, USDC"): ("XYZ", "", 7, ["USDC"], {}),
    ("tokenOut", "is tokenIn as well"): ("WIF",),
    ("venue", "is not a known venue; known are raydium, meteora"): (
        *("nowhere", "Raydium", "", 7, True, ["raydium"], {}, HUGE),
    ),
    ("poolId", "is not a known field; known are pool, tokenIn"): ("p",),
    ("amountIn", "is not a known field; known are pool, tokenIn"): (1,),
}


@pytest.mark.parametrize(("field", "said", "value"), bad_values(BAD_LAUNCHES))
def test_a_bad_field_of_a_launch_is_named_with_the_reason(field, said, value):
    assert_only(field, said, errors(read_launch, {**LAUNCH, field: value}, VENUES))


def test_all_bad_fields_of_a_launch_are_named_at_once():
    found = errors(read_launch, {"tokenOut": "XYZ", "venue": "nowhere"}, VENUES)

    assert set(found) == {"pool", "tokenIn", "tokenOut", "venue"}


def test_a_pool_holds_two_different_tokens():
    assert "two different tokens" in errors(read_launch, {**LAUNCH, "tokenOut": "WIF"}, VENUES)["tokenOut"]

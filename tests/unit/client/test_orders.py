"""What an order may hold, and how it is sent: exactly as it was given."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from oee import LimitOrder, MarketOrder, SniperOrder, StopOrder
from oee.exact_json import encode_json
from oee.orders import order_of
from tests.unit.client.engines import ACCEPTED, TERMS, Engine, answer

PAIR = {"token_in": "SOL", "token_out": "USDC"}


@pytest.mark.parametrize("amount", ["0.1", "123456789012.123456789", "1e3", "40", "0.000000001"])
def test_a_number_is_sent_with_exactly_its_digits(amount):
    sent = encode_json(MarketOrder(**PAIR, amount=amount)).decode()

    assert f'"amount":{Decimal(amount)}' in sent.replace(" ", "")


@pytest.mark.parametrize("order_type", [MarketOrder, LimitOrder, StopOrder, SniperOrder])
def test_a_float_is_refused_with_what_to_write_instead(order_type):
    prices = {LimitOrder: {"limit_price": 1}, StopOrder: {"trigger_price": 1}}.get(order_type, {})

    with pytest.raises(TypeError, match=r'amount is the float 0\.1, which is not exact: pass Decimal\("0\.1"\)'):
        order_type(**PAIR, **prices, amount=0.1)


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        pytest.param({"limit_price": 150.5}, TypeError, "limit_price is the float 150.5", id="float price"),
        pytest.param({"limit_price": "1,5"}, ValueError, "limit_price is '1,5', which is not a number", id="comma"),
        pytest.param({"limit_price": "NaN"}, ValueError, "not a number that one can trade", id="NaN"),
        pytest.param({"limit_price": True}, TypeError, "limit_price is True; expected is a Decimal", id="truth"),
        pytest.param({"trigger_price": 1}, TypeError, "trigger_price", id="field of another type"),
        pytest.param({"amuont": 1}, TypeError, "amuont", id="typing error"),
        pytest.param({"order_type": "margin"}, ValueError, "order_type is 'margin'; expected is market or", id="type"),
        pytest.param({"expires_at": datetime(2030, 1, 1)}, ValueError, "no time zone: add tzinfo", id="no zone"),  # noqa: DTZ001
    ],
)
def test_what_is_no_order_is_refused_before_it_is_sent(caller, fields, error, says):
    engine = Engine(answer(ACCEPTED))
    wrong = {**TERMS, "order_type": "limit", "limit_price": 150, **fields}

    with pytest.raises(error, match=says):
        caller(engine).submit(**wrong)

    assert engine.requests == []


def test_an_order_and_its_fields_cannot_both_be_given():
    with pytest.raises(TypeError, match="an order was given, and side besides"):
        order_of(MarketOrder(**PAIR, amount=1), {"side": "buy"})


def test_an_order_is_sent_alike_whether_it_is_a_type_or_fields(caller):
    engine = Engine(answer(ACCEPTED))
    client = caller(engine)
    until = datetime(2030, 1, 1, tzinfo=UTC)

    client.submit(LimitOrder(**PAIR, amount="1.5", limit_price="142.5", expires_at=until, client_order_id="k"))
    client.submit(
        **{**TERMS, "order_type": "limit"}, limit_price=Decimal("142.5"), expires_at=until, client_order_id="k"
    )

    assert engine.bodies[0] == engine.bodies[1]
    assert engine.bodies[0] == {
        "orderType": "limit",
        "tokenIn": "SOL",
        "tokenOut": "USDC",
        "amount": 1.5,
        "limitPrice": 142.5,
        "timeInForce": "GTD",
        "expiresAt": "2030-01-01T00:00:00Z",
        "clientOrderId": "k",
    }


def test_an_order_is_its_clients_users_unless_it_says_otherwise(caller):
    engine = Engine(answer(ACCEPTED))
    client = caller(engine, user_id="ann")

    client.submit(**TERMS)
    client.submit(**TERMS, user_id="bob")

    assert [body["userId"] for body in engine.bodies] == ["ann", "bob"]

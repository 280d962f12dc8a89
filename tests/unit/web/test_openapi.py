"""The contract is valid, tells of every call, and says of each field what its reader does."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import openapi_spec_validator
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

import app
from chalicelib.exact_json import decode_json, encode_json
from chalicelib.orders.events import Details
from chalicelib.orders.order import OrderType
from chalicelib.web import fields
from chalicelib.web.contract import examples
from chalicelib.web.contract.asyncapi import asyncapi
from chalicelib.web.contract.openapi import openapi
from chalicelib.web.problems import RequestError
from chalicelib.web.requests import ORDER, read_launch, read_message_ids, read_order, read_trade
from infra import contract
from tests.unit.web.test_requests import BAD_FIELDS, BAD_LAUNCHES, BAD_PRICES, CONDITIONS, body_of

VENUES = ("raydium", "meteora")
OPEN, GUARDED = (openapi(open_to_all=open_to_all, venues=VENUES) for open_to_all in (True, False))
STREAM = asyncapi(open_to_all=True, venues=VENUES)
NOT_DESCRIBED = {"/", "/console/{version}/{file}", "/{proxy+}"}
OPERATIONS = {
    (method.upper(), path): operation
    for path, methods in OPEN["paths"].items()
    for method, operation in methods.items()
}
UNSAID = (
    # What JSON Schema cannot say, or only at length; the descriptions of the fields do.
    "digits after the point; this token has",
    "a price has at most",
    "at most 6 after the point",
    "digits; at most 40",
    "is out of range",
    "is tokenIn as well",
    "is in the past",
    "is too far away",
)
UNSAID_IN_STRINGS = (
    "an amount is greater than 0",
    "a price is greater than 0",
    "is too large",
    "expected is a fraction",
)
"""A number in a string is described by how it is written, not by how large it is."""


def plain(document: Any) -> Any:
    """Return a document as those have it who read it: numbers are floats."""
    return json.loads(encode_json(document))


def validator(schema: Any, document: dict[str, Any] = OPEN) -> Draft202012Validator:
    """Return what checks values against a schema of a document."""
    return Draft202012Validator(plain({**schema, "components": document["components"]}), validate_formats=True)


def body_schema(path: str, document: dict[str, Any] = OPEN) -> dict[str, Any]:
    schema: dict[str, Any] = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return schema


SENT_ORDERS = OPEN["paths"]["/api/orders"]["post"]["requestBody"]["content"]["application/json"]["examples"]
AN_ORDER = validator(body_schema("/api/orders"))
A_LAUNCH = validator(body_schema("/api/launches"))


def refusals(read: Any, *arguments: Any, **more: Any) -> dict[str, str]:
    """Return what a reader says of the fields that it refuses; nothing when it takes all."""
    try:
        read(*arguments, **more)
    except RequestError as refused:
        return refused.problem.errors
    return {}


def every_example() -> list[Any]:
    """Return each example of the contract with its schema."""
    found = []
    for (method, path), operation in OPERATIONS.items():
        contents = {status: answer["content"] for status, answer in operation["responses"].items()}
        if body := operation.get("requestBody"):
            contents["request"] = body["content"]
        for what, content in contents.items():
            for media_type, described in content.items():
                for name, example in described.get("examples", {}).items():
                    case = (described["schema"], example["value"])
                    found.append(pytest.param(*case, id=f"{method} {path} {what} {media_type} {name}"))
        found += [
            pytest.param(parameter["schema"], parameter["example"], id=f"{method} {path} {parameter['name']}")
            for parameter in operation.get("parameters", [])
            if "example" in parameter
        ]
    return found


# --- The documents ---


@pytest.mark.parametrize("document", [OPEN, GUARDED], ids=["open", "guarded"])
def test_the_contract_is_openapi_3_1(document):
    assert document["openapi"] == "3.1.0"
    openapi_spec_validator.validate(plain(document))


def test_every_route_and_method_is_described_and_no_other():
    served = {
        (method, path.replace("{order_id}", "{orderId}"))
        for path, methods in app.app.routes.items()
        for method in methods
        if path not in NOT_DESCRIBED and method != "OPTIONS"
    }

    assert set(OPERATIONS) == served


def test_a_call_asks_for_a_token_where_its_route_does_and_for_a_signature_where_it_takes_launches():
    for path, methods in GUARDED["paths"].items():
        for method, operation in methods.items():
            route = app.app.routes[path.replace("{orderId}", "{order_id}")][method.upper()]
            asked_for = {scheme for requirement in operation["security"] for scheme in requirement}
            signed = {"webhookSignature"} if path == "/api/launches" else set()
            assert asked_for == (signed if route.authorizer is None else {"bearerAuth"})
            assert ("401" in operation["responses"]) == bool(asked_for)


def test_every_call_says_what_it_is_for_under_an_id_of_its_own():
    ids = [operation["operationId"] for operation in OPERATIONS.values()]

    assert len(set(ids)) == len(ids)
    for operation in OPERATIONS.values():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"][0] in {tag["name"] for tag in OPEN["tags"]}


def test_every_refusal_is_a_problem_with_an_example_and_one_for_later_says_when():
    for operation in OPERATIONS.values():
        refusals_of = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
        if operation["operationId"] == "getHealth":
            del refusals_of["503"]  # which says what is down
        for status, answer in refusals_of.items():
            problem = answer["content"]["application/problem+json"]
            assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
            for example in problem["examples"].values():
                assert example["value"]["status"] == int(status)
                if "retryAfter" in example["value"]:
                    assert "Retry-After" in answer["headers"]


def test_every_field_of_an_answer_says_what_it_is():
    for name, schema in {**OPEN["components"]["schemas"], **STREAM["components"]["schemas"]}.items():
        assert schema["description"], name
        for field, held in schema.get("properties", {}).items():
            assert held["description"], f"{name}.{field}"


@pytest.mark.parametrize(("schema", "example"), every_example())
def test_every_example_keeps_to_its_schema(schema, example):
    validator(schema).validate(plain(example))


def test_every_event_has_an_example():
    shown = {event.event for event in examples.EVENTS.values()}

    assert shown == {details.event for details in Details.__subclasses__()}


def test_every_reference_leads_somewhere():
    for document in (OPEN, GUARDED, STREAM):
        for reference in re.findall(r'"\$ref":\s*"#/([^"]+)"', encode_json(document).decode()):
            found = document
            for step in reference.split("/"):
                found = found[step]
            assert found


def test_an_engine_that_is_open_to_all_wants_to_know_whose_an_order_is_and_one_that_is_not_knows():
    without_user = {name: value for name, value in body_of("market").items() if name != "userId"}

    assert not AN_ORDER.is_valid(without_user)
    assert validator(body_schema("/api/orders", GUARDED), GUARDED).is_valid(without_user)


@pytest.mark.parametrize("name", ["openapi.json", "asyncapi.yaml", "postman_collection.json"])
def test_the_documents_are_those_of_this_version(name):
    assert name not in contract.outdated(), f"docs/{name} is not what the engine serves: run `make contract`"


def test_a_document_that_says_something_else_is_noticed(tmp_path):
    for name, text in contract.documents().items():
        (tmp_path / name).write_text(text.replace("Place an order", "Place one"))

    assert contract.outdated(tmp_path) == list(contract.documents())


# --- What is sent: the contract and the reader agree ---


@pytest.mark.parametrize("example", SENT_ORDERS)
def test_the_example_of_an_order_is_taken(example):
    assert refusals(read_order, plain_order(SENT_ORDERS[example]["value"]), now=datetime.now(UTC)) == {}


def plain_order(value: Any) -> Any:
    """Return an order as it arrives: its fractions as they are written."""
    return decode_json(encode_json(value))


def test_the_examples_of_the_other_calls_are_taken():
    assert refusals(read_launch, examples.LAUNCH, VENUES) == {}
    assert refusals(read_message_ids, examples.REDRIVE) == {}
    assert refusals(read_trade, examples.TRADE) == {}


def said_by_schema(said: str, value: Any) -> bool:
    unsaid = UNSAID + UNSAID_IN_STRINGS if isinstance(value, str) else UNSAID
    return not any(part in said for part in unsaid)


def bad(cases: dict[tuple[str, str], Any]) -> list[Any]:
    return [
        pytest.param(field, value, id=f"{field} {said}: {value!r}"[:80])
        for (field, said), values in cases.items()
        for value in values
        if said_by_schema(said, value)
    ]


@pytest.mark.parametrize(("field", "value"), bad(BAD_FIELDS))
def test_what_the_reader_of_orders_refuses_the_contract_does_not_allow(field, value):
    assert not AN_ORDER.is_valid({**body_of("market"), field: value})


@pytest.mark.parametrize(("field", "value"), bad({("limitPrice", said): prices for said, prices in BAD_PRICES.items()}))
def test_a_price_that_is_refused_the_contract_does_not_allow(field, value):
    assert not AN_ORDER.is_valid({**body_of("limit"), field: value})


@pytest.mark.parametrize(("field", "value"), bad(BAD_LAUNCHES))
def test_what_the_reader_of_launches_refuses_the_contract_does_not_allow(field, value):
    assert not A_LAUNCH.is_valid({"pool": "p", "tokenIn": "WIF", field: value})


SOON = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
NAMES = [spelling for field in ORDER for spelling in (field.name, field.second_spelling) if spelling]
TELLING = st.sampled_from(
    [
        *(None, True, 0, 1, -1, 1.5, "1.5", "x", "", "u1", "SOL", "USDC", "sell", "GTC", "IOC", "GTD"),
        *(SOON, "soon", [], {}, *CONDITIONS),
    ]
)


@given(
    st.sampled_from(OrderType),
    st.sampled_from([{}, {"timeInForce": "GTD", "expiresAt": SOON}, {"timeInForce": "IOC"}]),
    st.dictionaries(st.sampled_from([*NAMES, "colour"]), TELLING, max_size=3),
    st.sets(st.sampled_from(NAMES), max_size=2),
)
def test_what_the_contract_allows_is_taken_and_nothing_else(order_type, until, changes, left_out):
    body = {**body_of(order_type), **until, **changes}
    body = {name: value for name, value in body.items() if name not in left_out}

    errors = refusals(read_order, plain_order(body), now=datetime.now(UTC))

    said = {field: problem for field, problem in errors.items() if said_by_schema(problem, body.get(field))}
    assert AN_ORDER.is_valid(body) == (not said), errors


@given(st.text(max_size=3, alphabet=st.characters(codec="latin-1")))
def test_a_text_is_printable_by_the_contract_where_it_is_by_the_reader(text):
    allowed = Draft202012Validator(plain(fields.TEXT.schema)).is_valid(text)

    try:
        fields.TEXT.read(text)
    except fields.Refused:
        assert not allowed
    else:
        assert allowed


# --- What is answered: every type that there is ---


def test_what_is_always_written_is_required_and_what_is_left_out_is_not():
    schemas = OPEN["components"]["schemas"]

    assert set(schemas["Order"]["required"]) == set(schemas["Order"]["properties"])
    assert set(schemas["Problem"]["required"]) == {"title", "status", "detail"}
    assert set(schemas["RoutingDetails"]["required"]) == {"quotes", "chosen"}


def test_numbers_are_described_as_numbers_because_that_is_how_they_are_written():
    assert OPEN["components"]["schemas"]["VenueQuote"]["properties"]["price"]["type"] == "number"
    assert isinstance(msgspec.json.decode(encode_json(Decimal("1.5"))), float)


# --- The stream ---


@pytest.mark.parametrize("name", list(STREAM["components"]["messages"]))
def test_every_example_of_a_message_keeps_to_its_schema(name):
    message = STREAM["components"]["messages"][name]
    known = validator(message["payload"], STREAM)

    assert message["examples"]
    for example in message["examples"]:
        known.validate(plain(example["payload"]))


def test_every_message_is_sent_or_heard():
    channel = STREAM["channels"]["stream"]["messages"]
    operations = [reference["$ref"] for side in STREAM["operations"].values() for reference in side["messages"]]

    assert sorted(operations) == sorted(f"#/channels/stream/messages/{name}" for name in channel)
    assert set(channel) == set(STREAM["components"]["messages"])

"""The Postman collection has every call of the contract, and needs nothing that it does not bring."""

import json
import re

import pytest

from chalicelib.web.contract.openapi import openapi
from infra.postman import CALLS, SCHEMA, VARIABLES, collection

CONTRACT = openapi(open_to_all=False, venues=("raydium", "meteora"))
COLLECTION = json.loads(json.dumps(collection(CONTRACT)))
ITEMS = COLLECTION["item"]
SET_BY_SCRIPTS = {"tomorrow", "webhook-id", "webhook-timestamp", "webhook-signature"}
OPERATIONS = {
    operation["operationId"]: (method.upper(), path.replace("{orderId}", ":orderId").strip("/").split("/"), operation)
    for path, methods in CONTRACT["paths"].items()
    for method, operation in methods.items()
}


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_call_of_the_contract_is_there(operation_id):
    method, path, _ = OPERATIONS[operation_id]

    assert any(item["request"]["method"] == method and item["request"]["url"]["path"] == path for item in ITEMS)


def test_it_is_a_collection_of_postman_2_1_whose_calls_have_names_of_their_own():
    assert COLLECTION["info"]["schema"] == SCHEMA
    assert len({item["name"] for item in ITEMS}) == len(ITEMS)


def test_every_call_checks_its_answer_and_has_examples_of_it():
    for call, item in zip(CALLS, ITEMS, strict=True):
        assert [event["listen"] for event in item["event"]][-1] == "test"
        answers = OPERATIONS[call.operation][2]["responses"]
        shown = {(answer["code"], answer["name"]) for answer in item["response"]}
        assert shown == {
            (int(status), f"{status} {name}")
            for status, answer in answers.items()
            for content in answer["content"].values()
            for name in content.get("examples", {})
        }


def test_every_variable_that_is_used_has_a_value():
    used = set(re.findall(r"{{([\w-]+)}}", json.dumps(ITEMS)))

    assert used <= VARIABLES.keys() | SET_BY_SCRIPTS
    assert {variable["key"] for variable in COLLECTION["variable"]} == VARIABLES.keys()


def test_only_what_asks_for_a_token_sends_one():
    for call, item in zip(CALLS, ITEMS, strict=True):
        asks = any("bearerAuth" in requirement for requirement in OPERATIONS[call.operation][2]["security"])
        assert ("auth" in item["request"]) != asks

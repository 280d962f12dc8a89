"""Whether what the engine answers and streams is what its contract says: asked of every answer in these tests.

Stricter than a client should be: a field that the contract does not name is an error here, because nobody has told of
it. Only a problem may hold more, as the gateway's own do.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema_rs import Draft202012Validator

from chalicelib.exact_json import encode_json
from chalicelib.web.contract.asyncapi import asyncapi
from chalicelib.web.contract.openapi import openapi

VENUES = ("raydium", "meteora")
MAY_HOLD_MORE = {"Problem"}


def check_answer(method: str, address: str, status: int, content_type: str, content: bytes) -> None:
    """Fail if the answer of a call that the contract has is not one that it describes."""
    path = address.partition("?")[0]
    if call := _calls_at(path).get(method.lower()):
        _check(f"{method} {path}", call["responses"], status, content_type, content)


def check_message(message: str | bytes) -> None:
    """Fail if the contract does not know a message that an engine has sent."""
    value = json.loads(message)
    name = value.get("event")
    heard = _messages()
    assert name in heard, f"the contract knows no message {name!r}"
    heard[name].validate(value)


def _calls_at(path: str) -> Any:
    """Return the calls of a path; one that is written out goes before one with a parameter."""
    paths = _contract()["paths"]
    if path in paths:
        return paths[path]
    fitting = (calls for pattern, calls in paths.items() if re.fullmatch(re.sub(r"{\w+}", "[^/]+", pattern), path))
    return next(fitting, {})


def _check(call: str, answers: Mapping[str, Any], status: int, content_type: str, content: bytes) -> None:
    assert str(status) in answers, f"{call} has answered {status}, of which the contract says nothing"
    described = answers[str(status)]["content"]
    assert content_type in described, f"{call} has answered {status} as {content_type}, not as {', '.join(described)}"
    if content_type.endswith("json"):
        _validator(json.dumps(described[content_type]["schema"])).validate(json.loads(content))


@cache
def _contract() -> Any:
    return json.loads(encode_json(openapi(open_to_all=True, venues=VENUES)))


@cache
def _messages() -> dict[str, Draft202012Validator]:
    stream = json.loads(encode_json(asyncapi(open_to_all=True, venues=VENUES)))
    components = {"schemas": _closed(stream["components"]["schemas"])}
    return {
        name: Draft202012Validator({**message["payload"], "components": components}, validate_formats=True)
        for name, message in stream["components"]["messages"].items()
    }


@cache
def _validator(schema: str) -> Draft202012Validator:
    components = {"schemas": _closed(_contract()["components"]["schemas"])}
    return Draft202012Validator({**json.loads(schema), "components": components}, validate_formats=True)


def _closed(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return schemas whose objects hold nothing but what is described."""
    return {
        name: {"additionalProperties": False, **schema}
        if "properties" in schema and name not in MAY_HOLD_MORE
        else schema
        for name, schema in schemas.items()
    }

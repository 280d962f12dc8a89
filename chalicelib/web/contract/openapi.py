"""The REST API in OpenAPI 3.1: ``GET /openapi.json``.

It describes the engine that serves it: one that asks for tokens says so, and one that is open to all wants to be told
whose an order is.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

from chalicelib.orders.tokens import TOKENS
from chalicelib.web.contract.examples import written
from chalicelib.web.contract.operations import (
    JSON,
    OPERATIONS_SERVED,
    TAGS,
    Body,
    Guard,
    Operation,
    Parameter,
    Success,
)
from chalicelib.web.contract.schemas import Components, parameter_schema
from chalicelib.web.fields import LARGEST_BODY, Schema
from chalicelib.web.identity import METRICS, OPERATE
from chalicelib.web.problems import Problem, RequestError

TITLE = "Order Execution Engine"
VERSION = "1.0.0"
"""Of the API: the first number changes when a client that works must be changed."""
PROBLEM = "application/problem+json"
REFUSED_BY_GATEWAY = "GatewayRefusal"
_ABOUT = f"""
Post an order; the engine quotes all venues, takes the best net price, swaps, and streams every step to a WebSocket
(see docs/asyncapi.yaml).

- **Numbers** are exact decimals. A request may send them as strings, for clients whose JSON has floats only.
- **Fields** that are not known are refused; null counts as absent. Some have a second spelling: `type`, `amountIn`,
  `targetPrice`. A body has at most {LARGEST_BODY // 1024} KB.
- **Errors** are `{PROBLEM}` (RFC 9457), with an `errors` object that names each bad field. `Retry-After`, in
  whole seconds, says after which time to try again. A path that is not served is answered with 404, a method that a
  path does not have with 405 and `Allow`; a bug with 500. What API Gateway itself refuses (no good token, throttled)
  has a `message` only.
- **Answers** may get further fields; their order and what they mean stays.
- **Browsers**: `OPTIONS` answers every path; which pages may call is a setting of the engine.
"""
_WHO = {
    True: "This engine is open to all: it asks for no token, and an order says whose it is in `userId`.",
    False: "This engine asks for tokens: access tokens of its OIDC issuer, whose subject is the user.",
}
_REQUIREMENTS: Mapping[Guard, list[dict[str, list[str]]]] = {
    Guard.NOTHING: [],
    Guard.TOKEN: [{"bearerAuth": []}],
    Guard.OPERATOR: [{"bearerAuth": [OPERATE]}],
    Guard.METRICS: [{"bearerAuth": [METRICS]}],
    Guard.SIGNATURE: [{"webhookSignature": []}],
}
_HEADERS: Mapping[str, Schema] = {
    "Retry-After": {
        "description": "After how many seconds to try again.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 2,
    },
    "WWW-Authenticate": {
        "description": "What is to be shown instead (RFC 6750).",
        "schema": {"type": "string"},
        "example": "Bearer",
    },
}
_SECURITY_SCHEMES = {
    "bearerAuth": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": f"An access token of the engine's OIDC issuer; for operators' calls with the scope `{OPERATE}`, "
        f"for metrics with `{METRICS}`.",
    },
    "webhookSignature": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": "Standard Webhooks: HMAC-SHA256 over `webhook-id`, `webhook-timestamp` and the body.",
    },
}


def openapi(*, open_to_all: bool, venues: Collection[str]) -> dict[str, Any]:
    """Return the document for an engine that asks for tokens or is ``open_to_all``, and swaps on ``venues``."""
    components = Components(venues, open_to_all=open_to_all)
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for operation in OPERATIONS_SERVED:
        for path, operation_id in {operation.path: operation.id, **operation.also_at}.items():
            described = _describe(operation, components, open_to_all=open_to_all)
            paths[path][operation.method] = {"operationId": operation_id, **described}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": VERSION,
            "summary": "Executes token swaps at the best net price of all venues.",
            "description": f"{_ABOUT.strip()}\n- **Tokens** and their decimals: {_decimals()}.\n\n{_WHO[open_to_all]}",
        },
        # Relative to this document, which lies beside /api: whatever stage or domain that is below.
        "servers": [{"url": ".", "description": "Where this document is."}],
        "tags": [{"name": tag.name, "description": tag.about} for tag in TAGS],
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "headers": _HEADERS,
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def _decimals() -> str:
    return ", ".join(f"{token.symbol} {token.decimals}" for token in TOKENS.values())


def _describe(operation: Operation, components: Components, *, open_to_all: bool) -> dict[str, Any]:
    guarded = not open_to_all or operation.guard is Guard.SIGNATURE
    described: dict[str, Any] = {
        "summary": operation.summary,
        "description": operation.about,
        "tags": [operation.tag.name],
        "security": _REQUIREMENTS[operation.guard] if guarded else [],
    }
    if operation.parameters:
        described["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body:
        described["requestBody"] = _body(operation.body, components, open_to_all=open_to_all)
    described["responses"] = _responses(operation, components)
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described = {
        "name": parameter.field.name,
        "in": parameter.place,
        "required": parameter.field.required,
        "description": parameter.field.about,
        "schema": parameter_schema(parameter.field),
    }
    return described if parameter.example is None else {**described, "example": parameter.example}


def _body(body: Body, components: Components, *, open_to_all: bool) -> dict[str, Any]:
    # Where tokens say who the user is, an example that names one would be somebody else's.
    sent = {
        name: {field: value for field, value in example.items() if open_to_all or field != "userId"}
        for name, example in body.examples.items()
    }
    return {"required": True, "content": {JSON: {"schema": body.schema(components), "examples": _examples(sent)}}}


def _responses(operation: Operation, components: Components) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for answer in operation.answers:
        responses[str(answer.status.value)] = _success(answer, components)
    by_status: dict[HTTPStatus, dict[str, RequestError]] = defaultdict(dict)
    for name, refused in operation.all_refusals.items():
        by_status[refused.status][name] = refused
    for status, refusals in sorted(by_status.items()):
        responses[str(status.value)] = _refusal(status, refusals, components, by_gateway=operation.guard.by_token)
    return responses


def _success(answer: Success, components: Components) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": components.of(answer.kind)}
    if answer.examples:
        content["examples"] = _examples(answer.examples)
    described: dict[str, Any] = {"description": answer.about, "content": dict.fromkeys(answer.media_types, content)}
    if answer.leads_to:
        described["links"] = {
            name: {
                "operationId": link.operation,
                "description": link.about,
                **({"parameters": link.parameters} if link.parameters else {}),
                **({"requestBody": link.body} if link.body else {}),
            }
            for name, link in answer.leads_to.items()
        }
    return described


def _refusal(
    status: HTTPStatus, refusals: Mapping[str, RequestError], components: Components, *, by_gateway: bool
) -> dict[str, Any]:
    problems = {name: refused.problem for name, refused in refusals.items()}
    headers = sorted({header for refused in refusals.values() for header in refused.headers})
    content: dict[str, Any] = {PROBLEM: {"schema": components.of(Problem), "examples": _examples(problems)}}
    if by_gateway and status is HTTPStatus.UNAUTHORIZED:
        content[JSON] = {
            "schema": _refused_by_gateway(components),
            "examples": _examples({"byTheGateway": {"message": "Unauthorized"}}),
        }
    described: dict[str, Any] = {"description": status.phrase, "content": content}
    if headers:
        described["headers"] = {header: {"$ref": f"#/components/headers/{header}"} for header in headers}
    return described


def _refused_by_gateway(components: Components) -> Schema:
    return components.named(
        REFUSED_BY_GATEWAY,
        lambda: {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
    )


def _examples(named: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {"value": written(value)} for name, value in named.items()}

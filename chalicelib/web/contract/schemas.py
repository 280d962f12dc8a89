"""JSON Schema (2020-12) of what the API takes and answers.

Answers and events are described by their structs, requests by the tables of their fields, so that neither can say
something else than what runs. What is written here besides is what a type cannot say: what a field is for.
"""

import types
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import partial
from inspect import getdoc
from itertools import groupby
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from chalicelib.orders.events import Details, OrderEvent, RoutingDetails
from chalicelib.orders.order import Need, Order, OrderType, Status, TimeInForce
from chalicelib.web import requests
from chalicelib.web.contract.wording import WORDING
from chalicelib.web.fields import Field, Schema

COMPONENTS = "#/components/schemas/"
_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Decimal: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
    type(None): {"type": "null"},
    Any: {},
}
_NARROWED = {(Order, "route_meta"): RoutingDetails | None}
"""Fields that hold JSON as it is stored; and what that is."""
DETAILS: Mapping[str, Sequence[type[Details]]] = {
    event: list(details) for event, details in groupby(Details.__subclasses__(), key=lambda details: details.event)
}
"""What the details of each event may be, by its name, in the order in which they are declared."""


def reference(name: str) -> Schema:
    """Return a reference to a schema among the components."""
    return {"$ref": COMPONENTS + name}


def event_name(event: str) -> str:
    """Return what the schema of an event is called."""
    return f"{event.capitalize()}Event"


class Components:
    """The schemas that have a name, each described when it is first referred to."""

    def __init__(self, venues: Collection[str], *, open_to_all: bool) -> None:
        self.schemas: dict[str, Schema] = {}
        self._venues = venues
        self._open_to_all = open_to_all

    # --- What is answered ---

    def of(self, kind: Any) -> Schema:
        """Return the schema of a type, as it is written."""
        if kind in _PLAIN:
            return _PLAIN[kind]
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Literal:
            return {"const": arguments[0]} if len(arguments) == 1 else {"type": "string", "enum": list(arguments)}
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(argument) for argument in arguments]}
        if origin is not None and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if origin is not None and issubclass(origin, Sequence):
            return {"type": "array", "items": self.of(arguments[0])}
        return self.named(kind.__name__, lambda: self._describe(kind), getdoc(kind) or "")

    def _describe(self, kind: Any) -> Schema:
        if kind is OrderEvent:
            return self._any_event()
        if issubclass(kind, Enum):
            return {"type": "string", "enum": [choice.value for choice in kind]}
        return self._struct(kind)

    def _struct(self, struct: Any) -> Schema:
        """Describe an object; what is always written is required, also where it is null."""
        leaves_out = struct.__struct_config__.omit_defaults
        known = msgspec.structs.fields(struct)
        return {
            "type": "object",
            "properties": {
                field.encode_name: self.of(_NARROWED.get((struct, field.name), field.type)) for field in known
            },
            "required": [field.encode_name for field in known if field.required or not leaves_out],
        }

    def event(self, event: str) -> Schema:
        """Return the schema of an event, by its name."""
        return self.named(event_name(event), partial(self._event, event))

    def _any_event(self) -> Schema:
        mapping = {event: COMPONENTS + event_name(event) for event in DETAILS}
        discriminator = {"propertyName": "event", "mapping": mapping}
        return {"oneOf": [self.event(event) for event in DETAILS], "discriminator": discriminator}

    def _event(self, event: str) -> Schema:
        """Describe an event: what all have, its details, and those of them that it repeats at its top."""
        details = [self.of(kind) for kind in DETAILS[event]]
        held = {field.name for kind in DETAILS[event] for field in msgspec.structs.fields(kind)}
        known = [field for field in msgspec.structs.fields(OrderEvent) if field.required or field.name in held]
        properties = {field.encode_name: self.of(field.type) for field in known if field.required}
        for field in known:
            if not field.required:
                (written, _none) = get_args(field.type)
                properties[field.encode_name] = self.of(written)
        # An event that has no status of its own leaves the order where it can begin anew.
        status = event if event in {status.value for status in Status} else Status.PENDING.value
        properties |= {
            "event": {"const": event},
            "status": {"const": status},
            "details": details[0] if len(details) == 1 else {"anyOf": details},
        }
        return {"type": "object", "properties": properties, "required": list(properties)}

    # --- What is sent ---

    def request(self, name: str, table: Sequence[Field[Any]]) -> Schema:
        """Return the schema of a request that holds the fields of a table."""
        return self.named(name, lambda: _object_of({field: _may_hold(field) for field in table}))

    def launch(self) -> Schema:
        return self.request("LaunchRequest", requests.launch_table(self._venues))

    def order(self, **more: Schema) -> Schema:
        """Return the schema of an order that is asked for; ``more`` fields stand beside its own, in a message."""
        return {"oneOf": [self._order_of(order_type, more) for order_type in OrderType]}

    def _order_of(self, order_type: OrderType, more: Mapping[str, Schema]) -> Schema:
        name = f"{order_type.value.capitalize()}Order{'Message' if more else ''}"
        return self.named(name, lambda: self._describe_order(order_type, more))

    def _describe_order(self, order_type: OrderType, more: Mapping[str, Schema]) -> Schema:
        rules = order_type.rules
        needs = {requests.LIMIT_PRICE: rules.limit_price, requests.TRIGGER_PRICE: rules.trigger_price}
        holds = {field: _may_hold(field) for field in requests.ORDER}
        required = {field for field in requests.ORDER if field.required}
        if not self._open_to_all:
            required -= {requests.USER_ID}
            holds[requests.USER_ID] = _nullable(requests.USER_ID.kind.schema)
        holds[requests.ORDER_TYPE] = {"type": "string", "const": order_type.value}
        holds[requests.SIDE] = {**holds[requests.SIDE], "default": rules.default_side.value}
        for price, need in needs.items():
            match need:
                case Need.REQUIRED:
                    required.add(price)
                    holds[price] = price.kind.schema
                case Need.FORBIDDEN:
                    holds[price] = {"type": "null"}
        described = _object_of(holds, required)
        described["properties"] = {**more, **described["properties"]}
        described["required"] = [*more, *described["required"]]
        described["allOf"] = [*described["allOf"], _ends_when_it_says()]
        return described

    def named(self, name: str, describe: Callable[[], Schema], documentation: str = "") -> Schema:
        """Return a reference to a schema, which is described if it is not there yet."""
        if name not in self.schemas:
            self.schemas[name] = {}  # keeps its place, before what it refers to
            self.schemas[name] = _worded(name, describe(), documentation)
        return reference(name)


def parameter_schema(field: Field[Any]) -> Schema:
    """Return what a field may hold in a query or a header: there a number is text, with all its digits."""
    schema = field.kind.schema
    given = schema["anyOf"][-1] if "anyOf" in schema else schema
    return given if field.required or field.default is None else {**given, "default": field.default}


def _may_hold(field: Field[Any]) -> Schema:
    """Return what a field of a JSON object may hold; null counts as absent."""
    if field.required:
        return field.kind.schema
    optional = _nullable(field.kind.schema)
    return optional if field.default is None else {**optional, "default": field.default}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}


def _object_of(holds: Mapping[Field[Any], Schema], required: Collection[Field[Any]] | None = None) -> dict[str, Any]:
    """Describe an object of these fields and no others. Where a field has two spellings, one of them may be sent."""
    required = [field for field in holds if field.required] if required is None else required
    properties: dict[str, Schema] = {}
    spellings = []
    for field, schema in holds.items():
        properties[field.name] = {**schema, "description": field.about}
        if field.second_spelling:
            properties[field.second_spelling] = {**schema, "description": f"The second spelling of `{field.name}`."}
            spellings.append(_one_spelling(field, required=field in required))
    return {
        "type": "object",
        "properties": properties,
        "required": [field.name for field in holds if field in required and not field.second_spelling],
        **({"allOf": spellings} if spellings else {}),
        "additionalProperties": False,
    }


def _one_spelling(field: Field[Any], *, required: bool) -> Schema:
    if required:
        return {"oneOf": [{"required": [field.name]}, {"required": [field.second_spelling]}]}
    return {"not": {"required": [field.name, field.second_spelling]}}


def _ends_when_it_says() -> Schema:
    """Describe that an order says until when it is good if it is good till a time, and only then."""
    force, until = requests.TIME_IN_FORCE.name, requests.EXPIRES_AT
    others = [choice.value for choice in TimeInForce if choice is not TimeInForce.GTD]
    return {
        "oneOf": [
            {"properties": {force: {"enum": [*others, None]}, until.name: {"type": "null"}}},
            {
                "properties": {force: {"const": TimeInForce.GTD.value}, until.name: until.kind.schema},
                "required": [force, until.name],
            },
        ]
    }


def _worded(name: str, schema: Schema, documentation: str = "") -> Schema:
    """Add what a schema and its fields are for, unless they say it themselves."""
    about = WORDING.get(name) or documentation.partition("\n\n")[0].replace("\n", " ").replace("``", "`")
    described = {"description": about, **schema} if about else {**schema}
    if "properties" in schema:
        described["properties"] = {
            field: held
            if "description" in held
            else {**held, "description": WORDING.get(f"{name}.{field}") or WORDING[field]}
            for field, held in schema["properties"].items()
        }
    return described

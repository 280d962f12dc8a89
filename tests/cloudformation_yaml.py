"""CloudFormation templates in YAML, as the tests look at them: short forms written out, conditions decided."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

INFRA = Path(__file__).parents[1] / "infra"


class _Loader(yaml.SafeLoader):
    """Reads ``!Ref X`` as ``{"Ref": "X"}``."""


def _function(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        argument = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        argument = loader.construct_sequence(node, deep=True)
    else:
        argument = loader.construct_mapping(node, deep=True)
    if name == "GetAtt":
        argument = argument.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": argument}


_Loader.add_multi_constructor("!", _function)


def load_template(name: str) -> dict[str, Any]:
    """Read one of infra's templates."""
    return yaml.load((INFRA / name).read_text(), _Loader)


def with_parameters(template: Mapping[str, Any], **given: str) -> dict[str, Any]:
    """Return the template as it is for these parameters: what its conditions exclude is gone, each ``Fn::If`` decided.

    A ``Ref`` to a parameter becomes its value.
    """
    values = {name: given.get(name, declared.get("Default")) for name, declared in template["Parameters"].items()}
    assert None not in values.values(), f"a parameter has no value: {values}"
    conditions = template["Conditions"]

    def holds(condition: Any) -> bool:
        if isinstance(condition, str):
            return holds(conditions[condition])
        ((name, argument),) = condition.items()
        if name == "Condition":
            return holds(argument)
        if name == "Fn::Not":
            return not holds(argument[0])
        assert name == "Fn::Equals", condition
        one, other = map(decided, argument)
        return bool(one == other)

    def decided(part: Any) -> Any:
        if isinstance(part, list):
            return [decided(element) for element in part]
        if not isinstance(part, dict):
            return part
        if part.keys() == {"Fn::If"}:
            condition, then, otherwise = part["Fn::If"]
            return decided(then if holds(condition) else otherwise)
        if part.keys() == {"Ref"} and part["Ref"] in values:
            return values[part["Ref"]]
        return {name: decided(value) for name, value in part.items()}

    resources = {
        name: decided({key: value for key, value in resource.items() if key != "Condition"})
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or holds(resource["Condition"])
    }
    return {**template, "Resources": resources, "Outputs": decided(template["Outputs"])}


def references(part: Any) -> Iterator[str]:
    """Yield the names that a part of a template refers to, by ``Ref``, ``Fn::GetAtt`` or ``Fn::Sub``."""
    if isinstance(part, list):
        for element in part:
            yield from references(element)
    elif isinstance(part, dict):
        for name, argument in part.items():
            if name == "Ref":
                yield argument
            elif name == "Fn::GetAtt":
                yield argument[0]
            elif name == "Fn::Sub":
                yield from (piece.split("}")[0].split(".")[0] for piece in argument.split("${")[1:])
            else:
                yield from references(argument)

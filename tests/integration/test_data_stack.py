"""The data stack on the emulated AWS, as far as that goes: it knows no NAT gateways, proxies or rotations.

What it tells is that CloudFormation could make the rest: that all references have an answer, in an order without
circles, and that what the engine looks up is where it looks.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.cloud import Target
from infra.local.emulator import LocalEmulator
from tests.cloudformation_yaml import load_template, with_parameters

UNKNOWN_TO_THE_EMULATOR = {
    "AWS::EC2::EIP",
    "AWS::EC2::FlowLog",
    "AWS::EC2::NatGateway",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::SecretsManager::RotationSchedule",
}
pytestmark = pytest.mark.xdist_group("data stack")  # one emulator for all

STACK = "order-execution-engine-data-prod"
PREFIX = "/order-execution-engine/prod"


@pytest.fixture(scope="module")
def cloud(make_data_dir: Callable[[], Path]) -> Iterator[Target]:
    emulator = LocalEmulator(make_data_dir(), os.environ)
    try:
        emulator.start()
        yield Target(stage="local", endpoint_url=emulator.url)
    finally:
        emulator.stop()


def known_to_the_emulator(template: dict[str, Any]) -> dict[str, Any]:
    """Return the template without what the emulator does not know; routes lead to a gateway that it believes in."""
    known = {
        name: dict(resource)
        for name, resource in template["Resources"].items()
        if resource["Type"] not in UNKNOWN_TO_THE_EMULATOR
    }
    for resource in known.values():
        waited_for = resource.pop("DependsOn", [])
        waited_for = waited_for if isinstance(waited_for, list) else [waited_for]
        resource["DependsOn"] = [name for name in waited_for if name in known]
        if "NatGatewayId" in resource["Properties"]:
            resource["Properties"] = {**resource["Properties"], "NatGatewayId": "nat-1"}
    return {key: value for key, value in template.items() if key != "Transform"} | {"Resources": known}


@pytest.fixture(scope="module")
def outputs(cloud: Target) -> dict[str, str]:
    """Deploy the stack and return its outputs."""
    template = known_to_the_emulator(with_parameters(load_template("data.yaml"), Stage="prod"))
    cloudformation = cloud.client("cloudformation")
    cloudformation.create_stack(
        StackName=STACK,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": "Stage", "ParameterValue": "prod"}],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    (stack,) = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def test_the_engine_finds_by_parameters_what_the_outputs_tell(cloud: Target, outputs: dict[str, str]) -> None:
    pages = cloud.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=PREFIX, Recursive=True)
    found = {parameter["Name"]: parameter["Value"] for page in pages for parameter in page["Parameters"]}

    assert sorted(found.values()) == sorted(outputs.values())
    assert found[f"{PREFIX}/database/port"] == "5432"
    assert found[f"{PREFIX}/database/name"] == "orders"
    assert found[f"{PREFIX}/database/instance"] == "order-execution-engine-prod"
    assert found[f"{PREFIX}/redis/port"] == "6379"


def test_the_secrets_hold_what_the_engine_reads(cloud: Target, outputs: dict[str, str]) -> None:
    secrets = cloud.client("secretsmanager")

    def content(output: str) -> dict[str, Any]:
        return json.loads(secrets.get_secret_value(SecretId=outputs[output])["SecretString"])

    database, redis = content("DatabaseSecretArn"), content("RedisSecretArn")
    assert database.keys() >= {"username", "password", "host", "port", "dbname"}
    assert (database["username"], database["dbname"]) == ("engine", "orders")
    assert (database["host"], str(database["port"])) == (outputs["DatabaseHost"], outputs["DatabasePort"])
    assert len(database["password"]) == 48
    assert {name: len(value) for name, value in redis.items()} == {"authToken": 64}


def test_the_functions_are_put_into_private_subnets_of_two_zones(cloud: Target, outputs: dict[str, str]) -> None:
    subnets = cloud.client("ec2").describe_subnets(SubnetIds=[outputs["PrivateSubnetA"], outputs["PrivateSubnetB"]])

    assert len({subnet["AvailabilityZone"] for subnet in subnets["Subnets"]}) == 2
    assert sorted(subnet["CidrBlock"] for subnet in subnets["Subnets"]) == ["10.40.2.0/24", "10.40.3.0/24"]

"""The cloud a stage lives in, AWS or an emulator of it, and what is deployed there."""

import json
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.packaging import EMULATED_STAGES

APPLICATION = "order-execution-engine"
DEFAULT_REGION = "us-east-1"
DEFAULT_EMULATOR_URL = "http://localhost:4566"
LOCAL_ENDPOINT = Path(__file__).parents[1] / ".local" / "endpoint"
"""Where ``make run`` writes down the emulator's address, which differs each time."""

Outputs = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where a deployed engine is served, without a slash at the end."""

    rest: str
    websocket: str


class FunctionError(Exception):
    """An operators' function could not be called: nobody answers, it is not there, it failed, or it refused."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a stage is deployed; ``environment`` may hold an emulator's credentials, which default to ``test``."""

    stage: str
    region: str = DEFAULT_REGION
    endpoint_url: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    @property
    def emulated(self) -> bool:
        return self.stage in EMULATED_STAGES

    @property
    def stack(self) -> str:
        """The CloudFormation stack's name."""
        return f"{APPLICATION}-{self.stage}"

    @property
    def data_stack(self) -> str:
        """The name of the stack with network, database and Redis; emulated stages have none."""
        return f"{APPLICATION}-data-{self.stage}"

    @property
    def data_prefix(self) -> str:
        """Where the data stack puts its SSM parameters."""
        return f"/{APPLICATION}/{self.stage}"

    @property
    def place(self) -> str:
        """The target as an error message names it."""
        return self.endpoint_url or f"AWS in {self.region}"

    def client(self, service: str) -> Any:
        """Open a client for one of the cloud's services."""
        # A proxy from the user's environment cannot reach an emulator on this machine.
        proxies: dict[str, str] | None = {} if self.emulated else None
        config = Config(retries={"mode": "standard"}, user_agent_extra=APPLICATION, proxies=proxies)
        credentials = {}
        if self.emulated:
            credentials = {
                "aws_access_key_id": self.environment.get("AWS_ACCESS_KEY_ID") or "test",
                "aws_secret_access_key": self.environment.get("AWS_SECRET_ACCESS_KEY") or "test",
            }
        return boto3.client(
            service, region_name=self.region, endpoint_url=self.endpoint_url, config=config, **credentials
        )

    def outputs(self, stack: str | None = None) -> Outputs:
        """Return the outputs of a deployed stack, by default the engine's own."""
        description = self.client("cloudformation").describe_stacks(StackName=stack or self.stack)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in description.get("Outputs", [])}

    def addresses(self, outputs: Outputs) -> Addresses:
        """Return where the stack that has these outputs is served: on AWS by its public host, else by API Gateway."""
        if not self.emulated:
            return Addresses(rest=f"https://{outputs['PublicHost']}", websocket=f"wss://{outputs['PublicHost']}/ws")
        gateway = f"{self.endpoint_url}/_aws/execute-api"
        return Addresses(
            rest=f"{gateway}/{outputs['RestAPIId']}/api",
            websocket=f"{gateway}/{outputs['WebsocketAPIId']}/ws".replace("http", "ws", 1),
        )

    def call(self, output: str, request: Mapping[str, Any]) -> Any:
        """Call an operators' function, by the output that names it, and return its answer.

        Raises:
            FunctionError: the engine is not there, has no such function, that failed, or it answered with an error.
        """
        try:
            function = self.outputs().get(output)
            if function is None:
                raise FunctionError(f"the stack {self.stack} has no {output}; deploy it anew")
            answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(request))
        except (BotoCoreError, ClientError) as error:
            raise FunctionError(str(error)) from error
        payload = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise FunctionError(f"its function failed: {payload}")
        if isinstance(payload, dict) and "error" in payload:
            raise FunctionError(payload["error"])
        return payload


def add_target_options(parser: ArgumentParser, default_stage: str | None = "local") -> None:
    """Let a command line name a target; without a default stage it must."""
    stage_help = "a stage of .chalice/config.json: prod, staging, dev, localstack, local"
    endpoint_help = f"where the cloud is, if not at AWS (emulated stages: {DEFAULT_EMULATOR_URL})"
    parser.add_argument("--stage", default=default_stage, required=default_stage is None, help=stage_help)
    parser.add_argument("--endpoint-url", help=endpoint_help)
    parser.add_argument("--region")


def named_target(options: Namespace) -> Target:
    """Return the target that a command line names by ``add_target_options``."""
    return target_of(options.stage, options.region, options.endpoint_url)


def target_of(stage: str, region: str | None = None, endpoint_url: str | None = None) -> Target:
    """Return a target; a local stage without an endpoint is the one that runs."""
    if endpoint_url is None and stage in EMULATED_STAGES:
        running = LOCAL_ENDPOINT.read_text() if stage == "local" and LOCAL_ENDPOINT.exists() else None
        endpoint_url = running or DEFAULT_EMULATOR_URL
    return Target(
        stage=stage, region=region or os.environ.get("AWS_REGION") or DEFAULT_REGION, endpoint_url=endpoint_url
    )

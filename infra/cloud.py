"""The cloud a stage lives in, AWS or an emulator of it, and what is deployed there."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from infra.packaging import EMULATED_STAGES

APPLICATION = "order-execution-engine"
DEFAULT_REGION = "us-east-1"
DEFAULT_EMULATOR_URL = "http://localhost:4566"
LOCAL_ENDPOINT = Path(__file__).parents[1] / ".local" / "endpoint"
"""Where ``make run`` writes down the emulator's address, which differs each time."""

Outputs = dict[str, str]


class FunctionError(Exception):
    """The deployed engine has no such function, it failed, or it refused what it was asked for."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a stage is deployed; ``environment`` may hold an emulator's credentials, which default to ``test``."""

    stage: str
    region: str = DEFAULT_REGION
    endpoint_url: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    @property
    def emulated(self) -> bool:
        """Whether this is an emulator."""
        return self.stage in EMULATED_STAGES

    @property
    def stack(self) -> str:
        """The CloudFormation stack's name."""
        return f"{APPLICATION}-{self.stage}"

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

    def outputs(self) -> Outputs:
        """Return the deployed stack's outputs."""
        description = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in description.get("Outputs", [])}

    def call(self, output: str, request: Mapping[str, Any]) -> Any:
        """Call an operators' function, by the output that names it, and return its answer.

        Raises:
            BotoCoreError, ClientError: the engine is not there.
            FunctionError: it has no such function, that failed, or it answered with an error.
        """
        function = self.outputs().get(output)
        if function is None:
            raise FunctionError(f"the stack {self.stack} has no {output}; deploy it anew")
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(request))
        payload = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise FunctionError(f"its function failed: {payload}")
        if isinstance(payload, dict) and "error" in payload:
            raise FunctionError(payload["error"])
        return payload


def target_of(stage: str, region: str | None = None, endpoint_url: str | None = None) -> Target:
    """Return the target a command line means: a local stage without an endpoint is the one that runs."""
    if endpoint_url is None and stage in EMULATED_STAGES:
        running = LOCAL_ENDPOINT.read_text() if stage == "local" and LOCAL_ENDPOINT.exists() else None
        endpoint_url = running or DEFAULT_EMULATOR_URL
    return Target(
        stage=stage, region=region or os.environ.get("AWS_REGION") or DEFAULT_REGION, endpoint_url=endpoint_url
    )

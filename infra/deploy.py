"""Deploys the engine with CloudFormation: ``python -m infra.deploy --stage prod|dev|localstack|local``.

One path for AWS and for every emulator of it. First all is decided as plain data (``plan_deployment``), then it is
carried out (``_Executor``), so that what would be deployed can be tested without a cloud.
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.config import PRIORITY_SLOTS, Settings, SettingsError, load_settings
from infra.cloud import APPLICATION, DEFAULT_EMULATOR_URL, Outputs, Target, target_of
from infra.packaging import Package, PackagingError, Template, build_package

PROJECT = Path(__file__).parents[1]
BUILD_ROOT = PROJECT / ".local" / "build"
INLINE_TEMPLATE_BYTES = 51_200
"""A larger template must come from S3:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
NOTHING_TO_CHANGE = ("didn't contain changes", "No updates are to be performed")
DEPLOY_TIMEOUT_SECONDS = 3600.0

Report = Callable[[str], None]
Value = TypeVar("Value")


class DeployError(Exception):
    """The deployment failed; the message says where and why."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """All that is decided before anything is touched."""

    stack: str
    bucket: str
    archive: Path
    archive_key: str
    template: str
    template_key: str | None
    """Where the template is put when it is too large to be sent along."""
    parameters: dict[str, str]


# --- Deciding: values in, values out ---


def plan_deployment(target: Target, package: Package, account: str, environment: Mapping[str, str]) -> Deployment:
    """Decide what to deploy.

    Raises:
        DeployError: a template parameter has no value.
    """
    parameters = template_parameters(package.template, environment)
    template = adapt_for_emulator(package.template, parameters) if target.emulated else package.template
    bucket = f"{APPLICATION}-artifacts-{account}-{target.region}"
    archive_key = f"{package.archive_digest}.zip"
    body = json.dumps(point_functions_at(template, bucket, archive_key))
    return Deployment(
        stack=target.stack,
        bucket=bucket,
        archive=package.archive,
        archive_key=archive_key,
        template=body,
        template_key=f"{package.archive_digest}.json" if len(body.encode()) > INLINE_TEMPLATE_BYTES else None,
        parameters=parameters,
    )


def adapt_for_emulator(template: Template, parameters: Mapping[str, str]) -> Template:
    """Return the template without what emulators do not know.

    MiniStack has no ``AWS::ApiGatewayV2::Deployment``; a stage that deploys itself needs none. It keeps a number
    that comes from a parameter as text, on which an event source's poller fails; so numbers are written out.
    """
    numbers = {
        name: int(parameters[name])
        for name, declared in template.get("Parameters", {}).items()
        if declared["Type"] == "Number"
    }
    resources = {
        name: _with_numbers(resource, numbers)
        for name, resource in template["Resources"].items()
        if resource["Type"] != "AWS::ApiGatewayV2::Deployment"
    }
    for name, resource in resources.items():
        if resource["Type"] == "AWS::ApiGatewayV2::Stage":
            properties = {key: value for key, value in resource["Properties"].items() if key != "DeploymentId"}
            resources[name] = {**resource, "Properties": {**properties, "AutoDeploy": True}}
    return {**template, "Resources": resources}


def _with_numbers(part: Any, numbers: Mapping[str, int]) -> Any:
    if isinstance(part, list):
        return [_with_numbers(element, numbers) for element in part]
    if not isinstance(part, dict):
        return part
    if part.keys() == {"Ref"} and part["Ref"] in numbers:
        return numbers[part["Ref"]]
    return {key: _with_numbers(value, numbers) for key, value in part.items()}


def point_functions_at(template: Template, bucket: str, key: str) -> Template:
    """Return the template with every function's code taken from this object."""
    resources = dict(template["Resources"])
    for name, resource in resources.items():
        if resource["Type"] == "AWS::Serverless::Function":
            properties = {**resource["Properties"], "CodeUri": {"Bucket": bucket, "Key": key}}
            resources[name] = {**resource, "Properties": properties}
    return {**template, "Resources": resources}


def template_parameters(template: Template, environment: Mapping[str, str]) -> dict[str, str]:
    """Take each template parameter ``FooBar`` from the variable ``FOO_BAR``, else from its default.

    An empty variable counts as absent.

    Raises:
        DeployError: naming every parameter that has neither.
    """
    values, missing = {}, []
    for name, declaration in template.get("Parameters", {}).items():
        variable = environment_variable(name)
        value = environment.get(variable) or declaration.get("Default")
        if value is None:
            missing.append(f"The template parameter {name} has no default: set {variable}.")
        else:
            values[name] = str(value)
    if missing:
        raise DeployError("\n".join(missing))
    return values


def resolve_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with every setting under the one name that the template knows.

    Raises:
        SettingsError: a setting has a value that cannot be used.
    """
    settings = load_settings(environment)
    resolved = {**environment, **slots(settings)}
    if environment.get("POSTGRES_HOST", "").strip():
        resolved["DATABASE_URL"] = settings.database_url
    if environment.get("REDIS_HOST", "").strip():
        resolved["REDIS_URL"] = settings.redis_url
    return resolved


def slots(settings: Settings) -> dict[str, str]:
    """Return how many orders execute at once, and how many of them are not snipers: CloudFormation cannot subtract."""
    at_once = settings.queue_max_concurrent
    return {"QUEUE_MAX_CONCURRENT": str(at_once), "ORDERS_MAX_CONCURRENT": str(at_once - PRIORITY_SLOTS)}


def environment_variable(parameter: str) -> str:
    """Return the variable a template parameter is read from: ``QueueMaxConcurrent`` → ``QUEUE_MAX_CONCURRENT``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", parameter).upper()


# --- Doing ---


def deploy(
    target: Target,
    *,
    environment: Mapping[str, str] = os.environ,
    package: Package | None = None,
    report: Report = lambda _: None,
) -> Outputs:
    """Package and deploy a stage and return the stack's outputs.

    Args:
        target: Where to; its stage is one of ``.chalice/config.json``.
        environment: Template parameters are read from here.
        package: A package built before; built now if not given.
        report: Gets a line for each step.

    Raises:
        PackagingError: the package could not be built.
        DeployError: the deployment could not be made.
    """
    package = package or build_package(PROJECT, BUILD_ROOT, target.stage, report)
    try:
        executor = _Executor(target, report)
        deployment = plan_deployment(target, package, executor.account(), environment)
        return executor.carry_out(deployment)
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"Deploying {target.stack} to {target.place} failed: {error}") from error


class _Executor:
    """Carries a deployment out: every call to the cloud is here."""

    def __init__(self, target: Target, report: Report) -> None:
        self._sts, self._s3, self._cloudformation = map(target.client, ("sts", "s3", "cloudformation"))
        self._target = target
        self._poll_seconds = 0.1 if target.emulated else 2.0
        self._report = report

    def account(self) -> str:
        return str(self._sts.get_caller_identity()["Account"])

    def carry_out(self, deployment: Deployment) -> Outputs:
        self._ensure_bucket(deployment.bucket)
        self._upload(deployment.bucket, deployment.archive_key, deployment.archive.read_bytes())
        if deployment.template_key:
            self._upload(deployment.bucket, deployment.template_key, deployment.template.encode())
        change_set = self._create_change_set(deployment)
        if change_set is None:
            self._report(f"{deployment.stack} is up to date")
        else:
            self._report(f"deploying {deployment.stack}")
            started = time.time()
            self._cloudformation.execute_change_set(ChangeSetName=change_set)
            self._wait(deployment.stack, started)
        return self._target.outputs()

    def _ensure_bucket(self, bucket: str) -> None:
        try:
            self._s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                raise
            # us-east-1 is the one region that must not be named here.
            place = {} if self._target.region == "us-east-1" else {"LocationConstraint": self._target.region}
            options = {"CreateBucketConfiguration": place} if place else {}
            self._s3.create_bucket(Bucket=bucket, **options)

    def _upload(self, bucket: str, key: str, content: bytes) -> None:
        # Keys are digests of the code, but the template also depends on infra/: it is always written.
        if key.endswith(".zip"):
            try:
                self._s3.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                    raise
            else:
                return
        self._report(f"uploading {len(content) / 1_000_000:.1f} MB")
        self._s3.put_object(Bucket=bucket, Key=key, Body=content)

    def _create_change_set(self, deployment: Deployment) -> str | None:
        """Return the change set's ARN, or None when there is nothing to change."""
        template = (
            {"TemplateURL": self._template_url(deployment)}
            if deployment.template_key
            else {"TemplateBody": deployment.template}
        )
        change_set = self._cloudformation.create_change_set(
            StackName=deployment.stack,
            ChangeSetName=f"deploy-{time.time_ns()}",
            ChangeSetType=self._change_set_type(deployment.stack),
            Capabilities=CAPABILITIES,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in deployment.parameters.items()],
            Tags=[{"Key": "application", "Value": APPLICATION}],
            **template,
        )["Id"]
        for description in self._until_timeout(lambda: self._describe_change_set(deployment.stack, change_set)):
            if description["Status"] == "CREATE_COMPLETE":
                return str(change_set)
            if description["Status"] == "FAILED":
                reason = description.get("StatusReason", "")
                if any(phrase in reason for phrase in NOTHING_TO_CHANGE):
                    self._cloudformation.delete_change_set(ChangeSetName=change_set)
                    return None
                raise DeployError(f"CloudFormation refuses the change to {deployment.stack}: {reason}")
        raise DeployError(f"CloudFormation did not prepare the change to {deployment.stack} in time.")

    def _template_url(self, deployment: Deployment) -> str:
        endpoint = self._s3.meta.endpoint_url.rstrip("/")
        return f"{endpoint}/{deployment.bucket}/{deployment.template_key}"

    def _describe_change_set(self, stack: str, change_set: str) -> dict[str, Any]:
        description: dict[str, Any] = self._cloudformation.describe_change_set(
            StackName=stack, ChangeSetName=change_set
        )
        return description

    def _change_set_type(self, stack: str) -> str:
        status = self._status(stack)
        if status == "ROLLBACK_COMPLETE":
            # What remains of a first deployment that failed: it cannot be updated, only removed.
            self._report(f"removing {stack}, whose first deployment failed")
            self._cloudformation.delete_stack(StackName=stack)
            self._cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack)
            return "CREATE"
        return "CREATE" if status in (None, "REVIEW_IN_PROGRESS", "DELETE_COMPLETE") else "UPDATE"

    def _status(self, stack: str) -> str | None:
        try:
            return str(self._cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    def _wait(self, stack: str, started: float) -> None:
        seen: set[str] = set()
        for status in self._until_timeout(lambda: self._status(stack)):
            self._report_progress(stack, started, seen)
            if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"):
                return
            if status is None or status.endswith(("_FAILED", "ROLLBACK_COMPLETE")):
                reasons = "\n".join(f"  {line}" for line in self._failures(stack, started))
                raise DeployError(f"{stack} could not be deployed ({status}):\n{reasons}")
        raise DeployError(f"{stack} was not deployed within {DEPLOY_TIMEOUT_SECONDS / 60:.0f} minutes.")

    def _report_progress(self, stack: str, started: float, seen: set[str]) -> None:
        if self._poll_seconds < 1.0:
            return  # an emulator is done before anybody could read it
        for event in reversed(self._events(stack, started)):
            if event["EventId"] not in seen and event["ResourceStatus"].endswith(("_COMPLETE", "_FAILED")):
                self._report(f"{event['ResourceStatus'].lower().replace('_', ' ')}: {event['LogicalResourceId']}")
            seen.add(event["EventId"])

    def _failures(self, stack: str, started: float) -> list[str]:
        failed = [event for event in self._events(stack, started) if event["ResourceStatus"].endswith("_FAILED")]
        return [
            f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason')}"
            for event in reversed(failed)
        ] or ["CloudFormation names no resource."]

    def _events(self, stack: str, started: float) -> list[dict[str, Any]]:
        """Return this deployment's events, newest first."""
        events: list[dict[str, Any]] = []
        for page in self._cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack):
            for event in page["StackEvents"]:
                # Two clocks are compared here: allow for a difference.
                if event["Timestamp"].timestamp() < started - 5:
                    return events
                events.append(event)
        return events

    def _until_timeout(self, look: Callable[[], Value]) -> Iterator[Value]:
        deadline = time.monotonic() + DEPLOY_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            yield look()
            time.sleep(self._poll_seconds)


def main() -> None:
    """Deploy as the command line says and print the outputs."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description="Deploy the engine.")
    parser.add_argument("--stage", required=True, help="a stage of .chalice/config.json: prod, dev, localstack, local")
    parser.add_argument(
        "--endpoint-url", help=f"where the cloud is, if not at AWS (emulated stages: {DEFAULT_EMULATOR_URL})"
    )
    parser.add_argument("--region")
    options = parser.parse_args()
    target = target_of(options.stage, options.region, options.endpoint_url)
    try:
        outputs = deploy(target, environment=resolve_settings(os.environ), report=print)
    except (SettingsError, DeployError, PackagingError) as error:
        sys.exit(str(error))
    width = max(map(len, outputs), default=0)
    for name, value in sorted(outputs.items()):
        print(f"{name:<{width}}  {value}")


if __name__ == "__main__":
    main()

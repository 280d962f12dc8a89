"""What a deployment will be, decided before anything is touched: from the package, the target and the environment."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalicelib.config import PRIORITY_SLOTS, Settings, load_settings
from infra.cloud import APPLICATION, Target
from infra.cloudformation import Change
from infra.packaging import Package, Template

INLINE_TEMPLATE_BYTES = 51_200
"""A larger template must come from S3:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]


class DeployError(Exception):
    """The deployment failed; the message says where and why."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An object that CloudFormation takes from the bucket."""

    key: str
    content: Path | bytes
    named_by_content: bool
    """Whether an object of this name is already the right one."""

    def read(self) -> bytes:
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """All that is decided before anything is touched."""

    stack: str
    bucket: str
    uploads: tuple[Upload, ...]
    template: str
    template_key: str | None
    """Where the template is put when it is too large to be sent along."""
    parameters: dict[str, str]


def plan_deployment(target: Target, package: Package, account: str, environment: Mapping[str, str]) -> Deployment:
    """Decide what to deploy.

    Raises:
        DeployError: a template parameter has no value.
    """
    parameters = template_parameters(package.template, environment)
    template = adapt_for_emulator(package.template, parameters) if target.emulated else package.template
    bucket = f"{APPLICATION}-artifacts-{account}-{target.region}"
    archive = Upload(key=f"{package.archive_digest}.zip", content=package.archive, named_by_content=True)
    body = json.dumps(point_functions_at(template, bucket, archive.key))
    template_key = f"{package.archive_digest}.json" if len(body.encode()) > INLINE_TEMPLATE_BYTES else None
    uploads = [archive]
    if template_key:
        # Its name is a digest of the code, but it depends on infra/ as well.
        uploads.append(Upload(key=template_key, content=body.encode(), named_by_content=False))
    return Deployment(
        stack=target.stack,
        bucket=bucket,
        uploads=tuple(uploads),
        template=body,
        template_key=template_key,
        parameters=parameters,
    )


def bucket_request(bucket: str, region: str) -> dict[str, Any]:
    """Return what S3 is asked for to make the bucket; us-east-1 is the one region that must not be named."""
    if region == "us-east-1":
        return {"Bucket": bucket}
    return {"Bucket": bucket, "CreateBucketConfiguration": {"LocationConstraint": region}}


def change_set_request(deployment: Deployment, change: Change, *, name: str, s3_url: str) -> dict[str, Any]:
    """Return what CloudFormation is asked to prepare."""
    template = (
        {"TemplateURL": f"{s3_url.rstrip('/')}/{deployment.bucket}/{deployment.template_key}"}
        if deployment.template_key
        else {"TemplateBody": deployment.template}
    )
    return {
        "StackName": deployment.stack,
        "ChangeSetName": name,
        "ChangeSetType": change.change_set_type,
        "Capabilities": CAPABILITIES,
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in deployment.parameters.items()],
        "Tags": [{"Key": "application", "Value": APPLICATION}],
        **template,
    }


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
        name: _deploying_itself(_with_numbers(resource, numbers))
        for name, resource in template["Resources"].items()
        if _type_of(resource) != "AWS::ApiGatewayV2::Deployment"
    }
    return {**template, "Resources": resources}


def _type_of(resource: Any) -> str | None:
    """Return a resource's type; a loop (``Fn::ForEach``) stands among the resources and has none."""
    return resource["Type"] if isinstance(resource, dict) else None


def _deploying_itself(resource: Any) -> Any:
    if _type_of(resource) != "AWS::ApiGatewayV2::Stage":
        return resource
    properties = {key: value for key, value in resource["Properties"].items() if key != "DeploymentId"}
    return {**resource, "Properties": {**properties, "AutoDeploy": True}}


def _with_numbers(part: Any, numbers: Mapping[str, int]) -> Any:
    if isinstance(part, list):
        return [_with_numbers(element, numbers) for element in part]
    if not isinstance(part, dict):
        return part
    match part:
        case {"Ref": str(name)} if name in numbers:
            return numbers[name]
    return {key: _with_numbers(value, numbers) for key, value in part.items()}


def point_functions_at(template: Template, bucket: str, key: str) -> Template:
    """Return the template with every function's code taken from this object."""
    resources = dict(template["Resources"])
    for name, resource in resources.items():
        if _type_of(resource) == "AWS::Serverless::Function":
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
    resolved = {**environment, **slots(settings), "LOG_LEVEL": settings.log_level}
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

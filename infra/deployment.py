"""What a deployment will be, decided before anything is touched: from the package, the target and the environment."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from chalicelib.config import PRIORITY_SLOTS, Settings, SettingsError, keys_of, load_settings
from chalicelib.venues.solana.clusters import tokens_of
from infra.cloud import APPLICATION, Target
from infra.cloudformation import Change
from infra.packaging import Package, Template

INLINE_TEMPLATE_BYTES = 51_200
"""A larger template must come from S3:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""
EMULATORS_ONLY = (
    *("DATABASE_URL", "POSTGRES_HOST", "POSTGRES_PASSWORD", "REDIS_URL", "REDIS_HOST"),
    *("LAUNCH_WEBHOOK_SECRET", "SOLANA_WALLET_KEY", "EMULATOR_URL"),
)
WHERE_DATA_IS = {
    "PrivateSubnetA": "network/private-subnet-a",
    "PrivateSubnetB": "network/private-subnet-b",
    "FunctionsSecurityGroup": "network/functions-security-group",
    "DatabaseHost": "database/host",
    "DatabasePort": "database/port",
    "DatabaseName": "database/name",
    "DatabaseSecretArn": "database/secret-arn",
    "DatabaseInstance": "database/instance",
    "RedisHost": "redis/host",
    "RedisPort": "redis/port",
    "RedisSecretArn": "redis/secret-arn",
    "DataKeyArn": "data-key-arn",
}
"""Template parameters that say where the data is, and the SSM parameters that know it.

CloudFormation looks these up at each deployment, because the parameters are of a type that holds a name. It would not
by ``{{resolve:ssm:…}}`` where only the value has changed; and a template may hold sixty of those, fewer than the
functions need together.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html#dynamic-references-considerations
"""
CHECKED = ("Auth", "UseRealDevnet", "Solana")
"""How parameters begin that depend on each other: the functions would refuse what does not fit together."""
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
NOTHING: Mapping[str, str] = MappingProxyType({})
EMULATED_DATA = dict.fromkeys(WHERE_DATA_IS, "")
"""An emulator has no data stack: its functions are given ``DATABASE_URL`` and ``REDIS_URL``."""


class DeployError(Exception):
    """The deployment failed; the message says where and why."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An object that CloudFormation takes from the bucket."""

    key: str
    """Named by its content: an object that is there already is the right one."""
    content: Path | bytes

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
    kept: tuple[str, ...] = ()
    """Settings that are not the defaults, and stay because nobody named them."""
    holds_data: bool = False
    """Whether deleting the stack would delete what nobody can make again: it is protected from that."""


def plan_data(
    target: Target, template: str, account: str, environment: Mapping[str, str], previous: Mapping[str, str] = NOTHING
) -> Deployment:
    """Decide what data stack to deploy; ``template`` is ``infra/data.yaml``, ``previous`` the stack's parameters.

    Raises:
        DeployError: a template parameter has no value.
    """
    declared = _read_yaml(template)
    parameters = template_parameters(declared, environment, {"Stage": target.stage}, previous)
    body = template.encode()
    upload = Upload(key=_key(target, body, "yaml"), content=body)
    too_large = len(body) > INLINE_TEMPLATE_BYTES
    return Deployment(
        stack=target.data_stack,
        bucket=bucket_of(target, account),
        uploads=(upload,) if too_large else (),
        template=template,
        template_key=upload.key if too_large else None,
        parameters=parameters,
        kept=kept(declared, environment, previous, parameters),
        holds_data=True,
    )


class _TemplateReader(yaml.SafeLoader):
    """Reads YAML with CloudFormation's short forms (``!Ref x``) in it, whatever those stand for."""


_TemplateReader.add_multi_constructor("!", lambda _loader, _name, _node: None)


def _read_yaml(template: str) -> Template:
    read: Template = yaml.load(template, _TemplateReader)  # noqa: S506 - a SafeLoader, and the project's own file
    return read


def plan_deployment(
    target: Target,
    package: Package,
    account: str,
    environment: Mapping[str, str],
    previous: Mapping[str, str] = NOTHING,
) -> Deployment:
    """Decide what to deploy; ``previous`` are the parameters of the stack that is there.

    Raises:
        DeployError: a template parameter has no value, or one that the functions would refuse to start with.
    """
    parameters = engine_parameters(target, package.template, environment, previous, package.archive_digest)
    _check_package(target, package, parameters)
    template = adapt_for_emulator(package.template, parameters) if target.emulated else package.template
    if parameters.get("AuthMode") == "open":
        template = without_authorizer(template)
    bucket = bucket_of(target, account)
    archive = Upload(key=f"{target.stage}/{package.archive_digest}.zip", content=package.archive)
    body = json.dumps(point_functions_at(template, bucket, archive.key)).encode()
    described = Upload(key=_key(target, body, "json"), content=body)
    too_large = len(body) > INLINE_TEMPLATE_BYTES
    return Deployment(
        stack=target.stack,
        bucket=bucket,
        uploads=(archive, described) if too_large else (archive,),
        template=body.decode(),
        template_key=described.key if too_large else None,
        parameters=parameters,
        kept=kept(package.template, environment, previous, parameters),
    )


def engine_parameters(
    target: Target,
    template: Template,
    environment: Mapping[str, str],
    previous: Mapping[str, str] = NOTHING,
    release: str = "",
) -> dict[str, str]:
    """Return the parameters of the engine's template, checked.

    Raises:
        DeployError: one has no value, or one that is refused here rather than late in a deployment.
    """
    if target.emulated:
        environment = {**environment, "AUTH_MODE": environment.get("AUTH_MODE") or "open"}
    else:
        refuse_secrets(environment)
    known = {**where_data_is(target, environment), "Release": release}
    parameters = template_parameters(template, environment, known, previous)
    settings = _check_settings(parameters)
    if not target.emulated:
        _refuse_open_access(target, parameters)
        _refuse_keys_in_urls(settings)
        _check_certificate(parameters)
    return parameters


def has_data_stack(target: Target, environment: Mapping[str, str]) -> bool:
    """Say whether the stage has a data stack of ours: emulators have none, and ``DATA_PREFIX`` names another's."""
    return not target.emulated and not environment.get("DATA_PREFIX")


def where_data_is(target: Target, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the template parameters that say where a stage's data is: by the names of SSM parameters."""
    if target.emulated:
        return EMULATED_DATA
    prefix = (environment.get("DATA_PREFIX") or target.data_prefix).rstrip("/")
    return {parameter: f"{prefix}/{name}" for parameter, name in WHERE_DATA_IS.items()}


def with_public_host(deployment: Deployment, host: str) -> Deployment:
    """Return the deployment with this public host."""
    return replace(deployment, parameters={**deployment.parameters, "PublicHost": host})


def bucket_of(target: Target, account: str) -> str:
    """Return the bucket that CloudFormation takes templates and code from; each stage has a folder in it."""
    return f"{APPLICATION}-artifacts-{account}-{target.region}"


def _key(target: Target, content: bytes, kind: str) -> str:
    return f"{target.stage}/{hashlib.sha256(content).hexdigest()}.{kind}"


def refuse_secrets(environment: Mapping[str, str]) -> None:
    """Refuse settings that hold passwords: on AWS they would be readable in every function's environment.

    Raises:
        DeployError: naming those that are set.
    """
    given = [name for name in EMULATORS_ONLY if environment.get(name, "").strip()]
    if given:
        raise DeployError(
            f"{', '.join(given)}: not for AWS, where the data stack has database and Redis, and Secrets Manager their "
            "passwords. Unset what is set, or see docs/deployment.md about a database of your own."
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
    that comes from a parameter as text, on which an event source's poller fails; so numbers are written out. And no
    SSM parameters say where the data is.
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
    declared = {
        name: {**parameter, "Type": "String"} if name in WHERE_DATA_IS else parameter
        for name, parameter in template.get("Parameters", {}).items()
    }
    return {**template, "Parameters": declared, "Resources": resources}


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


def without_authorizer(template: Template) -> Template:
    """Return the template with a REST API that asks for no token.

    API Gateway refuses a request without one before it asks the authorizer, so that could not let anybody in.
    """
    resources = template["Resources"]
    return {**template, "Resources": {**resources, "RestAPI": _asking_nobody(resources["RestAPI"])}}


def _asking_nobody(api: dict[str, Any]) -> dict[str, Any]:
    definition = {
        name: part for name, part in api["Properties"]["DefinitionBody"].items() if name != "securityDefinitions"
    }
    definition["paths"] = {
        path: {
            method: {name: part for name, part in operation.items() if name != "security"}
            for method, operation in operations.items()
        }
        for path, operations in definition["paths"].items()
    }
    return {**api, "Properties": {**api["Properties"], "DefinitionBody": definition}}


def point_functions_at(template: Template, bucket: str, key: str) -> Template:
    """Return the template with every function's code taken from this object."""
    resources = dict(template["Resources"])
    for name, resource in resources.items():
        if _type_of(resource) == "AWS::Serverless::Function":
            properties = {**resource["Properties"], "CodeUri": {"Bucket": bucket, "Key": key}}
            resources[name] = {**resource, "Properties": properties}
    return {**template, "Resources": resources}


def template_parameters(
    template: Template,
    environment: Mapping[str, str],
    known: Mapping[str, str] = NOTHING,
    previous: Mapping[str, str] = NOTHING,
) -> dict[str, str]:
    """Take each template parameter ``FooBar`` from the variable ``FOO_BAR``, else as it was, else from its default.

    An empty variable counts as absent. A parameter that is ``known`` is that, whatever the environment says.

    Raises:
        DeployError: naming every parameter that has none of these.
    """
    values, missing = {}, []
    for name, declaration in template.get("Parameters", {}).items():
        variable = environment_variable(name)
        unsaid = declaration.get("Default")
        if name in previous and not declaration.get("NoEcho"):  # CloudFormation would show asterisks
            unsaid = previous[name]
        if name in known:
            values[name] = known[name]
        elif (value := environment.get(variable) or unsaid) is not None:
            values[name] = str(value)
        else:
            missing.append(f"The template parameter {name} has no default: set {variable}.")
    if missing:
        raise DeployError("\n".join(missing))
    return values


def kept(
    template: Template, environment: Mapping[str, str], previous: Mapping[str, str], parameters: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the settings that are not the template's defaults, and stay because the environment does not name them."""
    return tuple(
        f"{environment_variable(name)}={parameters[name]}"
        for name, declaration in template.get("Parameters", {}).items()
        if parameters[name] == previous.get(name) != str(declaration.get("Default", previous.get(name)))
        and not environment.get(environment_variable(name))
    )


def _check_settings(parameters: Mapping[str, str]) -> Settings:
    """Check whom the functions will let in, and what they may spend; return what they will read of that.

    Raises:
        DeployError: every function would fail at its start.
    """
    given = {environment_variable(name): value for name, value in parameters.items() if name.startswith(CHECKED)}
    try:
        settings = load_settings(given)
        if settings.solana:
            tokens_of(settings.solana)
    except SettingsError as wrong:
        raise DeployError(f"The functions could not start with these settings:\n{wrong}") from wrong
    return settings


def _refuse_open_access(target: Target, parameters: Mapping[str, str]) -> None:
    """Refuse to deploy an engine to AWS that asks nobody who they are, unless that was said by name.

    Raises:
        DeployError: it was not.
    """
    if parameters.get("AuthMode") == "open" and parameters.get("OpenToAll") != "yes":
        raise DeployError(
            f"AUTH_MODE=open would let whoever reaches {target.stack} see and place everybody's orders. Set "
            "AUTH_MODE=jwt, AUTH_ISSUER and AUTH_AUDIENCE; or say that you want it: "
            f"python -m infra.deploy --stage {target.stage} --open-to-all {target.stage}"
        )


def swaps_for_real(parameters: Mapping[str, str]) -> bool:
    """Say whether an engine with these parameters swaps on the real venues."""
    return parameters.get("UseRealDevnet") == "true"


def _check_package(target: Target, package: Package, parameters: Mapping[str, str]) -> None:
    """Refuse a package whose functions could not start with these parameters.

    Raises:
        DeployError: they swap for real, and what that needs is not in it.
    """
    if swaps_for_real(parameters) and not package.real_venues:
        raise DeployError(
            "USE_REAL_DEVNET=true, but the package was built without what the real venues need. Build it again: "
            f"USE_REAL_DEVNET=true make package STAGE={target.stage}"
        )


def _refuse_keys_in_urls(settings: Settings) -> None:
    """Refuse endpoints that may hold API keys: on AWS they would be readable in every function's environment.

    Raises:
        DeployError: there is one.
    """
    if settings.solana and keys_of(settings.solana.rpc_urls):
        raise DeployError(
            "SOLANA_RPC_URLS holds more than hosts, which may be API keys. Put the list into a secret, and name that: "
            "SOLANA_RPC_SECRET_ARN."
        )


def _check_certificate(parameters: Mapping[str, str]) -> None:
    """Refuse a certificate without its host: CloudFront would, at the end of a long deployment.

    Raises:
        DeployError: there is no host.
    """
    if parameters.get("CertificateArn") and not parameters.get("PublicHost"):
        raise DeployError("CERTIFICATE_ARN is set without PUBLIC_HOST: set that to the host name of the certificate.")


def resolve_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with every setting under the one name that the template knows.

    Raises:
        SettingsError: a setting has a value that cannot be used.
    """
    # Whether the real venues' settings fit together is known with what the stack keeps: see engine_parameters.
    settings = load_settings({**environment, "USE_REAL_DEVNET": ""})
    resolved = dict(environment)
    for choice in ("USE_REAL_DEVNET", "SOLANA_CLUSTER"):
        if environment.get(choice):
            resolved[choice] = environment[choice].strip().lower()
    if environment.get("QUEUE_MAX_CONCURRENT") or environment.get("WORKER_CONCURRENCY"):
        resolved |= slots(settings)
    if environment.get("LOG_LEVEL"):
        resolved["LOG_LEVEL"] = settings.log_level
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

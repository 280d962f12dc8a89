"""Deploys the engine with CloudFormation: ``python -m infra.deploy --stage prod|staging|dev|localstack|local``.

One path for AWS and for every emulator of it. What is deployed is decided first, as plain data (``infra.deployment``),
and so is what CloudFormation's answers mean (``infra.cloudformation``); here it is carried out. So both can be tested
without a cloud, and every call that changes one is in this file.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.clock import Clock
from chalicelib.config import SettingsError
from infra.cloud import Outputs, Target, add_target_options, named_target
from infra.cloudformation import (
    STUCK,
    Change,
    Outcome,
    Preparation,
    StackEvent,
    change_for,
    events_since,
    failures,
    outcome_of,
    preparation_of,
    progress,
    read_event,
    removal_of,
)
from infra.commands import failed
from infra.deployment import (
    DeployError,
    Deployment,
    Upload,
    bucket_of,
    bucket_request,
    change_set_request,
    engine_parameters,
    environment_variable,
    has_data_stack,
    plan_data,
    plan_deployment,
    resolve_settings,
    swaps_for_real,
    with_public_host,
)
from infra.packaging import BUILD_ROOT, PROJECT, Package, PackagingError, Template, build_package, load_package
from infra.real_swaps import real_swaps

__all__ = ["DeployError", "deploy", "deploy_data", "remove"]

APP_TEMPLATE = PROJECT / "infra" / "app.json"
DATA_TEMPLATE = PROJECT / "infra" / "data.yaml"
DEPLOY_TIMEOUT_SECONDS = 3600.0
POLL_SECONDS = 2.0
EMULATOR_POLL_SECONDS = 0.1
NOT_THERE = ("404", "NoSuchBucket", "NoSuchKey")

Report = Callable[[str], None]
Value = TypeVar("Value")


def deploy(
    target: Target,
    *,
    environment: Mapping[str, str] = os.environ,
    package: Package | None = None,
    reset: Collection[str] = (),
    report: Report = lambda _: None,
) -> Outputs:
    """Package and deploy a stage and return the stack's outputs.

    Args:
        target: Where to; its stage is one of ``.chalice/config.json``.
        environment: Template parameters are read from here.
        package: A package built before; built now if not given.
        reset: Settings that are not to stay as they were, by their variables.
        report: Gets a line for each step.

    Raises:
        PackagingError: the package could not be built.
        DeployError: the deployment could not be made.
    """
    with _told_by_cloud(f"Deploying {target.stack} to {target.place}"):
        executor = Executor(target, report, Clock())
        previous = executor.previous(target.stack, reset)
        if package is None:
            # Whether it swaps for real may be as it was.
            real = swaps_for_real(engine_parameters(target, _app_template(), environment, previous))
            package = build_package(PROJECT, BUILD_ROOT, target.stage, report, real_venues=real)
        deployment = plan_deployment(target, package, executor.account(), environment, previous)
        _tell_kept(deployment, report)
        if swaps_for_real(deployment.parameters):
            report(_real_swaps(deployment.parameters))
        outputs = executor.carry_out(deployment)
        if "EdgeHost" in outputs and not deployment.parameters["PublicHost"]:
            # The functions that tell it depend on no distribution, which depends on them: now it has its name.
            report("telling the functions their public host")
            outputs = executor.carry_out(with_public_host(deployment, outputs["EdgeHost"]))
        return outputs


def check_engine(target: Target, environment: Mapping[str, str], reset: Collection[str] = ()) -> None:
    """Check the engine's settings, before half an hour is spent on its data.

    Raises:
        DeployError: one of them cannot be.
    """
    with _told_by_cloud(f"Looking at {target.stack} in {target.place}"):
        previous = Executor(target, lambda _: None, Clock()).previous(target.stack, reset)
        engine_parameters(target, _app_template(), environment, previous)


def deploy_data(
    target: Target,
    *,
    environment: Mapping[str, str] = os.environ,
    reset: Collection[str] = (),
    report: Report = lambda _: None,
) -> Outputs:
    """Deploy a stage's data stack and return its outputs; for the arguments see ``deploy``.

    Raises:
        DeployError: the deployment could not be made.
    """
    with _told_by_cloud(f"Deploying {target.data_stack} to {target.place}"):
        executor = Executor(target, report, Clock())
        previous = executor.previous(target.data_stack, reset)
        deployment = plan_data(target, DATA_TEMPLATE.read_text(), executor.account(), environment, previous)
        _tell_kept(deployment, report)
        return executor.carry_out(deployment)


def remove(target: Target, *, report: Report = lambda _: None) -> None:
    """Remove a stage's engine and what it was deployed from. Its data stack, if it has one, stays.

    Raises:
        DeployError: it could not be removed.
    """
    with _told_by_cloud(f"Removing {target.stack} from {target.place}"):
        executor = Executor(target, report, Clock())
        report(f"removing {target.stack}")
        executor.remove(target.stack)
        executor.remove_uploads(bucket_of(target, executor.account()), f"{target.stage}/")


def _app_template() -> Template:
    template: Template = json.loads(APP_TEMPLATE.read_text())
    return template


def _tell_kept(deployment: Deployment, report: Report) -> None:
    if deployment.kept:
        report(f"{deployment.stack} keeps {', '.join(deployment.kept)} (--reset NAME: the default again)")


def _real_swaps(parameters: Mapping[str, str]) -> str:
    # Only an emulator's parameters have the key; on AWS it is in a secret, which whoever deploys need not read.
    try:
        return real_swaps(
            parameters["SolanaCluster"], parameters.get("SolanaWalletKey", ""), parameters["SolanaWalletSecretArn"]
        )
    except ValueError as no_key:
        raise DeployError(str(no_key)) from no_key


@contextmanager
def _told_by_cloud(doing: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"{doing} failed: {error}") from error


class Executor:
    """Carries a deployment out and says how it goes."""

    def __init__(self, target: Target, report: Report, clock: Clock) -> None:
        self._sts, self._s3, self._cloudformation = map(target.client, ("sts", "s3", "cloudformation"))
        self._target = target
        self._report = report
        self._clock = clock

    def account(self) -> str:
        """Return the account that pays for it; the bucket's name must be its own."""
        return str(self._sts.get_caller_identity()["Account"])

    def carry_out(self, deployment: Deployment) -> Outputs:
        """Make the stack what was planned and return its outputs.

        Raises:
            BotoCoreError, ClientError: the cloud cannot be reached, or refuses a call.
            DeployError: the stack could not be made so, or not in time.
        """
        if deployment.uploads:
            self._ensure_bucket(deployment.bucket)
        for upload in deployment.uploads:
            self._upload(deployment.bucket, upload)
        change_set = self._prepare(deployment)
        if change_set is None:
            self._report(f"{deployment.stack} is up to date")
        else:
            self._report(f"deploying {deployment.stack}")
            self._execute(deployment.stack, change_set)
        if deployment.holds_data:
            self._cloudformation.update_termination_protection(
                StackName=deployment.stack, EnableTerminationProtection=True
            )
        return self._target.outputs(deployment.stack)

    def previous(self, stack: str, reset: Collection[str]) -> dict[str, str]:
        """Return the parameters of a stack that is there, but for those that are ``reset``.

        What nobody says stays as it is: a deployment from a shell in which a variable is not set must not resize the
        database. An emulator's is what the environment says and nothing else.
        """
        if self._target.emulated or (described := self._described(stack)) is None:
            return {}
        return {
            parameter["ParameterKey"]: parameter["ParameterValue"]
            for parameter in described.get("Parameters", [])
            if environment_variable(parameter["ParameterKey"]) not in reset
        }

    def remove_uploads(self, bucket: str, folder: str) -> None:
        """Delete what a stage was deployed from, and the bucket with the last of it."""
        if not _exists(self._s3.head_bucket, Bucket=bucket):
            return
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder):
            if keys := [{"Key": found["Key"]} for found in page.get("Contents", [])]:
                self._s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})
        if self._s3.list_objects_v2(Bucket=bucket, MaxKeys=1)["KeyCount"] == 0:
            self._s3.delete_bucket(Bucket=bucket)

    def _ensure_bucket(self, bucket: str) -> None:
        # Its name can be guessed: nobody else's bucket of that name may be what the functions' code is taken from.
        if not _exists(self._s3.head_bucket, Bucket=bucket, ExpectedBucketOwner=self.account()):
            self._s3.create_bucket(**bucket_request(bucket, self._target.region))

    def _upload(self, bucket: str, upload: Upload) -> None:
        if _exists(self._s3.head_object, Bucket=bucket, Key=upload.key):
            return
        content = upload.read()
        self._report(f"uploading {len(content) / 1_000_000:.1f} MB")
        self._s3.put_object(Bucket=bucket, Key=upload.key, Body=content)

    def _prepare(self, deployment: Deployment) -> str | None:
        """Have a change set made and return its ARN, or None when there is nothing to change."""
        status = self._status(deployment.stack)
        if status in STUCK:
            raise DeployError(
                f"{deployment.stack} is {status}: {STUCK[status]}. CloudFormation's events name what; "
                "docs/deployment.md says how to go on (When a stack is stuck)."
            )
        change = change_for(status)
        if change is Change.REPLACE:
            self._report(f"removing {deployment.stack}, whose first deployment failed")
            self.remove(deployment.stack)
        name = f"deploy-{self._clock.now():%Y%m%d-%H%M%S-%f}"
        request = change_set_request(deployment, change, name=name, s3_url=self._s3.meta.endpoint_url)
        change_set = str(self._cloudformation.create_change_set(**request)["Id"])
        for status, reason in self._polled(lambda: self._change_set(deployment.stack, change_set)):
            match preparation_of(status, reason):
                case Preparation.READY:
                    return change_set
                case Preparation.EMPTY:
                    self._cloudformation.delete_change_set(ChangeSetName=change_set)
                    return None
                case Preparation.REFUSED:
                    raise DeployError(f"CloudFormation refuses the change to {deployment.stack}: {reason}")
        raise DeployError(f"CloudFormation did not prepare the change to {deployment.stack} in time.")

    def remove(self, stack: str) -> None:
        """Delete a stack and wait until it is gone; one that is not there stays so."""
        self._cloudformation.delete_stack(StackName=stack)
        for status in self._polled(lambda: self._status(stack)):
            match removal_of(status):
                case Outcome.DONE:
                    return
                case Outcome.FAILED:
                    raise DeployError(f"{stack} could not be removed ({status}): remove it by hand.")
        raise DeployError(f"{stack} was not removed in time.")

    def _execute(self, stack: str, change_set: str) -> None:
        started = self._clock.now()
        self._cloudformation.execute_change_set(ChangeSetName=change_set)
        told: set[str] = set()
        for status in self._polled(lambda: self._status(stack)):
            self._tell_progress(stack, started, told)
            match outcome_of(status):
                case Outcome.DONE:
                    return
                case Outcome.FAILED:
                    reasons = "\n".join(f"  {line}" for line in failures(self._events(stack, started)))
                    raise DeployError(f"{stack} could not be deployed ({status}):\n{reasons}")
        raise DeployError(f"{stack} was not deployed within {DEPLOY_TIMEOUT_SECONDS / 60:.0f} minutes.")

    def _tell_progress(self, stack: str, started: datetime, told: set[str]) -> None:
        """Report what is not among the events ``told``, and add it to them."""
        if self._target.emulated:
            return  # an emulator is done before anybody could read it
        news = [event for event in self._events(stack, started) if event.event_id not in told]
        for line in progress(news):
            self._report(line)
        told.update(event.event_id for event in news)

    def _status(self, stack: str) -> str | None:
        described = self._described(stack)
        return described["StackStatus"] if described else None

    def _described(self, stack: str) -> dict[str, Any] | None:
        """Return what CloudFormation says of a stack; None if there is none."""
        try:
            described: dict[str, Any] = self._cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return described

    def _change_set(self, stack: str, change_set: str) -> tuple[str, str]:
        """Return a change set's status and the reason for it, if any."""
        description = self._cloudformation.describe_change_set(StackName=stack, ChangeSetName=change_set)
        return description["Status"], description.get("StatusReason", "")

    def _events(self, stack: str, started: datetime) -> list[StackEvent]:
        pages = self._cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack)
        return events_since(started, (read_event(event) for page in pages for event in page["StackEvents"]))

    def _polled(self, look: Callable[[], Value]) -> Iterator[Value]:
        """Look again and again until the deployment's time is up."""
        deadline = self._clock.seconds() + DEPLOY_TIMEOUT_SECONDS
        while self._clock.seconds() < deadline:
            yield look()
            self._clock.sleep(EMULATOR_POLL_SECONDS if self._target.emulated else POLL_SECONDS)


def _exists(look: Callable[..., Any], **what: str) -> bool:
    try:
        look(**what)
    except ClientError as error:
        if error.response["Error"]["Code"] in NOT_THERE:
            return False
        raise
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Deploy, or remove, as the command line says and print the outputs; returns the exit code."""
    options = command_line(arguments)
    target = named_target(options)
    try:
        if options.delete:
            remove(target, report=print)
            return 0
        environment = {**resolve_settings(os.environ), "OPEN_TO_ALL": opened_by_name(options)}
        package = load_package(options.package) if options.package else None
        if options.only == "data" and not has_data_stack(target, environment):
            return failed(f"The stage {target.stage} has no data stack of ours: it is emulated, or DATA_PREFIX is set.")
        outputs: Outputs = {}
        if options.only != "data":
            check_engine(target, environment, options.reset)
        if options.only != "app" and has_data_stack(target, environment):
            outputs |= deploy_data(target, environment=environment, reset=options.reset, report=print)
        if options.only != "data":
            outputs |= deploy(target, environment=environment, package=package, reset=options.reset, report=print)
    except (SettingsError, DeployError, PackagingError) as error:
        return failed(error)
    width = max(map(len, outputs), default=0)
    for name, value in sorted(outputs.items()):
        print(f"{name:<{width}}  {value}")
    return 0


def opened_by_name(options: argparse.Namespace) -> str:
    """Return whether the command line opens the stage to everybody: its name must be said again.

    Raises:
        DeployError: another stage was named.
    """
    if options.open_to_all is None:
        return "no"
    if options.open_to_all != options.stage:
        raise DeployError(f"--open-to-all names {options.open_to_all}, but {options.stage} is to be deployed.")
    return "yes"


def command_line(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; one that makes no sense ends the process with an explanation."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description="Deploy the engine.")
    # Named each time, unlike where an engine is only asked: a deployment should not go where nobody meant it to.
    add_target_options(parser, default_stage=None)
    parser.add_argument("--open-to-all", metavar="STAGE", help="let AUTH_MODE=open go to AWS: the stage's name again")
    reset_help = "give these settings, by their variables' names, their defaults again; else what is not set stays"
    parser.add_argument("--reset", metavar="NAME", nargs="+", default=[], help=reset_help)
    parser.add_argument("--package", type=Path, help="the folder of a package built before; otherwise one is built")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--only", choices=["data", "app"], help="one of the two stacks; by default the data stack first")
    what.add_argument("--delete", action="store_true", help="remove the engine; the data stack stays")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

"""Carrying a deployment out, on a pretended cloud: what is called for, in which order, and what is told."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from solders.keypair import Keypair

from infra.cloud import Target
from infra.deploy import (
    DEPLOY_TIMEOUT_SECONDS,
    POLL_SECONDS,
    Executor,
    check_engine,
    command_line,
    deploy,
    deploy_data,
    main,
    opened_by_name,
    remove,
)
from infra.deployment import DeployError, Deployment, Upload
from infra.packaging import Package
from tests.builders import NOON
from tests.clocks import StoppedClock

WALLET = Keypair.from_seed(bytes(range(32)))
STACK = "order-execution-engine-prod"
ACCOUNT = "123456789012"
ARCHIVE = Upload(key="abc.zip", content=b"code")
TEMPLATE = Upload(key="abc.json", content=b"new")
OUTPUTS = {"RestAPIId": "r1"}


def refusal(code, message=""):
    return ClientError({"Error": {"Code": code, "Message": message}}, "an operation")


class PretendCloud:
    """STS, S3, SSM and CloudFormation with one stack.

    Each look at it sees the next of ``statuses``, and the last for good.

    Attributes:
        calls: What changed something, in order.
    """

    meta = SimpleNamespace(endpoint_url="https://s3.example")

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.change_set = {"Status": "CREATE_COMPLETE"}
        self.events = []
        self.bucket_answer = None
        self.bucket_owner = ACCOUNT
        self.objects = {}
        self.outputs = OUTPUTS
        self.previous = {}
        self.parameters = []
        self.calls = []

    def get_caller_identity(self):
        return {"Account": ACCOUNT}

    def head_bucket(self, **request):
        if request.get("ExpectedBucketOwner", self.bucket_owner) != self.bucket_owner:
            raise refusal("403")
        if self.bucket_answer:
            raise refusal(self.bucket_answer)

    def create_bucket(self, **request):
        self.calls.append(f"create bucket {request['Bucket']}")

    def head_object(self, **request):
        if request["Key"] not in self.objects:
            raise refusal("404")

    def put_object(self, **request):
        self.calls.append(f"put {request['Key']}")
        self.objects[request["Key"]] = request["Body"]

    def describe_stacks(self, **_request):
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status is None:
            raise refusal("ValidationError", f"Stack with id {STACK} does not exist")
        outputs = [{"OutputKey": name, "OutputValue": value} for name, value in self.outputs.items()]
        parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in self.previous.items()]
        return {"Stacks": [{"StackStatus": status, "Outputs": outputs, "Parameters": parameters}]}

    def create_change_set(self, **request):
        self.calls.append(f"prepare {request['ChangeSetType']}")
        self.parameters.append({given["ParameterKey"]: given["ParameterValue"] for given in request["Parameters"]})
        return {"Id": "arn:change-set"}

    def describe_change_set(self, **_request):
        return self.change_set

    def delete_change_set(self, **_request):
        self.calls.append("delete change set")

    def execute_change_set(self, **_request):
        self.calls.append("execute")

    def delete_stack(self, **_request):
        self.calls.append("delete stack")

    def update_termination_protection(self, **request):
        self.calls.append(f"protect {request['EnableTerminationProtection']}")

    def get_paginator(self, operation):
        page = {
            "StackEvents": self.events,
            "Contents": [{"Key": key} for key in self.objects],
        }
        prefixed = operation == "list_objects_v2"
        return SimpleNamespace(paginate=lambda **request: [_under(page, request["Prefix"]) if prefixed else page])

    def delete_objects(self, **request):
        for deleted in request["Delete"]["Objects"]:
            self.calls.append(f"delete {deleted['Key']}")
            del self.objects[deleted["Key"]]

    def list_objects_v2(self, **_request):
        return {"KeyCount": len(self.objects)}

    def delete_bucket(self, **request):
        self.calls.append(f"delete bucket {request['Bucket']}")


def _under(page, prefix):
    return {"Contents": [found for found in page["Contents"] if found["Key"].startswith(prefix)]}


def pretend_target(cloud, stage="prod"):
    class PretendTarget(Target):
        def client(self, _service):
            return cloud

    return PretendTarget(stage=stage)


class Carried:
    """A deployment to a pretended cloud, and what was told while it was carried out."""

    def __init__(self, cloud, *uploads, stage="prod", holds_data=False):
        self.clock = StoppedClock()
        self.told = []
        self._deployment = Deployment(
            stack=STACK,
            bucket="artifacts",
            uploads=uploads,
            template="{}",
            template_key=None,
            parameters={},
            holds_data=holds_data,
        )
        self.executor = Executor(pretend_target(cloud, stage), self.told.append, self.clock)

    def out(self):
        return self.executor.carry_out(self._deployment)


def resource_event(name, status, **more):
    resource = {"LogicalResourceId": name, "ResourceType": "AWS::SQS::Queue", "ResourceStatus": status}
    return {"EventId": f"{name} {status}", "Timestamp": NOON, **resource, **more}


def test_a_first_deployment_makes_the_bucket_uploads_and_creates_the_stack():
    cloud = PretendCloud(None, "CREATE_IN_PROGRESS", "CREATE_COMPLETE")
    cloud.bucket_answer = "404"

    assert Carried(cloud, ARCHIVE, TEMPLATE).out() == OUTPUTS
    assert cloud.calls == ["create bucket artifacts", "put abc.zip", "put abc.json", "prepare CREATE", "execute"]


@pytest.mark.parametrize(
    ("answer", "owner"), [("403", ACCOUNT), (None, "210987654321")], ids=["closed", "open to everybody"]
)
def test_a_bucket_of_somebody_else_is_neither_made_anew_nor_given_anything(answer, owner):
    cloud = PretendCloud(None)
    cloud.bucket_answer, cloud.bucket_owner = answer, owner

    with pytest.raises(ClientError, match="403"):
        Carried(cloud, ARCHIVE).out()
    assert cloud.calls == []


def test_what_is_uploaded_already_is_not_sent_again():
    cloud = PretendCloud("CREATE_COMPLETE", "UPDATE_COMPLETE")
    cloud.objects = {"abc.zip": b"code"}

    Carried(cloud, ARCHIVE, TEMPLATE).out()

    assert cloud.calls == ["put abc.json", "prepare UPDATE", "execute"]


def test_a_stack_that_is_up_to_date_is_left_alone():
    cloud = PretendCloud("UPDATE_COMPLETE")
    cloud.change_set = {"Status": "FAILED", "StatusReason": "The submitted information didn't contain changes."}
    carried = Carried(cloud)

    assert carried.out() == OUTPUTS
    assert cloud.calls == ["prepare UPDATE", "delete change set"]
    assert carried.told == [f"{STACK} is up to date"]


def test_what_a_failed_first_deployment_left_is_gone_before_the_stack_is_created():
    cloud = PretendCloud("ROLLBACK_COMPLETE", "DELETE_IN_PROGRESS", None, "CREATE_COMPLETE")
    carried = Carried(cloud)

    carried.out()

    assert cloud.calls == ["delete stack", "prepare CREATE", "execute"]
    assert carried.told[0] == f"removing {STACK}, whose first deployment failed"


def test_a_stack_that_cannot_be_removed_is_named():
    cloud = PretendCloud("ROLLBACK_COMPLETE", "DELETE_IN_PROGRESS", "DELETE_FAILED")

    with pytest.raises(DeployError, match=rf"{STACK} could not be removed \(DELETE_FAILED\)"):
        Carried(cloud).out()
    assert cloud.calls == ["delete stack"]


@pytest.mark.parametrize("status", ["ROLLBACK_FAILED", "UPDATE_ROLLBACK_FAILED", "DELETE_FAILED"])
def test_a_stack_that_only_a_person_can_mend_is_left_alone(status):
    cloud = PretendCloud(status)

    with pytest.raises(DeployError, match=rf"{STACK} is {status}: .*docs/deployment.md"):
        Carried(cloud).out()
    assert cloud.calls == []


def test_a_change_that_is_refused_is_not_executed_and_its_reason_is_told():
    cloud = PretendCloud("CREATE_COMPLETE")
    cloud.change_set = {"Status": "FAILED", "StatusReason": "Template error: unresolved dependency"}

    with pytest.raises(DeployError, match=rf"refuses the change to {STACK}: Template error: unresolved dependency"):
        Carried(cloud).out()
    assert cloud.calls == ["prepare UPDATE"]


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED"])
def test_a_deployment_that_is_rolled_back_fails_with_what_went_wrong_first(status):
    cloud = PretendCloud("CREATE_COMPLETE", "UPDATE_IN_PROGRESS", status)
    cloud.events = [  # the newest first, as CloudFormation gives them
        resource_event("Replays", "CREATE_FAILED", ResourceStatusReason="cancelled"),
        resource_event("Orders", "CREATE_FAILED", ResourceStatusReason="no more queues"),
        resource_event("Earlier", "CREATE_FAILED", Timestamp=NOON - timedelta(minutes=1)),
    ]

    with pytest.raises(DeployError) as failed:
        Carried(cloud).out()
    assert str(failed.value).splitlines() == [
        f"{STACK} could not be deployed ({status}):",
        "  Orders (AWS::SQS::Queue): no more queues",
        "  Replays (AWS::SQS::Queue): cancelled",
    ]


def test_each_finished_resource_is_told_once():
    cloud = PretendCloud("CREATE_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE")
    cloud.events = [resource_event("Orders", "CREATE_COMPLETE"), resource_event("Orders", "CREATE_IN_PROGRESS")]
    carried = Carried(cloud)

    carried.out()

    assert carried.told == [f"deploying {STACK}", "create complete: Orders"]


def test_of_an_emulator_only_the_end_is_told():
    cloud = PretendCloud("CREATE_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE")
    cloud.events = [resource_event("Orders", "CREATE_COMPLETE")]
    carried = Carried(cloud, stage="local")

    carried.out()

    assert carried.told == [f"deploying {STACK}"]
    assert sum(carried.clock.slept) < POLL_SECONDS


@pytest.mark.parametrize(
    ("statuses", "change_set", "says"),
    [
        (["ROLLBACK_COMPLETE", "DELETE_IN_PROGRESS"], "CREATE_COMPLETE", "was not removed in time"),
        (["CREATE_COMPLETE"], "CREATE_IN_PROGRESS", "did not prepare the change"),
        (["CREATE_COMPLETE", "UPDATE_IN_PROGRESS"], "CREATE_COMPLETE", "was not deployed within 60 minutes"),
    ],
)
def test_a_cloud_that_comes_to_no_end_is_given_up(statuses, change_set, says):
    cloud = PretendCloud(*statuses)
    cloud.change_set = {"Status": change_set}
    carried = Carried(cloud)

    with pytest.raises(DeployError, match=says):
        carried.out()
    assert set(carried.clock.slept) == {POLL_SECONDS}
    assert carried.clock.seconds() == DEPLOY_TIMEOUT_SECONDS


# --- Both stacks, and removing one ---

APP_TEMPLATE = {
    "Parameters": {
        "DatabaseHost": {"Type": "AWS::SSM::Parameter::Value<String>"},
        "PublicHost": {"Type": "String", "Default": ""},
    },
    "Resources": {},
}


def package(tmp_path):
    archive = tmp_path / "deployment.zip"
    archive.write_bytes(b"code")
    return Package(template=APP_TEMPLATE, archive=archive, archive_digest="abc")


REAL_TEMPLATE = {
    **APP_TEMPLATE,
    "Parameters": {
        **APP_TEMPLATE["Parameters"],
        **{
            name: {"Type": "String", "Default": ""}
            for name in (
                *("AuthMode", "UseRealDevnet", "SolanaCluster", "SolanaWalletKey", "SolanaWalletSecretArn"),
                *("SolanaMaxPerOrder", "SolanaMaxPerDay", "AuthIssuer", "AuthAudience"),
            )
        },
    },
}
REAL_SWAPS = {
    "AUTH_MODE": "jwt",
    "AUTH_ISSUER": "https://tenant.example",
    "AUTH_AUDIENCE": "engine",
    "USE_REAL_DEVNET": "true",
    "SOLANA_CLUSTER": "devnet",
    "SOLANA_MAX_PER_ORDER": "SOL=1",
    "SOLANA_MAX_PER_DAY": "SOL=1",
}


@pytest.mark.parametrize(
    ("stage", "wallet", "told"),
    [
        ("prod", {"SOLANA_WALLET_SECRET_ARN": "arn:wallet"}, "the wallet in arn:wallet"),
        ("localstack", {"SOLANA_WALLET_KEY": str(WALLET)}, f"the wallet {WALLET.pubkey()}"),
    ],
)
def test_whoever_deploys_an_engine_that_swaps_for_real_reads_where_and_with_which_wallet(tmp_path, stage, wallet, told):
    reported = []
    built = replace(package(tmp_path), template=REAL_TEMPLATE, real_venues=True)
    target = pretend_target(PretendCloud("UPDATE_COMPLETE"), stage)

    deploy(target, environment={**REAL_SWAPS, **wallet}, package=built, report=reported.append)

    assert f"Swaps are real, on Solana's devnet, and paid by {told}" in reported
    assert not any(str(WALLET) in line for line in reported)


def test_a_wallets_key_that_is_none_is_refused_before_anything_is_deployed(tmp_path):
    cloud = PretendCloud("UPDATE_COMPLETE")
    built = replace(package(tmp_path), template=REAL_TEMPLATE, real_venues=True)

    with pytest.raises(DeployError, match="SOLANA_WALLET_KEY does not hold a wallet's key") as refused:
        deploy(
            pretend_target(cloud, "localstack"),
            environment={**REAL_SWAPS, "SOLANA_WALLET_KEY": "secret-words"},
            package=built,
        )
    assert "secret-words" not in str(refused.value)
    assert cloud.calls == []


def test_a_stack_that_holds_data_is_protected_from_being_deleted():
    cloud = PretendCloud("CREATE_COMPLETE", "UPDATE_COMPLETE")

    Carried(cloud, holds_data=True).out()

    assert cloud.calls == ["prepare UPDATE", "execute", "protect True"]


def test_the_first_deployment_tells_the_functions_the_host_that_cloudfront_gave(tmp_path):
    cloud = PretendCloud(None, None, "CREATE_COMPLETE")
    cloud.outputs = {"EdgeHost": "d1.cloudfront.net"}

    deploy(pretend_target(cloud), environment={}, package=package(tmp_path))

    assert [given["PublicHost"] for given in cloud.parameters] == ["", "d1.cloudfront.net"]


def test_the_engine_is_told_where_its_data_is(tmp_path):
    cloud = PretendCloud("UPDATE_COMPLETE")

    deploy(pretend_target(cloud), environment={}, package=package(tmp_path))

    assert cloud.parameters[0]["DatabaseHost"] == "/order-execution-engine/prod/database/host"


def test_a_later_deployment_knows_the_public_host(tmp_path):
    cloud = PretendCloud("UPDATE_COMPLETE")
    cloud.outputs = {"EdgeHost": "d1.cloudfront.net"}
    cloud.previous = {"PublicHost": "d1.cloudfront.net"}
    told = []

    deploy(pretend_target(cloud), environment={}, package=package(tmp_path), report=told.append)

    assert [given["PublicHost"] for given in cloud.parameters] == ["d1.cloudfront.net"]
    assert told[0] == f"{STACK} keeps PUBLIC_HOST=d1.cloudfront.net (--reset NAME: the default again)"


def test_a_host_of_ones_own_is_left_as_it_is(tmp_path):
    cloud = PretendCloud("UPDATE_COMPLETE")
    cloud.outputs = {"EdgeHost": "d1.cloudfront.net", "PublicHost": "trade.example"}

    deploy(pretend_target(cloud), environment={"PUBLIC_HOST": "trade.example"}, package=package(tmp_path))

    assert [given["PublicHost"] for given in cloud.parameters] == ["trade.example"]


def test_a_host_of_ones_own_that_is_given_up_is_not_told_any_more(tmp_path):
    cloud = PretendCloud("UPDATE_COMPLETE")
    cloud.outputs = {"EdgeHost": "d1.cloudfront.net"}
    cloud.previous = {"PublicHost": "trade.example"}

    deploy(pretend_target(cloud), environment={}, package=package(tmp_path), reset=["PUBLIC_HOST"])

    assert [given["PublicHost"] for given in cloud.parameters] == ["", "d1.cloudfront.net"]


def test_the_engines_settings_are_checked_before_its_data_is_deployed():
    cloud = PretendCloud(None)

    with pytest.raises(DeployError, match="AUTH_ISSUER is not set"):
        check_engine(pretend_target(cloud), {})
    assert cloud.calls == []


def test_settings_of_the_engine_that_is_there_count_when_they_are_checked():
    cloud = PretendCloud("UPDATE_COMPLETE")
    cloud.previous = {"AuthIssuer": "https://issuer.example", "AuthAudience": "engine"}

    check_engine(pretend_target(cloud), {})


def test_the_data_stack_is_deployed_for_its_stage_and_protected():
    cloud = PretendCloud(None, None, "CREATE_COMPLETE")
    cloud.bucket_answer = "404"

    deploy_data(pretend_target(cloud), environment={})

    assert cloud.calls[-3:] == ["prepare CREATE", "execute", "protect True"]
    assert cloud.parameters[0]["Stage"] == "prod"


def test_removing_leaves_nothing_of_the_stage_and_all_of_the_others():
    cloud = PretendCloud("CREATE_COMPLETE", "DELETE_IN_PROGRESS", None)
    cloud.objects = {"prod/abc.zip": b"code", "prod/abc.json": b"{}", "dev/abc.zip": b"code"}

    remove(pretend_target(cloud, "prod"))

    assert cloud.calls == ["delete stack", "delete prod/abc.zip", "delete prod/abc.json"]
    assert list(cloud.objects) == ["dev/abc.zip"]


def test_the_bucket_goes_with_the_last_stage():
    cloud = PretendCloud(None)
    cloud.objects = {"prod/abc.zip": b"code"}

    remove(pretend_target(cloud, "prod"))

    bucket = "order-execution-engine-artifacts-123456789012-us-east-1"
    assert cloud.calls == ["delete stack", "delete prod/abc.zip", f"delete bucket {bucket}"]


# --- The command ---


@pytest.mark.parametrize(
    ("arguments", "answer"), [(["--stage", "prod"], "no"), (["--stage", "prod", "--open-to-all", "prod"], "yes")]
)
def test_a_stage_is_opened_by_saying_its_name_again(arguments, answer):
    assert opened_by_name(command_line(arguments)) == answer


def test_opening_another_stage_than_the_one_deployed_is_refused():
    with pytest.raises(DeployError, match="--open-to-all names dev, but prod is to be deployed"):
        opened_by_name(command_line(["--stage", "prod", "--open-to-all", "dev"]))


def test_a_data_stack_where_there_is_none_is_not_passed_over_in_silence(capsys, monkeypatch):
    monkeypatch.delenv("DATA_PREFIX", raising=False)

    assert main(["--stage", "localstack", "--only", "data"]) == 1
    assert "localstack has no data stack of ours" in capsys.readouterr().err

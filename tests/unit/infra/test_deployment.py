"""What a deployment will be, decided before anything is touched."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from chalice.deploy.swagger import CFNSwaggerGenerator

from app import app
from chalicelib.config import SettingsError
from infra.cloud import Target
from infra.cloudformation import Change
from infra.deployment import (
    EMULATORS_ONLY,
    INLINE_TEMPLATE_BYTES,
    WHERE_DATA_IS,
    DeployError,
    adapt_for_emulator,
    bucket_request,
    change_set_request,
    engine_parameters,
    environment_variable,
    has_data_stack,
    plan_data,
    plan_deployment,
    point_functions_at,
    resolve_settings,
    template_parameters,
    without_authorizer,
)
from infra.packaging import Package

TEMPLATE = {
    "Parameters": {
        "AlarmEmail": {"Type": "String"},
        "QueueMaxConcurrent": {"Type": "Number", "Default": 10},
        "MockSeed": {"Type": "String", "Default": ""},
    },
    "Resources": {
        "Execute": {
            "Type": "AWS::Serverless::Function",
            "Properties": {"CodeUri": "./deployment.zip", "Reserved": {"Ref": "QueueMaxConcurrent"}},
        },
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"Tags": [{"Value": {"Ref": "MockSeed"}}]}},
        "WebsocketAPIDeployment": {"Type": "AWS::ApiGatewayV2::Deployment", "Properties": {}},
        "WebsocketAPIStage": {
            "Type": "AWS::ApiGatewayV2::Stage",
            "Properties": {"StageName": "ws", "DeploymentId": {"Ref": "WebsocketAPIDeployment"}},
        },
    },
}
PARAMETERS = {"AlarmEmail": "ops@example.com", "QueueMaxConcurrent": "4", "MockSeed": ""}
LARGE_TEMPLATE = {**TEMPLATE, "Description": "x" * INLINE_TEMPLATE_BYTES}
ENVIRONMENT = {"ALARM_EMAIL": "ops@example.com", "QUEUE_MAX_CONCURRENT": "4"}


def package(template=TEMPLATE):
    return Package(template=template, archive=Path("deployment.zip"), archive_digest="abc123")


@pytest.mark.parametrize(
    ("parameter", "variable"),
    [
        ("DatabaseUrl", "DATABASE_URL"),
        ("QueueMaxConcurrent", "QUEUE_MAX_CONCURRENT"),
        ("BackoffBaseMs", "BACKOFF_BASE_MS"),
    ],
)
def test_a_parameter_is_read_from_its_variable(parameter, variable):
    assert environment_variable(parameter) == variable


def test_what_is_not_set_takes_the_templates_default():
    assert template_parameters(TEMPLATE, {"ALARM_EMAIL": "x", "QUEUE_MAX_CONCURRENT": ""}) == {
        "AlarmEmail": "x",
        "QueueMaxConcurrent": "10",
        "MockSeed": "",
    }


def test_a_parameter_with_neither_is_named_with_its_variable():
    with pytest.raises(DeployError, match="AlarmEmail has no default: set ALARM_EMAIL"):
        template_parameters(TEMPLATE, {"MOCK_SEED": "1"})


def test_an_emulator_gets_stages_that_deploy_themselves():
    resources = adapt_for_emulator(TEMPLATE, PARAMETERS)["Resources"]

    assert "WebsocketAPIDeployment" not in resources
    assert resources["WebsocketAPIStage"]["Properties"] == {"StageName": "ws", "AutoDeploy": True}


def test_an_emulator_gets_numbers_written_out_and_texts_by_reference():
    resources = adapt_for_emulator(TEMPLATE, PARAMETERS)["Resources"]

    assert resources["Execute"]["Properties"]["Reserved"] == 4
    assert resources["Queue"]["Properties"]["Tags"] == [{"Value": {"Ref": "MockSeed"}}]


def test_adapting_leaves_the_template_as_it_was():
    before = json.dumps(TEMPLATE)
    adapt_for_emulator(TEMPLATE, PARAMETERS)
    point_functions_at(TEMPLATE, "bucket", "key")

    assert json.dumps(TEMPLATE) == before


# --- Who is asked for a token ---


@pytest.fixture(scope="module")
def packaged():
    """Return the REST API as Chalice packages it."""
    definition = json.loads(json.dumps(CFNSwaggerGenerator().generate_swagger(app, None)))
    return {"Resources": {"RestAPI": {"Type": "AWS::Serverless::Api", "Properties": {"DefinitionBody": definition}}}}


def definition_of(template):
    return template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]


def operations_of(template):
    paths = definition_of(template)["paths"]
    return {(method, path): paths[path][method] for path in paths for method in paths[path]}


def test_the_packaged_api_asks_the_authorizer_about_all_but_what_is_for_everybody(packaged):
    unasked = {route for route, operation in operations_of(packaged).items() if "security" not in operation}
    preflights = {("options", path) for _, path in operations_of(packaged)}
    (authorizer,) = definition_of(packaged)["securityDefinitions"].values()

    assert {path for _, path in unasked - preflights} == {
        *("/health", "/openapi.json", "/api/launches", "/", "/console/{version}/{file}", "/{proxy+}"),
    }
    assert preflights <= unasked
    assert authorizer["name"] == "Authorization"
    assert "${Authorize.Arn}" in json.dumps(authorizer["x-amazon-apigateway-authorizer"])
    assert authorizer["x-amazon-apigateway-authorizer"]["authorizerResultTtlInSeconds"] == 60


def test_an_open_api_asks_nobody_and_is_the_same_for_the_rest(packaged):
    before = json.dumps(packaged)
    opened = without_authorizer(packaged)

    assert json.dumps(packaged) == before
    assert "securityDefinitions" not in definition_of(opened)
    for route, operation in operations_of(packaged).items():
        assert operations_of(opened)[route] == {key: part for key, part in operation.items() if key != "security"}


AUTH = {
    "AuthMode": {"Type": "String", "Default": "jwt"},
    "AuthIssuer": {"Type": "String", "Default": ""},
    "AuthAudience": {"Type": "String", "Default": ""},
    "OpenToAll": {"Type": "String", "Default": "no"},
}
TOKENS = {"AUTH_ISSUER": "https://issuer.example", "AUTH_AUDIENCE": "engine"}


@pytest.fixture
def deployed(packaged):
    """Plan the deployment of the packaged API; return whether it asks for tokens."""

    def asks(stage, **environment):
        template = {**packaged, "Parameters": AUTH}
        planned = plan_deployment(Target(stage=stage), package(template), "1", environment)
        return "securityDefinitions" in definition_of(json.loads(planned.template)), planned.parameters["AuthMode"]

    return asks


@pytest.mark.parametrize("stage", ["prod", "local"])
def test_the_api_asks_for_tokens_where_the_functions_want_them(deployed, stage):
    assert deployed(stage, AUTH_MODE="jwt", **TOKENS) == (True, "jwt")
    assert deployed(stage, AUTH_MODE="open", OPEN_TO_ALL="yes") == (False, "open")


@pytest.mark.parametrize("environment", [{}, {"AUTH_MODE": ""}])
def test_where_nothing_is_said_aws_asks_for_tokens_and_an_emulator_does_not(deployed, environment):
    assert deployed("prod", **TOKENS, **environment) == (True, "jwt")
    assert deployed("localstack", **environment) == (False, "open")


def test_what_the_functions_would_refuse_is_refused_before_anything_is_deployed(deployed):
    with pytest.raises(DeployError, match="AUTH_ISSUER is not set") as refused:
        deployed("prod")

    assert "AUTH_AUDIENCE is not set" in str(refused.value)


def test_every_function_takes_its_code_from_the_uploaded_package():
    resources = point_functions_at(TEMPLATE, "bucket", "abc.zip")["Resources"]

    assert resources["Execute"]["Properties"]["CodeUri"] == {"Bucket": "bucket", "Key": "abc.zip"}
    assert resources["Queue"] == TEMPLATE["Resources"]["Queue"]


def test_a_plan_for_aws_keeps_the_template_and_names_all_by_stage_account_and_content():
    plan = plan_deployment(Target(stage="prod", region="eu-west-1"), package(), "123456789012", ENVIRONMENT)

    assert plan.stack == "order-execution-engine-prod"
    assert plan.bucket == "order-execution-engine-artifacts-123456789012-eu-west-1"
    assert [upload.key for upload in plan.uploads] == ["prod/abc123.zip"]
    assert plan.parameters == PARAMETERS
    resources = json.loads(plan.template)["Resources"]
    assert "WebsocketAPIDeployment" in resources
    assert resources["Execute"]["Properties"]["Reserved"] == {"Ref": "QueueMaxConcurrent"}


def test_a_plan_for_an_emulator_is_adapted_to_it():
    plan = plan_deployment(Target(stage="local"), package(), "000000000000", ENVIRONMENT)

    assert "WebsocketAPIDeployment" not in json.loads(plan.template)["Resources"]


def plan(template=TEMPLATE):
    return plan_deployment(Target(stage="prod"), package(template), "1", ENVIRONMENT)


def test_a_template_too_large_to_be_sent_along_is_uploaded():
    small, large = plan(), plan(LARGE_TEMPLATE)

    assert small.template_key is None
    assert [upload.key for upload in large.uploads] == ["prod/abc123.zip", large.template_key]
    assert large.uploads[1].read() == large.template.encode()


def test_another_template_has_another_name():
    another = plan({**LARGE_TEMPLATE, "Metadata": {}})

    assert another.template_key != plan(LARGE_TEMPLATE).template_key


def test_a_template_is_sent_along_unless_it_was_uploaded():
    small, large = (
        change_set_request(planned, Change.UPDATE, name="deploy-1", s3_url="https://s3.example/")
        for planned in (plan(), plan(LARGE_TEMPLATE))
    )

    assert small["TemplateBody"] == plan().template
    assert "TemplateURL" not in small
    assert "TemplateBody" not in large
    assert large["TemplateURL"] == f"https://s3.example/{plan().bucket}/{plan(LARGE_TEMPLATE).template_key}"


@pytest.mark.parametrize(
    ("change", "kind"), [(Change.CREATE, "CREATE"), (Change.UPDATE, "UPDATE"), (Change.REPLACE, "CREATE")]
)
def test_a_change_is_asked_for_with_its_parameters_and_under_the_stacks_name(change, kind):
    request = change_set_request(plan(), change, name="deploy-1", s3_url="https://s3.example")

    assert (request["StackName"], request["ChangeSetName"]) == ("order-execution-engine-prod", "deploy-1")
    assert request["ChangeSetType"] == kind
    assert {"ParameterKey": "QueueMaxConcurrent", "ParameterValue": "4"} in request["Parameters"]


def test_a_bucket_names_its_region_but_in_the_one_where_that_is_refused():
    assert bucket_request("artifacts", "us-east-1") == {"Bucket": "artifacts"}
    assert bucket_request("artifacts", "eu-west-1") == {
        "Bucket": "artifacts",
        "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"},
    }


@pytest.mark.parametrize(
    ("stage", "emulated"), [("prod", False), ("dev", False), ("local", True), ("localstack", True)]
)
def test_local_stages_are_emulated(stage, emulated):
    assert Target(stage=stage).emulated == emulated


def test_settings_given_in_parts_or_by_their_second_name_reach_the_template():
    resolved = resolve_settings({"POSTGRES_HOST": "db", "REDIS_HOST": "cache", "WORKER_CONCURRENCY": "5"})

    assert resolved["DATABASE_URL"] == "postgresql://postgres@db:5432/orders"
    assert resolved["REDIS_URL"] == "redis://cache:6379/0"
    assert resolved["QUEUE_MAX_CONCURRENT"] == "5"


def test_a_bad_setting_is_named_before_anything_is_deployed():
    with pytest.raises(SettingsError, match="MAX_RETRIES='0'"):
        resolve_settings({"MAX_RETRIES": "0"})


def test_a_database_that_is_not_named_is_not_guessed():
    assert "DATABASE_URL" not in resolve_settings({})


def test_a_log_level_goes_to_the_template_as_the_template_writes_it():
    assert resolve_settings({"LOG_LEVEL": "debug"})["LOG_LEVEL"] == "DEBUG"


# --- AWS and its data stack ---


@pytest.mark.parametrize("variable", EMULATORS_ONLY)
def test_a_setting_that_holds_a_password_is_refused_on_aws_and_taken_by_an_emulator(variable):
    environment = {**ENVIRONMENT, variable: "secret"}

    with pytest.raises(DeployError, match=f"{variable}: not for AWS") as refused:
        plan_deployment(Target(stage="prod"), package(), "1", environment)
    assert "secret" not in str(refused.value)
    plan_deployment(Target(stage="local"), package(), "1", environment)


WITH_DATA = {
    **TEMPLATE,
    "Parameters": {
        **TEMPLATE["Parameters"],
        **{name: {"Type": "AWS::SSM::Parameter::Value<String>"} for name in WHERE_DATA_IS},
    },
}


@pytest.mark.parametrize(
    ("environment", "prefix"),
    [
        ({}, "/order-execution-engine/prod"),
        ({"DATA_PREFIX": ""}, "/order-execution-engine/prod"),
        ({"DATA_PREFIX": "/platform/trading/"}, "/platform/trading"),
    ],
)
def test_the_engine_finds_its_data_by_its_stage_or_where_it_is_told(environment, prefix):
    planned = plan_deployment(Target(stage="prod"), package(WITH_DATA), "1", {**ENVIRONMENT, **environment})

    assert {name: planned.parameters[name] for name in WHERE_DATA_IS} == {
        parameter: f"{prefix}/{name}" for parameter, name in WHERE_DATA_IS.items()
    }


def test_an_emulator_is_asked_for_no_ssm_parameters():
    planned = plan_deployment(Target(stage="local"), package(WITH_DATA), "1", ENVIRONMENT)

    declared = json.loads(planned.template)["Parameters"]
    assert {declared[name]["Type"] for name in WHERE_DATA_IS} == {"String"}


def test_a_certificate_without_its_host_is_refused_before_anything_is_deployed():
    parameters = {name: {"Type": "String", "Default": ""} for name in ("PublicHost", "CertificateArn")}
    built = package({**TEMPLATE, "Parameters": {**TEMPLATE["Parameters"], **parameters}})
    environment = {**ENVIRONMENT, "CERTIFICATE_ARN": "arn:aws:acm:us-east-1:1:certificate/c"}

    with pytest.raises(DeployError, match="CERTIFICATE_ARN is set without PUBLIC_HOST"):
        plan_deployment(Target(stage="prod"), built, "1", environment)
    plan_deployment(Target(stage="prod"), built, "1", {**environment, "PUBLIC_HOST": "trade.example"})


@pytest.mark.parametrize("stage", ["prod", "local"])
def test_a_release_is_known_by_its_code(stage):
    template = {**TEMPLATE, "Parameters": {**TEMPLATE["Parameters"], "Release": {"Type": "String"}}}
    built = package(template)

    planned = plan_deployment(Target(stage=stage), built, "1", {**ENVIRONMENT, "RELEASE": "other"})

    assert planned.parameters["Release"] == built.archive_digest


def test_an_emulators_redis_is_not_taken_for_a_data_stacks():
    environment = {**ENVIRONMENT, "REDIS_HOST": "localhost", "DATABASE_HOST": "localhost"}

    planned = plan_deployment(Target(stage="local"), package(WITH_DATA), "1", environment)

    assert {planned.parameters[name] for name in WHERE_DATA_IS} == {""}


@pytest.mark.parametrize(
    ("stage", "environment", "has_one"),
    [("prod", {}, True), ("prod", {"DATA_PREFIX": "/platform/trading"}, False), ("localstack", {}, False)],
)
def test_a_stage_has_a_data_stack_unless_it_is_emulated_or_has_its_own(stage, environment, has_one):
    assert has_data_stack(Target(stage=stage), environment) == has_one


DATA_TEMPLATE = """
Parameters:
  Stage: {Type: String}
  MultiAz: {Type: String, Default: "true"}
Resources:
  Database: {Type: AWS::RDS::DBInstance, Properties: {MultiAZ: !Equals [!Ref MultiAz, "true"]}}
"""


def test_a_data_stack_takes_its_parameters_from_the_environment_and_holds_data():
    planned = plan_data(Target(stage="prod"), DATA_TEMPLATE, "1", {"MULTI_AZ": "false"})

    assert planned.stack == "order-execution-engine-data-prod"
    assert planned.parameters == {"Stage": "prod", "MultiAz": "false"}
    assert planned.template == DATA_TEMPLATE
    assert planned.holds_data
    assert planned.uploads == ()


def test_a_large_data_template_goes_by_the_bucket():
    planned = plan_data(Target(stage="prod"), DATA_TEMPLATE + "#" * INLINE_TEMPLATE_BYTES, "1", {})

    assert [upload.key for upload in planned.uploads] == [planned.template_key]
    assert planned.template_key.startswith("prod/")
    assert planned.template_key.endswith(".yaml")


# --- Open access ---


def test_an_engine_that_asks_nobody_who_they_are_is_not_deployed_to_aws(deployed):
    with pytest.raises(DeployError, match=r"AUTH_MODE=open would let whoever .* --stage prod --open-to-all prod"):
        deployed("prod", AUTH_MODE="open")


def test_an_engine_is_opened_to_everybody_when_that_is_said_by_name(deployed):
    assert deployed("prod", AUTH_MODE="open", OPEN_TO_ALL="yes") == (False, "open")


# --- What nobody says ---

PREVIOUS = {"AlarmEmail": "before@example.com", "QueueMaxConcurrent": "20", "MockSeed": ""}


def test_what_nobody_says_stays_as_it_was():
    planned = plan_deployment(Target(stage="prod"), package(), "1", {"QUEUE_MAX_CONCURRENT": "4"}, PREVIOUS)

    assert planned.parameters == {"AlarmEmail": "before@example.com", "QueueMaxConcurrent": "4", "MockSeed": ""}


def test_what_cloudformation_does_not_show_is_not_taken_for_its_value():
    hidden = {**TEMPLATE, "Parameters": {"LaunchWebhookSecret": {"Type": "String", "Default": "", "NoEcho": True}}}

    planned = plan_deployment(Target(stage="prod"), package(hidden), "1", {}, {"LaunchWebhookSecret": "****"})

    assert planned.parameters == {"LaunchWebhookSecret": ""}


def test_settings_that_stay_because_nobody_names_them_are_told_but_for_defaults_and_what_is_known():
    declared = {"MaxRetries": {"Type": "Number", "Default": 3}, "BackoffBaseMs": {"Type": "Number", "Default": 1000}}
    template = {**WITH_DATA, "Parameters": {**WITH_DATA["Parameters"], **declared}}
    names = {name: f"/order-execution-engine/prod/{path}" for name, path in WHERE_DATA_IS.items()}
    previous = {**PREVIOUS, **names, "MaxRetries": "5", "BackoffBaseMs": "1000"}
    environment = {"QUEUE_MAX_CONCURRENT": "20", "ALARM_EMAIL": "ops@example.com"}

    assert plan_deployment(Target(stage="prod"), package(template), "1", environment, previous).kept == (
        "MAX_RETRIES=5",
    )


def test_a_deployment_says_nothing_of_slots_and_logs_that_nobody_mentioned():
    assert resolve_settings({}) == {}


# --- Real venues ---

SOLANA = {
    "UseRealDevnet": {"Type": "String", "Default": "false"},
    "SolanaCluster": {"Type": "String", "Default": "devnet"},
    "AuthMode": {"Type": "String", "Default": "jwt"},
    **{
        name: {"Type": "String", "Default": ""}
        for name in (
            *("SolanaRpcUrls", "SolanaRpcSecretArn", "SolanaWalletKey", "SolanaWalletSecretArn", "SolanaTokens"),
            *("SolanaMaxPerOrder", "SolanaMaxPerDay", "AuthIssuer", "AuthAudience"),
        )
    },
}
REAL = {
    **ENVIRONMENT,
    "AUTH_ISSUER": "https://tenant.example",
    "AUTH_AUDIENCE": "engine",
    "USE_REAL_DEVNET": "true",
    "SOLANA_MAX_PER_ORDER": "SOL=0.5",
    "SOLANA_MAX_PER_DAY": "SOL=2",
}
IN_A_SECRET = {**REAL, "SOLANA_WALLET_SECRET_ARN": "arn:wallet"}


def real_parameters(environment, stage="prod", previous=None):
    template = {**TEMPLATE, "Parameters": {**TEMPLATE["Parameters"], **SOLANA}}
    return engine_parameters(Target(stage=stage), template, environment, previous or {})


def test_real_venues_are_deployed_with_a_wallet_in_a_secret():
    parameters = real_parameters(IN_A_SECRET)

    assert parameters["UseRealDevnet"] == "true"
    assert parameters["SolanaWalletSecretArn"] == "arn:wallet"
    assert parameters["SolanaWalletKey"] == ""


def test_on_an_emulator_the_wallets_key_is_a_setting():
    parameters = real_parameters({**REAL, "SOLANA_WALLET_KEY": "key"}, stage="local")

    assert parameters["SolanaWalletKey"] == "key"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"SOLANA_MAX_PER_DAY": ""}, "SOLANA_MAX_PER_DAY is not set"),
        ({"SOLANA_WALLET_SECRET_ARN": ""}, "SOLANA_WALLET_KEY or SOLANA_WALLET_SECRET_ARN must be set"),
        ({"SOLANA_MAX_PER_ORDER": "JUP=1", "SOLANA_MAX_PER_DAY": "JUP=1"}, "allowed is one of SOL, USDC"),
        ({"SOLANA_CLUSTER": "mainnet-beta", "AUTH_MODE": "open", "OPEN_TO_ALL": "yes"}, "anybody could spend"),
    ],
    ids=["uncapped", "no wallet", "a cap of an unknown token", "open to all"],
)
def test_real_venues_that_the_functions_would_refuse_are_refused_before_anything_is_deployed(wrong, message):
    with pytest.raises(DeployError, match=message):
        real_parameters({**IN_A_SECRET, **wrong})


@pytest.mark.parametrize("url", ["https://node.example/v2/api-key-1", "https://u:api-key-1@node.example/"])
def test_endpoints_with_api_keys_are_no_setting_on_aws(url):
    with pytest.raises(DeployError, match="SOLANA_RPC_SECRET_ARN") as refused:
        real_parameters({**IN_A_SECRET, "SOLANA_RPC_URLS": url})
    assert "api-key-1" not in str(refused.value)

    real_parameters({**IN_A_SECRET, "SOLANA_RPC_URLS": "https://node.example,https://other.example/"})
    real_parameters({**REAL, "SOLANA_WALLET_KEY": "key", "SOLANA_RPC_URLS": url}, stage="local")


def test_a_shell_that_names_some_of_the_real_settings_leaves_the_others_as_they_are():
    before = real_parameters({**IN_A_SECRET, "SOLANA_CLUSTER": "mainnet-beta"})

    resolved = resolve_settings({"USE_REAL_DEVNET": "True", "SOLANA_CLUSTER": "Mainnet-Beta", **ENVIRONMENT})

    assert real_parameters(resolved, previous=before) == before


def test_a_package_that_cannot_swap_for_real_is_not_deployed_to_do_so():
    template = {**TEMPLATE, "Parameters": {**TEMPLATE["Parameters"], **SOLANA}}

    with pytest.raises(DeployError, match="USE_REAL_DEVNET=true make package STAGE=prod"):
        plan_deployment(Target(stage="prod"), package(template), "1", IN_A_SECRET)
    able = replace(package(template), real_venues=True)
    assert plan_deployment(Target(stage="prod"), able, "1", IN_A_SECRET).parameters["UseRealDevnet"] == "true"
    plan_deployment(Target(stage="prod"), able, "1", {**IN_A_SECRET, "USE_REAL_DEVNET": "false"})

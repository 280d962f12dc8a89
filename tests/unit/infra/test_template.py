"""What is deployed: the functions, their queues, settings, sizes and alarms, before CloudFormation has seen them."""

import json
import re
from pathlib import Path

import pytest

from app import EXECUTING_AT_ONCE, app
from chalicelib.config import LOG_LEVELS, PRIORITY_SLOTS, SOLANA_CLUSTERS, SettingsError, load_settings
from chalicelib.execution.executor import LEASE
from chalicelib.queueing.sqs_batches import FRESH_COPY_AFTER, LONGEST_OUTAGE_PAUSE
from chalicelib.resources.sqs import Queue
from chalicelib.triggers import market_watch
from infra.deployment import WHERE_DATA_IS, environment_variable, slots

PROJECT = Path(__file__).parents[3]
CONFIG = json.loads((PROJECT / ".chalice" / "config.json").read_text())
TEMPLATE = json.loads((PROJECT / "infra" / "app.json").read_text())
RESOURCES = TEMPLATE["Resources"]
CONSUMERS = {"execute_order": "OrdersQueue", "settle_orders": "SettlementsQueue", "replay_events": "ReplaysQueue"}
PRIORITY_SOURCE = RESOURCES["ExecuteOrder"]["Properties"]["Events"]["ExecuteOrderPriority"]["Properties"]
LOOPS = {name: loop for name, loop in RESOURCES.items() if name.startswith("Fn::ForEach::")}
SINGLE = {name: resource for name, resource in RESOURCES.items() if name not in LOOPS}
QUEUES = [name for name, resource in SINGLE.items() if resource.get("Type") == "AWS::SQS::Queue"]
WEBSOCKET_HANDLERS = {"websocket_connect", "websocket_message", "websocket_disconnect"}


def logical_id(function):
    """Return what Chalice calls a function in the template."""
    return "".join(word.capitalize() for word in function.split("_"))


def event_source(function):
    name = logical_id(function)
    return RESOURCES[name]["Properties"]["Events"][f"{name}SqsEventSource"]["Properties"]


def timeout(function):
    return CONFIG["lambda_functions"][function]["lambda_timeout"]


def test_as_many_orders_execute_at_once_as_are_reserved():
    others = event_source("execute_order")["ScalingConfig"]["MaximumConcurrency"]
    snipers = PRIORITY_SOURCE["ScalingConfig"]["MaximumConcurrency"]
    reserved = RESOURCES["ExecuteOrder"]["Properties"]["ReservedConcurrentExecutions"]
    defaults = {name: parameter.get("Default") for name, parameter in TEMPLATE["Parameters"].items()}

    assert reserved == {"Ref": "QueueMaxConcurrent"}
    assert others == {"Ref": "OrdersMaxConcurrent"}
    assert snipers == PRIORITY_SLOTS
    assert defaults["QueueMaxConcurrent"] == EXECUTING_AT_ONCE == 10
    assert defaults["OrdersMaxConcurrent"] + snipers == defaults["QueueMaxConcurrent"]


def test_the_slots_of_the_code_the_settings_and_the_template_are_the_same():
    (others,) = [source.maximum_concurrency for source in app.event_sources if source.name == "execute_order"]
    at_once, not_snipers = (TEMPLATE["Parameters"][name] for name in ("QueueMaxConcurrent", "OrdersMaxConcurrent"))

    assert at_once["Default"] == EXECUTING_AT_ONCE == load_settings({}).queue_max_concurrent
    assert not_snipers["Default"] == others == EXECUTING_AT_ONCE - PRIORITY_SLOTS
    for bound in ("MinValue", "MaxValue"):
        assert not_snipers[bound] == at_once[bound] - PRIORITY_SLOTS
    assert f"OrdersMaxConcurrent + {PRIORITY_SLOTS}" in at_once["Description"]


def test_slots_follow_the_setting():
    given = slots(load_settings({"QUEUE_MAX_CONCURRENT": "20"}))

    assert given == {"QUEUE_MAX_CONCURRENT": "20", "ORDERS_MAX_CONCURRENT": "18"}


def test_snipers_have_a_queue_and_slots_of_their_own():
    assert PRIORITY_SOURCE["Queue"] == {"Fn::GetAtt": ["PriorityQueue", "Arn"]}
    assert PRIORITY_SOURCE["BatchSize"] == 1
    assert PRIORITY_SOURCE["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert RESOURCES["PriorityQueue"] == RESOURCES["OrdersQueue"]


def test_two_market_watches_overlap_rather_than_leave_a_gap():
    assert market_watch.WATCH_SECONDS > 60 + 2 * market_watch.TICK_SECONDS
    assert timeout("watch_market") > market_watch.WATCH_SECONDS + market_watch.TICK_SECONDS


@pytest.mark.parametrize(("function", "queue"), CONSUMERS.items())
def test_every_consumer_reads_its_queue_and_reports_what_it_did_not_finish(function, queue):
    assert event_source(function)["Queue"] == {"Fn::GetAtt": [queue, "Arn"]}
    assert event_source(function)["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_every_function_that_answers_with_failures_is_said_to():
    sources = {source.name for source in app.event_sources if hasattr(source, "queue_arn")}

    assert sources == {*CONSUMERS, "bury_order"}


@pytest.mark.parametrize(("function", "queue"), CONSUMERS.items())
def test_a_message_stays_invisible_for_six_times_as_long_as_its_function_may_run(function, queue):
    assert RESOURCES[queue]["Properties"]["VisibilityTimeout"] >= 6 * timeout(function)


@pytest.mark.parametrize("queue", ["OrdersDeadLetters", "SettlementsDeadLetters"])
def test_a_dead_letter_stays_invisible_for_six_times_as_long_as_its_burial_may_take(queue):
    assert RESOURCES[queue]["Properties"]["VisibilityTimeout"] >= 6 * timeout("bury_order")


@pytest.mark.parametrize(
    ("queue", "dead_letters"), [("OrdersQueue", "OrdersDeadLetters"), ("SettlementsQueue", "SettlementsDeadLetters")]
)
def test_a_message_that_cannot_be_processed_ends_in_a_dead_letter_queue(queue, dead_letters):
    redrive = RESOURCES[queue]["Properties"]["RedrivePolicy"]

    assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": [dead_letters, "Arn"]}
    assert redrive["maxReceiveCount"] >= 5
    assert RESOURCES[dead_letters]["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_both_dead_letter_queues_are_buried():
    events = RESOURCES["BuryOrder"]["Properties"]["Events"].values()

    queues = [event["Properties"]["Queue"]["Fn::GetAtt"][0] for event in events]
    assert sorted(queues) == ["OrdersDeadLetters", "SettlementsDeadLetters"]


@pytest.mark.parametrize("queue", [name for name in QUEUES if "RedrivePolicy" in RESOURCES[name]["Properties"]])
def test_a_message_that_only_waits_has_a_fresh_copy_long_before_it_would_be_buried(queue):
    # The queue may take no copy for a while: then the message comes back at least every LONGEST_OUTAGE_PAUSE.
    spare = RESOURCES[queue]["Properties"]["RedrivePolicy"]["maxReceiveCount"] - FRESH_COPY_AFTER

    assert spare * LONGEST_OUTAGE_PAUSE >= 5 * 60


@pytest.mark.parametrize("queue", QUEUES)
def test_every_queue_is_encrypted(queue):
    assert RESOURCES[queue]["Properties"]["SqsManagedSseEnabled"] is True


def test_a_lease_outlives_its_worker():
    assert LEASE.total_seconds() > timeout("execute_order")


# --- Functions and policies ---


def test_every_function_of_the_app_is_configured():
    named = (app.event_sources, app.pure_lambda_functions, app.builtin_auth_handlers)
    functions = {function.name for functions in named for function in functions}

    assert set(CONFIG["lambda_functions"]) == functions | WEBSOCKET_HANDLERS | {"api_handler"}


# --- Settings ---


ABOUT_THE_DEPLOYMENT = {
    *WHERE_DATA_IS,
    "Release",
    *("PublicHost", "CertificateArn", "WebAclArn"),
    *("LogRetentionDays", "AlarmEmail", "DatabaseConnectionsAlarm"),
    "OpenToAll",
    "OrdersMaxConcurrent",  # follows from QueueMaxConcurrent
}
"""Parameters that are no setting of the engine."""
REAL = {
    "USE_REAL_DEVNET": "true",
    "SOLANA_WALLET_KEY": "key",
    "SOLANA_MAX_PER_ORDER": "SOL=0.5",
    "SOLANA_MAX_PER_DAY": "SOL=2",
}
"""The least that the real venues need: without them their settings are not read."""
SETTINGS = {name: parameter for name, parameter in TEMPLATE["Parameters"].items() if name not in ABOUT_THE_DEPLOYMENT}


@pytest.mark.parametrize("parameter", SETTINGS)
def test_a_setting_reaches_the_functions(parameter):
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]

    given = json.dumps(variables)
    assert environment_variable(parameter) in variables or f"${{{parameter}}}" in given


def test_the_defaults_of_the_template_are_those_of_the_settings():
    defaults = {
        environment_variable(name): str(parameter["Default"])
        for name, parameter in SETTINGS.items()
        if "Default" in parameter
    }

    # What is said to nobody must not be open to everybody; a laptop is.
    assert (defaults.pop("AUTH_MODE"), load_settings({}).auth_mode) == ("jwt", "open")
    assert load_settings(defaults) == load_settings({})
    real_defaults = {name: value for name, value in defaults.items() if name not in REAL}
    assert load_settings({**real_defaults, **REAL}) == load_settings(REAL)


NUMBERS = {name: parameter for name, parameter in SETTINGS.items() if parameter["Type"] == "Number"}


@pytest.mark.parametrize("parameter", NUMBERS)
@pytest.mark.parametrize(("bound", "beyond"), [("MinValue", -1), ("MaxValue", 1)])
def test_the_template_takes_the_numbers_that_the_settings_take(parameter, bound, beyond):
    variable, last = environment_variable(parameter), NUMBERS[parameter][bound]

    load_settings({**REAL, variable: str(last)})
    with pytest.raises(SettingsError, match=f"{variable}='{last + beyond}'"):
        load_settings({**REAL, variable: str(last + beyond)})


def test_the_template_takes_the_log_levels_that_the_settings_take():
    assert tuple(TEMPLATE["Parameters"]["LogLevel"]["AllowedValues"]) == LOG_LEVELS


def test_the_template_takes_the_clusters_that_the_settings_take():
    assert set(TEMPLATE["Parameters"]["SolanaCluster"]["AllowedValues"]) == set(SOLANA_CLUSTERS)


@pytest.mark.parametrize("parameter", ["DatabaseUrl", "RedisUrl", "LaunchWebhookSecret", "SolanaWalletKey"])
def test_what_holds_a_password_is_not_shown(parameter):
    assert TEMPLATE["Parameters"][parameter]["NoEcho"] is True


def test_what_api_gateway_answers_by_itself_is_a_problem_as_well():
    answers = SINGLE["RestAPI"]["Properties"]["DefinitionBody"]["x-amazon-apigateway-gateway-responses"]

    assert {"UNAUTHORIZED", "ACCESS_DENIED", "AUTHORIZER_FAILURE", "THROTTLED", "DEFAULT_4XX", "DEFAULT_5XX"} <= {
        *answers
    }
    for kind, answer in answers.items():
        assert answer["responseParameters"]["gatewayresponse.header.Content-Type"] == "'application/problem+json'", kind
        template = answer["responseTemplates"]["application/json"]
        problem = json.loads(template.replace("$context.error.messageString", '"a message"'))
        assert problem["title"], kind
        assert problem["detail"], kind
        assert str(problem.get("status")) == str(answer.get("statusCode")), kind
    assert answers["UNAUTHORIZED"]["responseParameters"]["gatewayresponse.header.WWW-Authenticate"] == "'Bearer'"
    assert answers["AUTHORIZER_FAILURE"]["statusCode"] == "503"


# --- Secrets ---


def test_on_aws_a_functions_environment_names_secrets_and_holds_none():
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]

    with_passwords = {"DatabaseUrl", "RedisUrl", "LaunchWebhookSecret", "SolanaWalletKey"}
    for variable, value in variables.items():
        held = {name for name in with_passwords if f'{{"Ref": "{name}"}}' in json.dumps(value)}
        for name in held:
            condition, first, second = value["Fn::If"]
            on_aws = first if condition == "OnAws" else second
            assert condition in ("OnAws", "OnEmulator"), variable
            assert name not in json.dumps(on_aws), variable
    assert variables["DATABASE_SECRET_ARN"]["Fn::If"][1] == {"Ref": "DatabaseSecretArn"}
    assert variables["REDIS_SECRET_ARN"]["Fn::If"][1] == {"Ref": "RedisSecretArn"}
    assert variables["LAUNCH_WEBHOOK_SECRET_ARN"]["Fn::If"][2] == {"Ref": "LaunchSecret"}


def test_passwords_are_taken_by_emulators_only():
    (rule,) = TEMPLATE["Rules"]["DataComesFromOnePlace"]["Assertions"]
    aws, emulator = (choice["Fn::And"] for choice in rule["Assert"]["Fn::Or"])

    parameters = ("EmulatorUrl", "DatabaseUrl", "RedisUrl")
    assert aws == [{"Fn::Equals": [{"Ref": parameter}, ""]} for parameter in parameters]
    assert emulator == [{"Fn::Not": [condition]} for condition in aws]


@pytest.mark.parametrize("parameter", WHERE_DATA_IS)
def test_cloudformation_looks_up_where_the_data_is_at_every_deployment(parameter):
    declared = TEMPLATE["Parameters"][parameter]

    assert declared["Type"] == "AWS::SSM::Parameter::Value<String>"
    assert "Default" not in declared


def test_where_the_data_is_is_no_dynamic_reference_of_which_a_template_may_hold_sixty_only():
    assert "{{resolve:" not in json.dumps(TEMPLATE)


def test_on_aws_users_show_tokens_unless_it_is_opened_by_name():
    (rule,) = TEMPLATE["Rules"]["OnAwsUsersShowTokens"]["Assertions"]
    emulator, opened, tokens = rule["Assert"]["Fn::Or"]

    assert emulator == {"Fn::Not": [{"Fn::Equals": [{"Ref": "EmulatorUrl"}, ""]}]}
    assert opened == {"Fn::Equals": [{"Ref": "OpenToAll"}, "yes"]}
    assert tokens["Fn::And"][0] == {"Fn::Equals": [{"Ref": "AuthMode"}, "jwt"]}
    assert TEMPLATE["Parameters"]["OpenToAll"]["Default"] == "no"


def equals(parameter, value):
    return {"Fn::Equals": [{"Ref": parameter}, value]}


def test_real_money_is_spent_up_to_a_cap_and_not_by_everybody():
    rule = TEMPLATE["Rules"]["RealMoneyIsCapped"]
    capped, known = (assertion["Assert"] for assertion in rule["Assertions"])

    assert rule["RuleCondition"] == equals("UseRealDevnet", "true")
    caps = ("SolanaMaxPerOrder", "SolanaMaxPerDay")
    assert capped == {"Fn::And": [{"Fn::Not": [equals(cap, "")]} for cap in caps]}
    assert known == {"Fn::Or": [equals("SolanaCluster", "devnet"), equals("AuthMode", "jwt")]}
    assert TEMPLATE["Parameters"]["UseRealDevnet"]["Default"] == "false"
    assert TEMPLATE["Parameters"]["SolanaCluster"]["Default"] == "devnet"


def test_on_aws_the_wallet_is_in_a_secret():
    rule = TEMPLATE["Rules"]["OnAwsTheWalletIsInASecret"]
    no_key, secret = (assertion["Assert"] for assertion in rule["Assertions"])

    assert rule["RuleCondition"] == equals("EmulatorUrl", "")
    assert no_key == equals("SolanaWalletKey", "")
    named = {"Fn::Not": [equals("SolanaWalletSecretArn", "")]}
    assert secret == {"Fn::Or": [equals("UseRealDevnet", "false"), named]}


@pytest.mark.parametrize("parameter", ["SolanaWalletSecretArn", "SolanaRpcSecretArn"])
def test_a_secret_is_named_by_its_whole_arn_by_which_access_to_it_is_granted(parameter):
    pattern = TEMPLATE["Parameters"][parameter]["AllowedPattern"]

    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:trading/wallet"
    assert re.fullmatch(pattern, f"{arn}-Ab3dEf")
    assert re.fullmatch(pattern, "")
    for unusable in (arn, "trading/wallet", "whsec_key"):
        assert not re.fullmatch(pattern, unusable)


def test_connections_to_the_data_stack_are_encrypted():
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]

    assert variables["POSTGRES_SSLMODE"]["Fn::If"][1] == "require"
    assert variables["REDIS_URL"]["Fn::If"][1]["Fn::Sub"].startswith("rediss://")


def test_the_secret_of_launches_is_made_where_nobody_reads_it():
    secret = SINGLE["LaunchSecret"]["Properties"]

    assert secret["KmsKeyId"] == {"Fn::GetAtt": ["Key", "Arn"]}
    assert secret["GenerateSecretString"]["PasswordLength"] == 48
    assert "SecretString" not in secret


def test_the_key_is_rotated_and_serves_this_stack_only():
    key = SINGLE["Key"]["Properties"]

    assert key["EnableKeyRotation"] is True
    assert key["PendingWindowInDays"] == 7
    services = [statement for statement in key["KeyPolicy"]["Statement"] if "Service" in statement["Principal"]]
    assert len(services) == 2
    assert all("Condition" in statement for statement in services)


# --- Where the functions run ---


def test_functions_run_in_the_private_subnets_of_the_data_stack(packaged):
    condition, network, elsewhere = TEMPLATE["Globals"]["Function"]["VpcConfig"]["Fn::If"]

    assert condition == "OnAws"
    assert elsewhere == {"Ref": "AWS::NoValue"}
    assert network == {
        "SubnetIds": [{"Ref": "PrivateSubnetA"}, {"Ref": "PrivateSubnetB"}],
        "SecurityGroupIds": [{"Ref": "FunctionsSecurityGroup"}],
    }
    assert not [name for name in CONFIG["lambda_functions"] if "VpcConfig" in properties(packaged, name)]


def properties(packaged, function):
    name = "APIHandler" if function == "api_handler" else logical_id(function)
    return packaged["Resources"][name]["Properties"]


@pytest.mark.parametrize("function", CONFIG["lambda_functions"])
def test_a_function_runs_on_arm_with_the_memory_and_time_of_the_config(packaged, function):
    given = properties(packaged, function)

    assert given["Architectures"] == ["arm64"]
    assert given["MemorySize"] == CONFIG["lambda_functions"][function]["lambda_memory_size"]
    assert given["Timeout"] == timeout(function)


SIZES = (PROJECT / "docs" / "deployment.md").read_text()


@pytest.mark.parametrize("function", CONFIG["lambda_functions"])
def test_the_reason_for_a_functions_memory_and_time_is_written_down(function):
    config = CONFIG["lambda_functions"][function]
    row = re.search(rf"^\| `{function}` \| (\d+) MB \| (\d+) s \| (.+) \|$", SIZES, re.MULTILINE)

    assert row, f"docs/deployment.md has no row for {function}"
    assert (int(row[1]), int(row[2])) == (config["lambda_memory_size"], config["lambda_timeout"])
    assert len(row[3]) > 20


def test_no_function_outlives_api_gateways_patience():
    answered = {"api_handler", *WEBSOCKET_HANDLERS}

    assert max(timeout(function) for function in answered) < 29


# --- The order of a deployment ---


def test_no_function_gets_new_code_before_the_database_is_migrated(packaged):
    functions = {
        name
        for name, resource in packaged["Resources"].items()
        if isinstance(resource, dict) and resource["Type"] == "AWS::Serverless::Function"
    }

    waiting = {name for name in functions if packaged["Resources"][name].get("DependsOn") == ["Migrations"]}
    assert functions - waiting == {"MigrateDatabase"}


def test_every_new_version_of_the_code_migrates():
    migrations = SINGLE["Migrations"]["Properties"]

    assert migrations["ServiceToken"] == {"Fn::GetAtt": ["MigrateDatabase", "Arn"]}
    assert migrations["Release"] == {"Ref": "Release"}
    assert "Default" not in TEMPLATE["Parameters"]["Release"]
    assert timeout("migrate_database") < migrations["ServiceTimeout"]


# --- The public host ---


def test_clients_meet_rest_and_websocket_on_one_host_with_the_laptops_paths():
    edge = SINGLE["PublicEdge"]["Properties"]["DistributionConfig"]
    rest, websocket = edge["Origins"]
    socket_behaviour, console_behaviour = edge["CacheBehaviors"]

    assert rest["OriginPath"] == f"/{CONFIG['api_gateway_stage']}"
    assert "OriginPath" not in websocket  # its stage is what follows the host: /ws
    assert edge["DefaultCacheBehavior"]["TargetOriginId"] == rest["Id"]
    assert (socket_behaviour["PathPattern"], socket_behaviour["TargetOriginId"]) == ("/ws", websocket["Id"])
    assert (console_behaviour["PathPattern"], console_behaviour["TargetOriginId"]) == ("/console/*", rest["Id"])
    assert SINGLE["WebsocketAPIStage"]["Properties"]["StageName"] == "ws"


def test_the_public_host_keeps_no_error():
    # Unless told, CloudFront keeps most errors for 10 s, whatever their Cache-Control says, and gives them to whoever
    # asks for the same address: a 403 of who may not see it to who may.
    # https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/custom-error-pages-expiration.html
    edge = SINGLE["PublicEdge"]["Properties"]["DistributionConfig"]

    assert {error["ErrorCode"]: error["ErrorCachingMinTTL"] for error in edge["CustomErrorResponses"]} == dict.fromkeys(
        (400, 403, 404, 405, 414, 500, 501, 502, 503, 504), 0
    )
    assert not any("ResponsePagePath" in error for error in edge["CustomErrorResponses"])


CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
ALL_VIEWER_EXCEPT_HOST_HEADER = "b689b0a8-53d0-40ab-baf2-68738e2966ac"


def test_the_public_host_keeps_the_consoles_files_and_nothing_else_and_speaks_tls_only():
    edge = SINGLE["PublicEdge"]["Properties"]["DistributionConfig"]

    for behaviour in (edge["DefaultCacheBehavior"], *edge["CacheBehaviors"]):
        assert behaviour["ViewerProtocolPolicy"] == "https-only"
        assert {"GET", "POST", "DELETE", "OPTIONS"} <= set(behaviour["AllowedMethods"])
        if behaviour.get("PathPattern") == "/console/*":
            # Neither a header nor a query of who asks reaches the API: a file is the same for all.
            assert (behaviour["CachePolicyId"], behaviour["Compress"]) == (CACHING_OPTIMIZED, True)
            assert "OriginRequestPolicyId" not in behaviour
        else:
            assert behaviour["CachePolicyId"] == CACHING_DISABLED
            assert behaviour["OriginRequestPolicyId"] == ALL_VIEWER_EXCEPT_HOST_HEADER
    for origin in edge["Origins"]:
        assert origin["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"
        assert origin["CustomOriginConfig"]["OriginSSLProtocols"] == ["TLSv1.2"]
    assert edge["ViewerCertificate"]["Fn::If"][1]["MinimumProtocolVersion"] == "TLSv1.2_2021"


def test_clients_are_told_the_public_host():
    variable = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["WEBSOCKET_URL"]

    assert variable["Fn::If"][:2] == ["OwnPublicHost", {"Fn::Sub": "wss://${PublicHost}/ws"}]


def test_the_public_url_is_the_host_that_clients_are_told_and_cloudfronts_own_is_put_out_as_well():
    outputs = TEMPLATE["Outputs"]

    own, cloudfronts = ({"Fn::Sub": f"https://${{{host}}}"} for host in ("PublicHost", "PublicEdge.DomainName"))
    assert outputs["PublicUrl"]["Value"] == {"Fn::If": ["OwnPublicHost", own, cloudfronts]}
    assert outputs["EdgeHost"]["Value"] == {"Fn::GetAtt": ["PublicEdge", "DomainName"]}


def test_a_certificate_needs_its_host():
    rule = TEMPLATE["Rules"]["ACertificateIsForAHost"]

    def given(parameter):
        return {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}

    assert rule["RuleCondition"] == given("CertificateArn")
    assert [assertion["Assert"] for assertion in rule["Assertions"]] == [given("PublicHost")]


def test_the_rest_api_has_no_other_stage_that_is_neither_throttled_nor_logged():
    # SAM would make one, called "Stage", for templates that are older than this property.
    assert SINGLE["RestAPI"]["Properties"]["OpenApiVersion"] == "2.0"


def test_both_apis_are_throttled():
    (rest,) = SINGLE["RestAPI"]["Properties"]["MethodSettings"]
    websocket = SINGLE["WebsocketAPIStage"]["Properties"]["DefaultRouteSettings"]

    for limits in (rest, websocket):
        assert (limits["ThrottlingRateLimit"], limits["ThrottlingBurstLimit"]) == (500, 1000)


# --- Logs ---


def test_logs_are_kept_as_long_as_said_and_encrypted():
    for group in ("Logs", "AccessLogs"):
        assert SINGLE[group]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
        assert SINGLE[group]["Properties"]["KmsKeyId"] == {"Fn::GetAtt": ["Key", "Arn"]}
    assert TEMPLATE["Parameters"]["LogRetentionDays"]["Default"] == 90
    assert TEMPLATE["Globals"]["Function"]["LoggingConfig"] == {"LogGroup": {"Ref": "Logs"}}


def test_access_logs_hold_no_query_and_no_header_that_could_hold_a_secret():
    formats = [
        SINGLE["RestAPI"]["Properties"]["AccessLogSetting"]["Format"]["Fn::ToJsonString"],
        SINGLE["WebsocketAPIStage"]["Properties"]["AccessLogSettings"]["Format"]["Fn::ToJsonString"],
    ]

    for logged in formats:
        assert {"requestId", "time", "ip", "status"} <= logged.keys()
        assert not [value for value in logged.values() if "querystring" in value or "header" in value.lower()]


# --- Alarms ---

AGES = {"OrdersQueue": 1200, "PriorityQueue": 60, "SettlementsQueue": 300, "ReplaysQueue": 60}
SLOW_MS = {"APIHandler": 1500, "ExecuteOrder": 6000, "SettleOrders": 12000, "ReplayEvents": 12000}


def alarms():
    """Return every alarm by its name, those of loops by the name they have there."""
    looped = {name: resource for _, _, body in LOOPS.values() for name, resource in body.items()}
    return {
        name: resource["Properties"]
        for name, resource in {**SINGLE, **looped}.items()
        if resource.get("Type") == "AWS::CloudWatch::Alarm"
    }


def test_every_alarm_tells_the_one_topic_when_it_begins_and_when_it_ends():
    assert len(alarms()) == 4 + 1 + len(AGES) + len(SLOW_MS) + 5
    for name, alarm in alarms().items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}], name
        assert alarm["AlarmDescription"], name


def test_every_function_has_alarms_for_errors_and_throttles(packaged):
    _, watched, body = LOOPS["Fn::ForEach::FunctionAlarms"]
    functions = {
        name
        for name, resource in packaged["Resources"].items()
        if isinstance(resource, dict) and resource["Type"] == "AWS::Serverless::Function"
    }

    # A deployment tells itself that a migration failed. The authorizer fails for each token that it refuses; where it
    # fails otherwise, or is not run, clients get a 5XX, which has an alarm of its own.
    assert set(watched) == functions - {"MigrateDatabase", "Authorize"}
    errors, throttles = body["${Function}Errors"]["Properties"], body["${Function}Throttles"]["Properties"]
    assert [errors[key] for key in ("MetricName", "Statistic", "Threshold", "Period")] == ["Errors", "Sum", 0, 60]
    for alarm in (throttles, SINGLE["AuthorizeThrottles"]["Properties"]):
        assert (alarm["MetricName"], alarm["Threshold"]) == ("Throttles", 0)
        assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (3, 2)


def test_a_dead_letter_raises_an_alarm_when_it_comes_and_when_it_stays():
    _, queues, body = LOOPS["Fn::ForEach::DeadLetterAlarms"]

    assert set(queues) == {queue for queue in QUEUES if queue.endswith("DeadLetters")}
    for name, metric in (
        ("${Queue}Arrived", "NumberOfMessagesReceived"),
        ("${Queue}NotEmpty", "ApproximateNumberOfMessagesVisible"),
    ):
        alarm = body[name]["Properties"]
        assert (alarm["MetricName"], alarm["Threshold"]) == (metric, 0)
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"


@pytest.mark.parametrize("queue", AGES)
def test_a_message_that_waits_too_long_raises_an_alarm(queue):
    alarm = SINGLE[f"{queue}Age"]["Properties"]

    assert alarm["MetricName"] == "ApproximateAgeOfOldestMessage"
    assert (alarm["Threshold"], alarm["Period"], alarm["EvaluationPeriods"]) == (AGES[queue], 60, 3)
    assert alarm["Dimensions"][0]["Value"] == {"Fn::GetAtt": [queue, "QueueName"]}


def test_orders_that_only_wait_for_their_turn_raise_no_alarm():
    assert AGES["OrdersQueue"] > Queue.LONGEST_DELAY + 60


def test_a_replay_raises_an_alarm_before_it_is_given_up():
    assert AGES["ReplaysQueue"] < RESOURCES["ReplaysQueue"]["Properties"]["MessageRetentionPeriod"]


@pytest.mark.parametrize("name", SLOW_MS)
def test_a_slow_function_raises_an_alarm(name):
    alarm = SINGLE[f"{name}Slow"]["Properties"]
    function = "api_handler" if name == "APIHandler" else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()

    assert (alarm["MetricName"], alarm["ExtendedStatistic"]) == ("Duration", "p99")
    assert alarm["Threshold"] == SLOW_MS[name] < 1000 * timeout(function)


@pytest.mark.parametrize("function", ["RecoverOrders", "WatchMarket"])
def test_a_schedule_that_stopped_raises_an_alarm(function):
    alarm = SINGLE[f"{function}Stopped"]["Properties"]

    assert (alarm["MetricName"], alarm["ComparisonOperator"]) == ("Invocations", "LessThanThreshold")
    assert (alarm["Threshold"], alarm["Period"], alarm["TreatMissingData"]) == (1, 300, "breaching")


def test_orders_that_fail_too_often_raise_an_alarm():
    alarm = SINGLE["OrdersFailing"]["Properties"]
    counted = {
        metric["MetricStat"]["Metric"]["MetricName"]: metric["MetricStat"]["Metric"]["Dimensions"]
        for metric in alarm["Metrics"]
        if "MetricStat" in metric
    }

    assert alarm["Threshold"] == 5
    assert set(counted) == {"OrdersConfirmed", "OrdersFailed"}
    service = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
    assert all(dimensions == [{"Name": "service", "Value": service}] for dimensions in counted.values())


def test_errors_of_the_api_raise_an_alarm():
    alarm = SINGLE["ServerErrors"]["Properties"]

    assert (alarm["MetricName"], alarm["Threshold"], alarm["Period"]) == ("5XXError", 9, 300)
    assert alarm["Dimensions"][0]["Value"] == SINGLE["RestAPI"]["Properties"]["Name"]


def test_too_many_connections_to_postgres_raise_an_alarm():
    alarm = SINGLE["DatabaseConnections"]

    assert alarm["Condition"] == "OnAws"
    assert alarm["Properties"]["MetricName"] == "DatabaseConnections"
    assert alarm["Properties"]["Threshold"] == {"Ref": "DatabaseConnectionsAlarm"}
    assert alarm["Properties"]["Dimensions"][0]["Value"] == {"Ref": "DatabaseInstance"}


def test_only_alarms_of_this_account_reach_the_topic():
    (statement,) = SINGLE["AlarmTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]

    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert SINGLE["AlarmTopic"]["Properties"]["KmsMasterKeyId"] == {"Ref": "Key"}


def test_the_dashboard_shows_every_queue_and_function():
    board = json.dumps(SINGLE["Dashboard"]["Properties"]["DashboardBody"])

    _, functions, _ = LOOPS["Fn::ForEach::FunctionAlarms"]
    for resource in (*QUEUES, *functions):
        assert f'"{resource}"' in board

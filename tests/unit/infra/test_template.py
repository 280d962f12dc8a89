"""What is deployed: the functions, their queues and policies, before CloudFormation has seen them."""

import json
from pathlib import Path

import pytest

from app import EXECUTING_AT_ONCE, app
from chalicelib.config import LOG_LEVELS, PRIORITY_SLOTS, SettingsError, load_settings
from chalicelib.execution.executor import LEASE
from chalicelib.queueing.sqs_batches import FRESH_COPY_AFTER, LONGEST_OUTAGE_PAUSE
from chalicelib.triggers import market_watch
from infra.deployment import environment_variable, slots

PROJECT = Path(__file__).parents[3]
CONFIG = json.loads((PROJECT / ".chalice" / "config.json").read_text())
TEMPLATE = json.loads((PROJECT / "infra" / "app.json").read_text())
RESOURCES = TEMPLATE["Resources"]
CONSUMERS = {"execute_order": "OrdersQueue", "settle_orders": "SettlementsQueue", "replay_events": "ReplaysQueue"}
PRIORITY_SOURCE = RESOURCES["ExecuteOrder"]["Properties"]["Events"]["ExecuteOrderPriority"]["Properties"]
QUEUES = [name for name, resource in RESOURCES.items() if resource.get("Type") == "AWS::SQS::Queue"]
WEBSOCKET_HANDLERS = {"websocket_connect", "websocket_message", "websocket_disconnect"}


def logical_id(function):
    """Return what Chalice calls a function in the template."""
    return "".join(word.capitalize() for word in function.split("_"))


def event_source(function):
    name = logical_id(function)
    return RESOURCES[name]["Properties"]["Events"][f"{name}SqsEventSource"]["Properties"]


def timeout(function):
    return CONFIG["lambda_functions"][function]["lambda_timeout"]


def policy(function):
    return json.loads((PROJECT / ".chalice" / CONFIG["lambda_functions"][function]["iam_policy_file"]).read_text())


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
    functions = {source.name for source in app.event_sources} | {
        function.name for function in app.pure_lambda_functions
    }

    assert set(CONFIG["lambda_functions"]) == functions | WEBSOCKET_HANDLERS | {"api_handler"}


@pytest.mark.parametrize("function", CONFIG["lambda_functions"])
def test_every_function_has_a_policy_of_its_own_that_lets_it_log(function):
    assert CONFIG["lambda_functions"][function]["iam_policy_file"] == f"policy-{function.replace('_', '-')}.json"
    actions = [action for statement in policy(function)["Statement"] for action in statement["Action"]]
    assert "logs:PutLogEvents" in actions
    assert not [action for action in actions if "*" in action]


def test_every_policy_belongs_to_a_function():
    files = {path.name for path in (PROJECT / ".chalice").glob("policy-*.json")}

    assert files == {function["iam_policy_file"] for function in CONFIG["lambda_functions"].values()}


@pytest.mark.parametrize(("function", "queue"), [*CONSUMERS.items(), ("execute_order", "PriorityQueue")])
def test_a_consumer_may_receive_delete_and_postpone_its_messages(function, queue):
    allowed = {
        action
        for statement in policy(function)["Statement"]
        if f"-{queue}-" in json.dumps(statement["Resource"])
        for action in statement["Action"]
    }

    needed = {"ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes"}
    assert {f"sqs:{action}" for action in needed} <= allowed


# --- Settings ---


def test_every_parameter_is_a_setting_that_the_functions_get():
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    given = json.dumps(variables)

    for parameter in TEMPLATE["Parameters"].keys() - {"OrdersMaxConcurrent"}:  # follows from QueueMaxConcurrent
        assert environment_variable(parameter) in variables or f"${{{parameter}}}" in given


def test_the_defaults_of_the_template_are_those_of_the_settings():
    defaults = {
        environment_variable(name): str(parameter["Default"])
        for name, parameter in TEMPLATE["Parameters"].items()
        if "Default" in parameter
    }

    assert load_settings(defaults) == load_settings({})


NUMBERS = {name: parameter for name, parameter in TEMPLATE["Parameters"].items() if parameter["Type"] == "Number"}


@pytest.mark.parametrize(
    "parameter", sorted(NUMBERS.keys() - {"OrdersMaxConcurrent"})
)  # follows from QueueMaxConcurrent
@pytest.mark.parametrize(("bound", "beyond"), [("MinValue", -1), ("MaxValue", 1)])
def test_the_template_takes_the_numbers_that_the_settings_take(parameter, bound, beyond):
    variable, last = environment_variable(parameter), NUMBERS[parameter][bound]

    load_settings({variable: str(last)})
    with pytest.raises(SettingsError, match=f"{variable}='{last + beyond}'"):
        load_settings({variable: str(last + beyond)})


def test_the_template_takes_the_log_levels_that_the_settings_take():
    assert tuple(TEMPLATE["Parameters"]["LogLevel"]["AllowedValues"]) == LOG_LEVELS


@pytest.mark.parametrize("parameter", ["DatabaseUrl", "RedisUrl", "LaunchWebhookSecret"])
def test_what_holds_a_password_is_not_shown(parameter):
    assert TEMPLATE["Parameters"][parameter]["NoEcho"] is True


# --- Permissions ---

EXECUTION = {"OrdersQueue", "PriorityQueue"}
SENDS_TO = {
    "api_handler": {*EXECUTION, "ReplaysQueue"},
    "websocket_connect": {"ReplaysQueue"},
    "websocket_message": {*EXECUTION, "ReplaysQueue"},
    "websocket_disconnect": set(),
    # A consumer sends a fresh copy to its own queue when an outage has used a message up.
    "execute_order": {*EXECUTION, "SettlementsQueue", "ReplaysQueue"},
    "settle_orders": {*EXECUTION, "SettlementsQueue", "ReplaysQueue"},
    "replay_events": {"ReplaysQueue"},
    "bury_order": {*EXECUTION, "SettlementsQueue", "ReplaysQueue"},
    "recover_orders": {*EXECUTION, "SettlementsQueue"},
    "watch_market": {*EXECUTION, "ReplaysQueue"},
    "dead_letters": {*EXECUTION, "SettlementsQueue", "ReplaysQueue"},
    "steer_market": set(),
}
RECEIVES_FROM = {
    "execute_order": EXECUTION,
    "settle_orders": {"SettlementsQueue"},
    "replay_events": {"ReplaysQueue"},
    "bury_order": {"OrdersDeadLetters", "SettlementsDeadLetters"},
}
COUNTS = {"api_handler": {"OrdersQueue"}, "recover_orders": EXECUTION}
"""The queues whose length a function asks for: the health check, and recovery, to tell stopped orders from queued."""
PUSHES = {
    *("api_handler", "websocket_message", "execute_order", "settle_orders"),
    *("replay_events", "bury_order", "watch_market", "dead_letters"),
}


def queues_allowed(function, action):
    """Return the queues to which a function may do this."""
    return {
        resource.split("-")[-2]
        for statement in policy(function)["Statement"]
        if f"sqs:{action}" in statement["Action"]
        for resource in ([statement["Resource"]] if isinstance(statement["Resource"], str) else statement["Resource"])
    }


@pytest.mark.parametrize("function", CONFIG["lambda_functions"])
def test_a_function_may_send_to_the_queues_it_sends_to_and_to_no_other(function):
    assert queues_allowed(function, "SendMessage") == SENDS_TO[function]


@pytest.mark.parametrize("function", CONFIG["lambda_functions"])
def test_a_function_may_receive_from_the_queues_it_is_called_by_and_from_no_other(function):
    queues = RECEIVES_FROM.get(function, set())

    assert queues_allowed(function, "ReceiveMessage") == queues_allowed(function, "DeleteMessage") == queues
    # Lambda itself asks for a queue's attributes where it polls.
    assert queues_allowed(function, "GetQueueAttributes") == queues | COUNTS.get(function, set())


@pytest.mark.parametrize("function", CONFIG["lambda_functions"])
def test_a_function_may_push_to_clients_if_it_has_news_for_them(function):
    pushes = ["execute-api:ManageConnections" in statement["Action"] for statement in policy(function)["Statement"]]

    assert any(pushes) == (function in PUSHES)

"""What each function may do: everything it needs, and nothing else.

Read from the packaged template, role by role: a grant that is not in the tables below, or is wider, fails.
"""

import json
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
CONFIG = json.loads((PROJECT / ".chalice" / "config.json").read_text())
FUNCTIONS = sorted(CONFIG["lambda_functions"])

EXECUTION = {"OrdersQueue", "PriorityQueue"}
SENDS_TO = {
    "api_handler": {*EXECUTION, "SettlementsQueue", "ReplaysQueue"},
    "websocket_connect": {"ReplaysQueue"},
    "websocket_message": {*EXECUTION, "ReplaysQueue"},
    # A consumer sends a fresh copy to its own queue when an outage has used a message up.
    "execute_order": {*EXECUTION, "SettlementsQueue", "ReplaysQueue"},
    "settle_orders": {*EXECUTION, "SettlementsQueue", "ReplaysQueue"},
    "replay_events": {"ReplaysQueue"},
    "bury_order": {*EXECUTION, "SettlementsQueue", "ReplaysQueue"},
    "recover_orders": {*EXECUTION, "SettlementsQueue"},
    "watch_market": {*EXECUTION, "ReplaysQueue"},
    "dead_letters": {*EXECUTION, "SettlementsQueue", "ReplaysQueue"},
}
RECEIVES_FROM = {
    "execute_order": EXECUTION,
    "settle_orders": {"SettlementsQueue"},
    "replay_events": {"ReplaysQueue"},
    "bury_order": {"OrdersDeadLetters", "SettlementsDeadLetters"},
}
POSTPONES = {"execute_order", "settle_orders", "replay_events"}
COUNTS = {
    "api_handler": {*EXECUTION, "SettlementsQueue", "ReplaysQueue", "OrdersDeadLetters", "SettlementsDeadLetters"},
    "recover_orders": EXECUTION,
}
"""The queues whose length a function asks for: the metrics, and recovery, to tell stopped orders from queued."""
PUSHES = {
    *("api_handler", "websocket_message", "execute_order", "settle_orders"),
    *("replay_events", "bury_order", "watch_market", "dead_letters"),
}
VERIFIES_LAUNCHES = {"api_handler"}
ASKS_SOLANA = {"api_handler", "execute_order", "settle_orders", "watch_market"}
"""Whoever quotes, sends, or asks what became of what was sent."""
SIGNS = {"execute_order"}
NEEDS_NO_DATABASE = {"websocket_disconnect", "authorize"}
NEEDS_NO_REDIS = {"steer_market", "migrate_database", "authorize"}

CONNECTIONS = {
    "Fn::Sub": "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${WebsocketAPI}/ws/*/@connections/*"
}
"""Methods are POST and DELETE; connections have no names before there are any."""
VIA_SECRETS_MANAGER = {
    "StringEquals": {"kms:ViaService": {"Fn::Sub": "secretsmanager.${AWS::Region}.${AWS::URLSuffix}"}}
}
NETWORK_ACTIONS = {
    f"ec2:{action}" for action in ("CreateNetworkInterface", "DeleteNetworkInterface", "AssignPrivateIpAddresses")
} | {"ec2:UnassignPrivateIpAddresses"}
NETWORK_LOOKS = {"ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"}
"""AWS lets these two be granted for everything only."""


def logical_id(function):
    """Return what Chalice calls a function in the template."""
    return "APIHandler" if function == "api_handler" else "".join(word.capitalize() for word in function.split("_"))


def role_of(packaged, function):
    return packaged["Resources"][packaged["Resources"][logical_id(function)]["Properties"]["Role"]["Fn::GetAtt"][0]]


def statements(document):
    """Return the statements of a policy, those that depend on where it is deployed included."""
    return [either for given in document["Statement"] for either in _alternatives(given)]


def _alternatives(given):
    if "Fn::If" not in given:
        return [given]
    return [choice for choice in given["Fn::If"][1:] if choice != {"Ref": "AWS::NoValue"}]


def grants(document):
    """Return every single grant: (action, resource as JSON, condition as JSON)."""
    return {
        (action, json.dumps(resource), json.dumps(statement.get("Condition")))
        for statement in statements(document)
        if statement["Effect"] == "Allow"
        for action in _listed(statement["Action"])
        for resource in _listed(statement["Resource"])
    }


def _listed(given):
    return given if isinstance(given, list) else [given]


def grant(action, resource, condition=None):
    return (action, json.dumps(resource), json.dumps(condition))


def arn(resource):
    return {"Fn::GetAtt": [resource, "Arn"]}


def expected(function):
    """Return what a function's own policy should grant."""
    queue_grants = {
        grant(f"sqs:{action}", arn(queue))
        for action, queues in (
            ("SendMessage", SENDS_TO.get(function, set())),
            ("ReceiveMessage", RECEIVES_FROM.get(function, set())),
            ("DeleteMessage", RECEIVES_FROM.get(function, set())),
            # Lambda itself asks for a queue's attributes where it polls.
            ("GetQueueAttributes", RECEIVES_FROM.get(function, set()) | COUNTS.get(function, set())),
            ("ChangeMessageVisibility", RECEIVES_FROM[function] if function in POSTPONES else set()),
        )
        for queue in queues
    }
    logs = {grant(f"logs:{action}", arn("Logs")) for action in ("CreateLogStream", "PutLogEvents")}
    pushes = {grant("execute-api:ManageConnections", CONNECTIONS)} if function in PUSHES else set()
    launches = {
        grant("secretsmanager:GetSecretValue", {"Ref": "LaunchSecret"}),
        grant("kms:Decrypt", arn("Key"), VIA_SECRETS_MANAGER),
    }
    return queue_grants | logs | pushes | (launches if function in VERIFIES_LAUNCHES else set())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_functions_own_policy_grants_what_it_needs_and_no_more(packaged, function):
    (policy,) = role_of(packaged, function)["Properties"]["Policies"]

    assert grants(policy["PolicyDocument"]) == expected(function)


def test_every_function_has_a_role_of_its_own_that_only_lambda_may_take(packaged):
    roles = [role_of(packaged, function) for function in FUNCTIONS]

    assert len({id(role) for role in roles}) == len(FUNCTIONS)
    for role in roles:
        (trust,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert (trust["Effect"], trust["Action"]) == ("Allow", "sts:AssumeRole")
        assert trust["Principal"]["Service"] in ("lambda.amazonaws.com", {"Fn::Sub": "lambda.${AWS::URLSuffix}"})


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_reads_the_passwords_it_needs_and_no_other(packaged, function):
    attached = role_of(packaged, function)["Properties"]["ManagedPolicyArns"]

    needed = ["NetworkAccess"]
    needed += [] if function in NEEDS_NO_DATABASE else ["DatabaseAccess"]
    needed += [] if function in NEEDS_NO_REDIS else ["RedisAccess"]
    policies = [{"Ref": name} for name in needed]
    policies += [attached_if("EndpointsInSecret", "SolanaRpcAccess")] if function in ASKS_SOLANA else []
    policies += [attached_if("SignsOnAws", "WalletAccess")] if function in SIGNS else []
    assert attached == {"Fn::If": ["OnAws", policies, {"Ref": "AWS::NoValue"}]}


def attached_if(condition, policy):
    return {"Fn::If": [condition, {"Ref": policy}, {"Ref": "AWS::NoValue"}]}


@pytest.mark.parametrize(
    ("policy", "condition", "secret"),
    [
        ("WalletAccess", "SignsOnAws", "SolanaWalletSecretArn"),
        ("SolanaRpcAccess", "EndpointsInSecret", "SolanaRpcSecretArn"),
    ],
)
def test_a_secret_of_the_real_venues_is_read_where_they_are_used_and_decrypted_whatever_key_it_has(
    packaged, policy, condition, secret
):
    resource = packaged["Resources"][policy]
    any_key = {"Fn::Sub": "arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/*"}
    for_this_secret = {
        "StringEquals": {
            **VIA_SECRETS_MANAGER["StringEquals"],
            "kms:EncryptionContext:SecretARN": {"Ref": secret},
        }
    }

    assert resource["Condition"] == condition
    assert grants(resource["Properties"]["PolicyDocument"]) == {
        grant("secretsmanager:GetSecretValue", {"Ref": secret}),
        grant("kms:Decrypt", any_key, for_this_secret),
    }
    on_aws, real, named = packaged["Conditions"][condition]["Fn::And"]
    assert on_aws == {"Condition": "OnAws"}
    assert real == {"Fn::Equals": [{"Ref": "UseRealDevnet"}, "true"]}
    assert named == {"Fn::Not": [{"Fn::Equals": [{"Ref": secret}, ""]}]}


@pytest.mark.parametrize(
    ("policy", "secret"), [("DatabaseAccess", "DatabaseSecretArn"), ("RedisAccess", "RedisSecretArn")]
)
def test_access_to_a_password_is_access_to_that_secret_alone(packaged, policy, secret):
    granted = grants(packaged["Resources"][policy]["Properties"]["PolicyDocument"])

    assert granted == {
        grant("secretsmanager:GetSecretValue", {"Ref": secret}),
        grant("kms:Decrypt", {"Ref": "DataKeyArn"}, VIA_SECRETS_MANAGER),
    }


def test_lambda_may_give_functions_network_interfaces_and_the_functions_themselves_may_not(packaged):
    document = packaged["Resources"]["NetworkAccess"]["Properties"]["PolicyDocument"]
    # Lambda looks whether the role may do so with every resource, and refuses the function if only with its subnets.
    everything = {"Fn::Sub": "arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:*/*"}

    assert grants(document) == {grant(look, "*") for look in NETWORK_LOOKS} | {
        grant(action, everything) for action in NETWORK_ACTIONS
    }
    (denial,) = [statement for statement in statements(document) if statement["Effect"] == "Deny"]
    assert set(denial["Action"]) == NETWORK_ACTIONS | NETWORK_LOOKS
    assert list(denial["Condition"]["ArnLike"]) == ["lambda:SourceFunctionArn"]


def test_no_other_policy_is_attached_to_anything(packaged):
    policies = {
        name
        for name, resource in packaged["Resources"].items()
        if isinstance(resource, dict) and resource["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
    }

    assert policies == {"NetworkAccess", "DatabaseAccess", "RedisAccess", "WalletAccess", "SolanaRpcAccess"}


def test_every_policy_file_belongs_to_a_function():
    files = {path.name for path in (PROJECT / ".chalice").glob("policy-*.json")}

    assert files == {function["iam_policy_file"] for function in CONFIG["lambda_functions"].values()}

"""The data stack before CloudFormation has seen it: each number in it, who may talk to whom, what survives."""

import re
from itertools import product

import pytest

from infra.deployment import WHERE_DATA_IS
from tests.cloudformation_yaml import load_template, references, with_parameters

TEMPLATE = load_template("data.yaml")
PARAMETERS = TEMPLATE["Parameters"]
RESOURCES = TEMPLATE["Resources"]
CHOICES = ("NatGateways", "PrivateEndpoints", "DatabaseMultiZone", "DatabaseProxy", "RedisMultiZone")
EVERY_CHOICE = [
    dict(zip(CHOICES, chosen, strict=True))
    for chosen in product(*(PARAMETERS[choice]["AllowedValues"] for choice in CHOICES))
]
PRIVATE_SUBNETS = [{"Ref": "PrivateSubnetA"}, {"Ref": "PrivateSubnetB"}]
FUNCTIONS = "FunctionsSecurityGroup"
ROTATIONS = ("DatabaseRotationSecurityGroup", "RedisRotationSecurityGroup")
FOUND_BY_THE_ENGINE = {
    "/network/private-subnet-a": {"Ref": "PrivateSubnetA"},
    "/network/private-subnet-b": {"Ref": "PrivateSubnetB"},
    "/network/functions-security-group": {"Ref": FUNCTIONS},
    "/database/host": {"Fn::GetAtt": ["Database", "Endpoint.Address"]},
    "/database/port": {"Fn::GetAtt": ["Database", "Endpoint.Port"]},
    "/database/name": "orders",
    "/database/secret-arn": {"Ref": "DatabaseSecretAttachment"},
    "/database/instance": {"Ref": "Database"},
    "/redis/host": {"Fn::GetAtt": ["Redis", "PrimaryEndPoint.Address"]},
    "/redis/port": {"Fn::GetAtt": ["Redis", "PrimaryEndPoint.Port"]},
    "/redis/secret-arn": {"Ref": "RedisSecret"},
    "/data-key-arn": {"Fn::GetAtt": ["DataKey", "Arn"]},
}
"""The names are those that a deployment of the engine looks for: they cannot change here alone."""


def stack(**parameters):
    return with_parameters(TEMPLATE, Stage="prod", **parameters)


def resources(kind, of=TEMPLATE):
    return {name: resource for name, resource in of["Resources"].items() if resource["Type"] == kind}


def properties(name, of=TEMPLATE):
    return of["Resources"][name]["Properties"]


def statements(role):
    return [
        statement
        for policy in properties(role)["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]


def as_list(value):
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("chosen", EVERY_CHOICE, ids=lambda chosen: "-".join(chosen.values()))
def test_whatever_is_chosen_all_that_is_referred_to_is_there(chosen):
    of = stack(**chosen)

    there = {*of["Resources"], *PARAMETERS}
    for name, part in {**of["Resources"], **of["Outputs"]}.items():
        missing = {known for known in references(part) if not known.startswith("AWS::")} - there
        assert not missing, name
        assert set(as_list(part.get("DependsOn", []))) <= there, name


def test_the_engine_finds_everything_by_these_names():
    found = {
        parameter["Properties"]["Name"]["Fn::Sub"]: parameter["Properties"]["Value"]
        for parameter in resources("AWS::SSM::Parameter", stack()).values()
    }

    assert found == {"/order-execution-engine/${Stage}" + name: value for name, value in FOUND_BY_THE_ENGINE.items()}
    assert set(FOUND_BY_THE_ENGINE) == {f"/{name}" for name in WHERE_DATA_IS.values()}
    assert set(TEMPLATE["Outputs"]) == set(WHERE_DATA_IS)


def test_the_outputs_say_the_same_as_the_parameters():
    for of in (stack(), stack(DatabaseProxy="true")):
        told = [parameter["Properties"]["Value"] for parameter in resources("AWS::SSM::Parameter", of).values()]
        assert [output["Value"] for output in of["Outputs"].values()] == told


def test_with_a_proxy_the_engine_connects_to_it():
    host = properties("DatabaseHostParameter", stack(DatabaseProxy="true"))["Value"]

    assert host == {"Fn::GetAtt": ["DatabaseProxyEndpoint", "Endpoint"]}


def test_without_a_proxy_nothing_of_it_is_there():
    assert not [name for name in stack()["Resources"] if "Proxy" in name]


def test_the_proxy_leaves_connections_to_others_and_keeps_nobody_waiting():
    of = stack(DatabaseProxy="true")
    proxy, pool = properties("DatabaseProxyEndpoint", of), properties("DatabaseProxyTargets", of)

    assert proxy["Auth"] == [
        {
            "AuthScheme": "SECRETS",
            "SecretArn": {"Ref": "DatabaseSecretAttachment"},
            "IAMAuth": "DISABLED",
            "ClientPasswordAuthType": "POSTGRES_SCRAM_SHA_256",
        }
    ]
    assert proxy["DebugLogging"] is False  # it would log statements with their values
    assert proxy["IdleClientTimeout"] * 1000 == int(
        properties("DatabaseParameters")["Parameters"]["idle_session_timeout"]
    )
    assert pool["ConnectionPoolConfigurationInfo"] == {
        "MaxConnectionsPercent": 90,
        "MaxIdleConnectionsPercent": 10,
        "ConnectionBorrowTimeout": 1,
    }


# Who may talk to whom


def admitted(of):
    """Return who is admitted, as (source, port, target); who is admitted by address has no group, which fails."""
    rules = [(name, rule) for name in resources("AWS::EC2::SecurityGroup", of) for rule in ingress_of(name, of)]
    rules += [
        (rule["Properties"]["GroupId"]["Ref"], rule["Properties"])
        for rule in resources("AWS::EC2::SecurityGroupIngress", of).values()
    ]
    return {(rule["SourceSecurityGroupId"]["Ref"], port(rule), target) for target, rule in rules}


def ingress_of(group, of):
    return properties(group, of).get("SecurityGroupIngress", [])


def port(rule):
    assert rule["IpProtocol"] == "tcp"
    assert rule["FromPort"] == rule["ToPort"]
    return rule["FromPort"]


def allowed_out(of):
    """Return who may send to which port of which group, and who to which port of which addresses."""
    to_groups, to_addresses = set(), {}
    for name in resources("AWS::EC2::SecurityGroup", of):
        for rule in properties(name, of)["SecurityGroupEgress"]:
            if "CidrIp" in rule:
                to_addresses[name] = (port(rule), rule["CidrIp"])
            else:
                to_groups.add((name, port(rule), rule["DestinationSecurityGroupId"]["Ref"]))
    return to_groups, to_addresses


DIRECT = {(FUNCTIONS, 5432, "DatabaseSecurityGroup")}
BY_PROXY = {
    (FUNCTIONS, 5432, "DatabaseProxySecurityGroup"),
    ("DatabaseProxySecurityGroup", 5432, "DatabaseSecurityGroup"),
}
ALWAYS = {
    ("DatabaseRotationSecurityGroup", 5432, "DatabaseSecurityGroup"),
    (FUNCTIONS, 6379, "RedisSecurityGroup"),
    ("RedisRotationSecurityGroup", 6379, "RedisSecurityGroup"),
}
TO_ENDPOINTS = {(group, 443, "EndpointsSecurityGroup") for group in (FUNCTIONS, *ROTATIONS)}


@pytest.mark.parametrize(("proxy", "to_postgres"), [("false", DIRECT), ("true", BY_PROXY)], ids=["direct", "proxy"])
@pytest.mark.parametrize(("endpoints", "to_aws"), [("false", set()), ("true", TO_ENDPOINTS)], ids=["nat", "endpoints"])
def test_nobody_is_admitted_but_by_these_ways(proxy, to_postgres, endpoints, to_aws):
    of = stack(DatabaseProxy=proxy, PrivateEndpoints=endpoints)

    assert admitted(of) == ALWAYS | to_postgres | to_aws


@pytest.mark.parametrize("proxy", ["false", "true"])
def test_each_group_sends_only_to_who_admits_it_and_by_https(proxy):
    of = stack(DatabaseProxy=proxy)
    to_groups, to_addresses = allowed_out(of)

    assert to_groups == admitted(of) - TO_ENDPOINTS
    https = {name for name, to in to_addresses.items() if to == (443, "0.0.0.0/0")}
    assert https == {FUNCTIONS, *ROTATIONS}
    assert {to for name, to in to_addresses.items() if name not in https} == {(1, "127.0.0.1/32")}


def test_nobody_on_the_internet_can_reach_anything():
    of = stack(DatabaseProxy="true")

    assert not any(subnet["Properties"]["MapPublicIpOnLaunch"] for subnet in resources("AWS::EC2::Subnet", of).values())
    assert properties("Database", of)["PubliclyAccessible"] is False
    for name, key in [
        ("DatabaseSubnets", "SubnetIds"),
        ("RedisSubnets", "SubnetIds"),
        ("DatabaseProxyEndpoint", "VpcSubnetIds"),
        ("QueuesEndpoint", "SubnetIds"),
        ("SecretsEndpoint", "SubnetIds"),
    ]:
        assert properties(name, of)[key] == PRIVATE_SUBNETS, name
    assert properties("RedisRotation", of)["VpcConfig"]["SubnetIds"] == PRIVATE_SUBNETS
    hosted = properties("DatabaseSecretRotation", of)["HostedRotationLambda"]
    assert hosted["VpcSubnetIds"] == {"Fn::Join": [",", PRIVATE_SUBNETS]}


def test_only_the_public_subnets_have_a_way_to_the_internet_gateway():
    tables = {
        route["Properties"]["RouteTableId"]["Ref"]
        for route in resources("AWS::EC2::Route").values()
        if "GatewayId" in route["Properties"]
    }
    associated = {
        association["Properties"]["SubnetId"]["Ref"]
        for association in resources("AWS::EC2::SubnetRouteTableAssociation").values()
        if association["Properties"]["RouteTableId"]["Ref"] in tables
    }

    assert associated == {"PublicSubnetA", "PublicSubnetB"}


@pytest.mark.parametrize(
    ("gateways", "ways_out"),
    [("one", ["NatGatewayA", "NatGatewayA"]), ("each-zone", ["NatGatewayA", "NatGatewayB"])],
)
def test_private_subnets_leave_by_nat_of_their_zone_where_there_is_one(gateways, ways_out):
    of = stack(NatGateways=gateways)

    assert [properties(f"PrivateRouteOut{zone}", of)["NatGatewayId"]["Ref"] for zone in "AB"] == ways_out
    assert set(resources("AWS::EC2::NatGateway", of)) == set(ways_out)


def test_the_subnets_of_a_kind_are_in_two_zones_and_all_have_addresses_of_their_own():
    subnets = resources("AWS::EC2::Subnet")
    zones = {name: subnet["Properties"]["AvailabilityZone"]["Fn::Select"][0] for name, subnet in subnets.items()}
    ranges = [subnet["Properties"]["CidrBlock"]["Fn::Select"] for subnet in subnets.values()]

    assert zones == {"PublicSubnetA": 0, "PublicSubnetB": 1, "PrivateSubnetA": 0, "PrivateSubnetB": 1}
    assert sorted(index for index, _ in ranges) == [0, 1, 2, 3]
    assert {tuple(cut["Fn::Cidr"][1:]) for _, cut in ranges} == {(4, 8)}


def test_what_goes_through_the_networks_own_doors_stays_in_the_account():
    endpoints = resources("AWS::EC2::VPCEndpoint")

    assert {endpoint["Properties"]["ServiceName"]["Fn::Sub"].split(".")[-1] for endpoint in endpoints.values()} == {
        "s3",
        "sqs",
        "secretsmanager",
    }
    for name, endpoint in endpoints.items():
        statement, *others = endpoint["Properties"]["PolicyDocument"]["Statement"]
        assert statement["Condition"] == {
            "StringEquals": {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}},
            # A random password, which a rotation asks for, belongs to no account.
            "StringEqualsIfExists": {"aws:ResourceAccount": {"Ref": "AWS::AccountId"}},
        }
        assert bool(others) == (name == "S3Endpoint")


def test_a_function_in_the_network_can_answer_cloudformation_by_its_bucket():
    _, answer = properties("S3Endpoint")["PolicyDocument"]["Statement"]

    assert answer == {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": {"Fn::Sub": "arn:${AWS::Partition}:s3:::cloudformation-custom-resource-response-*/*"},
    }


def test_all_traffic_is_recorded():
    flow_logs = properties("FlowLogs")

    assert (flow_logs["ResourceId"], flow_logs["TrafficType"]) == ({"Ref": "Network"}, "ALL")


# What is encrypted, and what survives


def test_one_key_that_is_renewed_encrypts_everything():
    key = {"Fn::GetAtt": ["DataKey", "Arn"]}
    of = stack(DatabaseProxy="true")

    assert properties("DataKey")["EnableKeyRotation"] is True
    encrypted = {
        *(("Database", name) for name in ("KmsKeyId", "PerformanceInsightsKMSKeyId")),
        *((name, "KmsKeyId") for name in ("Redis", *resources("AWS::SecretsManager::Secret"))),
        *((name, "KmsKeyId") for name in resources("AWS::Logs::LogGroup", of)),
    }
    assert len(encrypted) == 10
    assert [(name, kind) for name, kind in encrypted if properties(name, of).get(kind) != key] == []
    assert properties("Database")["StorageEncrypted"] is True
    assert properties("Redis")["AtRestEncryptionEnabled"] is True


def test_only_the_account_and_the_log_groups_of_this_stack_use_the_key():
    account, logs = properties("DataKey")["KeyPolicy"]["Statement"]

    assert account["Principal"] == {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
    assert logs["Principal"] == {"Service": {"Fn::Sub": "logs.${AWS::Region}.${AWS::URLSuffix}"}}
    (pattern,) = logs["Condition"]["ArnLike"].values()
    before, after = pattern["Fn::Sub"].split("log-group:")[1].split("*", 1)
    for group in resources("AWS::Logs::LogGroup").values():
        name = group["Properties"]["LogGroupName"]["Fn::Sub"]
        assert name.startswith(before), name
        assert after.strip("*") in name, name


def test_nothing_goes_over_the_wire_in_the_clear():
    of = stack(DatabaseProxy="true")
    redis = properties("Redis", of)

    assert properties("DatabaseParameters")["Parameters"]["rds.force_ssl"] == "1"
    assert properties("DatabaseProxyEndpoint", of)["RequireTLS"] is True
    assert (redis["TransitEncryptionEnabled"], redis["TransitEncryptionMode"]) == (True, "required")


def test_the_data_and_the_key_to_it_outlive_the_stack():
    kept = {
        name: (resource["DeletionPolicy"], resource["UpdateReplacePolicy"])
        for name, resource in RESOURCES.items()
        if resource.get("DeletionPolicy", "Delete") != "Delete"
    }

    # A stack that could not even be made has no data, and leaves no key behind.
    assert kept == {"Database": ("Snapshot", "Snapshot"), "DataKey": ("RetainExceptOnCreate", "Retain")}
    assert properties("Database")["DeleteAutomatedBackups"] is False
    assert properties("Database")["CopyTagsToSnapshot"] is True


def test_a_stage_is_safe_unless_it_is_told_not_to_be():
    database, redis = properties("Database", stack()), properties("Redis", stack())

    assert database["MultiAZ"] == database["DeletionProtection"] == "true"
    assert database["BackupRetentionPeriod"] == 14
    assert (redis["NumCacheClusters"], redis["AutomaticFailoverEnabled"], redis["MultiAZEnabled"]) == (2, True, True)
    assert set(resources("AWS::EC2::NatGateway", stack())) == {"NatGatewayA", "NatGatewayB"}


def test_a_stage_may_be_cheap():
    cheap = {"DatabaseMultiZone": "false", "DatabaseDeletionProtection": "false", "RedisMultiZone": "false"}
    database, redis = properties("Database", stack(**cheap)), properties("Redis", stack(**cheap))

    assert database["MultiAZ"] == database["DeletionProtection"] == "false"
    assert (redis["NumCacheClusters"], redis["AutomaticFailoverEnabled"], redis["MultiAZEnabled"]) == (1, False, False)


@pytest.mark.parametrize(
    ("parameter", "default", "least", "most"),
    [
        ("DatabaseStorage", 20, 20, 65536),
        ("DatabaseStorageLimit", 200, 22, 65536),
        ("DatabaseBackupDays", 14, 7, 35),
        ("DatabaseSecretRotationDays", 30, 1, 90),
        ("RedisSecretRotationDays", 30, 1, 90),
    ],
)
def test_numbers_have_a_floor_and_a_ceiling(parameter, default, least, most):
    declared = PARAMETERS[parameter]

    assert (declared["Default"], declared["MinValue"], declared["MaxValue"]) == (default, least, most)


def test_logs_are_kept_for_a_year_at_least():
    assert (
        min(PARAMETERS["AuditLogRetentionDays"]["AllowedValues"])
        == PARAMETERS["AuditLogRetentionDays"]["Default"]
        == 365
    )
    for name, group in resources("AWS::Logs::LogGroup").items():
        assert group["Properties"]["RetentionInDays"] == {"Ref": "AuditLogRetentionDays"}, name


# Postgres and Redis as the engine wants them


def test_postgres_cuts_off_what_waits_or_idles():
    assert properties("DatabaseParameters")["Parameters"] == {
        "rds.force_ssl": "1",
        "statement_timeout": "30000",
        "lock_timeout": "5000",
        "idle_in_transaction_session_timeout": "60000",
        "idle_session_timeout": "3600000",
        "log_min_duration_statement": "1000",
        "log_lock_waits": "1",
        "log_statement": "none",
    }


@pytest.mark.parametrize("version", PARAMETERS["DatabaseVersion"]["AllowedValues"])
def test_postgres_takes_its_minor_versions_from_rds(version):
    of = stack(DatabaseVersion=version)
    database = properties("Database", of)

    assert (database["EngineVersion"], database["AutoMinorVersionUpgrade"]) == (version, True)
    assert properties("DatabaseParameters", of)["Family"] == {"Fn::Sub": "postgres${DatabaseVersion}"}


def test_postgres_is_watched():
    database = properties("Database")

    assert database["EnablePerformanceInsights"] is True
    assert database["PerformanceInsightsRetentionPeriod"] == 7
    assert database["MonitoringInterval"] == 60
    assert database["EnableCloudwatchLogsExports"] == ["postgresql", "upgrade"]
    # RDS makes log groups that are not there, without a key and for ever.
    identifier = database["DBInstanceIdentifier"]["Fn::Sub"]
    groups = {name: properties(name)["LogGroupName"]["Fn::Sub"] for name in RESOURCES["Database"]["DependsOn"]}
    assert set(groups.values()) == {
        f"/aws/rds/instance/{identifier}/{log}" for log in database["EnableCloudwatchLogsExports"]
    }


def test_only_processors_that_cost_less_are_taken():
    for parameter, yes, no in [
        (
            "DatabaseInstanceClass",
            ["db.t4g.medium", "db.r8g.large", "db.m6gd.2xlarge"],
            ["db.t3.medium", "db.r5.large"],
        ),
        ("RedisNodeType", ["cache.t4g.small", "cache.r7g.large", "cache.c7gn.large"], ["cache.t3.small", "t4g.small"]),
    ]:
        assert [matches(parameter, value) for value in yes + no] == [True] * len(yes) + [False] * len(no)


def matches(parameter, value):
    return re.fullmatch(PARAMETERS[parameter]["AllowedPattern"], value) is not None


def test_the_range_of_the_network_has_room_for_its_subnets():
    accepted = [size for size in range(8, 29) if matches("NetworkRange", f"10.40.0.0/{size}")]

    assert accepted == [16, 17, 18, 19, 20, 21, 22]
    assert not matches("NetworkRange", "8.8.0.0/16")


def test_the_name_of_a_stage_fits_into_every_name_it_is_part_of():
    longest = "a" * PARAMETERS["Stage"]["MaxLength"]

    assert matches("Stage", longest)
    assert not any(matches("Stage", name) for name in ("Prod", "-a", "a-", "a--b", "1a"))
    # https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html: at most 64; RDS: 63.
    for name, key, most in [
        ("RedisRotation", "FunctionName", 64),
        ("Database", "DBInstanceIdentifier", 63),
        ("DatabaseProxyEndpoint", "DBProxyName", 63),
    ]:
        assert len(properties(name)[key]["Fn::Sub"].replace("${Stage}", longest)) <= most
    hosted = properties("DatabaseSecretRotation")["HostedRotationLambda"]["RotationLambdaName"]["Fn::Sub"]
    assert len(hosted.replace("${Stage}", longest)) <= 64


def test_redis_lets_go_first_of_what_postgres_can_tell_again():
    assert properties("RedisParameters")["Properties"] == {"maxmemory-policy": "volatile-ttl"}


def test_redis_is_no_cluster_because_scripts_touch_several_keys():
    redis = properties("Redis")

    assert redis["ClusterMode"] == "disabled"
    assert not {"NumNodeGroups", "ReplicasPerNodeGroup", "NodeGroupConfiguration"} & redis.keys()


def test_redis_is_of_the_family_that_its_parameters_are_for():
    redis = properties("Redis")
    major = redis["EngineVersion"].split(".")[0]

    assert properties("RedisParameters")["CacheParameterGroupFamily"] == f"{redis['Engine']}{major}"
    assert redis["SnapshotRetentionLimit"] == 0


# The secrets


def test_postgres_is_opened_by_its_secret_alone():
    database, generated = properties("Database"), properties("DatabaseSecret")["GenerateSecretString"]

    assert database["MasterUserPassword"] == {
        "Fn::Sub": "{{resolve:secretsmanager:${DatabaseSecret}:SecretString:password}}"
    }
    assert generated["SecretStringTemplate"] == (
        f'{{"username": "{database["MasterUsername"]}", "dbname": "{database["DBName"]}"}}'
    )
    assert (generated["GenerateStringKey"], generated["PasswordLength"]) == ("password", 48)
    assert generated["ExcludePunctuation"] is True


def test_redis_is_opened_by_its_secret_alone():
    generated = properties("RedisSecret")["GenerateSecretString"]

    assert properties("Redis")["AuthToken"] == {
        "Fn::Sub": "{{resolve:secretsmanager:${RedisSecret}:SecretString:authToken}}"
    }
    assert (generated["GenerateStringKey"], generated["PasswordLength"]) == ("authToken", 64)
    assert generated["ExcludePunctuation"] is True


@pytest.mark.parametrize("part", ["Database", "Redis"])
def test_both_secrets_are_rotated_on_a_schedule_and_not_by_updates(part):
    rotation = properties(f"{part}SecretRotation")

    assert rotation["RotationRules"]["AutomaticallyAfterDays"] == {"Ref": f"{part}SecretRotationDays"}
    assert rotation["RotateImmediatelyOnUpdate"] is False


@pytest.mark.parametrize("part", ["Database", "Redis"])
def test_a_rotation_is_not_tried_before_it_has_its_way(part):
    ways = {f"{part}FromRotation", *(f"PrivateRouteOut{zone}" for zone in "AB")}

    assert ways <= set(RESOURCES[f"{part}SecretRotation"]["DependsOn"])


def test_the_password_is_rotated_by_secrets_managers_own_function():
    rotation = properties("DatabaseSecretRotation")
    hosted = rotation["HostedRotationLambda"]

    assert TEMPLATE["Transform"] == "AWS::SecretsManager-2024-09-16"
    # The attachment's reference is the secret's, with the database's address in it.
    assert rotation["SecretId"] == {"Ref": "DatabaseSecretAttachment"}
    assert hosted["RotationType"] == "PostgreSQLSingleUser"
    assert hosted["VpcSecurityGroupIds"] == {"Ref": "DatabaseRotationSecurityGroup"}
    assert not any(character.isalnum() for character in hosted["ExcludeCharacters"])
    assert len(set(hosted["ExcludeCharacters"])) == 32


def test_the_proxy_reads_that_one_secret():
    read, decrypt = statements("DatabaseProxyRole")

    assert (read["Action"], read["Resource"]) == ("secretsmanager:GetSecretValue", {"Ref": "DatabaseSecret"})
    assert (decrypt["Action"], decrypt["Resource"]) == ("kms:Decrypt", {"Fn::GetAtt": ["DataKey", "Arn"]})
    assert decrypt["Condition"]["StringEquals"].keys() == {"kms:ViaService"}


def test_no_role_may_use_what_it_does_not_name():
    """Looking at subnets and interfaces cannot be allowed by name."""
    everything = [
        (role, action)
        for role in resources("AWS::IAM::Role")
        if "Policies" in properties(role)
        for statement in statements(role)
        if "*" in as_list(statement["Resource"])
        for action in as_list(statement["Action"])
    ]

    assert everything == [
        ("RedisRotationRole", "ec2:DescribeNetworkInterfaces"),
        ("RedisRotationRole", "ec2:DescribeSubnets"),
    ]
    for role in resources("AWS::IAM::Role"):
        for statement in statements(role) if "Policies" in properties(role) else []:
            assert not any("*" in action for action in as_list(statement["Action"])), role


def test_only_secrets_manager_of_this_account_calls_the_rotation_of_the_token():
    permission = properties("RedisRotationPermission")

    assert permission["Principal"] == "secretsmanager.amazonaws.com"
    assert permission["SourceAccount"] == {"Ref": "AWS::AccountId"}


def test_every_parameter_is_in_a_group():
    interface = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [parameter for group in interface["ParameterGroups"] for parameter in group["Parameters"]]

    assert sorted(grouped) == sorted(PARAMETERS)


def test_every_finding_that_is_let_pass_says_why():
    skipped = [
        skip
        for resource in RESOURCES.values()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]

    assert sorted(skip["id"] for skip in skipped) == ["CKV_AWS_116", "CKV_AWS_161", "CKV_AWS_173"]
    assert all(len(skip["comment"].split()) > 5 for skip in skipped)

"""Deploying to the emulated AWS with CloudFormation: from nothing, over a running engine, in vain, and away again."""

import hashlib
import itertools
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from chalicelib.store.schema import MIGRATIONS
from infra.cloud import Target
from infra.deploy import remove
from infra.local.processes import StackError
from infra.local.stack import STAGE, Stack
from infra.packaging import Package
from tests.e2e.client import MARKET_ORDER, Client, at_once

pytestmark = [
    pytest.mark.timeout(400),  # every function starts anew, again and again
    pytest.mark.laptop("it updates, breaks and removes a stack of its own"),
]

NEW_VERSION = {"chalicelib/new_version.py": b'"""Nothing: that it is there makes the code another one."""\n'}
IMPOSSIBLE_MIGRATION = {"chalicelib/store/migrations/9999.impossible.sql": b"SELECT nonsense;\n"}
EXTRA_COLUMN = {
    "chalicelib/store/migrations/9998.extra.sql": b"ALTER TABLE orders ADD COLUMN extra text;\n",
}
NOT_IMPORTABLE = {"app.py": b'raise RuntimeError("this version is broken")\n'}


@pytest.fixture(scope="module")
def own_stack(make_data_dir: Callable[[], Path], settings: dict[str, str]) -> Iterator[Stack]:
    """A stack of this module's own: it is updated, broken and removed."""
    with Stack(port=0, data_dir=make_data_dir(), environment=settings) as running:
        yield running


@pytest.fixture(scope="module")
def package(own_stack: Stack) -> Package:
    return own_stack.build()


@pytest.fixture
def own_client(own_stack: Stack) -> Client:
    return Client(own_stack.url, own_stack.websocket_url)


@pytest.fixture
def target(own_stack: Stack) -> Target:
    return Target(stage=STAGE, endpoint_url=own_stack.aws_endpoint_url, environment={})


def with_files(package: Package, files: Mapping[str, bytes], folder: Path) -> Package:
    """Return a version of the package with these files in it, or in place of what it has."""
    changed = folder / "deployment.zip"
    with zipfile.ZipFile(package.archive) as old, zipfile.ZipFile(changed, "w") as new:
        for entry in old.infolist():
            stale = any(entry.filename.startswith(f"__pycache__/{Path(name).stem}.") for name in files)
            if entry.filename not in files and not stale:
                new.writestr(entry, old.read(entry))
        for name, content in files.items():
            new.writestr(name, content)
    return replace(package, archive=changed, archive_digest=hashlib.sha256(changed.read_bytes()).hexdigest())


def with_impatience(package: Package, seconds: int) -> Package:
    """Return the package with CloudFormation waiting only so long for the migrations."""
    resources = package.template["Resources"]
    migrations = resources["Migrations"]
    impatient = {**migrations, "Properties": {**migrations["Properties"], "ServiceTimeout": seconds}}
    return replace(package, template={**package.template, "Resources": {**resources, "Migrations": impatient}})


def test_from_nothing_every_resource_is_made_and_the_database_is_migrated(target: Target, own_stack: Stack) -> None:
    cloudformation = target.client("cloudformation")

    (stack,) = cloudformation.describe_stacks(StackName=target.stack)["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=target.stack)
    states = {
        resource["LogicalResourceId"]: resource["ResourceStatus"]
        for page in pages
        for resource in page["StackResourceSummaries"]
    }
    assert set(states.values()) == {"CREATE_COMPLETE"}
    assert {"ExecuteOrder", "OrdersQueue", "Migrations", "AlarmTopic", "ExecuteOrderErrors", "Dashboard"} <= set(states)
    with psycopg.connect(own_stack.database_url) as database:
        applied = database.execute("SELECT count(*) FROM _yoyo_migration").fetchone()
    assert applied == (len(list(MIGRATIONS.glob("*.sql"))),)


def test_all_functions_log_into_the_stacks_own_group(target: Target, own_client: Client) -> None:
    own_client.execute()

    groups = {group["logGroupName"] for group in target.client("logs").describe_log_groups()["logGroups"]}
    assert groups == {f"/{target.stack}", f"/{target.stack}/access"}


@contextmanager
def orders_coming_in(client: Client) -> Iterator[list[str]]:
    """Have clients place one order after the other; gives the ids of those accepted so far.

    The emulator kills the functions that it updates, also amid a request. A client that got no answer asks again with
    the same key, and may not end up with two orders.
    """
    accepted: list[str] = []
    over = threading.Event()

    def place_orders(name: str) -> None:
        for number in itertools.count():
            while (order_id := place(client, f"{name}-{number}")) is None:
                over.wait(0.2)
            accepted.append(order_id)
            if over.wait(0.3):
                return

    client = replace(client, expects_crashes=True)
    run = uuid4().hex
    clients = [threading.Thread(target=place_orders, args=[f"{run}-{name}"]) for name in range(3)]
    for one in clients:
        one.start()
    try:
        yield accepted
    finally:
        over.set()
        for one in clients:
            one.join()


def place(client: Client, key: str) -> str | None:
    """Place an order under a key and return its id; None if there was no answer, or a bad gateway's."""
    try:
        answer = client.post("/api/orders/execute", MARKET_ORDER, {"Idempotency-Key": key})
    except OSError:
        return None
    assert answer.status in (200, 502, 503, 504), answer
    return answer.body["orderId"] if answer.status == 200 else None


def wait_for_more(accepted: list[str]) -> None:
    """Wait until some more orders are in."""
    enough = len(accepted) + 6
    for _ in range(1200):
        if len(accepted) >= enough:
            return
        threading.Event().wait(0.1)
    raise AssertionError(f"only {len(accepted)} orders were accepted")


def assert_all_confirmed_once(stack: Stack, client: Client, accepted: list[str]) -> None:
    ends = at_once(lambda order_id: client.watch(order_id)[-1]["status"], accepted)
    assert set(ends) == {"confirmed"}
    with psycopg.connect(stack.database_url) as database:
        landed = database.execute(
            "SELECT order_id::text FROM swaps WHERE state = 'landed' AND order_id = ANY(%s::uuid[])", [accepted]
        ).fetchall()
    assert sorted(order_id for (order_id,) in landed) == sorted(accepted)
    assert len(set(accepted)) == len(accepted)


def test_an_update_loses_no_order_that_is_in_flight_and_swaps_none_twice(
    own_stack: Stack, own_client: Client, target: Target, package: Package, tmp_path: Path
) -> None:
    before = code_of(target)
    with orders_coming_in(own_client) as accepted:
        wait_for_more(accepted)
        own_stack.deploy(with_files(package, NEW_VERSION, tmp_path))
        wait_for_more(accepted)

    assert_all_confirmed_once(own_stack, own_client, accepted)
    assert code_of(target) != before


def code_of(target: Target) -> str:
    """Return what identifies the code that executes orders."""
    functions = target.client("lambda").list_functions()["Functions"]
    (digest,) = [function["CodeSha256"] for function in functions if "ExecuteOrder" in function["FunctionName"]]
    return str(digest)


@pytest.mark.parametrize(
    ("files", "reason"),
    [(IMPOSSIBLE_MIGRATION, "nonsense"), (NOT_IMPORTABLE, "Migrations")],
    ids=["a migration that fails", "code that cannot be imported"],
)
def test_a_broken_version_is_rolled_back_and_never_serves(
    own_stack: Stack,
    own_client: Client,
    target: Target,
    package: Package,
    tmp_path: Path,
    files: dict[str, bytes],
    reason: str,
) -> None:
    before = code_of(target)
    broken = with_impatience(with_files(package, {**EXTRA_COLUMN, **files}, tmp_path), seconds=10)

    with orders_coming_in(own_client) as accepted:
        wait_for_more(accepted)
        with pytest.raises(StackError, match=reason):
            own_stack.deploy(broken)
        wait_for_more(accepted)

    (stack,) = target.client("cloudformation").describe_stacks(StackName=target.stack)["Stacks"]
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert code_of(target) == before
    assert_all_confirmed_once(own_stack, own_client, accepted)


def test_after_a_rollback_the_old_version_works_with_the_new_schema(own_stack: Stack, own_client: Client) -> None:
    with psycopg.connect(own_stack.database_url) as database:
        extra = database.execute("SELECT FROM information_schema.columns WHERE column_name = 'extra'").fetchall()

    assert len(extra) == 1
    assert own_client.execute()[-1]["status"] == "confirmed"


def test_removing_leaves_nothing(target: Target) -> None:
    # Secrets and policies that several roles share are made on AWS only.
    assert what_is_there(target).keys() == LISTED.keys() - {"secretsmanager"} | {"event sources", "keys"}

    began = time.time() * 1000
    remove(target)

    left = what_is_there(target)
    # A function that was running ends later, and the emulator makes a group for its lines; on AWS none of them may.
    groups = [group for group in left.pop("logs", []) if group["creationTime"] < began]
    assert (left, groups) == ({}, [])


LISTED: Mapping[str, tuple[str, str]] = {
    "lambda": ("list_functions", "Functions"),
    "sqs": ("list_queues", "QueueUrls"),
    "apigateway": ("get_rest_apis", "items"),
    "apigatewayv2": ("get_apis", "Items"),
    "logs": ("describe_log_groups", "logGroups"),
    "cloudwatch": ("describe_alarms", "MetricAlarms"),
    "sns": ("list_topics", "Topics"),
    "events": ("list_rules", "Rules"),
    "iam": ("list_roles", "Roles"),
    "s3": ("list_buckets", "Buckets"),
    "secretsmanager": ("list_secrets", "SecretList"),
}


def what_is_there(target: Target) -> dict[str, Any]:
    """Return everything that a deployment makes, service by service."""
    found = {service: getattr(target.client(service), call)().get(key) for service, (call, key) in LISTED.items()}
    found["event sources"] = target.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    found["policies"] = target.client("iam").list_policies(Scope="Local")["Policies"]
    keys = target.client("kms")
    found["keys"] = [
        key
        for key in (keys.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in keys.list_keys()["Keys"])
        # A key is only ever scheduled to be deleted, a week later.
        if key["KeyManager"] == "CUSTOMER" and key["KeyState"] != "PendingDeletion"
    ]
    return json.loads(json.dumps({name: things for name, things in found.items() if things}, default=str))  # type: ignore[no-any-return]

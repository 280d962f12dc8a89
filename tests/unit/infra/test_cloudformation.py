"""What CloudFormation says, and what a deployment concludes from it."""

from datetime import timedelta

import pytest

from infra.cloudformation import (
    Change,
    Outcome,
    Preparation,
    change_for,
    events_since,
    failures,
    outcome_of,
    preparation_of,
    progress,
    read_event,
    removal_of,
)
from tests.builders import NOON


def event(status="CREATE_COMPLETE", *, seconds=0, **more):
    return read_event(
        {
            "EventId": f"{status}-{seconds}",
            "Timestamp": NOON + timedelta(seconds=seconds),
            "LogicalResourceId": "OrdersQueue",
            "ResourceType": "AWS::SQS::Queue",
            "ResourceStatus": status,
            **more,
        }
    )


@pytest.mark.parametrize("status", [None, "REVIEW_IN_PROGRESS", "DELETE_COMPLETE"])
def test_a_stack_that_is_not_there_yet_is_created(status):
    assert change_for(status) is Change.CREATE


@pytest.mark.parametrize(
    "status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_IN_PROGRESS"]
)
def test_a_stack_that_is_there_is_updated(status):
    assert change_for(status) is Change.UPDATE


def test_what_a_failed_first_deployment_left_is_replaced():
    assert change_for("ROLLBACK_COMPLETE") is Change.REPLACE


@pytest.mark.parametrize("status", ["CREATE_PENDING", "CREATE_IN_PROGRESS", "DELETE_PENDING"])
def test_a_change_set_is_waited_for(status):
    assert preparation_of(status, "") is Preparation.UNDERWAY


def test_a_change_set_that_is_complete_is_ready():
    assert preparation_of("CREATE_COMPLETE", "") is Preparation.READY


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information to create a change set.",
        "No updates are to be performed.",
    ],
)
def test_a_change_set_that_failed_because_nothing_changes_is_empty(reason):
    assert preparation_of("FAILED", reason) is Preparation.EMPTY


@pytest.mark.parametrize("reason", ["", "Template error: unresolved dependency OrderQueue"])
def test_a_change_set_that_failed_for_another_reason_is_refused(reason):
    assert preparation_of("FAILED", reason) is Preparation.REFUSED


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *[(status, Outcome.DONE) for status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")],
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", Outcome.DONE),
        *[(status, Outcome.FAILED) for status in (None, "CREATE_FAILED", "UPDATE_FAILED", "ROLLBACK_FAILED")],
        *[(status, Outcome.FAILED) for status in ("ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")],
        *[(status, Outcome.UNDERWAY) for status in ("REVIEW_IN_PROGRESS", "CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS")],
        *[(status, Outcome.UNDERWAY) for status in ("ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS")],
        ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", Outcome.UNDERWAY),
    ],
)
def test_a_deployment_ends_when_the_stack_is_well_or_back_where_it_was(status, outcome):
    assert outcome_of(status) is outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (None, Outcome.DONE),
        ("DELETE_COMPLETE", Outcome.DONE),
        ("DELETE_FAILED", Outcome.FAILED),
        ("ROLLBACK_COMPLETE", Outcome.UNDERWAY),
        ("DELETE_IN_PROGRESS", Outcome.UNDERWAY),
    ],
)
def test_a_removal_ends_when_the_stack_is_gone_or_cannot_go(status, outcome):
    assert removal_of(status) is outcome


def test_of_an_event_only_its_id_and_time_are_needed():
    read = read_event({"EventId": "1", "Timestamp": NOON})

    assert (read.event_id, read.at, read.status) == ("1", NOON, "")
    assert progress([read]) == []


def test_a_deployments_events_are_told_in_their_order_and_those_of_earlier_ones_are_not_asked_for():
    def newest_first():
        yield event("CREATE_COMPLETE", seconds=8)
        yield event("CREATE_IN_PROGRESS", seconds=2)
        yield event("REVIEW_IN_PROGRESS", seconds=-5)  # the cloud's clock is a little behind
        yield event("DELETE_COMPLETE", seconds=-6)
        pytest.fail("a page of an earlier deployment was asked for")

    statuses = [seen.status for seen in events_since(NOON, newest_first())]

    assert statuses == ["REVIEW_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"]


def test_progress_is_a_resource_that_is_finished_or_has_failed():
    seen = [event("CREATE_IN_PROGRESS"), event("CREATE_COMPLETE"), event("UPDATE_FAILED")]

    assert progress(seen) == ["create complete: OrdersQueue", "update failed: OrdersQueue"]


def test_every_failure_is_told_with_its_resource_and_reason():
    seen = [
        event("CREATE_COMPLETE"),
        event("CREATE_FAILED", ResourceStatusReason="a queue of this name was deleted 60 seconds ago"),
        event("UPDATE_FAILED"),
    ]

    assert failures(seen) == [
        "OrdersQueue (AWS::SQS::Queue): a queue of this name was deleted 60 seconds ago",
        "OrdersQueue (AWS::SQS::Queue): no reason",
    ]


def test_a_failure_without_a_failed_resource_says_so():
    assert failures([event("CREATE_COMPLETE")]) == ["CloudFormation names no resource."]

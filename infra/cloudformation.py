"""What CloudFormation's words mean for a deployment: what it says goes in, what to make of it comes out.

It answers with statuses, reasons and events; all that is concluded from them is concluded here, without calling it.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html lists the statuses.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import takewhile
from typing import Any

NOTHING_TO_CHANGE = ("didn't contain changes", "No updates are to be performed")
CLOCK_DIFFERENCE = timedelta(seconds=5)
"""How far CloudFormation's clock may be behind ours: events so old still count as this deployment's."""


STUCK = {
    "ROLLBACK_FAILED": "its first deployment failed, and what that made could not all be removed again",
    "UPDATE_ROLLBACK_FAILED": "a deployment failed, and what it changed could not all be changed back",
    "DELETE_FAILED": "not all of it could be removed",
}
"""Statuses from which only a person can go on."""


class Change(Enum):
    """What a deployment does to the stack."""

    CREATE = auto()
    UPDATE = auto()
    REPLACE = auto()
    """Remove what a first deployment that failed has left, which cannot be updated, then create."""

    @property
    def change_set_type(self) -> str:
        """Its name at CloudFormation, which knows of no replacing."""
        return "UPDATE" if self is Change.UPDATE else "CREATE"


def change_for(status: str | None) -> Change:
    """Decide what to do to a stack of this status; None: there is no stack."""
    if status == "ROLLBACK_COMPLETE":
        return Change.REPLACE
    return Change.CREATE if status in (None, "REVIEW_IN_PROGRESS", "DELETE_COMPLETE") else Change.UPDATE


class Preparation(Enum):
    """How far CloudFormation is with a change set."""

    UNDERWAY = auto()
    READY = auto()
    EMPTY = auto()
    """The stack is already as it should be."""
    REFUSED = auto()


def preparation_of(status: str, reason: str) -> Preparation:
    """Say what a change set's status means; for an empty one CloudFormation says that it failed, and why."""
    if status == "CREATE_COMPLETE":
        return Preparation.READY
    if status != "FAILED":
        return Preparation.UNDERWAY
    return Preparation.EMPTY if any(phrase in reason for phrase in NOTHING_TO_CHANGE) else Preparation.REFUSED


class Outcome(Enum):
    """How far CloudFormation is with a stack."""

    UNDERWAY = auto()
    DONE = auto()
    FAILED = auto()


def outcome_of(status: str | None) -> Outcome:
    """Say what a stack's status means while it is created or updated; None: there is no stack."""
    if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"):
        return Outcome.DONE
    if status is None or status.endswith(("_FAILED", "ROLLBACK_COMPLETE")):
        return Outcome.FAILED
    return Outcome.UNDERWAY


def removal_of(status: str | None) -> Outcome:
    """Say what a stack's status means while it is removed; None: there is no stack."""
    if status in (None, "DELETE_COMPLETE"):
        return Outcome.DONE
    return Outcome.FAILED if status == "DELETE_FAILED" else Outcome.UNDERWAY


@dataclass(frozen=True, kw_only=True)
class StackEvent:
    """What happened to one of a stack's resources."""

    event_id: str
    at: datetime
    resource: str
    kind: str
    """The resource's type, such as ``AWS::SQS::Queue``."""
    status: str
    reason: str


def read_event(event: Mapping[str, Any]) -> StackEvent:
    """Read an event as ``DescribeStackEvents`` gives it, where only its id and time are always there."""
    return StackEvent(
        event_id=event["EventId"],
        at=event["Timestamp"],
        resource=event.get("LogicalResourceId", "?"),
        kind=event.get("ResourceType", "?"),
        status=event.get("ResourceStatus", ""),
        reason=event.get("ResourceStatusReason", "no reason"),
    )


def events_since(started: datetime, newest_first: Iterable[StackEvent]) -> list[StackEvent]:
    """Return a deployment's events, oldest first; of earlier ones only the first is asked for."""
    return list(takewhile(lambda event: event.at >= started - CLOCK_DIFFERENCE, newest_first))[::-1]


def progress(events: Iterable[StackEvent]) -> list[str]:
    """Return a line for each resource that is finished, or has failed."""
    return [
        f"{event.status.lower().replace('_', ' ')}: {event.resource}"
        for event in events
        if event.status.endswith(("_COMPLETE", "_FAILED"))
    ]


def failures(events: Iterable[StackEvent]) -> list[str]:
    """Return a line for each resource that has failed; the first is most often the cause of the others."""
    failed = [event for event in events if event.status.endswith("_FAILED")]
    return [f"{event.resource} ({event.kind}): {event.reason}" for event in failed] or [
        "CloudFormation names no resource."
    ]

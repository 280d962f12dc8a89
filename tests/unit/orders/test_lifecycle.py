"""Which status may follow which: the whole table, written out once more by hand."""

import itertools

import pytest

from chalicelib.orders.lifecycle import CLAIMABLE, TERMINAL, TRANSITIONS, is_terminal, statuses_before
from chalicelib.orders.order import Status

ALLOWED = {
    ("pending", "pending"),  # a try that failed before it was routed; an order that begins or ends to wait
    ("pending", "routing"),
    ("pending", "failed"),
    ("pending", "cancelled"),
    ("pending", "expired"),
    ("routing", "routing"),  # a worker that took over and quotes anew
    ("routing", "building"),
    ("routing", "pending"),
    ("routing", "failed"),
    ("routing", "cancelled"),
    ("routing", "expired"),
    ("building", "submitted"),
    ("building", "pending"),
    ("building", "failed"),
    ("building", "cancelled"),  # signed, but not sent before submitted
    ("building", "expired"),
    ("submitted", "confirmed"),
    ("submitted", "pending"),
    ("submitted", "failed"),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Status, Status)))
def test_an_order_moves_only_as_the_lifecycle_says(before, after):
    allowed = (before.value, after.value) in ALLOWED

    assert (after in TRANSITIONS[before]) == allowed
    assert (before in statuses_before(after)) == allowed


@pytest.mark.parametrize("status", Status)
def test_the_ends_are_confirmed_failed_cancelled_and_expired(status):
    assert is_terminal(status) == (status in {"confirmed", "failed", "cancelled", "expired"})


def test_every_status_leads_to_an_end():
    ending = set(TERMINAL)
    while onward := {status for status in set(Status) - ending if TRANSITIONS[status] & ending}:
        ending |= onward

    assert ending == set(Status)


def test_an_order_that_was_submitted_belongs_to_no_worker():
    assert set(CLAIMABLE) == {Status.PENDING, Status.ROUTING, Status.BUILDING}

"""The guard against getting slower: it fails on a ratio that is 30 % worse, and on nothing else."""

import json

import pytest
from rich.console import Console

from bench.quick import RECORDED, Ratio, compare, slots_saved


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=200)


@pytest.mark.parametrize(
    ("now", "smaller_is_better", "well"),
    [(12.9, True, True), (13.1, True, False), (5.0, True, True), (7.8, False, True), (7.6, False, False)],
)
def test_only_what_became_much_worse_is_an_error(console: Console, now: float, smaller_is_better: bool, well: bool):
    assert compare(console, {"ratio": Ratio(now, smaller_is_better)}, {"ratio": 10.0}) is well


def test_what_is_not_recorded_yet_is_no_error(console: Console):
    assert compare(console, {"ratio": Ratio(1.0)}, {})
    assert "--record" in console.export_text()


def test_what_was_nothing_and_is_something_has_become_worse(console: Console):
    assert not compare(console, {"ratio": Ratio(1.0)}, {"ratio": 0.0})
    assert compare(console, {"ratio": Ratio(0.0)}, {"ratio": 0.0})


def test_a_slot_that_sleeps_through_the_swap_carries_a_fraction_of_the_orders():
    assert slots_saved(0.325) == pytest.approx(9.0)


def test_what_is_recorded_can_be_compared_with():
    assert all(value > 0 for value in json.loads(RECORDED.read_text()).values())

"""What is counted keeps up with what can happen."""

import tomllib
from pathlib import Path

from chalicelib import VERSION
from chalicelib.counters import EVENTS
from chalicelib.orders.events import Details

PROJECT = Path(__file__).parents[2]


def test_every_event_that_an_order_may_have_is_counted():
    assert sorted(EVENTS) == sorted({details.event for details in Details.__subclasses__()})


def test_the_version_is_the_projects():
    assert tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"] == VERSION

"""What is counted keeps up with what can happen."""

import re
import tomllib
from pathlib import Path

from chalicelib import VERSION
from chalicelib.counters import EVENTS

PROJECT = Path(__file__).parents[2]


def test_every_event_that_an_order_may_have_is_counted():
    told = re.findall(r'EventDraft\(\s*"(\w+)"', (PROJECT / "chalicelib" / "orders" / "events.py").read_text())

    assert sorted(EVENTS) == sorted(set(told))


def test_the_version_is_the_projects():
    assert tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"] == VERSION

"""The threat model speaks of what there is."""

import re
from pathlib import Path

import pytest

import app

PROJECT = Path(__file__).parents[2]
TEXT = (PROJECT / "docs" / "security.md").read_text()
ENTRIES = TEXT.partition("# Entries")[2].partition("# Attacks")[0]
NAMED_TESTS = sorted(set(re.findall(r"`((?:unit|integration|e2e|chaos)/[\w/]*(?:\.py)?)`", TEXT)))
SERVED = sorted({pattern.replace("{order_id}", "{id}") for pattern in app.app.routes} - {"/{proxy+}"})


@pytest.mark.parametrize("path", NAMED_TESTS)
def test_every_test_that_it_relies_on_is_there(path):
    assert (PROJECT / "tests" / path).exists()


@pytest.mark.parametrize("path", SERVED)
def test_every_route_is_an_entry(path):
    assert re.search(rf"[` ]{re.escape(path)}`", ENTRIES)


@pytest.mark.parametrize("function", sorted(function.name for function in app.app.pure_lambda_functions))
def test_every_function_that_operators_call_is_an_entry(function):
    assert f"`{function}`" in ENTRIES

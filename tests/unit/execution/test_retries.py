"""The waits between tries."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.execution.retries import next_try


@pytest.mark.parametrize("max_retries", [1, 2, 3, 5, 10])
def test_there_are_as_many_tries_as_allowed_and_no_more(max_retries):
    waits = [next_try(attempt, max_retries, 250) for attempt in range(1, max_retries + 2)]

    assert waits[: max_retries - 1] == [timedelta(milliseconds=250 * 2**number) for number in range(max_retries - 1)]
    assert waits[max_retries - 1 :] == [None, None]


@given(max_retries=st.integers(1, 10), base_ms=st.integers(0, 60_000))
def test_every_order_is_tried_a_limited_number_of_times_with_waits_that_double(max_retries, base_ms):
    waits = list(itertools.takewhile(lambda wait: wait is not None, _waits(max_retries, base_ms)))

    assert len(waits) == max_retries - 1
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(waits))
    assert sum(waits, timedelta()) == timedelta(milliseconds=base_ms) * (2 ** (max_retries - 1) - 1)


def _waits(max_retries, base_ms):
    """Return what follows each failed try, for ever."""
    return (next_try(attempt, max_retries, base_ms) for attempt in itertools.count(1))

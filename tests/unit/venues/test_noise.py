"""Numbers that move smoothly with time."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.venues.simulated.noise import smooth, wander
from tests.builders import NOON

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
PERIODS = (240.0, 60.0, 15.0)


def after(seconds):
    return NOON + timedelta(seconds=seconds)


@given(MOMENTS, st.text(), st.text())
def test_a_smooth_number_is_between_0_and_1(at, seed, purpose):
    assert 0 <= smooth(seed, at, 10, purpose) <= 1


@given(MOMENTS, st.text())
def test_a_smooth_number_moves_by_little_in_a_second(at, purpose):
    assert abs(smooth("", at + timedelta(seconds=1), 10, purpose) - smooth("", at, 10, purpose)) <= 0.15 + 1e-9


@given(MOMENTS, st.text())
def test_a_smooth_number_does_not_jump_from_one_slice_to_the_next(at, purpose):
    boundary = datetime.fromtimestamp(at.timestamp() // 10 * 10, UTC)
    moment = timedelta(microseconds=1)

    before, behind = (smooth("", boundary + shift, 10, purpose) for shift in (-moment, moment))

    assert abs(behind - before) < 1e-6


def test_in_time_a_smooth_number_comes_close_to_both_ends():
    numbers = [smooth("", after(second), 10, "price") for second in range(0, 3000, 10)]

    assert min(numbers) < 0.05
    assert max(numbers) > 0.95


def test_another_seed_or_purpose_moves_differently():
    assert len({smooth(seed, NOON, 10, purpose) for seed in ("", "s") for purpose in ("a", "b")}) == 4


def test_another_process_sees_the_same_number():
    program = (
        "from chalicelib.venues.simulated.noise import smooth; from tests.builders import NOON;"
        "print(repr(smooth('', NOON, 10, 'raydium', 'SOL/USDC')))"
    )
    # Text has another hash in each process, unless it is told which: a number must not depend on that.
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    seen = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True)

    assert seen.stdout.strip() == repr(smooth("", NOON, 10, "raydium", "SOL/USDC"))


@given(MOMENTS, st.text())
def test_wandering_stays_within_its_bounds_and_moves_by_little(at, purpose):
    here, next_second = (wander("", at + timedelta(seconds=second), PERIODS, purpose) for second in (0, 1))

    assert -1 <= here <= 1
    # Each octave moves by at most 2 · 1.5 / period, weighted 4 : 2 : 1.
    assert abs(next_second - here) <= 3 / 7 * (4 / 240 + 2 / 60 + 1 / 15) + 1e-9


def test_wandering_goes_far_both_ways_in_time():
    numbers = [wander("", after(second), PERIODS, "walk") for second in range(0, 20_000, 7)]

    assert min(numbers) < -0.7
    assert max(numbers) > 0.7

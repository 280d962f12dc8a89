"""The benchmark of slots: what it makes of a run's times."""

import pytest
from rich.console import Console

from bench.slots import EMULATOR, LAMBDA, MACHINE, Run, Sample, SlotFigures, middle, per_minute, report, show_slots
from bench.throughput import Call


def run_of(slots: int, seconds: float, orders: int, empty: float = 0.0) -> Run:
    """A run of slots that each take an order every ``seconds + empty``, evenly spread, which lands 2.5 s later."""
    ended = [1000 + seconds + number * (seconds + empty) / slots for number in range(orders)]
    at_work = {MACHINE: 1.0, EMULATOR: 0.25, LAMBDA: 0.5}
    return Run(
        slots=slots,
        calls=[Call(ended=at, seconds=seconds) for at in ended],
        confirmed_at=[at + 2.5 for at in ended],
        samples=[
            Sample(at=1000 + second, seconds={part: share * second for part, share in at_work.items()})
            for second in range(0, 200, 2)
        ],
        cores=2,
    )


def test_the_middle_of_a_run_leaves_out_its_first_and_its_last_fifth():
    assert middle([5, 1, 2, 4, 3, 6, 7, 8, 10, 9]) == (3, 8)


def test_a_slow_beginning_and_a_slow_end_do_not_count():
    steady = [100 + second for second in range(6)]

    assert per_minute([1, 2, *steady, 400, 500]) == pytest.approx(60)


def test_workers_that_end_in_rounds_count_as_if_they_did_not():
    in_rounds = [3.0 * number + 0.001 * worker for number in range(30) for worker in range(10)]

    assert per_minute(in_rounds) == pytest.approx(200, rel=0.01)


def test_slots_that_are_never_empty_reach_their_limit():
    run = run_of(slots=10, seconds=0.4, orders=300)

    assert run.slot_limit == pytest.approx(1500)
    assert run.share == pytest.approx(1)
    assert run.empty_seconds == pytest.approx(0, abs=1e-9)


def test_a_slot_that_is_empty_between_orders_misses_its_limit_by_as_much():
    run = run_of(slots=10, seconds=0.4, orders=300, empty=0.1)

    assert run.share == pytest.approx(0.8)
    assert run.empty_seconds == pytest.approx(0.1)


def test_the_ratio_is_of_orders_confirmed_in_as_many_slots():
    engine, inline = run_of(slots=10, seconds=0.4, orders=300), run_of(slots=10, seconds=3.0, orders=300)

    figures = SlotFigures(orders=300, engine=engine, inline=inline, growth=[engine])

    assert figures.ratio == pytest.approx(7.5)


def test_processors_count_while_the_slots_are_in_the_middle_of_the_run():
    run = run_of(slots=10, seconds=0.4, orders=300)

    assert run.cores_busy == pytest.approx({MACHINE: 1.0, EMULATOR: 0.25, LAMBDA: 0.5})
    assert run.busy == pytest.approx(0.5)


@pytest.mark.parametrize(("empty", "sign"), [(0.0, "✓"), (0.2, "✗")])
def test_goals_are_reported_as_met_or_not(empty: float, sign: str):
    engine, inline = run_of(10, 0.4, 300, empty), run_of(10, 3.0, 300)
    figures = SlotFigures(orders=300, engine=engine, inline=inline, growth=[engine])

    section = report(figures)

    assert f"≥ 90% {sign}" in section.text
    assert f"≥ 7 × {sign}" in section.text


def test_growth_is_shown_by_the_number_of_slots():
    runs = [run_of(slots=slots, seconds=0.4, orders=60) for slots in (1, 2, 10)]
    figures = SlotFigures(orders=60, engine=runs[-1], inline=run_of(10, 3.0, 60), growth=runs)

    console = Console(record=True, width=200)
    show_slots(console, figures)

    rows = [row.replace(" ", "") for row in console.export_text().splitlines()]
    for slots, confirmed in ((1, "150"), (2, "300"), (10, "1,500")):
        assert any(row.startswith(f"│{slots}│{confirmed}│150│") for row in rows)

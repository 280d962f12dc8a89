"""The benchmark of watchers: what it makes of what came over the sockets."""

import json

import pytest
from rich.console import Console

from bench.watchers import Crowd, Heard, SlotTimes, WatcherFigures, report, show_watchers

COMMITTED = 1_795_000_000.0
TIMESTAMP = "2026-11-18T11:06:40Z"


def message(order_id: str, event: str, seq: int) -> str:
    return json.dumps({"orderId": order_id, "event": event, "seq": seq, "timestamp": TIMESTAMP})


def heard_by(sockets: int, *, without: int | None = None) -> Heard:
    """Two events of one order, which each socket hears a tenth of a second after the one before it."""
    heard = Heard()
    for seq, event in ((2, "routing"), (3, "building")):
        for socket in range(sockets):
            if (socket, seq) != (without, 3):
                heard.note(socket, message("an order", event, seq), COMMITTED + 0.1 * (socket + 1))
    return heard


def figures_of(held: float = 0.01, crowd: Crowd | None = None) -> WatcherFigures:
    """Figures of executions that take a tenth of a second, and so much longer with a thousand viewers."""
    crowd = crowd or heard_by(10).crowd(["an order"], ("routing", "building"), 10)
    slots = [
        SlotTimes(viewers=0, executing=[0.09, 0.1, 0.2], serving=[0.001]),
        SlotTimes(viewers=1000, executing=[0.1, 0.1 + held, 0.3], serving=[4.0]),
    ]
    memory = {"Redis": 1_200_000, "front door": 30_000_000}
    return WatcherFigures(sockets=1000, opening=30, slots=slots, one_order=crowd, own_orders=crowd, memory=memory)


def printed(figures: WatcherFigures) -> str:
    console = Console(record=True, width=200)
    show_watchers(console, figures)
    return console.export_text()


def test_a_message_is_as_late_as_it_comes_after_its_events_commit():
    crowd = heard_by(3).crowd(["an order"], ("routing", "building"), 3)

    assert crowd.delays["routing"] == pytest.approx([0.1, 0.2, 0.3])
    assert (crowd.missing, crowd.repeated, crowd.disordered) == (0, 0, 0)


def test_a_message_that_somebody_did_not_hear_is_missing():
    assert heard_by(3, without=1).crowd(["an order"], ("routing", "building"), 3).missing == 1


def test_a_message_that_comes_again_counts_as_repeated_and_only_once_as_heard():
    heard = heard_by(3)
    heard.note(0, message("an order", "building", 3), COMMITTED + 9)

    crowd = heard.crowd(["an order"], ("routing", "building"), 3)

    assert (crowd.repeated, crowd.missing, crowd.disordered) == (1, 0, 0)
    assert max(crowd.delays["building"]) == pytest.approx(0.3)


@pytest.mark.parametrize("seq", [1, 5])
def test_a_message_that_comes_too_late_or_after_a_gap_is_out_of_order(seq: int):
    heard = heard_by(1)
    heard.note(0, message("an order", "submitted", seq), COMMITTED + 1)

    assert heard.crowd(["an order"], ("routing", "building"), 1).disordered == 1


def test_an_order_may_be_watched_from_any_event_on():
    heard = Heard()
    heard.note(0, message("one", "submitted", 4), COMMITTED)
    heard.note(0, message("another", "triggered", 3), COMMITTED)

    assert heard.crowd(["one", "another"], (), 1).disordered == 0


@pytest.mark.parametrize(("held", "sign"), [(0.049, "✓"), (0.051, "✗")])
def test_what_viewers_add_to_an_execution_is_judged(held: float, sign: str):
    figures = figures_of(held)

    assert figures.held(figures.slots[-1]) == pytest.approx(held)
    assert f"≤ 50 ms {sign}" in report(figures).text


def test_an_event_that_somebody_missed_misses_the_goal():
    incomplete = heard_by(10, without=4).crowd(["an order"], ("routing", "building"), 10)

    assert "19 of 20" in printed(figures_of(crowd=incomplete))
    assert "| all ✗" in report(figures_of(crowd=incomplete)).text
    assert "| all ✓" in report(figures_of()).text


def test_memory_is_shown_in_all_and_by_the_socket():
    row = next(row for row in printed(figures_of()).splitlines() if "Redis" in row)

    assert "+1.2 MB" in row
    assert "1.2 kB" in row

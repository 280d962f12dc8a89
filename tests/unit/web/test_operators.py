"""What operators send: sensible events are done, others answered with what is wrong."""

import json
from decimal import Decimal

import pytest

from chalicelib.venues.simulated.market import Market
from chalicelib.web.operators import Operators
from tests.builders import NOON
from tests.clocks import StoppedClock


class Table:
    """A database in which these base prices are set."""

    def __init__(self, *rows):
        self._rows = list(rows)

    def run(self, statement, parameters):
        return self._rows


def row(pair, base_price, walk="0"):
    return {"pair": pair, "base_price": Decimal(base_price), "walk": Decimal(walk), "set_at": NOON}


def operators(*rows):
    return Operators(market=Market(Table(*rows), None, StoppedClock()), dead_letters=None)


@pytest.mark.parametrize("event", [{}, {"action": "sell"}, {"action": "set", "pair": "SOL/USDC", "price": "140"}])
def test_an_event_that_makes_no_sense_is_answered_with_the_error(event):
    assert list(operators().steer_market(event)) == ["error"]


@pytest.mark.parametrize("action", ["set", "reset"])
def test_a_pair_that_is_not_known_is_answered_with_the_error(action):
    answer = operators().steer_market({"action": action, "pair": "SOL/XYZ", "basePrice": "1"})

    assert answer["error"].startswith("pair is SOL/XYZ; it must be tokenIn/tokenOut, two different ones of BONK, JUP")


def test_what_is_listed_is_exact_and_can_be_written_by_any_json_encoder():
    answer = operators(row("BONK/SOL", "0.000000133333333333", walk="0.02")).steer_market({"action": "list"})

    (listed,) = json.loads(json.dumps(answer))
    assert listed["basePrice"] == "0.000000133333333333"
    assert (listed["pair"], listed["walk"], listed["setAt"]) == ("BONK/SOL", "0.02", NOON.isoformat())
    away = Decimal(listed["currentBase"]) / Decimal(listed["basePrice"]) - 1
    assert 0 < abs(away) <= Decimal("0.02")


@pytest.mark.parametrize("event", [{}, {"action": "lst"}, {"action": "redrive", "messageId": "m1"}])
def test_dead_letters_are_left_alone_by_an_event_that_makes_no_sense(event):
    assert list(operators().handle_dead_letters(event)) == ["error"]

"""Fault rates are read from a table, about once a second."""

from chalicelib.venues.simulated.faults import FaultRates, Faults
from tests.clocks import StoppedClock


class Table:
    def __init__(self, *rows):
        self.rows = list(rows)
        self.reads = 0

    def run(self, statement, parameters):
        self.reads += 1
        return self.rows


ROW = {
    "quote_fails": 0.5,
    "dropped": 0.0,
    "lands_failed": 0.0,
    "lands_late": 0.0,
    "answer_lost": 0.0,
    "transaction_lifetime": 60.0,
}


def test_rates_are_read_again_after_a_second():
    table, clock = Table(ROW), StoppedClock()
    faults = Faults(table, clock)

    assert faults.rates().quote_fails == 0.5
    table.rows = [{**ROW, "quote_fails": 0.1}]
    clock.pass_time(0.9)
    assert faults.rates().quote_fails == 0.5
    clock.pass_time(0.2)
    assert faults.rates().quote_fails == 0.1
    assert table.reads == 2


def test_without_a_row_nothing_fails():
    assert Faults(Table(), StoppedClock()).rates() == FaultRates()

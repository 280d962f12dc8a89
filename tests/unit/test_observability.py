"""What is written to the log."""

import io
import json
import logging
from decimal import Decimal

import pytest

from chalicelib.observability import conceal, logger, redacted


@pytest.fixture
def log():
    """Return the lines that are written, each as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logger.registered_formatter)
    logging.getLogger(logger.service).addHandler(handler)
    yield lambda: [json.loads(line, parse_float=Decimal) for line in stream.getvalue().splitlines()]
    logging.getLogger(logger.service).removeHandler(handler)


def test_an_error_is_written_in_one_line_with_its_traceback_and_what_it_is_about(log):
    try:
        raise ValueError("no such thing")
    except ValueError:
        logger.exception("a message cannot be worked on", orderId="7")

    (line,) = log()
    assert (line["message"], line["orderId"]) == ("a message cannot be worked on", "7")
    assert "Traceback" in line["exception"]
    assert "ValueError: no such thing" in line["exception"]


def test_a_value_that_json_has_no_form_for_loses_no_line(log):
    logger.warning("odd", error=ValueError("text"), price=Decimal("1.10"))

    (line,) = log()
    assert (line["error"], str(line["price"])) == ("text", "1.10")


def test_the_longest_secret_is_replaced_first():
    conceal(["part-of-it-all", "this is part-of-it-all, and more"])

    assert redacted("[this is part-of-it-all, and more] [part-of-it-all]") == "[***] [***]"


def test_a_secret_is_found_as_json_writes_it(log):
    conceal(['quote"and\\slash'])

    logger.warning('it says quote"and\\slash')

    assert log()[0]["message"] == "it says ***"

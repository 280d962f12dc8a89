"""What is written to the log."""

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from chalicelib.observability import (
    NAMESPACE,
    SERVICE,
    about,
    about_from_here,
    conceal,
    count,
    flush_metrics,
    in_this_context,
    logger,
    redacted,
)


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


def order_ids(log):
    return [line.get("orderId") for line in log()]


def test_lines_say_what_they_are_about_until_that_ends(log):
    logger.info("before")
    with about(orderId="1"):
        logger.info("of the first")
        with about(orderId="2"):
            logger.info("of the second")
        logger.info("of the first again")
    logger.info("after")

    assert order_ids(log) == [None, "1", "2", "1", None]


def test_a_line_that_names_its_order_itself_is_about_that(log):
    with about(orderId="1"):
        logger.info("of another", orderId="2")

    assert order_ids(log) == ["2"]


def test_what_was_found_out_on_the_way_is_known_until_the_way_ends_also_in_an_error(log):
    def fail():
        about_from_here(orderId="1")
        raise ValueError

    with about():
        try:
            fail()
        except ValueError:
            logger.warning("failed")
    logger.info("after")

    assert order_ids(log) == ["1", None]


def test_where_nobody_would_forget_it_nothing_is_remembered(log):
    about_from_here(orderId="1")
    logger.info("on no way")
    with about():
        logger.info("on the next one")

    assert order_ids(log) == [None, None]


def test_an_error_leaves_nothing_behind(log):
    with pytest.raises(ZeroDivisionError), about(orderId="1"):
        raise ZeroDivisionError
    logger.info("after")

    assert order_ids(log) == [None]


def test_threads_are_about_what_they_were_given(log):
    with ThreadPoolExecutor(1) as pool:
        with about(orderId="1"):
            pool.submit(in_this_context(logger.info), "with it").result()
            pool.submit(logger.info, "without it").result()
        with about(orderId="2"):
            pool.submit(in_this_context(logger.info), "another").result()

    assert order_ids(log) == ["1", None, "2"]


def test_what_an_invocation_counted_is_one_line_that_cloudwatch_reads(capsys):
    flush_metrics()  # what other tests have counted
    capsys.readouterr()
    powertools = Metrics(namespace=NAMESPACE, service=SERVICE)
    powertools.clear_metrics()  # all of a process share one set
    for name, value in [("OrdersPending", 1), ("OrdersReached", 40), ("OrdersPending", 1)]:
        count(name, value)
        powertools.add_metric(name, MetricUnit.Count, value)
    flush_metrics()
    powertools.flush_metrics()

    ours, theirs = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert ours == {
        "_aws": {
            "Timestamp": ours["_aws"]["Timestamp"],
            "CloudWatchMetrics": [
                {
                    "Namespace": "OrderExecutionEngine",
                    "Dimensions": [["service"]],
                    "Metrics": [{"Name": "OrdersPending", "Unit": "Count"}, {"Name": "OrdersReached", "Unit": "Count"}],
                }
            ],
        },
        "service": SERVICE,
        "OrdersPending": 2,
        "OrdersReached": 40,
    }
    # Powertools lists the values that we have summed up; for the rest an independent writer says the same.
    assert ours["_aws"]["CloudWatchMetrics"] == theirs["_aws"]["CloudWatchMetrics"]
    assert 0 <= theirs["_aws"]["Timestamp"] - ours["_aws"]["Timestamp"] < 10_000
    sums = {name: sum(value) if isinstance(value, list) else value for name, value in theirs.items() if name != "_aws"}
    assert {name: value for name, value in ours.items() if name != "_aws"} == sums


def test_what_was_written_is_not_written_again_and_nothing_counted_writes_nothing(capsys):
    count("OrdersPending")
    flush_metrics()
    capsys.readouterr()

    flush_metrics()

    assert capsys.readouterr().out == ""

"""One order's story out of the log of all functions: in order, readable, and said when there is none."""

import json
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from infra import logs
from infra.cloud import Target
from infra.commands import EXIT_FAILED
from infra.logs import FOLLOW_AGAIN, Log, function_of, main, pictured, read_line, story_of
from tests.builders import NOON, UNKNOWN_ORDER
from tests.clocks import StoppedClock

STACK = "order-execution-engine-prod"
GROUP = f"/{STACK}"
NOON_MS = int(NOON.timestamp() * 1000)
REFUSED_BY_ARGPARSE = 2


def line(message, seconds=0.0, **fields):
    """Return a line as CloudWatch has it; its own time may be earlier than CloudWatch's."""
    said = {
        "level": "INFO",
        "location": "_record:1",
        "message": message,
        "timestamp": (NOON + timedelta(seconds=seconds)).isoformat(timespec="milliseconds"),
        "service": STACK,
        "cold_start": False,
        "function_name": f"{STACK}-ExecuteOrder-1A2B3C",
        "function_request_id": "r1",
        "orderId": UNKNOWN_ORDER,
        **fields,
    }
    return {"timestamp": NOON_MS, "message": json.dumps(said), "logStreamName": "s1"}


class Cloud:
    """CloudWatch Logs with these lines, a page each; ``looks`` are what it was asked for."""

    def __init__(self, *pages):
        self.pages = list(pages)
        self.looks = []

    def get_paginator(self, operation):
        assert operation == "filter_log_events"
        return self

    def paginate(self, **request):
        self.looks.append(request)
        return [{"events": page} for page in self.pages]


@pytest.fixture
def tell(monkeypatch):
    """Run the command on a cloud, whose stack is there unless ``outputs`` says otherwise."""

    def run(cloud, *arguments, outputs=lambda: {"LogGroup": GROUP}, clock=None):
        monkeypatch.setattr(Target, "outputs", lambda self, stack=None: outputs())
        monkeypatch.setattr(Target, "client", lambda self, service: cloud)
        return main([UNKNOWN_ORDER, "--stage", "prod", *arguments], clock or StoppedClock())

    return run


def test_the_lines_are_told_in_the_order_of_their_own_times():
    events = [line("confirmed", 5), line("pending", 0), line("submitted", 2.5)]

    assert [told.message for told in story_of(events, STACK)] == ["pending", "submitted", "confirmed"]


def test_a_line_shows_its_time_function_level_message_and_what_it_says_besides():
    told = line("order submitted", 1.25, dex="raydium", quotes={"raydium": {"netPrice": 148.8}, "meteora": {}}, seq=2)

    shown = pictured(read_line(told, STACK)).plain

    assert shown.split() == [
        *("2026-11-21", "12:00:01.250", "ExecuteOrder", "INFO", "order", "submitted", "dex=raydium"),
        *("quotes=raydium", "148.8,", "meteora", "None", "seq=2"),
    ]


def test_a_line_about_several_orders_says_how_many_others():
    told = line("given back", orderId=None, orderIds=[UNKNOWN_ORDER, "another", "a third"])

    assert pictured(read_line(told, STACK)).plain.endswith("given back  otherOrders=2")


def test_an_error_is_shown_with_its_traceback():
    told = line("a bug", level="ERROR", exception="Traceback:\n  File x\nZeroDivisionError", exception_name="Z")

    assert pictured(read_line(told, STACK)).plain.splitlines()[1:] == [
        "    Traceback:",
        "      File x",
        "    ZeroDivisionError",
    ]


@pytest.mark.parametrize(
    "event",
    [
        line("order \x1b]0;mine\x07\u202e"),
        line("failed", error="\x1b[2J\x9b2J", quotes={"\x1b[2J": {}}),
        line("failed", error="one\rtwo", **{"\x1b[8m": 1}),
        line("a bug", exception="Traceback:\nValueError: \x1b[2J\r"),
        {"timestamp": NOON_MS, "message": "[ERROR] ValueError: \x1b[2J\n\x1b[8m  File x"},
    ],
)
def test_what_a_client_sent_does_nothing_to_the_terminal(event, tell, capsys):
    tell(Cloud([event]))

    told = capsys.readouterr().out
    assert all(character.isprintable() for character in told.replace("\n", ""))
    assert "\\x1b" in told or "one\\rtwo" in told


@pytest.mark.parametrize("text", ["[ERROR] Runtime exited\n", '{"no": "line of ours"}', '"text"', "[1]", "17"])
def test_what_is_no_line_of_ours_is_shown_as_it_is(text):
    told = read_line({"timestamp": NOON_MS, "message": text}, STACK)

    assert (told.at, told.message) == (NOON, text.rstrip())


@pytest.mark.parametrize(
    ("name", "shown"), [(f"{STACK}-ExecuteOrder-1A2B", "ExecuteOrder"), ("local", "local"), ("", "")]
)
def test_a_function_is_called_as_in_the_template(name, shown):
    assert function_of(name, STACK) == shown


def test_every_page_is_read_from_the_group_of_the_stack(tell, capsys):
    cloud = Cloud([line("first")], [], [line("second", 1)])

    assert tell(cloud) == 0

    assert [told.split()[4] for told in capsys.readouterr().out.splitlines()] == ["first", "second"]
    (look,) = cloud.looks
    assert (look["logGroupName"], look["filterPattern"]) == (GROUP, f'"{UNKNOWN_ORDER}"')
    assert look["startTime"] == NOON_MS - 24 * 3600 * 1000


def test_lines_may_be_had_as_they_were_logged(tell, capsys):
    tell(Cloud([line("first")]), "--json", "--hours", "1")

    assert json.loads(capsys.readouterr().out) == json.loads(line("first")["message"])


def test_following_tells_what_comes_up_and_nothing_twice(tell, capsys, monkeypatch):
    clock = StoppedClock()
    cloud = Cloud([line("first")])

    def sleep(seconds):
        StoppedClock.sleep(clock, seconds)
        if len(clock.slept) == 2:
            cloud.pages.append([line("second", 1)])
        if len(clock.slept) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(clock, "sleep", sleep)

    assert tell(cloud, "--follow", clock=clock) == 0

    assert [told.split()[4] for told in capsys.readouterr().out.splitlines()] == ["first", "second"]
    assert cloud.looks[-1]["startTime"] == int((clock.at - FOLLOW_AGAIN).timestamp() * 1000) - 1000


def test_following_begins_before_anything_is_logged(tell, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(logs, "_follow", interrupt)

    assert tell(Cloud(), "--follow") == 0


def test_an_order_of_which_nothing_is_logged_is_said_to_be(tell, capsys):
    assert tell(Cloud(), "--hours", "2") == EXIT_FAILED

    said = capsys.readouterr().err
    assert f"Nothing about order {UNKNOWN_ORDER} was logged in the last 2 hours, in {GROUP}" in said
    assert "--hours" in said
    assert "--stage" in said


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (
            ("--stage", "local", "--endpoint-url", "http://127.0.0.1:1"),
            EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
            "Nothing answers at http://127.0.0.1:1: run `make run` first",
        ),
        (
            (),
            ClientError({"Error": {"Code": "ValidationError", "Message": f"Stack {STACK} does not exist"}}, "x"),
            f"There is no {STACK} at AWS in us-east-1: deploy it: make deploy STAGE=prod",
        ),
        ((), KeyError("LogGroup"), f"The stack {STACK} names no log group: deploy it anew."),
        (
            (),
            ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "x"),
            f"The log of {STACK} at AWS in us-east-1 cannot be read: An error occurred (AccessDenied)",
        ),
    ],
)
def test_why_there_is_no_log_is_said_with_what_to_do(tell, capsys, monkeypatch, arguments, error, says):
    monkeypatch.delenv("AWS_REGION", raising=False)

    def refuse():
        raise error

    assert tell(None, *arguments, outputs=refuse) == EXIT_FAILED
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("given", ["", "7", f"{UNKNOWN_ORDER}x"])
def test_what_is_no_order_id_is_refused_before_anybody_is_asked(given, capsys):
    with pytest.raises(SystemExit) as ended:
        main([given])

    assert ended.value.code == REFUSED_BY_ARGPARSE
    assert "is not an order id; expected is a UUID" in capsys.readouterr().err


def test_a_log_is_read_from_then_on():
    cloud = Cloud([])

    assert list(Log(client=cloud, group=GROUP).events("id", NOON)) == []
    assert cloud.looks[0]["startTime"] == NOON_MS


@pytest.mark.parametrize("given", ["nan", "inf", "0", "-5", "1e9", "a day"])
def test_how_far_to_look_back_is_a_number_of_hours(given, capsys):
    with pytest.raises(SystemExit) as ended:
        main([UNKNOWN_ORDER, "--stage", "prod", "--hours", given])

    assert ended.value.code == REFUSED_BY_ARGPARSE
    assert f"{given!r} is not allowed; expected is a number up to 87840" in capsys.readouterr().err

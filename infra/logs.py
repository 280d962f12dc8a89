"""Tell one order's story, across all functions, in the order of time: ``python -m infra.logs ORDER --stage local``.

Every function logs to the same group, and every line about an order has its id (``chalicelib/observability.py``),
alone or among those of several orders. What Lambda itself prints of an error is told as well, where the id is in it.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError
from rich.console import Console
from rich.text import Text

from chalicelib.clock import Clock
from infra.cloud import Target, add_target_options, named_target
from infra.commands import failed

HOURS = 24.0
"""How far back is looked unless the command says: CloudWatch reads through every line of that time."""
MOST_HOURS = 10 * 366 * 24.0
"""The longest that CloudWatch keeps what it does not keep for ever."""
FOLLOW_SECONDS = 1.0
FOLLOW_AGAIN = timedelta(minutes=2)
"""How far back each look of ``--follow`` goes: lines arrive late, on a laptop when their invocation is over."""
TOLD_ELSEWHERE = frozenset(
    {
        *("level", "location", "message", "timestamp", "service", "cold_start"),
        *("orderId", "orderIds", "messageId", "step"),
        *("function_name", "function_memory_size", "function_arn", "function_request_id", "xray_trace_id"),
        *("exception", "exception_name", "exception_notes"),
    }
)
"""Fields that are not listed behind the message: they stand elsewhere in the line, or tell nothing of the order."""
STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
FUNCTION_COLUMN, LEVEL_COLUMN = 20, 8

LogEvent = Mapping[str, Any]
"""What CloudWatch Logs gives of a line."""


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line of the log, by its parts; ``function`` is empty where the line does not say."""

    at: datetime
    function: str
    level: str
    message: str
    fields: Mapping[str, Any]
    exception: str
    raw: str


def read_line(event: LogEvent, stack: str) -> LogLine:
    """Read a line as a function wrote it; one that is no JSON is a message as it is."""
    text = event["message"].rstrip()
    at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    try:
        line = json.loads(text)
        return LogLine(
            at=datetime.fromisoformat(line["timestamp"]),
            function=function_of(line.get("function_name", ""), stack),
            level=line["level"],
            message=str(line["message"]),
            fields={name: value for name, value in line.items() if name not in TOLD_ELSEWHERE} | _company(line),
            exception=line.get("exception", ""),
            raw=text,
        )
    except (ValueError, TypeError, LookupError):
        return LogLine(at=at, function="", level="", message=text, fields={}, exception="", raw=text)


def function_of(name: str, stack: str) -> str:
    """Return a function's name as the code has it: CloudFormation writes the stack before it and a random end after."""
    return name.removeprefix(f"{stack}-").partition("-")[0]


def _company(line: Mapping[str, Any]) -> dict[str, int]:
    others = len(line.get("orderIds", [])) - 1
    return {"otherOrders": others} if others > 0 else {}


def story_of(events: Iterable[LogEvent], stack: str) -> list[LogLine]:
    """Return the lines in the order in which they were logged: an invocation's may arrive later than the next one's."""
    return sorted((read_line(event, stack) for event in events), key=lambda line: line.at)


def pictured(line: LogLine) -> Text:
    """Return a line as it is shown; an error has its traceback below it."""
    style = STYLES.get(line.level, "")
    text = Text(f"{line.at:%Y-%m-%d %H:%M:%S}.{line.at.microsecond // 1000:03d}  ", style="dim")
    text.append(f"{line.function:<{FUNCTION_COLUMN}}", style="cyan")
    text.append(f"{line.level:<{LEVEL_COLUMN}}", style=style or "dim")
    first, *others = line.message.splitlines() or [""]
    text.append(_printable(first), style=style)
    for name, value in line.fields.items():
        text.append(f"  {_printable(name)}=", style="dim")
        text.append(_printable(_shown(name, value)))
    for further in others:
        text.append(f"\n    {_printable(further)}", style=style)
    for traced in line.exception.splitlines():
        text.append(f"\n    {_printable(traced)}", style="red")
    return text


def _printable(text: str) -> str:
    """Return a text whose control characters are seen, not obeyed: what a client sent may be part of it."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _shown(name: str, value: Any) -> str:
    if name == "quotes" and isinstance(value, dict):
        return ", ".join(f"{venue} {quote.get('netPrice')}" for venue, quote in value.items())
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class Log:
    """The log group of a deployed engine."""

    client: Any
    group: str

    def events(self, order_id: str, since: datetime) -> Iterator[LogEvent]:
        """Return every line since then that has the order's id in it."""
        pages = self.client.get_paginator("filter_log_events").paginate(
            logGroupName=self.group, filterPattern=f'"{order_id}"', startTime=int(since.timestamp() * 1000)
        )
        for page in pages:
            yield from page["events"]


class NoLog(Exception):
    """There is no log to look into; the message says why, and what to do."""


def open_log(target: Target) -> Log:
    """Find the log of the engine that is deployed there.

    Raises:
        NoLog: nobody answers, or there is no engine.
    """
    try:
        group = target.outputs()["LogGroup"]
    except EndpointConnectionError as error:
        what_to_do = "run `make run` first, in another terminal, or name it with --endpoint-url"
        raise NoLog(f"Nothing answers at {target.place}: {what_to_do}.") from error
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        deploy = (
            "start it with `make run`" if target.stage == "local" else f"deploy it: make deploy STAGE={target.stage}"
        )
        raise NoLog(f"There is no {target.stack} at {target.place}: {deploy}, or name another --stage.") from error
    except LookupError as error:
        raise NoLog(f"The stack {target.stack} names no log group: deploy it anew.") from error
    return Log(client=target.client("logs"), group=group)


def main(arguments: Sequence[str] | None = None, clock: Clock | None = None) -> int:
    """Tell the story of the order that the command line names; returns the exit code."""
    options = _options(arguments)
    target, clock = named_target(options), clock or Clock()
    since = clock.now() - timedelta(hours=options.hours)
    try:
        log = open_log(target)
        events = list(log.events(options.order, since))
        if not events and not options.follow:
            return failed(_nothing(options, log.group, target))
        _tell(events, target.stack, raw=options.json)
        if options.follow:
            _follow(log, options, target.stack, events, clock)
    except NoLog as missing:
        return failed(missing)
    except (BotoCoreError, ClientError) as error:
        return failed(f"The log of {target.stack} at {target.place} cannot be read: {error}")
    except KeyboardInterrupt:
        return 0
    return 0


def _follow(log: Log, options: argparse.Namespace, stack: str, told: Sequence[LogEvent], clock: Clock) -> None:
    """Tell what comes up, until somebody interrupts."""
    known = set(map(_identity, told))
    while True:
        clock.sleep(FOLLOW_SECONDS)
        found = list(log.events(options.order, clock.now() - FOLLOW_AGAIN))
        _tell([event for event in found if _identity(event) not in known], stack, raw=options.json)
        known.update(map(_identity, found))


def _identity(event: LogEvent) -> tuple[Any, ...]:
    return event.get("logStreamName"), event["timestamp"], event["message"]


def _tell(events: Iterable[LogEvent], stack: str, *, raw: bool) -> None:
    console = Console(soft_wrap=True, highlight=False)
    for line in story_of(events, stack):
        if raw:
            print(line.raw, flush=True)
        else:
            console.print(pictured(line))


def _nothing(options: argparse.Namespace, group: str, target: Target) -> str:
    return (
        f"Nothing about order {options.order} was logged in the last {options.hours:g} hours, in {group} at "
        f"{target.place}. If it is older, look further back with --hours; if it was placed just now, its lines take "
        "some seconds; and is it an order of this --stage?"
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.logs", description=__doc__)
    parser.add_argument("order", type=_order_id, help="the order's id")
    parser.add_argument("--hours", type=_hours, default=HOURS, help=f"how far to look back (default: {HOURS:g})")
    parser.add_argument("--json", action="store_true", help="print the lines as they were logged")
    parser.add_argument("--follow", action="store_true", help="go on with what comes up, until Ctrl-C")
    add_target_options(parser)
    return parser.parse_args(arguments)


def _order_id(given: str) -> str:
    try:
        return str(UUID(given))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{given!r} is not an order id; expected is a UUID") from None


def _hours(given: str) -> float:
    try:
        hours = float(given)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= MOST_HOURS:
        raise argparse.ArgumentTypeError(f"{given!r} is not allowed; expected is a number up to {MOST_HOURS:g}")
    return hours


if __name__ == "__main__":
    sys.exit(main())

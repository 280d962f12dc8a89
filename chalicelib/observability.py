"""Structured logs and metrics: JSON lines for CloudWatch Logs, counts in its embedded metric format.

Every line about an order has its ``orderId``, and one about several their ``orderIds``, so that one order's story can
be told across all functions. Whoever begins to work on an order says so once, with ``about``: the lines of those who
are called from there, and know nothing of orders, have the id as well.
"""

import logging
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import ParamSpec, TypeVar
from urllib.parse import quote

import msgspec
from aws_lambda_powertools import Logger

SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME") or "order-execution-engine"
"""The template gives each stack its own name, by which the alarms of two stages tell their orders apart."""

NAMESPACE = "OrderExecutionEngine"
"""Of the metrics."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

SHORTEST_SECRET = 8
"""A shorter one is left alone: it may be part of any word, and protects nothing."""

_within_about: ContextVar[bool] = ContextVar("within_about", default=False)
_secrets: set[str] = set()
_counted: Counter[str] = Counter()
# What JSON has no form for is written as text: a line must not be lost for the value of one of its fields.
_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


def conceal(secrets: Iterable[str]) -> None:
    """Let none of these be written to the log from now on, be it as they are or as JSON or a URL has them.

    Errors are the likely way: a library may repeat the URL it was given. This is the last line of defence, not the
    first; it holds for all that goes through ``logger``, which is Chalice's as well.
    """
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            _secrets.update((secret, _encoder.encode(secret).decode()[1:-1], quote(secret, safe="")))


def redacted(text: str) -> str:
    """Return the text with ``***`` for each secret in it; the longest first, as one may be part of another."""
    for secret in sorted((secret for secret in _secrets if secret in text), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def without_secrets(error: Exception) -> Exception:
    """Return the error, or another in its place if Lambda's runtime, which prints it, would print a secret with it."""
    told = "".join(traceback.format_exception(error))
    return error if redacted(told) == told else RuntimeError(redacted(f"{type(error).__name__}: {error}"))


def _written(line: object) -> str:
    return redacted(_encoder.encode(line).decode())


# An error's traceback is in the line once, as text. A message is never JSON, and not looked at as if it were.
logger = Logger(
    service=SERVICE,
    json_serializer=_written,
    json_deserializer=str,
    use_rfc3339=True,
    utc=True,
    serialize_stacktrace=False,
)
# No line has these, and each would be asked for with every line:
# https://docs.python.org/3/howto/logging.html#optimization
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


@contextmanager
def about(**keys: object) -> Iterator[None]:
    """Give these keys to every line that is logged within, unless it has them already.

    They are this thread's; what it has done by others gets them through ``in_this_context``.
    """
    outside = dict(logger.thread_safe_get_current_keys())
    within = _within_about.set(True)
    logger.thread_safe_append_keys(**keys)
    try:
        yield
    finally:
        logger.thread_safe_clear_keys()
        logger.thread_safe_append_keys(**outside)
        _within_about.reset(within)


def about_from_here(**keys: object) -> None:
    """Give these keys to every line until the ``about`` ends that this stands in; each invocation is one.

    For what is known only on the way: also the line about an error that ends the way has them. Outside of any, where
    nobody would take them away again, they are not given.
    """
    if _within_about.get():
        logger.thread_safe_append_keys(**keys)


def in_this_context(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Return ``work`` as it is to be handed to another thread, for its lines to be about the same as this one's."""
    context = copy_context()

    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return context.copy().run(work, *args, **kwargs)

    return run


def count(name: str, value: int = 1) -> None:
    """Add to a counter; it is written with the invocation's other counters when the invocation ends."""
    _counted[name] += value


def flush_metrics() -> None:
    """Write what the invocation has counted, if anything, as one line that CloudWatch makes metrics of.

    Powertools' metrics would do the same in seven times as long, for every invocation. The embedded metric format:
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    if not _counted:
        return
    metrics = [{"Name": name, "Unit": "Count"} for name in _counted]
    directive = {"Namespace": NAMESPACE, "Dimensions": [["service"]], "Metrics": metrics}
    about_metrics = {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": [directive]}
    line = _encoder.encode({"_aws": about_metrics, "service": SERVICE, **_counted})
    _counted.clear()
    print(line.decode(), flush=True)

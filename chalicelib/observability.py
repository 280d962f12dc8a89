"""Structured logs and metrics: JSON lines for CloudWatch Logs, counts in its embedded metric format."""

import os

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from chalicelib.exact_json import encode_json

SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME") or "order-execution-engine"
"""The template gives each stack its own name, by which the alarms of two stages tell their orders apart."""

logger = Logger(service=SERVICE, json_serializer=lambda line: encode_json(line).decode(), use_rfc3339=True)
metrics = Metrics(namespace="OrderExecutionEngine", service=SERVICE)


def count(name: str, value: float = 1) -> None:
    """Add to a counter; it is written with the invocation's other metrics when the invocation ends."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def flush_metrics() -> None:
    """Write the invocation's metrics, if it has any."""
    if metrics.metric_set:
        metrics.flush_metrics()

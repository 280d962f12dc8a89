"""Schedules, begun at once: a schedule first calls its function a minute after it was made.

What waits for a schedule, the orders that a crash left behind among it, need not wait that long on an emulator that
has just been started.
"""

import json

from infra.cloud import Outputs, Target

SCHEDULED_FUNCTIONS = ("RecoverOrdersFunction", "WatchMarketFunction")
"""The outputs that name them."""
FIRST_SCHEDULED_EVENT = {
    "version": "0",
    "id": "start",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "000000000000",
    "time": "1970-01-01T00:00:00Z",
    "region": "us-east-1",
    "resources": [],
    "detail": {},
}


def begin_schedules(target: Target, outputs: Outputs) -> None:
    """Call each scheduled function as its schedule will, without waiting for what it does."""
    functions = target.client("lambda")
    for function in SCHEDULED_FUNCTIONS:
        functions.invoke(
            FunctionName=outputs[function], InvocationType="Event", Payload=json.dumps(FIRST_SCHEDULED_EVENT)
        )

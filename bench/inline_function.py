"""The inline worker as a Lambda function, beside the engine's own and with all that ``app.py`` does around those.

It is a module of its own because importing it gives ``app`` one more function, which only that function's process
should do.
"""

from chalice.app import SQSEvent

from app import app
from bench.inline import inline_executor
from chalicelib.engine import engine
from chalicelib.queueing.sqs_batches import BatchAnswer, order_id_of, read_records, work_off


@app.on_sqs_message(queue_arn="arn:aws:sqs:us-east-1:000000000000:orders", batch_size=1, name="execute_inline")
def execute_inline(event: SQSEvent) -> BatchAnswer:
    """Take an order from ``pending`` to its end."""
    records = read_records(event.to_dict())
    return work_off(records, engine().order_queue, lambda record: inline_executor().execute(order_id_of(record)))

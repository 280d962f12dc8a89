"""Between an SQS batch and the work: what comes back, and when."""

import json
from uuid import uuid4

import pytest

from chalicelib.queueing.sqs_batches import (
    PoisonMessage,
    order_id_of,
    outage_pause,
    read_records,
    work_off,
    work_off_together,
)
from chalicelib.resources import ResourceUnavailable

DOWN = ResourceUnavailable("Postgres", "no answer")


class RecordingQueue:
    """A queue that notes which messages were postponed, by receipt handle, and what was sent."""

    def __init__(self, error=None):
        self.postponed = {}
        self.sent = []
        self._error = error

    def send_text(self, text, delay):
        if self._error:
            raise self._error
        self.sent.append((text, delay))

    def postpone(self, receipt_handle, delay):
        if self._error:
            raise self._error
        self.postponed[receipt_handle] = delay


def records(*bodies, receives=1):
    return read_records(
        {
            "Records": [
                {
                    "messageId": f"m{index}",
                    "receiptHandle": f"r{index}",
                    "body": body if isinstance(body, str) else json.dumps(body),
                    "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
                    "attributes": {"ApproximateReceiveCount": str(receives)},
                }
                for index, body in enumerate(bodies)
            ]
        }
    )


def raising(error):
    def work(_):
        raise error

    return work


def failed(answer):
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def test_a_record_says_where_it_came_from_and_how_often():
    (record,) = records({"a": 1}, receives=7)

    assert (record.message_id, record.receipt_handle, record.queue, record.receives) == ("m0", "r0", "orders", 7)
    assert record.body == {"a": 1}


def test_a_message_names_its_order():
    order_id = str(uuid4())

    assert order_id_of(records({"orderId": order_id})[0]) == order_id


@pytest.mark.parametrize("body", ["", "{", "[1]", "null", "{}", {"orderId": 1}, {"orderId": "abc"}, {"orderId": None}])
def test_a_message_that_names_no_order_is_poison(body):
    with pytest.raises(PoisonMessage):
        order_id_of(records(body)[0])


def test_work_that_is_done_gives_nothing_back():
    queue = RecordingQueue()

    assert work_off(records({}, {}), queue, lambda _: None) == {"batchItemFailures": []}
    assert queue.postponed == {}


def test_work_that_asks_for_it_comes_back_after_its_delay():
    queue = RecordingQueue()
    delays = {"m0": None, "m1": 1.5, "m2": 0.0}

    answer = work_off(records({}, {}, {}), queue, lambda record: delays[record.message_id])

    assert failed(answer) == ["m1", "m2"]
    assert queue.postponed == {"r1": 1.5, "r2": 0.0}


def test_one_poisonous_message_does_not_keep_the_others_from_being_worked_on():
    def work(record):
        if record.message_id == "m0":
            raise PoisonMessage("no order")

    assert failed(work_off(records({}, {}), RecordingQueue(), work)) == ["m0"]


def test_a_message_that_meets_a_bug_comes_back_when_its_visibility_ends():
    queue = RecordingQueue()

    assert failed(work_off(records({}), queue, raising(ZeroDivisionError()))) == ["m0"]
    assert queue.postponed == {}


@pytest.mark.parametrize(("receives", "seconds"), [(1, 1), (2, 2), (10, 10), (29, 29)])
def test_during_an_outage_a_message_comes_back_soon_at_first_and_later_then(receives, seconds):
    (record,) = records({}, receives=receives)
    queue = RecordingQueue()

    assert outage_pause(record) == seconds
    assert failed(work_off([record], queue, raising(DOWN))) == ["m0"]
    assert queue.postponed == {"r0": seconds}


@pytest.mark.parametrize("work_on", [work_off, work_off_together])
def test_a_long_outage_does_not_use_a_message_up_because_a_fresh_copy_takes_its_place(work_on):
    (record,) = records({"orderId": str(uuid4())}, receives=40)
    queue = RecordingQueue()

    assert failed(work_on([record], queue, raising(DOWN))) == []
    assert queue.sent == [(record.text, 30.0)]


def test_waiting_for_a_turn_does_not_use_a_message_up_either():
    (often,) = records({"orderId": str(uuid4())}, receives=40)
    (seldom,) = records({"orderId": str(uuid4())}, receives=3)
    queue = RecordingQueue()

    assert failed(work_off([often], queue, lambda _: 7.0)) == []
    assert failed(work_off([seldom], queue, lambda _: 7.0)) == ["m0"]
    assert queue.sent == [(often.text, 7.0)]


def test_poison_is_not_copied_however_often_it_was_received():
    (record,) = records({"orderId": str(uuid4())}, receives=40)
    queue = RecordingQueue()

    assert failed(work_off([record], queue, raising(PoisonMessage("there is no such order")))) == ["m0"]
    assert queue.sent == []


@pytest.mark.parametrize("work_on", [work_off, work_off_together])
def test_a_message_of_which_no_copy_can_be_sent_is_kept(work_on):
    (record,) = records({"orderId": str(uuid4())}, receives=40)
    queue = RecordingQueue(error=ResourceUnavailable("SQS", "no answer"))

    assert failed(work_on([record], queue, raising(DOWN))) == ["m0"]


def test_a_message_that_cannot_be_postponed_still_comes_back():
    queue = RecordingQueue(error=ResourceUnavailable("SQS", "no answer"))

    assert failed(work_off(records({}), queue, lambda _: 5.0)) == ["m0"]


def test_a_batch_is_worked_on_together_each_order_once():
    first, second = str(uuid4()), str(uuid4())
    asked = []

    def work(order_ids):
        asked.append(sorted(order_ids))
        return {second: 2.0}

    queue = RecordingQueue()
    batch = records({"orderId": first}, {"orderId": second}, {"orderId": first}, {"orderId": second})

    assert failed(work_off_together(batch, queue, work)) == ["m1", "m3"]
    assert asked == [sorted([first, second])]
    assert queue.postponed == {"r1": 2.0, "r3": 2.0}


def test_poison_in_a_batch_is_given_back_alone():
    answer = work_off_together(records("{", {"orderId": str(uuid4())}), RecordingQueue(), lambda _: {})

    assert failed(answer) == ["m0"]


def test_an_outage_gives_the_whole_batch_back():
    queue = RecordingQueue()
    batch = records({"orderId": str(uuid4())}, {"orderId": str(uuid4())}, receives=3)

    assert sorted(failed(work_off_together(batch, queue, raising(DOWN)))) == ["m0", "m1"]
    assert queue.postponed == {"r0": 3, "r1": 3}

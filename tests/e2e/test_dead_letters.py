"""A message that cannot be processed: through the dead-letter queue to the operator, and back."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from chalicelib.resources.postgres import Database
from chalicelib.store.orders import OrderStore
from infra import dead_letters
from tests.builders import an_order
from tests.e2e.client import PATIENCE_SECONDS, Client
from tests.e2e.deployed import Deployed


@pytest.fixture
def operate(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run the operator's command and return what it printed."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["dead_letters", *arguments, *deployed.target_options])
        monkeypatch.setenv("COLUMNS", "200")
        assert dead_letters.main() == 0
        return capsys.readouterr().out

    return run


def wait_for(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (seen := look()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.1)
    return seen


def send(deployed: Deployed, queue: str, body: str) -> None:
    deployed.target.client("sqs").send_message(QueueUrl=deployed.outputs[queue], MessageBody=body)


def test_poison_ends_in_the_dead_letters_and_keeps_nobody_from_trading(
    deployed: Deployed, client: Client, database: psycopg.Connection, operate: Callable[..., str]
) -> None:
    poison = f"this is no message: {uuid4()}"
    send(deployed, "OrdersQueueUrl", poison)

    assert client.execute()[-1]["status"] == "confirmed"
    buried = "SELECT message_id FROM dead_letters WHERE body = %s"
    [message_id] = wait_for(lambda: database.execute(buried, (poison,)).fetchone())
    assert message_id in operate("list")


def test_a_buried_order_has_failed_with_the_reason_and_goes_on_when_it_is_redriven(
    deployed: Deployed, client: Client, database: psycopg.Connection, operate: Callable[..., str]
) -> None:
    # An order whose message is gone; it is not due for an hour, so that recovery leaves it alone.
    order_id = an_order().order_id
    with closing(Database(deployed.database_url)) as engines_own:
        OrderStore(engines_own).accept(an_order(order_id=order_id), "digest")
    database.execute("UPDATE orders SET available_at = now() + interval '1 hour' WHERE id = %s", (order_id,))
    send(deployed, "OrdersDeadLettersUrl", json.dumps({"orderId": order_id}))

    ended = client.watch(order_id)[-1]
    assert ended["status"] == "failed"
    assert "no worker could process" in ended["error"]
    letter = "SELECT message_id FROM dead_letters WHERE order_id = %s"
    [message_id] = wait_for(lambda: database.execute(letter, (order_id,)).fetchone())

    assert message_id in operate("redrive", message_id)
    going_on = client.watch(order_id, afterSeq=ended["seq"])
    assert [event["event"] for event in going_on] == ["redriven", "routing", "building", "submitted", "confirmed"]
    assert message_id not in operate("list")

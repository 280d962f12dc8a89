"""Snipers wait for a launch, which a signed webhook announces."""

from decimal import Decimal
from uuid import uuid4

import pytest

from chalicelib.engine import Engine
from chalicelib.exact_json import encode_json
from chalicelib.web.signatures import sign
from tests.integration.conftest import Answer, Api, MakeEngine
from tests.integration.venues import fail_once, trouble_chain

SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw=="
LAUNCH = {"pool": "pool-1", "tokenIn": "WIF", "tokenOut": "USDC", "venue": "raydium"}
SNIPER = {"orderType": "sniper", "tokenIn": "WIF", "tokenOut": "USDC", "amount": 100}


@pytest.fixture
def engine(make_engine: MakeEngine, serve) -> Engine:
    return serve(make_engine(LAUNCH_WEBHOOK_SECRET=SECRET))


@pytest.fixture
def announce(api: Api, engine: Engine):
    """Post a launch as an indexer would, or as ``changes`` to its headers make it."""

    def post(launch=LAUNCH, *, message_id=None, at=None, secret=SECRET, **changes) -> Answer:
        body = encode_json(launch)
        timestamp = int(at if at is not None else engine.clock.now().timestamp())
        headers = sign(secret, message_id or f"msg_{uuid4()}", timestamp, body) | changes
        return api.request("POST", "/api/launches", body, **headers)

    return post


@pytest.fixture
def go_live(engine: Engine):
    """Have a pool for WIF/USDC from now on."""
    return lambda price="2.5": engine.market.steer("WIF/USDC", Decimal(price))


def test_a_sniper_waits_for_the_launch_of_its_token(api, queues, database, engine):
    order_id = api.place(**SNIPER)
    queues.work_off()
    engine.market_watch.look()

    assert database.event_names(order_id) == ["pending", "waiting"]
    assert database.events(order_id)[1]["details"]["waitingFor"] == {"launch": "WIF", "against": "USDC"}
    assert database.order(order_id)["side"] == "buy"


def test_a_sniper_keeps_to_the_priority_queue_from_its_first_look_through_every_retry(
    api, queues, engine, announce, go_live, database, let_time_pass
):
    go_live()
    announce()
    trouble_chain(engine, lost=1)
    order_id = api.place(**SNIPER)
    assert (queues.priority.count(), queues.orders.count()) == (1, 0)

    queues.priority.poll()
    database.change("UPDATE swaps SET expires_at = now() - interval '1 minute'")
    queues.settlements.poll()
    queues.clock.pass_time(3)
    queues.settlements.poll()
    assert database.event_names(order_id)[-1] == "retrying"
    assert (queues.priority.count(), queues.orders.count()) == (1, 0)

    queues.priority.drain()
    let_time_pass(3600)
    assert engine.recovery.recover() == 1
    assert (queues.priority.count(), queues.orders.count()) == (1, 0)
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"


def test_a_launch_wakes_its_snipers_onto_the_priority_queue(api, queues, database, announce, go_live):
    order_id, other = api.place(**SNIPER), api.place(**SNIPER | {"tokenOut": "SOL"})
    queues.work_off()
    go_live()

    answer = announce()

    assert answer.status == 200
    assert answer.body == {**LAUNCH, "ordersWoken": 1}
    assert queues.priority.count() == 1
    assert queues.orders.count() == 0
    queues.work_off()
    assert database.event_names(order_id) == [
        "pending", "waiting", "triggered", "routing", "building", "submitted", "confirmed",
    ]  # fmt: skip
    assert database.event_names(other) == ["pending", "waiting"]


def test_a_launch_wakes_all_its_snipers_a_batch_at_a_time(api, queues, announce, monkeypatch):
    monkeypatch.setattr("chalicelib.triggers.waking.WOKEN_AT_ONCE", 2)
    for _ in range(5):
        api.place(**SNIPER)
    queues.work_off()

    assert announce().body["ordersWoken"] == 5
    assert queues.priority.count() == 5


def test_a_launch_against_any_token_wakes_the_snipers_of_all_pairs(api, queues, announce):
    for token_out in ("USDC", "SOL"):
        api.place(**SNIPER | {"tokenOut": token_out})
    queues.work_off()

    assert announce({"pool": "pool-1", "tokenIn": "WIF"}).body["ordersWoken"] == 2


def test_a_launch_that_came_before_the_order_counts_if_the_pool_is_live(api, queues, database, announce, go_live):
    go_live()
    announce()

    order_id = api.place(**SNIPER)
    queues.work_off()

    assert "waiting" not in database.event_names(order_id)
    assert database.order(order_id)["status"] == "confirmed"


def test_a_launch_does_not_count_before_the_pool_is_live(api, queues, database, announce, go_live, engine):
    announce()
    order_id = api.place(**SNIPER)
    queues.work_off()
    assert engine.market_watch.look() == 0
    assert database.event_names(order_id) == ["pending", "waiting"]

    go_live()
    assert engine.market_watch.look() == 1
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"


def test_a_sniper_that_no_live_pool_can_serve_fails_and_does_not_wait_for_ever(
    api, queues, database, announce, go_live
):
    go_live()
    announce()

    order_id = api.place(**SNIPER | {"amount": 10**9})
    queues.work_off()

    assert database.event_names(order_id) == ["pending", "failed"]
    assert "cannot be bought" in database.order(order_id)["last_error"]


def test_a_sniper_does_not_pay_more_than_its_limit(api, queues, database, announce, go_live, engine):
    order_id = api.place(**SNIPER, limitPrice=2)
    queues.work_off()
    go_live("3")
    announce()
    queues.work_off()
    assert database.event_names(order_id) == ["pending", "waiting", "triggered", "waiting"]

    go_live("1.5")
    assert engine.market_watch.look() == 1
    assert queues.priority.count() == 1
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"
    assert database.order(order_id)["executed_price"] <= 2


def test_the_watch_wakes_whom_a_launch_did_not_reach(api, queues, database, announce, go_live, engine):
    order_id = api.place(**SNIPER)
    queues.work_off()
    go_live()
    fail_once(engine.book, "wake_launched", RuntimeError("the process ended here"))
    assert announce().status == 500

    assert engine.market_watch.look() == 1
    queues.work_off()

    assert database.order(order_id)["status"] == "confirmed"


def test_the_same_pool_may_be_announced_again(api, announce, database):
    assert announce().body["ordersWoken"] == 0
    api.place(**SNIPER)
    api_answer = announce()

    assert api_answer.status == 200
    assert database.count("launches") == 1


def test_a_pool_that_is_announced_for_other_tokens_is_a_conflict(announce):
    announce()

    answer = announce({**LAUNCH, "tokenOut": "SOL"})

    assert answer.status == 409
    assert "pool-1 is known for WIF/USDC on raydium" in answer.body["detail"]


def test_a_delivery_is_taken_once(announce):
    assert announce(message_id="msg_1").status == 200

    answer = announce(message_id="msg_1")

    assert answer.status == 409
    assert "msg_1" in answer.body["detail"]


def test_a_delivery_whose_answer_was_lost_on_the_way_from_postgres_is_not_its_own_replay(announce, engine):
    run = engine.database.run

    def run_twice(statement, *arguments):
        if "launch_deliveries" in statement:
            run(statement, *arguments)
        return run(statement, *arguments)

    engine.database.run = run_twice

    assert announce().status == 200


@pytest.mark.parametrize(
    ("forged", "problem"),
    [
        ({"secret": "another"}, "webhook-signature"),
        ({"webhook_signature": "v1,AAAA"}, "webhook-signature"),
        ({"webhook_signature": ""}, "webhook-signature"),
        ({"webhook_id": ""}, "webhook-id"),
        ({"webhook_timestamp": "yesterday"}, "webhook-timestamp"),
        ({"at": 1_700_000_000}, "webhook-timestamp"),
        ({"at": 4_000_000_000}, "webhook-timestamp"),
    ],
)
def test_a_message_that_is_not_signed_as_it_should_be_is_refused(announce, database, forged, problem):
    changes = {name.replace("_", "-"): value for name, value in forged.items() if name.startswith("webhook")}
    given = {name: value for name, value in forged.items() if not name.startswith("webhook")}

    answer = announce(**given, **changes)

    assert answer.status == 401
    assert problem in answer.body["detail"]
    assert database.count("launches") == 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"pool": ""}, "pool"),
        ({"tokenIn": "NOPE"}, "tokenIn"),
        ({"tokenOut": "WIF"}, "tokenOut"),
        ({"venue": "nowhere"}, "venue"),
        ({"price": 1}, "price"),
    ],
)
def test_a_bad_field_of_a_launch_is_named(announce, changes, field):
    answer = announce({**LAUNCH, **changes})

    assert answer.status == 400
    assert field in answer.body["errors"]


def test_without_a_secret_no_launch_is_taken(make_engine, serve, announce):
    serve(make_engine())

    answer = announce()

    assert answer.status == 503
    assert "LAUNCH_WEBHOOK_SECRET" in answer.body["detail"]

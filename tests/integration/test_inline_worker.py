"""The inline worker that the engine is compared with: it does with an order what the engine does, in one go."""

from bench.inline import inline_executor_of
from chalicelib.clock import Clock


def test_the_inline_worker_takes_an_order_from_pending_to_confirmed(engine, api, queues, database):
    order_id = api.place()

    assert inline_executor_of(engine).execute(order_id) is None

    assert database.event_names(order_id) == ["pending", "routing", "building", "submitted", "confirmed"]
    assert queues.settlements.count() == 0, "nobody else has anything to do with it"


def test_the_inline_worker_stays_until_the_swap_has_landed(make_engine, serve, api, database):
    engine = serve(make_engine(MOCK_LATENCY="0.1", clock=Clock()))
    order_id = api.place()

    inline_executor_of(engine).execute(order_id)

    *_, submitted, confirmed = database.events(order_id)
    assert confirmed["event"] == "confirmed"
    assert (confirmed["created_at"] - submitted["created_at"]).total_seconds() >= 0.2

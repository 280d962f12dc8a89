"""An order's way through the app's handlers, from the request to its end in the database."""

from decimal import Decimal

from chalicelib.orders.tokens import round_price
from tests.builders import STEPS


def test_a_sell_is_confirmed_with_every_column_filled(worked_off, database):
    order_id = worked_off(amount=1.5, userId="u7", clientOrderId="mine", slippageTolerance="0.02")

    row = database.order(order_id)
    assert row["status"] == "confirmed"
    assert (row["user_id"], row["idempotency_key"], row["order_type"], row["side"]) == ("u7", "mine", "market", "sell")
    assert (row["token_in"], row["token_out"], row["amount_in"]) == ("SOL", "USDC", Decimal("1.5"))
    assert row["slippage"] == Decimal("0.02")
    assert (row["seq"], row["attempts"], row["max_retries"], row["last_error"]) == (5, 1, 3, None)
    assert row["min_amount_out"] <= row["amount_out"]
    assert row["max_amount_out"] is None
    assert row["executed_price"] == round_price(row["amount_out"] / row["amount_in"])
    assert row["tx_hash"] == database.swaps(order_id)[0]["tx_hash"]
    assert row["lease_owner"] is row["lease_until"] is None
    assert row["created_at"] < row["updated_at"]


def test_both_quotes_and_the_choice_are_kept_with_the_order(worked_off, database):
    order_id = worked_off()

    row = database.order(order_id)
    quotes = row["route_meta"]["quotes"]
    assert set(quotes) == {"raydium", "meteora"}
    for quote in quotes.values():
        assert set(quote) == {"price", "fee", "liquidity", "netPrice", "amountOut"}
    assert row["chosen_dex"] == row["route_meta"]["chosen"] == max(quotes, key=lambda name: quotes[name]["netPrice"])


def test_a_buy_takes_the_cheaper_venue_and_pays_no_more_than_its_bound(worked_off, database):
    row = database.order(worked_off(side="buy", amount="2"))

    quotes = row["route_meta"]["quotes"]
    assert row["chosen_dex"] == min(quotes, key=lambda name: quotes[name]["netPrice"])
    assert row["amount_in"] == 2
    assert row["amount_out"] <= row["max_amount_out"]
    assert row["min_amount_out"] is None


def test_events_are_numbered_without_a_gap_and_say_what_each_step_did(worked_off, database):
    order_id = worked_off()

    events = database.events(order_id)
    assert [event["event"] for event in events] == [event["status"] for event in events] == STEPS
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
    pending, routing, building, submitted, done = (event["details"] for event in events)
    row = database.order(order_id)
    assert pending == {
        "orderType": "market",
        "side": "sell",
        "tokenIn": "SOL",
        "tokenOut": "USDC",
        "amount": Decimal("1.5"),
        "slippageTolerance": Decimal("0.01"),
    }
    assert routing == row["route_meta"]
    assert building == {
        "venue": row["chosen_dex"],
        "actions": ["wrapSol", "swap"],
        "minAmountOut": row["min_amount_out"],
    }
    assert submitted == {"txHash": row["tx_hash"], "venue": row["chosen_dex"]}
    assert done == {
        "txHash": row["tx_hash"],
        "executedPrice": row["executed_price"],
        "amountIn": row["amount_in"],
        "amountOut": row["amount_out"],
        "venue": row["chosen_dex"],
    }


def test_stream_history_and_database_tell_the_same_story(api, queues, database, open_socket):
    order_id = api.place()
    socket = open_socket(orderId=order_id)
    queues.work_off()

    history = api.get(f"/api/orders/{order_id}/events").body
    assert history["orderId"] == order_id
    assert socket.received == history["events"]
    stored = [(e["seq"], e["event"], e["status"], e["details"]) for e in database.events(order_id)]
    assert stored == [(e["seq"], e["event"], e["status"], e["details"]) for e in history["events"]]


def test_a_swap_is_recorded_once_and_ends_as_landed(worked_off, database):
    order_id = worked_off()

    (swap,) = database.swaps(order_id)
    assert swap["state"] == "landed"
    assert database.rows("SELECT tx_hash FROM simulated_transactions") == [{"tx_hash": swap["tx_hash"]}]


def test_the_same_seed_gives_the_same_quotes_and_price(worked_off, database):
    first, second = database.order(worked_off()), database.order(worked_off())

    assert first["route_meta"] == second["route_meta"]
    assert first["executed_price"] == second["executed_price"]
    assert first["tx_hash"] != second["tx_hash"]


def test_no_order_is_filled_worse_than_its_slippage_bound(api, queues, database, make_engine, serve):
    serve(make_engine(MAX_RETRIES="1"))
    for amount in range(1, 25):
        api.place(side=("sell", "buy")[amount % 2], amount=amount, slippageTolerance="0.001")
    queues.work_off()

    rows = database.rows("SELECT * FROM orders")
    assert {row["status"] for row in rows} == {"confirmed", "failed"}
    for row in rows:
        if row["status"] == "failed":
            assert row["amount_out"] is row["executed_price"] is None
            assert row["last_error"].startswith("slippage")
        elif row["side"] == "sell":
            assert row["amount_out"] >= row["min_amount_out"]
        else:
            assert row["amount_out"] <= row["max_amount_out"]


def test_ten_orders_are_settled_by_one_call(api, queues, database):
    order_ids = [api.place(amount=str(amount)) for amount in range(1, 11)]
    for _ in order_ids:
        queues.orders.poll()

    queues.clock.pass_time(3)
    answer = queues.settlements.poll()

    assert answer == {"batchItemFailures": []}
    assert {database.order(order_id)["status"] for order_id in order_ids} == {"confirmed"}
    assert queues.settlements.count() == 0


def test_settlement_is_first_asked_two_seconds_after_the_swap_was_sent(api, queues):
    api.place()
    queues.orders.poll()

    queues.clock.pass_time(1.9)
    assert queues.settlements.poll() is None
    queues.clock.pass_time(0.2)
    assert queues.settlements.poll() is not None

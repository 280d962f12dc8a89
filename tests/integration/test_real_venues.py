"""The engine swaps for real: through its own client, venues and chain, on a Solana of the tests' own.

What is real there, and what is stood in for, says tests/solana/ledger.py. The chain's time passes while the engine
sleeps: a block each 0.4 s of its clock.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from solders.pubkey import Pubkey

from bench.limits import FINDING_CALLS, SWAP_CALLS
from chalicelib.engine import Engine
from chalicelib.orders.launch import Launch
from chalicelib.orders.swap import SignedTransaction
from chalicelib.orders.tokens import TOKENS
from chalicelib.venues.venue import Chain
from tests.builders import STEPS
from tests.chaos.crashes import Fate, Killed
from tests.clocks import QuickClock
from tests.conftest import Database
from tests.integration.conftest import MakeEngine
from tests.solana.accounts import with_data
from tests.solana.devnet import WORTH, Devnet
from tests.solana.faults import Dropped, Duplicated, Expiring, Failing, Fault, Late, SlowlyConfirmed
from tests.solana.ledger import Landing, Ledger
from tests.solana.rpc_server import RpcError, RpcServer

VENUES = ("raydium", "meteora")
PAIRS = (
    *("SOL/USDC", "USDC/SOL"),
    *("TAX/USDC", "USDC/TAX", "SOL/TAX", "TAX/SOL", "NOTE/TAX", "NOTE/SOL"),
    *("USDC/NEW", "NEW/USDC"),
)


class BlocksClock(QuickClock):
    """A clock on which sleeping takes no time, and makes the blocks that would have been made meanwhile."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger
        self._slept = 0.0

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.ahead += timedelta(seconds=seconds)
        self._slept += seconds
        blocks, self._slept = divmod(self._slept + 1e-9, self._ledger.block_time)
        self._ledger.produce(int(blocks))


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.produce(ledger.finalized_after)
    return ledger


@pytest.fixture
def node(ledger: Ledger) -> Iterator[RpcServer]:
    with RpcServer(ledger) as running:
        yield running


@pytest.fixture
def spare_node(ledger: Ledger) -> Iterator[RpcServer]:
    with RpcServer(ledger) as running:
        yield running


@pytest.fixture
def devnet(ledger: Ledger) -> Devnet:
    return Devnet(ledger)


@pytest.fixture
def same_tokens() -> Iterator[None]:
    """Trade the tokens again that were traded before: an engine on a cluster says which for the whole process."""
    before = dict(TOKENS)
    yield
    TOKENS.clear()
    TOKENS.update(before)


@pytest.fixture
def clock(ledger: Ledger) -> BlocksClock:
    return BlocksClock(ledger)


@pytest.fixture
def make_real_engine(
    make_engine: MakeEngine,
    devnet: Devnet,
    node: RpcServer,
    spare_node: RpcServer,
    clock: BlocksClock,
    same_tokens: None,
) -> Callable[..., Engine]:
    """Make engines that swap on the ledger."""

    def make(**settings: str) -> Engine:
        return make_engine(clock=clock, **devnet.settings([node, spare_node]) | settings)

    return make


@pytest.fixture
def engine(make_real_engine: Callable[..., Engine], serve: Callable[[Engine], Engine]) -> Engine:
    return serve(make_real_engine())


@pytest.fixture
def pools(devnet: Devnet) -> None:
    """Pools of both venues for SOL and USDC, Raydium's the better one for whoever sells SOL."""
    devnet.open_pool("raydium", "SOL/USDC", price=Decimal(151))
    devnet.open_pool("meteora", "SOL/USDC", price=Decimal(150))


def landed(devnet: Devnet, database: Database, order_id: str) -> Landing:
    """Return the one swap of a confirmed order."""
    assert database.event_names(order_id)[-1] == "confirmed", database.events(order_id)[-1]
    (landing,) = devnet.ledger.swaps_of(order_id)
    assert landing.sent.signature == confirmed(database, order_id)["txHash"]
    return landing


def confirmed(database: Database, order_id: str) -> dict[str, Any]:
    """Return what the last event of an order says."""
    details: dict[str, Any] = database.events(order_id)[-1]["details"]
    return details


class TestFills:
    """What an order says of its fill is what the wallet's balances say."""

    @pytest.mark.parametrize("pair", PAIRS)
    @pytest.mark.parametrize("side", ["sell", "buy"])
    @pytest.mark.parametrize("venue", VENUES)
    def test_a_market_order_moves_what_it_says(
        self, devnet, api, queues, database, venue: str, side: str, pair: str
    ) -> None:
        devnet.open_pool(venue, pair)
        token_in, token_out = pair.split("/")
        spent = token_in if side == "sell" else token_out
        if spent == "NEW":
            devnet.ledger.give(devnet.wallet.pubkey(), devnet.tokens["NEW"], devnet.units("NEW", 100))
        before = devnet.balances()

        order_id = api.place(tokenIn=token_in, tokenOut=token_out, side=side, amount=1.5)
        queues.work_off()

        landing, fill = landed(devnet, database, order_id), confirmed(database, order_id)
        assert database.event_names(order_id) == STEPS
        moved = {symbol: amount - before[symbol] for symbol, amount in devnet.balances().items()}
        moved["SOL"] += devnet.fees_of(landing)
        sign = 1 if side == "sell" else -1
        expected = dict.fromkeys(moved, Decimal(0))
        expected |= {token_in: -sign * fill["amountIn"], token_out: sign * fill["amountOut"]}
        assert moved == expected
        assert fill["executedPrice"] == pytest.approx(fill["amountOut"] / fill["amountIn"], rel=Decimal("1e-11"))
        if venue == "raydium" or side == "sell":
            assert fill["amountIn"] == Decimal("1.5")
        assert fill["amountIn"] == pytest.approx(Decimal("1.5"), rel=Decimal("0.01"))
        assert fill["venue"] == venue
        assert fill["explorerUrl"] == f"https://explorer.solana.com/tx/{landing.sent.signature}?cluster=devnet"

    @pytest.mark.parametrize("side", ["sell", "buy"])
    @pytest.mark.parametrize("venue", VENUES)
    def test_what_was_quoted_is_what_is_filled_when_nobody_came_between(
        self, devnet, api, queues, database, venue: str, side: str
    ) -> None:
        devnet.open_pool(venue, "TAX/USDC")

        order_id = api.place(tokenIn="TAX", side=side)
        queues.work_off()

        landed(devnet, database, order_id)
        fill, quote = confirmed(database, order_id), database.events(order_id)[1]["details"]["quotes"][venue]
        assert fill["amountOut"] == quote["amountOut"]
        assert Decimal("0.9475") < Decimal(quote["netPrice"]) / 2 < Decimal("1.0525")
        taxed = quote["netPrice"] / quote["price"]
        assert taxed < Decimal("0.975") if side == "sell" else taxed > Decimal("1.025")

    def test_the_wallets_own_wrapped_sol_is_left_alone(self, devnet, api, queues, database) -> None:
        devnet.open_pool("raydium", "SOL/USDC")
        own = devnet.ledger.give(devnet.wallet.pubkey(), devnet.tokens["SOL"], 12345)

        order_ids = [api.place(side=side) for side in ("sell", "buy")]
        queues.work_off()

        for order_id in order_ids:
            landed(devnet, database, order_id)
        assert devnet.ledger.tokens_in(own) == 12345

    def test_a_swap_leaves_no_account_behind_but_that_of_a_token_received_for_the_first_time(
        self, devnet, api, queues, database
    ) -> None:
        devnet.open_pool("raydium", "SOL/NEW")
        token_program = devnet.tokens["NEW"].program
        before = {address for address, _ in devnet.ledger.svm.get_program_accounts(token_program)}

        order_id = api.place(tokenOut="NEW")
        queues.work_off()

        landed(devnet, database, order_id)
        after = {address for address, _ in devnet.ledger.svm.get_program_accounts(token_program)}
        (new,) = after - before
        assert devnet.amount("NEW", devnet.ledger.tokens_in(new)) == confirmed(database, order_id)["amountOut"]


class TestRouting:
    @pytest.mark.parametrize(("side", "price", "best"), [
        ("sell", 155, "meteora"), ("sell", 145, "raydium"), ("buy", 155, "raydium"), ("buy", 145, "meteora"),
    ])  # fmt: skip
    def test_the_better_net_price_is_taken(self, devnet, api, queues, database, side, price, best) -> None:
        devnet.open_pool("raydium", "SOL/USDC", price=Decimal(150))
        devnet.open_pool("meteora", "SOL/USDC", price=Decimal(price))

        order_id = api.place(side=side)
        queues.work_off()

        landed(devnet, database, order_id)
        routing = database.events(order_id)[1]["details"]
        assert (routing["chosen"], routing["quotes"].keys()) == (best, set(VENUES))
        assert confirmed(database, order_id)["venue"] == best

    def test_of_many_pools_of_a_venue_the_best_is_taken(self, devnet, api, queues, database) -> None:
        for price in (149, 152, 150):
            devnet.open_pool("meteora", "SOL/USDC", price=Decimal(price))
        best = devnet.open_pool("meteora", "USDC/SOL", price=1 / Decimal(153))

        order_id = api.place()
        queues.work_off()

        landed(devnet, database, order_id)
        assert database.events(order_id)[2]["details"]["pool"] == str(best)

    @pytest.mark.parametrize("setting", [{"status": 4}, {"enable_creator_fee": True}], ids=str)
    def test_a_pool_that_cannot_be_swapped_in_is_said_and_passed_over(
        self, devnet, api, queues, database, setting
    ) -> None:
        closed = devnet.open_pool("raydium", "SOL/USDC", price=Decimal(200), **setting)
        devnet.open_pool("meteora", "SOL/USDC")

        order_id = api.place()
        queues.work_off()

        landed(devnet, database, order_id)
        assert str(closed) in database.events(order_id)[1]["details"]["errors"]["raydium"]

    def test_a_pair_without_a_pool_fails_at_once(self, devnet, api, queues, database) -> None:
        order_id = api.place(tokenIn="NOTE")
        queues.work_off()

        assert database.event_names(order_id) == ["pending", "failed"]
        assert "no pool for NOTE/USDC" in confirmed(database, order_id)["error"]


class TestCost:
    def test_a_quote_of_both_venues_takes_two_round_trips_cold_and_one_warm(
        self, devnet, pools, node, api, clock, record_property
    ) -> None:
        path = "/api/quotes?tokenIn=SOL&tokenOut=USDC&amount=1.5"
        with node.counted() as cold:
            assert api.get(path).status == 200
        clock.sleep(1)
        with node.counted() as warm:
            quotes = api.get(path)

        print(f"round trips of a quote of both venues: {len(cold)} cold {cold}, {len(warm)} warm {warm}")
        assert quotes.body["quotes"].keys() == set(VENUES)
        assert (len(cold), len(warm)) == (2, 1)

    def test_executing_an_order_takes_few_requests(self, devnet, pools, node, api, queues) -> None:
        with node.counted() as requests:
            api.place()
            queues.orders.poll()

        print(f"requests of an execution: {requests}")
        assert [set(methods) for methods in requests] == [
            {"getGenesisHash", "getProgramAccounts"},
            {"getMultipleAccounts"},
            {"getLatestBlockhash", "getRecentPrioritizationFees"},
            {"simulateTransaction"},
            {"sendTransaction"},
        ]

    def test_a_swap_takes_the_calls_that_the_page_of_scaling_counts(
        self, devnet, pools, node, api, queues, database, clock
    ) -> None:
        def calls_of_a_swap() -> Counter[str]:
            clock.sleep(1)
            before = node.calls
            order_id = api.place()
            queues.work_off()
            landed(devnet, database, order_id)
            return node.calls - before

        cold, warm = calls_of_a_swap(), calls_of_a_swap()

        looks = warm.pop("getSignatureStatuses")
        assert looks >= 1
        assert warm == SWAP_CALLS
        assert cold["getProgramAccounts"] == FINDING_CALLS

    def test_a_batch_is_settled_with_one_look_for_all(self, devnet, pools, node, api, queues, database) -> None:
        order_ids = [api.place(amount=amount) for amount in (1, 2, 3, 4)]
        queues.work_off(queues.orders)
        devnet.ledger.produce(2)
        queues.clock.pass_time(3)

        with node.counted() as requests:
            queues.settlements.poll()

        assert requests == [["getSignatureStatuses"], ["getTransaction"] * 4]
        for order_id in order_ids:
            landed(devnet, database, order_id)

    @pytest.mark.parametrize(("others_pay", "most"), [(10**4, 10**5), (10**9, 10**5), (0, 10**5), (10**9, 0)])
    def test_priority_is_paid_as_others_do_and_no_more_than_its_cap(
        self, devnet, make_real_engine, serve, pools, api, queues, database, others_pay: int, most: int
    ) -> None:
        serve(make_real_engine(SOLANA_MAX_PRIORITY_FEE=str(most)))
        devnet.ledger.priority_fees = (others_pay,) * 10

        order_id = api.place()
        queues.work_off()

        result = landed(devnet, database, order_id).result
        asked_for = -(-result.units * 11 // 10)
        paid = result.fee - 5000
        assert paid <= most
        assert paid == min(-(-asked_for * others_pay // 10**6), most) or most - 1 <= paid


class TestBounds:
    """The executed price is never worse than the order's bounds."""

    @pytest.mark.parametrize("venue", VENUES)
    def test_a_price_that_moved_too_far_before_it_landed_is_not_taken(
        self, devnet, api, queues, database, venue: str
    ) -> None:
        pool = devnet.open_pool(venue, "SOL/USDC")
        ledger = devnet.ledger
        before = devnet.balances()
        order_id = api.place(slippageTolerance=0.001)
        queues.orders.poll()
        move_pool(devnet, pool, devnet.open_pool(venue, "SOL/USDC", price=Decimal(149)))

        queues.work_off(queues.settlements)

        assert database.event_names(order_id)[-1] == "retrying"
        assert ledger.swaps_of(order_id) == []
        (failed,) = ledger.landings_of(order_id)
        assert failed.result.error["InstructionError"][1] == {"Custom": 6005 if venue == "raydium" else 6002}
        assert before["SOL"] - devnet.balances()["SOL"] == devnet.amount("SOL", failed.result.fee)
        queues.work_off()
        landed(devnet, database, order_id)
        assert confirmed(database, order_id)["executedPrice"] < 149

    @pytest.mark.parametrize("venue", VENUES)
    @pytest.mark.parametrize(("side", "limit", "then"), [("sell", 155, 160), ("buy", 145, 140)])
    def test_a_limit_order_waits_for_its_price_and_gets_no_worse(
        self, devnet, api, queues, database, engine, clock, venue: str, side: str, limit: int, then: int
    ) -> None:
        pool = devnet.open_pool(venue, "SOL/USDC")
        order_id = api.place(orderType="limit", side=side, limitPrice=limit)
        queues.work_off()
        clock.sleep(1)
        assert engine.market_watch.look() == 0
        assert database.event_names(order_id) == ["pending", "waiting"]

        move_pool(devnet, pool, devnet.open_pool(venue, "SOL/USDC", price=Decimal(then), worth=10**7))
        clock.sleep(61)
        assert engine.market_watch.look() == 1
        queues.work_off()

        landed(devnet, database, order_id)
        price = confirmed(database, order_id)["executedPrice"]
        assert price >= limit if side == "sell" else price <= limit

    def test_an_order_over_its_cap_is_not_sent(self, devnet, pools, api, queues, database, node) -> None:
        order_id = api.place(amount=5001)
        queues.work_off()

        assert database.event_names(order_id)[-1] == "failed"
        assert "SOLANA_MAX_PER_ORDER" in confirmed(database, order_id)["error"]
        assert node.calls["sendTransaction"] == 0

    def test_the_days_cap_holds_over_orders_at_once_and_what_was_spent_counts(
        self, make_real_engine, serve, devnet, pools, api, queues, database
    ) -> None:
        caps = {"SOLANA_MAX_PER_ORDER": "SOL=2,USDC=1000", "SOLANA_MAX_PER_DAY": "SOL=5,USDC=1000"}
        serve(make_real_engine(**caps))

        order_ids = [api.place(amount=2) for _ in range(4)]
        queues.work_off()

        ends = [database.event_names(order_id)[-1] for order_id in order_ids]
        assert sorted(ends) == ["confirmed", "confirmed", "failed", "failed"]
        spent = sum(len(devnet.ledger.swaps_of(order_id)) for order_id in order_ids)
        assert spent == 2

    @pytest.mark.parametrize("held", [0, 1_499_999])
    @pytest.mark.parametrize("venue", VENUES)
    def test_a_wallet_that_has_too_little_fails_at_once_and_pays_nothing(
        self, devnet, api, queues, database, node, venue: str, held: int
    ) -> None:
        devnet.open_pool(venue, "NEW/USDC")
        if held:
            devnet.ledger.give(devnet.wallet.pubkey(), devnet.tokens["NEW"], held)
        before = devnet.balances()

        order_id = api.place(tokenIn="NEW")
        queues.work_off()

        assert database.event_names(order_id)[-1] == "failed"
        assert "retrying" not in database.event_names(order_id)
        assert devnet.balances() == before
        assert node.calls["sendTransaction"] == 0


class TestSnipers:
    """What decides is that a pool is open, which its account says, whether it was announced or not."""

    @pytest.fixture(params=[False, True], ids=["unannounced", "announced"])
    def announced(self, request: pytest.FixtureRequest, engine: Engine) -> None:
        if request.param:
            engine.launches.take(Launch(pool="announced", token_in="NEW", token_out="USDC"), "message 1")

    @pytest.mark.parametrize(("venue", "opening"), [("raydium", "open_time"), ("meteora", "activation_point")])
    def test_a_sniper_buys_as_soon_as_a_pool_that_is_there_opens(
        self, devnet, api, queues, database, engine, clock, announced, venue: str, opening: str
    ) -> None:
        opens = devnet.ledger.moment.unix_timestamp + 60
        devnet.open_pool(venue, "NEW/USDC", **{opening: opens})
        order_id = api.place(orderType="sniper", tokenIn="NEW", amount=10, limitPrice=1000)
        queues.work_off()
        clock.sleep(30)
        assert engine.market_watch.look() == 0
        assert database.event_names(order_id) == ["pending", "waiting"]

        clock.sleep(30)
        assert engine.market_watch.look() == 1
        queues.work_off()

        assert landed(devnet, database, order_id).unix_timestamp <= opens + 2
        assert devnet.balances()["NEW"] == confirmed(database, order_id)["amountIn"]

    @pytest.mark.parametrize("venue", VENUES)
    def test_a_sniper_buys_in_a_pool_that_is_made_after_it_was_placed(
        self, devnet, api, queues, database, engine, clock, announced, venue: str
    ) -> None:
        order_id = api.place(orderType="sniper", tokenIn="NEW", amount=10, limitPrice=1000)
        queues.work_off()
        assert database.event_names(order_id) == ["pending", "waiting"]

        devnet.open_pool(venue, "NEW/USDC")
        clock.sleep(3)
        assert engine.market_watch.look() == 1
        queues.work_off()

        landed(devnet, database, order_id)

    def test_a_sniper_without_a_limit_trusts_no_pool_that_nobody_announced(
        self, devnet, api, queues, database, engine, clock
    ) -> None:
        devnet.open_pool("meteora", "NEW/USDC", worth=2, price=Decimal(2000))
        order_id = api.place(orderType="sniper", tokenIn="NEW", amount="0.1")
        queues.work_off()
        clock.sleep(3)

        assert engine.market_watch.look() == 0
        assert database.event_names(order_id) == ["pending", "waiting"]
        engine.launches.take(Launch(pool="announced", token_in="NEW"), "message 1")
        queues.work_off()

        landed(devnet, database, order_id)


HARMLESS = [Dropped(1), Dropped(3), Late(30), Late(148), Duplicated(), SlowlyConfirmed(20)]
COSTLY = [Expiring(), Late(149), Failing(6005)]


class TestFaults:
    """Whatever happens to a transaction on its way, an order is swapped once."""

    @pytest.mark.parametrize("fault", HARMLESS, ids=repr)
    def test_a_swap_that_lands_in_the_end_is_the_only_one(
        self, devnet, pools, api, queues, database, fault: Fault
    ) -> None:
        devnet.ledger.faults.append(fault)

        order_id = api.place()
        queues.work_off()

        landed(devnet, database, order_id)
        assert database.event_names(order_id) == STEPS
        assert len(database.swaps(order_id)) == 1

    @pytest.mark.parametrize("fault", COSTLY, ids=repr)
    def test_a_swap_that_can_no_longer_succeed_is_replaced_by_another(
        self, devnet, pools, api, queues, database, fault: Fault
    ) -> None:
        devnet.ledger.faults.append(fault)

        order_id = api.place()
        queues.work_off()

        landing = landed(devnet, database, order_id)
        assert database.event_names(order_id) == [*STEPS[:4], "retrying", *STEPS[1:]]
        assert landing.sent.attempt == 1, "counted from 0"
        assert [swap["state"] for swap in database.swaps(order_id)] == [
            "failed" if isinstance(fault, Failing) else "expired",
            "landed",
        ]

    @pytest.mark.parametrize("fault", COSTLY, ids=repr)
    def test_an_order_that_never_succeeds_fails_and_spends_fees_only(
        self, devnet, pools, api, queues, database, fault: Fault
    ) -> None:
        devnet.ledger.fault_of = lambda sent: fault
        before = devnet.balances()

        order_id = api.place()
        queues.work_off()

        assert database.event_names(order_id)[-1] == "failed"
        assert database.order(order_id)["attempts"] == 3
        fees = sum(landing.result.fee for landing in devnet.ledger.landings_of(order_id))
        assert devnet.ledger.swaps_of(order_id) == []
        assert {symbol: amount - before[symbol] for symbol, amount in devnet.balances().items()} == {
            **dict.fromkeys(before, Decimal(0)),
            "SOL": -devnet.amount("SOL", fees),
        }

    def test_the_same_bytes_are_sent_until_they_expire(self, devnet, pools, api, queues, database) -> None:
        devnet.ledger.faults.append(Dropped(5))

        order_id = api.place()
        queues.work_off()

        landing = landed(devnet, database, order_id)
        assert landing.sent.times == 6
        assert len(devnet.ledger.sent) == 1

    def test_an_answer_that_is_lost_changes_nothing(self, devnet, pools, api, queues, database, node) -> None:
        node.lost_answers = 1

        order_id = api.place()
        queues.work_off()

        landed(devnet, database, order_id)
        assert len(devnet.ledger.sent) == 1

    def test_a_node_that_refuses_what_has_landed_already_changes_nothing(
        self, devnet, pools, api, queues, database, node
    ) -> None:
        node.refuses_landed, node.blocks_behind = True, 15

        order_id = api.place()
        queues.work_off()

        landed(devnet, database, order_id)
        assert devnet.ledger.sent[confirmed(database, order_id)["txHash"]].times > 1

    def test_an_order_is_swapped_through_a_second_node_when_the_first_is_down(
        self, devnet, pools, api, queues, database, node, spare_node
    ) -> None:
        node.is_down = True

        order_id = api.place()
        queues.work_off()

        landed(devnet, database, order_id)
        assert spare_node.calls["sendTransaction"] == 1

    def test_a_node_that_limits_our_rate_is_left_alone_for_as_long_as_it_says(
        self, devnet, pools, api, queues, database, node, spare_node
    ) -> None:
        node.rate_limited, node.retry_after = 1, "30"

        order_id = api.place()
        queues.orders.poll()

        assert len(node.posts) == 1
        queues.work_off()
        landed(devnet, database, order_id)

    def test_a_cluster_that_nobody_reaches_costs_a_try_before_a_swap_was_signed(
        self, devnet, pools, api, queues, database, node, spare_node
    ) -> None:
        node.is_down = spare_node.is_down = True

        order_id = api.place()
        queues.work_off()

        assert database.event_names(order_id) == ["pending", "retrying", "retrying", "failed"]
        assert database.swaps(order_id) == []

    def test_a_cluster_that_nobody_reaches_costs_nothing_once_a_swap_was_sent(
        self, devnet, pools, api, queues, database, node, spare_node
    ) -> None:
        order_id = api.place()
        queues.orders.poll()
        node.is_down = spare_node.is_down = True
        for _ in range(30):
            queues.clock.pass_time(3)
            queues.settlements.poll()
        assert database.order(order_id)["status"] == "submitted"

        node.is_down = spare_node.is_down = False
        queues.work_off()

        landed(devnet, database, order_id)
        assert database.event_names(order_id) == STEPS

    def test_a_node_that_is_far_behind_does_not_have_a_landed_swap_replaced(
        self, devnet, pools, api, queues, database, node, spare_node
    ) -> None:
        node.blocks_behind = spare_node.blocks_behind = 300

        order_id = api.place()
        queues.work_off()

        landed(devnet, database, order_id)
        assert len(database.swaps(order_id)) == 1

    def test_a_node_that_forgets_what_landed_cannot_have_it_replaced(
        self, devnet, pools, api, queues, database, node
    ) -> None:
        order_id = api.place()
        queues.orders.poll()
        devnet.ledger.produce(400)

        queues.work_off()

        landed(devnet, database, order_id)

    def test_transactions_that_cannot_be_read_yet_are_read_later(
        self, devnet, pools, api, queues, database, node
    ) -> None:
        node.refusals.extend([("getTransaction", RpcError(-32004, "Block not available for slot"))] * 3)

        order_id = api.place()
        queues.work_off()

        landed(devnet, database, order_id)


LIVES = 12


class TestCrashes:
    """A worker may die before any of its effects: the order ends, and at most one swap lands."""

    @pytest.fixture
    def ledger(self) -> Ledger:
        ledger = Ledger(valid_blocks=15, finalized_after=2)
        ledger.produce(2)
        return ledger

    @pytest.mark.parametrize("fault", [None, Dropped(1), Failing(6005), Expiring(), Late(5)], ids=repr)
    def test_an_order_is_swapped_once_wherever_its_worker_dies(
        self, devnet, pools, api, queues, database, make_real_engine, serve, let_time_pass, monkeypatch, fault
    ) -> None:
        monkeypatch.setattr("chalicelib.venues.solana.signing.LIFETIME", timedelta(seconds=6))
        deaths = 0
        while True:
            fate = Fate([deaths + 1])
            devnet.ledger.faults.append(fault)
            order_id = api.place()
            for _ in range(LIVES):
                engine = serve(make_real_engine())
                mortal(engine, fate)
                try:
                    engine.recovery.recover()
                    queues.work_off()
                except Killed:
                    let_time_pass(3600)
                    queues.clock.pass_time(100)
                if database.order(order_id)["status"] in ("confirmed", "failed"):
                    break
                let_time_pass(3600)
            landed(devnet, database, order_id)
            assert [event["seq"] for event in database.events(order_id)] == list(
                range(1, len(database.events(order_id)) + 1)
            )
            devnet.ledger.faults.clear()
            if not fate.fulfilled:
                break
            deaths += 1
        print(f"{deaths} places to die at, with {fault}")
        assert deaths >= 8


class TestStorm:
    """Everything at once, drawn by chance: no order is swapped twice or lost, and the books agree with the chain."""

    @pytest.fixture
    def ledger(self) -> Ledger:
        ledger = Ledger(valid_blocks=20, finalized_after=4)
        ledger.produce(4)
        return ledger

    @pytest.mark.parametrize("seed", range(2))
    def test_the_books_agree_with_the_chain_whatever_happened(
        self, devnet, api, queues, database, make_real_engine, serve, let_time_pass, monkeypatch, node, spare_node, seed
    ) -> None:
        monkeypatch.setattr("chalicelib.venues.solana.signing.LIFETIME", timedelta(seconds=8))
        chance = Random(seed)
        for venue in VENUES:
            for pair in ("SOL/USDC", "TAX/USDC", "NOTE/SOL"):
                devnet.open_pool(venue, pair, price=price_near(pair, chance))
        devnet.ledger.fault_of = lambda sent: chance.choice([None, None, None, *HARMLESS, *COSTLY])
        before = devnet.balances()
        order_ids = []
        for _ in range(15):
            token_in, token_out = chance.choice(("SOL/USDC", "TAX/USDC", "NOTE/SOL")).split("/")
            side, amount = chance.choice(("sell", "buy")), chance.randint(1, 20)
            order_ids.append(api.place(tokenIn=token_in, tokenOut=token_out, side=side, amount=amount))

        while not all(database.order(order_id)["status"] in ("confirmed", "failed") for order_id in order_ids):
            engine = serve(make_real_engine())
            mortal(engine, Fate([chance.randint(1, 60)]))
            for one in (node, spare_node):
                one.is_down = chance.random() < 0.2
                one.blocks_behind = chance.choice((0, 0, 3, 10))
                one.rate_limited, one.lost_answers = chance.choice((0, 0, 1)), chance.choice((0, 0, 1))
                one.refuses_landed = chance.random() < 0.5
            try:
                engine.recovery.recover()
                queues.work_off()
            except Killed:
                queues.clock.pass_time(100)
            let_time_pass(3600)

        ends = Counter(database.order(order_id)["status"] for order_id in order_ids)
        print(f"storm {seed}: {dict(ends)}, {len(devnet.ledger.sent)} sent, {len(devnet.ledger.landings)} landed")
        expected = dict.fromkeys(before, Decimal(0))
        for order_id in order_ids:
            events, swaps = database.events(order_id), devnet.ledger.swaps_of(order_id)
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
            assert len(swaps) == (events[-1]["event"] == "confirmed"), events[-1]
            for landing in devnet.ledger.landings_of(order_id):
                expected["SOL"] -= devnet.fees_of(landing)
            if swaps:
                order, fill = database.order(order_id), confirmed(database, order_id)
                assert fill["txHash"] == swaps[0].sent.signature
                sign = 1 if order["side"] == "sell" else -1
                expected[order["token_in"]] -= sign * fill["amountIn"]
                expected[order["token_out"]] += sign * fill["amountOut"]
        assert {symbol: amount - before[symbol] for symbol, amount in devnet.balances().items()} == expected
        assert ends["confirmed"] > 5


def price_near(pair: str, chance: Random) -> Decimal:
    """A price about what the tokens are worth, as venues differ."""
    base, other = pair.split("/")
    return WORTH[base] / WORTH[other] * Decimal(chance.randint(98, 102)) / 100


def mortal(engine: Engine, fate: Fate) -> None:
    """Have every effect of an engine be a moment at which its process may die."""
    engine.database.run = fate.wrap("statement", engine.database.run)  # type: ignore[method-assign]
    for queue in (engine.order_queue, engine.settlement_queue):
        for effect in ("send", "send_all"):
            setattr(queue, effect, fate.wrap(effect, getattr(queue, effect)))
    engine.chain = MortalChain(engine.chain, fate)


class MortalChain:
    """A chain whose sender may die before a swap is sent, and after it was."""

    def __init__(self, chain: Chain, fate: Fate) -> None:
        self._chain = chain
        self._fate = fate

    def submit(self, transaction: SignedTransaction) -> None:
        self._fate.reach("send")
        self._chain.submit(transaction)
        self._fate.reach("sent")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)


def move_pool(devnet: Devnet, pool: Any, like: Any) -> None:
    """Have a pool hold what another one does, which is gone then: others have traded in it."""
    ledger = devnet.ledger
    there, other = ledger.account(pool), ledger.account(like)
    start = 72 if there.owner == ledger.raydium.program else 232
    for place in (start, start + 32):
        ours, theirs = (Pubkey(account.data[place : place + 32]) for account in (there, other))
        ledger.put(ours, ledger.account(theirs))
    if there.owner == ledger.meteora.program:
        data = bytearray(there.data)
        for part in (slice(360, 376), slice(456, 472), slice(680, 696)):
            data[part] = other.data[part]
        ledger.put(pool, with_data(there, bytes(data)))
    ledger.put(like, with_data(other, bytes(len(other.data))))

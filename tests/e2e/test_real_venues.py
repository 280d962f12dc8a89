"""Orders that swap for real, over HTTP and WebSocket, on a stack of their own and a Solana in this process.

What is real of that Solana, and what is stood in for, says tests/solana/ledger.py. Its blocks are made ten times a
second, and that much of its time passes.
"""

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.local.stack import Stack
from tests.builders import STEPS
from tests.e2e.client import MARKET_ORDER, Client, at_once
from tests.solana.devnet import Devnet
from tests.solana.faults import Dropped, Duplicated, Failing
from tests.solana.ledger import Ledger
from tests.solana.rpc_server import RpcServer

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.laptop("its engine swaps on a chain that only this process has"),
    pytest.mark.xdist_group("real venues"),
]

BLOCK_SECONDS = 0.1


@pytest.fixture(scope="module")
def devnet() -> Iterator[Devnet]:
    ledger = Ledger(block_time=BLOCK_SECONDS, unix_timestamp=time.time())
    ledger.produce(ledger.finalized_after)
    devnet = Devnet(ledger)
    devnet.open_pool("raydium", "SOL/USDC", price=Decimal(151))
    devnet.open_pool("meteora", "SOL/USDC", price=Decimal(150))
    devnet.open_pool("raydium", "TAX/USDC")
    devnet.open_pool("meteora", "NOTE/USDC")
    with ledger.running(BLOCK_SECONDS):
        yield devnet


@pytest.fixture(scope="module")
def node(devnet: Devnet) -> Iterator[RpcServer]:
    with RpcServer(devnet.ledger) as running:
        yield running


@pytest.fixture(scope="module")
def own_stack(
    make_data_dir: Callable[[], Path], settings: dict[str, str], devnet: Devnet, node: RpcServer
) -> Iterator[Stack]:
    environment = {**settings, "BACKOFF_BASE_MS": "100", **devnet.settings([node])}
    with Stack(port=0, data_dir=make_data_dir(), environment=environment) as running:
        yield running


@pytest.fixture
def own_client(own_stack: Stack) -> Client:
    return Client(own_stack.url, own_stack.websocket_url)


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in events]


def assert_swapped_once(devnet: Devnet, events: list[dict[str, Any]]) -> None:
    """The order's one swap is what its last event says, and anybody can look it up."""
    (landing,) = devnet.ledger.swaps_of(events[-1]["orderId"])
    confirmed = events[-1]
    assert confirmed["event"] == "confirmed", confirmed
    assert confirmed["txHash"] == landing.sent.signature
    explorer_url = f"https://explorer.solana.com/tx/{landing.sent.signature}?cluster=devnet"
    assert confirmed["details"]["explorerUrl"] == explorer_url


def test_orders_of_every_kind_are_swapped_once_and_filled_as_the_balances_say(
    own_client: Client, devnet: Devnet
) -> None:
    before = devnet.balances()
    orders = [
        {"tokenIn": "SOL", "side": "sell", "amount": 2},
        {"tokenIn": "SOL", "side": "buy", "amount": 1},
        {"tokenIn": "TAX", "side": "sell", "amount": 30},
        {"tokenIn": "TAX", "side": "buy", "amount": 20},
        {"tokenIn": "NOTE", "side": "sell", "amount": 5},
        {"tokenIn": "NOTE", "side": "buy", "amount": 4},
    ]

    streams = at_once(lambda order: own_client.execute(**order), orders)

    expected = dict.fromkeys(before, Decimal(0))
    for order, events in zip(orders, streams, strict=True):
        assert names(events) == STEPS
        assert_swapped_once(devnet, events)
        sign = 1 if order["side"] == "sell" else -1
        fill = events[-1]["details"]
        expected[str(order["tokenIn"])] -= sign * fill["amountIn"]
        expected["USDC"] += sign * fill["amountOut"]
        (landing,) = devnet.ledger.swaps_of(events[-1]["orderId"])
        expected["SOL"] -= devnet.fees_of(landing)
    assert {symbol: amount - before[symbol] for symbol, amount in devnet.balances().items()} == expected


def test_what_goes_wrong_on_the_way_ends_in_one_swap(own_client: Client, devnet: Devnet) -> None:
    troubles = [Dropped(1), Failing(6005), Duplicated()]
    devnet.ledger.faults.extend(troubles)

    streams = at_once(lambda _: own_client.execute(), troubles)

    for events in streams:
        assert_swapped_once(devnet, events)
    assert sum("retrying" in names(events) for events in streams) == 1
    assert len(devnet.ledger.already_processed) == 1


def test_a_quote_is_of_both_venues_and_shown_with_their_pools(own_client: Client, node: RpcServer) -> None:
    own_client.get("/api/quotes", tokenIn="SOL", tokenOut="USDC", amount=1)

    with node.counted() as requests:
        answer = own_client.get("/api/quotes", tokenIn="SOL", tokenOut="USDC", amount=1)

    assert answer.body["quotes"].keys() == {"raydium", "meteora"}
    assert len(requests) <= 2, requests


def test_an_order_beyond_its_cap_fails_and_spends_nothing(own_client: Client, devnet: Devnet) -> None:
    before = devnet.balances()

    failed = own_client.execute(amount=5001)[-1]

    assert failed["event"] == "failed"
    assert "at most 5000 are allowed (SOLANA_MAX_PER_ORDER)" in failed["error"]
    assert devnet.balances() == before


def test_only_tokens_of_the_cluster_are_traded(own_client: Client) -> None:
    refused = own_client.post("/api/orders/execute", {**MARKET_ORDER, "tokenIn": "BONK"})

    assert refused.status == 400
    assert "known are SOL, USDC, TAX, NOTE, NEW" in str(refused.body["errors"])

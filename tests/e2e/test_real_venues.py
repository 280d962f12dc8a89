"""The whole engine with the real venues: its package, its settings and its functions, against the tests' own Solana."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from solders.keypair import Keypair

from infra.local.stack import Stack
from tests.e2e.client import MARKET_ORDER, Client
from tests.solana.accounts import LAMPORTS, Mint
from tests.solana.ledger import Ledger
from tests.solana.rpc_server import RpcServer

pytestmark = [
    pytest.mark.timeout(300),  # it may have to download what ships
    pytest.mark.laptop("it starts a stack that swaps for real, on a Solana of its own"),
    pytest.mark.xdist_group("real venues"),
]

WHOLE = 10**6
"""Base units of a token."""
BLOCK_SECONDS = 0.1


class Market:
    """A chain with two tokens that both venues trade, and a wallet that has them."""

    def __init__(self) -> None:
        # So many blocks take as long as a blockhash lasts on a cluster.
        self.ledger = Ledger(valid_blocks=600)
        self.ledger.produce(50)
        self.wallet: Keypair = self.ledger.new_wallet(10 * LAMPORTS)
        self.foo, self.bar = self.ledger.new_mint(6), self.ledger.new_mint(6)
        for token in (self.foo, self.bar):
            self.ledger.give(self.wallet.pubkey(), token, 1_000 * WHOLE)
        self.ledger.new_raydium_pool(self.foo, self.bar, (100_000 * WHOLE, 200_000 * WHOLE))
        self.ledger.new_meteora_pool(self.foo, self.bar, (100_000 * WHOLE, 210_000 * WHOLE))

    def settings(self, node: RpcServer) -> dict[str, str]:
        return {
            "USE_REAL_DEVNET": "true",
            "SOLANA_RPC_URLS": node.url,
            "SOLANA_WALLET_KEY": str(self.wallet),
            "SOLANA_TOKENS": f"FOO={self.foo.address}:6,BAR={self.bar.address}:6",
            "SOLANA_MAX_PER_ORDER": "FOO=10,BAR=100",
            "SOLANA_MAX_PER_DAY": "FOO=15,BAR=100",
        }

    def held(self, token: Mint) -> Decimal:
        return Decimal(self.ledger.held(self.wallet.pubkey(), token)) / WHOLE


@pytest.fixture(scope="module")
def market() -> Market:
    return Market()


@pytest.fixture(scope="module")
def client(market: Market, make_data_dir: Callable[[], Path], settings: dict[str, str]) -> Iterator[Client]:
    with (
        RpcServer(market.ledger) as node,
        market.ledger.running(BLOCK_SECONDS),
        Stack(port=0, data_dir=make_data_dir(), environment={**settings, **market.settings(node)}) as stack,
    ):
        yield Client(stack.url, stack.websocket_url)


def test_an_order_is_swapped_on_the_better_venue_once_and_filled_as_the_wallet_was(client, market) -> None:
    before = market.held(market.foo), market.held(market.bar)

    events = client.execute(tokenIn="FOO", tokenOut="BAR", amount=1)

    assert [event["event"] for event in events] == ["pending", "routing", "building", "submitted", "confirmed"]
    filled = events[-1]["details"]
    assert filled["venue"] == "meteora"
    assert market.held(market.foo) == before[0] - 1
    assert market.held(market.bar) == before[1] + Decimal(str(filled["amountOut"]))
    assert filled["explorerUrl"] == f"https://explorer.solana.com/tx/{filled['txHash']}?cluster=devnet"
    assert len(market.ledger.swaps_of(events[0]["orderId"])) == 1


def test_an_order_beyond_its_cap_fails_and_spends_nothing(client, market) -> None:
    before = market.held(market.foo)

    failed = client.execute(tokenIn="FOO", tokenOut="BAR", amount=11)[-1]

    assert failed["event"] == "failed"
    assert "at most 10 are allowed (SOLANA_MAX_PER_ORDER)" in failed["error"]
    assert market.held(market.foo) == before


def test_only_tokens_of_the_cluster_are_traded(client) -> None:
    refused = client.post("/api/orders/execute", {**MARKET_ORDER, "tokenIn": "JUP"})

    assert refused.status == 400
    assert "known are SOL, USDC, FOO, BAR" in str(refused.body["errors"])

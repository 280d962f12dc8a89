"""How swaps that ran on the tests' chain end for the engine: what its wallet really lost and gained, or why it did not.

Amounts are not taken from a plan or a quote: they are compared with what the ledger holds before and after.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from chalicelib.clock import Clock
from chalicelib.orders.swap import SignedTransaction, SwapOutcome, SwapStatus
from chalicelib.resources.solana_rpc import BlockHeight, LastLook, SolanaRpc, Statuses
from chalicelib.venues.raydium import Raydium
from chalicelib.venues.solana.chain import SolanaChain
from chalicelib.venues.solana.clusters import CLUSTERS
from chalicelib.venues.solana.pool import Moment
from chalicelib.venues.solana.transaction import ComputeBudget, WalletSwap, compose, sign
from chalicelib.venues.venue import VenueUnavailable
from tests.builders import NOON
from tests.clocks import StoppedClock
from tests.solana.accounts import LAMPORTS, TOKEN_2022_PROGRAM, TOKEN_PROGRAM, Mint, TransferFee
from tests.solana.faults import Dropped, Duplicated, Expiring, Failing, Late, SlowlyConfirmed
from tests.solana.ledger import Ledger
from tests.solana.rpc_server import RpcServer
from tests.solana.transactions import meteora_swap, raydium_swap, signed

VALID_BLOCKS, FINALIZED_AFTER = 20, 4
MANY_BLOCKS = VALID_BLOCKS + 2 * FINALIZED_AFTER
DEVNET = CLUSTERS["devnet"]
FEE = 5000
"""Lamports for a signature."""


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(valid_blocks=VALID_BLOCKS, finalized_after=FINALIZED_AFTER)
    ledger.produce(10)
    return ledger


@pytest.fixture
def node(ledger: Ledger) -> Iterator[RpcServer]:
    with RpcServer(ledger) as node:
        yield node


@pytest.fixture
def rpc(node: RpcServer) -> SolanaRpc:
    return SolanaRpc([node.url], Clock())


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def chain(rpc: SolanaRpc, clock: StoppedClock) -> SolanaChain:
    return SolanaChain(rpc=rpc, explorer_url=DEVNET.explorer_url, clock=clock)


@pytest.fixture
def wallet(ledger: Ledger) -> Keypair:
    return ledger.new_wallet(10 * LAMPORTS)


class Pair(NamedTuple):
    """Two tokens that the wallet has, with a pool of them at each venue."""

    base: Mint
    quote: Mint
    pools: dict[str, Pubkey]


def a_pair(ledger: Ledger, wallet: Keypair, **program: Any) -> Pair:
    base, quote = ledger.new_mint(9, **program), ledger.new_mint(6, **program)
    ledger.give(wallet.pubkey(), base, 10**12)
    ledger.give(wallet.pubkey(), quote, 10**12)
    amounts = (10**12, 150 * 10**9)
    pools = {
        "raydium": ledger.new_raydium_pool(base, quote, amounts),
        "meteora": ledger.new_meteora_pool(base, quote, amounts),
    }
    return Pair(base, quote, pools)


def transaction(ledger: Ledger, payload: bytes, venue: str) -> SignedTransaction:
    """Return what the engine would have recorded."""
    read = VersionedTransaction.from_bytes(payload)
    return SignedTransaction(
        tx_hash=str(read.signatures[0]),
        venue=venue,
        payload=payload,
        expires_at=NOON + timedelta(seconds=60),
        last_valid_block_height=ledger.last_valid_height(read.message.recent_blockhash),
    )


@pytest.fixture
def sell(ledger: Ledger, wallet: Keypair) -> Callable[..., SignedTransaction]:
    """Sign a sale of base units of the pair's base token, which has not been sent yet."""

    def sell(pair: Pair, venue: str, amount: int = 10**9, least: int = 0) -> SignedTransaction:
        instruction = {"raydium": raydium_swap, "meteora": meteora_swap}[venue]
        swap = instruction(ledger, wallet, pair.pools[venue], (pair.base, pair.quote), amount, least)
        return transaction(ledger, signed(ledger, wallet, swap), venue)

    return sell


every_venue = pytest.mark.parametrize("venue", ["raydium", "meteora"])


@every_venue
@pytest.mark.parametrize(
    "program",
    [{}, {"program": TOKEN_2022_PROGRAM}, {"program": TOKEN_2022_PROGRAM, "fee": TransferFee(100, 10**12)}],
    ids=["SPL", "Token-2022", "Token-2022 with a fee"],
)
def test_a_swap_moved_what_the_wallet_lost_and_gained(ledger, wallet, chain, sell, venue, program) -> None:
    pair = a_pair(ledger, wallet, **program)
    swap = sell(pair, venue)

    chain.submit(swap)
    assert chain.statuses([swap]) == {}
    ledger.produce(2)

    received = ledger.held(wallet.pubkey(), pair.quote) - 10**12
    assert received > 0
    assert chain.statuses([swap]) == {
        swap.tx_hash: SwapStatus(
            outcome=SwapOutcome.LANDED,
            spent=Decimal(1),
            received=Decimal(received).scaleb(-6),
            explorer_url=f"https://explorer.solana.com/tx/{swap.tx_hash}?cluster=devnet",
        )
    }


@pytest.mark.parametrize("gives_sol", [True, False], ids=["SOL in", "SOL out"])
def test_sol_moved_is_what_the_wallet_lost_and_gained_besides_fees(ledger, wallet, chain, rpc, gives_sol) -> None:
    token, sol = ledger.new_mint(6), ledger.wrapped_sol
    ledger.give(wallet.pubkey(), token, 10**9)
    pool = ledger.new_raydium_pool(sol, token, (10**12, 150 * 10**9))
    spent, bought = (sol, token) if gives_sol else (token, sol)
    swap = sol_swap(ledger, wallet, rpc, pool, spent, bought)
    lamports, tokens = ledger.lamports(wallet.pubkey()), ledger.held(wallet.pubkey(), token)

    chain.submit(swap)
    ledger.produce(2)

    gained = Decimal(ledger.lamports(wallet.pubkey()) - lamports + FEE).scaleb(-9)
    gained_tokens = Decimal(ledger.held(wallet.pubkey(), token) - tokens).scaleb(-6)
    ended = chain.statuses([swap])[swap.tx_hash]
    assert (ended.spent, ended.received) == ((-gained, gained_tokens) if gives_sol else (-gained_tokens, gained))
    assert ended.spent == (Decimal("0.1") if gives_sol else 100)


def sol_swap(
    ledger: Ledger, wallet: Keypair, rpc: SolanaRpc, pool: Pubkey, spent: Mint, bought: Mint
) -> SignedTransaction:
    """Return a swap of a tenth of a SOL, or for some SOL, as the engine composes it."""
    raydium, address = Raydium(*DEVNET.raydium), str(pool)
    pool_account = rpc.accounts([address])[0]
    needed = raydium.needs(address, pool_account.data)
    accounts = {address: pool_account, **dict(zip(needed, rpc.accounts(needed), strict=True))}
    planned = WalletSwap(
        pool=raydium.live(address, accounts, Moment(*ledger.moment)),
        wallet=str(wallet.pubkey()),
        order_id="5f3c2d1e-0000-4000-8000-000000000000",
        attempt=1,
        input_mint=str(spent.address),
        input_program=str(TOKEN_PROGRAM),
        output_mint=str(bought.address),
        output_program=str(TOKEN_PROGRAM),
        amount_in=10**8,
        amount_out=0,
        exact_out=False,
    )
    made = sign(compose(planned, ComputeBudget(200_000, 0)), wallet, str(ledger.blockhash()))
    return transaction(ledger, made.payload, "raydium")


@every_venue
def test_a_swap_that_broke_its_bound_failed_and_took_nothing(ledger, wallet, chain, sell, venue) -> None:
    pair = a_pair(ledger, wallet)
    swap = sell(pair, venue, least=10**15)

    chain.submit(swap)
    ledger.produce(2)

    ended = chain.statuses([swap])[swap.tx_hash]
    assert ended.outcome is SwapOutcome.FAILED
    assert ended.error.startswith("slippage: the price has moved beyond what the swap accepts")
    assert ledger.held(wallet.pubkey(), pair.base) == 10**12


@every_venue
def test_a_swap_of_more_than_there_is_failed_for_lack_of_funds(ledger, wallet, chain, sell, venue) -> None:
    swap = sell(a_pair(ledger, wallet), venue, amount=10**13)

    chain.submit(swap)
    ledger.produce(2)

    ended = chain.statuses([swap])[swap.tx_hash]
    assert (ended.outcome, ended.error.partition(":")[0]) == (SwapOutcome.FAILED, "insufficient funds")


@pytest.mark.parametrize(
    "fault",
    [Late(VALID_BLOCKS - 5), Dropped(), Duplicated(), SlowlyConfirmed(5)],
    ids=["late", "dropped once", "delivered twice", "confirmed slowly"],
)
def test_a_swap_with_which_not_all_goes_well_lands_once_and_is_never_given_up(
    ledger, wallet, chain, sell, clock, fault
):
    pair = a_pair(ledger, wallet)
    swap = sell(pair, "raydium")
    ledger.faults.append(fault)
    outcomes = []
    clock.pass_time(60)

    for _ in range(MANY_BLOCKS):
        chain.submit(swap)
        ledger.produce()
        outcomes += [status.outcome for status in chain.statuses([swap]).values()]

    assert set(outcomes) == {SwapOutcome.LANDED}
    assert ledger.held(wallet.pubkey(), pair.base) == 10**12 - 10**9


def test_a_swap_that_never_lands_expires_once_its_last_block_is_finalized_and_not_before(
    ledger, wallet, chain, sell, clock
) -> None:
    swap = sell(a_pair(ledger, wallet), "raydium")
    ledger.faults.append(Expiring())
    chain.submit(swap)
    clock.pass_time(60)

    while not (ended := chain.statuses([swap])):
        assert ledger.height - FINALIZED_AFTER <= swap.last_valid_block_height
        ledger.produce()

    assert ended == {swap.tx_hash: SwapStatus(outcome=SwapOutcome.EXPIRED)}
    assert ledger.height - FINALIZED_AFTER == swap.last_valid_block_height + 1


def test_a_swap_that_is_known_from_the_history_only_has_landed(ledger, wallet, chain, sell, clock, node) -> None:
    swap = sell(a_pair(ledger, wallet), "meteora")
    chain.submit(swap)
    ledger.produce(400)
    clock.pass_time(3600)

    with node.counted() as requests:
        assert chain.statuses([swap])[swap.tx_hash].outcome is SwapOutcome.LANDED

    last_look = ["getEpochInfo", "getFirstAvailableBlock", "getSignatureStatuses"]
    assert requests == [["getSignatureStatuses"], ["getEpochInfo"], last_look, ["getTransaction"]]


@pytest.mark.parametrize("blocks", [1, 500], ids=["started since", "keeps some blocks only"])
def test_a_node_without_the_blocks_that_a_swap_could_land_in_never_expires_it(
    ledger, wallet, chain, sell, clock, node, blocks
) -> None:
    """Days may lie between: what a stack sent before it was stopped is looked for when it is started again."""
    swap = sell(a_pair(ledger, wallet), "raydium")
    chain.submit(swap)
    ledger.produce(blocks)
    node.first_height = ledger.height + 1
    ledger.produce(MANY_BLOCKS)
    clock.pass_time(3600)

    assert chain.statuses([swap]) == {}
    node.first_height = 0
    assert chain.statuses([swap])[swap.tx_hash].outcome is SwapOutcome.LANDED


def test_a_node_on_a_fork_that_was_dropped_gives_no_swap_up_that_landed_elsewhere(
    ledger, wallet, sell, clock, node, rpc
) -> None:
    swap = sell(a_pair(ledger, wallet), "raydium")
    with RpcServer(ledger) as forked:
        forked.forked_at = ledger.height
        nodes = TwoNodes(rpc, SolanaRpc([forked.url], Clock()))
        chain = SolanaChain(rpc=nodes, explorer_url=DEVNET.explorer_url, clock=clock)
        chain.submit(swap)
        ledger.produce(MANY_BLOCKS)
        clock.pass_time(60)

        assert chain.statuses([swap]) == {}
    assert len(ledger.landings) == 1


def test_a_node_that_lags_behind_gives_no_swap_up_that_landed_in_its_last_block(
    ledger, wallet, sell, clock, node, rpc
) -> None:
    """One node says that no block is left for it; another, which has not seen the last of those, is asked for it."""
    swap = sell(a_pair(ledger, wallet), "raydium")
    ledger.faults.append(Late(VALID_BLOCKS - 1))
    with RpcServer(ledger) as lagging:
        lagging.blocks_behind = 2 * FINALIZED_AFTER
        chain = SolanaChain(
            rpc=TwoNodes(rpc, SolanaRpc([lagging.url], Clock())), explorer_url=DEVNET.explorer_url, clock=clock
        )
        chain.submit(swap)
        clock.pass_time(60)
        outcomes = []
        for _ in range(MANY_BLOCKS + lagging.blocks_behind):
            ledger.produce()
            outcomes += [status.outcome for status in chain.statuses([swap]).values()]

    assert len(ledger.landings) == 1
    assert set(outcomes) == {SwapOutcome.LANDED}


def test_a_node_of_another_cluster_is_never_asked_what_became_of_a_swap(ledger, wallet, sell, clock, node) -> None:
    """Its blocks are higher, and it does not know the swap: all that an expiry takes."""
    stranger = Ledger(genesis_hash="5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d")
    stranger.produce(1000)
    swap = sell(a_pair(ledger, wallet), "raydium")
    ledger.faults.append(Late(VALID_BLOCKS - 5))
    with RpcServer(stranger) as other:
        rpc = SolanaRpc([node.url, other.url], Clock(), DEVNET.genesis_hash)
        chain = SolanaChain(rpc=rpc, explorer_url=DEVNET.explorer_url, clock=clock)
        chain.submit(swap)
        clock.pass_time(60)
        node.is_down = True

        with pytest.raises(VenueUnavailable, match="a node of another cluster than SOLANA_CLUSTER says"):
            chain.statuses([swap])
    ledger.produce(VALID_BLOCKS)
    assert len(ledger.landings) == 1


class TwoNodes:
    """A cluster whose heights one node tells, and whose transactions another."""

    def __init__(self, ahead: SolanaRpc, behind: SolanaRpc) -> None:
        self.block_height: Callable[[], BlockHeight] = ahead.block_height
        self.send: Callable[[bytes], None] = ahead.send
        self.signature_statuses: Callable[..., Statuses] = behind.signature_statuses
        self.last_looks: Callable[..., list[LastLook]] = behind.last_looks
        self.transactions: Callable[..., list[Any]] = behind.transactions


@pytest.mark.parametrize("forgetful_is_first", [True, False], ids=["asked first", "asked last"])
def test_a_node_that_has_lost_its_history_gives_no_swap_up_that_another_knows(
    ledger, wallet, sell, clock, node, forgetful_is_first
) -> None:
    swap = sell(a_pair(ledger, wallet), "raydium")
    with RpcServer(ledger) as forgetful:
        urls = [forgetful.url, node.url] if forgetful_is_first else [node.url, forgetful.url]
        chain = SolanaChain(rpc=SolanaRpc(urls, Clock()), explorer_url=DEVNET.explorer_url, clock=clock)
        chain.submit(swap)
        ledger.produce(400)
        forgetful.first_height = ledger.height
        clock.pass_time(3600)

        ended = chain.statuses([swap])[swap.tx_hash]

    assert (ended.outcome, ended.spent) == (SwapOutcome.LANDED, Decimal(1))


@pytest.mark.parametrize("trouble", ["is_down", "blocks_behind"])
def test_a_swap_expires_though_one_of_the_nodes_is_of_no_use(ledger, wallet, sell, clock, node, trouble) -> None:
    swap = sell(a_pair(ledger, wallet), "raydium")
    ledger.produce(MANY_BLOCKS)
    clock.pass_time(60)
    with RpcServer(ledger) as useless:
        setattr(useless, trouble, 5)
        chain = SolanaChain(
            rpc=SolanaRpc([node.url, useless.url], Clock()), explorer_url=DEVNET.explorer_url, clock=clock
        )

        ended = chain.statuses([swap])

    assert ended == {swap.tx_hash: SwapStatus(outcome=SwapOutcome.EXPIRED)}
    assert useless.calls.keys() <= {"getEpochInfo", "getFirstAvailableBlock", "getSignatureStatuses"}


def test_many_swaps_cost_a_look_and_a_reading(ledger, wallet, chain, sell, node) -> None:
    pair = a_pair(ledger, wallet)
    swaps = [
        sell(pair, venue, amount=amount) for venue in ("raydium", "meteora") for amount in range(10**6, 10**6 + 20)
    ]
    ledger.faults.extend([None] * 39 + [Failing()])
    for swap in swaps:
        chain.submit(swap)
    ledger.produce(2)

    with node.counted() as requests:
        ended = chain.statuses(swaps)

    assert len(ended) == 40
    assert len(requests) == 2

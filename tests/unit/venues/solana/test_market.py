"""Finding the pools of the real venues, and reading them."""

import base64
from concurrent.futures import ThreadPoolExecutor
from threading import Event, current_thread, main_thread

import pytest

from chalicelib.resources.solana_rpc import RpcRefused, RpcUnavailable
from chalicelib.venues.solana.market import FOUND_SECONDS, MOST_POOLS, NOT_FOUND_SECONDS, REREAD_SECONDS, SolanaMarket
from chalicelib.venues.solana.pool import CLOCK
from chalicelib.venues.venue import SwapRefused, VenueUnavailable
from tests.builders import NOON
from tests.clocks import StoppedClock
from tests.unit.venues.measured_swaps import (
    METEORA,
    METEORA_SWAPS,
    RAYDIUM,
    RAYDIUM_SWAPS,
    altered,
    meteora_accounts,
    raydium_accounts,
)
from tests.unit.venues.solana.cluster import A_TIME, Cluster, an_address

SWAP = RAYDIUM_SWAPS[0]
PAIR = frozenset({SWAP["inputMint"], SWAP["outputMint"]})
ANOTHER_SWAP = METEORA_SWAPS[0]
ANOTHER_PAIR = frozenset({ANOTHER_SWAP["inputMint"], ANOTHER_SWAP["outputMint"]})
OPEN_TIME = 373
LP_SUPPLY = 333
REFUSED = RpcRefused("getProgramAccounts", -32010, "excluded from account secondary indexes", None)


@pytest.fixture
def cluster():
    return Cluster(raydium_accounts(SWAP), meteora_accounts(ANOTHER_SWAP))


@pytest.fixture
def clock():
    return StoppedClock(NOON)


@pytest.fixture
def market(cluster, clock):
    return SolanaMarket(rpc=cluster, amms=(RAYDIUM, METEORA), known_pools=(), clock=clock)


def pools_in(snapshot, venue="raydium", pair=PAIR):
    return [pool if isinstance(pool, SwapRefused) else pool.address for pool in snapshot.pools(venue, pair)]


def test_the_pools_of_all_venues_are_found_and_read_in_two_requests(market, cluster):
    snapshot = market.read([PAIR, ANOTHER_PAIR])

    assert pools_in(snapshot) == [SWAP["pool"]]
    assert pools_in(snapshot, "meteora", ANOTHER_PAIR) == [ANOTHER_SWAP["pool"]]
    assert pools_in(snapshot, "meteora", PAIR) == pools_in(snapshot, "raydium", ANOTHER_PAIR) == []
    assert cluster.asked == ["find", "read"]


def test_a_venue_that_asks_right_after_another_gets_the_same_answer(market, cluster, clock):
    with ThreadPoolExecutor(2) as both:
        first, second = both.map(lambda _: market.read([PAIR]), range(2))

    assert first is second
    assert market.read([PAIR]) is first
    clock.pass_time(REREAD_SECONDS)
    assert market.read([PAIR]) is not first
    assert cluster.asked == ["find", "read", "read"]


def test_a_venue_that_asks_while_another_is_answered_slowly_gets_that_answer(cluster):
    has_asked = Event()

    class NotingClock(StoppedClock):
        def seconds(self):
            if current_thread() is not main_thread():
                has_asked.set()
            return super().seconds()

    clock = NotingClock(NOON)
    market = SolanaMarket(rpc=cluster, amms=(RAYDIUM, METEORA), known_pools=(), clock=clock)
    market.read([ANOTHER_PAIR])
    answer_at_once = cluster.accounts
    with ThreadPoolExecutor(1) as another:

        def answer_slowly(addresses):
            waiting.append(another.submit(market.read, [PAIR]))
            assert has_asked.wait(5)
            clock.pass_time(10 * REREAD_SECONDS)
            return answer_at_once(addresses)

        waiting = []
        cluster.accounts = answer_slowly
        first = market.read([PAIR])
        assert waiting[0].result(5) is first


def test_pools_are_looked_for_again_after_a_while_and_sooner_where_there_was_none(market, cluster, clock):
    market.read([PAIR])
    pool = cluster.holds.pop(ANOTHER_SWAP["pool"])
    assert pools_in(market.read([ANOTHER_PAIR]), "meteora", ANOTHER_PAIR) == []
    cluster.holds[ANOTHER_SWAP["pool"]] = pool
    clock.pass_time(NOT_FOUND_SECONDS)

    assert pools_in(market.read([ANOTHER_PAIR]), "meteora", ANOTHER_PAIR) == [ANOTHER_SWAP["pool"]]
    cluster.asked.clear()
    clock.pass_time(FOUND_SECONDS - NOT_FOUND_SECONDS - 1)
    market.read([ANOTHER_PAIR])
    assert cluster.asked == ["find", "read"]  # Raydium has none of this pair
    clock.pass_time(FOUND_SECONDS)
    market.read([PAIR])
    assert cluster.asked[2:] == ["find", "read"]


def test_of_many_pools_the_deepest_are_read(market, cluster):
    original = cluster.holds[SWAP["pool"]]
    for depth in range(1, MOST_POOLS + 3):
        cluster.holds[an_address(depth)] = altered(original, LP_SUPPLY, "<Q", depth)
    del cluster.holds[SWAP["pool"]]

    found = pools_in(market.read([PAIR]))

    assert found == [an_address(depth) for depth in range(MOST_POOLS + 2, 2, -1)]


def test_a_pool_that_opens_later_is_known_but_takes_no_swaps_until_the_chains_own_clock_says_so(market, cluster, clock):
    cluster.holds[SWAP["pool"]] = altered(cluster.holds[SWAP["pool"]], OPEN_TIME, "<Q", A_TIME + 1)
    (refused,) = pools_in(market.read([PAIR]))
    assert "opens at 2027-01-15T08:00:46Z" in str(refused)

    cluster.holds[CLOCK] = altered(cluster.holds[CLOCK], 32, "<q", A_TIME + 1)
    clock.pass_time(REREAD_SECONDS)
    assert pools_in(market.read([PAIR])) == [SWAP["pool"]]


def test_a_pool_that_operators_name_is_read_however_many_are_deeper(cluster, clock):
    original = cluster.holds.pop(SWAP["pool"])
    for depth in range(1, MOST_POOLS + 3):
        cluster.holds[an_address(depth)] = altered(original, LP_SUPPLY, "<Q", depth)
    market = SolanaMarket(rpc=cluster, amms=(RAYDIUM, METEORA), known_pools=(an_address(1),), clock=clock)

    found = pools_in(market.read([PAIR]))

    assert found == [an_address(depth) for depth in (*range(MOST_POOLS + 2, 3, -1), 1)]


@pytest.mark.parametrize("refuses", [None, REFUSED])
def test_pools_that_operators_name_are_used_besides_those_that_are_found(cluster, clock, refuses):
    cluster.finds, cluster.refuses = False, refuses
    nobodys = an_address(9)
    market = SolanaMarket(
        rpc=cluster, amms=(RAYDIUM, METEORA), known_pools=(SWAP["pool"], ANOTHER_SWAP["pool"], nobodys), clock=clock
    )

    snapshot = market.read([PAIR, ANOTHER_PAIR])

    assert pools_in(snapshot) == [SWAP["pool"]]
    assert pools_in(snapshot, "meteora", ANOTHER_PAIR) == [ANOTHER_SWAP["pool"]]
    assert pools_in(snapshot, "meteora", PAIR) == []


def test_a_node_that_finds_no_pools_for_anybody_is_told_from_one_that_is_down(market, cluster):
    cluster.refuses = REFUSED
    with pytest.raises(VenueUnavailable, match=r"name the pools in SOLANA_POOLS"):
        market.read([PAIR])

    cluster.refuses = RpcUnavailable("no Solana RPC endpoint answers", NOON)
    with pytest.raises(VenueUnavailable, match="no Solana RPC endpoint answers"):
        market.read([PAIR])


def test_a_chain_without_a_time_opens_no_pool(market, cluster):
    del cluster.holds[CLOCK]

    with pytest.raises(VenueUnavailable, match="what time it is"):
        market.read([PAIR])


def test_the_last_look_at_a_pair_is_kept_for_who_builds_upon_it(market, cluster, clock):
    snapshot = market.read([PAIR])
    clock.pass_time(10)

    assert market.recent(PAIR) is snapshot
    assert market.recent(ANOTHER_PAIR) is not snapshot
    assert cluster.asked == ["find", "read", "find", "read"]


def test_a_pool_that_is_gone_is_refused(market, cluster):
    snapshot = market.read([PAIR])

    assert snapshot.pool("raydium", SWAP["pool"]).address == SWAP["pool"]
    with pytest.raises(SwapRefused, match="does not exist"):
        snapshot.pool("raydium", an_address(9))
    assert base64.b64decode(SWAP["poolData"]) == cluster.holds[SWAP["pool"]].data

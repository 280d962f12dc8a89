"""Quotes and swaps of the real venues: from a trade in tokens to what its program is told in base units."""

import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from chalicelib.execution.swap_plan import plan_swap
from chalicelib.orders.order import Side, Trade
from chalicelib.orders.tokens import TOKENS, Token, trade_only
from chalicelib.venues.solana.clusters import TOKEN_2022, MintedToken
from chalicelib.venues.solana.market import SolanaMarket
from chalicelib.venues.solana.pool import CLOCK
from chalicelib.venues.solana.signing import Spending, SwapSigner
from chalicelib.venues.solana.venue import SolanaVenue
from chalicelib.venues.solana.wallet import Wallet
from chalicelib.venues.venue import SwapRefused
from tests.builders import an_order
from tests.clocks import StoppedClock
from tests.unit.venues.measured_swaps import (
    METEORA,
    METEORA_SWAPS,
    RAYDIUM,
    RAYDIUM_SWAPS,
    altered,
    meteora_accounts,
    named,
    raydium_accounts,
)
from tests.unit.venues.solana.cluster import A_TIME, Cluster, a_mint, an_address

SOL, USDC = 9, 6
LP_SUPPLY, STATUS, OPEN_TIME = 333, 329, 373
METEORA_STATUS = 481
WALLET = Wallet(Keypair.from_seed(bytes(range(32))))


class NoBudget:
    def __init__(self):
        self.reserved = []

    def reserve(self, order_id, token, amount):
        self.reserved.append(Spending(token, amount))


@pytest.fixture(autouse=True, scope="module")
def tokens_back():
    """What a process trades is said once; other tests trade the tokens of the simulation."""
    known = dict(TOKENS)
    yield
    trade_only(known.values())


def venue_of(amm, swap, cluster=None, **tokens):
    """Return the venue for a measured swap's pool: its input is SOL, its output USDC, with decimals to tell them by."""
    accounts = raydium_accounts(swap) if amm is RAYDIUM else meteora_accounts(swap)
    mints = {swap["inputMint"]: a_mint(SOL), swap["outputMint"]: a_mint(USDC)}
    cluster = cluster or Cluster(accounts, mints)
    known = {"SOL": MintedToken(swap["inputMint"], SOL), "USDC": MintedToken(swap["outputMint"], USDC)} | tokens
    clock = StoppedClock()
    signer = SwapSigner(rpc=cluster, wallet=lambda: WALLET, budget=NoBudget(), max_priority_fee=100_000, clock=clock)
    market = SolanaMarket(rpc=cluster, amms=(amm,), known_pools=(), clock=clock)
    return SolanaVenue(amm=amm, market=market, tokens=known, signer=signer)


def in_sol(units):
    return Decimal(units).scaleb(-SOL)


def in_usdc(units):
    return Decimal(units).scaleb(-USDC)


EXACT_IN = [
    *((RAYDIUM, swap) for swap in RAYDIUM_SWAPS if swap["kind"] == "swap_base_input"),
    *((METEORA, swap) for swap in METEORA_SWAPS),
]
EXACT_OUT = [swap for swap in RAYDIUM_SWAPS if swap["kind"] == "swap_base_output"]


@pytest.mark.parametrize(("amm", "swap"), EXACT_IN, ids=named([swap for _, swap in EXACT_IN]))
def test_a_sell_is_quoted_as_the_program_gave_and_at_the_price_that_this_makes(amm, swap):
    venue = venue_of(amm, swap)
    at = swap.get("unixTimestamp", A_TIME)
    venue.market.rpc.holds[CLOCK] = altered(venue.market.rpc.holds[CLOCK], 32, "<q", at)
    trade = Trade("SOL", "USDC", Side.SELL, in_sol(swap["amountIn"]))

    quote = venue.quote(trade, 0)

    assert quote.amount_out == in_usdc(swap["amountOut"])
    assert (quote.venue, quote.pool) == (amm.name, swap["pool"])
    assert abs(quote.net_price / (quote.amount_out / trade.amount) - 1) < Decimal("1e-11")
    assert quote.net_price < quote.marginal_price(Side.SELL) < quote.price
    assert venue.market.rpc.asked == ["find", "read"]


@pytest.mark.parametrize("swap", EXACT_OUT, ids=named(EXACT_OUT))
def test_a_buy_is_quoted_as_the_program_took(swap):
    trade = Trade("USDC", "SOL", Side.BUY, in_usdc(swap["amountOut"]))

    assert venue_of(RAYDIUM, swap).quote(trade, 0).amount_out == in_sol(swap["amountIn"])


@pytest.mark.parametrize(("amm", "swap"), [(RAYDIUM, RAYDIUM_SWAPS[0]), (METEORA, METEORA_SWAPS[0])])
def test_a_buy_is_quoted_by_the_least_that_acquires_the_amount(amm, swap):
    venue = venue_of(amm, swap)
    trade = Trade("USDC", "SOL", Side.BUY, in_usdc(swap["amountOut"]))

    quote = venue.quote(trade, 0)

    assert quote.amount_out <= in_sol(swap["amountIn"])
    assert quote.price < quote.marginal_price(Side.BUY) < quote.net_price


def test_of_several_pools_the_one_that_gives_most_is_quoted():
    swap = RAYDIUM_SWAPS[0]
    venue = venue_of(RAYDIUM, swap)
    cluster = venue.market.rpc
    pool = cluster.holds[swap["pool"]]
    owed = 341
    cluster.holds[an_address(3)] = altered(pool, owed, "<Q", 1_000_000_000)
    cluster.holds[an_address(4)] = altered(pool, STATUS, "<B", 4)
    trade = Trade("SOL", "USDC", Side.SELL, in_sol(swap["amountIn"]))

    best = venue.quote(trade, 0)

    alone = {}
    for address in (swap["pool"], an_address(3)):
        others = {swap["pool"], an_address(3), an_address(4)} - {address}
        held = {key: account for key, account in cluster.holds.items() if key not in others}
        alone[address] = venue_of(RAYDIUM, swap, Cluster(held)).quote(trade, 0).amount_out
    assert alone[swap["pool"]] != alone[an_address(3)]
    assert (best.amount_out, best.pool) == max((amount, address) for address, amount in alone.items())


@pytest.mark.parametrize(
    ("offset", "layout", "value", "reason"),
    [(STATUS, "<B", 4, "disabled"), (OPEN_TIME, "<Q", A_TIME + 60, "opens at 2027-01-15T08:01:45Z")],
    ids=["disabled", "not open yet"],
)
def test_a_pool_that_takes_no_swaps_has_neither_quote_nor_price(offset, layout, value, reason):
    swap = RAYDIUM_SWAPS[0]
    venue = venue_of(RAYDIUM, swap)
    venue.market.rpc.holds[swap["pool"]] = altered(venue.market.rpc.holds[swap["pool"]], offset, layout, value)

    with pytest.raises(SwapRefused, match=f"^pool {swap['pool']} .*{reason}"):
        venue.quote(Trade("SOL", "USDC", Side.SELL, Decimal(1)), 0)
    assert venue.spot(["SOL/USDC"]) == {}


def test_a_pair_without_a_pool_and_a_token_without_a_mint_are_refused():
    swap = RAYDIUM_SWAPS[0]
    venue = venue_of(RAYDIUM, swap, WIF=MintedToken(an_address(5), 6))

    with pytest.raises(SwapRefused, match=f"Mint {an_address(5)} does not exist"):
        venue.quote(Trade("WIF", "USDC", Side.SELL, Decimal(1)), 0)
    venue.market.rpc.holds[an_address(5)] = a_mint(6)
    venue.market.clock.pass_time(5)
    with pytest.raises(SwapRefused, match=r"^has no pool for WIF/USDC"):
        venue.quote(Trade("WIF", "USDC", Side.SELL, Decimal(1)), 0)
    with pytest.raises(SwapRefused, match="JUP is not known on this cluster; known are SOL, USDC, WIF"):
        venue.quote(Trade("SOL", "JUP", Side.SELL, Decimal(1)), 0)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (lambda mint: MintedToken(mint, 8), "8 decimals"),
        (lambda mint: MintedToken(mint, 9, TOKEN_2022), f"in the program {TOKEN_2022}"),
    ],
    ids=["decimals", "program"],
)
def test_a_token_that_is_not_what_settings_say_is_never_swapped(token, said):
    swap = RAYDIUM_SWAPS[0]
    venue = venue_of(RAYDIUM, swap, SOL=token(swap["inputMint"]))

    with pytest.raises(SwapRefused, match=f"SOL is said to have .*{said}.* has 9 in .*: mend SOLANA_TOKENS"):
        venue.quote(Trade("SOL", "USDC", Side.SELL, Decimal(1)), 0)
    assert venue.spot(["SOL/USDC"]) == {}


def test_spot_prices_are_those_of_the_deepest_open_pool_both_ways_round():
    swap = RAYDIUM_SWAPS[0]
    venue = venue_of(RAYDIUM, swap)
    cluster = venue.market.rpc
    pool = cluster.holds[swap["pool"]]
    cluster.holds[an_address(3)] = altered(altered(pool, LP_SUPPLY, "<Q", 2**63), STATUS, "<B", 4)
    cluster.holds[an_address(4)] = altered(altered(pool, LP_SUPPLY, "<Q", 1), 341, "<Q", 9_000_000)

    spots = venue.spot(["SOL/USDC", "USDC/SOL", "SOL/JUP"])

    assert spots.keys() == {"SOL/USDC", "USDC/SOL"}
    quoted = venue.quote(Trade("SOL", "USDC", Side.SELL, Decimal("0.001")), 0)
    assert spots["SOL/USDC"].fee == quoted.fee
    assert abs(spots["SOL/USDC"].price * spots["USDC/SOL"].price - 1) < Decimal("1e-10")
    assert cluster.asked.count("find") == 1


def built(amm, side, swap, **changes):
    """Quote, plan and build an order; returns the plan, what the program is told, and what was reserved."""
    trade_only([Token("SOL", SOL), Token("USDC", USDC)])
    venue = venue_of(amm, swap)
    pair = ("SOL", "USDC") if side is Side.SELL else ("USDC", "SOL")
    amount = in_sol(swap["amountIn"]) if side is Side.SELL else in_usdc(swap["amountOut"])
    order = an_order(token_in=pair[0], token_out=pair[1], side=side, amount_in=amount, **changes)
    plan = plan_swap(order, venue.quote(order.trade, 0))
    signed = venue.build(order, plan)
    message = VersionedTransaction.from_bytes(signed.payload).message
    (told,) = [
        bytes(instruction.data)
        for instruction in message.instructions
        if str(message.account_keys[instruction.program_id_index]) == amm.program
    ]
    return plan, struct.unpack("<QQ", told[8:24]), told[:8].hex(), venue.signer.budget.reserved


SELL_INPUT, SWAP_INPUT, SWAP_OUTPUT = "f8c69e91e17587c8", "8fbe5adac41e33de", "37d96256a34ab4ad"


@pytest.mark.parametrize(
    ("amm", "swap", "instruction"), [(RAYDIUM, RAYDIUM_SWAPS[0], SWAP_INPUT), (METEORA, METEORA_SWAPS[0], SELL_INPUT)]
)
def test_a_sell_spends_its_amount_for_no_less_than_its_plan_says(amm, swap, instruction):
    plan, told, name, reserved = built(amm, Side.SELL, swap)

    assert (told, name) == ((swap["amountIn"], int(plan.min_amount_out.scaleb(USDC))), instruction)
    assert reserved == [Spending("SOL", in_sol(swap["amountIn"]))]


def test_a_buy_on_raydium_takes_its_amount_for_no_more_than_its_plan_says():
    plan, told, name, reserved = built(RAYDIUM, Side.BUY, RAYDIUM_SWAPS[0])

    assert (told, name) == (
        (int(plan.max_amount_out.scaleb(SOL)), RAYDIUM_SWAPS[0]["amountOut"]),
        SWAP_OUTPUT,
    )
    assert reserved == [Spending("SOL", plan.max_amount_out)]


@given(slippage=st.decimals("0", "0.5", places=4), swap=st.sampled_from(METEORA_SWAPS))
def test_a_buy_on_meteora_spends_what_was_quoted_and_never_pays_a_worse_price_than_its_plans(slippage, swap):
    plan, (spent, least), _, reserved = built(METEORA, Side.BUY, swap, slippage_tolerance=slippage)

    assert in_sol(spent) == plan.expected_amount_out
    assert reserved == [Spending("SOL", plan.expected_amount_out)]
    amount = in_usdc(swap["amountOut"])
    worst_price = plan.max_amount_out / amount
    assert in_sol(spent) / in_usdc(least) <= worst_price
    assert in_usdc(least) <= amount


def test_a_pool_that_is_gone_when_it_is_built_upon_is_refused_with_the_venues_name():
    """No router says there whose pool it was."""
    swap = RAYDIUM_SWAPS[0]
    venue = venue_of(RAYDIUM, swap)
    trade_only([Token("SOL", SOL), Token("USDC", USDC)])
    order = an_order(amount_in=Decimal(1))
    plan = plan_swap(order, venue.quote(order.trade, 0))

    with pytest.raises(SwapRefused, match=f"^raydium: pool {an_address(3)} does not exist"):
        venue.build(order, replace(plan, pool=an_address(3)))


def test_a_plan_without_a_pool_or_a_bound_is_not_built():
    swap = RAYDIUM_SWAPS[0]
    venue = venue_of(RAYDIUM, swap)
    trade_only([Token("SOL", SOL), Token("USDC", USDC)])
    order = an_order(amount_in=Decimal(1))
    plan = plan_swap(order, venue.quote(order.trade, 0))

    with pytest.raises(SwapRefused, match="no pool was quoted"):
        venue.build(order, replace(plan, pool=None))
    with pytest.raises(ValueError, match="bounds"):
        venue.build(order, replace(plan, min_amount_out=None))

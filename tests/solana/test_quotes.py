"""The engine's quotes and the stand-ins for the programs agree on pools that nobody measured.

The two were written apart, and both meet the measured swaps. Where they agree on any pool, a mistake has to be in both.
"""

import struct

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from chalicelib.resources import solana_rpc
from chalicelib.venues.meteora import Meteora
from chalicelib.venues.raydium import Raydium
from chalicelib.venues.solana.pool import U64_MAX, Amm, LivePool, Moment
from chalicelib.venues.venue import SwapRefused
from tests.solana.accounts import AmmConfig, DynamicFee, Mint
from tests.solana.ledger import Ledger
from tests.solana.programs import AmmProgram, Call, Effect, ProgramError
from tests.solana.transactions import meteora_swap, raydium_swap

MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
NOW = 1_800_000_000
RESERVES = st.integers(1, 10**16)
AMOUNTS = st.integers(1, 10**6) | st.integers(1, 10**17)
RAYDIUM_POOLS = st.fixed_dictionaries(
    {
        "amounts": st.tuples(RESERVES, RESERVES),
        "config": st.builds(AmmConfig, trade_fee_rate=st.integers(0, 500_000)),
        "owed": st.integers(0, 10**9),
    }
)
METEORA_POOLS = st.fixed_dictionaries(
    {
        "amounts": st.tuples(st.integers(1000, 10**16), st.integers(1000, 10**16)),
        "cliff_fee": st.integers(100_000, 500_000_000),
        "fee_mode": st.sampled_from([0, 1]),
        "periods": st.integers(0, 1000),
        "period_length": st.integers(0, 5000),
        "reduction": st.integers(0, 100),
        "activation_point": st.integers(NOW - 10**6, NOW),
        "collect_mode": st.sampled_from([0, 1, 2]),
        "compounding_fee_bps": st.integers(0, 10_000),
        "dynamic_fee": st.none()
        | st.builds(
            DynamicFee, control=st.integers(0, 10**6), bin_step=st.integers(1, 400), volatility=st.integers(0, 10**7)
        ),
    }
)


class Chain:
    """A ledger with two tokens, and somebody who has all of them."""

    def __init__(self) -> None:
        self.ledger = ledger = Ledger(unix_timestamp=NOW)
        self.trader = ledger.new_wallet(10**9)
        self.mints = ledger.new_mint(9), ledger.new_mint(6)
        for mint in self.mints:
            ledger.give(self.trader.pubkey(), mint, U64_MAX)
        self.raydium = Raydium(str(ledger.raydium.program), str(ledger.raydium.authority))
        self.meteora = Meteora(str(ledger.meteora.program), str(ledger.meteora.authority))

    def live(self, amm: Amm, pool: Pubkey) -> LivePool:
        """Read a pool as the engine does."""
        there = self.ledger.account(pool)
        assert there is not None
        accounts = {}
        for address in (str(pool), *amm.needs(str(pool), there.data)):
            account = self.ledger.account(Pubkey.from_string(address))
            assert account is not None
            accounts[address] = solana_rpc.Account(str(account.owner), account.lamports, account.data)
        return amm.live(str(pool), accounts, Moment(*self.ledger.moment))

    def run(self, pool: Pubkey, mints: tuple[Mint, Mint], amount: int, *, exact_out: bool = False) -> Effect | None:
        """Swap as the pool's program does; None where it refuses, or has no number for what it would write."""
        account = self.ledger.account(pool)
        assert account is not None
        program: AmmProgram = self.ledger.raydium
        swap = raydium_swap
        if account.owner == self.ledger.meteora.program:
            program, swap = self.ledger.meteora, meteora_swap
        bound = amount if exact_out else 0
        instruction = swap(self.ledger, self.trader, pool, mints, U64_MAX if exact_out else amount, bound)
        data = bytes.fromhex("37d96256a34ab4ad") + instruction.data[8:] if exact_out else instruction.data
        try:
            effect = program.swap(Call(data, instruction.accounts, self.ledger.account, self.ledger.moment))
        except (ProgramError, struct.error):
            return None
        fits = self.ledger.tokens_in(effect.paid.destination) + effect.paid.amount <= U64_MAX
        return effect if fits and effect.received.amount > 0 else None


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain()


def check(chain: Chain, amm: Amm, pool: Pubkey, amount: int, *, flipped: bool) -> None:
    """Sell an amount, and buy an amount, as the engine quotes it and as the program does it."""
    mints = (chain.mints[1], chain.mints[0]) if flipped else chain.mints
    quoted: int | None
    live, spent = chain.live(amm, pool), str(mints[0].address)

    effect = chain.run(pool, mints, amount)
    try:
        quoted = live.amount_out(spent, amount)
    except SwapRefused:
        quoted = None
        event("refused")
    assert quoted == (effect.received.amount if effect else None)
    assert effect is None or effect.paid.amount == amount

    try:
        least = live.amount_in(spent, amount)
    except SwapRefused:
        event("not to be bought")
        return
    enough = chain.run(pool, mints, least)
    assert enough is not None
    assert enough.received.amount >= amount
    too_little = chain.run(pool, mints, least - 1) if least > 1 else None
    assert too_little is None or too_little.received.amount < amount
    if amm.exact_out:
        exact = chain.run(pool, mints, amount, exact_out=True)
        assert exact is not None
        assert (exact.paid.amount, exact.received.amount) == (least, amount)


@MANY
@given(settings=RAYDIUM_POOLS, amount=AMOUNTS, flipped=st.booleans())
def test_raydium_gives_what_is_quoted_whatever_the_pool(chain: Chain, settings, amount: int, flipped: bool) -> None:
    pool = chain.ledger.new_raydium_pool(*chain.mints, **settings)

    check(chain, chain.raydium, pool, amount, flipped=flipped)


@MANY
@given(settings=METEORA_POOLS, amount=AMOUNTS, flipped=st.booleans())
def test_meteora_gives_what_is_quoted_whatever_the_pool(chain: Chain, settings, amount: int, flipped: bool) -> None:
    pool = chain.ledger.new_meteora_pool(*chain.mints, **settings)

    check(chain, chain.meteora, pool, amount, flipped=flipped)

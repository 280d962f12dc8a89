"""The last steps before a swap is recorded: caps, a try, the fee, the signature."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from chalicelib.resources.solana_rpc import RpcUnavailable, Simulation
from chalicelib.venues.solana.clusters import SPL_TOKEN
from chalicelib.venues.solana.pool import Moment
from chalicelib.venues.solana.signing import LIFETIME, Spending, SwapSigner, price_budget
from chalicelib.venues.solana.transaction import MOST_COMPUTE_UNITS, WalletSwap
from chalicelib.venues.solana.wallet import Wallet
from chalicelib.venues.venue import SwapRefused, VenueUnavailable
from tests.builders import NOON
from tests.clocks import StoppedClock
from tests.unit.venues.measured_swaps import RAYDIUM, RAYDIUM_SWAPS, raydium_accounts
from tests.unit.venues.solana.cluster import BLOCKHASH, Cluster

MEASURED = RAYDIUM_SWAPS[0]
WALLET = Wallet(Keypair.from_seed(bytes(range(32))))
SPENDING = Spending("SOL", Decimal("0.5"))
SET_LIMIT, SET_PRICE = 2, 3
SWAP_INSTRUCTION = 5
"""After the compute budget's two, the memo, and the two that open SOL's account."""


class Caps:
    def __init__(self, refuses=None):
        self.refuses = refuses
        self.asked = []

    def reserve(self, order_id, token, amount):
        self.asked.append((order_id, token, amount))
        if self.refuses:
            raise self.refuses


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def caps():
    return Caps()


@pytest.fixture
def sign(cluster, caps):
    signer = SwapSigner(
        rpc=cluster, wallet=lambda: WALLET, budget=caps, max_priority_fee=10_000, clock=StoppedClock(NOON)
    )
    return lambda **changes: signer.sign("raydium", a_swap(**changes), SPENDING)


def a_swap(**changes):
    swap = {
        "pool": RAYDIUM.live(MEASURED["pool"], raydium_accounts(MEASURED), Moment(1, 1_800_000_000, 0)),
        "wallet": WALLET.address,
        "order_id": "7a0b5c1e-0000-4000-8000-000000000001",
        "attempt": 0,
        "input_mint": MEASURED["inputMint"],
        "input_program": SPL_TOKEN,
        "output_mint": MEASURED["outputMint"],
        "output_program": SPL_TOKEN,
        "amount_in": 1000,
        "amount_out": 900,
        "exact_out": False,
    }
    return WalletSwap(**{**swap, **changes})


def compute_budget(payload):
    """Return the units that a transaction asks for, and the micro-lamports it pays for each."""
    limit, price = (bytes(told.data) for told in VersionedTransaction.from_bytes(payload).message.instructions[:2])
    assert (limit[0], price[0]) == (SET_LIMIT, SET_PRICE)
    return int.from_bytes(limit[1:], "little"), int.from_bytes(price[1:], "little")


def test_a_swap_is_signed_with_the_blockhash_that_bounds_it(sign, cluster):
    signed = sign()

    transaction = VersionedTransaction.from_bytes(signed.payload)
    transaction.verify_and_hash_message()
    assert str(transaction.signatures[0]) == signed.tx_hash
    assert str(transaction.message.recent_blockhash) == BLOCKHASH.hash
    assert (signed.last_valid_block_height, signed.expires_at) == (BLOCKHASH.last_valid_block_height, NOON + LIFETIME)
    assert signed.venue == "raydium"
    assert cluster.asked == ["blockhash", "simulate"]


def test_it_asks_for_the_units_that_it_took_when_it_was_tried_and_a_tenth_more(sign, cluster):
    cluster.simulation = Simulation(None, 41_001, ())

    units, _ = compute_budget(sign().payload)

    assert units == 45_102
    assert compute_budget(cluster.simulated[0]) == (MOST_COMPUTE_UNITS, 0)


def test_two_equal_orders_are_two_transactions(sign):
    first, again, another = sign(), sign(attempt=1), sign(order_id="7a0b5c1e-0000-4000-8000-000000000002")

    assert len({first.tx_hash, again.tx_hash, another.tx_hash}) == 3


def test_what_the_caps_forbid_is_not_even_tried(sign, cluster, caps):
    caps.refuses = SwapRefused("at most 0.4 are allowed")

    with pytest.raises(SwapRefused, match=r"at most 0\.4"):
        sign()
    assert cluster.asked == []
    assert caps.asked == [("7a0b5c1e-0000-4000-8000-000000000001", "SOL", Decimal("0.5"))]


@pytest.mark.parametrize(
    ("err", "raised", "reason"),
    [
        ("AccountNotFound", SwapRefused, "insufficient funds: the wallet holds no SOL"),
        ("InsufficientFundsForFee", SwapRefused, "insufficient funds"),
        ({"InstructionError": [SWAP_INSTRUCTION, {"Custom": 3012}]}, SwapRefused, "insufficient funds: .* no account"),
        ({"InstructionError": [SWAP_INSTRUCTION, {"Custom": 6005}]}, VenueUnavailable, "slippage"),
        ({"InstructionError": [SWAP_INSTRUCTION, {"Custom": 6042}]}, VenueUnavailable, "error 6042 of raydium"),
        ("BlockhashNotFound", VenueUnavailable, "too old"),
    ],
    ids=["no wallet", "no fee", "no tokens", "slippage", "unknown", "blockhash"],
)
def test_what_would_fail_is_neither_signed_nor_sent(sign, cluster, err, raised, reason):
    cluster.simulation = Simulation(err, 100, ())

    with pytest.raises(raised, match=f"the swap would fail: .*{reason}"):
        sign()


def test_a_node_that_is_down_is_a_reason_to_try_again(sign, cluster):
    def answer(*_):
        raise RpcUnavailable("no Solana RPC endpoint answers", NOON)

    cluster.simulate = answer

    with pytest.raises(VenueUnavailable, match="no Solana RPC endpoint answers"):
        sign()


def test_the_priority_fee_is_what_was_enough_in_three_of_four_slots():
    assert price_budget(50_000, [], 10_000).price == 0
    assert price_budget(50_000, [7], 10_000).price == 7
    assert price_budget(50_000, [400, 0, 100, 200], 10_000).price == 200
    assert price_budget(50_000, [5, 4, 3, 2, 1, 0, 0, 0], 10_000).price == 3


@given(
    units=st.integers(1, MOST_COMPUTE_UNITS),
    fees=st.lists(st.integers(0, 2**64 - 1), max_size=150),
    most=st.integers(0, 10**9),
)
def test_the_priority_fee_never_exceeds_its_cap(units, fees, most):
    budget = price_budget(units, fees, most)

    assert budget.priority_fee <= most
    assert 0 <= budget.price <= max(fees, default=0)

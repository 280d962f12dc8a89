"""A sell and a buy on each venue of devnet, with real transactions: run by hand, never by ``make test``.

It takes the settings of the real venues (``.env``, or the environment) and swaps ``DEVNET_AMOUNT`` of ``DEVNET_PAIR``:

    DEVNET_PAIR=FOO/BAR DEVNET_AMOUNT=1 .venv/bin/python -m pytest tests/devnet -s

It was written without reach of devnet. What is here was run against the tests' own Solana (``tests/solana``) only.
"""

import os
from collections.abc import Iterator
from decimal import Decimal

import pytest

from chalicelib.clock import Clock
from chalicelib.config import load_settings
from chalicelib.execution.swap_plan import plan_swap
from chalicelib.orders import tokens
from chalicelib.orders.order import Order, Side
from chalicelib.orders.swap import SignedTransaction, SwapOutcome, SwapStatus
from chalicelib.orders.tokens import Token, trade_only
from chalicelib.venues.solana.clusters import tokens_of
from chalicelib.venues.solana.network import Network, connect
from chalicelib.venues.venue import SwapRefused
from infra.local.settings_file import local_environment
from tests.builders import an_order

PATIENCE_SECONDS = 120.0
"""A blockhash lasts about a minute; until the chain says that it is over takes some more."""
POLL_SECONDS = 2.0


class OrderCaps:
    """Holds each order against its cap; there is no Postgres here to add up a day in."""

    def __init__(self, per_order: dict[str, Decimal]) -> None:
        self._per_order = per_order

    def reserve(self, order_id: str, token: str, amount: Decimal) -> None:
        if amount > self._per_order.get(token, Decimal(0)):
            raise SwapRefused(f"{amount} {token} is more than SOLANA_MAX_PER_ORDER allows")


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    settings = load_settings(local_environment({**os.environ, "USE_REAL_DEVNET": "true"})).solana
    assert settings is not None
    assert settings.cluster == "devnet", "tests spend nobody's real money"
    before = list(tokens.TOKENS.values())
    trade_only(Token(symbol, token.decimals) for symbol, token in tokens_of(settings).items())
    yield connect(settings, OrderCaps(dict(settings.max_per_order)), Clock())
    trade_only(before)


def an_order_of_the_pair(side: Side) -> Order:
    try:
        pair, amount = os.environ["DEVNET_PAIR"], Decimal(os.environ["DEVNET_AMOUNT"])
    except KeyError as missing:
        pytest.fail(f"{missing} is not set: DEVNET_PAIR=FOO/BAR DEVNET_AMOUNT=1 say what is swapped")
    token_in, token_out = pair.split("/")
    return an_order(token_in=token_in, token_out=token_out, amount_in=amount, side=side)


def ended(network: Network, transaction: SignedTransaction) -> SwapStatus:
    """Send a transaction, again and again, until the chain says how it has ended."""
    clock = Clock()
    deadline = clock.seconds() + PATIENCE_SECONDS
    while clock.seconds() < deadline:
        network.chain.submit(transaction)
        if status := network.chain.statuses([transaction]).get(transaction.tx_hash):
            return status
        clock.sleep(POLL_SECONDS)
    pytest.fail(f"{transaction.tx_hash} has neither landed nor expired")


@pytest.mark.timeout(2 * PATIENCE_SECONDS)
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("venue", ["raydium", "meteora"])
def test_a_swap_lands_and_is_filled_as_it_was_planned(network: Network, venue: str, side: Side) -> None:
    order = an_order_of_the_pair(side)
    (where,) = [candidate for candidate in network.venues if candidate.name == venue]

    quote = where.quote(order.trade, attempt=1)
    plan = plan_swap(order, quote)
    transaction = where.build(order, plan)
    status = ended(network, transaction)

    print(f"\n{venue} {side}: {quote.net_price} quoted, {status.spent} spent, {status.received} received")
    print(status.explorer_url or status.error)
    assert status.outcome is SwapOutcome.LANDED, status.error
    assert status.spent is not None
    assert status.received is not None
    if side is Side.SELL:
        assert status.spent == order.amount_in
        assert status.received >= (plan.min_amount_out or 0)
    else:
        assert plan.max_amount_out is not None
        assert status.spent <= plan.max_amount_out
        assert status.spent * order.amount_in <= plan.max_amount_out * status.received, "dearer than was allowed"

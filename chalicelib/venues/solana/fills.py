"""What a swap that landed has moved, from the token balances before and after it.

The quote does not say it, and neither does the plan: the pool had moved on by then. What was spent is what left the
wallet, and what was received is what reached it, so that a Token-2022 mint's fee counts against the trader both ways.

SOL is moved through a token account that exists within the transaction only, and so is in neither list of balances.
There the other end tells: what the pool's vault gained or gave. Wrapped SOL knows no fee, so it is the same amount.
"""

from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import msgspec
from solders.transaction import VersionedTransaction

from chalicelib.orders.tokens import EXACT
from chalicelib.venues.solana.pool import RecordedSwap
from chalicelib.venues.solana.token_programs import WRAPPED_SOL


class Moved(NamedTuple):
    """What a swap took from its owner, and gave, in whole tokens."""

    spent: Decimal
    received: Decimal


class _Amount(msgspec.Struct, frozen=True):
    """Base units, a u64, and the token's decimals, a u8."""

    amount: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,20}$")]
    decimals: Annotated[int, msgspec.Meta(ge=0, le=255)]


class _Balance(msgspec.Struct, frozen=True, rename="camel"):
    account_index: int
    mint: str
    ui_token_amount: _Amount


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    err: Any
    pre_token_balances: list[_Balance]
    post_token_balances: list[_Balance]


class _Transaction(msgspec.Struct, frozen=True):
    meta: _Meta


def read_moved(swap: RecordedSwap, payload: bytes, transaction: dict[str, Any]) -> Moved:
    """Read what a swap has moved from its bytes and what ``getTransaction`` answers for it.

    Raises:
        ValueError: the answer does not say it, or it is of a transaction that swapped nothing.
    """
    meta = msgspec.convert(transaction, _Transaction).meta
    if meta.err is not None:
        raise ValueError(f"the transaction landed with {meta.err}")
    # The indices count the keys of the message, which we have: no need to believe another list.
    keys = [str(key) for key in VersionedTransaction.from_bytes(payload).message.account_keys]
    gains = _gains(meta, keys)
    spent = _gain(gains, swap.input_mint, at_wallet=swap.source, at_vault=swap.input_vault)
    received = _gain(gains, swap.output_mint, at_wallet=swap.destination, at_vault=swap.output_vault)
    moved = Moved(spent=-spent, received=received)
    if moved.spent <= 0 or moved.received <= 0:
        raise ValueError(f"the wallet's balances say that {moved.spent} was spent and {moved.received} received")
    return moved


def _gain(gains: dict[tuple[str, str], Decimal], mint: str, *, at_wallet: str, at_vault: str) -> Decimal:
    """Return by how much of a token the wallet has gained; what it has lost is negative."""
    account = at_vault if mint == WRAPPED_SOL else at_wallet
    if (account, mint) not in gains:
        raise ValueError(f"no balance of {mint} in account {account}")
    gain = gains[account, mint]
    return -gain if mint == WRAPPED_SOL else gain


def _gains(meta: _Meta, keys: list[str]) -> dict[tuple[str, str], Decimal]:
    """Return by how much each account's balance has risen; one that was made on the way had nothing before."""
    gains: dict[tuple[str, str], Decimal] = {}
    for balances, sign in ((meta.pre_token_balances, -1), (meta.post_token_balances, 1)):
        for balance in balances:
            if not 0 <= balance.account_index < len(keys):
                raise ValueError(f"a balance of account {balance.account_index}, of {len(keys)}")
            account = keys[balance.account_index], balance.mint
            amount = balance.ui_token_amount
            tokens = EXACT.scaleb(Decimal(amount.amount), -amount.decimals)
            gains[account] = gains.get(account, Decimal(0)) + sign * tokens
    return gains

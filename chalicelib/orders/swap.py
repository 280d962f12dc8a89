"""A swap: what is planned, what is signed and sent, and what became of it."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal, NamedTuple

import msgspec


class SwapPlan(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a transaction will do: its actions in order, and the worst fill it accepts.

    A sell is bounded by ``min_amount_out``, a buy by ``max_amount_out``. ``pool`` is the address of the pool, where a
    venue has several for a pair.
    """

    venue: str
    pool: str | None = None
    actions: tuple[str, ...]
    expected_amount_out: Decimal
    min_amount_out: Decimal | None
    max_amount_out: Decimal | None


class SignedTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A signed swap: its hash is known before it is sent, and the same bytes never land twice.

    It can land until ``expires_at``; where the chain counts blocks that is an estimate, and what decides is that no
    block higher than ``last_valid_block_height`` takes it.
    """

    tx_hash: str
    venue: str
    payload: bytes
    expires_at: datetime
    last_valid_block_height: int | None = None


class SwapOutcome(StrEnum):
    """How a transaction has ended; one that may still land has no outcome."""

    LANDED = "landed"
    FAILED = "failed"
    """It has landed, but its program refused it: nothing was swapped."""
    EXPIRED = "expired"
    """It has not landed, and can no longer do so."""


class SwapStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction's end: what its owner ``spent`` and ``received``, or the chain's error."""

    outcome: SwapOutcome
    spent: Decimal | None = None
    received: Decimal | None = None
    error: str | None = None
    explorer_url: str | None = None
    """Where anybody can look the transaction up."""


class Fill(NamedTuple):
    """A landed swap: a sell spent ``amount_in`` and received ``amount_out``, a buy acquired it and paid that."""

    order_id: str
    tx_hash: str
    venue: str
    amount_in: Decimal
    amount_out: Decimal
    executed_price: Decimal
    explorer_url: str | None = None


class EndedSwap(NamedTuple):
    """A swap that can no longer land, and how it ended."""

    tx_hash: str
    ended_as: Literal["failed", "expired"]

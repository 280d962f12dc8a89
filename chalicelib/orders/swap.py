"""A swap: what is planned, what is signed and sent, and what became of it."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal, NamedTuple

import msgspec


class SwapPlan(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a transaction will do: its actions in order, and the worst fill it accepts.

    A sell is bounded by ``min_amount_out``, a buy by ``max_amount_out``.
    """

    venue: str
    actions: tuple[str, ...]
    expected_amount_out: Decimal
    min_amount_out: Decimal | None
    max_amount_out: Decimal | None


class SignedTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A signed swap: its hash is known before it is sent, and the same bytes never land twice."""

    tx_hash: str
    venue: str
    payload: bytes
    expires_at: datetime


class SwapOutcome(StrEnum):
    """What the chain knows of a transaction; one it does not know has no outcome."""

    LANDED = "landed"
    FAILED = "failed"


class SwapStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction's end: a fill (``amount_out`` of tokenOut) or the chain's error."""

    outcome: SwapOutcome
    amount_out: Decimal | None
    error: str | None


class Fill(NamedTuple):
    """A landed swap: ``amount_out`` of tokenOut was received by a sell or paid by a buy."""

    order_id: str
    tx_hash: str
    venue: str
    amount_out: Decimal
    executed_price: Decimal


class EndedSwap(NamedTuple):
    """A swap that can no longer land, and how it ended."""

    tx_hash: str
    ended_as: Literal["failed", "expired"]

"""What the bytes of a simulated transaction say."""

import hashlib
from datetime import datetime

import msgspec

from chalicelib.orders.order import Trade
from chalicelib.orders.swap import SignedTransaction, SwapPlan


class SimulatedTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A swap written down. ``nonce`` makes each one unique, as a recent blockhash would."""

    nonce: str
    venue: str
    trade: Trade
    attempt: int
    plan: SwapPlan
    expires_at: datetime


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(SimulatedTransaction)


def sign(transaction: SimulatedTransaction) -> SignedTransaction:
    """Write a transaction's bytes and name it by their hash."""
    payload = _encoder.encode(transaction)
    return SignedTransaction(
        tx_hash=hashlib.sha256(payload).hexdigest(),
        venue=transaction.venue,
        payload=payload,
        expires_at=transaction.expires_at,
    )


def read_transaction(payload: bytes) -> SimulatedTransaction:
    """Read a transaction back from its bytes."""
    return _decoder.decode(payload)

"""Solana as the chain that real swaps land on: sending them, and saying how they have ended.

A transaction lands in a block of at most its ``last_valid_block_height``, or never. Until that is certain it has no
outcome: "not found" is not "failed", and neither is a clock that says it is too late. It has expired when three things
hold, in this order:

1. a *finalized* block is higher than ``last_valid_block_height``, so that no block it could land in is still to come;
2. a look *after* that, through all that each of our nodes has kept, does not find it at any;
3. at least one node that looked must have seen it, had it landed. One that lags behind, or follows a fork that the
   cluster has dropped, has not seen what landed in the last blocks: it must have finalized one that is higher itself.
   And one that was started since, or keeps the blocks of some hours only, has not got, or has no more, what landed
   before: its first block must be from before the transaction was signed. Of any other node counts what it finds, not
   that it finds nothing.

That takes two more requests, the second to every node, so they are made only when by our clock it may be so far. A node
that does not answer is no objection, or one that is gone for good would keep orders open for ever.

So what remains trusted is that no node tells an untruth of itself which is just this one: that it has all these blocks
while one is missing. With endpoints of two providers both would have to, or one while the other does not answer.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from chalicelib.clock import Clock
from chalicelib.observability import logger
from chalicelib.orders.swap import SignedTransaction, SwapOutcome, SwapStatus
from chalicelib.resources.solana_rpc import (
    BlockHeight,
    LastLook,
    RpcRefused,
    RpcUnavailable,
    SignatureStatus,
    SolanaRpc,
)
from chalicelib.venues.solana.failures import describe_error
from chalicelib.venues.solana.fills import read_moved
from chalicelib.venues.solana.transaction import read_swap
from chalicelib.venues.venue import VenueUnavailable

FINAL = ("confirmed", "finalized")
"""What cannot be undone: a cluster has never gone back behind a confirmed block. A processed one it may drop."""

VALID_BLOCKS = 150
"""For how many blocks a transaction may land: ``MAX_PROCESSING_AGE`` in Agave."""
MOST_SLOTS_A_BLOCK = 2
"""Slots stay empty where a leader fails: on average a few of a hundred, and never for long one of two."""

EXPIRED = SwapStatus(outcome=SwapOutcome.EXPIRED)
Found = dict[str, SignatureStatus]
"""What is known of transactions, by their hashes."""


@dataclass(frozen=True, kw_only=True)
class SolanaChain:
    """A cluster; see ``Chain``."""

    rpc: SolanaRpc
    explorer_url: Callable[[str], str]
    """Says where people look a transaction up."""
    clock: Clock
    look_seconds: float = 0.5
    """A block is made every 0.4 s, and nodes limit how often they are asked."""

    def submit(self, transaction: SignedTransaction) -> None:
        """Send the recorded bytes; see ``Chain.submit``.

        What a node refuses may have been taken by another one before, so its refusal is no outcome either.
        """
        with _as_unavailable():
            self.rpc.send(transaction.payload)

    def statuses(self, transactions: Collection[SignedTransaction]) -> Mapping[str, SwapStatus]:
        """Return how these have ended; see ``Chain.statuses``.

        One request covers them all while none has ended. One more reads what all that have landed moved.
        """
        watched = {swap.tx_hash: swap for swap in transactions if _lands_here(swap)}
        if not watched:
            return {}
        with _as_unavailable():
            found = self._look(watched)
            ended = self._ended(watched, found)
        overdue = [swap for swap in watched.values() if swap.tx_hash not in found and self._is_overdue(swap)]
        if overdue:
            ended |= self._ended_late(overdue)
        return ended

    def _ended(self, swaps: Mapping[str, SignedTransaction], found: Found) -> dict[str, SwapStatus]:
        """Return how those have ended that were found and can no longer change."""
        final = {tx_hash: status for tx_hash, status in found.items() if status.confirmation in FINAL}
        failed = {
            tx_hash: self._failed(swaps[tx_hash], status) for tx_hash, status in final.items() if status.err is not None
        }
        return failed | self._landed([swaps[tx_hash] for tx_hash in final if tx_hash not in failed])

    def _look(self, tx_hashes: Collection[str]) -> Found:
        """Look among the transactions of the last minutes."""
        answer = self.rpc.signature_statuses(list(tx_hashes))
        return _found(tx_hashes, answer.statuses)

    def _is_overdue(self, swap: SignedTransaction) -> bool:
        return self.clock.now() >= swap.expires_at

    def _ended_late(self, overdue: list[SignedTransaction]) -> dict[str, SwapStatus]:
        """Return how those have ended that should have by now; not knowing it must not keep the others' ends back."""
        try:
            return self._last_look({swap.tx_hash: swap for swap in overdue})
        except (RpcUnavailable, RpcRefused) as error:
            logger.warning(f"{len(overdue)} overdue swaps not looked for: {error}")
            return {}

    def _last_look(self, overdue: Mapping[str, SignedTransaction]) -> dict[str, SwapStatus]:
        """Return what has landed after all, and what can no longer land."""
        finalized = self.rpc.block_height()
        past = [tx_hash for tx_hash, swap in overdue.items() if _last_valid_height(swap) < finalized.height]
        if not past:
            return {}
        looks = self.rpc.last_looks(past)
        found = _found_by_any(past, looks)
        ended = self._ended(overdue, found)
        for tx_hash in past:
            last_valid_height = _last_valid_height(overdue[tx_hash])
            if tx_hash in found:
                continue
            if any(_must_have_seen(look, finalized, last_valid_height) for look in looks):
                ended[tx_hash] = EXPIRED
            else:
                logger.warning(f"the last look for {tx_hash} does not count: no node must have seen it")
        return ended

    def _failed(self, swap: SignedTransaction, status: SignatureStatus) -> SwapStatus:
        return SwapStatus(
            outcome=SwapOutcome.FAILED,
            error=describe_error(status.err, swap.payload, swap.venue),
            explorer_url=self.explorer_url(swap.tx_hash),
        )

    def _landed(self, swaps: list[SignedTransaction]) -> dict[str, SwapStatus]:
        """Return what these swaps moved; one whose balances no node gives yet is looked at again later."""
        if not swaps:
            return {}
        landed: dict[str, SwapStatus] = {}
        for swap, transaction in zip(swaps, self.rpc.transactions([swap.tx_hash for swap in swaps]), strict=True):
            if transaction is None:
                continue
            try:
                moved = read_moved(read_swap(swap.payload), swap.payload, transaction)
            except ValueError as unreadable:
                # It has landed: whatever else, it must not be tried anew.
                logger.error(f"swap {swap.tx_hash} landed, but what it moved cannot be read: {unreadable}")
                continue
            landed[swap.tx_hash] = SwapStatus(
                outcome=SwapOutcome.LANDED,
                spent=moved.spent,
                received=moved.received,
                explorer_url=self.explorer_url(swap.tx_hash),
            )
        return landed


def _lands_here(swap: SignedTransaction) -> bool:
    """Whether a swap is one of this chain; of another (of the simulation, before it was switched) nothing is known."""
    if swap.last_valid_block_height is None:
        logger.error(f"swap {swap.tx_hash} has no last valid block height: it was not made for Solana and stays open")
        return False
    return True


def _last_valid_height(swap: SignedTransaction) -> int:
    if swap.last_valid_block_height is None:
        raise ValueError(f"swap {swap.tx_hash} has no last valid block height: nothing says when it has expired")
    return swap.last_valid_block_height


def _must_have_seen(look: LastLook, finalized: BlockHeight, last_valid_height: int) -> bool:
    """Whether a node has all blocks in which a transaction could have landed, each of them finalized."""
    if look.found.slot < finalized.slot:
        return False
    blocks_since = look.finalized.height - last_valid_height
    signed_at = look.finalized.slot - MOST_SLOTS_A_BLOCK * (blocks_since + VALID_BLOCKS)
    return blocks_since > 0 and look.first_slot <= max(signed_at, 0)


def _found(tx_hashes: Collection[str], statuses: Sequence[SignatureStatus | None]) -> Found:
    return {tx_hash: status for tx_hash, status in zip(tx_hashes, statuses, strict=True) if status is not None}


def _found_by_any(tx_hashes: Collection[str], looks: Sequence[LastLook]) -> Found:
    """Return what any node found; of what several did, the surest."""
    found: Found = {}
    for look in looks:
        for tx_hash, status in _found(tx_hashes, look.found.statuses).items():
            if tx_hash not in found or status.confirmation in FINAL:
                found[tx_hash] = status
    return found


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except (RpcUnavailable, RpcRefused) as error:
        raise VenueUnavailable(str(error)) from error

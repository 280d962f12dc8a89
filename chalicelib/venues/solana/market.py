"""The pools of the real venues: found by the tokens that they swap, and read all at once.

Every order is quoted by all venues at the same moment, and what they need is the same kind of thing: accounts. So one
request finds the pools of all venues, one more reads them, and a venue that asks right after another one gets the same
answer. Which pools there are is remembered; what they hold never is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import NamedTuple

from chalicelib.clock import Clock
from chalicelib.observability import logger
from chalicelib.resources.solana_rpc import Account, ProgramQuery, RpcRefused, RpcUnavailable, SolanaRpc
from chalicelib.venues.solana.pool import CLOCK, Amm, LivePool, Moment, address_at
from chalicelib.venues.solana.token_programs import Mint
from chalicelib.venues.venue import SwapRefused, VenueUnavailable

Pair = frozenset[str]
"""The two mints of a pair, whichever way it is swapped."""

REREAD_SECONDS = 0.2
"""How old pools may be for another venue's quote: about half a slot."""
FOUND_SECONDS = 60.0
"""How long a new pool of a pair that has some may stay unknown."""
NOT_FOUND_SECONDS = 2.0
"""How long the first pool of a pair may stay unknown: snipers wait for it."""
MOST_POOLS = 5
"""Of a venue's pools of one pair so many are read, first those that operators named, then the deepest: anybody can open
a pool."""


class PoolAddress(NamedTuple):
    """A pool, and the accounts to read with it."""

    address: str
    needs: tuple[str, ...]


class _Found(NamedTuple):
    pools: tuple[PoolAddress, ...]
    until: float


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Accounts as they were at one moment."""

    moment: Moment
    pairs: frozenset[Pair]
    found: Mapping[tuple[str, Pair], tuple[PoolAddress, ...]]
    accounts: Mapping[str, Account]
    amms: Mapping[str, Amm]
    read_at: float

    def mint(self, address: str) -> Mint:
        """Return a mint of one of the pairs.

        Raises:
            SwapRefused: there is no such mint, or it cannot be swapped.
        """
        return Mint.read(address, self.accounts.get(address))

    def pools(self, venue: str, pair: Pair) -> Iterator[LivePool | SwapRefused]:
        """Yield a venue's pools of a pair, and for each that takes no swaps why."""
        for pool in self.found[venue, pair]:
            try:
                live = self.amms[venue].live(pool.address, self.accounts, self.moment)
                live.check_open(self.moment)
                yield live
            except SwapRefused as refused:
                yield refused

    def pool(self, venue: str, address: str) -> LivePool:
        """Return one pool.

        Raises:
            SwapRefused: it is not, or no longer, what it was.
        """
        return self.amms[venue].live(address, self.accounts, self.moment)


@dataclass(frozen=True, kw_only=True)
class SolanaMarket:
    """Reads the pools of all venues; threads share it. ``known_pools`` are used besides those that are found."""

    rpc: SolanaRpc
    amms: Sequence[Amm]
    known_pools: Sequence[str]
    clock: Clock
    _lock: Lock = field(default_factory=Lock, init=False)
    _found: dict[tuple[str, Pair], _Found] = field(default_factory=dict, init=False)
    _last: list[Snapshot] = field(default_factory=list, init=False)

    def read(self, pairs: Collection[Pair]) -> Snapshot:
        """Read the pools of these pairs as they are now, or were ``REREAD_SECONDS`` ago.

        What another venue has begun to read meanwhile is new enough, however long its node takes to answer.

        Raises:
            VenueUnavailable: no node answers, or none serves what it is asked.
        """
        asked, asked_at = frozenset(pairs), self.clock.seconds()
        with self._lock:
            if self._last and asked <= self._last[0].pairs and asked_at - self._last[0].read_at < REREAD_SECONDS:
                return self._last[0]
            try:
                snapshot = self._read(asked)
            except (RpcUnavailable, RpcRefused) as error:
                raise VenueUnavailable(str(error)) from error
            self._last[:] = [snapshot]
            return snapshot

    def recent(self, pair: Pair) -> Snapshot:
        """Return the last look at a pair, however old: what a pool is does not change, only what it holds."""
        with self._lock:
            if self._last and pair in self._last[0].pairs:
                return self._last[0]
        return self.read([pair])

    def _read(self, pairs: frozenset[Pair]) -> Snapshot:
        self._find(pairs)
        found = {(amm.name, pair): self._found[amm.name, pair].pools for amm in self.amms for pair in pairs}
        read_at = self.clock.seconds()
        accounts = self._accounts(
            [CLOCK, *(mint for pair in pairs for mint in pair)]
            + [address for pools in found.values() for pool in pools for address in (pool.address, *pool.needs)]
        )
        if CLOCK not in accounts:
            raise VenueUnavailable("the chain does not say what time it is")
        return Snapshot(
            moment=Moment.read(accounts[CLOCK].data),
            pairs=pairs,
            found=found,
            accounts=accounts,
            amms={amm.name: amm for amm in self.amms},
            read_at=read_at,
        )

    def _find(self, pairs: frozenset[Pair]) -> None:
        """Find the pools of the pairs for which that was not done of late, all of them in one request."""
        now = self.clock.seconds()
        missing = [
            (amm, pair)
            for amm in self.amms
            for pair in pairs
            if (known := self._found.get((amm.name, pair))) is None or known.until <= now
        ]
        if not missing:
            return
        queries = {(amm.name, pair): amm.queries(*sorted(pair)) for amm, pair in missing}
        answers = iter(self._program_accounts([query for several in queries.values() for query in several]))
        for amm, pair in missing:
            pools: dict[str, Account] = {}
            for query in queries[amm.name, pair]:
                pools |= dict(next(answers))
                pools |= {known: account for known, account in self._known.items() if _matches(query, account)}
            deepest = sorted(pools, key=lambda pool: (-amm.depth(pools[pool].data), pool))
            kept = sorted(deepest, key=lambda pool: pool not in self._known)[:MOST_POOLS]
            addresses = tuple(PoolAddress(pool, amm.needs(pool, pools[pool].data)) for pool in deepest if pool in kept)
            self._found[amm.name, pair] = _Found(addresses, now + (FOUND_SECONDS if addresses else NOT_FOUND_SECONDS))

    def _program_accounts(self, queries: Sequence[ProgramQuery]) -> list[list[tuple[str, Account]]]:
        try:
            return self.rpc.program_accounts(queries)
        except RpcRefused as refused:
            if not self.known_pools:
                raise VenueUnavailable(
                    f"{refused}: name the pools in SOLANA_POOLS, or an endpoint in SOLANA_RPC_URLS that finds them"
                ) from refused
            logger.warning(f"only the pools of SOLANA_POOLS are used: {refused}")
            return [[] for _ in queries]

    @cached_property
    def _known(self) -> Mapping[str, Account]:
        """The pools that operators named, read once: which tokens a pool swaps never changes."""
        known = self._accounts(self.known_pools) if self.known_pools else {}
        for pool in self.known_pools:
            if pool not in known:
                logger.warning(f"there is no pool {pool}: SOLANA_POOLS names it")
        return known

    def _accounts(self, addresses: Sequence[str]) -> dict[str, Account]:
        unique = list(dict.fromkeys(addresses))
        answers = zip(unique, self.rpc.accounts(unique), strict=True)
        return {address: account for address, account in answers if account is not None}


def _matches(query: ProgramQuery, account: Account) -> bool:
    return (
        account.owner == query.program
        and len(account.data) == query.size
        and all(address_at(account.data, offset) == mint for offset, mint in query.at)
    )

"""The real venues and their chain, put together for one cluster: what the engine loads when it swaps for real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from chalicelib.clock import Clock
from chalicelib.config import SolanaSettings, read_rpc_urls
from chalicelib.resources.secrets import Secret
from chalicelib.resources.solana_rpc import SolanaRpc
from chalicelib.venues.meteora import Meteora
from chalicelib.venues.raydium import Raydium
from chalicelib.venues.solana.chain import SolanaChain
from chalicelib.venues.solana.clusters import CLUSTERS, tokens_of
from chalicelib.venues.solana.market import SolanaMarket
from chalicelib.venues.solana.signing import Budget, SwapSigner
from chalicelib.venues.solana.venue import SolanaVenue
from chalicelib.venues.solana.wallet import Wallet, read_wallet


@dataclass(frozen=True, kw_only=True)
class Network:
    """A cluster, seen through our endpoints, and our wallet in it."""

    rpc: SolanaRpc
    wallet: Callable[[], Wallet]
    """Reads the key when it is first asked for: who only quotes may not read it."""
    venues: tuple[SolanaVenue, ...]
    chain: SolanaChain


def connect(settings: SolanaSettings, budget: Budget, clock: Clock) -> Network:
    """Put the parts together; nothing is asked of the cluster.

    Raises:
        ResourceUnavailable: Secrets Manager does not say where the endpoints are.
        SettingsError: a token, or an endpoint in that secret, cannot be used.
    """
    cluster = CLUSTERS[settings.cluster]
    urls = settings.rpc_urls or read_rpc_urls(Secret(settings.rpc_secret_arn, clock).read())
    rpc = SolanaRpc(urls, clock, cluster.genesis_hash)
    tokens = tokens_of(settings)
    amms = (Raydium(*cluster.raydium), Meteora(*cluster.meteora))
    market = SolanaMarket(rpc=rpc, amms=amms, known_pools=settings.pools, clock=clock)
    wallet = _wallet(settings, clock)
    signer = SwapSigner(rpc=rpc, wallet=wallet, budget=budget, max_priority_fee=settings.max_priority_fee, clock=clock)
    return Network(
        rpc=rpc,
        wallet=wallet,
        venues=tuple(SolanaVenue(amm=amm, market=market, tokens=tokens, signer=signer) for amm in amms),
        chain=SolanaChain(rpc=rpc, explorer_url=cluster.explorer_url, clock=clock),
    )


def _wallet(settings: SolanaSettings, clock: Clock) -> Callable[[], Wallet]:
    @cache
    def read() -> Wallet:
        if settings.wallet_key:
            return read_wallet(settings.wallet_key, "SOLANA_WALLET_KEY")
        return read_wallet(Secret(settings.wallet_secret_arn, clock).read(), "SOLANA_WALLET_SECRET_ARN")

    return read

"""What differs between Solana's clusters: the programs of the venues, the tokens, and where people look swaps up.

Nothing here needs a Solana package, so that settings can be checked wherever they are set.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

from chalicelib.config import SOLANA_CLUSTERS, SettingsError, SolanaSettings

SPL_TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"  # noqa: S105 - a program's address
TOKEN_2022 = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"  # noqa: S105 - likewise
"""The two programs that keep tokens: https://www.solana-program.com/docs/token, …/token-2022"""


class MintedToken(NamedTuple):
    """A token as the chain knows it."""

    mint: str
    decimals: int
    program: str = SPL_TOKEN
    """The program that keeps it; its accounts' addresses follow from that as well."""


class Program(NamedTuple):
    """A venue's program, and the address that owns the vaults of its pools and signs for them."""

    address: str
    authority: str


class Cluster(NamedTuple):
    """One of Solana's networks."""

    name: str
    genesis_hash: str
    """What every node of the cluster, and none of another, answers to ``getGenesisHash``."""
    raydium: Program
    meteora: Program
    tokens: Mapping[str, MintedToken]
    """The tokens by their symbols."""

    @property
    def rpc_url(self) -> str:
        """The endpoint that is everybody's."""
        return SOLANA_CLUSTERS[self.name]

    def explorer_url(self, tx_hash: str) -> str:
        """Return where people look a transaction up."""
        of_cluster = "" if self.name == "mainnet-beta" else f"?cluster={self.name}"
        return f"https://explorer.solana.com/tx/{tx_hash}{of_cluster}"


SOL = MintedToken("So11111111111111111111111111111111111111112", 9)
"""SOL as a token: wrapped, on every cluster. https://www.solana-program.com/docs/token#wrapping-sol"""

# The same on both clusters: https://docs.meteora.ag/developer-guide/guides/damm-v2/overview
METEORA = Program("cpamdpZCGKUy5JxQXB4dcpGPiikHawvSWAd6mEn1sGG", "HLnpSz9h2S4hiLQ43rnSD9XkcUThA7B8hQMKmDaiTLcC")

MAINNET = Cluster(
    name="mainnet-beta",
    genesis_hash="5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d",
    # https://docs.raydium.io/raydium/protocol/developers/addresses
    raydium=Program("CPMMoo8L3F4NbTegBCKVNunggL7H1ZpdTHKxQB5qKP1C", "GpMZbSM2GgvTKHJirzeGfMFoaZ8UR2X7F4v8vHTvxFbL"),
    meteora=METEORA,
    tokens=MappingProxyType(
        {
            "SOL": SOL,
            # https://developers.circle.com/stablecoins/usdc-contract-addresses
            "USDC": MintedToken("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", 6),
            # https://tether.to/en/supported-protocols
            "USDT": MintedToken("Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB", 6),
            # https://docs.raydium.io/raydium/protocol/developers/addresses
            "RAY": MintedToken("4k3Dyjzvzp8eMZWUXbBCjEvwSkkk59S5iCNLY3QrkX6R", 6),
            # The next three as Jupiter's list of verified tokens has them: https://jup.ag/tokens
            "JUP": MintedToken("JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN", 6),
            "BONK": MintedToken("DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263", 5),
            "WIF": MintedToken("EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm", 6),
        }
    ),
)
DEVNET = Cluster(
    name="devnet",
    genesis_hash="EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG",
    # https://docs.raydium.io/raydium/protocol/developers/addresses: another program than before July 2025
    raydium=Program("DRaycpLY18LhpbydsBWbVJtxpNv9oXPgjRSfpF2bWpYb", "CXniRufdq5xL8t8jZAPxsPZDpuudwuJSPWnbcD5Y5Nxq"),
    meteora=METEORA,
    tokens=MappingProxyType(
        {
            "SOL": SOL,
            # Circle's own, from its faucet: https://developers.circle.com/stablecoins/usdc-contract-addresses
            "USDC": MintedToken("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", 6),
        }
    ),
)
CLUSTERS: Mapping[str, Cluster] = MappingProxyType({cluster.name: cluster for cluster in (DEVNET, MAINNET)})


def tokens_of(settings: SolanaSettings) -> Mapping[str, MintedToken]:
    """Return the tokens that can be swapped, by their symbols: the cluster's, and those of ``SOLANA_TOKENS``.

    Raises:
        SettingsError: two symbols name one token, or a cap names none, or has more decimals than its token.
    """
    besides = {
        token.symbol: MintedToken(token.mint, token.decimals, TOKEN_2022 if token.token_2022 else SPL_TOKEN)
        for token in settings.tokens
    }
    tokens = {**CLUSTERS[settings.cluster].tokens, **besides}
    problems = [*_same_mints(tokens)]
    for variable, caps in (
        ("SOLANA_MAX_PER_ORDER", settings.max_per_order),
        ("SOLANA_MAX_PER_DAY", settings.max_per_day),
    ):
        problems += _unusable_caps(variable, caps, tokens)
    if problems:
        raise SettingsError(problems)
    return MappingProxyType(tokens)


def _same_mints(tokens: Mapping[str, MintedToken]) -> Iterator[str]:
    known: dict[str, str] = {}
    for symbol, token in tokens.items():
        if token.mint in known:
            yield (
                f"SOLANA_TOKENS='{symbol}={token.mint}' cannot be used: allowed is a mint that has no symbol yet "
                f"({known[token.mint]} is this one)"
            )
        known.setdefault(token.mint, symbol)


def _unusable_caps(variable: str, caps: Mapping[str, Decimal], tokens: Mapping[str, MintedToken]) -> Iterator[str]:
    for symbol, amount in caps.items():
        if symbol not in tokens:
            allowed = f"one of {', '.join(tokens)}; SOLANA_TOKENS makes others known"
        elif -int(amount.as_tuple().exponent) > tokens[symbol].decimals:
            allowed = f"at most {tokens[symbol].decimals} decimals"
        else:
            continue
        yield f"{variable}='{symbol}={amount:f}' cannot be used: allowed is {allowed}"

"""What whoever starts or deploys an engine that swaps for real must have read: on which cluster, and whose money."""

REAL_MONEY = "mainnet-beta"


def real_swaps(cluster: str, wallet_key: str, wallet_secret_arn: str) -> str:
    """Say where an engine swaps for real and which wallet pays: its address, or the secret that only the engine reads.

    Raises:
        ValueError: the key is no key; nothing of it is told.
    """
    paid = "paid with real money" if cluster == REAL_MONEY else "paid"
    return f"Swaps are real, on Solana's {cluster}, and {paid} by {_wallet(wallet_key, wallet_secret_arn)}"


def _wallet(key: str, secret_arn: str) -> str:
    if not key:
        return f"the wallet in {secret_arn}"
    # Where swaps are simulated nobody needs Solana's packages.
    from chalicelib.venues.solana.wallet import read_wallet

    return f"the wallet {read_wallet(key, 'SOLANA_WALLET_KEY').address}"

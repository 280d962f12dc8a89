"""A devnet of the tests' own: tokens, pools of both venues, and a wallet for the engine.

What the engine is told of it are its usual settings; see ``Devnet.settings``.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from solders.pubkey import Pubkey

from tests.solana.accounts import LAMPORTS, TOKEN_2022_PROGRAM, Mint, TransferFee, associated_account
from tests.solana.ledger import Landing, Ledger
from tests.solana.rpc_server import RpcServer

USDC = Pubkey.from_string("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU")
"""Circle's, on devnet."""
TAX = TransferFee(basis_points=250, maximum=10**15)
RICH = 10_000
WORTH = {"SOL": Decimal(150), "USDC": Decimal(1), "TAX": Decimal(2), "NOTE": Decimal(10), "NEW": Decimal("0.5")}
"""What a token is worth in USDC, in pools that open at no other price."""


class Devnet:
    """A ledger with the tokens SOL, USDC, TAX (Token-2022, with a transfer fee), NOTE (Token-2022, without) and NEW."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.tokens: dict[str, Mint] = {
            "SOL": ledger.wrapped_sol,
            "USDC": ledger.new_mint(6, address=USDC),
            "TAX": ledger.new_mint(6, TOKEN_2022_PROGRAM, TAX),
            "NOTE": ledger.new_mint(9, TOKEN_2022_PROGRAM),
            "NEW": ledger.new_mint(6),
        }
        self.wallet = ledger.new_wallet(RICH * LAMPORTS)
        for symbol in ("USDC", "TAX", "NOTE"):
            ledger.give(self.wallet.pubkey(), self.tokens[symbol], self.units(symbol, RICH))

    def settings(self, nodes: Sequence[RpcServer]) -> dict[str, str]:
        """Return what the engine is told, by the names of its variables."""
        caps = ",".join(f"{symbol}=5000" for symbol in self.tokens)
        return {
            "USE_REAL_DEVNET": "true",
            "SOLANA_CLUSTER": "devnet",
            "SOLANA_RPC_URLS": ",".join(node.url for node in nodes),
            "SOLANA_WALLET_KEY": str(self.wallet),
            "SOLANA_TOKENS": ",".join(
                f"{symbol}={mint.address}:{mint.decimals}"
                + (":token-2022" if mint.program == TOKEN_2022_PROGRAM else "")
                for symbol, mint in self.tokens.items()
                if symbol not in ("SOL", "USDC")
            ),
            "SOLANA_MAX_PER_ORDER": caps,
            "SOLANA_MAX_PER_DAY": caps,
        }

    def units(self, symbol: str, amount: Decimal | int | str) -> int:
        return int(Decimal(amount).scaleb(self.tokens[symbol].decimals))

    def amount(self, symbol: str, units: int) -> Decimal:
        return Decimal(units).scaleb(-self.tokens[symbol].decimals)

    def open_pool(
        self, venue: str, pair: str, *, worth: int = 10**6, price: Decimal | None = None, **rest: Any
    ) -> Pubkey:
        """Open a pool with tokens for so many USDC on either side; the rest are the pool's own settings."""
        base, other = pair.split("/")
        amount = worth / WORTH[base]
        amounts = (
            self.units(base, amount),
            self.units(other, amount * (price if price is not None else WORTH[base] / WORTH[other])),
        )
        if venue == "raydium":
            return self.ledger.new_raydium_pool(self.tokens[base], self.tokens[other], amounts, **rest)
        return self.ledger.new_meteora_pool(self.tokens[base], self.tokens[other], amounts, **rest)

    def balances(self) -> dict[str, Decimal]:
        """Return what the wallet has of each token; of SOL, what is not in token accounts."""
        held = {
            symbol: self.ledger.held(self.wallet.pubkey(), mint)
            for symbol, mint in self.tokens.items()
            if symbol != "SOL"
        }
        held["SOL"] = self.ledger.lamports(self.wallet.pubkey())
        return {symbol: self.amount(symbol, units) for symbol, units in held.items()}

    def fees_of(self, landing: Landing) -> Decimal:
        """Return what a transaction cost the wallet in SOL besides what it swapped: fee, and rent of a new account."""
        keys = landing.sent.transaction.message.account_keys
        ours = {associated_account(self.wallet.pubkey(), mint) for mint in self.tokens.values()}
        rent = sum(
            after
            for key, before, after in zip(keys, landing.before.lamports, landing.after.lamports, strict=True)
            if key in ours and before == 0
        )
        return self.amount("SOL", landing.result.fee + rent)

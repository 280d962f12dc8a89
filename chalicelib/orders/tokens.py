"""The tokens that can be traded, and exact arithmetic in their base units."""

from collections.abc import Iterable
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal

import msgspec

# Wide enough for any product of two amounts; the default context's 28 digits would round silently.
EXACT = Context(prec=60)
PRICE_DIGITS = 12
"""A price has as many significant digits at most."""


class Token(msgspec.Struct, frozen=True):
    """A token by its symbol; ``decimals`` is how many digits one base unit lies behind the point."""

    symbol: str
    decimals: int

    @property
    def base_unit(self) -> Decimal:
        """The smallest amount of this token."""
        return Decimal(1).scaleb(-self.decimals)

    def round_amount(self, amount: Decimal, rounding: str = ROUND_DOWN) -> Decimal:
        """Round ``amount`` to whole base units."""
        return amount.quantize(self.base_unit, rounding=rounding, context=EXACT)


# Decimals as on Solana's mainnet.
TOKENS: dict[str, Token] = {
    token.symbol: token
    for token in (
        Token("SOL", 9),
        Token("USDC", 6),
        Token("USDT", 6),
        Token("RAY", 6),
        Token("JUP", 6),
        Token("BONK", 5),
        Token("WIF", 6),
    )
}
"""Those that are traded, by their symbols: these, unless ``trade_only`` has said which."""
NATIVE = "SOL"
"""The chain's own coin: no token account holds it, so a swap wraps and unwraps it."""


def trade_only(tokens: Iterable[Token]) -> None:
    """Trade these tokens and no others: what a process whose venues are on a real cluster says when it starts."""
    traded = {token.symbol: token for token in tokens}
    TOKENS.clear()
    TOKENS.update(traded)


def round_price(price: Decimal, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """Round a price to twelve significant digits; a whole number is written out: 1000, not 1E+3."""
    rounded = Context(prec=PRICE_DIGITS, rounding=rounding).plus(price)
    return Decimal(f"{rounded:f}")

"""The wallet that swaps for real: a key that signs and pays.

Whoever reads the key has the money. So it is read once, here, and nothing that is printed shows it: neither the wallet
nor an error says more than the address, and the log conceals the key in every form that a library might write it in.
"""

from base64 import b64encode
from collections.abc import Iterator

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from chalicelib.exact_json import decode_json
from chalicelib.observability import conceal

KEY_BYTES = 64
SECRET_BYTES = 32
"""The first half of a key is its secret, the second half the public key that belongs to it: the wallet's address."""
MEMBER = "key"
"""What a secret that is JSON calls it."""
ALLOWED = (
    "64 bytes in base58, as wallets export them, or the JSON array of 64 numbers that `solana-keygen new` writes; "
    'in a secret also as the member "key" of a JSON object'
)


class WalletKeyError(ValueError):
    """A key that cannot be used; it says which setting holds it, and nothing of what that is."""


class Wallet:
    """A keypair that shows its address only."""

    __slots__ = ("address", "keypair")

    def __init__(self, keypair: Keypair) -> None:
        self.keypair = keypair
        self.address = str(keypair.pubkey())
        """In base58."""

    def __repr__(self) -> str:
        return f"Wallet({self.address})"


def read_wallet(text: str, setting: str) -> Wallet:
    """Read a wallet from its key, and conceal the key from here on.

    Raises:
        WalletKeyError: naming ``setting``, where the key is no key, or its halves do not belong together.
    """
    key = _key_in(text)
    conceal({text, text.strip(), key})
    decoded = _decode(key)
    # Raised where no other error is being handled: that one might quote the key, and would go along as the context.
    if decoded is None:
        raise WalletKeyError(f"{setting} does not hold a wallet's key; allowed are {ALLOWED}")
    conceal(_written(decoded))
    keypair = Keypair.from_seed(decoded[:SECRET_BYTES])
    if bytes(keypair) != decoded:
        raise WalletKeyError(
            f"{setting} does not hold a wallet's key: its second half is not the public key of the first; allowed are "
            f"{ALLOWED}"
        )
    return Wallet(keypair)


def _key_in(text: str) -> str:
    """Return the key of a secret that may have it by name."""
    try:
        parts = decode_json(text)
    except ValueError:
        return text.strip()
    key = parts.get(MEMBER) if isinstance(parts, dict) else None
    if isinstance(key, list):
        return str(key)
    return key.strip() if isinstance(key, str) else text.strip()


def _decode(key: str) -> bytes | None:
    """Return a key's 64 bytes, or None when it has not as many."""
    try:
        # A signature has 64 bytes in base58 as well, and its reader refuses all else.
        decoded = bytes(decode_json(key)) if key.startswith("[") else bytes(Signature.from_string(key))
    except (ValueError, TypeError):
        return None
    return decoded if len(decoded) == KEY_BYTES else None


def _written(key: bytes) -> Iterator[str]:
    """Yield a key, and its secret half, as they may be written."""
    yield str(Signature.from_bytes(key))
    yield str(Pubkey.from_bytes(key[:SECRET_BYTES]))
    for secret in (key, key[:SECRET_BYTES]):
        yield from (",".join(map(str, secret)), ", ".join(map(str, secret)))
        yield from (secret.hex(), b64encode(secret).decode(), repr(secret)[2:-1])

"""A chain within the process: LiteSVM with its built-in programs, and a wallet with tokens on it.

What runs is what runs on Solana; mints, and what is held from the start, are written by hand.
"""

import struct

from solders.account import Account as ChainAccount
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from chalicelib.resources.solana_rpc import Account
from chalicelib.venues.solana.clusters import SPL_TOKEN, TOKEN_2022
from chalicelib.venues.solana.pool import read_only, signer, writable
from chalicelib.venues.solana.token_programs import WRAPPED_SOL, TokenAccount, TransferFee, associated_account
from chalicelib.venues.solana.transaction import TEMPORARY_RENT, sign

SOL = 10**9
RENT = 10 * SOL
"""More than any account needs."""


def mint_data(decimals: int, extensions: bytes = b"") -> bytes:
    """Return a mint as its program writes it; ``extensions`` are those of Token-2022, see ``extension``."""
    data = bytes(44) + bytes([decimals, 1]) + bytes(36)
    return data.ljust(165, b"\0") + b"\1" + extensions if extensions else data


def extension(kind: int, value: bytes) -> bytes:
    """Return an extension as it stands in a mint."""
    return struct.pack("<HH", kind, len(value)) + value


def transfer_fees(older: TransferFee, newer: TransferFee, newer_from: int) -> bytes:
    """Return the extension of a mint that keeps a part of each transfer."""
    fees = [struct.pack("<QQH", epoch, fee.cap, fee.basis_points) for epoch, fee in ((0, older), (newer_from, newer))]
    return extension(1, bytes(72) + b"".join(fees))


def transfer(source: str, destination: str, owner: str, mint: str, program: str, amount: int) -> Instruction:
    """Move tokens as the venues' programs do (``transferChecked``); SOL has nine decimals, all others have six."""
    return Instruction(
        Pubkey.from_string(program),
        bytes([12]) + struct.pack("<QB", amount, 9 if mint == WRAPPED_SOL else 6),
        [writable(source), read_only(mint), writable(destination), signer(owner)],
    )


class Bank:
    """A chain with wrapped SOL and a rich wallet."""

    def __init__(self) -> None:
        self.svm = LiteSVM()
        self.wallet = Keypair()
        self.address = str(self.wallet.pubkey())
        self.svm.airdrop(self.wallet.pubkey(), 100 * SOL)
        self._put(WRAPPED_SOL, SPL_TOKEN, mint_data(9))

    def make_mint(self, program: str = SPL_TOKEN, extensions: bytes = b"") -> str:
        """Make a token of six decimals."""
        address = str(Pubkey.new_unique())
        self._put(address, program, mint_data(6, extensions))
        return address

    def hold(self, mint: str, amount: int, program: str = SPL_TOKEN) -> str:
        """Give the wallet so much of a mint in its associated account; return its address."""
        return self._put_tokens(associated_account(self.address, mint, program), mint, amount, program)

    def vault(self, mint: str, amount: int, program: str = SPL_TOKEN) -> str:
        """Give the wallet so much of a mint in an account beside its associated one; return its address."""
        return self._put_tokens(str(Pubkey.new_unique()), mint, amount, program)

    def account(self, address: str) -> Account | None:
        """Return an account as the RPC client reads it; None if there is none."""
        found = self.svm.get_account(Pubkey.from_string(address))
        return Account(str(found.owner), found.lamports, bytes(found.data)) if found and found.lamports else None

    def tokens(self, address: str) -> int:
        """Return what a token account holds."""
        return TokenAccount.read(address, self.account(address)).amount

    def lamports(self) -> int:
        """Return what the wallet holds."""
        return self.svm.get_balance(self.wallet.pubkey()) or 0

    def run(self, *instructions: Instruction) -> TransactionMetadata:
        """Execute a transaction of the wallet, which must succeed."""
        result = self._send(instructions)
        assert isinstance(result, TransactionMetadata), (result.err(), result.meta().logs())
        return result

    def fail(self, *instructions: Instruction) -> str:
        """Execute a transaction of the wallet, which must land with an error; return it."""
        result = self._send(instructions)
        assert isinstance(result, FailedTransactionMetadata)
        return repr(result.err())

    def _send(self, instructions: tuple[Instruction, ...]) -> TransactionMetadata | FailedTransactionMetadata:
        signed = sign(instructions, self.wallet, str(self.svm.latest_blockhash()))
        return self.svm.send_transaction(VersionedTransaction.from_bytes(signed.payload))

    def _put_tokens(self, address: str, mint: str, amount: int, program: str) -> str:
        data = bytes(Pubkey.from_string(mint)) + bytes(self.wallet.pubkey()) + struct.pack("<Q", amount)
        native = struct.pack("<IQ", 1, TEMPORARY_RENT) if mint == WRAPPED_SOL else bytes(12)
        data = data.ljust(108, b"\0") + b"\1" + native + bytes(44)
        if program == TOKEN_2022:
            data += b"\2" + extension(2, bytes(8))  # where what a transfer costs is kept
        self._put(address, program, data, TEMPORARY_RENT + amount if mint == WRAPPED_SOL else RENT)
        return address

    def _put(self, address: str, program: str, data: bytes, lamports: int = RENT) -> None:
        account = ChainAccount(lamports, data, Pubkey.from_string(program), executable=False)
        self.svm.set_account(Pubkey.from_string(address), account)

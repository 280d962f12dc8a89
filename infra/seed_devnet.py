"""Makes a pair on devnet that can be swapped on both venues: ``python -m infra.seed_devnet``.

It mints two new tokens (or one, against SOL) to the wallet of the settings, puts some of them into a new pool of
Raydium and of Meteora, at prices that differ a little, and prints the settings that make the engine trade them. What it
makes costs rent and Raydium's fee for a pool, all in devnet's SOL, which is worth nothing: https://faucet.solana.com.

This was written without reach of devnet and has not run there. The mints are made in the tests on the real token
programs; the instructions that make pools are held against the programs' sources only (``infra.pool_creation``). Every
transaction is simulated before it is sent, so what a program refuses costs nothing. ``--dry-run`` sends nothing at all.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.transaction import Transaction

from chalicelib.clock import Clock
from chalicelib.config import SYMBOL, SolanaSettings, load_settings
from chalicelib.resources.solana_rpc import RpcRefused, RpcUnavailable, SolanaRpc
from chalicelib.venues.solana.clusters import DEVNET, SOL
from chalicelib.venues.solana.failures import INSUFFICIENT, describe_error
from chalicelib.venues.solana.wallet import Wallet, WalletKeyError, read_wallet
from infra.commands import failed
from infra.local.settings_file import local_environment
from infra.pool_creation import (
    Deposit,
    associated_token_account,
    meteora_pool,
    mint_to,
    new_mint,
    raydium_config,
    raydium_pool,
    read_raydium_config,
    wrap,
)

Report = Callable[[str], None]

DECIMALS = 6
SUPPLY = 1_000_000
"""Whole tokens of each new mint."""
DEPOSIT = 100_000
"""Whole tokens of the first one in each pool."""
PRICE = Decimal(2)
"""Of the first token in the second, in Raydium's pool; in SOL it follows from how much is put in."""
METEORA_PRICE = Decimal("1.01")
"""How much more Meteora's pool pays: enough to tell which venue the router chose."""
COMPUTE_UNITS = 600_000
"""A transaction that says nothing has 200,000, which a new pool may exceed."""
POLL_SECONDS = 2.0
FAUCET = "https://faucet.solana.com"


class SeedError(Exception):
    """The pair could not be made; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One transaction."""

    what: str
    instructions: tuple[Instruction, ...]
    signers: tuple[Keypair, ...]
    """Who signs besides the wallet."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What is to be made."""

    tokens: Mapping[str, Keypair]
    """The new mints by their symbols."""
    pools: Mapping[str, str]
    """The pools' addresses by their venues."""
    steps: tuple[Step, ...]


def plan(wallet: str, symbols: Sequence[str], sol: Decimal | None, raydium_index: int) -> Pair:
    """Decide all that is to be made; ``sol`` is how much of it each pool gets, where there is no second new token."""
    tokens = {symbol: Keypair() for symbol in symbols}
    mints = [str(keypair.pubkey()) for keypair in tokens.values()]
    base = Deposit(mints[0], _base_units(DEPOSIT, DECIMALS))
    if sol is None:
        quotes = [Deposit(mints[1], _base_units(DEPOSIT * PRICE * more, DECIMALS)) for more in (1, METEORA_PRICE)]
    else:
        quotes = [Deposit(SOL.mint, _base_units(sol * more, SOL.decimals)) for more in (1, METEORA_PRICE)]
    position = Keypair()
    config = raydium_config(DEVNET.raydium, raydium_index)
    on_raydium = raydium_pool(DEVNET.raydium, config, wallet, (base, quotes[0]))
    on_meteora = meteora_pool(DEVNET.meteora, wallet, str(position.pubkey()), (base, quotes[1]))
    wrapped = () if sol is None else _wrapped(wallet, sum(quote.amount for quote in quotes))
    minted = (*_minted(wallet, mints), *wrapped)
    return Pair(
        tokens=tokens,
        pools={"raydium": on_raydium.address, "meteora": on_meteora.address},
        steps=(
            Step(what=f"mint {' and '.join(symbols)}", instructions=minted, signers=tuple(tokens.values())),
            Step(what="make Raydium's pool", instructions=_with_budget(on_raydium.instruction), signers=()),
            Step(what="make Meteora's pool", instructions=_with_budget(on_meteora.instruction), signers=(position,)),
        ),
    )


def carry_out(rpc: SolanaRpc, clock: Clock, wallet: Wallet, step: Step) -> str:
    """Make one transaction land, and return its signature.

    Raises:
        SeedError: it was refused, landed with an error, or did not land.
        RpcUnavailable: no endpoint answers; what was sent may still land.
    """
    blockhash, _ = rpc.blockhash_and_fees([])
    message = Message.new_with_blockhash(step.instructions, wallet.keypair.pubkey(), Hash.from_string(blockhash.hash))
    transaction = Transaction([wallet.keypair, *step.signers], message, Hash.from_string(blockhash.hash))
    payload, signature = bytes(transaction), str(transaction.signatures[0])
    simulated = rpc.simulate(payload)
    if simulated.err is not None:
        raise SeedError("\n".join([f"Could not {step.what}: {_why(simulated.err, payload)}", *simulated.logs]))
    while True:
        rpc.send(payload)
        # The height first: what is not found after it was passed did not land in time.
        height = rpc.block_height().height
        (status,) = rpc.signature_statuses([signature]).statuses
        if status and status.confirmation in ("confirmed", "finalized"):
            if status.err is not None:
                why = _why(status.err, payload)
                raise SeedError(f"{step.what} landed with an error: {why} ({DEVNET.explorer_url(signature)})")
            return signature
        if status is None and height > blockhash.last_valid_block_height:
            raise SeedError(f"{step.what} did not land in time: try again. Nothing of it happened.")
        clock.sleep(POLL_SECONDS)


def check_raydium_config(rpc: SolanaRpc, index: int) -> Decimal:
    """Return what Raydium asks for a pool, in SOL.

    Raises:
        SeedError: there is no such config, or it takes no new pools.
    """
    address = raydium_config(DEVNET.raydium, index)
    (account,) = rpc.accounts([address])
    if account is None or account.owner != DEVNET.raydium.address:
        raise SeedError(f"Raydium has no config {index} on devnet ({address}): name another with --raydium-config.")
    config = read_raydium_config(account.data)
    if config.closed:
        raise SeedError(f"Raydium takes no new pools with its config {index}: name another with --raydium-config.")
    return Decimal(config.pool_fee).scaleb(-SOL.decimals).normalize()


def describe(step: Step) -> Iterator[str]:
    """Tell what a transaction would do: each instruction's program, accounts (signing, writable) and data."""
    yield f"{step.what}:"
    for instruction in step.instructions:
        yield f"  {instruction.program_id} {instruction.data.hex()}"
        for account in instruction.accounts:
            flags = ("s" if account.is_signer else "-") + ("w" if account.is_writable else "-")
            yield f"    {flags} {account.pubkey}"


def settings_lines(settings: SolanaSettings, pair: Pair) -> Iterator[str]:
    """Return the settings that make the engine trade the pair, besides what it trades."""
    had = [
        f"{token.symbol}={token.mint}:{token.decimals}{':token-2022' if token.token_2022 else ''}"
        for token in settings.tokens
        if token.symbol not in pair.tokens
    ]
    made = [f"{symbol}={keypair.pubkey()}:{DECIMALS}" for symbol, keypair in pair.tokens.items()]
    yield f"SOLANA_TOKENS={','.join([*had, *made])}"
    yield f"SOLANA_POOLS={','.join(dict.fromkeys([*settings.pools, *pair.pools.values()]))}"
    for variable, caps, cap in (
        ("SOLANA_MAX_PER_ORDER", settings.max_per_order, 1_000),
        ("SOLANA_MAX_PER_DAY", settings.max_per_day, 10_000),
    ):
        whole = {**caps, **{symbol: Decimal(cap) for symbol in pair.tokens}}
        yield f"{variable}={','.join(f'{symbol}={amount:f}' for symbol, amount in whole.items())}"


def seed(
    rpc: SolanaRpc, clock: Clock, wallet: Wallet, pair: Pair, *, raydium_index: int, dry_run: bool, report: Report
) -> None:
    """Make the pair, or tell what would be made.

    Raises:
        SeedError, RpcUnavailable, RpcRefused: it could not be made.
    """
    fee = check_raydium_config(rpc, raydium_index)
    report(f"{wallet.address} pays; Raydium asks {fee:f} SOL for a pool")
    if dry_run:
        # Only the first can be simulated: the pools need mints that are not there.
        first = pair.steps[0]
        message = Message.new_with_blockhash(first.instructions, wallet.keypair.pubkey(), Hash.default())
        payload = bytes(Transaction.new_unsigned(message))
        simulated = rpc.simulate(payload)
        outcome = "it would land" if simulated.err is None else _why(simulated.err, payload)
        report(f"simulated: {first.what}: {outcome}, {simulated.units} compute units")
        for step in pair.steps:
            for line in describe(step):
                report(line)
        return
    for step in pair.steps:
        signature = carry_out(rpc, clock, wallet, step)
        report(f"{step.what}: {DEVNET.explorer_url(signature)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a pair with the wallet of the settings, say how to trade it, and return the exit code."""
    options = command_line(arguments)
    settings = load_settings(local_environment({**os.environ, "USE_REAL_DEVNET": "true"})).solana
    assert settings is not None  # noqa: S101 - for mypy: they were asked for
    try:
        if settings.cluster != DEVNET.name:
            raise SeedError(f"SOLANA_CLUSTER={settings.cluster}: this makes pools on devnet only.")
        if not settings.wallet_key or not settings.rpc_urls:
            raise SeedError("Set SOLANA_WALLET_KEY here, and no SOLANA_RPC_SECRET_ARN: this asks no Secrets Manager.")
        wallet = read_wallet(settings.wallet_key, "SOLANA_WALLET_KEY")
        rpc, clock = SolanaRpc(settings.rpc_urls, Clock(), DEVNET.genesis_hash), Clock()
        pair = plan(wallet.address, options.symbols[: 1 if options.sol else 2], options.sol, options.raydium_config)
        seed(
            rpc,
            clock,
            wallet,
            pair,
            raydium_index=options.raydium_config,
            dry_run=options.dry_run,
            report=print,
        )
    except (SeedError, WalletKeyError, RpcUnavailable, RpcRefused) as error:
        return failed(error)
    if options.dry_run:
        return 0  # the mints of the next run are others
    print("\n# With the real venues' other settings, in .env:")
    print("\n".join(settings_lines(settings, pair)))
    return 0


def command_line(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; one that makes no sense ends the process with an explanation."""
    parser = argparse.ArgumentParser(prog="python -m infra.seed_devnet", description="Make a pair on devnet.")
    parser.add_argument("--symbols", type=_symbols, default=["FOO", "BAR"], help="what they are called: FOO,BAR")
    parser.add_argument("--sol", type=_sol, help="pools against SOL, with so much of it in each; only FOO is made then")
    parser.add_argument("--raydium-config", type=int, default=0, help="which of Raydium's fee configs (default: 0)")
    parser.add_argument("--dry-run", action="store_true", help="simulate what can be, print the rest, send nothing")
    return parser.parse_args(arguments)


def _why(err: Any, payload: bytes) -> str:
    """Say why a transaction fails, and what to do where it is the wallet's money."""
    why = describe_error(err, payload, "the venue's program")
    return f"{why}: {FAUCET} gives SOL" if why.startswith(INSUFFICIENT) else why


def _symbols(text: str) -> list[str]:
    symbols = text.split(",")
    if len(set(symbols)) != 2 or not all(re.fullmatch(SYMBOL, symbol) for symbol in symbols) or "SOL" in symbols:
        raise argparse.ArgumentTypeError(f"{text!r}: two names in upper-case letters and digits, such as FOO,BAR")
    return symbols


def _sol(text: str) -> Decimal:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?", text) or not Decimal(text):
        raise argparse.ArgumentTypeError(f"{text!r}: an amount such as 0.5")
    return Decimal(text)


def _base_units(amount: Decimal | int, decimals: int) -> int:
    return int(Decimal(amount).scaleb(decimals))


def _minted(wallet: str, mints: Sequence[str]) -> Iterator[Instruction]:
    for mint in mints:
        yield from new_mint(mint, wallet, DECIMALS)
        yield associated_token_account(wallet, mint)
        yield mint_to(wallet, mint, _base_units(SUPPLY, DECIMALS))


def _wrapped(wallet: str, lamports: int) -> tuple[Instruction, ...]:
    return (associated_token_account(wallet, SOL.mint), *wrap(wallet, lamports))


def _with_budget(instruction: Instruction) -> tuple[Instruction, ...]:
    return (set_compute_unit_limit(COMPUTE_UNITS), instruction)


if __name__ == "__main__":
    sys.exit(main())

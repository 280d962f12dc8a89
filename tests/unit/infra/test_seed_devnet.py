"""Seeding devnet: mints on the real token programs, and each transaction looked at until it has landed."""

from decimal import Decimal

import pytest
from solders.account import Account
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata

from chalicelib.config import load_settings
from chalicelib.resources import solana_rpc
from chalicelib.resources.solana_rpc import Blockhash, BlockHeight, SignatureStatus, Simulation, Statuses
from chalicelib.venues.solana.clusters import DEVNET, SOL, SPL_TOKEN, tokens_of
from chalicelib.venues.solana.token_programs import associated_account
from chalicelib.venues.solana.wallet import Wallet
from infra import seed_devnet
from infra.pool_creation import raydium_config
from infra.seed_devnet import (
    SeedError,
    carry_out,
    check_raydium_config,
    command_line,
    main,
    plan,
    seed,
    settings_lines,
)
from tests.clocks import QuickClock

KEYPAIR = Keypair()
WALLET = Wallet(KEYPAIR)
LARGEST_TRANSACTION = 1232
REAL = {
    "USE_REAL_DEVNET": "true",
    "SOLANA_WALLET_KEY": str(KEYPAIR),
    "SOLANA_MAX_PER_ORDER": "SOL=0.1",
    "SOLANA_MAX_PER_DAY": "SOL=1",
}
NO_ERROR = Simulation(err=None, units=1_000, logs=())
CONFIG = bytes(36) + (150_000_000).to_bytes(8, "little") + bytes(192)


def signed(step, blockhash):
    message = Message.new_with_blockhash(step.instructions, KEYPAIR.pubkey(), blockhash)
    return Transaction([KEYPAIR, *step.signers], message, blockhash)


@pytest.fixture
def chain():
    """Return a chain with the built-in token programs, the mint of wrapped SOL and a wallet with SOL."""
    chain = LiteSVM()
    chain.airdrop(KEYPAIR.pubkey(), 100 * 10**9)
    # No authority, no supply, 9 decimals, initialized, nobody may freeze.
    mint = bytes(44) + bytes([9, 1]) + bytes(36)
    token_program = Pubkey.from_string(SPL_TOKEN)
    chain.set_account(Pubkey.from_string(SOL.mint), Account(10**9, mint, token_program))
    return chain


def balance(chain, mint):
    account = chain.get_account(Pubkey.from_string(associated_account(WALLET.address, mint, SPL_TOKEN)))
    return int.from_bytes(account.data[64:72], "little")


def landed(chain, step):
    outcome = chain.send_transaction(signed(step, chain.latest_blockhash()))
    assert not isinstance(outcome, FailedTransactionMetadata), outcome


def test_both_tokens_are_minted_to_the_wallet(chain):
    pair = plan(WALLET.address, ["FOO", "BAR"], None, 0)

    landed(chain, pair.steps[0])

    for keypair in pair.tokens.values():
        assert balance(chain, str(keypair.pubkey())) == 1_000_000 * 10**6
        mint = chain.get_account(keypair.pubkey()).data
        assert mint[44] == 6
        assert mint[46:50] == bytes(4), "nobody may freeze what was bought"


def test_against_sol_one_token_is_minted_and_as_much_wrapped_as_both_pools_take(chain):
    pair = plan(WALLET.address, ["FOO"], Decimal("0.5"), 0)

    landed(chain, pair.steps[0])

    (foo,) = pair.tokens.values()
    assert balance(chain, str(foo.pubkey())) == 1_000_000 * 10**6
    assert balance(chain, SOL.mint) == 500_000_000 + 505_000_000


@pytest.mark.parametrize("sol", [None, Decimal(1)])
def test_every_transaction_fits_into_a_packet(chain, sol):
    for step in plan(WALLET.address, ["FOO"] if sol else ["FOO", "BAR"], sol, 0).steps:
        assert len(bytes(signed(step, chain.latest_blockhash()))) <= LARGEST_TRANSACTION


@pytest.mark.parametrize("sol", ["0.000000001", "999999.999999999"])
def test_the_least_and_the_most_sol_that_is_taken_makes_a_pool(sol):
    assert plan(WALLET.address, ["FOO"], command_line(["--sol", sol]).sol, 0).pools


# --- Sent and looked at ---


class Rpc:
    """Answers as a node does, by what a test has scripted."""

    def __init__(self, *statuses, simulation=NO_ERROR, heights=(1,), config=CONFIG):
        self.statuses, self.heights, self.simulation, self.config = list(statuses), list(heights), simulation, config
        self.sent, self.simulated = [], []

    def accounts(self, addresses):
        assert addresses == [raydium_config(DEVNET.raydium, 0)]
        return [self.config and solana_rpc.Account(DEVNET.raydium.address, 1, self.config)]

    def blockhash_and_fees(self, writable):
        return Blockhash("11111111111111111111111111111111", last_valid_block_height=150), []

    def simulate(self, transaction):
        self.simulated.append(transaction)
        return self.simulation

    def send(self, transaction):
        self.sent.append(transaction)

    def block_height(self):
        return BlockHeight(slot=1, height=self.heights.pop(0) if len(self.heights) > 1 else self.heights[0])

    def signature_statuses(self, signatures):
        return Statuses(1, [self.statuses.pop(0)])


def a_status(confirmation, err=None):
    return SignatureStatus(slot=1, err=err, confirmation=confirmation)


LANDED = a_status("confirmed")


@pytest.fixture
def step():
    return plan(WALLET.address, ["FOO", "BAR"], None, 0).steps[0]


def test_the_same_bytes_are_sent_until_they_have_landed(step):
    rpc = Rpc(None, a_status("processed"), LANDED)

    signature = carry_out(rpc, QuickClock(), WALLET, step)

    assert len(rpc.sent) == 3
    assert len(set(rpc.sent)) == 1
    assert signature == str(Transaction.from_bytes(rpc.sent[0]).signatures[0])


def test_what_would_fail_is_not_sent(step):
    rpc = Rpc(simulation=Simulation(err={"InstructionError": [1, {"Custom": 6}]}, units=0, logs=("Program log: why",)))

    with pytest.raises(SeedError, match=r"Could not mint FOO and BAR: error 6 of the Token program(.|\n)*log: why"):
        carry_out(rpc, QuickClock(), WALLET, step)
    assert rpc.sent == []


@pytest.mark.parametrize(
    "err", ["AccountNotFound", {"InstructionError": [0, {"Custom": 1}]}], ids=["nothing", "little"]
)
def test_a_wallet_without_money_is_shown_the_faucet(step, err):
    rpc, told = Rpc(simulation=Simulation(err=err, units=0, logs=())), []

    with pytest.raises(SeedError, match=r"insufficient funds: the wallet holds .*faucet\.solana\.com"):
        carry_out(rpc, QuickClock(), WALLET, step)
    pair = plan(WALLET.address, ["FOO", "BAR"], None, 0)
    seed(rpc, QuickClock(), WALLET, pair, raydium_index=0, dry_run=True, report=told.append)
    assert any("insufficient funds" in line and "faucet.solana.com" in line for line in told)


def test_what_landed_with_an_error_did_not_work(step):
    rpc = Rpc(a_status("finalized", err={"InstructionError": [1, {"Custom": 6000}]}))

    with pytest.raises(SeedError, match=r"landed with an error: .*6000.*cluster=devnet"):
        carry_out(rpc, QuickClock(), WALLET, step)


def test_what_can_no_longer_land_is_given_up_and_not_before(step):
    rpc = Rpc(None, None, heights=(150, 151))

    with pytest.raises(SeedError, match="did not land in time"):
        carry_out(rpc, QuickClock(), WALLET, step)
    assert len(rpc.sent) == 2


def test_a_pair_is_made_one_transaction_after_the_other():
    rpc, told = Rpc(LANDED, LANDED, LANDED), []

    seed(
        rpc,
        QuickClock(),
        WALLET,
        plan(WALLET.address, ["FOO", "BAR"], None, 0),
        raydium_index=0,
        dry_run=False,
        report=told.append,
    )

    assert told[0] == f"{WALLET.address} pays; Raydium asks 0.15 SOL for a pool"
    assert [line.split(":")[0] for line in told[1:]] == [
        "mint FOO and BAR",
        "make Raydium's pool",
        "make Meteora's pool",
    ]


def test_a_dry_run_sends_nothing_and_tells_everything():
    rpc, told = Rpc(), []
    pair = plan(WALLET.address, ["FOO", "BAR"], None, 0)

    seed(rpc, QuickClock(), WALLET, pair, raydium_index=0, dry_run=True, report=told.append)

    assert rpc.sent == []
    assert len(rpc.simulated) == 1
    assert "simulated: mint FOO and BAR: it would land, 1000 compute units" in told
    for pool in pair.pools.values():
        assert f"    -w {pool}" in told


@pytest.mark.parametrize(
    ("config", "message"),
    [(None, "no config 0 on devnet"), (bytes(9) + b"\x01" + bytes(226), "takes no new pools")],
    ids=["missing", "closed"],
)
def test_a_config_that_makes_no_pools_is_told_before_anything_is_paid(config, message):
    with pytest.raises(SeedError, match=message):
        check_raydium_config(Rpc(config=config), 0)


# --- From the command line ---


def test_the_settings_that_are_printed_trade_the_pair():
    before = {**REAL, "SOLANA_TOKENS": f"OLD={DEVNET.raydium.authority}:2:token-2022", "SOLANA_POOLS": SOL.mint}
    pair = plan(WALLET.address, ["FOO", "BAR"], None, 0)

    printed = dict(line.split("=", 1) for line in settings_lines(load_settings(before).solana, pair))

    settings = load_settings({**before, **printed}).solana
    assert list(tokens_of(settings)) == ["SOL", "USDC", "OLD", "FOO", "BAR"]
    assert tokens_of(settings)["FOO"].mint == str(pair.tokens["FOO"].pubkey())
    assert settings.pools == (SOL.mint, *pair.pools.values())
    assert settings.max_per_order == {"SOL": Decimal("0.1"), "FOO": 1_000, "BAR": 1_000}


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--symbols", symbols] for symbols in ("FOO", "FOO,FOO", "foo,BAR", "SOL,BAR")),
        *(["--sol", sol] for sol in ("0", "-1", "1e3", "1000000")),
    ],
    ids=" ".join,
)
def test_a_command_that_makes_no_sense_is_refused(arguments):
    with pytest.raises(SystemExit):
        command_line(arguments)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {
                "SOLANA_CLUSTER": "mainnet-beta",
                "AUTH_MODE": "jwt",
                "AUTH_ISSUER": "https://t.example",
                "AUTH_AUDIENCE": "e",
            },
            "devnet only",
        ),
        ({"SOLANA_WALLET_KEY": "", "SOLANA_WALLET_SECRET_ARN": "arn:wallet"}, "Set SOLANA_WALLET_KEY"),
        ({"SOLANA_WALLET_KEY": "no-key-at-all"}, "SOLANA_WALLET_KEY does not hold a wallet's key"),
    ],
    ids=["mainnet", "a secret", "no key"],
)
def test_it_says_why_it_makes_nothing_and_shows_no_key(monkeypatch, capsys, environment, message):
    for variable, value in {**REAL, **environment}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(seed_devnet, "SolanaRpc", lambda *_: pytest.fail("nothing should be asked"))

    assert main([]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "no-key-at-all" not in told


def test_a_dry_run_prints_no_settings_because_the_next_mints_are_others(monkeypatch, capsys):
    for variable, value in REAL.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(seed_devnet, "SolanaRpc", lambda *_: Rpc())

    assert main(["--dry-run"]) == 0
    assert "SOLANA_TOKENS" not in capsys.readouterr().out


def test_a_pair_is_made_from_the_command_line(monkeypatch, capsys):
    for variable, value in REAL.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(seed_devnet, "SolanaRpc", lambda *_: Rpc(LANDED, LANDED, LANDED))

    assert main(["--sol", "0.5", "--symbols", "ONE,TWO"]) == 0
    told = capsys.readouterr().out
    assert "SOLANA_TOKENS=ONE=" in told
    assert "TWO" not in told
    assert str(KEYPAIR) not in told

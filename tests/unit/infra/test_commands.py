"""The operators' commands: what a command line asks for, how it is refused, and what a call that fails says."""

import io

import pytest
from botocore.exceptions import EndpointConnectionError
from solders.keypair import Keypair

from infra import dead_letters, deploy, launch, market, migrate
from infra.cloud import DEFAULT_EMULATOR_URL, FunctionError, Target, target_of
from infra.commands import EXIT_BAD_SETTINGS, EXIT_FAILED, failed
from infra.local.__main__ import print_addresses
from infra.local.processes import StackError
from infra.local.stack import Stack
from infra.real_swaps import real_swaps

REFUSED_BY_ARGPARSE = 2
WALLET = Keypair.from_seed(bytes(range(32)))
REAL_SWAPS = {
    "USE_REAL_DEVNET": "true",
    "SOLANA_WALLET_KEY": str(WALLET),
    "SOLANA_MAX_PER_ORDER": "SOL=0.5",
    "SOLANA_MAX_PER_DAY": "SOL=2",
}
LETS_IN_BY_TOKEN = {"AUTH_MODE": "jwt", "AUTH_ISSUER": "https://tenant.example", "AUTH_AUDIENCE": "engine"}


def call(output="SteerMarketFunction", *, answer="[]", failed_with=None, unreachable=False):
    """Call a function of a cloud in which only ``steer_market`` is deployed."""

    class PretendTarget(Target):
        def client(self, _service):
            return self

        def outputs(self):
            if unreachable:
                raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")
            return {"SteerMarketFunction": "steer-market"}

        def invoke(self, **request):
            assert request == {"FunctionName": "steer-market", "Payload": '{"action": "list"}'}
            failure = {"FunctionError": failed_with} if failed_with else {}
            return {"Payload": io.BytesIO(answer.encode()), **failure}

    return PretendTarget(stage="local").call(output, {"action": "list"})


def refused(command, *arguments):
    with pytest.raises(SystemExit) as ended:
        command(arguments)
    assert ended.value.code == REFUSED_BY_ARGPARSE


# --- Calling an operators' function ---


def test_a_function_is_called_by_the_output_that_names_it():
    assert call(answer='[{"pair": "SOL/USDC"}]') == [{"pair": "SOL/USDC"}]


@pytest.mark.parametrize(
    ("cloud", "says"),
    [
        ({"output": "DeadLettersFunction"}, "has no DeadLettersFunction; deploy it anew"),
        ({"unreachable": True}, 'Could not connect to the endpoint URL: "http://127.0.0.1:1"'),
        ({"answer": '{"errorMessage": "boom"}', "failed_with": "Unhandled"}, "function failed: .*boom"),
        ({"answer": '{"error": "SOL/SOL is no pair"}'}, "^SOL/SOL is no pair$"),
    ],
)
def test_a_call_that_fails_says_why(cloud, says):
    with pytest.raises(FunctionError, match=says):
        call(**cloud)


def test_a_stage_that_is_emulated_has_an_endpoint_and_another_is_at_aws():
    assert target_of("localstack").endpoint_url == DEFAULT_EMULATOR_URL
    assert target_of("localstack", endpoint_url="http://10.0.0.1").endpoint_url == "http://10.0.0.1"
    assert target_of("prod", region="eu-west-1").place == "AWS in eu-west-1"


# --- Command lines ---


def test_dead_letters_are_asked_for_all_at_once_or_by_their_ids():
    assert dead_letters.request_of("list") == {"action": "list"}
    assert dead_letters.request_of("redrive", ["m1", "m2"]) == {"action": "redrive", "messageIds": ["m1", "m2"]}


@pytest.mark.parametrize("arguments", [(), ("redirve",), ("LIST",)])
def test_an_action_that_is_not_known_reaches_no_dead_letter(arguments, capsys):
    refused(dead_letters.main, *arguments)

    assert "usage: python -m infra.dead_letters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("SOL/USDC", "140", "--reset"), "--reset takes neither a base price nor --walk"),
        (("--walk", "0.1", "--reset"), "--reset takes neither a base price nor --walk"),
        (("--walk", "0.1"), "which pair should be steered?"),
        (("SOL/USDC",), "say a base price for SOL/USDC, or --walk, or --reset"),
    ],
)
def test_a_market_is_not_steered_by_half_a_sentence(arguments, says, capsys):
    refused(market.main, *arguments)

    assert says in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), ("WIF/USDC",), ("WIF/USDC", "--pool", "p", "--url", "localhost:3000")])
def test_a_launch_needs_a_pair_a_pool_and_a_whole_address(arguments):
    refused(launch.main, *arguments)


def test_a_deployment_needs_a_stage():
    refused(deploy.main)


# --- Failing ---


def test_why_a_command_failed_is_told_on_stderr(capsys):
    assert failed("The stack is gone.") == EXIT_FAILED
    assert failed(ValueError("PORT='x'"), EXIT_BAD_SETTINGS) == EXIT_BAD_SETTINGS
    assert capsys.readouterr() == ("", "The stack is gone.\nPORT='x'\n")


def test_a_migration_must_be_told_which_database(monkeypatch, capsys):
    for name in ("DATABASE_URL", "POSTGRES_HOST"):
        monkeypatch.delenv(name, raising=False)

    assert migrate.main() == EXIT_FAILED
    assert "DATABASE_URL is not set" in capsys.readouterr().err


def test_a_database_may_be_named_in_parts_for_a_migration(monkeypatch, capsys):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("POSTGRES_PORT", "1")

    assert migrate.main() == EXIT_FAILED
    assert "could not be migrated" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        ({}, f"Swaps are real, on Solana's devnet, and paid by the wallet {WALLET.pubkey()}."),
        (
            {"SOLANA_CLUSTER": "mainnet-beta", **LETS_IN_BY_TOKEN},
            f"Swaps are real, on Solana's mainnet-beta, and paid with real money by the wallet {WALLET.pubkey()}.",
        ),
    ],
    ids=["devnet", "mainnet"],
)
def test_whoever_starts_an_engine_that_swaps_for_real_reads_where_and_with_which_wallet(
    capsys, tmp_path, cluster, says
):
    print_addresses(Stack(data_dir=tmp_path, environment={**REAL_SWAPS, **cluster}), 1.0)

    printed = capsys.readouterr().out
    assert printed.startswith(f"\nThe engine is ready (1.0 s).\n\n{says}\n\nIn another terminal:")
    assert str(WALLET) not in printed


def test_of_a_wallet_in_a_secret_the_secret_is_told():
    assert real_swaps("devnet", "", "arn:wallet").endswith("paid by the wallet in arn:wallet")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"SOLANA_WALLET_KEY": "", "SOLANA_WALLET_SECRET_ARN": "arn:wallet"}, "set SOLANA_WALLET_KEY instead"),
        ({"SOLANA_RPC_SECRET_ARN": "arn:endpoints"}, "set SOLANA_RPC_URLS instead"),
        ({"SOLANA_WALLET_KEY": "no-key"}, "SOLANA_WALLET_KEY does not hold a wallet's key"),
    ],
    ids=["wallet in a secret", "endpoints in a secret", "no key"],
)
def test_a_laptop_starts_nothing_that_could_not_swap(tmp_path, settings, message):
    stack = Stack(data_dir=tmp_path, environment={**REAL_SWAPS, **settings})

    with pytest.raises(StackError, match=message):
        stack.start()
    assert not list(tmp_path.iterdir())


def test_an_engine_with_simulated_venues_warns_of_nothing(capsys, tmp_path):
    print_addresses(Stack(data_dir=tmp_path, environment={"USE_REAL_DEVNET": ""}), 1.0)

    assert capsys.readouterr().out.startswith("\nThe engine is ready (1.0 s). In another terminal:")


def test_a_bad_setting_is_named_and_nothing_is_deployed(monkeypatch, capsys):
    monkeypatch.setenv("MAX_RETRIES", "0")

    assert deploy.main(["--stage", "localstack"]) == EXIT_FAILED
    assert "MAX_RETRIES='0' cannot be used" in capsys.readouterr().err

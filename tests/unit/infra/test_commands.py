"""The operators' commands: what a command line asks for, how it is refused, and what a call that fails says."""

import io

import pytest
from botocore.exceptions import EndpointConnectionError

from infra import dead_letters, deploy, launch, market, migrate
from infra.cloud import DEFAULT_EMULATOR_URL, FunctionError, Target, target_of
from infra.commands import EXIT_BAD_SETTINGS, EXIT_FAILED, failed

REFUSED_BY_ARGPARSE = 2


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


def test_a_bad_setting_is_named_and_nothing_is_deployed(monkeypatch, capsys):
    monkeypatch.setenv("MAX_RETRIES", "0")

    assert deploy.main(["--stage", "localstack"]) == EXIT_FAILED
    assert "MAX_RETRIES='0' cannot be used" in capsys.readouterr().err

"""Asking a deployed engine how it is."""

import pytest

from infra import health
from infra.cloud import Target
from infra.health import PATIENCE_SECONDS, Unwell, complaint_of, main, wait_until_well
from infra.local.processes import free_port
from tests.clocks import StoppedClock
from tests.unit.infra.answering import server


def test_an_engine_that_is_well_is_asked_once():
    clock = StoppedClock()
    with server(200) as (url, asked):
        wait_until_well(url, clock, proxied=False)

    assert asked == ["/health"]
    assert clock.slept == []


def test_an_engine_that_starts_is_asked_again():
    clock = StoppedClock()
    with server(502, 503, 200) as (url, asked):
        wait_until_well(url, clock, proxied=False)

    assert len(asked) == 3
    assert len(clock.slept) == 2


def test_an_engine_that_stays_unwell_is_given_up_and_its_last_answer_told():
    clock = StoppedClock()
    with (
        server(503) as (url, _),
        pytest.raises(Unwell, match=r'/health answers: 503 \{"parts":\{"postgres":"down"\}\}'),
    ):
        wait_until_well(url, clock, proxied=False)

    assert clock.seconds() == pytest.approx(PATIENCE_SECONDS, abs=1)


def test_nobody_there_is_a_complaint_as_well():
    assert "refused" in str(complaint_of(f"http://127.0.0.1:{free_port()}", proxied=False))


@pytest.fixture
def deployed(monkeypatch):
    """Pretend that this address is what a stage is deployed to."""

    def at(url):
        class PretendTarget(Target):
            def outputs(self, stack=None):
                return {"PublicHost": "engine.example", "RestAPIId": "r1", "WebsocketAPIId": "w1"}

        monkeypatch.setattr(
            health, "named_target", lambda options: PretendTarget(stage=options.stage, endpoint_url=url)
        )

    return at


def test_the_command_asks_the_engine_that_is_deployed(deployed, capsys):
    with server(200) as (url, asked):
        deployed(url)
        assert main(["--stage", "localstack"]) == 0

    assert asked == ["/_aws/execute-api/r1/api/health"]
    assert "order-execution-engine-localstack is well" in capsys.readouterr().out


def test_the_command_fails_for_an_engine_that_is_not_well(deployed, capsys, monkeypatch):
    monkeypatch.setattr(health, "Clock", StoppedClock)
    with server(503) as (url, _):
        deployed(url)
        assert main(["--stage", "localstack"]) == 1

    assert "503" in capsys.readouterr().err


def test_on_aws_clients_and_this_command_use_the_public_host():
    addresses = Target(stage="prod").addresses({"PublicHost": "engine.example"})

    assert (addresses.rest, addresses.websocket) == ("https://engine.example", "wss://engine.example/ws")


def test_an_emulator_has_no_public_host_and_is_asked_by_its_gateway():
    target = Target(stage="localstack", endpoint_url="http://127.0.0.1:4566")
    addresses = target.addresses({"RestAPIId": "r1", "WebsocketAPIId": "w1"})

    assert addresses.rest == "http://127.0.0.1:4566/_aws/execute-api/r1/api"
    assert addresses.websocket == "ws://127.0.0.1:4566/_aws/execute-api/w1/ws"

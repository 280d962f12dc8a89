"""The engine that the end-to-end tests talk to: that of this machine's stack, or one that was deployed before."""

from collections.abc import Mapping
from dataclasses import dataclass

from infra.cloud import Outputs, Target, target_of
from infra.local.stack import STAGE, Stack


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """Where an engine is, for its clients and for who operates it."""

    target: Target
    outputs: Outputs
    url: str
    websocket_url: str
    database_url: str
    """Its Postgres, as this machine reaches it."""

    @property
    def target_options(self) -> tuple[str, ...]:
        """What names this engine to an operators' command."""
        endpoint = ("--endpoint-url", self.target.endpoint_url) if self.target.endpoint_url else ()
        return ("--stage", self.target.stage, *endpoint)


def is_named(environment: Mapping[str, str]) -> bool:
    """Return whether the tests are to use an engine that was deployed before."""
    return bool(environment.get("E2E_STAGE"))


def named_by(environment: Mapping[str, str]) -> Deployed:
    """Return the engine that the environment names; ``infra.localstack`` writes these variables."""
    target = target_of(environment["E2E_STAGE"], endpoint_url=environment["E2E_ENDPOINT_URL"] or None)
    return Deployed(
        target=target,
        outputs=target.outputs(),
        url=environment["E2E_URL"],
        websocket_url=environment["E2E_WEBSOCKET_URL"],
        database_url=environment["E2E_DATABASE_URL"],
    )


def on_this_machine(stack: Stack) -> Deployed:
    """Return the engine of a stack that runs."""
    return Deployed(
        target=Target(stage=STAGE, endpoint_url=stack.aws_endpoint_url),
        outputs=stack.outputs,
        url=stack.url,
        websocket_url=stack.websocket_url,
        database_url=stack.database_url,
    )

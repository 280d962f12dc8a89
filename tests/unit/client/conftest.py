from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from oee import AsyncClient, Client
from tests.unit.client.engines import Caller, SocketServer


@pytest.fixture(params=[pytest.param(Client, id="blocking"), pytest.param(AsyncClient, id="asyncio")])
def caller(request: pytest.FixtureRequest) -> Iterator[Callable[..., Caller]]:
    """Make clients of either kind."""
    with ExitStack() as opened:
        yield lambda engine, **options: opened.enter_context(closing(Caller(request.param, engine, **options)))


@pytest.fixture
def sockets() -> Iterator[Callable[..., SocketServer]]:
    """Make WebSocket servers."""
    with ExitStack() as opened:
        yield lambda *scripts: opened.enter_context(SocketServer(*scripts))

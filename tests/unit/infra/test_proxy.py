"""What the front door writes of a request that it could not pass on."""

import asyncio
import logging
import socket

import pytest
from aiohttp.test_utils import TestClient, TestServer

from infra.local.proxy import Door, Upstream


@pytest.fixture
def nobody_listens():
    """An upstream that refuses every connection."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        yield Upstream(rest=f"http://{address}", websocket=f"ws://{address}")


async def ask(upstream: Upstream, path: str, headers: dict[str, str]) -> int:
    async with TestClient(TestServer(Door(upstream).application())) as client:
        return (await client.get(path, headers=headers)).status


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.mark.parametrize(("path", "headers"), [("/ws", UPGRADE), ("/api/orders", {})], ids=["a socket", "a request"])
def test_what_could_not_be_passed_on_is_logged_without_its_query(nobody_listens, caplog, path, headers):
    with caplog.at_level(logging.WARNING, "door"):
        status = asyncio.run(ask(nobody_listens, f"{path}?ticket=a-ticket-that-was-not-used", headers))

    assert status == 503
    assert path in caplog.text
    assert "a-ticket" not in caplog.text

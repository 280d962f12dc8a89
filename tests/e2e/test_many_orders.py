from concurrent.futures import ThreadPoolExecutor, wait

import psutil
import psycopg
import pytest

from infra.local.stack import Stack
from tests.e2e.client import Client, at_once

EXECUTING_NOW = """
    SELECT count(*) FROM orders
    WHERE lease_until > now() AND status IN ('pending', 'routing', 'building')
"""
SAMPLE_SECONDS = 0.02


def test_five_orders_at_once_are_all_confirmed(client: Client) -> None:
    tokens = ("USDC", "USDT", "RAY", "JUP", "BONK")

    streams = at_once(lambda token: client.execute(tokenOut=token), tokens)

    assert [stream[-1]["status"] for stream in streams] == ["confirmed"] * 5
    assert [[event["seq"] for event in stream] for stream in streams] == [[1, 2, 3, 4, 5]] * 5
    assert len({stream[-1]["txHash"] for stream in streams}) == 5


def test_of_forty_orders_at_once_never_more_than_ten_execute(client: Client, database: psycopg.Connection) -> None:
    executing: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        streams = pool.submit(at_once, lambda _: client.execute(), range(40))
        while wait([streams], timeout=SAMPLE_SECONDS).not_done:
            executing += [count for (count,) in database.execute(EXECUTING_NOW)]

    assert [stream[-1]["status"] for stream in streams.result()] == ["confirmed"] * 40
    assert 1 < max(executing) <= 10


@pytest.mark.laptop("it counts Lambda processes")
def test_for_forty_orders_at_once_never_more_than_ten_processes_are_started(client: Client, stack: Stack) -> None:
    # A sample of what executes may miss a moment; a Lambda process that was started for it stays.
    assert {stream[-1]["status"] for stream in at_once(lambda _: client.execute(), range(40))} == {"confirmed"}

    assert 1 < len(execute_order_processes(stack)) <= 10


def execute_order_processes(stack: Stack) -> list[psutil.Process]:
    emulator = psutil.Process(stack.services["emulator"].process.pid)
    return [worker for worker in emulator.children() if any("ExecuteOrder" in part for part in worker.cmdline())]


@pytest.mark.laptop("it looks into the folders of Lambda processes")
def test_lambda_processes_share_one_copy_of_what_the_engine_depends_on(client: Client, stack: Stack) -> None:
    assert client.get("/health").status == 200
    data_dir = stack.logs.parent

    unpacked = {path.name for code in data_dir.glob("tmp/ministack-lambda-*/code") for path in code.iterdir()}
    shared = {path.name for path in data_dir.glob("code/*/dependencies/*")}

    assert unpacked == {"app.py", "__pycache__", "chalicelib"}
    assert {"psycopg", "redis", "msgspec", "chalice"} <= shared

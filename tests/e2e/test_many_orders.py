from concurrent.futures import ThreadPoolExecutor, wait

import psycopg

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
    executing = []
    with ThreadPoolExecutor(1) as pool:
        streams = pool.submit(at_once, lambda _: client.execute(), range(40))
        while wait([streams], timeout=SAMPLE_SECONDS).not_done:
            executing.append(database.execute(EXECUTING_NOW).fetchone()[0])

    assert [stream[-1]["status"] for stream in streams.result()] == ["confirmed"] * 40
    assert 1 < max(executing) <= 10

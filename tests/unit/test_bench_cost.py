"""What a million orders cost: seconds, requests and messages by their prices."""

import pytest

from bench.cost import (
    MEMORY,
    ONE_CORE,
    PRICES,
    CostFigures,
    Usage,
    Use,
    always_on_dollars,
    billed_by_function,
    designs,
    plain_name,
    report,
)

ENGINE = Usage(
    functions={
        "api_handler": Use(calls=1, waiting=0.01, computing=0.005),
        "execute_order": Use(calls=1, waiting=0.34, computing=0.01),
        "settle_orders": Use(calls=0.2, waiting=0.15, computing=0.004),
        "replay_events": Use(calls=1, waiting=0, computing=0.005),
    },
    sends=3,
    log_bytes=5000,
)


@pytest.fixture
def figures() -> CostFigures:
    return designs(ENGINE, orders=200)


def test_computing_takes_longer_with_less_than_a_core_and_waiting_does_not():
    use = Use(calls=1, waiting=0.3, computing=0.01)

    assert use.seconds(ONE_CORE) == use.seconds(2 * ONE_CORE) == pytest.approx(0.31)
    assert use.seconds(ONE_CORE // 4) == pytest.approx(0.34, rel=0.01)


def test_what_lambda_takes_is_memory_by_time_and_each_call():
    assert Use(calls=2, waiting=1, computing=0).dollars(512) == pytest.approx(0.5 * 0.0000133334 + 2 * 0.0000002)


def test_the_inline_design_does_the_same_work_and_waits_for_the_swap_besides(figures: CostFigures):
    inline = figures.inline.functions["inline"]

    assert inline.computing == pytest.approx(0.014)
    assert inline.waiting == pytest.approx(0.34 + 2.5 + 0.1), "landing takes 2 to 3 s, and is seen at a look"
    assert figures.inline.costs()["SQS"] < figures.engine.costs()["SQS"]
    assert figures.inline.costs()["API Gateway REST"] == figures.engine.costs()["API Gateway REST"] == 3.5


def test_an_order_alone_has_its_settlement_to_itself(figures: CostFigures):
    settle = figures.engine_alone.functions["settle_orders"]

    assert settle.calls == 1
    assert settle.waiting == pytest.approx(0.6)
    assert figures.ratio < figures.ratio_alone < 1


def test_each_message_costs_three_requests_but_those_that_come_together():
    # Three are sent; execution and replay are asked for and told once each, settlement for five orders at a time.
    assert ENGINE.costs()["SQS"] == pytest.approx((3 + 2 * (1 + 0.2 + 1)) * 0.4)


def test_every_price_is_paid(figures: CostFigures):
    assert figures.engine.costs(MEMORY).keys() == PRICES.keys()
    assert all(cost > 0 for cost in always_on_dollars().values())


def test_a_call_is_the_functions_whose_lines_are_in_it():
    settled = '{"message":"order confirmed","function_name":"oee-local-SettleOrders-F30A4066"}'
    reported = "REPORT RequestId: 1\tDuration: 134 ms\tBilled Duration: 134 ms\tMemory Size: 512 MB"

    assert billed_by_function([[settled, reported], [reported], [settled]]) == {"settle_orders": [0.134]}


@pytest.mark.parametrize(
    ("deployed", "name"),
    [
        ("order-execution-engine-local-APIHandler-88930E94D62D9", "api_handler"),
        ("a-b-WebsocketConnect-99961E5A1536E", "websocket_connect"),
    ],
)
def test_a_deployed_function_is_called_what_the_config_calls_it(deployed: str, name: str):
    assert plain_name(deployed) == name


def test_the_page_has_every_price_with_its_date(figures: CostFigures):
    text = report(figures).text

    assert "November 2026" in text
    assert "| Lambda computing | GB-second, arm64 | $0.0000133334 |" in text

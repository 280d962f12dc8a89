"""What the contract says in words only, because JSON Schema cannot say it, or only at length.

Of what is to be accepted, schemathesis makes what the schemas allow; here that is made to keep to the rest. What is to
be refused is sent as it is.
"""

import json
import time
from decimal import ROUND_DOWN, Context, Decimal
from typing import Any
from uuid import uuid4

import schemathesis

from chalicelib.orders.tokens import TOKENS
from chalicelib.web.fields import LARGEST_AMOUNT, LARGEST_PRICE, LARGEST_SLIPPAGE
from chalicelib.web.signatures import sign
from infra.local.stack import LAUNCH_WEBHOOK_SECRET

EIGHT_DAYS = 8 * 24 * 3600


@schemathesis.hook
def before_call(context: Any, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Make a good request keep to what the descriptions say."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.body, dict) and ("tokenIn" in case.body):
        fit_trade(case.body)
        fit_order(case.body)
        if case.body.get("clientOrderId") is not None:
            case.headers.pop("Idempotency-Key", None)
    if case.operation.definition.raw.get("operationId") == "getQuotes":
        fit_trade(case.query)
    if case.query and case.query.get("cursor") is not None:
        del case.query["cursor"]
    if case.operation.definition.raw.get("operationId") == "announceLaunch":
        body = json.dumps(case.body).encode()
        case.headers.update(sign(LAUNCH_WEBHOOK_SECRET, str(uuid4()), int(time.time()), body))


def fit_trade(trade: dict[str, Any]) -> None:
    """Two different tokens, and an amount that the one has."""
    token_in, token_out = trade.get("tokenIn"), trade.get("tokenOut")
    if token_in == token_out and token_out is not None:
        trade["tokenOut"] = next(symbol for symbol in TOKENS if symbol != token_in)
    unit = TOKENS[token_in].base_unit
    for name in ("amount", "amountIn"):
        if trade.get(name) is not None:
            trade[name] = fitted(trade[name], unit, LARGEST_AMOUNT, lambda number: number.quantize(unit, ROUND_DOWN))


def fit_order(order: dict[str, Any]) -> None:
    for name in ("limitPrice", "targetPrice", "triggerPrice"):
        if order.get(name) is not None:
            twelve_digits = Context(prec=12, rounding=ROUND_DOWN).plus
            order[name] = fitted(order[name], Decimal("1e-12"), LARGEST_PRICE, twelve_digits)
    if order.get("slippageTolerance") is not None:
        order["slippageTolerance"] = fitted(
            order["slippageTolerance"], Decimal(0), LARGEST_SLIPPAGE, lambda number: round(number, 6)
        )
    if order.get("expiresAt") is not None:
        order["expiresAt"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + EIGHT_DAYS))


def fitted(value: Any, least: Decimal, most: Decimal, rounded: Any) -> Any:
    """Return a number that is within its limits, and written as it was: in a string, or not."""
    number = Decimal(str(value)) if abs(Decimal(str(value)).adjusted()) < 30 else least
    number = max(least, min(most, rounded(max(least, min(most, number)))))
    return f"{number:f}" if isinstance(value, str) else float(number)

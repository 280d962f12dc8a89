"""Steer the simulated market while it runs: ``python -m infra.market SOL/USDC 140 --walk 0.02 --stage local``.

Without a pair it lists what is set; ``--reset`` gives a pair, or all, the prices they started with. It calls the
function ``steer_market`` of the deployed engine, which reaches Postgres where an operator's machine may not.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.cloud import FunctionError, Target, add_target_options, named_target
from infra.commands import failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    options = _options(arguments)
    target = named_target(options)
    try:
        pairs = call_market(target, request_of(options.pair, options.base_price, options.walk, options.reset))
    except FunctionError as error:
        return failed(f"The market at {target.place} cannot be steered: {error}")
    Console().print(_table(pairs) if pairs else "No pair is set: each has the price it started with.")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.market", description=__doc__)
    parser.add_argument("pair", nargs="?", help="tokenIn/tokenOut")
    parser.add_argument("base_price", nargs="?", metavar="base-price", help="tokenOut per tokenIn")
    parser.add_argument("--walk", help="how far the price wanders from its base, as a fraction from 0 to 0.5")
    parser.add_argument("--reset", action="store_true", help="give the pair, or all, the price it started with")
    add_target_options(parser)
    options = parser.parse_intermixed_args(arguments)
    steers = options.base_price is not None or options.walk is not None
    if options.reset and steers:
        parser.error("--reset takes neither a base price nor --walk")
    if steers and options.pair is None:
        parser.error("which pair should be steered?")
    if options.pair is not None and not steers and not options.reset:
        parser.error(f"say a base price for {options.pair}, or --walk, or --reset")
    return options


def request_of(
    pair: str | None, base_price: str | None = None, walk: str | None = None, reset: bool = False
) -> dict[str, Any]:
    """Return the event that asks for this; numbers stay text, so that none passes through a float."""
    if reset:
        return {"action": "reset", "pair": pair}
    if pair is None:
        return {"action": "list"}
    values = {"basePrice": base_price, "walk": walk}
    return {"action": "set", "pair": pair, **{name: value for name, value in values.items() if value is not None}}


def call_market(target: Target, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Call the deployed function and return the pairs that are set then; for what it raises see ``Target.call``."""
    return list(target.call("SteerMarketFunction", request))


def _table(pairs: list[dict[str, Any]]) -> Table:
    table = Table("pair", "base price", "walk", "now", "set at")
    for pair in pairs:
        table.add_row(pair["pair"], pair["basePrice"], pair["walk"], pair["currentBase"], pair["setAt"][:19])
    return table


if __name__ == "__main__":
    sys.exit(main())

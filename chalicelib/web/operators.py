"""What operators' commands call: Lambda functions that take an event and answer JSON.

Prices come and go as text, ``"140"``: Lambda's runtime would pass numbers through a float.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import msgspec

from chalicelib.exact_json import decode_json, encode_json
from chalicelib.execution.dead_letters import DeadLetters
from chalicelib.venues.simulated.market import ListedPair, Market


class _MarketInstruction(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    action: Literal["set", "list", "reset"]
    pair: str | None = None
    base_price: Decimal | None = None
    walk: Decimal = Decimal(0)


class _LettersInstruction(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    action: Literal["list", "redrive"]
    message_ids: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Operators:
    """Does what an event says; one that makes no sense is answered with ``{"error": …}``."""

    market: Market
    dead_letters: DeadLetters

    def steer_market(self, event: Mapping[str, Any]) -> list[dict[str, str]] | dict[str, str]:
        """Set, list or reset the base prices of the simulated venues, and return the pairs that are set then.

        ``{"action": "set", "pair", "basePrice"?, "walk"?}``, ``{"action": "list"}`` or ``{"action": "reset",
        "pair"?}``.
        """
        try:
            instruction = msgspec.convert(event, _MarketInstruction)
            match instruction.action:
                case "set":
                    self.market.steer(instruction.pair or "", instruction.base_price, instruction.walk)
                case "reset":
                    self.market.reset(instruction.pair)
        except ValueError as refused:
            return {"error": str(refused)}
        return [_listed(pair) for pair in self.market.listing()]

    def handle_dead_letters(self, event: Mapping[str, Any]) -> Any:
        """List the dead letters, or redrive some or all: ``{"action": "list" | "redrive", "messageIds"?: […]}``."""
        try:
            instruction = msgspec.convert(event, _LettersInstruction)
        except ValueError as refused:
            return {"error": str(refused)}
        redrives = instruction.action == "redrive"
        letters = self.dead_letters.redrive(instruction.message_ids) if redrives else self.dead_letters.waiting()
        return decode_json(encode_json(letters))


def _listed(listed: ListedPair) -> dict[str, str]:
    steered = listed.steered
    return {
        "pair": steered.pair,
        "basePrice": f"{steered.base_price:f}",
        "walk": f"{steered.walk:f}",
        "setAt": steered.set_at.isoformat(),
        "currentBase": f"{listed.current_base:f}",
    }

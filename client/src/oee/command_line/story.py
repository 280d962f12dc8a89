"""What has happened to one order, and what its owner wants to know of each step."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from oee.answers import OrderEvent, Status, VenueQuote

STEPS = (Status.PENDING, Status.ROUTING, Status.BUILDING, Status.SUBMITTED, Status.CONFIRMED)
"""The way of an order with which all goes well."""
BASIS_POINTS = 10_000


class OrderStory:
    """An order as its events tell of it."""

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        self.events: list[OrderEvent] = []
        self._terms: Mapping[str, Any] = {}
        self._quotes: Mapping[str, VenueQuote] = {}
        self._chosen: str | None = None

    def hear(self, event: OrderEvent) -> None:
        """Take in the next event."""
        self.events.append(event)
        if event.event == "pending":
            self._terms = event.details
        elif event.event == "routing":
            self._quotes, self._chosen = event.quotes, event.chosen

    @property
    def status(self) -> str:
        """Where the order stands."""
        return self.events[-1].status if self.events else ""

    @property
    def has_ended(self) -> bool:
        """Whether its last event was heard."""
        return bool(self.events) and self.events[-1].is_last

    @property
    def went_well(self) -> bool:
        """Whether it was executed."""
        return self.status == Status.CONFIRMED

    @property
    def steps_ahead(self) -> tuple[str, ...]:
        """The steps that are still to come."""
        if self.has_ended:
            return ()
        return STEPS[STEPS.index(Status(self.status)) + 1 :] if self.status in STEPS else STEPS

    @property
    def title(self) -> str:
        """What was asked for: ``sell 1.5 SOL → USDC, limit 150``."""
        if not self._terms:
            return ""
        terms = self._terms
        conditions = [
            f"{name} {written(terms[field])}"
            for name, field in (("limit", "limitPrice"), ("stop at", "triggerPrice"))
            if field in terms
        ]
        kind = [] if conditions else [str(terms.get("orderType", "order"))]
        lasting = [str(terms[field]) for field in ("timeInForce", "expiresAt") if field in terms]
        swap = swap_of(terms.get("side"), terms.get("amount"), terms.get("tokenIn"), terms.get("tokenOut"))
        return ", ".join([swap, *kind, *conditions, *lasting])

    def seconds_until(self, event: OrderEvent) -> float:
        """Return how long after the first event this one came."""
        return (event.timestamp - self.events[0].timestamp).total_seconds()

    @property
    def basis_points(self) -> Decimal | None:
        """How far the executed price lies above the quoted net price, in hundredths of a percent."""
        executed = self.events[-1].executed_price if self.events else None
        quote = self._quotes.get(self._chosen or "")
        return None if executed is None or quote is None else (executed / quote.net_price - 1) * BASIS_POINTS

    @property
    def is_better_than_quoted(self) -> bool:
        """Whether its owner got more, or paid less, than was quoted."""
        difference = self.basis_points or Decimal(0)
        return difference > 0 if self._terms.get("side") == "sell" else difference < 0

    def told(self, event: OrderEvent) -> list[str]:
        """Return what is to be known of an event, in parts; the quotes and basis points are drawn apart."""
        details = event.details
        match event.event:
            case "waiting":
                return [_condition(details.get("waitingFor", {}))]
            case "triggered":
                if "launched" in details:
                    return ["the token has launched"]
                price = details.get("marketPrice")
                return ["looked at again"] if price is None else [f"the market price is {written(price)}"]
            case "building":
                bounds = (("minAmountOut", "at least"), ("maxAmountOut", "at most"))
                token = self._terms.get("tokenOut", "")
                return [f"{name} {written(details[field])} {token}" for field, name in bounds if field in details]
            case "submitted":
                return [f"transaction {event.tx_hash}"]
            case "retrying":
                again = f"try {details.get('attempt')} of {details.get('maxRetries')}"
                return [f"{again}: {event.error}", f"the next in {written(details.get('delayMs', 0))} ms"]
            case "confirmed":
                verb = "received" if self._terms.get("side") == "sell" else "paid"
                return [
                    f"at {written(event.executed_price)}",
                    f"{verb} {written(details.get('amountOut'))} {self._terms.get('tokenOut', '')}",
                    *(str(details[field]) for field in ("explorerUrl",) if field in details),
                ]
            case "failed":
                return [event.error or ""]
            case _:
                return [str(details["reason"])] if "reason" in details else []


def swap_of(side: object, amount: object, token_in: object, token_out: object) -> str:
    """Write ``sell 1.5 SOL → USDC`` or ``buy 0.8 SOL ← USDC``."""
    return f"{side} {written(amount)} {token_in} {'→' if side == 'sell' else '←'} {token_out}"


def written(value: object) -> str:
    """Write a number with all its digits and without an exponent, and anything else as it is."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _condition(waiting_for: Mapping[str, Any]) -> str:
    match waiting_for:
        case {"limitPrice": limit, "netPrice": net_price}:
            return f"for a net price of {written(limit)}; it is {written(net_price)}"
        case {"triggerPrice": trigger, "marketPrice": market_price}:
            return f"for a market price of {written(trigger)}; it is {written(market_price)}"
        case {"launch": token}:
            return f"for the launch of {token}"
        case _:
            return ", ".join(f"{name} {written(value)}" for name, value in waiting_for.items())

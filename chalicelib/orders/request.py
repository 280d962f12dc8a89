"""An order as it is asked for."""

import hashlib
from datetime import datetime
from decimal import Decimal

import msgspec

from chalicelib.exact_json import encode_json
from chalicelib.orders.order import OrderType, TimeInForce, Trade


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An order as asked for, complete and valid."""

    user_id: str
    order_type: OrderType
    trade: Trade
    slippage_tolerance: Decimal
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expires_at: datetime | None = None
    client_order_id: str | None = None

    @property
    def digest(self) -> str:
        """A fingerprint: two requests with the same one ask for the same.

        Conditions that were not given leave no trace in it, so that an order keeps the fingerprint it was given before
        there were any; so a new condition must stand in ``unconditional`` as well.
        """
        fields = msgspec.structs.asdict(self)
        unconditional = {
            "limit_price": None,
            "trigger_price": None,
            "time_in_force": TimeInForce.GTC,
            "expires_at": None,
        }
        given = {name: value for name, value in fields.items() if value != unconditional.get(name, ...)}
        return hashlib.sha256(encode_json(given)).hexdigest()

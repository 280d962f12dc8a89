"""A client of the Order Execution Engine.

    from oee import Client, MarketOrder

    with Client("http://localhost:3000", user_id="u1") as client:
        for event in client.submit_and_watch(MarketOrder(token_in="SOL", token_out="USDC", amount="1.5")):
            print(event.seq, event.event, event.executed_price)

``AsyncClient`` is the same for asyncio. Numbers are exact Decimals, in and out.
"""

from oee.answers import Accepted, Health, LaunchTaken, Order, OrderEvent, Quotes, Status, VenueQuote
from oee.async_client import AsyncClient, AsyncStream
from oee.client import Client, Stream
from oee.errors import (
    Conflict,
    NotFound,
    OrderEngineError,
    Problem,
    Refused,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unprocessable,
    Unreachable,
)
from oee.orders import LimitOrder, MarketOrder, NewOrder, OrderType, Side, SniperOrder, StopOrder, TimeInForce
from oee.retries import Retries
from oee.version import VERSION

__version__ = VERSION

__all__ = [
    "Accepted",
    "AsyncClient",
    "AsyncStream",
    "Client",
    "Conflict",
    "Health",
    "LaunchTaken",
    "LimitOrder",
    "MarketOrder",
    "NewOrder",
    "NotFound",
    "Order",
    "OrderEngineError",
    "OrderEvent",
    "OrderType",
    "Problem",
    "Quotes",
    "Refused",
    "Retries",
    "Side",
    "SniperOrder",
    "Status",
    "StopOrder",
    "Stream",
    "TimeInForce",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "Unprocessable",
    "Unreachable",
    "VenueQuote",
    "__version__",
]

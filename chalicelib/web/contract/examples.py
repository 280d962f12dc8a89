"""Examples of what is sent and answered. Answers are made by the code that makes the real ones."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from chalicelib.exact_json import decode_json, encode_json
from chalicelib.orders import events
from chalicelib.orders.events import EventDraft, OrderEvent, VenueQuote
from chalicelib.orders.order import Order, OrderType, Side, Status, WaitsFor
from chalicelib.orders.swap import Fill, SignedTransaction, SwapPlan
from chalicelib.orders.waiting import Awaited, AwaitedLaunch, AwaitedLimit, AwaitedTrigger, Unmet
from chalicelib.web.answers import (
    AcceptedOrder,
    DeadLetterList,
    Health,
    LaunchTaken,
    ListedDeadLetter,
    OrderHistory,
    OrderPage,
    Quotes,
    Statistics,
    StreamTicket,
)

NOON = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
ORDER_ID = "a79522f9-5f1c-4c0e-9d53-0e1f6f6f2f11"
MESSAGE_ID = "5fea7756-0ea4-451a-a703-a558b933e274"
TX_HASH = "a2b75db3c1a04b9a8f0c6f6d7e8b9a10"
CURSOR = "MjAzMC0wMS0zMVQxMjowMDowMCswMDowMCBhNzk1MjJmOS01ZjFjLTRjMGUtOWQ1My0wZTFmNmY2ZjJmMTE="

PAIR = {"tokenIn": "SOL", "tokenOut": "USDC"}
ORDERS: Mapping[OrderType, dict[str, Any]] = {
    OrderType.MARKET: {"userId": "u1", "orderType": "market", **PAIR, "amount": 1.5},
    OrderType.LIMIT: {
        "userId": "u1",
        "orderType": "limit",
        **PAIR,
        "side": "buy",
        "amount": "2.5",
        "limitPrice": "140.25",
        "timeInForce": "GTC",
    },
    OrderType.STOP: {
        "userId": "u1",
        "orderType": "stop",
        **PAIR,
        "side": "sell",
        "amount": 1.5,
        "triggerPrice": 135,
        "limitPrice": 130,
        "slippageTolerance": 0.02,
    },
    OrderType.SNIPER: {
        "userId": "u1",
        "orderType": "sniper",
        "tokenIn": "WIF",
        "tokenOut": "USDC",
        "amount": 100,
        "limitPrice": 2.75,
    },
}
"""An order of each type, as it is sent. None says until when it is good: in a document, any time will be past."""
SECOND_SPELLINGS = {"userId": "u1", "type": "limit", **PAIR, "amountIn": 2.5, "targetPrice": 140.25}
LAUNCH = {"pool": "7qbRF6YsyGuLUVs6Y1q64bdVrfe4ZcUUz1JRdoVNUJnm", "tokenIn": "WIF", "tokenOut": "USDC"}
TRADE = {**PAIR, "amount": "1.5", "side": "sell"}
REDRIVE = {"messageIds": [MESSAGE_ID]}

QUOTES = {
    "raydium": VenueQuote(
        price=Decimal("148.9"),
        fee=Decimal("0.003"),
        liquidity=Decimal("66666.6666667"),
        net_price=Decimal("148.449960002"),
        amount_out=Decimal("222.674940"),
    ),
    "meteora": VenueQuote(
        price=Decimal("149.1"),
        fee=Decimal("0.002"),
        liquidity=Decimal("66666.6666667"),
        net_price=Decimal("148.798459273"),
        amount_out=Decimal("223.197688"),
    ),
}
ORDER = Order(
    order_id=ORDER_ID,
    user_id="u1",
    order_type=OrderType.MARKET,
    side=Side.SELL,
    token_in="SOL",  # noqa: S106 - a token to trade
    token_out="USDC",  # noqa: S106
    amount_in=Decimal("1.5"),
    slippage_tolerance=Decimal("0.01"),
    max_retries=3,
    created_at=NOON,
    updated_at=NOON,
)
PLAN = SwapPlan(
    venue="meteora",
    actions=("wrapSol", "swap"),
    expected_amount_out=Decimal("223.197688"),
    min_amount_out=Decimal("220.965712"),
    max_amount_out=None,
)
SWAP = SignedTransaction(tx_hash=TX_HASH, venue="meteora", payload=b"", expires_at=NOON)
FILL = Fill(
    order_id=ORDER_ID,
    tx_hash=TX_HASH,
    venue="meteora",
    amount_in=Decimal("1.5"),
    amount_out=Decimal("222.981004"),
    executed_price=Decimal("148.654002667"),
)


def written(value: object) -> Any:
    """Return a value as JSON holds it."""
    return decode_json(encode_json(value))


def _waiting(waits_for: WaitsFor, awaited: Awaited) -> EventDraft:
    return events.waiting(Unmet(waits_for=waits_for, waiting_for=awaited, reason=""))


_LIMIT = AwaitedLimit(limit_price=Decimal("140.25"), net_price=Decimal("149.04"), venue="raydium")
_TRIGGER = AwaitedTrigger(trigger_price=Decimal(135), market_price=Decimal("148.2"))
_LAUNCH = AwaitedLaunch(launch="WIF", against="USDC")
DRAFTS: Mapping[str, EventDraft] = {
    "accepted": events.accepted(ORDER),
    "waitingForItsLimit": _waiting(WaitsFor.PRICE, _LIMIT),
    "waitingForItsTrigger": _waiting(WaitsFor.PRICE, _TRIGGER),
    "waitingForALaunch": _waiting(WaitsFor.LAUNCH, _LAUNCH),
    "priceReached": events.price_reached(Decimal("140.1")),
    "lookedAtAgain": events.price_reached(None),
    "launched": events.launched(),
    "routed": events.routing(QUOTES, "meteora", {}),
    "routedByOneVenue": events.routing({"meteora": QUOTES["meteora"]}, "meteora", {"raydium": "did not answer"}),
    "built": events.building(PLAN),
    "submitted": events.submitted(SWAP),
    "retrying": events.retrying(ORDER, "the swap expired before it landed", timedelta(seconds=1)),
    "confirmed": events.confirmed(FILL),
    "failed": events.failed(ORDER, "raydium: has no pool for WIF/USDC"),
    "cancelled": events.cancelled("its owner cancelled it"),
    "expired": events.expired(),
    "redriven": events.redriven(ORDER),
}
"""What each event says, by the name of its example."""


def event(draft: EventDraft, seq: int) -> OrderEvent:
    status = Status(draft.event) if draft.event in set(Status) else Status.PENDING
    return OrderEvent.of(
        order_id=ORDER_ID,
        event=draft.event,
        status=status,
        seq=seq,
        timestamp=NOON + timedelta(milliseconds=350 * seq),
        details=draft.details,
    )


EVENTS: Mapping[str, OrderEvent] = {
    name: event(draft, seq) for seq, (name, draft) in enumerate(DRAFTS.items(), start=1)
}
HISTORY: Sequence[OrderEvent] = [
    event(DRAFTS[name], seq)
    for seq, name in enumerate(("accepted", "routed", "built", "submitted", "confirmed"), start=1)
]


def order(**changes: Any) -> Any:
    """Return the example order as it is answered, changed where ``changes`` says so, by the API's names."""
    return {**written(ORDER), **written(changes)}


CONFIRMED = order(
    status=Status.CONFIRMED,
    seq=5,
    attempts=1,
    chosenDex="meteora",
    routeMeta=DRAFTS["routed"].details,
    minAmountOut=PLAN.min_amount_out,
    amountOut=FILL.amount_out,
    executedPrice=FILL.executed_price,
    txHash=TX_HASH,
    updatedAt=HISTORY[-1].timestamp,
)
WAITING = order(
    orderType=OrderType.LIMIT,
    side=Side.BUY,
    amountIn=Decimal("2.5"),
    limitPrice=Decimal("140.25"),
    waitsFor=WaitsFor.PRICE,
    wakePrice=Decimal("140.25"),
    seq=2,
)
CANCELLED = {**WAITING, "status": "cancelled", "waitsFor": None, "wakePrice": None, "seq": 3}
ACCEPTED = AcceptedOrder(
    order_id=ORDER_ID, status=Status.PENDING, web_socket_url=f"wss://engine.example.com/ws?orderId={ORDER_ID}"
)
ORDER_PAGE = {**written(OrderPage(orders=[], next_cursor=CURSOR)), "orders": [CONFIRMED]}
ORDER_HISTORY = OrderHistory(order_id=ORDER_ID, events=HISTORY)
QUOTED = Quotes(
    token_in="SOL",  # noqa: S106
    token_out="USDC",  # noqa: S106
    side=Side.SELL,
    amount=Decimal("1.5"),
    quotes=QUOTES,
    chosen="meteora",
)
LAUNCH_TAKEN = LaunchTaken(
    pool=LAUNCH["pool"],
    token_in="WIF",  # noqa: S106
    token_out="USDC",  # noqa: S106
    venue=None,
    orders_woken=3,
)
TICKET = StreamTicket(ticket="lq2o3vTuZtHg7XrWmI5yqJ0cE8nKxR1aPzYb6dFsUeM", expires_at=NOON + timedelta(seconds=60))
DEAD_LETTERS = DeadLetterList(
    dead_letters=[
        ListedDeadLetter(
            message_id=MESSAGE_ID,
            queue="orders",
            order_id=ORDER_ID,
            reason="no worker could process its message",
            buried_at=NOON,
        )
    ]
)
HEALTHY = Health(status="ok", parts={"postgres": "up", "redis": "up", "sqs": "up"})
UNHEALTHY = Health(status="degraded", parts={"postgres": "down", "redis": "up", "sqs": "up"})
STATISTICS = Statistics(
    accepted_per_minute=42,
    processed_per_minute=40,
    success_rate=0.975,
    queue_depth=12,
    slots_in_use=7,
    slots=10,
    measured_at=NOON,
)
METRICS = """# HELP oee_slots How many orders may execute at once.
# TYPE oee_slots gauge
oee_slots 10.0
"""

"""What the command shows: every step with what matters in it, and nothing that could steer a terminal."""

import io
from decimal import Decimal

import msgspec
import pytest
from rich.console import Console

from oee import Order, OrderEvent, Quotes, VenueQuote
from oee.command_line import commands, drawing
from oee.command_line.story import OrderStory
from oee.errors import Problem, UnexpectedAnswer, Unreachable, refusal
from tests.unit.client.engines import ORDER, ORDER_ID, event

TERMS = {"orderType": "market", "side": "sell", "tokenIn": "SOL", "tokenOut": "USDC", "amount": Decimal("1.5")}
QUOTE = {"price": 151, "fee": Decimal("0.003"), "liquidity": 1, "amountOut": 225}
ROUTING = {
    "quotes": {"raydium": {**QUOTE, "netPrice": 150}, "meteora": {**QUOTE, "netPrice": Decimal("149.5")}},
    "chosen": "raydium",
}
FILL = {"txHash": "5f", "executedPrice": Decimal("150.15"), "amountOut": Decimal("225.225"), "venue": "raydium"}


def heard(*events):
    """Return the story of an order to which this has happened."""
    story = OrderStory(ORDER_ID)
    for values in events:
        story.hear(msgspec.convert(values, OrderEvent))
    return story


def well():
    """Return the events of an order with which all goes well."""
    details = [TERMS, ROUTING, {"minAmountOut": Decimal("223.5")}, {"txHash": "5f"}, FILL]
    events = [event(seq, details=each) for seq, each in enumerate(details, 1)]
    return [
        *events[:3],
        {**events[3], "txHash": "5f"},
        {**events[4], "executedPrice": FILL["executedPrice"]},
    ]


def drawn(renderable, *, terminal=False, width=120):
    printed = io.StringIO()
    console = Console(file=printed, width=width, highlight=False, force_terminal=terminal, color_system=None)
    console.print(renderable)
    return printed.getvalue()


def picture(story):
    return drawn(drawing.Watching(Console(), [story]))


def test_each_step_is_told_with_what_matters_in_it():
    lines = [" ".join(line.split()) for line in picture(heard(*well())).splitlines()]

    assert lines == [
        f"sell 1.5 SOL → USDC, market {ORDER_ID}",
        "● pending 0.0 s",
        "● routing 1.0 s raydium 150 ✓ · meteora 149.5",
        "● building 2.0 s at least 223.5 USDC",
        "● submitted 3.0 s transaction 5f",
        "✓ confirmed 4.0 s at 150.15 · +10.0 bp against the quote · received 225.225 USDC",
        "",
    ]


def test_what_is_still_to_come_is_shown_pale_and_the_next_step_turns():
    lines = picture(heard(*well()[:2])).splitlines()

    assert [line.split()[-1] for line in lines[3:6]] == ["building", "submitted", "confirmed"]
    assert [line.split()[0] in drawing.SPINNER for line in lines[3:6]] == [True, False, False]


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (event(2, "failed", error="no pool for WIF", details={"error": "no pool"}), "✗ failed 1.0 s no pool for WIF"),
        (event(2, "cancelled", details={"reason": "its owner cancelled it"}), "◌ cancelled 1.0 s its owner cancelled"),
        (event(2, "expired", details={"reason": "its time was up"}), "◌ expired 1.0 s its time was up"),
        (
            event(2, "waiting", details={"waitingFor": {"limitPrice": 140, "netPrice": Decimal("150.5")}}),
            "◔ waiting 1.0 s for a net price of 140; it is 150.5",
        ),
        (
            event(2, "waiting", details={"waitingFor": {"triggerPrice": 140, "marketPrice": 150}}),
            "◔ waiting 1.0 s for a market price of 140; it is 150",
        ),
        (event(2, "waiting", details={"waitingFor": {"launch": "WIF"}}), "◔ waiting 1.0 s for the launch of WIF"),
        (event(2, "waiting", details={"waitingFor": {"moon": "full"}}), "◔ waiting 1.0 s moon full"),
        (event(2, "triggered", details={"marketPrice": 139}), "● triggered 1.0 s the market price is 139"),
        (event(2, "triggered", details={"launched": True}), "● triggered 1.0 s the token has launched"),
        (
            event(2, "retrying", error="dropped", details={"attempt": 1, "maxRetries": 3, "delayMs": 1000}),
            "↻ retrying 1.0 s try 1 of 3: dropped · the next in 1000 ms",
        ),
        (event(2, "netting", details={"with": 3}), "● netting 1.0 s"),
    ],
    ids=lambda value: value["event"] if isinstance(value, dict) else None,
)
def test_every_event_is_told(last, says):
    assert says in " ".join(picture(heard(event(1, details=TERMS), last)).split())


def test_a_buy_is_better_below_its_quote():
    better = heard(*well())
    worse = heard(event(1, details={**TERMS, "side": "buy"}), *well()[1:])

    assert (better.basis_points, better.is_better_than_quoted, worse.is_better_than_quoted) == (10, True, False)


def test_an_order_that_is_watched_from_the_middle_is_shown_without_what_was_missed():
    story = heard(*well()[3:])

    assert (story.title, story.basis_points, story.went_well) == ("", None, True)
    assert "✓ confirmed" in picture(story)


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x1b]0;owned\x07", "a\rb", "[red]x[/red]", "\u202eabc"])
def test_nothing_that_comes_from_outside_can_steer_a_terminal(evil):
    story = heard(
        event(1, details={**TERMS, "tokenIn": evil}),
        event(2, "routing", details={"quotes": {evil: {**QUOTE, "netPrice": 1}}, "chosen": evil}),
        event(3, evil, status="pending", details={"reason": evil}),
        event(4, "failed", error=evil, details={"error": evil}),
    )
    quotes = Quotes(
        token_in=evil,
        token_out=evil,
        side="sell",
        amount=Decimal(1),
        quotes={evil: VenueQuote(price=Decimal(1), fee=Decimal(0), net_price=Decimal(1))},
        chosen=evil,
        errors={evil: evil},
    )

    printed = drawn(drawing.Watching(Console(), [story]), terminal=True) + drawn(drawing.quotes(quotes), terminal=True)

    assert [character for character in printed if not character.isprintable() and character != "\n"] == []
    assert evil in printed if evil.startswith("[") else evil not in printed


@pytest.mark.parametrize("width", [50, 80, 200])
def test_orders_fit_into_every_window_with_no_value_broken(width):
    fill = {"status": "confirmed", "executedPrice": Decimal("148.358007333")}
    order = msgspec.convert({**ORDER, "amountIn": Decimal("1.5"), **fill}, Order)

    printed = drawn(drawing.orders([order], width), width=width)

    assert max(len(line) for line in printed.splitlines()) <= width
    for whole in (ORDER_ID, "✓ confirmed", "market"):
        assert whole in printed
    assert "148.358007333" in "".join(printed.split())
    assert "148.358007333" in printed or width < 80


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (refusal(Problem(status=400)), 3),
        (refusal(Problem(status=429)), 3),
        (refusal(Problem(status=503)), 4),
        (Unreachable("gone"), 4),
        (UnexpectedAnswer("a web page"), 4),
    ],
    ids=["refused", "limited", "down", "unreachable", "something else"],
)
def test_the_exit_code_tells_a_refusal_from_an_engine_that_is_not_there(error, code):
    assert commands.exit_code_of(error) == code

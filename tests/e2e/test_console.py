"""The console in a real Chromium, on the deployed engine: what somebody sees who trades with it."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

import psycopg
import pytest
from playwright.sync_api import Browser, Locator, Route, WebSocketRoute, expect

from infra.local.stack import Stack
from tests.e2e.browser import TO_INSTALL, Console, find_chromium, launched
from tests.e2e.client import Client
from tests.e2e.deployed import Deployed, on_this_machine
from tests.issuer import CLIENT_ID, LocalIssuer

JUP = {"tokenIn": "JUP", "tokenOut": "USDC"}
OUT_OF_REACH = "0.775"
"""Of JUP/USDC, whose base is 0.8: no venue goes lower than 3 % below that, so an order waits, and its line is near."""
STATISTICS = {
    "acceptedPerMinute": 42,
    "processedPerMinute": 40,
    "successRate": 0.975,
    "queueDepth": 12,
    "slotsInUse": 7,
    "slots": 10,
    "measuredAt": "2026-01-01T00:00:00Z",
}
WHEN_BUSY = [(503, "/api/statistics"), (503, "/api/quotes")]
"""What is asked again and again may not be answered in time once, where the machine has much to do."""
FOREIGN = "<img src=x onerror=\"document.title='run'\">"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = find_chromium(os.environ)
    if executable is None:
        if os.environ.get("CI"):
            pytest.fail(TO_INSTALL)  # .ci/run installs one
        pytest.skip(TO_INSTALL)
    with launched(executable) as running:
        yield running


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Console]]:
    """Make consoles; at the end, none may have broken its policy, failed, or met an error that nobody expected."""
    consoles: list[tuple[Console, set[int]]] = []

    def make(url: str, *, expects: set[int] = frozenset(), **options: Any) -> Console:
        console = Console(browser, url, **options)
        consoles.append((console, expects))
        return console

    yield make
    for console, expects in consoles:
        console.context.close()
        assert console.errors == []
        unexpected = [refused for refused in console.refused if refused[0] not in expects and refused not in WHEN_BUSY]
        assert unexpected == []


@pytest.fixture
def new_console(opened: Callable[..., Console], client: Client) -> Callable[..., Console]:
    return lambda **options: opened(f"{client.url}/", **options)


@pytest.fixture
def console(new_console: Callable[..., Console]) -> Console:
    return new_console().open_live()


@pytest.fixture
def faults(database: psycopg.Connection) -> Iterator[Callable[[str], Any]]:
    yield lambda changes: database.execute(f"UPDATE simulated_faults SET {changes}")
    database.execute("DELETE FROM simulated_faults")
    database.execute("INSERT INTO simulated_faults DEFAULT VALUES")


def written(number: Decimal) -> str:
    """Write an exact number as the console does."""
    return f"{number:,f}"


def seqs_of(timeline: Locator) -> list[str]:
    return timeline.locator("li").evaluate_all("events => events.map(event => event.dataset.seq)")


def fits_the_width(console: Console) -> bool:
    return console.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# --- Placing and watching ---


@pytest.mark.parametrize("side", ["sell", "buy"])
def test_an_order_is_placed_and_watched_until_it_is_confirmed(console: Console, client: Client, side: str) -> None:
    console.choose("side", side)
    order_id = console.place(amount="1.5")
    row = console.row(order_id)

    expect(console.status(order_id)).to_have_text("confirmed")
    order = client.get(f"/api/orders/{order_id}").body
    venues = row.locator(".cell-quotes .quote-line")
    expect(venues).to_have_count(2)
    expect(row.locator(".cell-quotes [data-chosen] .venue")).to_have_text(order["chosenDex"])
    for venue, quote in order["routeMeta"]["quotes"].items():
        expect(venues.filter(has_text=venue).locator(".number")).to_have_text(written(quote["netPrice"]))
    expect(row.locator(".cell-executed .number")).to_have_text(written(order["executedPrice"]))
    expect(row.locator(".cell-executed .hint")).to_have_text(f"{written(order['amountOut'])} USDC")
    quoted = order["routeMeta"]["quotes"][order["chosenDex"]]["netPrice"]
    better = (order["executedPrice"] / quoted - 1) * (1 if side == "sell" else -1) * 10_000
    shown = row.locator(".points").inner_text().split(" bp")[0].replace("−", "-")
    assert abs(Decimal(shown) - better) <= Decimal("0.051")
    expect(row.locator("code")).to_have_text(f"{order['txHash'][:6]}…{order['txHash'][-4:]}")
    expect(row.locator("code")).to_have_attribute("title", order["txHash"])
    expect(row.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(console.page.locator("#announcements")).to_contain_text(f"{side} SOL/USDC confirmed at")


def test_steps_come_by_one_socket_as_they_happen(console: Console) -> None:
    seen = console.run(
        """async (_, load) => {
            const seen = {};
            new MutationObserver(() => {
                for (const row of document.querySelectorAll("tr[data-order]")) {
                    const statuses = (seen[row.dataset.order] ??= []);
                    if (statuses.at(-1) !== row.dataset.status) statuses.push(row.dataset.status);
                }
            }).observe(document.querySelector("#order-rows"), { subtree: true, childList: true, attributes: true });
            window.seen = seen;
        }"""
    )
    sockets: list[str] = []
    console.page.on("websocket", lambda socket: sockets.append(socket.url))
    placed = [console.place(amount="1"), console.place(amount="2")]

    for order_id in placed:
        expect(console.status(order_id)).to_have_text("confirmed")
    seen = console.page.evaluate("window.seen")
    for order_id in placed:
        assert [status for status in seen[order_id] if status != "building"] == [
            *("pending", "routing", "submitted", "confirmed")
        ] or seen[order_id][-2:] == ["submitted", "confirmed"]
        assert any(f'"subscribe","orderId":"{order_id}"' in sent for sent in console.sent)
    assert sockets == []


def test_an_order_of_another_client_appears_by_itself(console: Console, client: Client) -> None:
    order_id = client.place(userId="somebody else")

    expect(console.row(order_id)).to_contain_text("somebody else")
    expect(console.status(order_id)).to_have_text("confirmed")


def test_a_limit_order_has_its_line_until_it_is_cancelled(console: Console) -> None:
    console.choose("orderType", "limit")
    order_id = console.place(**JUP, amount="12.5", limitPrice=OUT_OF_REACH)
    line = console.page.locator(f'.waiting[data-kind=limit][data-price="{OUT_OF_REACH}"]')

    expect(console.status(order_id)).to_have_text(f"waiting for {OUT_OF_REACH}")
    expect(line.locator("line")).to_have_count(1)
    expect(line.locator("text")).to_have_text(f"limit buy 12.5 @ {OUT_OF_REACH}")
    expect(console.page.get_by_role("img", name="JUP/USDC")).to_have_attribute(
        "aria-label", re.compile(f"orders wait: limit buy 12.5 @ {OUT_OF_REACH}")
    )
    console.row(order_id).get_by_role("button", name="Cancel").click()

    expect(console.status(order_id)).to_have_text("cancelled")
    expect(console.row(order_id)).to_contain_text("its owner cancelled it")
    expect(line).to_have_count(0)
    expect(console.row(order_id).get_by_role("button", name="Cancel")).to_be_hidden()


def test_a_fill_is_a_mark_on_the_chart(console: Console) -> None:
    console.fill(**JUP)
    marks = console.page.locator(".fill")
    expect(console.page.locator(".best-line")).to_be_visible()
    before = marks.count()

    order_id = console.place(amount="3")

    expect(console.status(order_id)).to_have_text("confirmed")
    expect(marks).to_have_count(before + 1)


def test_what_is_too_late_to_cancel_says_so(new_console: Callable[..., Console]) -> None:
    console = new_console(expects={409}).open_live()
    order_id = console.place(amount="1")
    held: list[Route] = []
    console.page.route(f"**/api/orders/{order_id}", lambda route: held.append(route))
    console.row(order_id).get_by_role("button", name="Cancel").click()
    expect(console.status(order_id)).to_have_text("confirmed")

    held[0].continue_()

    expect(console.page.locator(".notice")).to_contain_text("Too late to cancel.")
    expect(console.status(order_id)).to_have_text("confirmed")


def test_a_failed_order_says_why(new_console: Callable[..., Console]) -> None:
    console = new_console(expects={422}).open_live()
    console.choose("side", "buy")
    order_id = console.place(amount="900000000")

    expect(console.status(order_id)).to_have_text(re.compile("^failed"))
    expect(console.row(order_id).locator(".reason")).to_contain_text("900000000 cannot be bought")


def test_tries_are_counted_as_they_are_made(new_console: Callable[..., Console], faults: Callable[[str], Any]) -> None:
    console = new_console(expects={503}).open_live()
    faults("quote_fails = 1")
    order_id = console.place(amount="1")

    expect(console.status(order_id)).to_have_text("retrying, try 2 of 3")
    expect(console.row(order_id).locator(".reason")).to_contain_text("did not answer")
    expect(console.status(order_id)).to_have_text("failed, after 3 tries")


def test_a_timeline_tells_every_event_with_its_time_and_details(console: Console, client: Client) -> None:
    order_id = client.place(amount="1.25")
    expect(console.status(order_id)).to_have_text("confirmed")

    timeline = console.timeline(order_id)

    events = client.get(f"/api/orders/{order_id}/events").body["events"]
    expect(timeline.locator("li")).to_have_count(len(events))
    for event in events:
        shown = timeline.locator(f'li[data-seq="{event["seq"]}"]')
        assert shown.get_attribute("data-event") == event["event"]
        expect(shown.locator("time")).to_have_attribute("datetime", event["timestamp"])
        expect(shown.locator("time")).to_have_text(event["timestamp"][11:23])
    expect(timeline).to_contain_text(order_id)
    expect(timeline.locator("li[data-event=building]")).to_contain_text("wrapSol, swap")
    expect(timeline.locator("li[data-event=confirmed] code")).to_have_text(events[-1]["txHash"])
    expect(timeline.locator("li[data-event=routing] .quote-line")).to_have_count(2)


def test_a_timeline_grows_while_it_is_looked_at(console: Console) -> None:
    order_id = console.place(amount="1")

    timeline = console.timeline(order_id)

    expect(timeline.locator("li[data-event=confirmed]")).to_be_visible()
    assert seqs_of(timeline) == ["1", "2", "3", "4", "5"]


def test_numbers_keep_every_digit(console: Console) -> None:
    console.choose("orderType", "limit")
    console.choose("side", "sell")
    order_id = console.place(tokenOut="BONK", amount="123456789.123456789", limitPrice="99999999999.1")

    row = console.row(order_id)
    expect(row.locator(".cell-amount")).to_have_text("123,456,789.123456789 SOL")
    expect(console.status(order_id)).to_have_text("waiting for 99,999,999,999.1")
    row.get_by_role("button", name="Cancel").click()
    expect(console.status(order_id)).to_have_text("cancelled")


BROKEN_WITHIN_A_PART = """numbers => numbers.filter(number => [...number.childNodes].some(part => {
    const range = document.createRange();
    range.selectNodeContents(part);
    return part.nodeType === Node.TEXT_NODE && range.getClientRects().length > 1;
})).map(number => number.textContent)"""


def test_a_confirmed_order_takes_two_lines_and_breaks_no_number(new_console: Callable[..., Console]) -> None:
    console = new_console(viewport={"width": 1280, "height": 900}).open_live()
    placed = [
        console.place(tokenIn=token, tokenOut="USDC", amount=amount)
        for token, amount in (("SOL", "30"), ("BONK", "25000000.25"))
    ]

    for order_id in placed:
        expect(console.status(order_id)).to_have_text("confirmed")
    numbers = console.page.locator("td .number")
    assert numbers.evaluate_all(BROKEN_WITHIN_A_PART) == []
    assert console.row(placed[0]).evaluate("row => row.offsetHeight") < 64


def test_orders_that_are_not_there_yet_are_said_to_be_loading(new_console: Callable[..., Console]) -> None:
    console = new_console()
    held: list[Route] = []
    console.page.route("**/api/orders?*", lambda route: held.append(route))
    console.open()

    expect(console.page.locator("#orders-empty")).to_have_text("Loading the orders …")
    held.pop().continue_()
    expect(console.page.get_by_text("Loading the orders …")).to_be_hidden()


def test_a_transaction_hash_is_copied_whole(new_console: Callable[..., Console], client: Client) -> None:
    order_id = client.execute()[0]["orderId"]
    console = new_console(permissions=["clipboard-read", "clipboard-write"]).open_live()

    console.row(order_id).get_by_role("button", name="Copy").click()

    expect(console.page.locator(".notice")).to_have_text(re.compile("Copied"))
    copied = console.page.evaluate("navigator.clipboard.readText()")
    assert copied == client.get(f"/api/orders/{order_id}").body["txHash"]


# --- The ticket ---


@pytest.mark.parametrize(
    ("kind", "applies", "side"),
    [
        ("market", {"amount", "slippageTolerance"}, "sell"),
        ("limit", {"amount", "limitPrice", "timeInForce", "slippageTolerance"}, "buy"),
        ("stop", {"amount", "triggerPrice", "limitPrice", "timeInForce", "slippageTolerance"}, "sell"),
        ("sniper", {"amount", "limitPrice", "timeInForce", "slippageTolerance"}, "buy"),
    ],
)
def test_only_fields_that_apply_are_shown(console: Console, kind: str, applies: set[str], side: str) -> None:
    console.choose("orderType", kind)

    fields = ("amount", "limitPrice", "triggerPrice", "timeInForce", "expiresAt", "slippageTolerance")
    assert {name for name in fields if console.page.locator(f"[name={name}]").is_visible()} == applies
    expect(console.page.locator(f"input[name=side][value={side}]")).to_be_checked()


def test_what_is_typed_is_what_is_sent(console: Console, client: Client) -> None:
    console.choose("orderType", "stop")
    console.choose("side", "sell")
    console.fill(timeInForce="GTD")
    order_id = console.place(
        tokenIn="RAY",
        tokenOut="USDT",
        amount="7.250",
        triggerPrice="1.5",
        limitPrice="1.25",
        slippageTolerance="2.5",
        expiresAt="2027-06-01T12:30:00",
        userId="desk 7",
    )
    client.request("DELETE", f"/api/orders/{order_id}")

    order = client.get(f"/api/orders/{order_id}").body
    assert {name: str(order[name]) for name in ("amountIn", "triggerPrice", "limitPrice", "slippageTolerance")} == {
        "amountIn": "7.250",
        "triggerPrice": "1.5",
        "limitPrice": "1.25",
        "slippageTolerance": "0.025",
    }
    assert (order["orderType"], order["side"], order["tokenIn"], order["tokenOut"]) == ("stop", "sell", "RAY", "USDT")
    assert (order["timeInForce"], order["expiresAt"]) == ("GTD", "2027-06-01T12:30:00Z")
    assert (order["userId"], len(order["clientOrderId"])) == ("desk 7", 32)


def test_a_user_is_remembered(console: Console) -> None:
    console.fill(userId="desk 9")
    console.open_live()

    expect(console.page.locator("#userId")).to_have_value("desk 9")


def test_a_sniper_says_that_it_waits_for_the_launch(new_console: Callable[..., Console]) -> None:
    console = new_console(expects={422}).open_live()
    console.choose("orderType", "sniper")
    console.fill(tokenIn="WIF", tokenOut="JUP", amount="10")
    expect(console.page.locator("#quote")).to_contain_text("No pool yet")

    order_id = console.place()

    expect(console.status(order_id)).to_have_text("waiting for the launch of WIF")
    console.row(order_id).get_by_role("button", name="Cancel").click()
    expect(console.status(order_id)).to_have_text("cancelled")


def test_what_is_wrong_stands_beside_its_field(new_console: Callable[..., Console]) -> None:
    console = new_console(expects={400}).open_live()
    console.choose("orderType", "limit")
    console.fill(amount="1.2345678901", slippageTolerance="70", timeInForce="GTD", userId="")
    console.page.locator("#submit").click()

    for field, reason in {
        "amount": "1.2345678901 has too many digits after the point; this token has 9.",
        "limitPrice": "Limit price is required for a limit order.",
        "slippageTolerance": "Slippage is 0 to 50 %",
        "expiresAt": "Expires is required with timeInForce GTD.",
        "userId": "User is required.",
    }.items():
        wrong = console.page.locator(f"#ticket [name={field}]")
        expect(wrong).to_have_attribute("aria-invalid", "true")
        described = console.page.locator(f"#{wrong.get_attribute('aria-describedby')}")
        expect(described).to_contain_text(reason)
        expect(wrong.locator("xpath=ancestor::div[contains(@class,'field')]")).to_contain_text(reason)
    expect(console.page.locator("#amount")).to_be_focused()
    expect(console.page.locator("#ticket-error")).to_be_hidden()

    console.fill(amount="1")

    expect(console.page.locator("#amount")).not_to_have_attribute("aria-invalid", "true")
    expect(console.page.locator("#limitPrice")).to_have_attribute("aria-invalid", "true")


def test_what_is_wrong_with_no_field_is_said_above_the_button(new_console: Callable[..., Console]) -> None:
    console = new_console(expects={429}).open_live()
    problem = {"title": "Too Many Requests", "status": 429, "detail": "Too many orders.", "retryAfter": 7}
    console.page.route("**/api/orders", lambda route: route.fulfill(status=429, json=problem))
    console.fill(amount="1")
    console.page.locator("#submit").click()

    expect(console.page.get_by_role("alert").filter(has_text="Too many orders.")).to_be_visible()
    expect(console.page.locator("#retry")).to_have_count(0)


@pytest.mark.parametrize("button", ["#retry", "#submit"])
def test_an_order_whose_answer_was_lost_is_placed_once_however_it_is_sent_again(
    new_console: Callable[..., Console], client: Client, button: str
) -> None:
    console = new_console(expects={0}).open_live()
    user = f"lost {uuid4()}"

    def lose(route: Route) -> None:
        assert route.fetch().status == 200
        route.abort("connectionreset")

    console.page.route("**/api/orders", lose, times=1)
    console.fill(amount="1", userId=user)
    console.page.locator("#submit").click()
    expect(console.page.locator("#ticket-error")).to_contain_text("trying again places it once at most")

    console.page.locator(button).click()

    expect(console.page.locator("#ticket-error")).to_be_hidden()
    expect(console.page.locator("tr", has_text=user)).to_have_count(1)
    orders = client.get("/api/orders", limit=50).body["orders"]
    assert len([order for order in orders if order["userId"] == user]) == 1


def test_every_submit_is_an_order_of_its_own(console: Console) -> None:
    assert console.place(amount="1") != console.place(amount="1")


def test_what_is_typed_is_quoted_by_both_venues(console: Console) -> None:
    quote = console.page.locator("#quote")
    expect(quote).to_contain_text("Enter an amount")

    console.fill(amount="2")

    expect(quote.locator(".quote-line")).to_have_count(2)
    expect(quote.locator("[data-chosen] .best")).to_have_text("best")
    expect(quote).to_contain_text(re.compile(r"receive ≈ [\d,.]+ USDC"))
    console.choose("side", "buy")
    expect(quote).to_contain_text(re.compile(r"pay ≈ [\d,.]+ USDC"))


# --- The connection ---


@pytest.mark.laptop("it stops the front door")
def test_a_socket_that_was_cut_resumes_after_the_last_event_that_was_seen(
    new_console: Callable[..., Console], client: Client, deployed: Deployed, stack: Stack
) -> None:
    console = new_console(expects={0}).open_live()
    order_id = client.place(**JUP, orderType="limit", amount="3", limitPrice=OUT_OF_REACH)
    expect(console.status(order_id)).to_have_text(f"waiting for {OUT_OF_REACH}")
    # Nothing but the stream may tell what happens now.
    console.page.route("**/api/orders?*", lambda route: route.abort())
    console.sent.clear()
    past_the_door = deployed.target.addresses(deployed.outputs).rest

    stack.services["door"].stop()
    try:
        expect(console.page.locator("#connection-text")).to_have_text("Reconnecting")
        expect(console.page.locator("#banner")).to_contain_text("The connection is lost")
        path = f"{urlsplit(past_the_door).path}/api/orders/{order_id}"
        assert Client(past_the_door, "").request("DELETE", path).status == 200
        expect(console.status(order_id)).to_have_text(f"waiting for {OUT_OF_REACH}")
    finally:
        stack.services["door"].start()

    console.is_live()
    expect(console.status(order_id)).to_have_text("cancelled")
    expect(console.page.locator("#banner")).to_be_hidden()
    resumed = [json.loads(sent) for sent in console.sent if order_id in sent]
    assert resumed == [{"action": "subscribe", "orderId": order_id, "afterSeq": 2}]
    timeline = console.timeline(order_id)
    expect(timeline.locator("li")).to_have_count(3)
    assert seqs_of(timeline) == ["1", "2", "3"]


@pytest.mark.laptop("it restarts the front door")
def test_orders_on_their_way_lose_no_event_and_show_none_twice_when_the_socket_is_cut(
    new_console: Callable[..., Console], client: Client, stack: Stack
) -> None:
    console = new_console(expects={0, 503}).open_live()
    placed = [console.place(amount=str(amount)) for amount in (1, 2, 3)]

    stack.services["door"].restart()

    for order_id in placed:
        expect(console.status(order_id)).to_have_text("confirmed")
    for order_id in placed:
        timeline = console.timeline(order_id)
        expect(timeline.locator("li")).to_have_count(5)
        assert seqs_of(timeline) == ["1", "2", "3", "4", "5"]
        console.page.keyboard.press("Escape")


def test_an_event_that_never_came_is_read_from_the_history(new_console: Callable[..., Console]) -> None:
    console = new_console()
    lost: list[str] = []

    def lose_routing(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            if json.loads(message).get("event") == "routing":
                lost.append(str(message))
            else:
                socket.send(message)

        server.on_message(pass_on)

    console.page.route_web_socket(re.compile("/ws"), lose_routing)
    console.open_live()
    console.page.route("**/api/orders?*", lambda route: route.fulfill(json={"orders": [], "nextCursor": None}))
    order_id = console.place(amount="1")

    expect(console.status(order_id)).to_have_text("confirmed")
    expect(console.row(order_id).locator(".cell-quotes .quote-line")).to_have_count(2)
    assert len(lost) == 1
    timeline = console.timeline(order_id)
    expect(timeline.locator("li")).to_have_count(5)
    assert seqs_of(timeline) == ["1", "2", "3", "4", "5"]


def test_an_event_that_comes_again_later_changes_nothing(new_console: Callable[..., Console]) -> None:
    console = new_console()
    first: dict[str, str | bytes] = {}
    asked: list[str] = []

    def repeat_the_first(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            socket.send(message)
            socket.send(first.setdefault(json.loads(message).get("orderId", ""), message))

        def ask(message: str | bytes) -> None:
            asked.append(json.loads(message).get("orderId"))
            server.send(message)

        server.on_message(pass_on)
        socket.on_message(ask)

    console.page.route_web_socket(re.compile("/ws"), repeat_the_first)
    console.open_live()
    console.page.route("**/api/orders?*", lambda route: route.fulfill(json={"orders": [], "nextCursor": None}))
    order_id = console.place(amount="1")
    expect(console.status(order_id)).to_have_text("confirmed")
    later = console.place(amount="2")
    expect(console.status(later)).to_have_text("confirmed")

    expect(console.status(order_id)).to_have_text("confirmed")
    assert [asked.count(placed) for placed in (order_id, later)] == [1, 1]
    timeline = console.timeline(order_id)
    expect(timeline.locator("li")).to_have_count(5)
    assert seqs_of(timeline) == ["1", "2", "3", "4", "5"]


def test_a_page_that_is_offline_says_so_and_comes_back(new_console: Callable[..., Console]) -> None:
    console = new_console(expects={0}).open_live()
    console.context.set_offline(True)

    expect(console.page.locator("#connection-text")).to_have_text("Offline")
    expect(console.page.locator("#banner")).to_contain_text("You are offline. What you see is as it was at")
    console.context.set_offline(False)

    console.is_live()
    expect(console.page.locator("#banner")).to_be_hidden()


def test_orders_that_cannot_be_loaded_are_not_shown_as_none(new_console: Callable[..., Console]) -> None:
    console = new_console(expects={503})
    problem = {"title": "Service Unavailable", "status": 503, "detail": "The engine cannot reach one of its parts."}
    console.page.route("**/api/orders?*", lambda route: route.fulfill(status=503, json=problem))
    console.open()

    empty = console.page.locator("#orders-empty")
    expect(empty).to_contain_text("The orders could not be loaded. The engine cannot reach one of its parts.")
    console.page.unroute("**/api/orders?*")
    empty.get_by_role("button", name="Try again").click()

    expect(empty).to_be_hidden()


# --- The table ---


def test_orders_are_filtered_by_status_and_text(console: Console, client: Client) -> None:
    user = f"filter {uuid4()}"
    waiting = client.place(**JUP, orderType="limit", limitPrice=OUT_OF_REACH, userId=user)
    done = client.place(userId=user)
    expect(console.status(done)).to_have_text("confirmed")
    expect(console.status(waiting)).to_contain_text("waiting")
    rows = console.page.locator("#order-rows tr")

    console.page.locator("#filter-text").fill(user.upper())
    expect(rows).to_have_count(2)
    console.page.locator("#filter-status").select_option("confirmed")
    expect(rows).to_have_count(1)
    expect(console.row(done)).to_be_visible()
    console.page.locator("#filter-status").select_option("open")
    expect(rows).to_have_count(1)
    expect(console.row(waiting)).to_be_visible()
    console.page.locator("#filter-text").fill("nothing is called so")
    expect(console.page.locator("#orders-empty")).to_have_text("No order here fits the filter.")
    client.request("DELETE", f"/api/orders/{waiting}")


def test_earlier_orders_are_loaded_page_by_page(new_console: Callable[..., Console], client: Client) -> None:
    user = f"pages {uuid4()}"
    placed = [client.place(userId=user, orderType="limit", limitPrice=1, timeInForce="IOC") for _ in range(5)]
    console = new_console()
    # Pages of two, as the real ones are too long to fill here.
    console.page.route(
        "**/api/orders?*", lambda route: route.continue_(url=route.request.url.replace("limit=50", "limit=2"))
    )
    console.open_live()
    console.page.locator("#filter-text").fill(user)
    rows = console.page.locator("#order-rows tr")
    expect(rows).to_have_count(2)

    console.page.get_by_role("button", name="Load earlier orders").click()
    expect(rows).to_have_count(4)
    console.page.get_by_role("button", name="Load earlier orders").click()
    expect(rows).to_have_count(5)

    assert rows.evaluate_all("rows => rows.map(row => row.dataset.order)") == placed[::-1]


def test_tiles_show_how_full_the_engine_is(console: Console) -> None:
    expect(console.page.locator("#tile-slots")).to_have_text(re.compile(r"^\d+ of 10$"))
    expect(console.page.locator("#tile-queue")).to_have_text(re.compile(r"^\d+$"))


def test_tiles_show_what_the_engine_says_of_itself(new_console: Callable[..., Console]) -> None:
    console = new_console()
    console.page.route("**/api/statistics", lambda route: route.fulfill(json=STATISTICS))
    console.open_live()

    for tile, text in {
        "accepted": "42",
        "processed": "processed: 40",
        "success": "97.5 %",
        "queue": "12",
        "slots": "7 of 10",
    }.items():
        expect(console.page.locator(f"#tile-{tile}")).to_have_text(text)


@pytest.mark.parametrize(
    ("answer", "rate"),
    [
        ({"status": 404, "json": {}}, "–"),
        ({"json": {**STATISTICS, "successRate": None}}, "–"),
        ({"json": {**STATISTICS, "successRate": 0.99999}}, "99.9 %"),
        ({"json": {**STATISTICS, "successRate": 1}}, "100 %"),
    ],
    ids=["no answer", "nothing ended", "nearly all", "all"],
)
def test_a_tile_says_no_more_than_is_known(
    new_console: Callable[..., Console], answer: dict[str, Any], rate: str
) -> None:
    console = new_console(expects={404})
    console.page.route("**/api/statistics", lambda route: route.fulfill(**answer))
    console.open_live()

    expect(console.page.locator("#tile-success")).to_have_text(rate)


# --- For everybody ---


def test_a_value_from_outside_is_text(console: Console, client: Client) -> None:
    order_id = client.place(userId=FOREIGN, clientOrderId=f"{FOREIGN}{uuid4()}")
    expect(console.row(order_id)).to_contain_text(FOREIGN)
    expect(console.status(order_id)).to_have_text("confirmed")

    timeline = console.timeline(order_id)

    expect(timeline).to_contain_text(FOREIGN)
    assert console.page.locator("img").count() == 0
    assert "run" not in console.page.title()


def test_a_phone_shows_all_of_it_without_scrolling_sideways(new_console: Callable[..., Console]) -> None:
    console = new_console(viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True).open_live()
    console.choose("orderType", "limit")
    order_id = console.place(**JUP, amount="1234567.123456", limitPrice=OUT_OF_REACH, userId="w" * 128)
    expect(console.status(order_id)).to_contain_text("waiting")
    assert fits_the_width(console)
    cut_off = """() => [...document.querySelectorAll("button, input, select, h2, .figure, td, .status")]
        .map((part) => [part, part.getBoundingClientRect()])
        .filter(([part, box]) => part.checkVisibility() && box.width && (box.left < 0 || box.right > innerWidth))
        .map(([part]) => part.outerHTML)"""
    assert console.page.evaluate(cut_off) == []

    timeline = console.timeline(order_id)
    expect(timeline.locator("li")).to_have_count(2)
    assert fits_the_width(console)
    assert console.page.evaluate(cut_off) == []
    timeline.get_by_role("button", name="Cancel the order").tap()

    expect(timeline.locator("li[data-event=cancelled]")).to_be_visible()
    timeline.get_by_role("button", name="Close").tap()
    expect(timeline).to_be_hidden()


def test_everything_is_done_with_the_keyboard(console: Console) -> None:
    keyboard = console.page.keyboard

    def tab_to(selector: str) -> None:
        for _ in range(60):
            keyboard.press("Tab")
            if console.page.evaluate("selector => document.activeElement.matches(selector)", selector):
                outline = console.page.evaluate(
                    """() => [document.activeElement, document.activeElement.nextElementSibling]
                        .some((part) => part && getComputedStyle(part).outlineStyle === "solid")"""
                )
                assert outline, f"nobody sees that {selector} has the focus"
                return
        raise AssertionError(f"no Tab leads to {selector}")

    tab_to("[name=orderType]")
    keyboard.press("ArrowRight")
    expect(console.page.locator("input[name=orderType][value=limit]")).to_be_checked()
    tab_to("#tokenIn")
    keyboard.type("JUP")
    tab_to("#amount")
    keyboard.type("4")
    tab_to("#limitPrice")
    keyboard.type(OUT_OF_REACH)
    keyboard.press("Enter")
    waiting = console.page.locator("#order-rows tr").first
    expect(waiting.locator(".status")).to_have_text(f"waiting for {OUT_OF_REACH}")

    tab_to("#order-rows tr:first-child button.link")
    keyboard.press("Enter")
    dialog = console.page.locator("dialog[open]")
    expect(dialog.locator("li")).to_have_count(2)
    keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(waiting.locator("button.link")).to_be_focused()
    tab_to("#order-rows tr:first-child .danger")
    keyboard.press("Enter")

    expect(waiting.locator(".status")).to_have_text("cancelled")


def test_a_row_keeps_the_focus_while_its_order_moves(console: Console) -> None:
    order_id = console.place(amount="1")
    details = console.row(order_id).locator("button.link")
    details.focus()

    expect(console.status(order_id)).to_have_text("confirmed")

    expect(details).to_be_focused()


TOO_FAINT = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const channels = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = ([red, green, blue]) => [red, green, blue]
        .map((value) => value / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
        .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
    const background = (part) => {
        for (let node = part; node; node = node.parentElement) {
            const color = channels(getComputedStyle(node).backgroundColor);
            if (color[3] === 255) return color;
        }
        return channels("white");
    };
    const faint = [];
    for (const part of document.querySelectorAll("body *")) {
        const text = [...part.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!text || !part.checkVisibility() || part.closest(".unseen, svg, option, script, noscript")) continue;
        const [one, other] = [luminance(channels(getComputedStyle(part).color)), luminance(background(part))];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (contrast < 4.5) faint.push(`${part.outerHTML.slice(0, 120)} ${contrast.toFixed(2)}`);
    }
    return faint;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(new_console: Callable[..., Console], client: Client, scheme: Any) -> None:
    console = new_console(color_scheme=scheme, expects={400, 422}).open_live()
    console.choose("side", "buy")
    failed = console.place(amount="900000000")
    confirmed = console.place(amount="1")
    console.choose("orderType", "limit")
    cancelled = console.place(amount="1", limitPrice="1")
    console.row(cancelled).get_by_role("button", name="Cancel").click()
    waiting = console.place(amount="1", limitPrice="1")
    console.fill(amount="x")
    console.page.locator("#submit").click()
    expect(console.page.locator("#amount-error")).to_be_visible()
    for order_id, status in {failed: "failed", confirmed: "confirmed", cancelled: "cancelled", waiting: "wait"}.items():
        expect(console.status(order_id)).to_contain_text(status)

    assert console.page.evaluate(TOO_FAINT) == []
    dark = console.page.evaluate("getComputedStyle(document.body).backgroundColor").startswith("rgb(11,")
    assert dark == (scheme == "dark")
    console.timeline(confirmed)
    assert console.page.evaluate(TOO_FAINT) == []
    client.request("DELETE", f"/api/orders/{waiting}")


def test_nothing_moves_for_who_wants_less_motion(new_console: Callable[..., Console]) -> None:
    console = new_console(reduced_motion="reduce").open_live()
    console.place(amount="1")

    moving = "() => document.getAnimations().filter((animation) => animation.playState === 'running').length"
    assert console.page.evaluate(moving) == 0


# --- Its modules ---


@pytest.mark.parametrize(
    ("text", "places", "shifted"),
    [
        ("1.33E-7", 0, "0.000000133"),
        ("1E+3", 0, "1000"),
        ("2.5", -2, "0.025"),
        ("0.5", -2, "0.005"),
        ("100", -2, "1.00"),
        ("-12.75", 1, "-127.5"),
        ("007", 0, "7"),
        ("0.000", 0, "0.000"),
        ("123456789012345678901234567890.123456789", 0, "123456789012345678901234567890.123456789"),
        ("no number", -2, "no number"),
    ],
)
def test_a_point_is_moved_without_losing_a_digit(console: Console, text: str, places: int, shifted: str) -> None:
    move = "async ([text, places], load) => (await load('exact.js')).shifted(text, places)"

    assert console.run(move, [text, places]) == shifted


def test_json_is_read_with_the_digits_that_were_sent(console: Console) -> None:
    text = r'{"a":0.1000,"b":[1E-7,-2],"c":"1.50 \" 3.0 \\","d":{"4.2":true},"e":null,"f":12345678901234567890.5}'

    read = console.run("async (text, load) => (await load('exact.js')).parseExact(text)", text)

    assert read == {
        "a": "0.1000",
        "b": ["1E-7", "-2"],
        "c": '1.50 " 3.0 \\',
        "d": {"4.2": True},
        "e": None,
        "f": "12345678901234567890.5",
    }


def test_a_stream_asks_for_no_more_orders_than_a_connection_may_listen_to(
    new_console: Callable[..., Console],
) -> None:
    console = new_console().open_live()
    asked = console.run(
        """async (_, load) => {
            const { Stream } = await load("stream.js");
            const url = JSON.parse(document.querySelector("#settings").textContent).webSocketUrl;
            const sent = [];
            const wanted = Array.from({ length: 40 }, (_, index) => ({ orderId: `order ${index}`, seq: index }));
            const stream = new Stream({ url, most: 30, ticket: async () => null, wanted: () => wanted });
            WebSocket.prototype.send = (text) => sent.push(JSON.parse(text).orderId);
            stream.start();
            const live = (resolve) => () => stream.state === "live" && resolve();
            await new Promise((resolve) => stream.addEventListener("state", live(resolve)));
            stream.synchronize();
            stream.stop();
            return sent;
        }"""
    )

    assert asked == [f"order {number}" for number in range(30)]


# --- With tokens ---


@pytest.fixture(scope="module")
def token_issuer() -> Iterator[LocalIssuer]:
    with LocalIssuer() as running:
        yield running


@pytest.fixture(scope="module")
def secure(
    make_data_dir: Callable[[], Path], settings: dict[str, str], token_issuer: LocalIssuer
) -> Iterator[Deployed]:
    """A stack of its own, which asks for tokens."""
    environment = {**settings, **token_issuer.settings, "CONSOLE_CLIENT_ID": CLIENT_ID, "CORS_ORIGINS": ""}
    with Stack(port=0, data_dir=make_data_dir(), environment=environment) as running:
        yield on_this_machine(running)


@pytest.fixture
def secure_console(opened: Callable[..., Console], secure: Deployed) -> Callable[..., Console]:
    return lambda url=f"{secure.url}/", **options: opened(url, **options)


SECURE = pytest.mark.laptop("it starts a stack of its own, whose issuer of tokens runs on this machine")
STORED = "JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"


def use_token(console: Console, token: str) -> None:
    console.page.get_by_label("Access token").fill(token)
    console.page.get_by_role("button", name="Use this token").click()


@SECURE
def test_a_user_signs_in_at_the_issuer_and_trades(
    secure_console: Callable[..., Console], token_issuer: LocalIssuer, secure: Deployed
) -> None:
    token_issuer.signs_in = "ann"
    console = secure_console().open("?from=a+bookmark")
    expect(console.page.locator("#workspace")).to_be_hidden()
    console.page.get_by_role("button", name="Sign in", exact=True).click()

    expect(console.page.locator("#account-user")).to_have_text("ann")
    console.is_live()
    assert console.page.url == f"{secure.url}/"
    asked = token_issuer.sign_ins[-1]
    assert (asked["redirect_uri"], asked["scope"]) == (f"{secure.url}/", "openid")
    expect(console.page.locator("#orders-empty")).to_contain_text("No orders yet.")
    expect(console.page.locator("#userId")).to_be_hidden()
    order_id = console.place(amount="1")
    expect(console.status(order_id)).to_have_text("confirmed")
    assert console.page.evaluate(STORED) == '[{},{},""]'
    ann = Client(secure.url, secure.websocket_url, token_issuer.token("ann"))
    assert ann.get(f"/api/orders/{order_id}").body["userId"] == "ann"

    console.page.reload()
    expect(console.page.locator("#sign-in")).to_be_visible()


@SECURE
@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("?code=stolen&state=forged", "belongs to no sign-in of this tab"),
        ("?error=access_denied&error_description=Not+you&state=forged", "belongs to no sign-in of this tab"),
    ],
)
def test_an_answer_that_this_tab_did_not_ask_for_is_not_taken(
    secure_console: Callable[..., Console], token_issuer: LocalIssuer, secure: Deployed, query: str, why: str
) -> None:
    token_issuer.asked.clear()
    console = secure_console().open(query)

    expect(console.page.get_by_role("alert")).to_contain_text(why)
    assert console.page.url == f"{secure.url}/"
    assert "/token" not in token_issuer.asked


@SECURE
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"error": "access_denied", "error_description": "Not you."}, "Not you."),
        ({"iss": "https://evil.example"}, "This answer is from https://evil.example"),
        ({"code": "another"}, "The issuer gave no token: invalid_grant."),
    ],
    ids=["refused", "of another issuer", "with another code"],
)
def test_a_sign_in_that_goes_wrong_says_why_and_may_be_tried_again(
    secure_console: Callable[..., Console], secure: Deployed, changes: dict[str, str], why: str
) -> None:
    console = secure_console(expects={400})

    def change(route: Route) -> None:
        answer = route.fetch(max_redirects=0)
        address, _, query = answer.headers["location"].partition("?")
        route.fulfill(status=302, headers={"Location": f"{address}?{urlencode(dict(parse_qsl(query)) | changes)}"})

    console.open()
    console.page.route("**/authorize?*", change, times=1)
    console.page.get_by_role("button", name="Sign in", exact=True).click()
    expect(console.page.get_by_role("alert")).to_contain_text(why)
    assert console.page.url == f"{secure.url}/"
    assert console.page.evaluate(STORED) == '[{},{},""]'

    console.page.get_by_role("button", name="Sign in", exact=True).click()
    console.is_live()


@SECURE
def test_a_pasted_token_is_used_and_kept_nowhere(
    secure_console: Callable[..., Console], token_issuer: LocalIssuer
) -> None:
    console = secure_console().open()
    use_token(console, token_issuer.token("bob"))

    console.is_live()
    expect(console.page.locator("#account-user")).to_have_text("bob")
    order_id = console.place(amount="1")
    expect(console.status(order_id)).to_have_text("confirmed")
    assert console.page.evaluate(STORED) == '[{},{},""]'
    expect(console.page.locator("#token")).to_have_value("")

    console.page.get_by_role("button", name="Sign out").click()
    expect(console.page.locator("#sign-in")).to_be_visible()
    use_token(console, token_issuer.token("carol"))
    expect(console.page.locator("#orders-empty")).to_contain_text("No orders yet.")


@SECURE
@pytest.mark.parametrize("answered", [True, False], ids=["answered", "refused"])
def test_the_next_user_is_told_nothing_that_the_one_before_has_asked_for(
    secure_console: Callable[..., Console], token_issuer: LocalIssuer, secure: Deployed, answered: bool
) -> None:
    bob = token_issuer.token("bob")
    Client(secure.url, secure.websocket_url, bob).place(userId="bob")
    console = secure_console(expects={401}).open()
    held: list[Route] = []
    console.page.route("**/api/orders?*", lambda route: held.append(route), times=1)
    with console.page.expect_request("**/api/orders?*"):
        use_token(console, bob)
    console.page.get_by_role("button", name="Sign out").click()
    use_token(console, token_issuer.token("eve"))
    expect(console.page.locator("#orders-empty")).to_contain_text("No orders yet.")

    with console.page.expect_response(lambda answer: answer.request == held[0].request):
        if answered:
            held[0].continue_()
        else:
            held[0].fulfill(status=401, json={"status": 401, "detail": "It has expired."})
    with console.page.expect_response("**/api/orders?*"):
        pass  # to the next look

    expect(console.page.locator("#order-rows tr")).to_have_count(0)
    console.is_live()


@SECURE
def test_the_next_user_cannot_send_again_what_the_one_before_has_sent(
    secure_console: Callable[..., Console], token_issuer: LocalIssuer
) -> None:
    console = secure_console(expects={0}).open()
    use_token(console, token_issuer.token("bob"))
    console.is_live()
    console.page.route("**/api/orders", lambda route: route.abort(), times=1)
    console.page.get_by_label("Amount").fill("1")
    console.page.locator("#submit").click()
    expect(console.page.locator("#retry")).to_be_visible()

    console.page.get_by_role("button", name="Sign out").click()
    use_token(console, token_issuer.token("eve"))

    console.is_live()
    expect(console.page.locator("#retry")).to_be_hidden()


@SECURE
def test_a_token_that_is_not_good_is_said_to_be_so(secure_console: Callable[..., Console]) -> None:
    console = secure_console(expects={401}).open()
    use_token(console, "no token")

    expect(console.page.locator("#banner")).to_contain_text("Your session has expired")


@SECURE
def test_a_token_that_expires_leaves_what_is_on_the_screen_and_offers_to_sign_in_again(
    secure_console: Callable[..., Console], token_issuer: LocalIssuer
) -> None:
    console = secure_console(expects={401}).open()
    use_token(console, token_issuer.token("dora", exp=int(time.time()) + 30))
    console.is_live()
    order_id = console.place(amount="1")
    expect(console.status(order_id)).to_have_text("confirmed")

    expect(console.page.locator("#banner")).to_contain_text("Your session has expired")
    expect(console.page.locator("#connection-text")).to_have_text("Signed out")
    expect(console.row(order_id)).to_be_visible()
    token_issuer.signs_in = "dora"
    console.page.get_by_role("button", name="Sign in again").click()

    console.is_live()
    expect(console.status(order_id)).to_have_text("confirmed")
    expect(console.page.locator("#banner")).to_be_hidden()


@SECURE
def test_the_page_works_behind_a_stage(
    secure_console: Callable[..., Console], token_issuer: LocalIssuer, secure: Deployed
) -> None:
    stage = secure.target.addresses(secure.outputs).rest
    token_issuer.signs_in = "eve"
    console = secure_console(f"{stage}/").open()
    console.page.get_by_role("button", name="Sign in", exact=True).click()

    console.is_live()
    assert console.page.url == f"{stage}/"
    order_id = console.place(amount="1")
    expect(console.status(order_id)).to_have_text("confirmed")


# --- Where there is no browser ---


def test_a_browser_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    for name in ("google-chrome", "chromium-browser", "mine"):
        (tmp_path / name).touch(mode=0o755)

    assert find_chromium({"PATH": str(tmp_path)}) == str(tmp_path / "chromium-browser")
    assert find_chromium({"PATH": "", "CHROMIUM": str(tmp_path / "mine")}) == str(tmp_path / "mine")
    assert find_chromium({"PATH": str(tmp_path), "CHROMIUM": "/nowhere"}) is None
    assert find_chromium({"PATH": ""}) is None

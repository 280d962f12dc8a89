"""Make the README's pictures of the console anew: ``python -m tests.e2e.pictures``.

A stack of its own gets orders in every state, and a browser looks at them for long enough to draw a price.
"""

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from playwright.sync_api import Browser, expect

from chalicelib.venues.simulated.faults import REREAD_SECONDS
from infra.local.stack import OWN_SERVERS, Stack
from tests.e2e.browser import TO_INSTALL, Console, find_chromium, launched
from tests.e2e.client import Client

DOCS = Path(__file__).parents[2] / "docs"
LARGEST_PICTURE = 200_000
PRICE_SECONDS = 50
"""For how long the price is looked at before the picture is taken."""


@dataclass(frozen=True)
class Picture:
    """How a picture is taken; ``below`` is an element that it begins with, instead of the page's top."""

    name: str
    scheme: str
    width: int
    height: int
    below: str = ""
    options: tuple[tuple[str, Any], ...] = ()


PICTURES = (
    Picture("console.png", "light", 1440, 900),
    Picture("console-dark.png", "dark", 1440, 900),
    Picture("console-phone.png", "light", 390, 844, ".chart", (("is_mobile", True), ("has_touch", True))),
)


def main() -> int:
    """Write the pictures; returns the exit code."""
    executable = find_chromium(os.environ)
    if executable is None:
        print(TO_INSTALL, file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="engine-pictures-") as folder,
        Stack(port=0, data_dir=Path(folder), environment={**OWN_SERVERS, "USER_ORDER_RATE": "0"}) as stack,
        launched(executable) as browser,
    ):
        take_pictures(browser, stack)
    return 0


def take_pictures(browser: Browser, stack: Stack) -> None:
    """Place the orders and take all pictures of them at the same moment."""
    client = Client(stack.url, stack.websocket_url)
    consoles = [open_for(browser, stack.url, picture) for picture in PICTURES]
    place_orders_that_wait(client)
    consoles[0].page.wait_for_timeout(PRICE_SECONDS * 1000)
    place_orders_that_end(client, stack.database_url)
    misbehave(stack.database_url, "lands_late = 1")  # long enough to be seen on their way
    client.place(userId="ann", amount="4.2")
    client.place(userId="desk 7", side="buy", amount="2.75")
    expect(consoles[0].page.locator("tr[data-status=submitted]")).to_have_count(2)
    for picture, console in zip(PICTURES, consoles, strict=True):
        if picture.below:
            console.page.locator(picture.below).evaluate("part => scrollTo(0, part.offsetTop - 12)")
        file = DOCS / picture.name
        console.page.screenshot(path=file)
        print(f"{file.relative_to(DOCS.parent)}: {file.stat().st_size:,} bytes")
        assert file.stat().st_size < LARGEST_PICTURE, f"{file.name} is too large for a README"


def open_for(browser: Browser, url: str, picture: Picture) -> Console:
    viewport = {"width": picture.width, "height": picture.height}
    options = {"viewport": viewport, "color_scheme": picture.scheme, **dict(picture.options)}
    console = Console(browser, f"{url}/", **options).open_live()
    console.fill(amount="2.5")
    return console


def place_orders_that_end(client: Client, database_url: str) -> None:
    """Confirm, fail, cancel and expire some, one after the other: so they stand in the table."""
    client.watch(client.place(userId="bob", amount="12"))
    client.watch(client.place(userId="ann", tokenIn="BONK", tokenOut="USDC", amount="25000000"))
    soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    client.place(userId="bob", orderType="limit", amount="3", limitPrice="100", timeInForce="GTD", expiresAt=soon)
    client.watch(client.place(userId="bob", side="buy", amount="500000"))
    misbehave(database_url, "quote_fails = 1")
    retried = client.place(userId="desk 7", tokenIn="RAY", tokenOut="USDC", amount="120")
    with client.socket(orderId=retried) as socket:
        while socket.receive()["event"] != "retrying":
            pass
        misbehave(database_url, "quote_fails = 0")
        socket.events_until_end()
    client.watch(client.place(userId="bob", side="buy", amount="6.4"))
    dropped = client.place(userId="ann", orderType="limit", amount="1", limitPrice="120")
    client.request("DELETE", f"/api/orders/{dropped}")


def misbehave(database_url: str, how: str) -> None:
    """Have the simulated venues and their chain misbehave, and wait until every process has read of it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"UPDATE simulated_faults SET {how}")
    time.sleep(REREAD_SECONDS + 0.5)


def place_orders_that_wait(client: Client) -> None:
    """Place a limit order, a stop and a sniper that wait, the first two where the chart shows them."""
    quotes = client.get("/api/quotes", tokenIn="SOL", tokenOut="USDC", amount=1).body["quotes"].values()
    price = max(quote["netPrice"] for quote in quotes)
    near = [f"{round(price * share / 100, 1)}" for share in (96, 104)]
    client.place(userId="desk 7", orderType="sniper", tokenIn="WIF", tokenOut="USDC", amount="10000")
    client.place(userId="bob", orderType="stop", amount="40", triggerPrice=f"{round(price * 955 / 1000, 1)}")
    client.place(userId="ann", orderType="limit", side="sell", amount="12", limitPrice=near[1])
    client.place(userId="ann", orderType="limit", side="buy", amount="8.5", limitPrice=near[0])


if __name__ == "__main__":
    sys.exit(main())

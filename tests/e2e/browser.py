"""A real Chromium, and the console as somebody who sits before it has it."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

PATIENCE_MS = 30_000
NAMES = ("chromium", "chromium-browser", "google-chrome")
TO_INSTALL = "the console is tested in Chromium, and there is none: apt install chromium, or CHROMIUM=/path/to/it"
LOGGED_FOR_A_STATUS = re.compile("Failed to load resource|WebSocket connection to .* failed")
"""What Chromium logs for every answer that is an error, and every connection that fails."""

expect.set_options(timeout=PATIENCE_MS)


def find_chromium(environment: Mapping[str, str]) -> str | None:
    """Return the browser to test in: what ``CHROMIUM`` names, else the first that is installed."""
    named = environment.get("CHROMIUM")
    path = environment.get("PATH")
    return (
        shutil.which(named, path=path)
        if named
        else next(filter(None, (shutil.which(n, path=path) for n in NAMES)), None)
    )


@contextmanager
def launched(executable: str) -> Iterator[Browser]:
    """Start a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable)
        try:
            yield browser
        finally:
            browser.close()


class Console:
    """The console in a tab of its own.

    Attributes:
        errors: What the browser logged as an error, such as a breach of the page's policy, or a script that failed.
        refused: The answers that were errors, as ``(status, path)``; 0 where there was none.
        sent: The messages that the page sent over WebSockets.
    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        self.context = browser.new_context(locale="en-GB", timezone_id="UTC", **options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.errors: list[str] = []
        self.refused: list[tuple[int, str]] = []
        self.sent: list[str] = []
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("response", lambda answer: self._note_answer(answer.status, answer.url))
        self.page.on("requestfailed", lambda request: self._note_failure(request.failure, request.url))
        self.page.on("websocket", lambda socket: socket.on("framesent", self._note_frame))

    def _note_message(self, message: Any) -> None:
        if message.type in ("error", "warning") and not LOGGED_FOR_A_STATUS.match(message.text):
            self.errors.append(message.text)

    def _note_answer(self, status: int, url: str) -> None:
        if status >= 400:
            self.refused.append((status, urlsplit(url).path))

    def _note_failure(self, failure: str | None, url: str) -> None:
        if failure != "net::ERR_ABORTED":  # the page itself no longer wanted it
            self.refused.append((0, urlsplit(url).path))

    def _note_frame(self, payload: str | bytes) -> None:
        self.sent.append(str(payload))

    def open(self, query: str = "") -> Self:
        """Go to the page, and wait until it can be used."""
        self.page.goto(self.url + query)
        expect(self.page.locator("#workspace:visible, #sign-in:visible").first).to_be_visible()
        return self

    def open_live(self) -> Self:
        """Go to the page, and wait until it is connected."""
        self.open()
        self.is_live()
        return self

    def is_live(self) -> None:
        """Wait until the stream is connected."""
        expect(self.page.locator("#connection-text")).to_have_text("Live")

    def choose(self, name: str, value: str) -> None:
        """Choose a type of order, or a side."""
        self.page.locator(f"input[name={name}][value={value}]").check()

    def fill(self, **fields: str) -> None:
        """Fill in the ticket."""
        for name, value in fields.items():
            field = self.page.locator(f"#ticket [name={name}]")
            if field.evaluate("field => field.tagName") == "SELECT":
                field.select_option(value)
            else:
                field.fill(value)

    def place(self, **fields: str) -> str:
        """Fill in the ticket, send it, and return the order's id."""
        self.fill(**fields)
        with self.page.expect_response(
            lambda answer: answer.request.method == "POST" and answer.url.endswith("/api/orders")
        ) as answer:
            self.page.locator("#submit").click()
        placed = answer.value.json()
        assert "orderId" in placed, placed
        order_id: str = placed["orderId"]
        return order_id

    def row(self, order_id: str) -> Locator:
        """Return an order's row, or card."""
        return self.page.locator(f'tr[data-order="{order_id}"]')

    def status(self, order_id: str) -> Locator:
        """Return where an order is, in words."""
        return self.row(order_id).locator(".status")

    def timeline(self, order_id: str) -> Locator:
        """Open an order's timeline."""
        self.row(order_id).locator("button.link").click()
        dialog = self.page.locator("dialog[open]")
        expect(dialog).to_be_visible()
        return dialog

    def run(self, script: str, argument: Any = None) -> Any:
        """Run a function in the page; ``load`` gives it a module of the console."""
        load = "name => import(new URL(name, document.querySelector('script[src]').src))"
        return self.page.evaluate(f"argument => ({script})(argument, {load})", argument)

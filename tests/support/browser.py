"""A real browser for the tests: Chromium of the system, driven by Playwright."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.programs import need

OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MS = 20_000
WIDE = {"width": 1280, "height": 800}
NARROW = {"width": 390, "height": 844}


def browser_program() -> str:
    """Give the path of a browser; without one, skip on a laptop and fail in CI."""
    return need("chromium")


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Run a browser inside."""
    program = browser_program()
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """BrokerClient with a tab of their own, whose console and requests are kept.

    Attributes:
        page: the tab.
        refusals: statuses that the service is expected to answer with: a browser's console calls each an error.
        errors: what went wrong in the tab: exceptions, what the console calls an error, what the policy has blocked.
        asked: the addresses of all requests.

    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        """Open a tab; `options` are Playwright's of a context."""
        self._url = url
        self._context = browser.new_context(
            **{"base_url": url, "viewport": WIDE, "reduced_motion": "reduce", "locale": "en-GB", **options}
        )
        self.page = self._context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.refusals: tuple[int, ...] = ()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda request: self.asked.append(request.url))

    def leave(self) -> None:
        """Close the tab, in which nothing went wrong, and which asked nobody but the service."""
        self._context.close()
        expected = [f"the server responded with a status of {status} " for status in self.refusals]
        assert [said for said in self.errors if not any(each in said for each in expected)] == []
        assert [url for url in self.asked if not url.startswith(f"{self._url}/")] == []

    def open(self, path: str = "/") -> Page:
        """Go to a page of the service, and wait until its figures are there."""
        self.page.goto(path)
        return self.updated()

    def updated(self) -> Page:
        """Wait until the page has shown all that it asked for."""
        self.page.locator("#updated", has_text="Updated").wait_for()
        self.page.locator("[aria-busy=true]").first.wait_for(state="detached")
        return self.page

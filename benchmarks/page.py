"""The page in a browser, with a year of a large fleet: the time to first paint, and until all figures are shown."""

from collections.abc import Callable
from statistics import median

from playwright.sync_api import Browser, sync_playwright

from benchmarks.filling import fill
from benchmarks.load import START_S
from benchmarks.rounds import Options, in_turn
from benchmarks.service import Service
from benchmarks.table import Row
from power_cli.programs import find
from power_cli.up import HOST
from shared.domain.errors import Unavailable

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")
WANTED_MS = 1000
FIRST_PAINT_MS = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
NOW_MS = "performance.now()"


def measure(options: Options) -> list[Row]:
    """Measure milliseconds until the first paint, with an empty browser cache."""
    program = find("chromium", "chromium-browser", "google-chrome")
    if program is None:
        raise Unavailable("no Chromium is installed")
    ships, days = options.size(1000, 100), options.size(365, 30)
    empty, full = options.new_place(), options.new_place()
    fill(full, ships, days, START_S)
    all_ms: list[float] = []
    with sync_playwright() as playwright, Service(empty) as none, Service(full) as fleet:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        painted, bare = in_turn(
            options.size(10, 4),
            _painted_ms(browser, fleet, all_ms),
            _painted_ms(browser, none, []),
        )
        browser.close()
    took_ms, bare_ms = median(painted), median(bare)
    return [
        Row(
            f"the page's first paint, {ships:,} ships x {days} days",
            f"{took_ms:.0f} ms (all figures: {median(all_ms[1:]):.0f} ms)",
            f"the same of an empty service: {bare_ms:.0f} ms",
            took_ms / bare_ms,
            f"under {WANTED_MS} ms",
            holds=took_ms < WANTED_MS,
            samples={"ms": painted, "empty service ms": bare, "all figures ms": all_ms[1:]},
        )
    ]


def _painted_ms(browser: Browser, service: Service, all_ms: list[float]) -> Callable[[], float]:
    """Return a function that opens the page and returns its first paint; the time to all figures goes to `all_ms`."""

    def open_page() -> float:
        page = browser.new_page()
        page.goto(f"http://{HOST}:{service.port}/")
        page.locator("#updated", has_text="Updated").wait_for(timeout=60_000)
        all_ms.append(float(page.evaluate(NOW_MS)))
        painted_ms = float(page.evaluate(FIRST_PAINT_MS))
        page.close()
        return painted_ms

    return open_page

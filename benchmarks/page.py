"""The page in a browser, with a year of a large fleet behind it: how soon something is to be seen, and all of it."""

import shutil
from collections.abc import Callable
from statistics import median

import numpy as np
from playwright.sync_api import Browser, sync_playwright
from tqdm import tqdm

from benchmarks.databases import Place, open_store_in
from benchmarks.load import DAY_S, START_S
from benchmarks.rounds import Options, in_turn
from benchmarks.service import Service
from benchmarks.table import Row
from power_cli.up import HOST
from shared.domain.errors import Unavailable
from shared.domain.readings import Readings
from shared.domain.slots import SLOT_S, Slots
from shared.domain.timestamps import US_PER_S

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")
WANTED_MS = 1000
FIRST_PAINT_MS = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
NOW_MS = "performance.now()"
WITH_READINGS_DAYS = 2


def measure(options: Options) -> list[Row]:
    """Measure milliseconds from the click until something is painted, in a browser that has nothing of it yet."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise Unavailable("no Chromium is installed")
    ships, days = options.size(1000, 100), options.size(365, 30)
    empty, full = options.new_place(), options.new_place()
    _fill(full, ships, days)
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
            f"of an empty service: {bare_ms:.0f} ms",
            took_ms / bare_ms,
            f"under {WANTED_MS} ms",
            holds=took_ms < WANTED_MS,
            samples={"ms": painted, "empty service ms": bare, "all figures ms": all_ms[1:]},
        )
    ]


def _painted_ms(browser: Browser, service: Service, all_ms: list[float]) -> Callable[[], float]:
    """Make what opens the page once and tells its first paint; until when all was shown goes to `all_ms`."""

    def look() -> float:
        page = browser.new_page()
        page.goto(f"http://{HOST}:{service.port}/")
        page.locator("#updated", has_text="Updated").wait_for(timeout=60_000)
        all_ms.append(float(page.evaluate(NOW_MS)))
        painted_ms = float(page.evaluate(FIRST_PAINT_MS))
        page.close()
        return painted_ms

    return look


def _fill(place: Place, ships: int, days: int) -> None:
    """Put slots straight into a store, a day at a time, and the readings of the last of them."""
    store, rng = open_store_in(place), np.random.default_rng(ships)
    a_day = DAY_S // SLOT_S
    n = ships * a_day
    ship, no = np.repeat(np.arange(ships), a_day), np.zeros(n, np.bool_)
    for day in tqdm(range(days), desc=f"storing {ships:,} ships", unit="day", leave=False):
        start_s = START_S + day * DAY_S + np.tile(np.arange(a_day) * SLOT_S, ships)
        slots = Slots(ship, start_s, rng.uniform(0, 800, n), np.full(n, float(SLOT_S)), no)
        with store.transaction():
            if day >= days - WITH_READINGS_DAYS:
                kind, sent_at_us = np.zeros(n, np.int8), np.zeros(n, np.int64)
                store.put_readings(Readings(ship, start_s * US_PER_S, 4 * slots.kwh, kind, sent_at_us))
            store.put_slots(slots, slots.emptied())
    store.close()

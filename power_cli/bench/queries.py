"""The query service: a year of one ship, and the fleet's answers with few ships and with many."""

import json
import sqlite3
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

from power_cli.bench.load import DAY_S, START_S
from power_cli.bench.rounds import Options, in_turn, milliseconds
from power_cli.bench.service import Service
from power_cli.bench.table import Row
from shared.moments import US_PER_S, iso
from shared.slots import SLOT_S, Slots
from shared.store.sqlite import FILE_NAME, SqliteStore

WANTED_YEAR_MS = 150
WANTED_FLEET_MS = 300
WANTED_GROWTH = 1.5
MONTH_DAYS = 30
SLOTS_PER_DAY = DAY_S // SLOT_S


def measure(options: Options) -> list[Row]:
    """Measure milliseconds until the whole answer is there."""
    return [_year(options), *_fleet(options)]


def _year(options: Options) -> Row:
    days = options.size(365, 90)
    folder = options.new_folder()
    _fill(folder, ships=1, days=days)
    bare = sqlite3.connect(folder / FILE_NAME)

    def select_and_dump() -> None:
        json.dumps(bare.execute("SELECT start_s, kwh FROM energy WHERE ship = 0 ORDER BY start_s").fetchall())

    with Service(folder) as service:
        path = f"/data?spaceship_id=0&{_window(days)}"
        ours, theirs = in_turn(
            options.size(20, 10),
            lambda: milliseconds(lambda: service.get(path)),
            lambda: milliseconds(select_and_dump),
        )
    bare.close()
    took_ms, bare_ms = median(ours), median(theirs)
    return Row(
        f"GET /data, {days * SLOTS_PER_DAY:,} slots of one ship",
        f"{took_ms:.0f} ms",
        f"bare SQLite SELECT and json.dumps of the same rows: {bare_ms:.0f} ms",
        took_ms / bare_ms,
        f"under {WANTED_YEAR_MS} ms",
        holds=took_ms < WANTED_YEAR_MS,
        samples={"ms": ours, "bare SQLite ms": theirs},
    )


def _fleet(options: Options) -> list[Row]:
    """Ask two services, one with few ships and one with many, in turn."""
    few, many = options.size(100, 20), options.size(1000, 200)
    folders = {ships: options.new_folder() for ships in (few, many)}
    for ships, folder in folders.items():
        _fill(folder, ships, MONTH_DAYS)
    paths = {
        f"GET /data/fleet over {MONTH_DAYS} days": f"/data/fleet?{_window(MONTH_DAYS)}",
        "GET /topusers over all time": "/topusers",
    }
    with Service(folders[few]) as small, Service(folders[many]) as large:
        services = {few: small, many: large}
        return [_growth(what, path, services, options.size(30, 10)) for what, path in paths.items()]


def _growth(what: str, path: str, services: dict[int, Service], rounds: int) -> Row:
    (fewer, small), (more, large) = services.items()
    few_ms, many_ms = in_turn(
        rounds,
        lambda: milliseconds(lambda: small.get(path)),
        lambda: milliseconds(lambda: large.get(path)),
    )
    few, many = median(few_ms), median(many_ms)
    return Row(
        f"{what}, {more:,} ships x {MONTH_DAYS * SLOTS_PER_DAY:,} slots",
        f"{many:.1f} ms",
        f"the same with {fewer:,} ships: {few:.1f} ms",
        many / few,
        f"under {WANTED_FLEET_MS} ms, {WANTED_GROWTH}x",
        holds=many < WANTED_FLEET_MS and many <= WANTED_GROWTH * few,
        samples={"ms": many_ms, "few ships ms": few_ms},
    )


def _window(days: int) -> str:
    return f"start={iso(START_S * US_PER_S)}&end={iso((START_S + days * DAY_S) * US_PER_S)}"


def _fill(folder: Path, ships: int, days: int) -> None:
    """Put a store's slots straight into it, a day at a time."""
    store, rng = SqliteStore(folder), np.random.default_rng(ships)
    n = ships * SLOTS_PER_DAY
    for day in tqdm(range(days), desc=f"storing {ships:,} ships", unit="day", leave=False):
        start_s = START_S + day * DAY_S + np.tile(np.arange(SLOTS_PER_DAY) * SLOT_S, ships)
        ship = np.repeat(np.arange(ships), SLOTS_PER_DAY)
        slots = Slots(ship, start_s, rng.uniform(0, 800, n), np.full(n, float(SLOT_S)), np.zeros(n, np.bool_))
        with store.transaction():
            store.put_slots(slots, slots.emptied())
    store.close()

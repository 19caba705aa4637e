"""The query service: a year of one ship, forecasts from it, and the fleet's answers with few ships and with many."""

import time
from statistics import median

import numpy as np
from tqdm import tqdm

from benchmarks.databases import Place, open_store_in
from benchmarks.load import DAY_S, START_S
from benchmarks.rounds import Options, in_turn, milliseconds
from benchmarks.service import Service
from benchmarks.table import Row
from shared.domain.readings import Readings
from shared.domain.slots import SLOT_S, SLOT_US, Slots
from shared.domain.timestamps import US_PER_S, iso

MONTH_DAYS = 30
FORECAST_MS = 1000
REPEATED_MS = 50
SLOTS_PER_DAY = DAY_S // SLOT_S


def measure(options: Options) -> list[Row]:
    """Measure milliseconds until the whole answer is there."""
    return [*_year(options), *_fleet(options)]


def _year(options: Options) -> list[Row]:
    days, wanted_ms = options.size(365, 90), options.database.goals.year_ms
    place = options.new_place()
    _fill(place, ships=1, days=days)
    bare = place.bare()
    with Service(place) as service:
        path = f"/data?spaceship_id=0&{_window(days)}"
        ours, theirs = in_turn(
            options.size(20, 10),
            lambda: milliseconds(lambda: service.get(path)),
            lambda: milliseconds(bare.year),
        )
        forecasts = _forecasts(options, service, path, days)
    bare.close()
    took_ms, bare_ms = median(ours), median(theirs)
    year = Row(
        f"GET /data, {days * SLOTS_PER_DAY:,} slots of one ship",
        f"{took_ms:.0f} ms",
        f"{bare.reads}: {bare_ms:.0f} ms",
        took_ms / bare_ms,
        f"under {wanted_ms} ms",
        holds=took_ms < wanted_ms,
        samples={"ms": ours, f"{bare.reads} ms": theirs},
    )
    return [year, *forecasts]


def _forecasts(options: Options, service: Service, path: str, days: int) -> list[Row]:
    """Forecast a day from all of it: each time another one, and then the same one again."""
    starts_us = iter(range((START_S + days * DAY_S) * US_PER_S, 2**63, SLOT_US))

    def of_day(start_us: int) -> str:
        return f"/forecast?spaceship_id=0&start={iso(start_us)}&end={iso(start_us + DAY_S * US_PER_S)}"

    service.get(again := of_day(next(starts_us)))
    first, repeated, read = in_turn(
        options.size(20, 10),
        lambda: milliseconds(lambda: service.get(of_day(next(starts_us)))),
        lambda: milliseconds(lambda: service.get(again)),
        lambda: milliseconds(lambda: service.get(path)),
    )
    read_ms = median(read)
    return [
        Row(
            f"GET /forecast of a day, {which} answer, {days * SLOTS_PER_DAY:,} slots of history",
            f"{median(took):.0f} ms",
            f"GET /data of them: {read_ms:.0f} ms",
            median(took) / read_ms,
            f"under {wanted_ms:,} ms",
            holds=median(took) < wanted_ms,
            samples={"ms": took, "GET /data ms": read},
        )
        for which, took, wanted_ms in (("first", first, FORECAST_MS), ("repeated", repeated, REPEATED_MS))
    ]


def _fleet(options: Options) -> list[Row]:
    """Ask two services, one with few ships and one with many, in turn."""
    few, many = options.size(100, 20), options.size(1000, 200)
    start_s = (int(time.time()) // DAY_S - MONTH_DAYS + 1) * DAY_S  # a fleet that reports today
    places = {ships: options.new_place() for ships in (few, many)}
    for ships, place in places.items():
        _fill(place, ships, MONTH_DAYS, start_s)
    goals, rounds = options.database.goals, options.size(30, 10)
    month = _window(MONTH_DAYS, start_s)
    paths = {
        f"GET /data/fleet over {MONTH_DAYS} days": f"/data/fleet?{month}",
        "GET /topusers over all time": "/topusers",
    }
    if goals.top_of_month:
        paths[f"GET /topusers over {MONTH_DAYS} days"] = f"/topusers?{month}"
    with Service(places[few]) as small, Service(places[many]) as large:
        services = {few: small, many: large}
        answers = [
            _growth(what, path, services, rounds, wanted_ms=goals.fleet_ms, growth=goals.growth)
            for what, path in paths.items()
        ]
        return [*answers, _growth("GET /ships", "/ships", services, rounds, wanted_ms=goals.ships_ms, growth=None)]


def _growth(  # noqa: PLR0913  # a row has so much to say
    what: str, path: str, services: dict[int, Service], rounds: int, *, wanted_ms: int, growth: float | None
) -> Row:
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
        f"under {wanted_ms} ms" + (f", {growth}x" if growth else ""),
        holds=many < wanted_ms and (growth is None or many <= growth * few),
        samples={"ms": many_ms, "few ships ms": few_ms},
    )


def _window(days: int, start_s: int = START_S) -> str:
    return f"start={iso(start_s * US_PER_S)}&end={iso((start_s + days * DAY_S) * US_PER_S)}"


def _fill(place: Place, ships: int, days: int, start_s: int = START_S) -> None:
    """Put a store's slots straight into it, a day at a time, and the readings of the first and the last day."""
    store, rng = open_store_in(place), np.random.default_rng(ships)
    n = ships * SLOTS_PER_DAY
    for day in tqdm(range(days), desc=f"storing {ships:,} ships", unit="day", leave=False):
        moment_s = start_s + day * DAY_S + np.tile(np.arange(SLOTS_PER_DAY) * SLOT_S, ships)
        ship, kwh, none = np.repeat(np.arange(ships), SLOTS_PER_DAY), rng.uniform(0, 800, n), np.zeros(n, np.bool_)
        slots = Slots(ship, moment_s, kwh, np.full(n, float(SLOT_S)), none)
        with store.transaction():
            if day in (0, days - 1):
                kind, sent_at_us = np.zeros(n, np.int8), np.zeros(n, np.int64)
                store.put_readings(Readings(ship, moment_s * US_PER_S, 4 * kwh, kind, sent_at_us))
            store.put_slots(slots, slots.emptied())
    store.close()

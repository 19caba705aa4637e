"""The query service: a year of one ship, its forecasts, and fleet answers with few and with many ships."""

import json
import time
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks.databases import BareClient
from benchmarks.encoders import ENCODERS
from benchmarks.filling import fill
from benchmarks.load import DAY_S, START_S
from benchmarks.rounds import Options, in_turn, milliseconds
from benchmarks.service import Service
from benchmarks.table import Row
from shared.domain.clock import now_us
from shared.domain.slots import SLOT_S, SLOT_US
from shared.domain.timestamps import US_PER_S, iso

MONTH_DAYS = 30
YEAR_RATIO = 1.3
"""How much longer than the baseline a year may take."""
PAGE, PAGE_GROWTH = 100, 2
"""A page of ships, and how much longer it may take in a fleet of ten times as many."""
FORECAST_MS = 1000
REPEATED_MS = 50
STORED_LIMIT_S = 30
SLOTS_PER_DAY = DAY_S // SLOT_S


def measure(options: Options) -> list[Row]:
    """Measure milliseconds until the whole answer has arrived."""
    return [*_year(options), *_fleet(options)]


def _year(options: Options) -> list[Row]:
    days = options.size(365, 90)
    place = options.new_place()
    fill(place, 1, days, START_S)
    bare = place.bare_client()
    with Service(place) as service:
        path = f"/data?spaceship_id=0&{_window(days)}"
        years = [_year_as(options, form, service, path, bare, days) for form in ENCODERS]
        forecasts = _forecasts(options, service, path, days)
    bare.close()
    return [*years, *forecasts]


def _year_as(  # noqa: PLR0913, PLR0917  # the parts of a row
    options: Options, form: str, service: Service, path: str, bare: BareClient, days: int
) -> Row:
    encoder, wanted_ms = ENCODERS[form], options.database.goals.year_ms
    ours, theirs = in_turn(
        options.size(20, 10),
        lambda: milliseconds(lambda: service.get(f"{path}&format={form}")),
        lambda: milliseconds(lambda: encoder.encode(bare.year())),
    )
    took_ms, bare_ms = median(ours), median(theirs)
    baseline = f"{bare.reads} and {encoder.name} of the same rows"
    return Row(
        f"GET /data as {form}, {days * SLOTS_PER_DAY:,} slots of one ship",
        f"{took_ms:.0f} ms",
        f"{baseline}: {bare_ms:.0f} ms",
        took_ms / bare_ms,
        f"under {wanted_ms} ms, {YEAR_RATIO}x",
        holds=took_ms < wanted_ms and took_ms <= YEAR_RATIO * bare_ms,
        samples={"ms": ours, f"{baseline} ms": theirs},
    )


def _forecasts(options: Options, service: Service, path: str, days: int) -> list[Row]:
    """Measure forecasts of a day from the whole history: of a new day each time, and of the same day again."""
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
    """Query two services in turn, one with few ships and one with many."""
    few, many = options.size(100, 20), options.size(1000, 200)
    start_s = (int(time.time()) // DAY_S - MONTH_DAYS + 1) * DAY_S  # a fleet that reports today
    places = {ships: options.new_place() for ships in (few, many)}
    for ships, place in places.items():
        fill(place, ships, MONTH_DAYS, start_s)
    goals, month = options.database.goals, _window(MONTH_DAYS, start_s)
    top = {"GET /topusers over all time": "/topusers"}
    if goals.top_of_month:
        top[f"GET /topusers over {MONTH_DAYS} days"] = f"/topusers?{month}"
    # A reading for one of two services on the same broker may reach the other one's workers.
    changed = {} if places[few].mqtt_port else top
    with Service(places[few]) as small, Service(places[many]) as large:
        fleets = _Fleets({few: small, many: large}, options.size(30, 10))
        fleet = f"GET /data/fleet over {MONTH_DAYS} days"
        page, all_ships = f"GET /ships, the first {PAGE} ships", "GET /ships, all ships"
        return [
            fleets.row(fleet, f"/data/fleet?{month}", goals.fleet_ms, goals.growth),
            *(fleets.row(what, path, goals.top_ms, goals.top_growth) for what, path in top.items()),
            *(
                fleets.row(f"{what}, one of today's slots new", path, goals.top_ms, goals.top_growth, changes=True)
                for what, path in changed.items()
            ),
            fleets.row(page, f"/ships?limit={PAGE}", goals.page_ms, PAGE_GROWTH),
            fleets.row(all_ships, "/ships", goals.ships_ms, None),
        ]


@dataclass(frozen=True, slots=True)
class _Fleets:
    """Two services, by how many ships they have, that are queried in turn."""

    services: dict[int, Service]
    rounds: int

    def row(self, what: str, path: str, wanted_ms: int, growth: float | None, *, changes: bool = False) -> Row:
        """Measure a query, with `changes` each time after a reading has been stored."""
        few_ms, many_ms = in_turn(
            self.rounds, *(partial(_took_ms, each, path, changes=changes) for each in self.services.values())
        )
        return _growth(what, tuple(self.services), few_ms, many_ms, wanted_ms=wanted_ms, growth=growth)


def _took_ms(service: Service, path: str, *, changes: bool) -> float:
    if changes:
        reading = {"datetime": iso(now_us()), "value": time.perf_counter()}
        body = json.dumps({"spaceship_id": 0, "units": "kW", "data": [reading]}).encode()
        service.post(body, Prefer=f"wait={STORED_LIMIT_S}")
    return milliseconds(lambda: service.get(path))


def _growth(  # noqa: PLR0913  # the parts of a row
    what: str,
    ships: tuple[int, ...],
    few_ms: list[float],
    many_ms: list[float],
    *,
    wanted_ms: int,
    growth: float | None,
) -> Row:
    fewer, more = ships
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

"""GET /ships, /ships/{spaceship_id} and its raw readings: who reports, how often, how well, and since when not."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from statistics import median

from flask import Response, request
from prometheus_client import Counter
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import NotFound

from query_api.answers.heavy import HeavyAnswers
from query_api.answers.rows import number
from query_api.interface.ships import (
    READINGS,
    SHIP,
    SHIPS,
    ReadingRow,
    ReadingsParameters,
    ShipPath,
    ShipRow,
    ShipsParameters,
)
from shared.domain.clock import AHEAD_US
from shared.domain.clock import now_us as wall_clock_us
from shared.domain.errors import Unavailable
from shared.domain.readings import UNITS, Readings
from shared.domain.slots import Window, slot_ceil_us
from shared.domain.timestamps import LAST_US, US_PER_S, iso
from shared.http.app import Routes
from shared.http.parameters import Parameters, parse
from shared.store.port import EnergyReader, ShipHistory

DAY_S = 86_400
MONTH_S = 30 * DAY_S
FEW_SHIPS, FEW_READINGS = 100, 10_000
"""Pages up to here are light."""


def routes(
    store: EnergyReader,
    errors: Counter,
    heavy: HeavyAnswers | None = None,
    now_us: Callable[[], int] = wall_clock_us,
) -> Routes:
    """Build the routes over a store.

    Args:
        store: where to look.
        errors: counts where it is `Unavailable`.
        heavy: bounds the heavy answers: long pages.
        now_us: the clock, microseconds since 1970.

    """
    heavy = heavy or HeavyAnswers()
    routes = Routes("ships", __name__, needs="read")
    counted = errors.count_exceptions(Unavailable)

    @routes.serves(SHIPS)
    @counted
    def ships() -> Response:
        asked = parse(ShipsParameters, request.args)
        now = now_us()
        with heavy.turn(request) if asked.limit > FEW_SHIPS else nullcontext():
            after = -1 if asked.after is None else asked.after
            page = store.ships(after, asked.limit, _windows(now), now + AHEAD_US)
        return _json({"ships": [ship_row(each, now) for each in page.ships], "next": page.next})

    @routes.serves(SHIP)
    @counted
    def ship(spaceship_id: str) -> Response:
        asked, now = _of_ship(ShipPath, spaceship_id), now_us()
        return _json(ship_row(_known(store, asked.spaceship_id, _windows(now), now), now))

    @routes.serves(READINGS)
    @counted
    def readings(spaceship_id: str) -> Response:
        asked = _of_ship(ReadingsParameters, spaceship_id)
        end_us = LAST_US + 1 if asked.end is None else asked.end
        with heavy.turn(request) if asked.limit > FEW_READINGS else nullcontext():
            found = store.readings(asked.spaceship_id, asked.start or 0, end_us, asked.limit + 1)
            rows = reading_rows(found[: asked.limit])
        if not len(found):
            _known(store, asked.spaceship_id, (), now_us())
        following = iso(int(found.moment_us[-1])) if len(found) > asked.limit else None
        return _json({"spaceship_id": asked.spaceship_id, "data": rows, "next": following})

    return routes


def ship_row(ship: ShipHistory, now_us: int) -> ShipRow:
    """Tell of a ship whose energy was asked for over `_windows`."""
    steps_us = [after - before for before, after in pairwise(ship.newest_us)]
    last_us = ship.newest_us[-1] if ship.newest_us else None
    energy_24h, energy_30d = (None if kwh is None else number(kwh) for kwh in ship.kwh)
    return {
        "spaceship_id": ship.ship,
        "first_reading": iso(ship.first_us),
        "last_reading": None if last_us is None else iso(last_us),
        "ahead": None if ship.ahead_us is None else iso(ship.ahead_us),
        "cadence": number(median(steps_us) / US_PER_S) if steps_us else None,
        "energy_24h": energy_24h,
        "energy_30d": energy_30d,
        "whole_share": number(min(ship.whole / ship.slots, 1.0)) if ship.slots else None,  # one may have come meanwhile
        "silent_for": None if last_us is None else number(max(now_us - last_us, 0) / US_PER_S),
    }


def reading_rows(readings: Readings) -> list[ReadingRow]:
    """Give one row per reading, its value as it was sent."""
    columns = (readings.moment_us, readings.value, UNITS[readings.kind], readings.sent_at_us)
    return [
        {
            "datetime": iso(moment_us),
            "value": int(value) if value.is_integer() else value,
            "units": units,
            "sent_at": iso(sent_at_us),
        }
        for moment_us, value, units, sent_at_us in zip(*(each.tolist() for each in columns), strict=True)
    ]


def _windows(now_us: int) -> tuple[Window, Window]:
    """Give the last day and the last thirty, up to the end of the present slot."""
    end_s = slot_ceil_us(now_us) // US_PER_S
    return Window(end_s - DAY_S, end_s), Window(end_s - MONTH_S, end_s)


def _of_ship(model: type[Parameters], spaceship_id: str) -> Parameters:
    return parse(model, MultiDict([*request.args.items(multi=True), ("spaceship_id", spaceship_id)]))


def _known(store: EnergyReader, ship: int, windows: tuple[Window, ...], now_us: int) -> ShipHistory:
    found = store.ships(ship - 1, 1, windows, now_us + AHEAD_US).ships
    if not found or found[0].ship != ship:
        raise NotFound("Nobody has heard of that ship.")
    return found[0]


def _json(answer: object) -> Response:
    return Response(json.dumps(answer, separators=(",", ":")), mimetype="application/json")

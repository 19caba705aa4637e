"""GET /ships, /ships/{spaceship_id} and /ships/{spaceship_id}/readings: which ships report, and their raw readings."""

from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from math import isnan
from statistics import median
from typing import (
    Annotated,
    Literal,
    NotRequired,  # pydantic requires it before Python 3.12
)

import numpy as np
from flask import Response, request
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import NotFound

from query_api.answers.heavy import HeavyAnswers
from query_api.answers.rows import json_response, number
from query_api.answers.warnings import warnings
from query_api.forecast.accuracy import Accuracies
from query_api.routes.forecast_accuracy import shares
from query_api.routes.parameters import Bounds, ShipId, ShipPath
from shared.contract.acceptance import MAX_AHEAD_US
from shared.domain.clock import now_us as wall_clock_us
from shared.domain.columns import rows
from shared.domain.errors import Unavailable
from shared.domain.readings import PLAIN, UNITS, Kind, Readings
from shared.domain.slots import Window, slot_ceil_us
from shared.domain.timestamps import LAST_US, US_PER_S, iso
from shared.http.app import Routes
from shared.http.openapi import JSON, Answer, Operation, Timestamp, problem
from shared.http.parameters import DIGITS, Parameters, parse
from shared.store.port import NEWEST, EnergyReader, ShipHistory

DAY_S = 86_400
MONTH_S = 30 * DAY_S
MAX_SHIPS = 10_000
MAX_READINGS = 100_000
FEW_SHIPS, FEW_READINGS = 100, 10_000
"""Pages of more are heavy answers."""


class ShipsParameters(BaseModel):
    """A page of the list of ships."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: ShipId | None = Field(
        None, description="Only ships with a greater id: pass `next` of the previous page to get the next one."
    )
    limit: Annotated[int, Field(ge=1, le=MAX_SHIPS, description="Length of a page."), DIGITS] = 1000


class ReadingsQuery(Bounds):
    """A page of readings."""

    limit: Annotated[int, Field(ge=1, le=MAX_READINGS, description="Length of a page."), DIGITS] = 1000


class ReadingsParameters(ShipPath, ReadingsQuery):
    """A page of one ship's readings."""


class ShipRow(TypedDict):
    """The state of a ship."""

    spaceship_id: int
    first_reading: Timestamp
    last_reading: Annotated[Timestamp | None, Field(description="up to now; null if all its readings are later")]
    ahead: Annotated[
        Timestamp | None,
        Field(description="its newest reading more than 15 minutes ahead of now, from a wrong clock; usually null"),
    ]
    cadence: Annotated[float | None, Field(description="median seconds between its newest readings")]
    energy_24h: Annotated[float | None, Field(description="kWh in the last day; null if none of it is known")]
    energy_30d: Annotated[float | None, Field(description="kWh in the last 30 days; null if none of it is known")]
    whole_share: Annotated[
        float | None, Field(description="share of completely covered slots, from the first slot to the last up to now")
    ]
    silent_for: Annotated[float | None, Field(description="seconds since its last reading")]


class ForecastAccuracy(TypedDict):
    """How good the forecasts of a ship's last 30 days were."""

    days: Annotated[int, Field(description="how many of these days count")]
    wape: Annotated[float | None, Field(description="sum of absolute errors over the sum of energy; null if none")]
    coverage: Annotated[float, Field(description="share of days in their interval")]


class ShipState(ShipRow):
    """The state of a ship, how good its forecasts were, and what looks wrong."""

    forecast_accuracy: Annotated[ForecastAccuracy | None, Field(description="compared once a day; null until then")]
    warnings: NotRequired[
        Annotated[list[str], Field(description="about its newest readings; left out if there are none")]
    ]


class Ships(TypedDict):
    """Ships in the order of their ids."""

    ships: list[ShipRow]
    next: Annotated[int | None, Field(description="`after` of the next page; null on the last page")]


Stated = Annotated[float, Field(description="where it was stated")]


class ReadingRow(TypedDict):
    """A reading as it is stored."""

    datetime: Timestamp
    value: Annotated[float | None, Field(description="null: unknown")]
    units: Literal["kW", "kWh"]
    sent_at: Timestamp
    kind: NotRequired[
        Annotated[
            str,
            Field(description="line, mean, energy_end, counter or unknown; left out where it is what the unit says"),
        ]
    ]
    duration_s: NotRequired[Stated]
    max_gap_s: NotRequired[Stated]
    rollover: NotRequired[Stated]


class ShipReadings(TypedDict):
    """One ship's readings in the order of time."""

    spaceship_id: int
    data: list[ReadingRow]
    next: Annotated[Timestamp | None, Field(description="`start` of the next page; null on the last page")]


class DeletionRow(TypedDict):
    """A span of time, and when its readings were deleted last."""

    start: Timestamp
    end: Timestamp
    sent_at: Timestamp


class ShipDeletions(TypedDict):
    """One ship's deletions in the order of time."""

    spaceship_id: int
    data: list[DeletionRow]


_UNKNOWN = problem("The ship is unknown: no reading of it is stored.")
_NO_ENERGY = problem("The ship is unknown, or has no energy yet: its readings speak for no time.")

SHIPS = Operation(
    path="/ships",
    name="ships",
    summary="All ships that have energy: cadence, energy, coverage, and time since the last reading",
    query=ShipsParameters,
    answers={200: Answer("A page of ships.", {JSON: Ships})},
)
SHIP = Operation(
    path="/ships/<spaceship_id>",
    name="ship",
    summary="One ship: cadence, energy, coverage, and time since the last reading",
    path_parameters=ShipPath,
    answers={200: Answer("The state of the ship.", {JSON: ShipState}), 404: _NO_ENERGY},
)
READINGS = Operation(
    path="/ships/<spaceship_id>/readings",
    name="ship_readings",
    summary="One ship's raw readings",
    path_parameters=ShipPath,
    query=ReadingsQuery,
    answers={200: Answer("A page of the readings in the window.", {JSON: ShipReadings}), 404: _UNKNOWN},
)
DELETIONS = Operation(
    path="/ships/<spaceship_id>/deletions",
    name="ship_deletions",
    summary="What was deleted of one ship, and when",
    path_parameters=ShipPath,
    answers={200: Answer("The spans in the order of time; none overlap.", {JSON: ShipDeletions})},
)
OPERATIONS = (SHIPS, SHIP, READINGS, DELETIONS)


def routes(  # noqa: PLR0913  # the last four are optional
    store: EnergyReader,
    errors: Counter,
    heavy: HeavyAnswers | None = None,
    *,
    now_us: Callable[[], int] = wall_clock_us,
    max_ahead_us: int = MAX_AHEAD_US,
    accuracies: Accuracies | None = None,
) -> Routes:
    """Build the routes; `errors` counts queries for which the store is `Unavailable`, `heavy` limits long pages.

    Readings may be `max_ahead_us` ahead of the clock, `now_us` (microseconds since 1970). `accuracies` are those of the
    ships' forecasts.
    """
    heavy, known = heavy or HeavyAnswers(), accuracies or Accuracies()
    routes = Routes("ships", __name__, needs="read")
    counted = errors.count_exceptions(Unavailable)

    @routes.serves(SHIPS)
    @counted
    def ships() -> Response:
        query = parse(ShipsParameters, request.args)
        now = now_us()
        with heavy.turn(request) if query.limit > FEW_SHIPS else nullcontext():
            after = -1 if query.after is None else query.after
            page = store.ships(after, query.limit, _windows(now), now + max_ahead_us)
        return json_response({"ships": [ship_row(each, now) for each in page.ships], "next": page.next})

    @routes.serves(SHIP)
    @counted
    def ship(spaceship_id: str) -> Response:
        query, now = _parse_with_ship(ShipPath, spaceship_id), now_us()
        found = _find_ship(store, query.spaceship_id, _windows(now), now + max_ahead_us)
        warned = warnings(_newest(store, found))
        accuracy = known.of_ship(query.spaceship_id, now / US_PER_S)
        told = None if accuracy is None else {"days": accuracy.days, **shares(accuracy)}
        more = {"warnings": warned} if warned else {}
        return json_response({**ship_row(found, now), "forecast_accuracy": told, **more})

    @routes.serves(READINGS)
    @counted
    def readings(spaceship_id: str) -> Response:
        query = _parse_with_ship(ReadingsParameters, spaceship_id)
        end_us = LAST_US + 1 if query.end is None else query.end
        with heavy.turn(request) if query.limit > FEW_READINGS else nullcontext():
            found = store.readings(query.spaceship_id, query.start or 0, end_us, query.limit + 1)
            rows = reading_rows(found[: query.limit])
        if not len(found) and not _has_readings(store, query.spaceship_id):
            raise _unknown(query.spaceship_id)
        following = iso(int(found.moment_us[-1])) if len(found) > query.limit else None
        return json_response({"spaceship_id": query.spaceship_id, "data": rows, "next": following})

    @routes.serves(DELETIONS)
    @counted
    def deletions(spaceship_id: str) -> Response:
        query = _parse_with_ship(ShipPath, spaceship_id)
        rows: list[DeletionRow] = [
            {"start": iso(start_us), "end": iso(end_us), "sent_at": iso(sent_at_us)}
            for _, start_us, end_us, sent_at_us in store.deletions([query.spaceship_id]).rows()
        ]
        return json_response({"spaceship_id": query.spaceship_id, "data": rows})

    return routes


def ship_row(ship: ShipHistory, now_us: int) -> ShipRow:
    """Return the state of a ship whose energy was read for `_windows`."""
    steps_us = [after - before for before, after in pairwise(ship.newest_us)]
    last_us = ship.newest_us[-1] if ship.newest_us else None
    energy_24h, energy_30d = (None if kwh is None else number(kwh) for kwh in ship.kwh)
    # The store may get a whole slot between counting whole slots and all slots.
    whole_share = number(min(ship.whole / ship.slots, 1.0)) if ship.slots else None
    return {
        "spaceship_id": ship.ship,
        "first_reading": iso(ship.first_us),
        "last_reading": None if last_us is None else iso(last_us),
        "ahead": None if ship.ahead_us is None else iso(ship.ahead_us),
        "cadence": number(median(steps_us) / US_PER_S) if steps_us else None,
        "energy_24h": energy_24h,
        "energy_30d": energy_30d,
        "whole_share": whole_share,
        "silent_for": None if last_us is None else number(max(now_us - last_us, 0) / US_PER_S),
    }


def reading_rows(readings: Readings) -> list[ReadingRow]:
    """Return a row for each reading, with its value as it was sent."""
    columns = (readings.moment_us, readings.value, UNITS[readings.kind], readings.sent_at_us)
    found: list[ReadingRow] = [
        {
            "datetime": iso(moment_us),
            "value": None if isnan(value) else _exact(value),
            "units": units,
            "sent_at": iso(sent_at_us),
        }
        for moment_us, value, units, sent_at_us in rows(*columns)
    ]
    for at in np.flatnonzero(~np.isin(readings.kind, PLAIN)).tolist():
        found[at]["kind"] = Kind(readings.kind[at]).label
    stated = readings.what_is_stated()
    for at in np.flatnonzero(stated.duration_us).tolist():
        found[at]["duration_s"] = _exact(int(stated.duration_us[at]) / US_PER_S)
    for at in np.flatnonzero(stated.max_gap_us).tolist():
        found[at]["max_gap_s"] = _exact(int(stated.max_gap_us[at]) / US_PER_S)
    for at in np.flatnonzero(stated.rollover).tolist():
        found[at]["rollover"] = _exact(float(stated.rollover[at]))
    return found


def _exact(value: float) -> float:
    """Return a value with all its digits; whole ones without a fraction."""
    return int(value) if value.is_integer() else value


def _windows(now_us: int) -> tuple[Window, Window]:
    """Return the last day and the last 30 days, both up to the end of the current slot."""
    end_s = slot_ceil_us(now_us) // US_PER_S
    return Window(end_s - DAY_S, end_s), Window(end_s - MONTH_S, end_s)


def _newest(store: EnergyReader, ship: ShipHistory) -> Readings:
    """Return the readings that `ShipHistory.newest_us` names."""
    if not ship.newest_us:
        return Readings.from_rows([])
    return store.readings(ship.ship, ship.newest_us[0], ship.newest_us[-1] + 1, NEWEST)


def _parse_with_ship(model: type[Parameters], spaceship_id: str) -> Parameters:
    return parse(model, MultiDict([*request.args.items(multi=True), ("spaceship_id", spaceship_id)]))


def _find_ship(store: EnergyReader, ship: int, windows: tuple[Window, ...], until_us: int) -> ShipHistory:
    found = store.ships(ship - 1, 1, windows, until_us).ships
    if found and found[0].ship == ship:
        return found[0]
    if _has_readings(store, ship):
        raise NotFound(f"Ship {ship} has no energy yet: its readings speak for no time. A counter needs two of them.")
    raise _unknown(ship)


def _has_readings(store: EnergyReader, ship: int) -> bool:
    return len(store.readings(ship, 0, LAST_US + 1, 1)) > 0


def _unknown(ship: int) -> NotFound:
    return NotFound(f"Ship {ship} is unknown: no reading of it is stored.")

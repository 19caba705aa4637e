"""GET /data and /data/fleet: the slots of a window, in every format and at every resolution.

An answer is light if the stored part of its window has at most `PART` slots. Otherwise it is heavy.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Literal, NotRequired
from zoneinfo import ZoneInfo

from flask import Response, request
from prometheus_client import Counter
from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # pydantic requires it before Python 3.12

from query_api.answers.calendar import Buckets, Coarse
from query_api.answers.columns import Heading, Table, is_short, read, read_energy, table_of
from query_api.answers.formats import FORMATS, Format, Name
from query_api.answers.heavy import HeavyAnswers
from query_api.answers.negotiation import answer, choose_format, entity_tag
from query_api.answers.rollup import roll_up
from query_api.routes.parameters import ShipId, WindowParameters
from shared.domain.errors import InvalidInput, Problem, Unavailable
from shared.domain.slots import Window
from shared.http.app import Routes
from shared.http.openapi import Answer, Content, Operation, Timestamp, problem
from shared.http.parameters import parse
from shared.http.zones import zone_name
from shared.store.port import EnergyReader

VERSION = 2
"""Part of every entity tag. Increase it when the same slots are written in another way than before."""
ROLLED_UP_FIRST = ("1d", "1mo")
"""At these resolutions an answer is small and takes much work: it is computed before it is sent. Hours and slots are
sent while they are computed."""
MAX_ROLLED_UP = 1_500_000
"""How many slots are rolled up to days or months for one answer: 42 years without a gap."""


def _zone(written: object) -> str:
    name = zone_name(written)
    if name is None:
        raise PydanticCustomError("zone", "should be a time zone's name, such as Europe/Berlin")
    return name


class SlotParameters(WindowParameters):
    """A window, and how its energy is written."""

    resolution: Literal["15m", "1h", "1d", "1mo"] = Field(
        "15m", description="Length of each row: a slot, or an hour, day or month of local time."
    )
    tz: Annotated[str, BeforeValidator(_zone)] = Field(
        "UTC",
        description="IANA name of the time zone of `datetime`, of hours, days and months, and of a date alone.",
    )
    format: Name | None = Field(None, description="Format of the answer. It takes precedence over the header `Accept`.")

    @property
    def coarse(self) -> Coarse | None:
        """The resolution, or None for slots."""
        return None if self.resolution == "15m" else self.resolution


class ShipParameters(SlotParameters):
    """A ship, a window, and how its energy is written."""

    spaceship_id: ShipId


Start = Annotated[Timestamp, Field(description="start of the row, with the UTC offset of `tz`")]
Covered = Annotated[float, Field(description="seconds for which the energy is known; with `detail`")]
Estimated = Annotated[float, Field(description="seconds of these that bridge a long time; with `detail`")]
Provisional = Annotated[bool, Field(description="whether a ship's next reading will change it; with `detail`")]
Seconds = Annotated[
    int, Field(description="length of the part inside the window; with `detail`, for hours, days and months")
]


class ShipSlot(TypedDict):
    """One ship's energy in a slot, hour, day or month."""

    datetime: Start
    value: Annotated[float, Field(description="in kWh")]
    covered_seconds: NotRequired[Covered]
    estimated_seconds: NotRequired[Estimated]
    provisional: NotRequired[Provisional]
    seconds: NotRequired[Seconds]


class ShipSlots(TypedDict):
    """One ship's energy in the order of time."""

    spaceship_id: int
    units: Literal["kWh"]
    data: list[ShipSlot]


class FleetSlot(TypedDict):
    """The fleet's energy in a slot, hour, day or month."""

    datetime: Start
    sum: Annotated[float, Field(description="over the ships that have the slot, in kWh")]
    avg: Annotated[float, Field(description="mean of the ships that have the slot, in kWh")]
    covered_seconds: NotRequired[Covered]
    estimated_seconds: NotRequired[Estimated]
    provisional: NotRequired[Provisional]
    ships: NotRequired[
        Annotated[int, Field(description="how many ships have the slot; the maximum of several slots; with `detail`")]
    ]
    whole_ships: NotRequired[
        Annotated[int, Field(description="how many ships cover all of it; the minimum of several slots; with `detail`")]
    ]
    seconds: NotRequired[Seconds]


class FleetSlots(TypedDict):
    """The fleet's energy in the order of time."""

    units: Literal["kWh"]
    data: list[FleetSlot]


class Conditions(BaseModel):
    """The header of a conditional request."""

    if_none_match: str | None = Field(None, alias="If-None-Match", description="`ETag` of the answer the client has")


def _answers(content: Content, description: str, example: object) -> dict[int, Answer]:
    forms: tuple[Content, ...] = (
        content,
        {"type": "string", "description": "a header line, then a line for each row (RFC 4180)"},
        {"type": "string", "format": "binary"},
    )
    headers = {"ETag": "changes whenever the answer does"}
    contents = {each.type: form for each, form in zip(FORMATS, forms, strict=True)}
    return {
        200: Answer(description, contents, headers, example),
        304: Answer("The answer still has the `ETag` in `If-None-Match`.", headers=headers),
        406: problem("`Accept` allows none of the formats."),
    }


_STARTS = [f"2018-08-24T00:{minute:02}:00Z" for minute in (0, 15, 30, 45)]
SHIP = Operation(
    path="/data",
    name="ship_energy",
    summary="One ship's energy",
    description="Slots of 15 minutes, or their roll-ups. A slot without readings is not in the list.",
    query=ShipParameters,
    headers=Conditions,
    answers=_answers(
        ShipSlots,
        "The energy that the ship used in the window.",
        {"spaceship_id": 1, "units": "kWh", "data": [{"datetime": each, "value": 3} for each in _STARTS]},
    ),
)
FLEET = Operation(
    path="/data/fleet",
    name="fleet_energy",
    summary="The fleet's energy",
    description="Sum and mean over all ships that have the slot, or roll-ups of these.",
    query=SlotParameters,
    headers=Conditions,
    answers=_answers(
        FleetSlots,
        "The energy that the fleet used in the window.",
        {"units": "kWh", "data": [{"datetime": each, "sum": 3, "avg": 3} for each in _STARTS]},
    ),
)
OPERATIONS = (SHIP, FLEET)


@dataclass(frozen=True, slots=True)
class _Query:
    """A query about a ship, or about the fleet where `ship` is None; for the last three attributes see `routes`."""

    parameters: SlotParameters
    ship: int | None
    store: EnergyReader
    errors: Counter
    heavy: HeavyAnswers

    def answer(self) -> Response:
        """Answer it."""
        form = choose_format(self.parameters.format)
        window = self.parameters.window
        if not is_short(window):
            self.heavy.check()  # a query that is refused must not cost a read of the store
            window = window.cut_to(self.store.reach(self.ship))
        return self._light(form, window) if is_short(window) else self._heavy(form)

    def _light(self, form: Format, window: Window) -> Response:
        """Read all slots at once; their version is a digest of them."""
        slots = list(read(self.store, self.ship, window))
        columns = (getattr(part, column.name) for part in slots for column in fields(part))
        tag = self._tag(form, entity_tag(*(column.tobytes() for column in columns)))
        pieces = form.write(self._rows(map(table_of, slots)), self._heading())
        return answer(form, tag, pieces, self._file_name(), errors=self.errors)

    def _heavy(self, form: Format) -> Response:
        """Read the requested window part by part; not the cut one, because slots may have been stored since."""
        window = self.parameters.window
        with self.heavy.place(request) as place:
            with place.turn():
                version = self.store.version(self.ship, window)  # before the slots, so that it is never newer
            tag = None if version is None else self._tag(form, version)
            if self.ship is None or self.parameters.detail:
                slots = map(table_of, read(self.store, self.ship, window))
            else:
                slots = map(table_of, read_energy(self.store, self.ship, window))
            if self.parameters.coarse in ROLLED_UP_FIRST:
                pieces = form.write(_all_at_once(place.in_turns(self._rows(_bounded(slots)))), self._heading())
            else:
                pieces = place.in_turns(form.write(self._rows(slots), self._heading()))
            return answer(form, tag, pieces, self._file_name(), errors=self.errors, place=place)

    def _heading(self) -> Heading:
        is_fleet = self.ship is None
        members = {} if self.ship is None else {"spaceship_id": self.ship}
        names: tuple[str, ...] = ("sum", "avg") if is_fleet else ("value",)
        if self.parameters.detail:
            names += ("covered_seconds", "estimated_seconds", "provisional")
            names += ("ships", "whole_ships") if is_fleet else ()
            names += ("seconds",) if self.parameters.coarse else ()
        return Heading({**members, "units": "kWh"}, names, self.parameters.tz)

    def _rows(self, slots: Iterator[Table]) -> Iterator[Table]:
        """Return the rows at the requested resolution."""
        coarse = self.parameters.coarse
        if coarse is None:
            return slots
        return roll_up(slots, Buckets(coarse, ZoneInfo(self.parameters.tz)), self.parameters.window)

    def _tag(self, form: Format, version: str) -> str:
        """Return the entity tag of the answer from slots of this version."""
        return entity_tag(VERSION, form.name, self.ship, self.parameters, version)

    def _file_name(self) -> str:
        return "fleet" if self.ship is None else f"ship-{self.ship}"


def routes(store: EnergyReader, errors: Counter, heavy: HeavyAnswers | None = None) -> Routes:
    """Build the routes; `errors` counts queries for which the store is `Unavailable`, `heavy` limits heavy answers."""
    routes = Routes("slots", __name__, needs="read")
    counted = errors.count_exceptions(Unavailable)
    heavy = heavy or HeavyAnswers()

    @routes.after_request
    def vary(response: Response) -> Response:
        response.headers["Vary"] = "Accept, Accept-Encoding"
        return response

    @routes.serves(SHIP)
    @counted
    def ship() -> Response:
        parameters = parse(ShipParameters, request.args)
        return _Query(parameters, parameters.spaceship_id, store, errors, heavy).answer()

    @routes.serves(FLEET)
    @counted
    def fleet() -> Response:
        return _Query(parse(SlotParameters, request.args), None, store, errors, heavy).answer()

    return routes


def _all_at_once(rows: Iterator[Table]) -> Iterator[Table]:
    """Compute all rows before the first is returned, so that an error becomes a problem, not a truncated answer."""
    yield from list(rows)


def _bounded(slots: Iterator[Table]) -> Iterator[Table]:
    """Return the slots, or raise `InvalidInput` if there are more than `MAX_ROLLED_UP`."""
    n = 0
    for part in slots:
        n += len(part["start_s"])
        if n > MAX_ROLLED_UP:
            why = f"sums at most {MAX_ROLLED_UP:,} slots, and the window has more: use a shorter window, or 1h"
            raise InvalidInput("the window is too long for this resolution", (Problem("resolution", why),))
        yield part

"""GET /data and /data/fleet: slots of a window, in any form and at any resolution.

An answer is light if the window, cut to what is stored, is read in one part; otherwise it is heavy.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Response, request
from prometheus_client import Counter

from query_api.answers.buckets import in_buckets, in_local_time
from query_api.answers.calendar import Buckets
from query_api.answers.columns import Heading, Table, fleet_tables, is_short, ship_tables
from query_api.answers.formats import Format
from query_api.answers.heavy import HeavyAnswers
from query_api.answers.negotiation import Exchange, chosen, tag_of
from query_api.interface.energy import FLEET, SHIP
from query_api.parameters import ShipParameters, SlotParameters
from shared.domain.errors import InvalidInput, Problem, Unavailable
from shared.domain.slots import Window
from shared.http.app import Routes
from shared.http.parameters import parse
from shared.store.port import EnergyReader

WRITTEN_AS = 1
"""Counts up when the same slots are answered otherwise than before: what receivers have kept is then out of date."""
SUMMED_FIRST = ("1d", "1mo")
"""At these resolutions an answer is small and its work is large: it is computed before it is sent. Hours, and the slots
themselves, are sent while they are computed."""
SUMMED = 1_500_000
"""From how many slots such an answer is summed at most: 42 years without a gap."""
_QUALITY = ("covered_seconds", "provisional")
_OF_FLEET = ("ships", "whole_ships")


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, of a ship or (None) of the fleet."""

    asked: SlotParameters
    ship: int | None
    store: EnergyReader

    @property
    def heading(self) -> Heading:
        """What the answer says besides its rows."""
        members: dict[str, int | str] = (
            {"units": "kWh"} if self.ship is None else {"spaceship_id": self.ship, "units": "kWh"}
        )
        names: tuple[str, ...] = ("sum", "avg") if self.ship is None else ("value",)
        if self.asked.detail:
            names += (
                *_QUALITY,
                *(_OF_FLEET if self.ship is None else ()),
                *(("seconds",) if self.asked.coarse else ()),
            )
        return Heading(members, names, self.asked.tz)

    def slots(self, window: Window) -> Iterator[Table]:
        """Read the slots of a window."""
        return fleet_tables(self.store, window) if self.ship is None else ship_tables(self.store, self.ship, window)

    def rows(self, slots: Iterator[Table]) -> Iterator[Table]:
        """Make rows of them."""
        asked = self.asked
        if asked.coarse:
            return in_buckets(slots, Buckets(asked.coarse, asked.zone), asked.window, in_utc=asked.tz == "UTC")
        return slots if asked.tz == "UTC" else in_local_time(slots, asked.zone)

    def tag(self, form: Format, version: str) -> str:
        """Make the entity tag of the answer that has slots of a version."""
        return tag_of(WRITTEN_AS, form.name, self.ship, self.asked, version)


@dataclass(frozen=True, slots=True)
class _Answers:
    """Answers questions over a store; `errors` counts where it is `Unavailable`, `heavy` bounds the heavy answers."""

    store: EnergyReader
    errors: Counter
    heavy: HeavyAnswers

    def to(self, question: _Question, file_name: str) -> Response:
        """Answer a question."""
        form = chosen(request, question.asked.format)
        window = question.asked.window
        if not is_short(window):
            self.heavy.check()  # what is refused then has not cost a look at the store
            window = window.cut_to(self.store.reach(question.ship))
        if is_short(window):
            return self._light(question, form, window, file_name)
        return self._heavy(question, form, file_name)

    def _light(self, question: _Question, form: Format, window: Window, file_name: str) -> Response:
        """Read all slots at once; their content is their version."""
        slots = list(question.slots(window))
        columns = (column for table in slots for column in (table.start_s, *table.columns.values()))
        tag = question.tag(form, tag_of(*(column.tobytes() for column in columns)))
        pieces = form.write(question.rows(iter(slots)), question.heading)
        return Exchange(request, form, self.errors).answer(tag, pieces, file_name)

    def _heavy(self, question: _Question, form: Format, file_name: str) -> Response:
        """Read part by part all of the window that was asked for: slots may have been stored since it was cut."""
        window = question.asked.window
        with self.heavy.place(request) as place:
            with place.turn():
                version = self.store.version(question.ship, window)  # before the slots: it must not be newer
            tag = None if version is None else question.tag(form, version)
            slots = question.slots(window)
            if question.asked.coarse in SUMMED_FIRST:
                pieces = form.write(_at_once(place.in_turns(question.rows(_bounded(slots)))), question.heading)
            else:
                pieces = place.in_turns(form.write(question.rows(slots), question.heading))
            return Exchange(request, form, self.errors, place).answer(tag, pieces, file_name)


def routes(store: EnergyReader, errors: Counter, heavy: HeavyAnswers | None = None) -> Routes:
    """Build the routes over a store; `errors` counts where it is `Unavailable`, `heavy` bounds the heavy answers."""
    routes = Routes("slots", __name__, needs="read")
    counted = errors.count_exceptions(Unavailable)
    answers = _Answers(store, errors, heavy or HeavyAnswers())

    @routes.after_request
    def vary(response: Response) -> Response:
        response.headers["Vary"] = "Accept, Accept-Encoding"
        return response

    @routes.serves(SHIP)
    @counted
    def ship() -> Response:
        asked = parse(ShipParameters, request.args)
        return answers.to(_Question(asked, asked.spaceship_id, store), f"ship-{asked.spaceship_id}")

    @routes.serves(FLEET)
    @counted
    def fleet() -> Response:
        return answers.to(_Question(parse(SlotParameters, request.args), None, store), "fleet")

    return routes


def _at_once(rows: Iterator[Table]) -> Iterator[Table]:
    """Compute all rows before the first is given: what fails is then a problem, and no answer that is cut off."""
    yield from list(rows)


def _bounded(slots: Iterator[Table]) -> Iterator[Table]:
    """Give the slots, `SUMMED` of them at most.

    Raises:
        InvalidInput: there are more.

    """
    n = 0
    for part in slots:
        n += len(part)
        if n > SUMMED:
            why = f"sums at most {SUMMED:,} slots, and the window holds more: ask for a narrower window, or for 1h"
            raise InvalidInput("there is too much to sum up", (Problem("resolution", why),))
        yield part

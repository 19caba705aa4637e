"""GET /data and /data/fleet: slots of a window, in any form and at any resolution."""

from collections.abc import Iterator
from dataclasses import dataclass
from threading import BoundedSemaphore

from flask import Response, request
from prometheus_client import Counter

from query_api.buckets import in_buckets, in_local_time
from query_api.exchange import LONG_AT_ONCE, Exchange, chosen, tag_of
from query_api.interface.energy import FLEET, SHIP
from query_api.parameters import ShipParameters, SlotParameters
from query_api.tables import Heading, Table, fleet_tables, is_short, ship_tables
from query_api.zones import Buckets
from shared.errors import Unavailable
from shared.http import Routes
from shared.parameters import parse
from shared.store.port import EnergyReader

WRITTEN_AS = 1
"""Counts up when the same slots are answered otherwise than before: what receivers have kept is then out of date."""
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

    def slots(self) -> Iterator[Table]:
        """Read the slots."""
        window = self.asked.window
        return fleet_tables(self.store, window) if self.ship is None else ship_tables(self.store, self.ship, window)

    def rows(self, slots: Iterator[Table]) -> Iterator[Table]:
        """Make rows of them."""
        asked = self.asked
        if asked.coarse:
            return in_buckets(slots, Buckets(asked.coarse, asked.zone), asked.window, in_utc=asked.tz == "UTC")
        return slots if asked.tz == "UTC" else in_local_time(slots, asked.zone)


def routes(store: EnergyReader, errors: Counter) -> Routes:
    """Build the routes over a store; `errors` counts where it is `Unavailable`."""
    routes = Routes("slots", __name__, needs="read")
    counted = errors.count_exceptions(Unavailable)
    room = BoundedSemaphore(LONG_AT_ONCE)

    def answer(question: _Question, file_name: str) -> Response:
        form = chosen(request, question.asked.format)
        version, slots = _versioned(question)
        tag = None if version is None else tag_of(WRITTEN_AS, form.name, question.ship, question.asked, version)
        pieces = form.write(question.rows(slots), question.heading)
        return Exchange(request, form, errors, room).answer(tag, pieces, file_name)

    @routes.after_request
    def vary(response: Response) -> Response:
        response.headers["Vary"] = "Accept, Accept-Encoding"
        return response

    @routes.serves(SHIP)
    @counted
    def ship() -> Response:
        asked = parse(ShipParameters, request.args)
        return answer(_Question(asked, asked.spaceship_id, store), f"ship-{asked.spaceship_id}")

    @routes.serves(FLEET)
    @counted
    def fleet() -> Response:
        return answer(_Question(parse(SlotParameters, request.args), None, store), "fleet")

    return routes


def _versioned(question: _Question) -> tuple[str | None, Iterator[Table]]:
    """Give what is different once the slots are, and the slots.

    A short window is read at once, and its content is its version; that of a long one the store knows, before any of it
    is read: it must not be newer than the slots.
    """
    if not is_short(question.asked.window):
        return question.store.version(question.ship, question.asked.window), question.slots()
    slots = list(question.slots())
    columns = (column for table in slots for column in (table.start_s, *table.columns.values()))
    return tag_of(*(column.tobytes() for column in columns)), iter(slots)

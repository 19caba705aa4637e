"""Files for `./power import` in memory: what is read of them, and the slots that the service would make of it."""

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple, cast
from zoneinfo import ZoneInfo

import numpy as np

from normalizer_worker.rule.normalize import normalize
from power_cli.importing.content import Content
from power_cli.importing.doubts import doubts
from power_cli.importing.parcels import parcels
from power_cli.importing.reading import read
from power_cli.importing.wanted import Wanted
from shared.contract.batch import columns
from shared.domain.timestamps import iso
from tests.support.decoding import decode

NAME = "x.csv"


def read_text(text: str | bytes, moved: Callable[[int], object] = lambda _: None, **options: Any) -> Content:
    """Read a file as ship 1, unless the options name another one; `tz` is the name of a zone."""
    if not options.keys() & {"ship", "ship_column"}:
        options["ship"] = 1
    if "tz" in options:
        options["zone"] = ZoneInfo(options.pop("tz"))
    data = text.encode() if isinstance(text, str) else text
    file = io.BufferedReader(cast("io.RawIOBase", io.BytesIO(data)))
    return read(file, Wanted(**options), moved)


def refused(text: str | bytes, **options: Any) -> str:
    """Read a file, and return why it is not sent."""
    found = "\n".join(doubts(read_text(text, **options)))
    assert found
    return found


class Slot(NamedTuple):
    """A slot, without its date where that is the first slot's."""

    ship: int
    start: str
    kwh: float
    covered_s: float


def slots(content: Content, *, allow_negative: bool = False) -> list[Slot]:
    """Return the slots of what would be sent, as it is written on the wire."""
    assert list(doubts(content)) == []
    batches = [
        decode(parcel.body(), allow_negative=allow_negative)._replace(sent_at_us=0) for parcel in parcels(content, NAME)
    ]
    found = normalize(columns(batches))
    return [
        Slot(ship, iso(start_s * 1_000_000), round(kwh, 9), covered_s)
        for ship, start_s, kwh, covered_s, *_ in found.rows()
    ]


def kwh(content: Content, **options: Any) -> float:
    """Return the energy of all slots."""
    return round(sum(slot.kwh for slot in slots(content, **options)), 9)


def readings(content: Content) -> list[tuple[str, float | None]]:
    """Return the readings, None where one is unknown."""
    series = content.series
    values = [None if np.isnan(value) else value for value in series.value.tolist()]
    return list(zip(map(iso, series.moment_us.tolist()), values, strict=True))


def faults(content: Content) -> list[tuple[int, str]]:
    """Return the rows that are left out: line and reason."""
    return content.faults.first()


def quarters(first: str, count: int, form: str = "%Y-%m-%dT%H:%M:%SZ") -> list[str]:
    """Return the texts of consecutive quarter-hours."""
    start = np.datetime64(first).astype("datetime64[s]").item()
    return [(start + timedelta(minutes=15 * i)).strftime(form) for i in range(count)]

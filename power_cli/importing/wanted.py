"""What the user says about the file: the options of `./power import`."""

from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Literal

from shared.contract.acceptance import EVER, Period, Rules
from shared.contract.kinds import Units

SHOWN_CHARACTERS = 40
MAX_CELL = 100
"""No timestamp, number or name of a column that has a meaning is longer; what is longer is not searched."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options; None where the file is to tell.

    Attributes:
        ship: the number of the ship whose readings these are.
        ship_column: the column with the numbers of the ships; either this or `ship` is given.
        units: of the values.
        time_column: the name of the column with the timestamps.
        value_column: the name of the column with the values.
        where: the rows to read, as columns and the value that they must have.
        zone: the zone of timestamps without an offset.
        stamp: whether a timestamp is the start or the end of what its value speaks for.
        counter: the values are what a meter shows.
        decimal: the decimal mark.
        day_first: whether 1/2/2024 is the first of February.
        skip_bad: go on however many rows are bad.
        rules: which readings the service accepts.
        period: the timestamps that it accepts.

    """

    ship: int | None = None
    ship_column: str | None = None
    units: Units | None = None
    time_column: str | None = None
    value_column: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    zone: tzinfo | None = None
    stamp: Literal["start", "end"] | None = None
    counter: bool = False
    decimal: Literal["point", "comma"] | None = None
    day_first: bool | None = None
    skip_bad: bool = False
    rules: Rules = field(default_factory=Rules)
    period: Period = EVER


def shown(text: str) -> str:
    """Return a text of the file in quotes, cut if it is long."""
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")


def listed(items: list[str], most: int = 5) -> str:
    """Return the first items as one text, and how many more there are."""
    more = [f"and {len(items) - most:,} more"] if len(items) > most else []
    return ", ".join(items[:most] + more)

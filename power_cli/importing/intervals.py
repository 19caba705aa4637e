"""Files with a row for each day and a column for each interval: what these columns mean."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from shared.domain.errors import InvalidInput

DAY_MIN = 24 * 60
US_PER_MIN = 60_000_000
FEWEST = 4
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::00)?(?:\s*[-\u2013]\s*\d{1,2}:\d\d(?::00)?)?", re.ASCII)
_NUMBERED = re.compile(r"[A-Za-z]{0,8}[ _]?0*(\d{1,2})", re.ASCII)
_COUNTS = (24, 48, 96)


@dataclass(frozen=True, slots=True)
class DayColumns:
    """The columns of a row that is a day.

    Attributes:
        columns: their positions.
        start_us: where each interval begins, from midnight on by the clock.
        length_us: of each interval.
        names: what the names of the columns tell.

    """

    columns: tuple[int, ...]
    start_us: tuple[int, ...]
    length_us: int
    names: str


def day_columns(header: Sequence[str], stamp: str | None) -> DayColumns | None:
    """Read the intervals of a header; None if it has none.

    Args:
        header: the names of the columns.
        stamp: whether they name the starts or the ends, if the user says so.

    Raises:
        InvalidInput: it cannot be told whether they are the starts or the ends, or they are not regular.

    """
    clocks = [(at, found) for at, name in enumerate(header) if (found := _CLOCK.fullmatch(name.strip()))]
    if len(clocks) < FEWEST:
        return _numbered(header)
    columns = tuple(at for at, _ in clocks)
    minutes = [int(found[1]) * 60 + int(found[2]) for _, found in clocks]
    step = minutes[1] - minutes[0]
    is_range = all(re.search("[-\u2013]", found[0]) for _, found in clocks)
    ends = not is_range and (stamp == "end" or (stamp is None and minutes[0] == step))
    if ends and minutes[-1] == 0:
        minutes[-1] = DAY_MIN
    starts = [minute - step if ends else minute for minute in minutes]
    if any(b - a != step for a, b in pairwise(minutes)) or step <= 0:
        raise InvalidInput(f"the columns {header[columns[0]]!r} to {header[columns[-1]]!r} are not in equal steps")
    if starts[0] < 0 or starts[-1] + step > DAY_MIN or (stamp is None and not is_range and starts[0] != 0):
        raise InvalidInput(
            f"do the columns {header[columns[0]]!r} to {header[columns[-1]]!r} name starts or ends?"
            " Say so with --stamp start or --stamp end"
        )
    us = tuple(minute * US_PER_MIN for minute in starts)
    return DayColumns(columns, us, step * US_PER_MIN, "the ends" if ends else "the starts")


def _numbered(header: Sequence[str]) -> DayColumns | None:
    """Read columns that are numbered, such as H1 to H24."""
    numbers = [(at, int(found[1])) for at, name in enumerate(header) if (found := _NUMBERED.fullmatch(name.strip()))]
    count = len(numbers)
    if count not in _COUNTS or [number for _, number in numbers] != list(range(1, count + 1)):
        return None
    step_us = DAY_MIN * US_PER_MIN // count
    return DayColumns(
        tuple(at for at, _ in numbers), tuple(i * step_us for i in range(count)), step_us, "the intervals"
    )

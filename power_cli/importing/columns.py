"""Decides which column has the timestamps, which the values, which the ships."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from power_cli.importing.intervals import DayColumns, day_columns
from power_cli.importing.layout import Layout, listed_names
from power_cli.importing.names import CLOCK_ENDS, CLOCKS, ENDS, STARTS, WHEN, is_when, same, words
from power_cli.importing.numbers import MISSING
from power_cli.importing.stamps import CLOCK, DATE, NUMBER, STAMP
from power_cli.importing.units import UNIT_NAMES, unit_in
from power_cli.importing.wanted import Wanted
from shared.contract.kinds import UNITS
from shared.domain.errors import InvalidInput

VALUES = frozenset(["value", "wert", "state"])
_VALUE = re.compile(r"[+-]?[\d.,' \u00a0]*\d(?:[eE][+-]?\d+)?")
Sample = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Columns:
    """Positions of columns; None where the file has none.

    Attributes:
        time: of the timestamps; two where date and time of day are in columns of their own.
        end: of the ends of the intervals, as `time`.
        value: of the values: one, unless there is a row for each day.
        days: what the columns of such a file mean.
        ship: of the ships' numbers.
        unit: of the units.
        where: of the filters.

    """

    time: tuple[int, ...]
    value: tuple[int, ...]
    end: tuple[int, ...] = ()
    days: DayColumns | None = None
    ship: int | None = None
    unit: int | None = None
    where: tuple[int, ...] = ()

    @property
    def needed(self) -> int:
        """How many cells a row must have."""
        options = (each for each in (self.ship, self.unit) if each is not None)
        return 1 + max((*self.time, *self.end, *self.value, *self.where, *options))


def find_columns(layout: Layout, sample: Sample, wanted: Wanted) -> Columns:
    """Find the columns by the options, then by the header, then by what they contain.

    Args:
        layout: has the header.
        sample: the cells of some rows.
        wanted: the options.

    Raises:
        InvalidInput: a column is not there, or several could be meant; the message lists the columns.

    """
    header = layout.header
    ship = None if wanted.ship_column is None else position(header, wanted.ship_column, "--ship-column")
    where = tuple(position(header, name, "--where") for name, _ in wanted.where)
    content = [_Content([row[at] for row in sample if at < len(row)]) for at in range(len(header))]
    time, end = _times(header, content, wanted)
    taken = {*time, *end, *where} | ({ship} if ship is not None else set())
    unit = next((at for at, name in enumerate(header) if words(name) in UNIT_NAMES and at not in taken), None)
    if unit is not None and not content[unit].mostly(lambda cell: cell in UNITS):
        unit = None
    found = Columns(time, (), end, None, ship, unit, where)
    days = None if wanted.value_column is not None or len(time) > 1 or end else day_columns(header, wanted.stamp)
    if days is not None and content[time[0]].mostly(_is_day):
        return replace(found, value=days.columns, days=days)
    return replace(found, value=(_value(header, content, taken | ({unit} if unit is not None else set()), wanted),))


class _Content:
    """What the cells of one column look like."""

    def __init__(self, cells: Sequence[str]) -> None:
        self._cells = [cell for cell in map(str.strip, cells) if cell.casefold() not in MISSING]

    def mostly(self, holds: Callable[[str], object]) -> bool:
        """Return whether more than half of the cells that are filled are like that."""
        return 2 * sum(bool(holds(cell)) for cell in self._cells) > len(self._cells)


def _is_day(cell: str) -> bool:
    return DATE.fullmatch(cell) is not None or re.fullmatch(r"20\d{6}", cell) is not None


def position(header: Sequence[str], wanted: str, option: str) -> int:
    """Return where the column of a name is.

    Raises:
        InvalidInput: there is none, or more than one.

    """
    found = [at for at, name in enumerate(header) if same(name, wanted)]
    if len(found) != 1:
        how_many = "no column" if not found else "more than one column"
        raise InvalidInput(f"there is {how_many} {wanted!r}; choose with {option} from: {listed_names(tuple(header))}")
    return found[0]


Places = tuple[int, ...]


def _times(header: Sequence[str], content: Sequence[_Content], wanted: Wanted) -> tuple[Places, Places]:
    """Return the columns of timestamps, and of the ends of their intervals."""
    if wanted.time_column is not None:
        return _with_clock(position(header, wanted.time_column, "--time-column"), header, content)
    exact = [at for at, name in enumerate(header) if words(name) == "datetime"]
    if len(exact) == 1:
        return (exact[0],), ()
    starts, ends = (
        [at for at, name in enumerate(header) if words(name) in names and not content[at].mostly(CLOCK.fullmatch)]
        for names in (STARTS, ENDS)
    )
    if len(starts) == 1 and len(ends) == 1:
        return (starts[0],), (ends[0],)
    named = [at for at, name in enumerate(header) if is_when(name) and not content[at].mostly(CLOCK.fullmatch)]
    stamped = [at for at in range(len(header)) if content[at].mostly(_is_moment) and content[at].mostly(bool)]
    for found in ([at for at in named if at in stamped], named, stamped):
        if len(found) == 1:
            _check_end(header[found[0]], wanted)
            return _with_clock(found[0], header, content)
        if found:
            break
    raise InvalidInput(f"which column holds the timestamps? Name it with --time-column: {listed_names(tuple(header))}")


def _is_moment(cell: str) -> bool:
    return any(shape.fullmatch(cell) for shape in (STAMP, DATE, NUMBER))


def _check_end(name: str, wanted: Wanted) -> None:
    if words(name) in ENDS and wanted.stamp is None and not wanted.counter:
        raise InvalidInput(
            f"does the column {name!r} name the ends of the intervals? Say so with --stamp end, or --stamp start"
        )


def _with_clock(date: int, header: Sequence[str], content: Sequence[_Content]) -> tuple[Places, Places]:
    """Return a column of dates with the one of the time of day, and with that of the end, where there are such."""
    clocks = [at for at, each in enumerate(content) if at != date and each.mostly(CLOCK.fullmatch)]
    if not clocks or not content[date].mostly(_is_day):
        return (date,), ()
    starts, ends = (
        [at for at in clocks if words(header[at]) in names] for names in (CLOCKS | STARTS, CLOCK_ENDS | ENDS)
    )
    if len(clocks) == len(starts) + len(ends) and len(starts) == 1 and len(ends) <= 1:
        return (date, starts[0]), ((date, ends[0]) if ends else ())
    names = listed_names([header[at] for at in clocks])
    raise InvalidInput(f"which column holds the time of day? Join it with the date in one column: {names}")


def _value(header: Sequence[str], content: Sequence[_Content], taken: set[int], wanted: Wanted) -> int:
    if wanted.value_column is not None:
        return position(header, wanted.value_column, "--value-column")
    others = [at for at, name in enumerate(header) if name.strip() and at not in taken]
    named = ({wanted.units.casefold()} if wanted.units is not None else set()) | {"value"}
    candidates = (
        [at for at in others if header[at].strip().casefold() in named and same(header[at], wanted.units or "")],
        [at for at in others if header[at].strip().casefold() in named],
        [at for at in others if unit_in(header[at]) in ((wanted.units,) if wanted.units is not None else UNITS)],
        others if len(others) == 1 else [],
        [at for at in others if words(header[at]) in VALUES],
        [at for at in others if words(header[at]) not in WHEN and content[at].mostly(_VALUE.fullmatch)],
    )
    for found in candidates:
        if len(found) == 1:
            return found[0]
        if found:
            break
    raise InvalidInput(f"which column holds the values? Name it with --value-column: {listed_names(tuple(header))}")

"""`./power import`: sends the readings of a CSV file to a running service, and reports every bad row."""

import csv
import math
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from power_cli import sending
from power_cli.argument_types import add_url, ship_number
from shared.contract.acceptance import EVER, Period
from shared.contract.kinds import Units
from shared.contract.limits import MAX_SLOTS, MAX_VALUE
from shared.domain.clock import now_us
from shared.domain.errors import InvalidInput, InvalidSettings
from shared.domain.slots import count_slots
from shared.domain.timestamps import US_PER_S, iso, moment_us
from shared.runtime.settings import MAX_GAP_S, ReadingSettings

BATCH_READINGS = 10_000
NAMED_ROWS = 20
SHOWN_CHARACTERS = 40
DELIMITERS = ",;\t"
EMPTY_LINES: tuple[list[str], ...] = ([], [""])
UNITS: tuple[Units, ...] = ("kW", "kWh")


class Row(NamedTuple):
    """A valid row: its line, timestamp and value."""

    line: int
    moment_us: int
    value: float


@dataclass(frozen=True, slots=True)
class Table:
    """What the columns of the file mean.

    Attributes:
        units: of the values.
        time_column: the name of the column with the timestamps.
        value_column: the name of the column with the values; None to find it by the header.
        allow_negative: accept values below 0.
        period: the timestamps that the service accepts.

    """

    units: Units
    time_column: str = "datetime"
    value_column: str | None = None
    allow_negative: bool = False
    period: Period = EVER


def rows(lines: Iterable[str], table: Table, bad: Callable[[int, str], None]) -> Iterator[Row]:
    """Yield the valid rows of a CSV with a header; call `bad` with the line and the error of every other row.

    The reader is `csv.reader` and not pandas': pandas reads a misquoted `"1"0` as 10, gives up the file at a quote that
    is never closed, cannot tell a missing cell from an empty one, and does not give the line of a row.

    Raises:
        InvalidInput: the header does not name the columns.

    """
    lines = iter(lines)
    first = next(lines, "")
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(chain([first], lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        columns = find_columns(next(reader), table)
    except csv.Error as error:
        raise InvalidInput(f"the header is not CSV: {error}") from None
    while True:
        line = reader.line_num + 1  # the row's first line: a quoted cell may contain line breaks
        try:
            cells = next(reader, None)
            if cells is None:
                return
            if cells not in EMPTY_LINES:
                yield Row(line, *_reading(cells, columns, table))
        except csv.Error as error:  # the reader goes on with the next line
            bad(line, f"is not CSV, up to line {reader.line_num}: {error}")
        except ValueError as error:
            bad(line, str(error))


def find_columns(header: Sequence[str], table: Table) -> tuple[int, int]:
    """Return the positions of the timestamps and of the values.

    The values are in the column that the user names, else in the one named after the unit or `value`, else in the only
    other column. A column named after the other unit is used only if the user names it.

    Raises:
        InvalidInput: there is no such column, or more than one; the message lists the columns.

    """
    names = [name.strip().casefold() for name in header]
    time = _position(names, table.time_column, header, "--time-column")
    if table.value_column is not None:
        return time, _position(names, table.value_column, header, "--value-column")
    for name in (table.units.casefold(), "value"):
        if name in names:
            return time, _position(names, name, header, "--value-column")
    others = [at for at, name in enumerate(names) if name and at != time]
    if len(others) != 1:
        raise InvalidInput(f"which column holds the values? Name it with --value-column: {_listed(header)}")
    if names[others[0]] in (units.casefold() for units in UNITS):
        raise InvalidInput(
            f"the values are in {header[others[0]].strip()!r}, but --units says {table.units};"
            " if that is right, name the column with --value-column"
        )
    return time, others[0]


def _position(names: Sequence[str], wanted: str, header: Sequence[str], option: str) -> int:
    count = names.count(wanted.strip().casefold())
    if count != 1:
        how_many = "no column" if count == 0 else "more than one column"
        raise InvalidInput(f"there is {how_many} {wanted!r}; choose with {option} from: {_listed(header)}")
    return names.index(wanted.strip().casefold())


def _listed(header: Sequence[str]) -> str:
    return ", ".join(_shown(name.strip()) for name in header if name.strip()) or "there are no columns"


def _reading(cells: Sequence[str], columns: tuple[int, int], table: Table) -> tuple[int, float]:
    """Convert the two cells of a row; a ValueError says which one is wrong, and why."""
    if len(cells) <= max(columns):
        raise ValueError(f"cells are missing: there are {len(cells)}, at least {max(columns) + 1} are needed")
    moment, value = (cells[at].strip() for at in columns)
    return _moment_us(moment, table.period), _value(value, allow_negative=table.allow_negative)


def _moment_us(text: str, period: Period) -> int:
    try:
        us = moment_us(text)
    except ValueError as error:
        raise ValueError(f"datetime {error}: {_shown(text)}" if text else "datetime is missing") from None
    fault = period.fault(us)
    if fault is not None:
        raise ValueError(f"datetime {fault}: {_shown(text)}")
    return us


def _value(text: str, *, allow_negative: bool) -> float:
    number = _number(text)
    if number is None:
        fault = "is not a number"
    elif not math.isfinite(number):
        fault = "is not a finite number"
    elif abs(number) > MAX_VALUE:
        fault = f"is beyond {MAX_VALUE:g}"
    elif number < 0 and not allow_negative:
        fault = "is negative, --allow-negative accepts it"
    else:
        return number
    raise ValueError(f"value {fault}: {_shown(text)}" if text else "value is missing")


def _number(text: str) -> float | None:
    if "_" not in text and text.isascii():  # float() accepts 1_000, and digits of every script
        with suppress(ValueError):
            return float(text)
    return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")


def parcels(good: Iterator[Row], name: str, ship: int, units: Units) -> Iterator[sending.Parcel]:
    """Cut rows into batches, in order: of two rows with the same timestamp the later one counts."""
    while batch := list(islice(good, BATCH_READINGS)):
        for part in _few_slots(batch):
            lines, moments, values = zip(*part, strict=True)
            yield sending.Parcel(
                name=f"{name}:{lines[0]}-{lines[-1]}",
                ship=ship,
                units=units,
                moment_us=np.array(moments, np.int64),
                value=np.array(values, np.float64),
            )


def _few_slots(batch: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Halve a batch until no part covers more slots than the service accepts, whatever its maximum gap."""
    moments = np.unique(np.array([row.moment_us for row in batch], np.int64))
    if count_slots(moments, MAX_GAP_S * US_PER_S) <= MAX_SLOTS:
        yield batch
        return
    half = len(batch) // 2
    yield from _few_slots(batch[:half])
    yield from _few_slots(batch[half:])


@dataclass(slots=True)
class Tally:
    """Counts the rows that were sent and those that were left out."""

    name: str
    sent: int = 0
    left_out: int = 0
    moments_us: list[int] = field(default_factory=list)

    def bad(self, line: int, why: str) -> None:
        """Count a bad row, and print it if it is one of the first."""
        self.left_out += 1
        if self.left_out <= NAMED_ROWS:
            tqdm.write(f"{self.name}:{line}: {why}", file=sys.stderr)

    def good(self, parcel: sending.Parcel) -> None:
        """Count a batch that was sent."""
        self.sent += len(parcel.value)
        both = [*self.moments_us, int(parcel.moment_us.min()), int(parcel.moment_us.max())]
        self.moments_us = [min(both), max(both)]

    def __str__(self) -> str:
        span = f", {iso(self.moments_us[0])} to {iso(self.moments_us[1])}" if self.moments_us else ""
        return f"{self.name}: {self.sent:,} readings sent, {self.left_out:,} rows left out{span}"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("file", type=Path, metavar="FILE.csv", help="a file with a header and a row per reading")
    parser.add_argument("--ship", type=ship_number, required=True, metavar="N", help="number of the ship")
    parser.add_argument("--units", choices=UNITS, required=True, help="unit of the values")
    parser.add_argument(
        "--time-column", default="datetime", metavar="NAME", help="column of the timestamps (default datetime)"
    )
    parser.add_argument(
        "--value-column",
        metavar="NAME",
        help="column of the values (default: kW, kWh or value, or the only other column)",
    )
    parser.add_argument(
        "--allow-negative", action="store_true", help="accept values below 0; the service must accept them, too"
    )
    add_url(parser)


def run(arguments: Namespace) -> int:
    """Send a file's readings to a running service."""
    path: Path = arguments.file
    period = ReadingSettings.load(os.environ).rules.period(now_us())
    table = Table(arguments.units, arguments.time_column, arguments.value_column, arguments.allow_negative, period)
    tally = Tally(str(path))
    try:
        # Bytes that are not UTF-8 make their cell invalid, not the whole file.
        with (
            path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as lines,
            tqdm(total=path.stat().st_size or None, unit="B", unit_scale=True) as bar,
        ):
            good = rows(_counted(lines, bar.update), table, tally.bad)
            batches = parcels(good, str(path), arguments.ship, table.units)
            # The batches of one ship are sent one after another, so one connection is enough.
            for parcel in sending.deliver(arguments.url, batches, connections=1):
                tally.good(parcel)
    except OSError as error:
        raise InvalidSettings(f"cannot read {path}: {error.strerror}") from None
    if tally.left_out > NAMED_ROWS:
        sys.stderr.write(f"… and {tally.left_out - NAMED_ROWS:,} more rows that were left out\n")
    sys.stdout.write(f"{tally}\n")
    return 1 if tally.left_out else 0


def _counted(lines: Iterable[str], move: Callable[[int], object]) -> Iterator[str]:
    """Move a progress bar of bytes by the characters of every line, which are nearly as many."""
    for line in lines:
        yield line
        move(len(line))

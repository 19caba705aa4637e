"""Reads a whole file, before anything of it is sent."""

import re
from collections.abc import Callable
from typing import BinaryIO

from power_cli.importing.content import Content
from power_cli.importing.doubts import too_wide
from power_cli.importing.faults import Faults
from power_cli.importing.layout import find_layout
from power_cli.importing.records import Lines, records
from power_cli.importing.rows import Rows
from power_cli.importing.series import make_series
from power_cli.importing.table import Reader
from power_cli.importing.text import Text
from power_cli.importing.understanding import Understanding
from power_cli.importing.wanted import Wanted
from power_cli.importing.zones import is_fixed
from shared.contract.kinds import is_energy
from shared.domain.errors import InvalidInput

_UTC = re.compile(r"\b(?:UTC|GMT)\b", re.IGNORECASE)


def read(file: BinaryIO, wanted: Wanted, moved: Callable[[int], object] = lambda _: None) -> Content:
    """Read a file to its end.

    Args:
        file: buffered.
        wanted: the options.
        moved: is called with the number of bytes of each block.

    Raises:
        InvalidInput: it cannot be told what it means, or it has no rows.

    """
    text = Text(file, moved)
    lines = Lines(text.lines())
    layout = find_layout(lines, wanted)
    faults = Faults()
    reader = Reader(layout, wanted, faults)
    rows = Rows.concat(list(reader.parts(records(lines, layout.separator, len(layout.header)))))
    understanding = reader.understanding
    if understanding is None:
        raise InvalidInput(_no_rows(reader, faults))
    if not reader.rows:
        raise InvalidInput(_nothing_chosen(understanding, wanted))
    _check_options(understanding, wanted)
    series, checks = make_series(rows, wanted, faults)
    return Content(
        *(wanted, text.encoding, understanding, series, checks),
        *(faults, reader.wide, reader.rows, reader.excluded),
    )


def _check_options(understanding: Understanding, wanted: Wanted) -> None:
    columns = understanding.columns
    if wanted.counter and not is_energy(understanding.units):
        raise InvalidInput(f"--counter is for units of energy, not {understanding.units}")
    if wanted.counter and (columns.end or columns.days is not None):
        raise InvalidInput("--counter is for files with one timestamp in each row")
    names = " ".join(understanding.layout.header[at] for at in columns.time)
    if understanding.is_local and _UTC.search(names) and wanted.zone is not None and not is_fixed(wanted.zone):
        raise InvalidInput(f"the header {names!r} says UTC, but --tz says {wanted.zone}: correct what is wrong")
    if wanted.stamp is not None and columns.end:
        raise InvalidInput("--stamp is for files without a column of the ends")


def _no_rows(reader: Reader, faults: Faults) -> str:
    if reader.wide:
        return too_wide(reader.wide, reader.layout)
    if faults.count:
        line, why = faults.first()[0]
        return f"none of {faults.count:,} rows can be read; line {line} {why}"
    return f"there are no rows below the header in line {reader.layout.line}"


def _nothing_chosen(understanding: Understanding, wanted: Wanted) -> str:
    filters = " and ".join(f"{name}={value}" for name, value in wanted.where)
    columns = {understanding.layout.header[at] for at in understanding.columns.where}
    there = [f"{name} has {', '.join(sorted(understanding.others[name] or ()))}" for name in columns]
    return f"there are no rows with {filters}: {'; '.join(there)}"

"""Reads the rows of a file, some thousands at a time, and decides by the first ones what they mean."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from power_cli.importing.columns import Columns, find_columns
from power_cli.importing.faults import Faults
from power_cli.importing.frames import cells, frame_of, stamp_texts
from power_cli.importing.layout import Layout
from power_cli.importing.numbers import decimal_mark
from power_cli.importing.part import Part
from power_cli.importing.records import Record
from power_cli.importing.rows import NO_SHIP, Rows
from power_cli.importing.stamps import find_style
from power_cli.importing.understanding import Understanding
from power_cli.importing.units import agreed, unit_in
from power_cli.importing.wanted import Wanted
from shared.domain.columns import I64
from shared.domain.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

PART_ROWS = 50_000
PART_CHARACTERS = 1 << 24
MAX_VALUES = 10_000_000
"""All are in memory until they are checked, with up to 250 bytes for each."""
SAMPLE_ROWS = 200
KEPT_VALUES = 10
"""Of a column that is not used, up to so many different values are kept for messages."""


class Reader:
    """Reads the rows below a header."""

    def __init__(self, layout: Layout, wanted: Wanted, faults: Faults) -> None:
        """Begin; `faults` gets the rows that are left out."""
        self.layout = layout
        self.wide: list[Record] = []
        """The first rows with more cells than the header."""
        self.understanding: Understanding | None = None
        """None until a row can be read."""
        self.rows = 0
        """How many rows were read, without those that `--where` excludes."""
        self.excluded = 0
        self._wanted = wanted
        self._faults = faults

    def parts(self, records: Iterator[Record]) -> Iterator[Rows]:
        """Yield the rows in parts, in the order of the file.

        Raises:
            InvalidInput: it cannot be told what the columns mean, or there are too many rows.

        """
        count = 0
        while part := _next_part(records):
            good = [each for each in part if each.fault is None]
            bad = [each for each in part if each.fault is not None]
            found = [self._lost(bad), *([self._read(good)] if good else [])]
            rows = Rows.concat(found)
            count += len(rows)
            if count > MAX_VALUES:
                raise InvalidInput(f"the file has more than {MAX_VALUES:,} values: import it in several parts")
            yield rows[np.argsort(rows.line, kind="stable")]

    def _lost(self, bad: Sequence[Record]) -> Rows:
        self.wide += [each for each in bad if each.cells][: KEPT_VALUES - len(self.wide)]
        for each in bad:
            self._faults.add(each.line, each.fault or "")
        self.rows += len(bad)
        return Rows.lost([each.line for each in bad], NO_SHIP if self._wanted.ship is None else self._wanted.ship)

    def _read(self, good: Sequence[Record]) -> Rows:
        frame = frame_of([each.text for each in good], self.layout)
        if self.understanding is None:
            self.understanding = self._understand(good, frame)
        understood = self.understanding
        chosen = self._chosen(frame, understood.columns)
        if len(chosen) and not self.rows:
            understood.example = good[int(chosen[0])]
        self.rows += len(chosen)
        self.excluded += len(good) - len(chosen)
        _keep_others(frame, understood)
        line = np.array([good[row].line for row in chosen], np.int64)
        counts = np.array([good[row].cells for row in chosen], np.int64)
        kept = frame.iloc[chosen].reset_index(drop=True)
        rows = Part(understood, self._wanted, self._faults, kept).rows(line, counts)
        understood.is_local |= bool(rows.is_local[rows.has_moment].any())
        return rows

    def _understand(self, good: Sequence[Record], frame: "pd.DataFrame") -> Understanding:
        layout, wanted = self.layout, self._wanted
        columns = find_columns(layout, frame.head(SAMPLE_ROWS).to_numpy().tolist(), wanted)
        chosen = frame.iloc[self._chosen(frame, columns)]
        units, told_by = agreed([("--units", wanted.units), *_units(layout, columns, chosen)])
        chosen = chosen if len(chosen) else frame
        mark = decimal_mark([text for at in columns.value for text in cells(chosen, at)], layout.separator, wanted)
        style = find_style(stamp_texts(chosen, columns.time), wanted)
        return Understanding(layout, columns, style, mark, units, told_by, good[0])

    def _chosen(self, frame: "pd.DataFrame", columns: Columns) -> I64:
        """Return the rows that `--where` chooses: of several values of one column any, of several columns all."""
        is_chosen = np.ones(len(frame), np.bool_)
        filters = list(zip(columns.where, (value.strip() for _, value in self._wanted.where), strict=True))
        for at in set(columns.where):
            is_chosen &= frame[at].isin([value for place, value in filters if place == at]).to_numpy(np.bool_)
        return np.flatnonzero(is_chosen)


def _next_part(records: Iterator[Record]) -> list[Record]:
    """Take some rows; fewer if they are long."""
    part, characters = [], 0
    for record in records:
        part.append(record)
        characters += len(record.text)
        if len(part) >= PART_ROWS or characters > PART_CHARACTERS:
            break
    return part


def _units(layout: Layout, columns: Columns, frame: "pd.DataFrame") -> Iterator[tuple[str, str | None]]:
    """Yield the units that the file names, and where."""
    for at in columns.value if columns.days is None else ():
        yield f"the header {layout.header[at]!r}", unit_in(layout.header[at])
    if columns.unit is not None:
        for unit in frame[columns.unit].unique():
            yield f"the column {layout.header[columns.unit]!r}", str(unit) or None
    elif layout.unit is not None:
        yield "a line above the header", unit_in(f"[{layout.unit}]")


def _keep_others(frame: "pd.DataFrame", understood: Understanding) -> None:
    """Keep what the columns contain that are not used, where that is little."""
    columns = understood.columns
    used = {*columns.time, *columns.end, *columns.value, columns.ship}
    for at, name in enumerate(understood.layout.header):
        kept = understood.others.setdefault(name, set())
        if at not in used and name and kept is not None:
            kept = kept | {str(each) for each in frame[at].unique()[: KEPT_VALUES + 1]}
            understood.others[name] = None if len(kept) > KEPT_VALUES else kept

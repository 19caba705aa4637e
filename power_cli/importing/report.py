"""What `./power import` says: how it understands the file, which rows it leaves out, and what it has sent."""

import re
from collections.abc import Iterator

import numpy as np

from power_cli.importing.content import Content
from power_cli.importing.energy import looks_like_a_meter, total_kwh
from power_cli.importing.faults import NAMED_ROWS
from power_cli.importing.layout import SEPARATORS
from power_cli.importing.wanted import listed
from shared.contract.kinds import is_energy
from shared.domain.readings import Kind
from shared.domain.timestamps import US_PER_S, iso

SHOWN_ROW = 60
_KINDS = {
    Kind.POWER_KW: "power from each timestamp to the next",
    Kind.ENERGY_KWH: "energy from each timestamp to the next",
    Kind.MEAN_KW: "power up to each timestamp, from the one before",
    Kind.END_KWH: "energy up to each timestamp, from the one before",
    Kind.COUNTER_KWH: "what a meter shows; energy is the difference to the next one",
}


def understood(content: Content) -> Iterator[str]:
    """Yield the lines that describe a file."""
    layout, columns = content.understanding.layout, content.understanding.columns
    separator = SEPARATORS.get(layout.separator, repr(layout.separator))
    decimal = "commas" if content.understanding.mark == "," else "points"
    text = f"{content.encoding}, cells separated by {separator}, decimal {decimal}"
    yield f"  text      {text}, header in line {layout.line}"
    times = " and ".join(_name(content, at) for at in columns.time)
    ends = f" to {_name(content, columns.end[-1])}" if columns.end else ""
    yield f"  time      {times}{ends}: {content.understanding.style}, {_zone(content)}"
    yield f"  values    {_values(content)}: {_meaning(content)}"
    yield f"  unit      {content.understanding.units}, by {content.understanding.told_by}"
    yield f"  ship      {listed([str(ship) for ship in np.unique(content.series.ship).tolist()], 10)}"
    left_out = f", {content.faults.count:,} left out" if content.faults.count else ""
    excluded = f", {content.excluded:,} more excluded by --where" if content.excluded else ""
    yield f"  rows      {content.rows:,}{left_out}{excluded}"
    yield from _readings(content)


def _name(content: Content, column: int) -> str:
    return repr(content.understanding.layout.header[column].strip())


def _zone(content: Content) -> str:
    if not content.understanding.is_local:
        return "in UTC" if content.understanding.style.is_number else "with an offset"
    if content.wanted.zone is None:
        return "in UTC, because there is no offset and no --tz"
    return f"in {content.wanted.zone}"


def _values(content: Content) -> str:
    columns = content.understanding.columns
    if columns.days is None:
        return _name(content, columns.value[0])
    first, last = (_name(content, columns.value[at]) for at in (0, -1))
    return f"{first} to {last}, which name {columns.days.names} of {columns.days.length_us // US_PER_S // 60} minutes"


def _meaning(content: Content) -> str:
    if not content.has_intervals:
        return _KINDS[content.kind]
    what = "energy" if is_energy(content.understanding.units) else "power"
    return f"{what} of each {'day' if content.understanding.style.is_day and not _has_times(content) else 'interval'}"


def _has_times(content: Content) -> bool:
    columns = content.understanding.columns
    return bool(columns.end) or columns.days is not None


def _readings(content: Content) -> Iterator[str]:
    series, checks = content.series, content.checks
    unknown = int(np.count_nonzero(np.isnan(series.value)))
    notes = f", unknown: {unknown:,} (missing values: {checks.missing:,})" if unknown else ""
    notes += f", repeated rows: {checks.repeats:,}" if checks.repeats else ""
    yield f"  readings  {len(series):,}{notes}"
    if not len(series):
        return
    first, last = int(series.moment_us.argmin()), int(series.moment_us.argmax())
    duration_us = int(series.duration_us[last])
    until = f", up to {iso(int(series.moment_us[last]) + duration_us)}" if duration_us else ""
    yield f"  first     {iso(int(series.moment_us[first]))}"
    yield f"  last      {iso(int(series.moment_us[last]))}{until}"
    if not checks.twice and not checks.overlaps:
        yield f"  total     {round(total_kwh(content), 6):.15g} kWh"
    yield from _example(content)


def _example(content: Content) -> Iterator[str]:
    series, example = content.series, content.understanding.example
    rows = np.flatnonzero(series.line == example.line)
    if not len(rows):
        return
    text = re.sub(r"\s+", " ", example.text)
    text = text if len(text) <= SHOWN_ROW else text[:SHOWN_ROW] + "…"
    value, moment = series.value[rows[0]], iso(int(series.moment_us[rows[0]]))
    shown = "unknown" if np.isnan(value) else f"{value:.15g} {content.understanding.units}"
    yield f"  example   {text!r} in line {example.line}: {shown} at {moment}"


def warnings(content: Content) -> Iterator[str]:
    """Yield what may be wrong with how the file is understood."""
    if is_energy(content.understanding.units) and not content.wanted.counter and looks_like_a_meter(content.series):
        yield "warning: the values only rise, as a meter's do: if they are what a meter shows, use --counter"


def left_out(content: Content, name: str) -> Iterator[str]:
    """Yield the lines that name the rows that are left out."""
    faults = content.faults
    for line, why in faults.first():
        yield f"{name}:{line}: {why}"
    if faults.count > NAMED_ROWS:
        yield f"… and {faults.count - NAMED_ROWS:,} more rows that were left out"


def sent(content: Content) -> str:
    """Return what was sent."""
    moment_us = content.series.moment_us
    span = f", {iso(int(moment_us.min()))} to {iso(int(moment_us.max()))}" if len(moment_us) else ""
    return f"{len(moment_us):,} readings sent, {content.faults.count:,} rows left out{span}"

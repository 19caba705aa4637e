"""The results table of `./power bench`."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from power_cli.markdown import table

HEADER = ("what", "result", "baseline, same run", "ratio", "goal", "met")
MANY = 10
"""Ratios from here on are shown without decimals."""


@dataclass(frozen=True, slots=True)
class Row:
    """One result.

    Attributes:
        what: what was measured.
        measured: the result, with its unit.
        baseline: what it is compared with, and that result.
        ratio: result divided by baseline; None if there is no baseline.
        wanted: the goal.
        holds: whether the goal is met.
        samples: the result of every round, by what was measured.

    """

    what: str
    measured: str
    baseline: str
    ratio: float | None
    wanted: str
    holds: bool
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)


def as_text(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    return table([HEADER, *map(_cells, rows)])


def as_json(rows: Sequence[Row], database: str, *, quick: bool) -> str:
    """Return the rows and their samples as JSON."""
    return json.dumps({"machine": machine(database), "quick": quick, "rows": [asdict(row) for row in rows]}, indent=1)


def machine(database: str) -> str:
    """Describe the machine and the database."""
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"{database}; load at the end {load:.1f}"
    )


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.{0 if row.ratio >= MANY else 2}f}x"
    return row.what, row.measured, row.baseline, ratio, row.wanted, "yes" if row.holds else "no"

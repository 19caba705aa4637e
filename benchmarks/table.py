"""The table that `./power bench` ends with."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

HEADER = ("what", "measured", "baseline, same run", "ratio", "wanted", "holds")
MANY = 10
"""From here on, a ratio's decimals say nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing measured.

    Attributes:
        what: what was measured.
        measured: its figure, with the unit.
        baseline: what it is held against, with its figure.
        ratio: the figure over the baseline's; None where there is none.
        wanted: the goal.
        holds: whether the goal is met.
        samples: every round's figure, by what was measured.

    """

    what: str
    measured: str
    baseline: str
    ratio: float | None
    wanted: str
    holds: bool
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)


def as_text(rows: Sequence[Row]) -> str:
    """Lay the rows out as a Markdown table whose columns are aligned."""
    cells = [HEADER, *(_cells(row) for row in rows)]
    widths = [max(len(text) for text in column) for column in zip(*cells, strict=True)]
    cells.insert(1, tuple("-" * width for width in widths))
    lines = ((text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(rows: Sequence[Row], database: str, *, quick: bool) -> str:
    """Write the rows with the samples behind them."""
    return json.dumps({"machine": machine(database), "quick": quick, "rows": [asdict(row) for row in rows]}, indent=1)


def machine(database: str) -> str:
    """Say what was measured on, with which database."""
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"{database}; load at the end {load:.1f}"
    )


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.{0 if row.ratio >= MANY else 2}f}x"
    return row.what, row.measured, row.baseline, ratio, row.wanted, "yes" if row.holds else "no"

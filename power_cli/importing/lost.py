"""Rows whose timestamp cannot be read: unknown readings keep their neighbours from speaking for them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from power_cli.importing.rows import NO_SHIP, Rows
from shared.domain.columns import I64


class Lost(NamedTuple):
    """Rows of one ship, one after another, and the moments around them."""

    first_line: int
    last_line: int
    ship: int
    before_us: int
    after_us: int
    rows: int


def lost_rows(rows: Rows) -> Iterator[Lost]:
    """Find rows without a moment that are between two with one."""
    order = np.flatnonzero(rows.ship != NO_SHIP)
    order = order[np.argsort(rows.ship[order], kind="stable")]
    is_gone = ~rows.has_moment[order]
    edges = np.diff(np.concatenate([[False], is_gone, [False]]).astype(np.int8))
    for begin, end in zip(np.flatnonzero(edges > 0).tolist(), np.flatnonzero(edges < 0).tolist(), strict=True):
        if begin == 0 or end == len(order):
            continue
        before, after = order[begin - 1], order[end]
        if rows.ship[before] == rows.ship[after]:
            first_line, last_line = int(rows.line[order[begin]]), int(rows.line[order[end - 1]])
            before_us, after_us = sorted((int(rows.start_us[before]), int(rows.start_us[after])))
            yield Lost(first_line, last_line, int(rows.ship[before]), before_us, after_us, end - begin)


def unknown(lost: Iterable[Lost], usual_us: int) -> I64:
    """Return unknown readings: one usual step behind the reading before rows that are lost, and one before the next.

    Args:
        lost: the rows.
        usual_us: the usual time between two readings.

    Returns:
        Ship, moment and line of each, int64[n, 3].

    """
    found = set()
    for each in lost:
        between_us = each.after_us - each.before_us
        step_us = min(usual_us, between_us // (each.rows + 1)) or between_us // 2
        if step_us > 0:
            found.add((each.ship, each.before_us + step_us, each.first_line))
            found.add((each.ship, each.after_us - step_us, each.last_line))
    return np.array(sorted(found), np.int64).reshape(-1, 3)

"""Rows whose timestamp cannot be read: unknown readings keep their neighbours from speaking for them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from power_cli.importing.rows import NO_SHIP, Rows
from shared.domain.columns import I64


class Lost(NamedTuple):
    """Rows of one ship, one after another.

    Attributes:
        line: of the first or the last of them.
        ship: theirs.
        neighbour_us: the reading beside them that would speak for them.
        between_us: the time between the readings around them; negative if the neighbour is the later one.
        rows: how many they are; 0 if their ship is not known, so that they may be of this one.

    """

    line: int
    ship: int
    neighbour_us: int
    between_us: int
    rows: int


def lost_rows(rows: Rows, *, looks_back: bool) -> Iterator[Lost]:
    """Find rows without a moment that are between two with one, of which the neighbour has a value.

    Args:
        rows: in the order of the file, in UTC.
        looks_back: whether readings speak for the time before them, so that the neighbour is the later one.

    """
    order = np.flatnonzero(rows.ship != NO_SHIP)
    order = order[np.argsort(rows.ship[order], kind="stable")]
    is_gone = ~rows.has_moment[order]
    edges = np.diff(np.concatenate([[False], is_gone, [False]]).astype(np.int8))
    for begin, end in zip(np.flatnonzero(edges > 0).tolist(), np.flatnonzero(edges < 0).tolist(), strict=True):
        if begin == 0 or end == len(order) or rows.ship[order[begin - 1]] != rows.ship[order[end]]:
            continue
        around, beside = (order[begin - 1], order[end]), (order[begin], order[end - 1])
        yield from _between(rows, around, beside, end - begin, looks_back=looks_back)
    yield from _of_no_ship(rows, looks_back=looks_back)


def _of_no_ship(rows: Rows, *, looks_back: bool) -> Iterator[Lost]:
    """Find the rows of each ship between which there are rows of a ship that is not known."""
    nobody = np.flatnonzero(rows.ship == NO_SHIP)
    if not len(nobody):
        return
    order = np.flatnonzero(rows.has_moment & (rows.ship != NO_SHIP))
    order = order[np.argsort(rows.ship[order], kind="stable")]
    before = np.searchsorted(nobody, order)
    is_between = (before[1:] > before[:-1]) & (np.diff(rows.ship[order]) == 0)
    for at in np.flatnonzero(is_between).tolist():
        beside = nobody[before[at]], nobody[before[at + 1] - 1]
        yield from _between(rows, (order[at], order[at + 1]), beside, 0, looks_back=looks_back)


def _between(
    rows: Rows, around: tuple[np.int64, np.int64], beside: tuple[np.int64, np.int64], count: int, *, looks_back: bool
) -> Iterator[Lost]:
    near, far = around
    line = rows.line[beside[0]]
    if bool(rows.start_us[near] > rows.start_us[far]) is not looks_back:
        near, far, line = far, near, rows.line[beside[1]]
    if not np.isnan(rows.value[near]):
        between_us = int(rows.start_us[far] - rows.start_us[near])
        yield Lost(int(line), int(rows.ship[near]), int(rows.start_us[near]), between_us, count)


def unknown(lost: Iterable[Lost], usual_us: int) -> I64:
    """Return an unknown reading beside the neighbour of all rows that are lost: one usual step away from it.

    Args:
        lost: the rows.
        usual_us: the usual time between two readings.

    Returns:
        Ship, moment and line of each, int64[n, 3].

    """
    found = set()
    for each in lost:
        between_us = abs(each.between_us)
        if not each.rows and between_us <= usual_us:
            continue  # this ship lacks nothing
        step_us = min(usual_us, between_us // (each.rows + 1)) or between_us // 2
        if step_us:
            found.add((each.ship, each.neighbour_us + (step_us if each.between_us > 0 else -step_us), each.line))
    return np.array(sorted(found), np.int64).reshape(-1, 3)

"""Brings the rows of a file into UTC, and leaves out those whose time does not exist, or is not the service's."""

from datetime import UTC

import numpy as np

from power_cli.importing import zones
from power_cli.importing.faults import Faults
from power_cli.importing.rows import NO_SHIP, Rows
from power_cli.importing.wanted import Wanted
from shared.domain.columns import I64, Bools
from shared.domain.timestamps import iso


def in_utc(rows: Rows, wanted: Wanted, faults: Faults) -> Bools:
    """Change starts and ends of rows to UTC.

    Returns:
        Which rows may be of another hour where the clock is put back, although their moment is clear.

    """
    local = np.flatnonzero(rows.has_moment & rows.is_local)
    is_doubtful = np.zeros(len(rows), np.bool_)
    if len(local):
        is_doubtful[local] = _doubtful(rows.start_us[local], wanted)
        _change(rows, local, wanted, faults)
    period = wanted.period
    is_outside = rows.has_moment & ((rows.start_us < period.oldest_us) | (rows.start_us > period.latest_us))
    for row in np.flatnonzero(is_outside & ~rows.is_left_out).tolist():
        us = int(rows.start_us[row])
        faults.add(int(rows.line[row]), f"datetime {period.fault(us)}: {iso(us)!r}")
    _forget(rows, is_outside)
    return is_doubtful


def _doubtful(local_us: I64, wanted: Wanted) -> Bools:
    if wanted.zone is None:
        return np.ones(len(local_us), np.bool_)
    if wanted.stamp != "end":
        return np.zeros(len(local_us), np.bool_)
    # Some write the end of an interval by the clock before the change: 03:00, and an hour later 03:00 again.
    return zones.comes_twice(local_us - zones.JUST_BEFORE_US, wanted.zone)


def _change(rows: Rows, local: I64, wanted: Wanted, faults: Faults) -> None:
    zone = wanted.zone or UTC
    ship, local_us, ends_us = rows.ship[local], rows.start_us[local], rows.end_us[local]
    start = zones.to_utc(local_us, ship, zone, are_ends=wanted.stamp == "end")
    is_missing, is_unclear = start.is_missing, start.is_unclear
    # A row for each day has cells for the hour that is passed over, and they are empty or 0.
    is_needless = is_missing & (ends_us > 0) & (np.nan_to_num(rows.value[local]) == 0) & ~rows.is_left_out[local]
    reasons = (
        (is_missing & ~is_needless, "does not exist: the clock is put forward then"),
        (is_unclear, "comes twice, and the rows do not tell which one is meant"),
    )
    for is_wrong, why in reasons:
        for row in np.flatnonzero(is_wrong & ~rows.is_left_out[local]).tolist():
            faults.add(int(rows.line[local[row]]), f"datetime {iso(int(local_us[row]))[:-1]} in {zone} {why}")
    rows.start_us[local] = start.us
    if ends_us.any():
        rows.end_us[local] = np.where(ends_us > 0, zones.ends_in_utc(ends_us, local_us, start.us, zone), 0)
    is_gone = np.zeros(len(rows), np.bool_)
    is_gone[local[is_missing | is_unclear]] = True
    _forget(rows, is_gone)
    rows.ship[local[is_needless]] = NO_SHIP


def _forget(rows: Rows, is_wrong: Bools) -> None:
    """Leave out rows whose timestamp is not known."""
    rows.has_moment[is_wrong] = False
    rows.is_left_out[is_wrong] = True

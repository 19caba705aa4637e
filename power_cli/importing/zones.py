"""Local time to UTC, where clocks are put forward and back."""

from datetime import timedelta, timezone, tzinfo
from typing import NamedTuple

import numpy as np

from shared.domain.columns import I64, Bools

HOURS_3_US = 3 * 3600 * 1_000_000
JUST_BEFORE_US = 1


class Moments(NamedTuple):
    """n timestamps.

    Attributes:
        us: microseconds since 1970 in UTC, 0 where it is not known, int64[n].
        is_missing: local times that the clock passed over, bool[n].
        is_unclear: local times that come twice, where the rows do not tell which one is meant, bool[n].

    """

    us: I64
    is_missing: Bools
    is_unclear: Bools


def is_fixed(zone: tzinfo) -> bool:
    """Return whether a zone is an offset; its clocks are never changed."""
    return isinstance(zone, timezone)


def to_utc(local_us: I64, ship: I64, zone: tzinfo, *, are_ends: bool) -> Moments:
    """Convert local times.

    Of local times that come twice, the order of the file tells which is which: the clock is put back where it falls.

    Args:
        local_us: in the order of the file, int64[n].
        ship: whose clock it is, int64[n].
        zone: of the clock.
        are_ends: whether they end intervals: 02:00 then is the end of the last hour, even if the clock goes to 03:00.

    """
    n = len(local_us)
    if isinstance(zone, timezone):
        offset_us = zone.utcoffset(None) // timedelta(microseconds=1)
        return Moments(local_us - offset_us, np.zeros(n, np.bool_), np.zeros(n, np.bool_))
    earlier_us, later_us, is_missing = _both(local_us, zone)
    if are_ends and is_missing.any():
        before_us, _, is_inside = _both(local_us - JUST_BEFORE_US, zone)
        is_edge = is_missing & ~is_inside
        earlier_us = np.where(is_edge, before_us + JUST_BEFORE_US, earlier_us)
        later_us, is_missing = np.where(is_edge, earlier_us, later_us), is_missing & ~is_edge
    is_twice = (earlier_us != later_us) & ~is_missing
    is_second, is_unclear = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    if is_twice.any():
        order = np.argsort(ship, kind="stable")
        falls = np.sign(np.diff(local_us[order]))[np.diff(ship[order]) == 0].sum() < 0
        if falls:
            order = order[::-1]
        order = order[is_twice[order]]
        for rows in np.split(order, _new_group(local_us[order], ship[order])):
            second = _second(local_us[rows])
            if second is None:
                is_unclear[rows] = True
            else:
                is_second[rows[second:]] = True
    us = np.where(is_second, later_us, earlier_us)
    return Moments(np.where(is_missing | is_unclear, 0, us), is_missing, is_unclear)


def ends_in_utc(ends_us: I64, local_us: I64, start_us: I64, zone: tzinfo) -> I64:
    """Return the ends of intervals in UTC.

    Where the clock is changed, an end may be written by the clock before or after that: the length of an interval that
    is next to the usual one is right.

    Args:
        ends_us: in local time, int64[n].
        local_us: the starts in local time, int64[n].
        start_us: the starts in UTC, int64[n].
        zone: of the clock.

    """
    length_us = ends_us - local_us
    by_start_us = start_us + length_us
    if isinstance(zone, timezone):
        return by_start_us
    earlier_us, later_us, is_missing = _both(ends_us, zone)
    is_unsure = is_missing | (earlier_us != later_us) | comes_twice(local_us, zone)
    if not is_unsure.any():
        return earlier_us
    usual_us = np.median(length_us[length_us > 0]) if (length_us > 0).any() else 0
    candidates_us = np.stack([np.where(is_missing, by_start_us, earlier_us), later_us, by_start_us])
    found_us = candidates_us - start_us
    best = np.where(found_us > 0, np.abs(found_us - usual_us), np.inf).argmin(axis=0)
    return np.where(is_unsure, candidates_us[best, np.arange(len(best))], earlier_us)


def comes_twice(local_us: I64, zone: tzinfo) -> Bools:
    """Return which local times come twice."""
    if isinstance(zone, timezone):
        return np.zeros(len(local_us), np.bool_)
    earlier_us, later_us, is_missing = _both(local_us, zone)
    return np.asarray((earlier_us != later_us) & ~is_missing, np.bool_)


def _both(local_us: I64, zone: tzinfo) -> tuple[I64, I64, Bools]:
    """Return both meanings of local times, which are mostly the same, and which times the clock passed over."""
    import pandas as pd  # noqa: PLC0415  # loaded where it is needed

    naive = pd.DatetimeIndex(local_us.astype("datetime64[us]"))
    found, is_missing = [], np.zeros(len(naive), np.bool_)
    for is_first in (True, False):
        utc = naive.tz_localize(zone, ambiguous=np.full(len(naive), is_first), nonexistent="NaT").tz_convert("UTC")
        is_missing = np.asarray(utc.isna(), np.bool_)
        us = utc.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
        found.append(np.where(is_missing, 0, us))
    return found[0], found[1], is_missing


def _new_group(local_us: I64, ship: I64) -> I64:
    """Return where another ship or another night begins."""
    return np.flatnonzero((np.abs(np.diff(local_us)) > HOURS_3_US) | (np.diff(ship) != 0)) + 1


def _second(local_us: I64) -> int | None:
    """Return the first row of the second of two hours; None if the rows do not tell."""
    step_us = np.diff(local_us)
    for back in (np.flatnonzero(step_us < 0), np.flatnonzero(step_us <= 0)):
        if len(back) == 1:
            return int(back[0]) + 1
        if len(back):
            return None
    return None

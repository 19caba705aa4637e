"""Columns of the tables as statements select them: row by row, and as arrays; and readings built of such arrays."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.domain.covariates import Covariates
from shared.domain.readings import PLAIN, Kind, Readings, Stated
from shared.store.postgres.arrays import columns_of

_KIND, _UNIT = (
    " ".join(f"WHEN '{getattr(kind, name)}' THEN {kind.value}" for kind in kinds)
    for name, kinds in (("label", Kind), ("unit", PLAIN))
)
READING = f"""
ship, time_us, coalesce(value, 'NaN') AS value,
    coalesce(CASE kind {_KIND} END, CASE unit {_UNIT} END)::smallint AS kind, sent_at_us,
    coalesce(duration_us, 0) AS duration_us, coalesce(max_gap_us, 0) AS max_gap_us, coalesce(rollover, 0) AS rollover
"""
READINGS = """
array_agg(ship), array_agg(time_us), array_agg(value), array_agg(kind), array_agg(sent_at_us),
    array_agg(duration_us), array_agg(max_gap_us), array_agg(rollover)
"""
SLOT = "ship, start_s, kwh, covered_s, provisional, estimated_s"
SLOTS = """
array_agg(ship), array_agg(start_s), array_agg(kwh), array_agg(covered_s), array_agg(provisional),
    array_agg(estimated_s)
"""
DELETIONS = "array_agg(ship), array_agg(start_us), array_agg(end_us), array_agg(sent_at_us)"
# One row, of nulls where there are none.
COVARIATES_OF_SHIP = "SELECT max(sent_at_us), max(content) FROM covariates WHERE partition = %s AND ship = %s"
READINGS_OF_SHIP = f"""
SELECT {READINGS} FROM (
    SELECT {READING} FROM readings WHERE partition = %s AND ship = %s AND time_us >= %s AND time_us < %s
    ORDER BY time_us LIMIT %s
) AS r
"""


def readings_of(row: tuple[NDArray[Any] | None, ...]) -> Readings:
    """Build readings from a row of `READINGS`."""
    readings, stated = columns_of(Readings, row[:5]), columns_of(Stated, row[5:])
    return replace(readings, stated=stated) if any(map(np.count_nonzero, stated.columns())) else readings


def covariates_of(ship: int, row: tuple[Any, ...]) -> Covariates | None:
    """Build covariates from the row of `COVARIATES_OF_SHIP`; None if there are none."""
    return None if row[0] is None else Covariates(ship, *row)

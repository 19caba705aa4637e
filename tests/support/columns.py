"""Readings as columns."""

from collections.abc import Iterable
from typing import Any

from shared.domain.readings import Readings
from tests.support.reference import Reading


def as_columns(rows: Iterable[tuple[Any, ...]]) -> Readings:
    """Build readings from rows; what is left out at the end of a row is not stated."""
    return Readings.from_rows(Reading(*row) for row in rows)

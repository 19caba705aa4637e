"""Covariates of a ship: what is known of its time besides its energy, also ahead, such as its planned speed."""

import json
from typing import NamedTuple

import numpy as np

from shared.domain.columns import F64, I64

TIMESTAMPS = "datetime"
"""The member with the timestamps; no covariate has this name."""
NO_ROWS = "{}"


class Covariates(NamedTuple):
    """A ship's table of covariates, as it is stored.

    Attributes:
        ship: `spaceship_id`.
        sent_at_us: when it was sent, microseconds since 1970.
        content: the columns of a `Table` as JSON; `{}` if the table was removed.

    """

    ship: int
    sent_at_us: int
    content: str

    def replaces(self, stored: "Covariates | None") -> bool:
        """Return whether it counts in place of the stored one: of several, the one sent last counts."""
        return stored is None or (self.sent_at_us, self.content) > (stored.sent_at_us, stored.content)

    def table(self) -> "Table":
        """Return the table."""
        columns = json.loads(self.content)
        moment_us = np.array(columns.pop(TIMESTAMPS, []), np.int64)
        return Table(moment_us, {name: np.array(each, np.float64) for name, each in columns.items()})


class Table(NamedTuple):
    """Rows in the order of time, n of them, as columns.

    Attributes:
        moment_us: microseconds since 1970, ascending, int64[n].
        values: the numbers of each covariate by its name, NaN where a row has none, float64[n] each.

    """

    moment_us: I64
    values: dict[str, F64]

    def content(self) -> str:
        """Return it as `Covariates.content`; that of equal tables is equal."""
        if not len(self.moment_us):
            return NO_ROWS
        columns = {name: _or_none(self.values[name]) for name in sorted(self.values)}
        return json.dumps({TIMESTAMPS: self.moment_us.tolist(), **columns}, separators=(",", ":"))


def _or_none(values: F64) -> list[float | None]:
    return [None if each != each else each for each in values.tolist()]  # noqa: PLR0124  # NaN is no number of JSON

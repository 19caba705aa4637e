"""What a file contains."""

from dataclasses import dataclass

from power_cli.importing.faults import Faults
from power_cli.importing.records import Record
from power_cli.importing.series import Checks, Series
from power_cli.importing.understanding import Understanding
from power_cli.importing.wanted import Wanted
from shared.contract.kinds import WireStated, kind_of
from shared.domain.readings import Kind


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """A file that was read to its end.

    Attributes:
        wanted: the options.
        encoding: of its text.
        understanding: how it is understood.
        series: its readings.
        checks: what was noticed while they were made.
        faults: the rows that are left out.
        wide: the first rows with more cells than the header.
        rows: how many rows it has, without those that `--where` excludes.
        excluded: how many these are.

    """

    wanted: Wanted
    encoding: str
    understanding: Understanding
    series: Series
    checks: Checks
    faults: Faults
    wide: list[Record]
    rows: int
    excluded: int

    @property
    def kind(self) -> Kind:
        """What the values mean."""
        wanted = self.wanted
        members = {"units": self.understanding.units, "stamp": wanted.stamp, "counter": wanted.counter or None}
        return kind_of(WireStated.model_validate(members))

    @property
    def has_intervals(self) -> bool:
        """Whether the rows say for how long their values are."""
        columns = self.understanding.columns
        is_day = self.understanding.style.is_day and self.wanted.stamp is None and not self.wanted.counter
        return bool(columns.end) or columns.days is not None or is_day

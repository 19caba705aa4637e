"""How a file is understood."""

from dataclasses import dataclass, field

from power_cli.importing.columns import Columns
from power_cli.importing.layout import Layout
from power_cli.importing.records import Record
from power_cli.importing.stamps import Style
from shared.contract.kinds import Units


@dataclass(slots=True)
class Understanding:
    """How a file is understood, from its first rows.

    Attributes:
        layout: separator and header.
        columns: what the columns mean.
        style: how timestamps are written.
        mark: the decimal mark.
        units: of the values.
        told_by: who says so.
        example: the first row that could be read.
        is_local: whether timestamps have no offset; known when all rows are read.
        others: some values of each column that is not used, by its name; None if there are too many.

    """

    layout: Layout
    columns: Columns
    style: Style
    mark: str
    units: Units
    told_by: str
    example: Record
    is_local: bool = False
    others: dict[str, set[str] | None] = field(default_factory=dict)

    @property
    def values_per_row(self) -> int:
        """How many values a row has."""
        return len(self.columns.value)

"""The rows that are left out: the first ones by line and reason, all of them counted."""

from dataclasses import dataclass, field

NAMED_ROWS = 20


@dataclass(slots=True)
class Faults:
    """Counts faults.

    Attributes:
        count: how many rows, or values of a row with several, are left out.
        named: the first ones, line and reason.

    """

    count: int = 0
    named: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, why: str) -> None:
        """Count one; of all the first are named, by line."""
        self.count += 1
        self.named.append((line, why))
        if len(self.named) > 2 * NAMED_ROWS:
            self.named = self.first()

    def first(self) -> list[tuple[int, str]]:
        """Return the first ones, by line."""
        return sorted(self.named)[:NAMED_ROWS]

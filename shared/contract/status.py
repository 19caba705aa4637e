"""What identifies a batch, and its status: accepted, stored or rejected."""

from dataclasses import dataclass
from typing import Literal, NamedTuple
from uuid import UUID

from shared.domain.errors import Problem

FinalStatus = Literal["stored", "rejected"]
"""What a receipt says."""
Status = Literal["accepted", FinalStatus]


class BatchKey(NamedTuple):
    """Identifies a batch. A `batch_id` alone does not: two ships may use the same one."""

    ship: int
    batch_id: str


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """The status of one batch; `problems` say why it was rejected, `superseded` how many readings do not count."""

    batch_id: UUID
    ship: int
    readings: int
    status: Status
    problems: tuple[Problem, ...] = ()
    superseded: int = 0

    @property
    def key(self) -> BatchKey:
        """What identifies the batch."""
        return BatchKey(self.ship, str(self.batch_id))

"""What identifies a batch, and its status: accepted, stored or rejected."""

from dataclasses import dataclass
from typing import Literal, NamedTuple
from uuid import UUID

from shared.domain.errors import Conflict, Problem

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

    @property
    def conflict(self) -> Conflict | None:
        """Why the worker rejected the batch, if that was because another one has its `batch_id`."""
        if self.status != "rejected":
            return None
        conflict = already_used(self.batch_id)
        return conflict if self.problems == conflict.problems else None


def already_used(batch_id: UUID) -> Conflict:
    """Return the error of a batch whose `batch_id` another one has.

    The worker's receipt has its problem; the gateway knows it by that.
    """
    return Conflict(f"batch_id {batch_id} is already used by another batch")

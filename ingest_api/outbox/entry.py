"""The entries of the outbox: as they are accepted, and as they wait for their receipt."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from shared.contract.limits import MAX_MESSAGE_BYTES
from shared.contract.status import BatchKey, BatchStatus
from shared.http.tokens import EVERYTHING, Access

ENTRY_BYTES = 300
"""Size of an entry on the disk beyond its payload, batch status included: most of it, for a batch of one reading."""
MAX_ENTRY_BYTES = MAX_MESSAGE_BYTES + ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch to be accepted.

    Attributes:
        batch_id: its `batch_id`.
        ship: its ship.
        readings: number of its readings.
        digest: of its content: distinguishes a duplicate from another batch with the same `batch_id`.
        payload: the message to publish.
        access: what its sender may do, and the name of the token.
        place: where the batch is in its body; empty if it is alone.
        is_named: the sender gave it its `batch_id`.

    """

    batch_id: UUID
    ship: int
    readings: int
    digest: bytes
    payload: bytes
    access: Access = EVERYTHING
    place: str = ""
    is_named: bool = False

    @property
    def key(self) -> BatchKey:
        """What identifies the batch."""
        return BatchKey(self.ship, str(self.batch_id))

    @property
    def sender(self) -> str:
        """The sender whose quota it counts for."""
        return self.access.sender(self.ship)

    @property
    def accepted(self) -> BatchStatus:
        """Its status once it is accepted."""
        return BatchStatus(self.batch_id, self.ship, self.readings, "accepted")

    @property
    def size_bytes(self) -> int:
        """The space that it takes in the outbox."""
        return len(self.payload) + ENTRY_BYTES


class WaitingEntry(NamedTuple):
    """An accepted batch without a receipt; entries are numbered in the order of acceptance."""

    number: int
    batch_id: str
    ship: int
    digest: bytes
    payload: bytes

    @property
    def key(self) -> BatchKey:
        """What identifies the batch."""
        return BatchKey(self.ship, self.batch_id)


def first_within(entries: Iterable[WaitingEntry], limit: int, limit_bytes: int) -> list[WaitingEntry]:
    """Return the first entries: at most `limit`, and at most `limit_bytes` of payload unless it is a single entry."""
    found: list[WaitingEntry] = []
    for entry in entries:
        limit_bytes -= len(entry.payload)
        if len(found) >= limit or (found and limit_bytes < 0):
            break
        found.append(entry)
    return found

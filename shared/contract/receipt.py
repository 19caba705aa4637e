"""Receipts as JSON: written by the worker, read by the gateway."""

import json
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.contract.limits import MAX_READINGS
from shared.contract.status import BatchKey, FinalStatus
from shared.contract.wire import Ship
from shared.domain.errors import MAX_PROBLEMS, Problem


class Receipt(BaseModel):
    """A receipt as it was received; unknown members are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    batch_id: UUID
    spaceship_id: Ship
    status: FinalStatus
    errors: Annotated[list[Problem], Field(default_factory=list)]
    superseded: Annotated[int, Field(ge=0, le=MAX_READINGS)] = 0

    @property
    def key(self) -> BatchKey:
        """What identifies the batch. The worker takes the ship from the topic, so that no ship can forge it."""
        return BatchKey(self.spaceship_id, str(self.batch_id))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why the batch was rejected."""
        return tuple(self.errors[:MAX_PROBLEMS])


def receipt_json(
    key: BatchKey, status: FinalStatus, readings: int, problems: Sequence[Problem], superseded: int = 0
) -> bytes:
    """Return a receipt as UTF-8 JSON; `superseded` is left out where it is 0."""
    members = {
        "batch_id": key.batch_id,
        "spaceship_id": key.ship,
        "status": status,
        "readings": readings,
        "errors": [{"at": each.at, "problem": each.problem} for each in problems],
    }
    if superseded:
        members["superseded"] = superseded
    return json.dumps(members, separators=(",", ":")).encode()

"""The worker's word on one batch, as it comes over MQTT."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ingest_api.outbox.batch_status import BatchKey
from shared.contract.batch import Ship
from shared.domain.errors import MAX_PROBLEMS, Problem


class WireProblem(BaseModel):
    """One fault."""

    at: str
    problem: str


class Receipt(BaseModel):
    """A receipt; members beyond these are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    batch_id: UUID
    spaceship_id: Ship
    status: Literal["stored", "rejected"]
    errors: Annotated[list[WireProblem], Field(default_factory=list)]

    @property
    def key(self) -> BatchKey:
        """What identifies the batch; the worker takes the ship from the topic of the batch's message."""
        return BatchKey(self.spaceship_id, str(self.batch_id))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why the batch was rejected."""
        return tuple(Problem(each.at, each.problem) for each in self.errors[:MAX_PROBLEMS])

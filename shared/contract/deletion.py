"""The wire format of deletions: messages with `delete` in the place of `units` and `data`."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from shared.contract.batch import Batch, without_readings
from shared.contract.decoding import InvalidBatch, batch_id_in
from shared.contract.misspelt import misspelt
from shared.contract.validation import MOMENT_SCHEMA, moment, problems
from shared.contract.wire import Judge, MomentUs, TopicShip
from shared.domain.timestamps import iso

AnyMomentUs = Annotated[int, BeforeValidator(moment), MOMENT_SCHEMA]
"""Whatever is stored may be deleted: readings of any time."""


class Span(BaseModel):
    """The readings from `start` up to, but not including, `end`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: AnyMomentUs
    end: AnyMomentUs

    @field_validator("end")
    @classmethod
    def _in_order(cls, end: int, info: ValidationInfo) -> int:
        if end <= info.data.get("start", -1):
            raise PydanticCustomError("order", "is not after start")
        return end


class TopicDeletion(BaseModel):
    """A deletion whose topic names the ship."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    spaceship_id: TopicShip = -1
    delete: Span
    batch_id: UUID | None = None
    sent_at: MomentUs | None = None
    units: None = None
    data: None = None
    covariates: None = None

    @field_validator("units", "data", "covariates", mode="before")
    @classmethod
    def _left_out(cls, given: object) -> None:
        if given is not None:
            raise PydanticCustomError("deletion", "is no part of a deletion")


_MEMBERS = TopicDeletion.model_fields.keys()


def checked(raw: dict[str, Any], judge: Judge, ship: int) -> Batch:
    """Check the parsed JSON of a deletion, which `judge.raw` is, too.

    Raises:
        InvalidBatch: not a valid deletion; its problems say where and why.

    """
    found = tuple(misspelt(raw, _MEMBERS))
    try:
        wire = TopicDeletion.model_validate(raw, context=judge)
    except ValidationError as error:
        raise InvalidBatch((*found, *problems(error)), batch_id_in(raw)) from None
    if found:
        raise InvalidBatch(found, wire.batch_id)
    return without_readings(ship, wire.batch_id, wire.sent_at, deletes=(wire.delete.start, wire.delete.end))


def message(ship: int, span_us: tuple[int, int], batch_id: UUID, sent_at_us: int | None, accepted_us: int) -> bytes:
    """Return a deletion as JSON; `accepted_at` comes first, as in `Received.message`."""
    start, end, accepted_at = map(iso, (*span_us, accepted_us))
    sent_at = "" if sent_at_us is None else f'"sent_at":"{iso(sent_at_us)}",'
    return (
        f'{{"accepted_at":"{accepted_at}","spaceship_id":{ship},"batch_id":"{batch_id}",{sent_at}'
        f'"delete":{{"start":"{start}","end":"{end}"}}}}'
    ).encode()

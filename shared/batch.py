"""The wire format: what one POST body or one MQTT message carries, checked and turned into columns."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError, from_json
from typing_extensions import TypedDict

from shared.errors import MAX_PROBLEMS, InvalidInput, Problem, TooLargeInput, UnreadableInput
from shared.moments import moments_us
from shared.readings import F64, I64, MAX_SHIP, Readings
from shared.validation import MOMENT_SCHEMA, is_not_json, moment, problems

MAX_BYTES = 8 * 1024 * 1024
MAX_READINGS = 100_000
MAX_VALUE = 1e12
ENVELOPE_BYTES = 256
"""Room beyond `MAX_BYTES` for the `batch_id` and `sent_at` that the gateway adds to a body of the full size."""
NOT_VALID = "the batch is not valid"


VALUE = "in `units`; less than 0 only where the service's owner allows that"
Units = Literal["kW", "kWh"]
Ship = Annotated[int, Field(strict=True, ge=0, le=MAX_SHIP)]
MomentUs = Annotated[int, BeforeValidator(moment), MOMENT_SCHEMA]
Value = Annotated[float, Field(strict=True, ge=0, le=MAX_VALUE, allow_inf_nan=False)]
SignedValue = Annotated[float, Field(strict=True, ge=-MAX_VALUE, le=MAX_VALUE, allow_inf_nan=False)]


class WireReading(TypedDict):
    """One reading as it is sent, checked as far as needs no Python call a reading: the rest is checked in columns."""

    datetime: Annotated[str, Field(strict=True, examples=["2018-08-24T00:00:00Z"]), MOMENT_SCHEMA]
    value: Annotated[SignedValue, Field(description=VALUE, examples=[12])]


class CheckedReading(TypedDict):
    """One reading, checked in full."""

    datetime: MomentUs
    value: Value


class CheckedSignedReading(TypedDict):
    """One reading of a fleet that feeds energy back, checked in full."""

    datetime: MomentUs
    value: SignedValue


class WireBatch(BaseModel):
    """One batch as it is sent; members beyond these are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    spaceship_id: Ship
    units: Units
    data: Annotated[list[WireReading], Field(min_length=1, max_length=MAX_READINGS, fail_fast=True)]
    batch_id: UUID | None = None
    sent_at: MomentUs | None = None


class TopicBatch(WireBatch):
    """A batch whose topic already names the ship."""

    spaceship_id: Ship = -1  # stands for "the topic's"; no sender can give it

    @field_validator("spaceship_id")
    @classmethod
    def _as_the_topic(cls, ship: int, info: ValidationInfo) -> int:
        if ship != info.context:
            both = {"ship": ship, "topic": info.context}
            raise PydanticCustomError("topic", "is {ship}, but the topic names {topic}", both)
        return ship


class _Named(BaseModel):
    """What is left of a batch that is not valid."""

    batch_id: UUID | None = None


_CHECKED: dict[bool, TypeAdapter[Any]] = {False: TypeAdapter(CheckedReading), True: TypeAdapter(CheckedSignedReading)}


class Batch(NamedTuple):
    """One batch, valid, with at most one value a moment (of two in one batch the later in its list counts).

    Attributes:
        ship: `spaceship_id`.
        units: `kW` or `kWh`.
        moment_us: microseconds since 1970, ascending, int64[n].
        value: in `units`, float64[n].
        received: how many readings were sent, repeated moments included.
        batch_id: None where it was left out.
        sent_at_us: None where it was left out.

    """

    ship: int
    units: Units
    moment_us: I64
    value: F64
    received: int
    batch_id: UUID | None
    sent_at_us: int | None


def columns(batches: Sequence[Batch]) -> Readings:
    """Put batches, each with its `sent_at_us`, into columns one after the other."""
    counts = [len(batch.moment_us) for batch in batches]
    return Readings(
        np.repeat(np.array([batch.ship for batch in batches], np.int64), counts),
        np.concatenate([batch.moment_us for batch in batches]),
        np.concatenate([batch.value for batch in batches]),
        np.repeat(np.array([batch.units == "kWh" for batch in batches]), counts),
        np.repeat(np.array([batch.sent_at_us for batch in batches], np.int64), counts),
    )


def decode(payload: bytes, *, topic_ship: int | None = None, allow_negative: bool = False) -> Batch:
    """Read a batch from JSON.

    Args:
        payload: UTF-8 JSON.
        topic_ship: the ship that the MQTT topic names; `spaceship_id` may then be left out, and must agree if given.
        allow_negative: take values below 0, for fleets that feed energy back.

    Raises:
        TooLargeInput: more bytes than a batch may have.
        UnreadableInput: not JSON.
        InvalidInput: JSON, but no valid batch; its problems say where and why.

    """
    if len(payload) > MAX_BYTES + ENVELOPE_BYTES:
        raise TooLargeInput(f"a batch may have at most {MAX_BYTES} bytes, this has {len(payload)}")
    model = WireBatch if topic_ship is None else TopicBatch
    try:
        wire = model.model_validate_json(payload, context=topic_ship)
        moments, values = _columns(wire.data, allow_negative=allow_negative)
    except ValueError as error:  # pydantic's is one too
        if isinstance(error, ValidationError) and is_not_json(error):
            raise UnreadableInput(problems(error)[0].problem) from None
        raise InvalidInput(NOT_VALID, _all_problems(model, _CHECKED[allow_negative], payload, topic_ship)) from None
    kept = _last_of_each_moment(moments)
    return Batch(
        ship=wire.spaceship_id if topic_ship is None else topic_ship,
        units=wire.units,
        moment_us=moments[kept],
        value=values[kept] + 0.0,  # -0.0 becomes 0.0
        received=len(moments),
        batch_id=wire.batch_id,
        sent_at_us=wire.sent_at,
    )


def batch_id_of(payload: bytes) -> UUID | None:
    """Give the `batch_id` of what is no valid batch, None where it has no valid one, or none can be found."""
    if len(payload) > 2 * MAX_BYTES:  # to look into what is far too large would cost far too much
        return None
    try:
        return _Named.model_validate_json(payload).batch_id
    except ValidationError:
        return None


def _columns(data: list[WireReading], *, allow_negative: bool) -> tuple[I64, F64]:
    """Give moments and values, or a ValueError that need not say where."""
    values = [each["value"] for each in data]
    if not allow_negative and min(values) < 0:
        raise ValueError("a value is less than 0")
    return moments_us([each["datetime"] for each in data]), np.array(values, np.float64)


def _all_problems(
    model: type[WireBatch], reading: TypeAdapter[Any], payload: bytes, topic_ship: int | None
) -> tuple[Problem, ...]:
    """Check again what is not valid, one reading at a time: all faults at once would take half a gigabyte."""
    raw = from_json(payload)
    data = raw.get("data") if isinstance(raw, dict) else None
    rows = data if isinstance(data, list) and len(data) <= MAX_READINGS else []
    found: list[Problem] = []
    try:
        model.model_validate({**raw, "data": rows[:1]} if rows else raw, context=topic_ship)
    except ValidationError as error:
        found += [each for each in problems(error) if not (rows and each.at.startswith("data["))]
    for i, row in enumerate(rows):
        if len(found) >= MAX_PROBLEMS:
            break
        try:
            reading.validate_python(row)
        except ValidationError as error:
            found += problems(error, inside=f"data[{i}]")
    return tuple(found)


def _last_of_each_moment(moments: I64) -> slice | I64:
    """Give the rows to keep, in the order of time."""
    if len(moments) == 1 or (moments[1:] > moments[:-1]).all():
        return slice(None)
    order = np.argsort(moments, kind="stable")
    ordered = moments[order]
    last = np.append(ordered[1:] != ordered[:-1], [True])
    kept: I64 = order[last]
    return kept

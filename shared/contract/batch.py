"""The wire format: decodes and checks the batch in one POST body or MQTT message, and turns it into columns."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Annotated, Any, Literal, NamedTuple, cast
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
from pydantic_core import PydanticCustomError, to_json
from typing_extensions import TypedDict

from shared.contract.acceptance import Period, Rules, judged_at
from shared.contract.json_text import read_json
from shared.contract.limits import MAX_BODY_BYTES, MAX_MESSAGE_BYTES, MAX_READINGS, MAX_SLOTS, MAX_VALUE
from shared.contract.validation import MOMENT_SCHEMA, moment, problems
from shared.domain.columns import F64, I64
from shared.domain.errors import MAX_PROBLEMS, InvalidInput, Problem, TooLargeInput, UnreadableInput
from shared.domain.readings import MAX_SHIP, Kind, Readings
from shared.domain.slots import SLOT_US, count_slots
from shared.domain.timestamps import FEW, USUAL_LENGTH, iso, moments_us

FEW_SLOTS_US = MAX_SLOTS * SLOT_US // 2
"""A batch that spans less cannot make `MAX_SLOTS`, and is not counted: no maximum gap is half as long."""
NOT_VALID = "the batch is not valid"
CHUNK = 256
"""How many readings are searched for faults at a time."""
_NAMED = re.compile(rb'"batch_id"\s*:\s*"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"')
_FAULTS = (ValueError, TypeError, LookupError, OverflowError)
"""Errors that decoding raises for a batch that is not valid; pydantic's is a ValueError."""

VALUE = "in `units`; negative only where the service allows it"
Units = Literal["kW", "kWh"]
Ship = Annotated[int, Field(strict=True, ge=0, le=MAX_SHIP)]


class _Judge:
    """The context of the validators: rules, clock and the topic's ship."""

    __slots__ = ("_latest_us", "_now_us", "raw", "rules", "topic_ship")

    def __init__(self, rules: Rules, now_us: int, topic_ship: int | None) -> None:
        self.rules = rules
        self.topic_ship = topic_ship
        self.raw: object = None
        """The parsed JSON."""
        self._now_us = now_us
        self._latest_us = now_us + rules.max_ahead_us

    def holds(self, first_us: int, last_us: int) -> bool:
        """Return whether all timestamps from `first_us` to `last_us` are accepted."""
        return first_us >= self.rules.oldest_us and (last_us <= self._latest_us or last_us <= self.period().latest_us)

    def period(self) -> Period:
        """Return the accepted period; for a batch over MQTT it depends on when the gateway accepted it.

        `accepted_at` is read only when a timestamp seems to be ahead of the clock, which is rare.
        """
        accepted_us = None if self.topic_ship is None else _accepted_us(self.raw)
        return self.rules.period(judged_at(self._now_us, accepted_us))


def _moment(value: object, info: ValidationInfo) -> int:
    us = moment(value)
    judge = cast("_Judge", info.context)
    fault = None if judge.holds(us, us) else judge.period().fault(us)
    if fault is not None:
        raise PydanticCustomError("clock", "{why}", {"why": fault})
    return us


MomentUs = Annotated[int, BeforeValidator(_moment), MOMENT_SCHEMA]
Value = Annotated[float, Field(strict=True, ge=0, le=MAX_VALUE, allow_inf_nan=False)]
SignedValue = Annotated[float, Field(strict=True, ge=-MAX_VALUE, le=MAX_VALUE, allow_inf_nan=False)]


class WireReading(TypedDict):
    """One reading as it is sent, checked as far as pydantic can without calling Python for each reading."""

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

    spaceship_id: Ship = -1  # means the topic's ship; no sender can send it

    @field_validator("spaceship_id")
    @classmethod
    def _as_the_topic(cls, ship: int, info: ValidationInfo) -> int:
        topic = cast("_Judge", info.context).topic_ship
        if ship != topic:
            raise PydanticCustomError("topic", "is {ship}, but the topic names {topic}", {"ship": ship, "topic": topic})
        return ship


_VALIDATE = {
    True: WireBatch.__pydantic_validator__.validate_python,
    False: TopicBatch.__pydantic_validator__.validate_python,
}
"""By whether the batch must name its ship. `model_validate` itself would take longer than a short batch."""
_BATCH_ID: TypeAdapter[UUID | None] = TypeAdapter(UUID | None)
_READING: dict[bool, TypeAdapter[Any]] = {False: TypeAdapter(CheckedReading), True: TypeAdapter(CheckedSignedReading)}


class Batch(NamedTuple):
    """A valid batch, with one value for each timestamp: the last one in its list.

    Attributes:
        ship: `spaceship_id`.
        units: `kW` or `kWh`.
        moment_us: microseconds since 1970, ascending, int64[n].
        value: in `units`, float64[n].
        received: how many readings were sent, repeated timestamps included.
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


_Parts = tuple[Batch, list[str], I64, list[float]]
"""The members of `Received`."""


def columns(batches: Sequence[Batch]) -> Readings:
    """Return the readings of batches, each of which has a `sent_at_us`, as columns."""
    counts = [len(batch.moment_us) for batch in batches]
    return Readings(
        np.repeat(np.array([batch.ship for batch in batches], np.int64), counts),
        np.concatenate([batch.moment_us for batch in batches]),
        np.concatenate([batch.value for batch in batches]),
        np.repeat(np.array([Kind.of_unit(batch.units) for batch in batches], np.int8), counts),
        np.repeat(np.array([batch.sent_at_us for batch in batches], np.int64), counts),
    )


class Received(NamedTuple):
    """A batch, and its readings as they were sent: in their order, repeated timestamps included.

    Attributes:
        batch: the decoded batch.
        texts: the timestamps as they were written.
        moment_us: the timestamps, int64[n].
        numbers: the values.

    """

    batch: Batch
    texts: list[str]
    moment_us: I64
    numbers: list[float]

    def message(self, batch_id: UUID, sent_at_us: int, accepted_us: int) -> bytes:
        """Return the batch as JSON with known members only.

        100,000 readings take less than `MAX_BODY_BYTES`, however they were written.
        """
        texts = self.texts
        if set(map(len, texts)) != {USUAL_LENGTH}:  # a fraction, which is cut, may have any length
            pairs = zip(texts, self.moment_us.tolist(), strict=True)
            texts = [text if len(text) == USUAL_LENGTH else iso(us) for text, us in pairs]
        numbers = to_json(self.numbers).decode()[1:-1].split(",")
        # Timestamps need no escapes. Joining texts takes half the time and memory of encoding a list of objects.
        data = '},{"datetime":"'.join(map('","value":'.join, zip(texts, numbers, strict=True)))
        return (
            f'{{"spaceship_id":{self.batch.ship},"units":"{self.batch.units}","batch_id":"{batch_id}",'
            f'"sent_at":"{iso(sent_at_us)}","accepted_at":"{iso(accepted_us)}","data":[{{"datetime":"{data}}}]}}'
        ).encode()


class InvalidBatch(InvalidInput):
    """A batch that is not valid; its `batch_id` is None where it has no valid one, or none was found."""

    def __init__(self, problems: tuple[Problem, ...], batch_id: UUID | None) -> None:
        """Keep both."""
        super().__init__(NOT_VALID, problems)
        self.batch_id = batch_id


def decode(payload: bytes, rules: Rules, now_us: int, *, topic_ship: int | None = None) -> Batch:
    """Decode a batch as `receive` does, and return only the batch."""
    return _read(payload, _Judge(rules, now_us, topic_ship))[0]


def receive(payload: bytes, rules: Rules, now_us: int, *, topic_ship: int | None = None) -> Received:
    """Decode a batch.

    Args:
        payload: UTF-8 JSON.
        rules: which readings are accepted.
        now_us: the current time, microseconds since 1970.
        topic_ship: the ship in the MQTT topic. `spaceship_id` may then be missing, and must be the same if present;
            `accepted_at` says when the gateway accepted the batch.

    Raises:
        TooLargeInput: too many bytes.
        UnreadableInput: not JSON.
        InvalidBatch: not a valid batch; its problems say where and why.

    """
    return Received(*_read(payload, _Judge(rules, now_us, topic_ship)))


def name_of(error: InvalidInput, payload: bytes) -> UUID | None:
    """Return the `batch_id` of a batch that decoding refused with `error`."""
    if isinstance(error, InvalidBatch):
        return error.batch_id
    return _named_in(payload) if isinstance(error, TooLargeInput) else None


def _named_in(payload: bytes) -> UUID | None:
    """Find the `batch_id` in JSON that is not parsed; None if there are several, or none."""
    names = {each[1] for each in islice(_NAMED.finditer(payload[:MAX_MESSAGE_BYTES]), 2)}
    return UUID(names.pop().decode()) if len(names) == 1 else None


def _accepted_us(raw: object) -> int | None:
    """Return the `accepted_at` of a batch; None if it has none, or a wrong one."""
    try:
        return moment(raw.get("accepted_at")) if isinstance(raw, dict) else None
    except PydanticCustomError:
        return None


def _read(payload: bytes, judge: _Judge) -> _Parts:
    if len(payload) > MAX_MESSAGE_BYTES:
        raise TooLargeInput(f"a batch may have at most {MAX_BODY_BYTES} bytes, this has {len(payload)}")
    try:
        judge.raw = raw = read_json(payload)
    except UnreadableInput:
        raise
    except InvalidInput as error:
        raise InvalidBatch(error.problems, _named_in(payload)) from None
    members = raw if isinstance(raw, dict) else {}
    data = members.get("data")
    rows = data if isinstance(data, list) and 1 <= len(data) <= MAX_READINGS else []
    if len(rows) > FEW:  # checked in columns, which takes less time and memory than one model each
        members["data"] = rows[:1]
    try:
        return _parts(_VALIDATE[judge.topic_ship is None](raw, context=judge), rows, judge)
    except _FAULTS as error:
        found: list[Problem] = []
        if isinstance(error, ValidationError):
            found = [each for each in problems(error) if not (rows and each.at.startswith("data["))]
        found += islice(_faults(rows, judge), MAX_PROBLEMS - len(found))
        raise InvalidBatch(tuple(found), _batch_id(members)) from None


def _parts(wire: WireBatch, rows: list[Any], judge: _Judge) -> _Parts:
    texts, numbers, moments, values = (_columns if len(rows) > FEW else _few)(rows, judge)
    kept = _last_of_each_moment(moments)
    topic_ship = judge.topic_ship
    batch = Batch(
        wire.spaceship_id if topic_ship is None else topic_ship,
        wire.units,
        moments if kept is None else moments[kept],
        values if kept is None else values[kept],
        len(rows),
        wire.batch_id,
        wire.sent_at,
    )
    first_us, last_us = int(batch.moment_us[0]), int(batch.moment_us[-1])
    if not judge.holds(first_us, last_us):
        raise InvalidBatch(_outside(moments, judge.period()), wire.batch_id)
    if last_us - first_us >= FEW_SLOTS_US:
        _check_slots(batch, judge.rules)
    return batch, texts, moments, numbers


def _check_slots(batch: Batch, rules: Rules) -> None:
    slots = count_slots(batch.moment_us, rules.max_gap_us)
    if slots > MAX_SLOTS:
        most = f"covers {slots:,} slots of 15 minutes, and a batch may cover {MAX_SLOTS:,}"
        raise InvalidBatch((Problem("data", f"{most}: send it in several batches"),), batch.batch_id)


def _outside(moments: I64, period: Period) -> tuple[Problem, ...]:
    rows = np.flatnonzero((moments < period.oldest_us) | (moments > period.latest_us))[:MAX_PROBLEMS].tolist()
    return tuple(Problem(f"data[{row}].datetime", period.fault(int(moments[row])) or "") for row in rows)


def _columns(rows: list[Any], judge: _Judge) -> tuple[list[str], list[float], I64, F64]:
    """Return texts, numbers, timestamps and values. Raises one of `_FAULTS`, without a place."""
    texts = [each["datetime"] for each in rows]
    numbers = [each["value"] for each in rows]
    if not (set(map(type, texts)) == {str} and set(map(type, numbers)) <= {int, float}):
        raise TypeError("a member is of another type")
    values = np.array(numbers, np.float64)
    least = -MAX_VALUE if judge.rules.allow_negative else 0.0
    if not (values.min() >= least and values.max() <= MAX_VALUE):  # nor is one NaN
        raise ValueError("a value is out of bounds")
    return texts, numbers, moments_us(texts), values + 0.0  # -0.0 becomes 0.0


def _few(rows: list[Any], judge: _Judge) -> tuple[list[str], list[float], I64, F64]:
    """As `_columns`, for rows that `WireReading` has checked."""
    texts = [each["datetime"] for each in rows]
    numbers = [each["value"] for each in rows]
    if min(numbers) < 0 and not judge.rules.allow_negative:
        raise ValueError("a value is out of bounds")
    return texts, numbers, moments_us(texts), np.array([each + 0.0 for each in numbers])


def _faults(rows: list[Any], judge: _Judge) -> Iterator[Problem]:
    """Find the faults of rows: in columns, and one by one only where the columns have a fault."""
    reading = _READING[judge.rules.allow_negative]
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        with suppress(*_FAULTS):
            moments = _columns(chunk, judge)[2]
            if judge.holds(int(moments.min()), int(moments.max())):
                continue
        for i, row in enumerate(chunk, start):
            try:
                reading.validate_python(row, context=judge)
            except ValidationError as error:
                yield from problems(error, inside=f"data[{i}]")


def _batch_id(members: dict[str, Any]) -> UUID | None:
    try:
        return _BATCH_ID.validate_python(members.get("batch_id"))
    except ValidationError:
        return None


def _last_of_each_moment(moments: I64) -> I64 | None:
    """Return the rows to keep, by time; None for all of them in their order."""
    if len(moments) == 1 or (moments[1:] > moments[:-1]).all():
        return None
    order = np.argsort(moments, kind="stable")
    ordered = moments[order]
    last = np.append(ordered[1:] != ordered[:-1], [True])
    kept: I64 = order[last]
    return kept

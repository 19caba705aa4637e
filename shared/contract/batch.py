"""The wire format: what one POST body or one MQTT message carries, checked and turned into columns."""

import re
from collections.abc import Iterator, Sequence
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
from shared.contract.validation import MOMENT_SCHEMA, moment, problems
from shared.domain.errors import MAX_PROBLEMS, InvalidInput, Problem, TooLargeInput, UnreadableInput
from shared.domain.readings import F64, I64, MAX_SHIP, Kind, Readings
from shared.domain.slots import SLOT_US, count_slots
from shared.domain.timestamps import FEW, USUAL_LENGTH, iso, moments_us

MAX_BYTES = 8 * 1024 * 1024
MAX_READINGS = 100_000
MAX_VALUE = 1e12
ENVELOPE_BYTES = 256
"""Room beyond `MAX_BYTES` for what a message may have besides a body of the full size."""
MAX_SLOTS = 200_000
"""How many slots one batch may make: a year of hourly readings makes 35,000."""
FEW_SLOTS_US = MAX_SLOTS * SLOT_US // 2
"""A batch that is shorter cannot make so many, and they are not counted: no longest gap is half of this."""
NOT_VALID = "the batch is not valid"
CHUNK = 256
"""How many readings are looked through for faults at a time."""
_NAMED = re.compile(rb'"batch_id"\s*:\s*"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"')
_FAULTS = (ValueError, TypeError, LookupError, OverflowError)
"""What reading a batch raises where it is not valid; pydantic's error is a ValueError."""

VALUE = "in `units`; less than 0 only where the service's owner allows that"
Units = Literal["kW", "kWh"]
Ship = Annotated[int, Field(strict=True, ge=0, le=MAX_SHIP)]


class _Judge:
    """What a batch is judged by, beyond itself: what validators get as their context."""

    __slots__ = ("_latest_us", "_now_us", "_raw", "rules", "topic_ship")

    def __init__(self, rules: Rules, now_us: int, topic_ship: int | None, raw: object) -> None:
        self.rules, self.topic_ship = rules, topic_ship
        self._now_us, self._raw = now_us, raw
        self._latest_us = now_us + rules.max_ahead_us

    def holds(self, first_us: int, last_us: int) -> bool:
        """Tell whether all moments from one to another are taken."""
        return first_us >= self.rules.oldest_us and (last_us <= self._latest_us or last_us <= self.period().latest_us)

    def period(self) -> Period:
        """Give the moments that are taken: from MQTT it counts when the gateway accepted the batch, too.

        That is looked at only where something seems to be ahead of the clock, which is hardly ever so.
        """
        accepted_us = None if self.topic_ship is None else _accepted_us(self._raw)
        return self.rules.period(judged_at(self._now_us, accepted_us))


def _judge(info: ValidationInfo) -> _Judge:
    return cast("_Judge", info.context)


def _moment(value: object, info: ValidationInfo) -> int:
    us = moment(value)
    judge = _judge(info)
    fault = None if judge.holds(us, us) else judge.period().fault(us)
    if fault is not None:
        raise PydanticCustomError("clock", "{why}", {"why": fault})
    return us


MomentUs = Annotated[int, BeforeValidator(_moment), MOMENT_SCHEMA]
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
        topic = _judge(info).topic_ship
        if ship != topic:
            raise PydanticCustomError("topic", "is {ship}, but the topic names {topic}", {"ship": ship, "topic": topic})
        return ship


_BATCH_ID: TypeAdapter[UUID | None] = TypeAdapter(UUID | None)
_READING: dict[bool, TypeAdapter[Any]] = {False: TypeAdapter(CheckedReading), True: TypeAdapter(CheckedSignedReading)}


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
        np.repeat(np.array([Kind.of_unit(batch.units) for batch in batches], np.int8), counts),
        np.repeat(np.array([batch.sent_at_us for batch in batches], np.int64), counts),
    )


class Received(NamedTuple):
    """A batch, and its readings as they were sent: in their order, repeated moments included.

    Attributes:
        batch: what they mean.
        texts: their moments, as they were written.
        moment_us: their moments, int64[n].
        numbers: their values.

    """

    batch: Batch
    texts: list[str]
    moment_us: I64
    numbers: list[float]

    def message(self, batch_id: UUID, sent_at_us: int, accepted_us: int) -> bytes:
        """Write it anew as JSON: what it means, and nothing else that its sender wrote.

        However it came, 100,000 readings take less than `MAX_BYTES`.
        """
        texts = self.texts
        if set(map(len, texts)) != {USUAL_LENGTH}:  # a fraction, which is cut, may have any length
            pairs = zip(texts, self.moment_us.tolist(), strict=True)
            texts = [text if len(text) == USUAL_LENGTH else iso(us) for text, us in pairs]
        numbers = to_json(self.numbers).decode()[1:-1].split(",")
        # Moments need no escapes: joined as texts, readings take half the time and memory of a list of objects.
        data = '},{"datetime":"'.join(map('","value":'.join, zip(texts, numbers, strict=True)))
        return (
            f'{{"spaceship_id":{self.batch.ship},"units":"{self.batch.units}","batch_id":"{batch_id}",'
            f'"sent_at":"{iso(sent_at_us)}","accepted_at":"{iso(accepted_us)}","data":[{{"datetime":"{data}}}]}}'
        ).encode()


class InvalidBatch(InvalidInput):
    """No valid batch, but perhaps with a name.

    Attributes:
        batch_id: its name; None where it has no valid one, or none can be found.

    """

    def __init__(self, problems: tuple[Problem, ...], batch_id: UUID | None) -> None:
        """Keep both."""
        super().__init__(NOT_VALID, problems)
        self.batch_id = batch_id


def decode(payload: bytes, rules: Rules, now_us: int, *, topic_ship: int | None = None) -> Batch:
    """Read a batch from JSON, as `receive` does, for one that needs only what it means."""
    return receive(payload, rules, now_us, topic_ship=topic_ship).batch


def receive(payload: bytes, rules: Rules, now_us: int, *, topic_ship: int | None = None) -> Received:
    """Read a batch from JSON.

    Args:
        payload: UTF-8 JSON.
        rules: which readings are taken.
        now_us: the moment to judge it by, microseconds since 1970.
        topic_ship: the ship that the MQTT topic names; `spaceship_id` may then be left out, and must agree if given,
            and `accepted_at` says when the gateway accepted the batch.

    Raises:
        TooLargeInput: more bytes than a batch may have.
        UnreadableInput: not JSON.
        InvalidBatch: JSON, but no valid batch; its problems say where and why.

    """
    if len(payload) > MAX_BYTES + ENVELOPE_BYTES:
        raise TooLargeInput(f"a batch may have at most {MAX_BYTES} bytes, this has {len(payload)}")
    try:
        raw = read_json(payload)
    except UnreadableInput:
        raise
    except InvalidInput as error:
        raise InvalidBatch(error.problems, _named_in(payload)) from None
    return _checked(raw, _Judge(rules, now_us, topic_ship, raw))


def name_of(error: InvalidInput, payload: bytes) -> UUID | None:
    """Give the `batch_id` of what is no valid batch, for reasons that reading it gave."""
    if isinstance(error, InvalidBatch):
        return error.batch_id
    return _named_in(payload) if isinstance(error, TooLargeInput) else None


def _named_in(payload: bytes) -> UUID | None:
    """Find the `batch_id` of what is not parsed: None where there are several, or none."""
    names = {each[1] for each in islice(_NAMED.finditer(payload[: MAX_BYTES + ENVELOPE_BYTES]), 2)}
    return UUID(names.pop().decode()) if len(names) == 1 else None


def _accepted_us(raw: object) -> int | None:
    """Give the `accepted_at` of a batch; one that is wrong counts for nothing, like any member that is not known."""
    try:
        return moment(raw.get("accepted_at")) if isinstance(raw, dict) else None
    except PydanticCustomError:
        return None


def _checked(raw: object, judge: _Judge) -> Received:
    model = WireBatch if judge.topic_ship is None else TopicBatch
    members = raw if isinstance(raw, dict) else {}
    data = members.get("data")
    rows = data if isinstance(data, list) and 1 <= len(data) <= MAX_READINGS else []
    found: list[Problem] = []
    if rows:  # checked in columns, which takes less time and memory than a model of each
        members["data"] = rows[:1]
    try:
        wire = model.model_validate(raw, context=judge)
        return _received(wire, rows, judge)
    except _FAULTS as error:
        if isinstance(error, ValidationError):
            found = [each for each in problems(error) if not (rows and each.at.startswith("data["))]
        found += islice(_faults(rows, judge), MAX_PROBLEMS - len(found))
        raise InvalidBatch(tuple(found), _batch_id(members)) from None


def _received(wire: WireBatch, rows: list[Any], judge: _Judge) -> Received:
    texts, numbers, moments, values = _columns(rows, judge)
    kept = _last_of_each_moment(moments)
    batch = Batch(
        ship=wire.spaceship_id if judge.topic_ship is None else judge.topic_ship,
        units=wire.units,
        moment_us=moments[kept],
        value=values[kept] + 0.0,  # -0.0 becomes 0.0
        received=len(rows),
        batch_id=wire.batch_id,
        sent_at_us=wire.sent_at,
    )
    first_us, last_us = int(batch.moment_us[0]), int(batch.moment_us[-1])
    if not judge.holds(first_us, last_us):
        raise InvalidBatch(_outside(moments, judge.period()), wire.batch_id)
    if last_us - first_us >= FEW_SLOTS_US:
        _check_slots(batch, judge.rules)
    return Received(batch, texts, moments, numbers)


def _check_slots(batch: Batch, rules: Rules) -> None:
    slots = count_slots(batch.moment_us, rules.max_gap_us)
    if slots > MAX_SLOTS:
        most = f"would make {slots:,} slots of a quarter of an hour, and a batch may make {MAX_SLOTS:,}"
        raise InvalidBatch((Problem("data", f"{most}: send it in several batches"),), batch.batch_id)


def _outside(moments: I64, period: Period) -> tuple[Problem, ...]:
    rows = np.flatnonzero((moments < period.oldest_us) | (moments > period.latest_us))[:MAX_PROBLEMS].tolist()
    return tuple(Problem(f"data[{row}].datetime", period.fault(int(moments[row])) or "") for row in rows)


def _columns(rows: list[Any], judge: _Judge) -> tuple[list[str], list[float], I64, F64]:
    """Give texts, numbers, moments and values; or one of `_FAULTS`, which need not say where."""
    texts = [each["datetime"] for each in rows]
    numbers = [each["value"] for each in rows]
    if not (set(map(type, texts)) == {str} and set(map(type, numbers)) <= {int, float}):
        raise TypeError("a member is of another type")
    values, least = np.array(numbers, np.float64), -MAX_VALUE if judge.rules.allow_negative else 0.0
    if len(numbers) <= FEW:
        are_in_bounds = all([least <= each <= MAX_VALUE for each in numbers])  # noqa: C419  # a generator takes longer
    else:
        are_in_bounds = values.min() >= least and values.max() <= MAX_VALUE
    if not are_in_bounds:  # nor is one NaN
        raise ValueError("a value is out of bounds")
    return texts, numbers, moments_us(texts), values


def _faults(rows: list[Any], judge: _Judge) -> Iterator[Problem]:
    """Check again what is not valid: in columns, and only where these have a fault one reading at a time."""
    reading = _READING[judge.rules.allow_negative]
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        if _is_good(chunk, judge):
            continue
        for i, row in enumerate(chunk, start):
            try:
                reading.validate_python(row, context=judge)
            except ValidationError as error:
                yield from problems(error, inside=f"data[{i}]")


def _is_good(rows: list[Any], judge: _Judge) -> bool:
    try:
        _, _, moments, _ = _columns(rows, judge)
    except _FAULTS:
        return False
    return judge.holds(int(moments.min()), int(moments.max()))


def _batch_id(members: dict[str, Any]) -> UUID | None:
    try:
        return _BATCH_ID.validate_python(members.get("batch_id"))
    except ValidationError:
        return None


def _last_of_each_moment(moments: I64) -> slice | I64:
    """Give the rows to keep, in the order of time."""
    if len(moments) == 1 or (moments[1:] > moments[:-1]).all():
        return slice(None)
    order = np.argsort(moments, kind="stable")
    ordered = moments[order]
    last = np.append(ordered[1:] != ordered[:-1], [True])
    kept: I64 = order[last]
    return kept

"""The wire format: decodes and checks the batch in one POST body or MQTT message, and turns it into columns."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from math import isnan, nan
from typing import Annotated, Any, NamedTuple, NotRequired, cast
from uuid import UUID

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, to_json
from typing_extensions import TypedDict

from shared.contract.acceptance import Period, Rules, judged_at
from shared.contract.json_text import read_json
from shared.contract.kinds import (
    PLAIN_KINDS,
    UNITS,
    Duration,
    Units,
    WireStated,
    contradictions,
    in_kilo,
    kind_of,
    most_of,
)
from shared.contract.limits import (
    MAX_BODY_BYTES,
    MAX_DURATION_S,
    MAX_MESSAGE_BYTES,
    MAX_READINGS,
    MAX_SLOTS,
    MAX_VALUE,
)
from shared.contract.misspelt import misspelt
from shared.contract.validation import DATETIME_SCHEMA, MOMENT_SCHEMA, VALUE_SCHEMA, moment, number_of, problems
from shared.domain.columns import F64, I64
from shared.domain.errors import MAX_PROBLEMS, InvalidInput, Problem, TooLargeInput, UnreadableInput
from shared.domain.readings import LOOKS_BACK, MAX_SHIP, Kind, Readings, Stated
from shared.domain.slots import LONGEST_US, SLOT_US, count_slots
from shared.domain.timestamps import FEW, LAST_US, US_PER_S, USUAL_LENGTH, iso, moments_us

FEW_SLOTS_US = MAX_SLOTS * SLOT_US // 2
"""A batch that spans less cannot make `MAX_SLOTS`, and is not counted: no maximum gap is half as long."""
NOT_VALID = "the batch is not valid"
CHUNK = 256
"""How many readings are searched for faults at a time."""
_NAMED = re.compile(rb'"batch_id"\s*:\s*"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"')
_FAULTS = (ValueError, TypeError, LookupError, OverflowError, AttributeError, InvalidInput)
"""Errors that decoding raises for a batch that is not valid; pydantic's is a ValueError."""

VALUE = "in `units`, or null where it is unknown; negative only where the service allows it"
Ship = Annotated[int, Field(strict=True, ge=0, le=MAX_SHIP)]


class Judge:
    """The context of the validators: rules, clock and the topic's ship."""

    __slots__ = ("_latest_us", "_now_us", "most", "raw", "rules", "topic_ship")

    def __init__(self, rules: Rules, now_us: int, topic_ship: int | None) -> None:
        """Begin; for the arguments see `receive`."""
        self.rules = rules
        self.topic_ship = topic_ship
        self.raw: object = None
        """The parsed JSON."""
        self.most = MAX_VALUE
        """The largest value in the batch's units."""
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
    judge: Any = info.context  # a `Judge`; a cast would take time
    us = moment(value)
    if judge.holds(us, us):
        return us
    raise PydanticCustomError("clock", "{why}", {"why": judge.period().fault(us)})


def _value(value: object, info: ValidationInfo) -> float | None:
    judge = cast("Judge", info.context)
    number = number_of(value)
    if number is None:
        return None
    least = -judge.most if judge.rules.allow_negative else 0.0
    if not least <= number <= judge.most:
        at_most = "less than or equal to" if number > least else "greater than or equal to"
        bound = judge.most if number > least else least
        raise PydanticCustomError("bounds", "should be {words} {bound}", {"words": at_most, "bound": f"{bound:.15g}"})
    return number


MomentUs = Annotated[int, PlainValidator(_moment), MOMENT_SCHEMA]


class WireReading(TypedDict):
    """One reading as it is sent."""

    datetime: Annotated[str | float, WithJsonSchema(DATETIME_SCHEMA)]
    value: Annotated[float | str | None, WithJsonSchema(VALUE_SCHEMA | {"description": VALUE})]
    duration_s: NotRequired[Annotated[Duration | None, Field(description="in place of that of the batch")]]


class CheckedReading(TypedDict):
    """One reading, checked in full."""

    datetime: MomentUs
    value: Annotated[float | None, BeforeValidator(_value)]
    duration_s: NotRequired[Duration | None]


class PlainBatch(BaseModel):
    """A batch that states nothing besides the unit of its values."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    units: Units
    spaceship_id: Ship
    data: Annotated[
        list[Any],
        Field(min_length=1, max_length=MAX_READINGS),
        WithJsonSchema(
            {
                "type": "array",
                "items": TypeAdapter(WireReading).json_schema(),
                "minItems": 1,
                "maxItems": MAX_READINGS,
            }
        ),
    ]
    batch_id: UUID | None = None
    sent_at: MomentUs | None = None


class WireBatch(PlainBatch, WireStated):
    """One batch as it is sent; other members are ignored, unless they look like misspelt ones."""


def _as_the_topic(ship: int, info: ValidationInfo) -> int:
    """Check that a message names the ship that its topic names."""
    judge: Any = info.context
    topic = judge.topic_ship
    if ship != topic:
        raise PydanticCustomError("topic", "is {ship}, but the topic names {topic}", {"ship": ship, "topic": topic})
    return ship


TopicShip = Annotated[Ship, AfterValidator(_as_the_topic)]
"""The ship of a batch whose topic already names it; -1 means the topic's ship, and no sender can send it."""


class PlainTopicBatch(PlainBatch):
    """A plain batch whose topic already names the ship."""

    spaceship_id: TopicShip = -1


class TopicBatch(WireBatch):
    """A batch whose topic already names the ship."""

    spaceship_id: TopicShip = -1


_MODELS: dict[tuple[bool, bool], type[PlainBatch]] = {
    (True, True): PlainTopicBatch,
    (True, False): TopicBatch,
    (False, True): PlainBatch,
    (False, False): WireBatch,
}
_VALIDATE = {which: model.__pydantic_validator__.validate_python for which, model in _MODELS.items()}
"""By whether the topic names the ship, and whether the batch is plain.

Looking for seven members that are not there takes a fifth of the time; `model_validate` takes longer, too.
"""
_MEMBERS = frozenset({*WireBatch.model_fields, "accepted_at"})
_PLAIN_MEMBERS = _MEMBERS - WireStated.model_fields.keys() | {"units"}
_USUAL = ("datetime", "value")
_OF_READING = frozenset({*_USUAL, "duration_s"})
_NUMBERS = {int, float}
_BATCH_ID: TypeAdapter[UUID | None] = TypeAdapter(UUID | None)
_READING: TypeAdapter[Any] = TypeAdapter(CheckedReading)


class Batch(NamedTuple):
    """A valid batch, with one value for each timestamp: the last one in its list.

    Attributes:
        ship: `spaceship_id`.
        kind: what the values mean; those that are unknown are NaN.
        moment_us: microseconds since 1970, ascending, int64[n].
        value: in the unit of the kind, float64[n].
        duration_us: how long each reading speaks, 0 where that is not stated, int64[n]; None if it is nowhere.
        max_gap_us: the longest gap, 0 if it is not stated.
        rollover: the first value that the meter cannot show, 0 if it is not stated.
        deletes: None, or that it is a deletion: of the readings from the first timestamp up to the second one.
        received: how many readings were sent, repeated timestamps included.
        batch_id: None where it was left out.
        sent_at_us: None where it was left out.

    """

    ship: int
    kind: Kind
    moment_us: I64
    value: F64
    duration_us: I64 | None
    max_gap_us: int
    rollover: float
    deletes: tuple[int, int] | None
    received: int
    batch_id: UUID | None
    sent_at_us: int | None

    @property
    def units(self) -> str:
        """The unit of the values."""
        return self.kind.unit


class Rows(NamedTuple):
    """The readings of a batch as they were sent: in their order, repeated timestamps included.

    Attributes:
        texts: the timestamps as they were written; those written as numbers as ISO 8601.
        numbers: the values, None where it is unknown.
        moment_us: the timestamps, int64[n].
        value: the values, NaN where it is unknown, float64[n].
        durations_s: how long each speaks, None where that is not stated; None if it is nowhere.

    """

    texts: list[str]
    numbers: list[float | None]
    moment_us: I64
    value: F64
    durations_s: list[float | None] | None


def columns(batches: Sequence[Batch]) -> Readings:
    """Return the readings of batches, each of which has a `sent_at_us`, as columns."""
    counts = [len(batch.moment_us) for batch in batches]
    value = np.concatenate([batch.value for batch in batches])
    kind = np.repeat(np.array([batch.kind for batch in batches], np.int8), counts)
    ship = np.repeat(np.array([batch.ship for batch in batches], np.int64), counts)
    moment_us = np.concatenate([batch.moment_us for batch in batches])
    sent_at_us = np.repeat(np.array([batch.sent_at_us for batch in batches], np.int64), counts)
    is_unknown = np.isnan(value)
    if not np.count_nonzero(is_unknown) and not any(
        batch.max_gap_us or batch.rollover or batch.duration_us is not None for batch in batches
    ):
        return Readings(ship, moment_us, value, kind, sent_at_us)
    kind[is_unknown] = Kind.UNKNOWN
    durations_us = [
        np.zeros(count, np.int64) if batch.duration_us is None else batch.duration_us
        for batch, count in zip(batches, counts, strict=True)
    ]
    gaps_us = np.repeat(np.array([batch.max_gap_us for batch in batches], np.int64), counts)
    rollovers = np.repeat(np.array([batch.rollover for batch in batches], np.float64), counts)
    stated = Stated(np.concatenate(durations_us), gaps_us, rollovers)
    for each in stated.columns():
        each[is_unknown] = 0  # what is unknown speaks for no time
    return Readings(ship, moment_us, value, kind, sent_at_us, stated)


class Received(NamedTuple):
    """A batch as it was decoded, and as it was sent."""

    batch: Batch
    wire: PlainBatch
    rows: Rows

    def message(self, batch_id: UUID, sent_at_us: int | None, accepted_us: int) -> bytes:
        """Return the batch as JSON with known members only; `accepted_at` comes first, the rest is equal in a repeat.

        Raises:
            TooLargeInput: it has more than `MAX_MESSAGE_BYTES`. Without a `duration_s` of each reading it never has.

        """
        texts, numbers_, moment_us, _, durations_s = self.rows
        if set(map(len, texts)) != {USUAL_LENGTH}:  # a fraction, which is cut, may have any length
            pairs = zip(texts, moment_us.tolist(), strict=True)
            texts = [text if len(text) == USUAL_LENGTH else iso(us) for text, us in pairs]
        numbers = to_json(numbers_).decode()[1:-1].split(",")
        if durations_s is not None:
            durations = to_json(durations_s).decode()[1:-1].split(",")
            numbers = list(map(',"duration_s":'.join, zip(numbers, durations, strict=True)))
        sent_at = "" if sent_at_us is None else f'"sent_at":"{iso(sent_at_us)}",'
        # Timestamps need no escapes. Joining texts takes half the time and memory of encoding a list of objects.
        data = '},{"datetime":"'.join(map('","value":'.join, zip(texts, numbers, strict=True)))
        message = (
            f'{{"accepted_at":"{iso(accepted_us)}","spaceship_id":{self.batch.ship},"units":"{self.wire.units}",'
            f'{self._attributes()}"batch_id":"{batch_id}",{sent_at}"data":[{{"datetime":"{data}}}]}}'
        ).encode()
        if len(message) > MAX_MESSAGE_BYTES:
            raise TooLargeInput(f"the batch has more than {MAX_BODY_BYTES} bytes as it is stored: send it in several")
        return message

    def _attributes(self) -> str:
        """Return what the batch states, as members of its JSON."""
        wire = self.wire
        if _ATTRIBUTES.isdisjoint(wire.model_fields_set):
            return ""
        stated = {name: each for name in sorted(_ATTRIBUTES) if (each := getattr(wire, name)) is not None}
        return f"{to_json(stated).decode()[1:-1]}," if stated else ""


_ATTRIBUTES = frozenset(WireStated.model_fields) - {"units"}


class InvalidBatch(InvalidInput):
    """A batch that is not valid; its `batch_id` is None where it has no valid one, or none was found."""

    def __init__(self, problems: tuple[Problem, ...], batch_id: UUID | None) -> None:
        """Keep both."""
        super().__init__(NOT_VALID, problems)
        self.batch_id = batch_id


def decode(payload: bytes, rules: Rules, now_us: int, *, topic_ship: int | None = None) -> Batch:
    """Decode a batch as `receive` does, and return only the batch."""
    judge = Judge(rules, now_us, topic_ship)
    return checked(parsed(payload, judge), judge).batch


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
    judge = Judge(rules, now_us, topic_ship)
    return checked(parsed(payload, judge), judge)


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


def parsed(payload: bytes, judge: Judge) -> object:
    """Parse JSON, and tell the judge."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise TooLargeInput(f"a batch may have at most {MAX_BODY_BYTES} bytes, this has {len(payload)}")
    try:
        judge.raw = raw = read_json(payload)
    except UnreadableInput:
        raise
    except InvalidInput as error:
        raise InvalidBatch(error.problems, _named_in(payload)) from None
    return raw


def checked(raw: object, judge: Judge) -> Received:
    """Check the parsed JSON of a batch, which `judge.raw` is, too.

    Raises:
        InvalidBatch: not a valid batch; its problems say where and why.

    """
    members: dict[str, Any] = raw if isinstance(raw, dict) else {}
    data = members.get("data")
    rows = data if isinstance(data, list) and 1 <= len(data) <= MAX_READINGS else []
    is_plain = _PLAIN_MEMBERS.issuperset(members)
    found = [] if is_plain else list(misspelt(members, _MEMBERS))
    if not is_plain and "delete" in members and judge.topic_ship is None:
        found.append(Problem("delete", "is for MQTT: over HTTP, send DELETE /data"))
    try:
        wire = _VALIDATE[judge.topic_ship is not None, is_plain](raw, context=judge)
        judge.most = most_of(wire.units, judge.rules.max_kw)
        stated = None if is_plain else cast("WireBatch", wire)
        if stated is not None:
            found += contradictions(stated)
        if found:
            raise ValueError("members are misspelt, or contradict each other")
        return _received(wire, stated, _rows(rows, judge), judge)
    except _FAULTS as error:
        if isinstance(error, InvalidBatch):
            raise
        if isinstance(error, ValidationError):
            found += problems(error)
        if members.get("units") in list(UNITS):  # it need not be hashable
            judge.most = most_of(members["units"], judge.rules.max_kw)
        found += islice(_faults(rows, judge), MAX_PROBLEMS - len(found))
        raise InvalidBatch(tuple(found), batch_id_in(members)) from None


def _received(wire: PlainBatch, stated: WireBatch | None, rows: Rows, judge: Judge) -> Received:
    """Check what pydantic cannot; `stated` is the same batch, None if it is plain."""
    moment_us, value, units = rows.moment_us, in_kilo(rows.value, wire.units), wire.units
    kept = _last_of_each_moment(moment_us)
    if kept is not None:
        moment_us, value = moment_us[kept], value[kept]
    kind, gap_us, rollover = (PLAIN_KINDS[units], 0, 0.0) if stated is None else _stated(stated)
    duration_us = _durations_us(None if stated is None else stated.duration_s, rows, kept)
    ship = wire.spaceship_id if judge.topic_ship is None else judge.topic_ship
    received = len(rows.texts)
    batch = Batch(
        ship, kind, moment_us, value, duration_us, gap_us, rollover, None, received, wire.batch_id, wire.sent_at
    )
    first_us, last_us = moment_us.item(0), moment_us.item(-1)
    if not judge.holds(first_us, last_us):
        raise InvalidBatch(_outside(rows.moment_us, judge.period()), wire.batch_id)
    if stated is not None and LOOKS_BACK[kind] and first_us < LONGEST_US:
        too_old = Period(LONGEST_US, LAST_US, LAST_US)
        raise InvalidBatch(_outside(rows.moment_us, too_old), wire.batch_id)
    if stated is not None and rows.durations_s is not None and (stated.counter or stated.max_gap_s):
        raise InvalidBatch(tuple(_needless_durations(rows.durations_s, stated)), wire.batch_id)
    if last_us - first_us >= FEW_SLOTS_US:
        _check_slots(batch, judge.rules)
    return Received(batch, wire, rows)


def _stated(wire: WireBatch) -> tuple[Kind, int, float]:
    """Return kind, longest gap and rollover of a batch, 0 where they are not stated."""
    rollover = 0.0 if wire.rollover is None else in_kilo(float(wire.rollover), wire.units)
    return kind_of(wire), round((wire.max_gap_s or 0) * US_PER_S), rollover


def _needless_durations(durations_s: list[float | None], wire: WireBatch) -> Iterator[Problem]:
    why = "a counter has none" if wire.counter else "may not be beside `max_gap_s`"
    stated = (i for i, each in enumerate(durations_s) if each is not None)
    return (Problem(f"data[{i}].duration_s", why) for i in islice(stated, MAX_PROBLEMS))


def _durations_us(of_batch_s: float | None, rows: Rows, kept: I64 | None) -> I64 | None:
    if of_batch_s is None and rows.durations_s is None:
        return None
    durations_s = rows.durations_s or [None] * len(rows.texts)
    of_batch_us = max(round(of_batch_s * US_PER_S), 1) if of_batch_s else 0
    found = np.array([max(round(each * US_PER_S), 1) if each else of_batch_us for each in durations_s], np.int64)
    return found if kept is None else found[kept]


def slots_of(batch: Batch, rules: Rules) -> int:
    """Return how many slots the readings of a batch cover."""
    max_gap_us = batch.max_gap_us or (LONGEST_US if batch.kind == Kind.COUNTER_KWH else rules.max_gap_us)
    looks_back = bool(LOOKS_BACK[batch.kind])
    return count_slots(batch.moment_us, max_gap_us, batch.duration_us, looks_back=looks_back)


def _check_slots(batch: Batch, rules: Rules) -> None:
    slots = slots_of(batch, rules)
    if slots > MAX_SLOTS:
        most = f"covers {slots:,} slots of 15 minutes, and a batch may cover {MAX_SLOTS:,}"
        raise InvalidBatch((Problem("data", f"{most}: send it in several batches"),), batch.batch_id)


def _outside(moments: I64, period: Period) -> tuple[Problem, ...]:
    rows = np.flatnonzero((moments < period.oldest_us) | (moments > period.latest_us))[:MAX_PROBLEMS].tolist()
    return tuple(Problem(f"data[{row}].datetime", period.fault(int(moments[row])) or "") for row in rows)


def _rows(rows: list[Any], judge: Judge) -> Rows:
    """Return rows in columns. Raises one of `_FAULTS`, without a place."""
    texts = [each["datetime"] for each in rows]
    numbers = [each["value"] for each in rows]
    durations_s = None if sum(map(len, rows)) == len(_USUAL) * len(rows) else _stated_durations(rows)
    if _NUMBERS.issuperset(map(type, numbers)):
        values = np.array(numbers, np.float64)
        if len(numbers) > FEW:
            least, most = values.min(), values.max()  # NaN if one is
        else:
            least, most = min(numbers), max(numbers)
            if isnan(sum(numbers)):
                raise ValueError("a value is not a number")
        if least <= 0:
            values += 0.0  # -0.0 becomes 0.0
    else:
        numbers = [number_of(each) for each in numbers]
        known = [each for each in numbers if each is not None] or [0.0]
        least, most = min(known), max(known)
        values = np.array([nan if each is None else each + 0.0 for each in numbers])
    bound = -judge.most if judge.rules.allow_negative else 0.0
    if not (least >= bound and most <= judge.most):
        raise ValueError("a value is out of bounds")
    try:
        found_us = moments_us(texts)
    except TypeError:  # not all of them are texts
        texts = [each if isinstance(each, str) else iso(moment(each)) for each in texts]
        found_us = moments_us(texts)
    return Rows(texts, numbers, found_us, values, durations_s)


def _stated_durations(rows: list[Any]) -> list[float | None] | None:
    """Return the `duration_s` of rows that have more than the usual members; None if there is none."""
    if any(next(misspelt(each, _OF_READING, inside="data."), None) for each in rows if not each.keys() <= _OF_READING):
        raise ValueError("a member is misspelt")
    found: list[float | None] = [each.get("duration_s") for each in rows]
    stated = [each for each in found if each is not None]
    if not stated:
        return None
    if not (_NUMBERS.issuperset(map(type, stated)) and min(stated) > 0 and max(stated) <= MAX_DURATION_S):
        raise ValueError("a duration is out of bounds")
    return found


def _faults(rows: list[Any], judge: Judge) -> Iterator[Problem]:
    """Find the faults of rows: in columns, and one by one only where the columns have a fault."""
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        with suppress(*_FAULTS):
            moments = _rows(chunk, judge).moment_us
            if judge.holds(int(moments.min()), int(moments.max())):
                continue
        for i, row in enumerate(chunk, start):
            try:
                if isinstance(row, dict):
                    yield from misspelt(row, _OF_READING, inside=f"data[{i}].")
                _READING.validate_python(row, context=judge)
            except ValidationError as error:
                yield from problems(error, inside=f"data[{i}]")


def batch_id_in(members: dict[str, Any]) -> UUID | None:
    """Return the `batch_id` of a batch that is not valid; None if it has none, or a wrong one."""
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

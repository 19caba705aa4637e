"""The wire format: decodes and checks the batch in one POST body or MQTT message."""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from math import isnan, nan
from typing import Any, cast
from uuid import UUID

import numpy as np
from pydantic import TypeAdapter, ValidationError

from shared.contract.acceptance import Period, Rules
from shared.contract.batch import Batch, Received, Rows, slots_of
from shared.contract.json_text import read_json
from shared.contract.kinds import PLAIN_KINDS, UNITS, contradictions, in_kilo, kind_of, most_of
from shared.contract.limits import MAX_BODY_BYTES, MAX_DURATION_S, MAX_MESSAGE_BYTES, MAX_READINGS, MAX_SLOTS
from shared.contract.misspelt import misspelt
from shared.contract.validation import moment, number_of, problems
from shared.contract.wire import (
    MEMBERS,
    OF_READING,
    PLAIN_MEMBERS,
    USUAL,
    VALIDATE,
    CheckedReading,
    Judge,
    PlainBatch,
    WireBatch,
)
from shared.domain.columns import I64
from shared.domain.errors import MAX_PROBLEMS, InvalidInput, Problem, TooLargeInput, UnreadableInput
from shared.domain.readings import LOOKS_BACK, Kind
from shared.domain.slots import LONGEST_US, SLOT_US
from shared.domain.timestamps import FEW, LAST_US, US_PER_S, iso, moments_us

FEW_SLOTS_US = MAX_SLOTS * SLOT_US // 2
"""A batch that spans less cannot make `MAX_SLOTS`, and is not counted: no maximum gap is half as long."""
NOT_VALID = "the batch is not valid"
CHUNK = 256
"""How many readings are searched for faults at a time."""
_NAMED = re.compile(rb'"batch_id"\s*:\s*"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"')
_FAULTS = (ValueError, TypeError, LookupError, OverflowError, AttributeError, InvalidInput)
"""Errors that decoding raises for a batch that is not valid; pydantic's is a ValueError."""

_NUMBERS = {int, float}
_BATCH_ID: TypeAdapter[UUID | None] = TypeAdapter(UUID | None)
_READING: TypeAdapter[Any] = TypeAdapter(CheckedReading)


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
    is_plain = PLAIN_MEMBERS.issuperset(members)
    found = [] if is_plain else list(misspelt(members, MEMBERS))
    if not is_plain and "delete" in members and judge.topic_ship is None:
        found.append(Problem("delete", "is for MQTT: over HTTP, send DELETE /data"))
    if not is_plain and "covariates" in members and judge.topic_ship is None:
        found.append(Problem("covariates", "is for MQTT: over HTTP, send PUT /ships/{spaceship_id}/covariates"))
    try:
        wire = VALIDATE[judge.topic_ship is not None, is_plain](raw, context=judge)
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
        ship, kind, moment_us, value, duration_us, gap_us, rollover, None, None, received, wire.batch_id, wire.sent_at
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
    durations_s = None if sum(map(len, rows)) == len(USUAL) * len(rows) else _stated_durations(rows)
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
    if any(next(misspelt(each, OF_READING, inside="data."), None) for each in rows if not each.keys() <= OF_READING):
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
                    yield from misspelt(row, OF_READING, inside=f"data[{i}].")
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

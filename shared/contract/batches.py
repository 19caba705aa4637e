"""The wire format of several batches in one body: a JSON array of them, or NDJSON with one on each line.

The limits of one batch hold for all of them together.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from shared.contract.acceptance import Rules
from shared.contract.batch import Batch, Received, slots_of
from shared.contract.decoding import InvalidBatch, checked
from shared.contract.json_text import check_counts, read_json, stripped
from shared.contract.limits import MAX_BATCHES, MAX_MEMBERS, MAX_READINGS, MAX_SLOTS, SMALL_BYTES
from shared.contract.wire import Judge
from shared.domain.errors import MAX_PROBLEMS, InvalidInput, Problem, UnreadableInput
from shared.domain.slots import LONGEST_US, SLOT_US

NOT_VALID = "the batches are not valid"
NDJSON_TYPES = frozenset({"application/x-ndjson", "application/ndjson"})
_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[")


class Placed(NamedTuple):
    """A batch, and its place in the body: ``[2]``, or ``line 3``."""

    place: str
    received: Received


def is_array(payload: bytes) -> bool:
    """Return whether a body begins as a JSON array."""
    return _ARRAY.match(payload) is not None


def at(place: str, inside: str) -> str:
    """Return the place of a fault in a body, from that of its batch and the one inside the batch."""
    if inside == "body":
        return place
    return f"{place}.{inside}" if place.endswith("]") else f"{place}: {inside}"


def receive_all(payload: bytes, rules: Rules, now_us: int) -> list[Placed]:
    """Decode a body with several batches: a JSON array, or else NDJSON. For the arguments see `batch.receive`.

    Raises:
        UnreadableInput: not JSON.
        InvalidInput: a batch is not valid, or they are too much together.

    """
    found: list[Placed] = []
    faults: list[Problem] = []
    readings = members = 0
    for place, raw in _elements(payload) if is_array(payload) else _lines(payload):
        judge = Judge(rules, now_us, None)
        judge.raw = raw
        members += len(raw) if isinstance(raw, dict) else 0
        if members > MAX_MEMBERS:
            raise _too_much(f"has more than {MAX_MEMBERS:,} members beside those of its readings")
        try:
            found.append(Placed(place, checked(raw, judge)))
        except InvalidBatch as error:
            faults += (Problem(at(place, each.at), each.problem) for each in error.problems)
            if len(faults) >= MAX_PROBLEMS:
                break
            continue
        readings += found[-1].received.batch.received
        if readings > MAX_READINGS:
            raise _too_much(f"has more than {MAX_READINGS:,} readings")
    if faults:
        raise InvalidInput(NOT_VALID, tuple(faults))
    if not found:
        raise InvalidInput(NOT_VALID, (Problem("body", "is empty"),))
    _check_slots([each.received.batch for each in found], rules)
    return found


def _elements(payload: bytes) -> Iterator[tuple[str, object]]:
    raw = read_json(payload)
    elements = raw if isinstance(raw, list) else []
    if len(elements) > MAX_BATCHES:
        raise _too_much(f"has more than {MAX_BATCHES:,} batches")
    return ((f"[{i}]", each) for i, each in enumerate(elements))


def _lines(payload: bytes) -> Iterator[tuple[str, object]]:
    payload = stripped(payload)
    if payload.count(b"\n") > MAX_BATCHES:
        raise _too_much(f"has more than {MAX_BATCHES:,} lines")
    if len(payload) > SMALL_BYTES:
        check_counts(payload)
    for number, line in enumerate(payload.split(b"\n"), 1):
        if line.strip():
            place = f"line {number}"
            try:
                yield place, read_json(line)
            except UnreadableInput as error:
                raise UnreadableInput(error.summary, (Problem(place, error.summary),)) from None


def _check_slots(batches: list[Batch], rules: Rules) -> None:
    """Check the work that they make together. It is counted only where a quick estimate is too much."""
    if sum(map(_most_slots, batches)) <= MAX_SLOTS:
        return
    slots = sum(slots_of(each, rules) for each in batches)
    if slots > MAX_SLOTS:
        raise _too_much(f"covers {slots:,} slots of 15 minutes, more than {MAX_SLOTS:,}")


def _most_slots(batch: Batch) -> int:
    """Return how many slots a batch covers at most: the last reading may bridge as long as all others together."""
    span_us = int(batch.moment_us[-1]) - int(batch.moment_us[0])
    longest_us = 0 if batch.duration_us is None else LONGEST_US
    return (2 * span_us + longest_us) // SLOT_US + 3


def _too_much(why: str) -> InvalidInput:
    return InvalidInput(NOT_VALID, (Problem("body", f"{why}: send it in several bodies"),))

"""Batches: what one is once it is decoded, as columns, and as the message that the gateway publishes."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import numpy as np
from pydantic_core import to_json

from shared.contract.acceptance import Rules
from shared.contract.kinds import WireStated
from shared.contract.limits import MAX_BODY_BYTES, MAX_MESSAGE_BYTES
from shared.contract.wire import PlainBatch
from shared.domain.columns import F64, I64
from shared.domain.errors import TooLargeInput
from shared.domain.readings import LOOKS_BACK, Kind, Readings, Stated
from shared.domain.slots import LONGEST_US, count_slots
from shared.domain.timestamps import USUAL_LENGTH, iso

_ATTRIBUTES = frozenset(WireStated.model_fields) - {"units"}


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
        covariates: None, or that it is a table of covariates: its `Covariates.content`.
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
    covariates: str | None
    received: int
    batch_id: UUID | None
    sent_at_us: int | None

    @property
    def units(self) -> str:
        """The unit of the values."""
        return self.kind.unit

    @property
    def has_readings(self) -> bool:
        """Whether it is neither a deletion nor a table of covariates."""
        return self.deletes is None and self.covariates is None


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


def without_readings(
    ship: int,
    batch_id: UUID | None,
    sent_at_us: int | None,
    *,
    deletes: tuple[int, int] | None = None,
    covariates: str | None = None,
) -> Batch:
    """Return a deletion, or a table of covariates."""
    no_us, no_values = np.zeros(0, np.int64), np.zeros(0)
    return Batch(ship, Kind.UNKNOWN, no_us, no_values, None, 0, 0.0, deletes, covariates, 0, batch_id, sent_at_us)


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


def slots_of(batch: Batch, rules: Rules) -> int:
    """Return how many slots the readings of a batch cover."""
    max_gap_us = batch.max_gap_us or (LONGEST_US if batch.kind == Kind.COUNTER_KWH else rules.max_gap_us)
    looks_back = bool(LOOKS_BACK[batch.kind])
    return count_slots(batch.moment_us, max_gap_us, batch.duration_us, looks_back=looks_back)

"""What is sent under chaos: new, repeated, corrected, late and wrong batches, some cut anew, deletions; from a seed."""

import json
import random
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import UUID

from shared.domain.timestamps import US_PER_S, iso
from tests.support.reference import (
    COUNTER_KWH,
    END_KWH,
    ENERGY_KWH,
    LINE_KW,
    MEAN_KW,
    NAN,
    POWER_KW,
    UNKNOWN,
    Deletion,
    Reading,
)

START_US = 1_535_068_800_000_000  # 2018-08-24T00:00:00Z
STEP_US = 60_000_000
AREA = 20_000
"""Steps after which a ship begins anew at its first: what there is to compare stays bounded."""
REMEMBERED = 60
LARGE, LARGE_SHARE = 3_000, 0.003
NOW_US = 2**60
"""Counts as the `sent_at` of a deletion over HTTP, which is later than all that dated ships say."""
DELETED_STEPS = 300
Outcome = Literal["stored", "rejected", "refused", "unknown"]
MIXED = frozenset({4, 103, 202, 204, 205})
"""Ships that send readings of all kinds, unknown ones too, and deletions."""
PLAIN_KINDS = {"kW": POWER_KW, "kWh": ENERGY_KWH}
STATED: list[tuple[int, dict[str, Any]]] = [
    (LINE_KW, {"units": "kW", "between": "linear"}),
    (MEAN_KW, {"units": "kW", "stamp": "end"}),
    (END_KWH, {"units": "kWh", "stamp": "end"}),
    (COUNTER_KWH, {"units": "kWh", "counter": True}),
    (COUNTER_KWH, {"units": "kWh", "counter": True, "rollover": 1000}),
    (POWER_KW, {"units": "kW", "duration_s": 90}),
    (END_KWH, {"units": "kWh", "stamp": "end", "duration_s": 60}),
    (ENERGY_KWH, {"units": "kWh", "max_gap_s": 1800}),
]
"""What batches of mixed ships state, and the kind that makes of their readings."""


@dataclass(frozen=True)
class Batch:
    """One batch.

    Attributes:
        ship: whose.
        units: `kW` or `kWh`.
        data: (moment in microseconds, value) in the order of its list; None where the value is unknown.
        batch_id: None where it has none.
        sent_at_us: what it says; None where it says nothing.
        order: what counts as its `sent_at`: that, or where it has none the place in the order of its sender.
        outcome: what has to become of it; `unknown`, where nobody is told.
        payload: as it is sent.
        kind: why it was made.
        stated: further members that say what its values mean.
        means: the kind of its readings that have a value.
        deletes: the span that it deletes, in microseconds; it then has no data.

    """

    ship: int
    units: str
    data: tuple[tuple[int, float | None], ...]
    batch_id: str | None
    sent_at_us: int | None
    order: int
    outcome: Outcome = "stored"
    payload: bytes = b""
    kind: str = "new"
    stated: Mapping[str, Any] = field(default_factory=dict)
    means: int = POWER_KW
    deletes: tuple[int, int] | None = None

    def written(self, **members: Any) -> "Batch":
        """Write it as JSON; `members` replace its own."""
        wire: dict[str, Any] = {"batch_id": self.batch_id} if self.batch_id else {}
        wire |= {"spaceship_id": self.ship}
        if self.sent_at_us is not None:
            wire["sent_at"] = iso(self.sent_at_us)
        if self.deletes is None:
            wire |= {"units": self.units, **self.stated}
            wire["data"] = [{"datetime": iso(moment_us), "value": value} for moment_us, value in self.data]
        else:
            wire["delete"] = dict(zip(("start", "end"), map(iso, self.deletes), strict=True))
        return replace(self, payload=json.dumps({**wire, **members}).encode())

    def readings(self) -> Iterator[Reading]:
        """Give what it says: of two readings of one moment the later in its list."""
        for moment_us, value in dict(self.data).items():
            if value is None:
                yield Reading(self.ship, moment_us, NAN, UNKNOWN, self.order)
                continue
            duration_us, gap_us = (self.stated.get(name, 0) * US_PER_S for name in ("duration_s", "max_gap_s"))
            rollover = float(self.stated.get("rollover", 0))
            yield Reading(self.ship, moment_us, value, self.means, self.order, duration_us, gap_us, rollover)

    def deletion(self) -> Deletion | None:
        """Give what it deletes."""
        return self.deletes and Deletion(self.ship, *self.deletes, self.order)


class Author:
    """What one ship has to say, through one sender. The same seed gives the same batches.

    A *dated* ship names `sent_at`, and its batches may come in any order and from several senders. An undated one
    leaves it to the service: it sends one batch after the other, each when it knows of the one before.
    """

    def __init__(self, rng: random.Random, ship: int, *, dated: bool, http: bool) -> None:
        """Prepare.

        Args:
            rng: where its choices come from.
            ship: its number.
            dated: see above.
            http: whether it sends over HTTP; else over MQTT, where whatever wants a promise needs a `batch_id`.

        """
        self.ship, self._rng, self._dated, self._http = ship, rng, dated, http
        self._front = 0
        self._count = 0
        self._lone = 0
        self._recent: deque[Batch] = deque(maxlen=REMEMBERED)

    def next(self) -> Batch:
        """Make the next one."""
        self._count += 1
        chosen = self._rng.random()
        if self._recent and chosen < 0.12:
            return replace(self._rng.choice(self._recent), kind="repeat")
        if self._dated and chosen < 0.20 and (with_data := [each for each in self._recent if each.data]):
            return self._cut_anew(self._rng.choice(with_data))
        if chosen < 0.26:
            return self._wrong()
        if self._http and chosen < 0.31:
            return self._nameless()
        if self.ship in MIXED and chosen < 0.36:
            self._recent.append(batch := self._deletion())
            return batch
        kind = self._rng.choice(["new"] * 5 + ["correction"] * 3 + ["late"] * 2)
        batch = self._batch(kind, self._moments(kind)).written()
        self._recent.append(batch)
        return batch

    # --- good ones

    def _batch(self, kind: str, moments: list[int]) -> Batch:
        is_mixed = self.ship in MIXED
        data = tuple((each, None if is_mixed and self._rng.random() < 0.05 else self._value()) for each in moments)
        sent_at_us = self._sent_at_us(kind) if self._dated else None
        order = self._count if sent_at_us is None else sent_at_us
        units, stated = self._rng.choice(["kW", "kWh"]), dict[str, Any]()
        means = PLAIN_KINDS[units]
        if is_mixed and self._rng.random() < 0.6:
            means, stated = self._rng.choice(STATED)
            units = stated["units"]
        return Batch(self.ship, units, data, self._uuid(), sent_at_us, order, kind=kind, stated=stated, means=means)

    def _deletion(self) -> Batch:
        """Delete some time near the newest readings, or anywhere. Over HTTP it is dated when it is accepted."""
        start = self._moments("correction" if self._rng.random() < 0.7 else "late")[0]
        end = start + self._rng.randrange(1, DELETED_STEPS) * STEP_US
        sent_at_us = self._sent_at_us("late") if self._dated and not self._http else None
        order = (NOW_US if self._dated else self._count) if sent_at_us is None else sent_at_us
        made = Batch(self.ship, "kW", (), self._uuid(), sent_at_us, order, kind="deletion", deletes=(start, end))
        return made.written()

    def _sent_at_us(self, kind: str) -> int:
        """Choose when it says that it was sent; in whole seconds, so that some are equal."""
        age = self._rng.randrange(2_000) if kind == "late" else 0
        return START_US + 1_000_000 * max(self._count // 2 - age, 0)

    def _moments(self, kind: str) -> list[int]:
        count, step = self._rng.randrange(1, 25), self._rng.choice([1, 1, 1, 2, 5])
        if self._rng.random() < LARGE_SHARE:
            count, step = LARGE, 1
        if kind == "new":
            if self._rng.random() < 0.01:
                self._front += self._rng.randrange(24 * 60, 30 * 60)  # a silence
            first = self._front
            self._front = (self._front + count * step) % AREA
        elif kind == "correction":
            first = max(self._front - self._rng.randrange(1, 120), 0)
        else:
            first = self._rng.randrange(self._front + 1)
        places = [first + i * step for i in range(count)]
        if self._rng.random() < 0.3:
            self._rng.shuffle(places)
        if self._rng.random() < 0.1:
            places.append(self._rng.choice(places))
        return [START_US + place * STEP_US for place in places]

    def _value(self) -> float:
        return self._rng.choice([0.0, self._rng.randrange(1000), round(self._rng.uniform(0, 1000), 3)])

    def _uuid(self) -> str:
        return str(UUID(int=self._rng.getrandbits(128), version=4))

    def _cut_anew(self, batch: Batch) -> Batch:
        """Say a part of one again, with its `sent_at`, under another name."""
        cut = self._rng.randrange(len(batch.data))
        data = batch.data[:cut] if self._rng.random() < 0.5 else batch.data[cut:]
        return replace(batch, data=data or batch.data, batch_id=self._uuid(), kind="cut anew").written()

    def _nameless(self) -> Batch:
        """Leave out the `batch_id`; of an undated one each repeat then counts as new, so no other has its moments."""
        if self._dated:
            return replace(self._batch("new", self._moments("correction")), batch_id=None, kind="nameless").written()
        self._lone += 1
        batch = self._batch("new", [START_US - self._lone * STEP_US])
        return replace(batch, batch_id=None, kind="nameless").written()

    # --- wrong ones

    def _wrong(self) -> Batch:
        """Make one that must not be stored, though most of its readings are good: no other has their moments."""
        moments = [moment_us + STEP_US // 2 for moment_us in self._moments("correction")]
        batch = replace(self._batch("new", moments), kind="wrong")
        ways = [self._negative, self._bad_member, self._unreadable]
        if self._http and self._recent:
            ways.append(self._conflict)
        return self._rng.choice(ways)(batch)

    def _negative(self, batch: Batch) -> Batch:
        """Over HTTP it is accepted: under chaos the gateway takes negative values, and the worker does not."""
        data = (*batch.data, (batch.data[0][0] + 1, -1.0))
        return replace(batch, data=data, outcome="rejected").written()

    def _bad_member(self, batch: Batch) -> Batch:
        members: list[dict[str, Any]] = [{"units": "J"}, {"data": "none"}, {"data": [{"datetime": "now", "value": 1}]}]
        member = self._rng.choice(members)
        return replace(batch, outcome="refused" if self._http else "rejected").written(**member)

    def _conflict(self, batch: Batch) -> Batch:
        """Use the name of another one: any that this author remembers is known to be accepted."""
        known = self._rng.choice(self._recent)
        return replace(batch, batch_id=known.batch_id, outcome="refused", kind="conflict").written()

    def _unreadable(self, batch: Batch) -> Batch:
        return replace(batch, payload=batch.written().payload[:-1], outcome="refused" if self._http else "unknown")

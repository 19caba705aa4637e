"""The scenarios: what a ship used, and the readings of it as they arrive.

In each the sender's readings determine the load, if one knows what the sender means by them; so a figure that is not
exact is the fault of the method, not of the readings. `nature.py` is about readings that do not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import NamedTuple

from benchmarks.truth.load import Load, sloped, stepped
from shared.domain.readings import Kind
from shared.domain.slots import SLOT_S

START_S = 1_704_067_200
"""2024-01-01T00:00:00Z."""
MINUTE_S, HOUR_S = 60, 3600
DAY_S = 24 * HOUR_S
Spans = tuple[tuple[int, int], ...]


class Sent(NamedTuple):
    """A reading as its sender means it; the value is in kW or kWh.

    `span_s` is the time that a value of energy is for, which the sender knows and may tell.
    """

    moment_s: int
    value: float
    kind: Kind
    sent_s: int
    span_s: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One ship.

    Attributes:
        name: what is special about it.
        load: what the ship used, from the first slot to the last.
        sent: the readings, in the order of their arrival.
        unknown: times in ``[start, end)`` that no reading is about.

    """

    name: str
    load: Load
    sent: Sequence[Sent]
    unknown: Spans = ()

    def truth(self) -> dict[int, Fraction]:
        """Return the energy of the slots that readings are about from end to end, by their start."""
        return {slot_s: kwh for slot_s, kwh, silent_kwh in self._slots() if silent_kwh is None}

    def silent(self) -> dict[int, tuple[Fraction, Fraction]]:
        """Return of the other slots the energy that readings are about, and that which none is about."""
        return {slot_s: (kwh - unknown, unknown) for slot_s, kwh, unknown in self._slots() if unknown is not None}

    def _slots(self) -> Iterator[tuple[int, Fraction, Fraction | None]]:
        """Give the slots between the first and the last reading, and the unknown part of their energy if there is."""
        moments_s = [each.moment_s for each in self.sent]
        for slot_s in range(-(-min(moments_s) // SLOT_S) * SLOT_S, max(moments_s) - SLOT_S + 1, SLOT_S):
            parts = [(max(slot_s, start_s), min(slot_s + SLOT_S, end_s)) for start_s, end_s in self.unknown]
            unknown = [self.load.kwh(start_s, end_s) for start_s, end_s in parts if start_s < end_s]
            yield slot_s, self.load.kwh(slot_s, slot_s + SLOT_S), sum(unknown, Fraction(0)) if unknown else None


def scenarios() -> list[Scenario]:
    """Return all scenarios, the same each time."""
    return [
        _powers("clean minutes", _every(MINUTE_S), share=0.1),
        _powers("irregular", _irregular()),
        _powers("late: a tenth, in disorder", _irregular(), _delayed),
        _powers("repeated: a third comes again", _irregular(), _repeated),
        _powers("corrected, wrong ones repeated", _irregular(), _corrected),
        _powers("outage of 3 h", _every(MINUTE_S), share=0.1, outage_s=3 * HOUR_S),
        _powers("outage of 30 h", _every(MINUTE_S), share=0.1, outage_s=30 * HOUR_S),
        _energies("hourly energy", _every(HOUR_S), Kind.ENERGY_KWH),
        _energies("off-grid energy, 50 min", _every(50 * MINUTE_S, 20 * MINUTE_S), Kind.ENERGY_KWH),
        _powers("one reading in 40 min", _every(40 * MINUTE_S)),
        _powers("steps 20 s beside slot edges", _beside_edges()),
        _mixed(),
        _powers("send-on-change, up to 9 h", _changes()),
        _lost(),
        _counter(),
        _energies("hourly energy, end-stamped", _every(HOUR_S), Kind.END_KWH),
        _slopes(),
    ]


def _every(step_s: int, first_s: int = 0) -> list[int]:
    return [START_S, *range(START_S + (first_s or step_s), START_S + 3 * DAY_S, step_s), START_S + 3 * DAY_S]


def _irregular() -> list[int]:
    return _apart(Random(2), lambda rng: rng.randint(5, 20 * MINUTE_S))


def _changes() -> list[int]:
    return _apart(Random(3), lambda rng: rng.choice((rng.randint(30, 600), rng.randint(HOUR_S, 9 * HOUR_S))))


def _apart(rng: Random, step_s: Callable[[Random], int]) -> list[int]:
    moments_s = [START_S]
    while moments_s[-1] < START_S + 3 * DAY_S:
        moments_s.append(moments_s[-1] + step_s(rng))
    return [*moments_s[:-1], START_S + 3 * DAY_S]


def _beside_edges() -> list[int]:
    edges_s = range(START_S + SLOT_S, START_S + 3 * DAY_S, SLOT_S)
    return [START_S, *(edge_s + side_s for edge_s in edges_s for side_s in (-20, 20)), START_S + 3 * DAY_S]


def _at(load: Load, moments_s: Sequence[int], kind: Kind = Kind.POWER_KW) -> list[Sent]:
    return [Sent(each, float(load.kw(each)), kind, each) for each in moments_s]


def _powers(
    name: str,
    edges_s: list[int],
    arriving: Callable[[list[Sent]], list[Sent]] = list,
    *,
    share: float = 1,
    outage_s: int = 0,
) -> Scenario:
    """Return readings of a load at each of its steps, and one at its end."""
    load = stepped(edges_s, Random(name), share)
    begins_s = START_S + 30 * HOUR_S + 7 * MINUTE_S
    sent = [each for each in _at(load, edges_s) if not begins_s <= each.moment_s < begins_s + outage_s]
    # The last reading before the outage speaks for its minute.
    return Scenario(name, load, arriving(sent), ((begins_s, begins_s + outage_s),) if outage_s else ())


def _delayed(sent: list[Sent]) -> list[Sent]:
    rng = Random(4)
    return sorted(sent, key=lambda each: each.moment_s + (rng.random() < 1 / 10) * rng.randint(0, DAY_S))


def _repeated(sent: list[Sent]) -> list[Sent]:
    rng = Random(5)
    twice = [(each, each.moment_s + rng.randint(1, HOUR_S)) for each in sent if rng.random() < 1 / 3]
    return [each for each, _ in sorted([*((each, each.moment_s) for each in sent), *twice], key=lambda pair: pair[1])]


def _corrected(sent: list[Sent]) -> list[Sent]:
    """Return readings of which a tenth is 500 kW too high at first; half of these come again after the correction."""
    rng, arriving = Random(6), []
    for each in sent:
        if rng.random() < 1 / 10:
            wrong, right_s = each._replace(value=each.value + 500), each.moment_s + HOUR_S
            arriving += [(wrong, each.moment_s), (each._replace(sent_s=right_s), right_s)]
            arriving += [(wrong, right_s + HOUR_S)] * (rng.random() < 1 / 2)
        else:
            arriving.append((each, each.moment_s))
    return [each for each, _ in sorted(arriving, key=lambda pair: pair[1])]


def _energies(name: str, edges_s: list[int], kind: Kind) -> Scenario:
    """Return the energy between the edges of a load."""
    load = stepped(edges_s, Random(name))
    return Scenario(name, load, list(_spans(load, edges_s, kind)))


def _spans(load: Load, edges_s: Sequence[int], kind: Kind) -> Iterator[Sent]:
    for start_s, end_s in pairwise(edges_s):
        stamp_s = start_s if kind is Kind.ENERGY_KWH else end_s
        yield Sent(stamp_s, float(load.kwh(start_s, end_s)), kind, end_s, end_s - start_s)


def _mixed() -> Scenario:
    """Return a day of power, a day of energy and a day of power."""
    edges_s = _every(5 * MINUTE_S)
    load = stepped(edges_s, Random(7))
    one_s, two_s = START_S + DAY_S, START_S + 2 * DAY_S
    power = _at(load, [each for each in edges_s if not one_s <= each < two_s])
    energy = _spans(load, [each for each in edges_s if one_s <= each <= two_s], Kind.ENERGY_KWH)
    return Scenario("kW one day, kWh the next", load, sorted([*power, *energy]))


def _lost() -> Scenario:
    """Return hourly energy without a tenth of the readings."""
    name, edges_s, rng = "lost meter readings", _every(HOUR_S), Random(8)
    load = stepped(edges_s, Random(name))
    sent = list(_spans(load, edges_s, Kind.ENERGY_KWH))
    lost = [each for each in sent[1:-1] if rng.random() < 1 / 10]
    spans = tuple((each.moment_s, each.moment_s + HOUR_S) for each in lost)
    return Scenario(name, load, [each for each in sent if each not in lost], spans)


def _counter() -> Scenario:
    """Return a meter's register, which a new one that begins at 0 replaces between two readings."""
    edges_s = _every(10 * MINUTE_S, 3 * MINUTE_S)
    load = stepped(edges_s, Random(9))
    last = len(edges_s) // 2
    swapped_s = (edges_s[last] + edges_s[last + 1]) // 2
    sent = [
        Sent(each, float(12_345 + load.kwh(START_S, each)), Kind.COUNTER_KWH, each)
        if each < swapped_s
        else Sent(each, float(load.kwh(swapped_s, each)), Kind.COUNTER_KWH, each)
        for each in edges_s
    ]
    return Scenario("counter, replaced once", load, sent, ((edges_s[last], edges_s[last + 1]),))


def _slopes() -> Scenario:
    edges_s = _every(10 * MINUTE_S)
    load = sloped(edges_s, Random(10))
    return Scenario("even slopes, each 10 min", load, _at(load, edges_s, Kind.LINE_KW))

"""The rule again, slowly and in exact fractions, written from its description and not from the code under test."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

SLOT_US = 900_000_000
LONE_US = 900_000_000
US_PER_HOUR = 3_600_000_000
MONTH_US = 31 * 24 * US_PER_HOUR
POWER_KW, ENERGY_KWH, LINE_KW, MEAN_KW, END_KWH, COUNTER_KWH, UNKNOWN = range(7)
BACKWARDS = (MEAN_KW, END_KWH)
NAN = float("nan")
"""The value of all unknown readings: one object, so that equal readings are equal."""


class Reading(NamedTuple):
    """One reading, in the order of the columns of `shared.domain.readings.Readings`; 0 says: not stated."""

    ship: int
    moment_us: int
    value: float
    kind: int
    sent_at_us: int
    duration_us: int = 0
    max_gap_us: int = 0
    rollover: float = 0.0


class Deletion(NamedTuple):
    """One deletion."""

    ship: int
    start_us: int
    end_us: int
    sent_at_us: int


@dataclass
class Slot:
    """What one slot of one ship sums up to."""

    kwh: Fraction = Fraction(0)
    covered_us: int = 0
    provisional: bool = False
    estimated_us: int = 0


class Piece(NamedTuple):
    """What one reading speaks for: power at the start and at the end of a time, between them a straight line."""

    start_us: int
    end_us: int
    start_kw: Fraction
    end_kw: Fraction
    provisional: bool
    estimated: bool


def counting(readings: Iterable[Reading], deletions: Sequence[Deletion] = ()) -> dict[tuple[int, int], Reading]:
    """Give the reading that counts, under its ship and its moment in microseconds."""
    found: dict[tuple[int, int], Reading] = {}
    for each in readings:
        key = (each.ship, each.moment_us)
        if any(_removes(deletion, each) for deletion in deletions):
            continue
        if key not in found or _rank(each) > _rank(found[key]):
            found[key] = each
    return found


def slots(
    readings: Iterable[Reading], max_gap_us: int, deletions: Sequence[Deletion] = ()
) -> dict[tuple[int, int], Slot]:
    """Give every slot with cover, under its ship and its start in seconds."""
    counted = counting(readings, deletions).values()
    found: dict[tuple[int, int], Slot] = {}
    for ship in {each.ship for each in counted}:
        own = sorted((each for each in counted if each.ship == ship), key=lambda each: each.moment_us)
        for i in range(len(own)):
            piece = _piece(own, i, max_gap_us)
            start_us = piece.start_us if piece else 0
            while piece and start_us < piece.end_us:
                slot_us = start_us // SLOT_US * SLOT_US
                stop_us = min(piece.end_us, slot_us + SLOT_US)
                slot = found.setdefault((ship, slot_us // 1_000_000), Slot())
                kw = (_power(piece, start_us) + _power(piece, stop_us)) / 2
                slot.kwh += kw * (stop_us - start_us) / US_PER_HOUR
                slot.covered_us += stop_us - start_us
                slot.estimated_us += piece.estimated * (stop_us - start_us)
                slot.provisional |= piece.provisional
                start_us = stop_us
    return found


def _removes(deletion: Deletion, reading: Reading) -> bool:
    return (
        deletion.ship == reading.ship
        and deletion.start_us <= reading.moment_us < deletion.end_us
        and reading.sent_at_us <= deletion.sent_at_us
    )


def _rank(reading: Reading) -> tuple[float, ...]:
    value = 0.0 if reading.kind == UNKNOWN else reading.value
    return reading.sent_at_us, reading.kind, value, *reading[5:]


def _power(piece: Piece, us: int) -> Fraction:
    done = Fraction(us - piece.start_us, piece.end_us - piece.start_us)
    return piece.start_kw * (1 - done) + piece.end_kw * done


def _piece(own: list[Reading], i: int, max_gap_us: int) -> Piece | None:
    """Say what the reading at `i` of a ship's readings speaks for."""
    if own[i].kind == UNKNOWN:
        return None
    if own[i].kind == COUNTER_KWH:
        return _of_counter(own[i], own[i + 1] if i + 1 < len(own) else None)
    if own[i].kind in BACKWARDS:
        return _backwards(own, i, max_gap_us)
    return _ahead(own, i, max_gap_us)


def _of_counter(each: Reading, following: Reading | None) -> Piece | None:
    if following is None or following.kind != COUNTER_KWH:
        return None
    length_us = following.moment_us - each.moment_us
    rise = Fraction(following.value) - Fraction(each.value)
    if rise < 0 and following.rollover:
        rise += Fraction(following.rollover)
    if length_us > (each.max_gap_us or MONTH_US) or rise < 0:
        return None
    kw = rise * US_PER_HOUR / length_us
    return Piece(each.moment_us, following.moment_us, kw, kw, provisional=False, estimated=length_us > US_PER_HOUR)


def _backwards(own: list[Reading], i: int, max_gap_us: int) -> Piece:
    each = own[i]
    gap_us, end_us = each.max_gap_us or max_gap_us, each.moment_us
    since_us = end_us - own[i - 1].moment_us if i > 0 else None
    until_us = own[i + 1].moment_us - end_us if i + 1 < len(own) else None
    provisional = estimated = False
    if each.duration_us:
        length_us = whole_us = each.duration_us
        if since_us is not None:
            length_us = min(length_us, since_us)
    elif since_us is not None and since_us <= gap_us:
        length_us = whole_us = since_us
        estimated = each.kind == MEAN_KW and since_us > US_PER_HOUR
    else:
        length_us = whole_us = until_us if until_us is not None and until_us <= gap_us else LONE_US
        provisional, estimated = until_us is None, True
    kw = Fraction(each.value) * (1 if each.kind == MEAN_KW else Fraction(US_PER_HOUR, whole_us))
    return Piece(end_us - length_us, end_us, kw, kw, provisional, estimated)


def _ahead(own: list[Reading], i: int, max_gap_us: int) -> Piece | None:
    each, following = own[i], own[i + 1] if i + 1 < len(own) else None
    if following is not None and following.kind in BACKWARDS:
        return None
    gap_us, start_us = each.max_gap_us or max_gap_us, each.moment_us
    since_us = start_us - own[i - 1].moment_us if i > 0 else None
    usual_us = since_us if since_us is not None and since_us <= gap_us else None
    until_us = following.moment_us - start_us if following else None
    joined = until_us is not None and until_us <= gap_us
    provisional = estimated = False
    if each.duration_us:
        whole_us = each.duration_us
        length_us = whole_us if until_us is None else min(whole_us, until_us)
    elif until_us is not None and joined:
        length_us = whole_us = until_us
        if each.kind == ENERGY_KWH:
            estimated = usual_us is not None and Fraction(until_us, usual_us) > Fraction(3, 2)
        else:
            estimated = until_us > US_PER_HOUR
    else:
        length_us = whole_us = usual_us or LONE_US
        provisional, estimated = following is None, True
    kw = Fraction(each.value) * (Fraction(US_PER_HOUR, whole_us) if each.kind == ENERGY_KWH else 1)
    end_kw = kw
    if following is not None and joined and each.kind == following.kind == LINE_KW:
        rise = Fraction(following.value) - kw
        end_kw = kw + rise * length_us / (following.moment_us - start_us)
    return Piece(start_us, start_us + length_us, kw, end_kw, provisional, estimated)

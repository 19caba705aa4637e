"""What the worker remembers of the store, and when it must forget."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from normalizer_worker.neighbour_cache import READINGS_PER_SHIP, NeighbourCache
from normalizer_worker.recorder import Recorder
from normalizer_worker.rule.reach import Neighbourhood, Span
from shared.domain.errors import Refused, Unavailable
from shared.domain.readings import Kind
from shared.domain.slots import DEFAULT_MAX_GAP_US, Window
from shared.domain.timestamps import moment_us
from shared.store.memory import MemoryStore
from tests.support import reference
from tests.support.columns import as_columns
from tests.support.comparing import assert_same
from tests.support.reference import Deletion, Reading
from tests.support.strategies import START_US, every_five_minutes


class CommitFails(MemoryStore):
    """A store whose transactions can be made to fail at their very end."""

    error: BaseException | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with super().transaction():
            yield
            if self.error is not None:
                raise self.error


@pytest.mark.parametrize(
    "error",
    [Unavailable("on demand"), KeyboardInterrupt()],
    ids=["Unavailable", "Ctrl-C"],
)
def test_what_failed_at_the_commit_is_not_remembered(error: BaseException) -> None:
    """By then the cache has readings that the store has not got."""
    store = CommitFails()
    recorder = Recorder(store, DEFAULT_MAX_GAP_US)
    recorder.record(every_five_minutes(0, 3))
    store.error = error
    with pytest.raises(type(error)):
        recorder.record(every_five_minutes(3, 1, value=1e9))
    store.error = None
    recorder.record(every_five_minutes(4, 1))
    assert store.slots(1, Window()).kwh.tolist() == pytest.approx([1.5, 1.5])


def end_of(ship: int) -> Neighbourhood:
    return Neighbourhood(
        as_columns([(ship, START_US, 1.0, Kind.POWER_KW, 0)]),
        from_oldest=True,
        to_newest=True,
    )


def test_the_ship_that_was_used_least_recently_is_dropped_first() -> None:
    cache = NeighbourCache(2 * (1 + READINGS_PER_SHIP))
    for ship in (1, 2, 1, 3):
        cache.put(ship, end_of(ship))
    assert [ship for ship in (1, 2, 3) if cache.around(Span(ship, START_US, START_US))] == [1, 3]


def test_the_cache_keeps_no_larger_array_alive() -> None:
    """A view of the last readings of a batch would hold the whole batch in memory."""
    cache = NeighbourCache(1000)
    cache.put(1, Neighbourhood(every_five_minutes(0, 1000), from_oldest=True, to_newest=True))
    found = cache.around(Span(1, START_US + 10**15, START_US + 10**15))
    assert found is not None
    assert all(getattr(found.readings, name).base is None for name in ("ship", "moment_us", "value", "sent_at_us"))


DAY_AT = {
    "p": "24T00:01",
    "a": "25T00:01",
    "b": "26T00:02",
    "c": "26T00:10",
    "d": "26T00:31",
    "e": "26T00:32",
}


@pytest.mark.parametrize(
    "late",
    [
        "24T23:59",
        "25T00:00",
        "25T00:02",
        "25T23:59",
        "26T00:05",
        "26T00:12",
        "26T00:20",
    ],
)
@pytest.mark.parametrize("cached_readings", [0, 10**6], ids=["from the store", "from the cache"])
@pytest.mark.parametrize("last", ["b", "c", "d", "e"])
def test_a_guess_that_reaches_into_the_slot_after_a_silence_is_counted_there(
    late: str, cached_readings: int, last: str
) -> None:
    """The reading before a silence speaks for a day, which ends in the slot where the next one speaks already.

    For that slot both count, and so do the readings that say how long either speaks: two before it, and two slots on.
    """
    rows = [Reading(1, moment_us(f"2018-08-{at}Z"), 6.0, Kind.POWER_KW, 1) for at in [*DAY_AT.values(), late]]
    rows = [*rows[: list(DAY_AT).index(last) + 1], rows[-1]]
    store = MemoryStore()
    recorder = Recorder(store, DEFAULT_MAX_GAP_US, cached_readings)
    for row in rows:
        recorder.record(as_columns([row]))
    assert_same(store.slots(1, Window()), reference.slots(rows, DEFAULT_MAX_GAP_US))


def test_a_deletion_is_not_undone_by_what_is_cached() -> None:
    """The cache holds the readings that are deleted; the next reading follows what is left."""
    store = MemoryStore()
    recorder = Recorder(store, DEFAULT_MAX_GAP_US)
    rows = [Reading(1, START_US + i * 300_000_000, 6.0, Kind.POWER_KW, 1) for i in range(12)]
    recorder.record(as_columns(rows[:11]))
    deletion = Deletion(1, rows[8].moment_us, rows[11].moment_us, 1)
    recorder.delete(deletion)
    recorder.record(as_columns(rows[11:]))
    assert_same(store.slots(1, Window()), reference.slots(rows, DEFAULT_MAX_GAP_US, [deletion]))


def test_too_many_deletions_are_refused_and_a_longer_one_that_includes_them_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where it is stored in parts, which are more for a moment."""
    monkeypatch.setattr("normalizer_worker.recorder.MAX_DELETIONS", 3)
    monkeypatch.setattr("normalizer_worker.recorder.MAX_DELETED", 1)
    store = MemoryStore()
    recorder = Recorder(store, DEFAULT_MAX_GAP_US)
    minute_us = 60_000_000
    rows = [Reading(1, START_US + i * minute_us, 6.0, Kind.POWER_KW, 1) for i in range(12)]
    recorder.record(as_columns(rows))
    spans = [Deletion(1, START_US + i * minute_us, START_US + (i + 1) * minute_us, 1) for i in (1, 4, 7, 10)]
    for each in spans[:3]:
        recorder.delete(each)
    with pytest.raises(Refused, match="delete a longer span that includes some of them"):
        recorder.delete(spans[3])
    assert_same(store.slots(1, Window()), reference.slots(rows, DEFAULT_MAX_GAP_US, spans[:3]))
    longer = Deletion(1, START_US + 3 * minute_us, START_US + 11 * minute_us, 2)
    recorder.delete(longer)
    assert len(store.stored_deletions([1])) == 2
    assert_same(store.slots(1, Window()), reference.slots(rows, DEFAULT_MAX_GAP_US, [*spans[:3], longer]))


def test_the_recorder_returns_the_readings_that_do_not_count() -> None:
    """What was sent before what is stored, and what a deletion takes out; not what is stored, or the same again."""
    recorder = Recorder(MemoryStore(), DEFAULT_MAX_GAP_US)
    rows = [Reading(1, START_US + i * 300_000_000, 6.0, Kind.POWER_KW, 5) for i in range(12)]
    older = [each._replace(value=7.0, sent_at_us=4) for each in rows]
    assert recorder.record(as_columns(rows[:6])) is None
    assert recorder.record(as_columns(rows[:8])) is None
    assert recorder.record(as_columns([each._replace(sent_at_us=3) for each in rows[:6]])) is None
    lost = recorder.record(as_columns(older[6:10]))
    assert lost is not None
    assert list(lost.moment_us) == [each.moment_us for each in older[6:8]]
    recorder.delete(Deletion(1, rows[10].moment_us, rows[11].moment_us, 4))
    lost = recorder.record(as_columns([*older[9:11], *rows[11:]]))
    assert lost is not None
    assert list(lost.moment_us) == [older[10].moment_us]
    assert recorder.record(as_columns(rows[10:])) is None

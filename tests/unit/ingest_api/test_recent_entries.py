"""Recent entries: read from memory once, and never missing where memory is believed."""

from hypothesis import given
from hypothesis import strategies as st

from ingest_api.outbox import recent_entries
from ingest_api.outbox.entry import WaitingEntry
from ingest_api.outbox.recent_entries import RecentEntries

LIMIT, LIMIT_BYTES = 10, 1000


def waiting(number: int, size: int = 10) -> WaitingEntry:
    return WaitingEntry(number, f"name {number}", 7, b"", b"x" * size)


def numbers(found: list[WaitingEntry] | None) -> list[int] | None:
    return None if found is None else [each.number for each in found]


def test_what_came_before_is_on_the_disk_alone() -> None:
    known = RecentEntries(last=3)
    known.add([waiting(4), waiting(5)])
    assert numbers(known.after(2, LIMIT, LIMIT_BYTES)) is None
    assert numbers(known.after(3, LIMIT, LIMIT_BYTES)) == [4, 5]


def test_what_has_been_read_is_given_up() -> None:
    """To be published again it is read from the disk."""
    known = RecentEntries(last=0)
    known.add([waiting(1), waiting(2)])
    assert numbers(known.after(0, LIMIT, LIMIT_BYTES)) == [1, 2]
    assert numbers(known.after(1, LIMIT, LIMIT_BYTES)) == [2]
    assert numbers(known.after(0, LIMIT, LIMIT_BYTES)) is None
    assert numbers(known.after(2, LIMIT, LIMIT_BYTES)) == []


def test_only_so_many_and_so_much_is_given_at_a_time_but_one_in_any_case() -> None:
    known = RecentEntries(last=0)
    known.add([waiting(1, 600), waiting(2, 600), waiting(3, 1)])
    assert numbers(known.after(0, LIMIT, LIMIT_BYTES)) == [1]
    assert numbers(known.after(1, LIMIT, LIMIT_BYTES)) == [2, 3]
    assert numbers(known.after(1, 1, LIMIT_BYTES)) == [2]
    assert numbers(known.after(1, LIMIT, 1)) == [2]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 6)),
        st.tuples(st.just("remove"), st.integers(0, 30)),
        st.tuples(st.just("read"), st.integers(0, 30)),
    ),
    max_size=40,
)


@given(STEPS)
def test_memory_returns_the_same_entries_as_the_disk_or_none(steps: list[tuple[str, int]]) -> None:
    """Whatever comes, goes and is asked for, and however little memory there is."""
    before, recent_entries.MAX_BYTES = recent_entries.MAX_BYTES, 40
    try:
        known, disk, last = RecentEntries(last=0), dict[int, WaitingEntry](), 0
        for step, argument in steps:
            if step == "add":
                new = [waiting(last + i + 1) for i in range(argument)]
                last += argument
                disk |= {each.number: each for each in new}
                known.add(new)
            elif step == "remove" and argument in disk:
                del disk[argument]
                known.remove(argument)
            elif step == "read":
                found = known.after(argument, LIMIT, LIMIT_BYTES)
                assert numbers(found) in (None, [number for number in disk if number > argument][:LIMIT])
            assert known._bytes == sum(len(each.payload) for each in known._entries.values()) <= 40
    finally:
        recent_entries.MAX_BYTES = before

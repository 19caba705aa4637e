"""Which readings of a batch do not count: a slow count in plain Python agrees, whatever comes in whatever order."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from normalizer_worker.rule.superseded import outranked, superseded
from shared.domain.readings import Kind, ReadingRow, Readings
from tests.support.columns import as_columns

NAN = float("nan")
_values = st.sampled_from([0.0, 1.0, 2.0])
rows = st.lists(
    st.tuples(st.integers(1, 2), st.integers(1, 3), _values, st.sampled_from([0, 1]), st.integers(1, 3)), max_size=12
)


def slowly(came: list[tuple[int, int, float, int, int]]) -> Iterator[bool]:
    """Compare each row with all before it, and with the one that counts."""
    for i, (ship, moment, value, kind, sent_at) in enumerate(came):
        same = [(each[4], each[3], each[2]) for each in came if each[:2] == (ship, moment)]
        before = [(each[4], each[3], each[2]) for each in came[:i] if each[:2] == (ship, moment)]
        is_outranked = any(each > (sent_at, kind, value) for each in before)
        yield is_outranked and max(same)[1:] != (kind, value)


@given(rows)
def test_outranked_is_what_came_after_one_that_counts_more(came: list[tuple[int, int, float, int, int]]) -> None:
    assert outranked(as_columns(came)).tolist() == list(slowly(came))


def test_what_the_store_outranks_is_superseded_wherever_it_stands() -> None:
    """`lost` names ship and moment; of several readings of one moment none counts."""
    came = as_columns([(1, 1, 1.0, 0, 1), (1, 2, 1.0, 0, 1), (2, 1, 1.0, 0, 1), (1, 1, 2.0, 0, 2), (1, 1, 1.0, 0, 1)])
    assert superseded(came, came[3:4]).tolist() == [True, False, False, True, True]
    assert superseded(came, came[:0]).tolist() == [False, False, False, False, True]


def test_a_repeat_is_not_superseded_whatever_it_states() -> None:
    """Unknown readings, and those that state a duration."""
    unknown: ReadingRow = (1, 1, NAN, Kind.UNKNOWN, 5, 0, 0, 0.0)
    long: ReadingRow = (1, 2, 3.0, Kind.POWER_KW, 5, 60, 0, 0.0)
    again = [(*each[:4], 4, *each[5:]) for each in (unknown, long)]
    assert not outranked(Readings.from_rows([unknown, long, unknown, long, *again])).any()
    shorter = (*long[:4], 4, 30, 0, 0.0)
    assert outranked(Readings.from_rows([long, shorter])).tolist() == [False, True]


def test_nothing_is_superseded_by_what_comes_later() -> None:
    assert outranked(as_columns([(1, 1, 1.0, 0, 1), (1, 1, 2.0, 0, 2)])).tolist() == [False, False]

"""Moments in columns: whatever is unusual goes the slow way, to the same result."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.timestamps import FEW, LAST_US, iso, moment_us, moments_us

USUAL = ["2019-01-05T04:37:00Z"] * FEW
USUAL_US = [moment_us(USUAL[0])] * FEW


@given(
    st.lists(
        st.integers(0, LAST_US // 1_000_000).map(lambda s: s * 1_000_000),
        min_size=FEW + 1,
        max_size=FEW + 9,
    )
)
def test_in_columns_every_moment_is_the_same_as_alone(us: list[int]) -> None:
    assert moments_us([iso(each) for each in us]).tolist() == us


@pytest.mark.parametrize("text", ["1970-01-01T00:00:00Z", "2199-12-31T23:59:59Z", "2020-02-29T00:00:00Z"])
def test_in_columns_the_whole_range_is_taken(text: str) -> None:
    assert moments_us([*USUAL, text]).tolist() == [*USUAL_US, moment_us(text)]


@pytest.mark.parametrize(
    "text",
    [
        "2019-01-05T04:37:00ZZ",
        "2019-01-05T04:37:00",
        "2019-01-05 04:37:00Z",
        "2019-01-05T04:37+01:00",
        "2019-W01-6T04:37:00Z",
        "2019-01-05T04:37:00.5Z",
        "2019-01-05T04:37+0100",
        "20190105T043700.000Z",
    ],
)
def test_one_of_another_form_among_the_usual_is_read_as_alone(text: str) -> None:
    """Some of them are as long as the usual one."""
    assert moments_us([*USUAL, text]).tolist() == [*USUAL_US, moment_us(text)]
    assert moments_us([text] * (FEW + 1)).tolist() == [moment_us(text)] * (FEW + 1)


@pytest.mark.parametrize(
    "text",
    [
        "1969-12-31T23:59:59Z",
        "2200-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2019-02-29T00:00:00Z",
        "2019-13-01T00:00:00Z",
        "2019-01-05T24:37:00Z",
        "2019-01-05T04:60:00Z",
        "2019-01-05T04:37:61Z",
        "2019-01-05T24:00:01Z",
        "2019/01/05T04:37:00Z",
        "2019-01-05T04.37.00Z",
        "2019-01-05T04:37:0xZ",
        "2019-01-05T04:37: 0Z",
        "2019-01-05T04:37:-1Z",
        "+019-01-05T04:37:00Z",
        "2019-01-05T04:37:00\N{LATIN SMALL LETTER E WITH ACUTE}",
        "201\N{ARABIC-INDIC DIGIT NINE}-01-05T04:37:00Z",
        "2019-01-05T04:37:00\0",
    ],
)
def test_in_columns_what_is_no_moment_is_refused_as_alone(text: str) -> None:
    """All of them are as long as the usual form."""
    assert len(text) == len(USUAL[0])
    for texts in ([*USUAL, text], [text, *USUAL], [text] * (FEW + 1)):
        with pytest.raises(ValueError):  # noqa: PT011  # the words are numpy's or ours
            moments_us(texts)
    with pytest.raises(ValueError):  # noqa: PT011  # the words are numpy's or ours
        moment_us(text)


@pytest.mark.parametrize("rubbish", ["x", "5", "Zz", "+01:00", "\0", " "])
def test_a_longer_text_among_the_usual_is_not_cut_to_a_moment(rubbish: str) -> None:
    for texts in ([*USUAL, USUAL[0] + rubbish], [USUAL[0] + rubbish, *USUAL]):
        with pytest.raises(ValueError):  # noqa: PT011  # the words are numpy's or ours
            moments_us(texts)

"""Reading JSON from strangers: its parts are counted before it is built, and what stands in strings is none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract import json_text
from shared.contract.json_text import read_json
from shared.contract.limits import MAX_CONTAINERS, MAX_ELEMENTS, SMALL_BYTES
from shared.domain.errors import InvalidInput, UnreadableInput

pieces = st.lists(st.sampled_from(["[", "{", ",", '"', "\\", "\\\\", '\\"', "]", "}", "x", "\N{ROCKET}"]), max_size=12)
documents = st.recursive(
    pieces.map("".join), lambda inner: st.lists(inner) | st.dictionaries(pieces.map("".join), inner), max_leaves=20
)


def parts(value: Any) -> tuple[int, int]:
    """Count objects and lists, and members and entries."""
    if not isinstance(value, list | dict):
        return 0, 0
    inner = [parts(each) for each in (value.values() if isinstance(value, dict) else value)]
    return 1 + sum(each[0] for each in inner), len(value) + sum(each[1] for each in inner)


@given(documents, st.booleans())
def test_of_a_text_exactly_its_parts_are_counted(document: Any, escaped: bool) -> None:  # noqa: FBT001
    """Brackets, commas, quotes and backslashes inside strings are none, however many and in whatever order."""
    text = json.dumps(document, ensure_ascii=escaped).encode()
    marks = [chr(mark) for mark, is_outside in zip(text, json_text._outside_strings(text), strict=True) if is_outside]
    opens, elements = parts(document)
    assert marks.count("[") + marks.count("{") == opens
    assert elements - opens <= marks.count(",") <= elements


@pytest.mark.parametrize("filler", ["", ",[{" * 1_000_000, "\\\\" * 500_000 + ",[{" * 500_000, '\\",[{' * 500_000])
def test_the_bounds_are_inclusive_and_strings_do_not_count(filler: str) -> None:
    """Up to the last part that is allowed."""
    string = f'"{filler}"'
    others = MAX_CONTAINERS - 1
    assert read_json(f"[{string},{','.join(['[]'] * others)}]".encode())
    assert read_json(f"[{string},{','.join('1' * (MAX_ELEMENTS - 2))}]".encode())
    for text in (
        f"[{string},{','.join(['{}'] * (others + 1))}]",
        f"[{string},{','.join('1' * (MAX_ELEMENTS + 1))}]",
    ):
        with pytest.raises(InvalidInput, match="too many parts") as caught:
            read_json(text.encode())
        assert not isinstance(caught.value, UnreadableInput)


def test_a_hundred_thousand_readings_of_six_members_are_few_enough() -> None:
    """Two of them ours, and four that are ignored."""
    reading = '{"datetime":"2019-01-05T04:37Z","value":1,"a":1,"b":2,"c":3,"d":4}'
    text = f'{{"spaceship_id":1,"units":"kW","data":[{",".join([reading] * 100_000)}]}}'
    assert isinstance(read_json(text.encode()), dict)


@pytest.mark.parametrize("size", [1_000, 3 * SMALL_BYTES])
def test_more_than_200_levels_are_not_read(size: int) -> None:
    """The parser itself bounds them, in small texts and in large ones."""
    blanks = b" " * size
    assert read_json(b"[" * 199 + b"]" * 199 + blanks)
    with pytest.raises(UnreadableInput):
        read_json(b"[" * 300 + b"]" * 300 + blanks)


BODY = {"units": "kW", "note": "\N{LATIN SMALL LETTER U WITH DIAERESIS}"}
WRITTEN = json.dumps(BODY, ensure_ascii=False)


@pytest.mark.parametrize("size", [0, SMALL_BYTES])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\0", b"\r\n\0\0\0", b"\0\n", b"\0\0\r\n"])
def test_a_byte_order_mark_and_trailing_nul_bytes_are_taken(start: bytes, end: bytes, size: int) -> None:
    """As Windows and C write texts; in small texts and in large ones."""
    assert read_json(start + b" " * size + WRITTEN.encode() + end) == BODY


@pytest.mark.parametrize("text", [b"\xef\xbb\xbf" * 2 + b"{}", b"\0{}", b"{}\0{}", b"\xef\xbb\xbf" * 20_000, b"\0" * 9])
def test_only_one_mark_and_only_trailing_nul_bytes_are_taken(text: bytes) -> None:
    with pytest.raises(UnreadableInput, match="Invalid JSON"):
        read_json(text)


@pytest.mark.parametrize("size", [0, SMALL_BYTES])
@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("utf-32-le", "UTF-32"),
        ("utf-32-be", "UTF-32"),
        ("latin-1", "Latin-1 or Windows-1252"),
        ("cp1252", "Latin-1 or Windows-1252"),
    ],
)
def test_another_encoding_is_named(encoding: str, name: str, size: int) -> None:
    with pytest.raises(UnreadableInput) as caught:
        read_json((WRITTEN + " " * size).encode(encoding))
    assert caught.value.summary == f"the body is {name}; send UTF-8"


@pytest.mark.parametrize("text", [b"\x80\x01\x02", b'{"a": "\xff\0"}'])
def test_what_is_no_text_is_given_no_name(text: bytes) -> None:
    with pytest.raises(UnreadableInput, match=r"the body is not UTF-8: invalid start byte at byte \d"):
        read_json(text)

"""The body of a POST: what it may be called, how it may be packed, and where its bounds are."""

import gzip
import io
import random
import threading
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
from flask import Request
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from ingest_api.http import body
from ingest_api.http.body import LARGE_AT_A_TIME, Room, gunzip
from shared.contract.limits import MAX_BODY_BYTES, MAX_GZIP_MEMBERS, SMALL_BYTES
from shared.domain.errors import TooLargeInput, Unavailable, UnreadableInput, UnsupportedInput


def request(body: bytes | io.BytesIO, length: int | None = None, **headers: str) -> Request:
    """Build a request as the server hands it on: unpacked from its chunks where it does not tell its length."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    stream = body if isinstance(body, io.BytesIO) else io.BytesIO(body)
    environ = EnvironBuilder("/data", method="POST", input_stream=stream, headers=named).get_environ()
    environ["wsgi.input_terminated"] = True
    environ["CONTENT_LENGTH"] = "" if length is None else str(length)
    return Request(environ)


def read(request: Request) -> bytes:
    """Read one, where there is room."""
    with Room().body(request) as payload:
        return payload


def sized(body: bytes, **headers: str) -> Request:
    """Build one that tells its length."""
    return request(body, len(body), **headers)


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8;version=1",
        "application/vnd.fleet+json",
        "application/problem+json",
    ],
)
def test_every_kind_of_json_is_taken(kind: str) -> None:
    """The parameters of the media type change nothing."""
    assert read(sized(b"{}", Content_Type=kind)) == b"{}"


@pytest.mark.parametrize("kind", [{}, {"Content_Type": "text/plain;charset=UTF-8"}])
def test_a_body_of_no_or_a_plain_type_is_taken_for_json(kind: dict[str, str]) -> None:
    """But not from a page of another site: it can have a browser send these without asking us."""
    assert read(sized(b"{}", **kind)) == b"{}"
    for told in ({"Origin": "https://fleet.example"}, {"Sec_Fetch_Site": "cross-site"}):
        with pytest.raises(UnsupportedInput):
            read(sized(b"{}", **kind, **told))
        assert read(sized(b"{}", Content_Type="application/json", **told)) == b"{}"


@pytest.mark.parametrize(
    "kind",
    [
        "text/html",
        "text/json-not",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/xml",
        "application/jsonx",
        "json",
        "*/*",
    ],
)
def test_any_other_type_is_refused(kind: str) -> None:
    """415, also where the body would be good JSON."""
    with pytest.raises(UnsupportedInput):
        read(sized(b"{}", Content_Type=kind))


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip ", "x-gzip"])
def test_gzip_is_taken(encoding: str) -> None:
    """Under both its names, in either case."""
    assert read(sized(gzip.compress(b"{}"), Content_Encoding=encoding)) == b"{}"


@pytest.mark.parametrize("encoding", ["identity", "Identity"])
def test_content_encoding_identity_is_accepted(encoding: str) -> None:
    """RFC 9110: identity means not encoded."""
    assert read(sized(b"{}", Content_Encoding=encoding)) == b"{}"


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "compress", "gzip, gzip", "gzip, br", "base64", "utf-8"])
def test_any_other_encoding_is_refused(encoding: str) -> None:
    """415 names the header."""
    with pytest.raises(UnsupportedInput) as caught:
        read(sized(b"{}", Content_Encoding=encoding))
    assert [each.at for each in caught.value.problems] == ["Content-Encoding"]


def test_a_body_of_8_mib_is_taken_and_one_byte_more_is_not() -> None:
    """Whether the body tells its length or not."""
    full = b" " * MAX_BODY_BYTES
    assert read(sized(full)) == read(request(full)) == full
    for asked in (sized(full + b" "), request(full + b" ")):
        with pytest.raises(TooLargeInput):
            read(asked)


@pytest.mark.parametrize("length", [MAX_BODY_BYTES + 1, 10 * MAX_BODY_BYTES, 10**18])
def test_a_body_that_says_it_is_too_large_is_not_even_read(length: int) -> None:
    """Its length is enough."""
    body = io.BytesIO(b"{}")
    with pytest.raises(TooLargeInput):
        read(request(body, length))
    assert body.tell() == 0


def test_a_packed_body_is_bounded_after_unpacking_too() -> None:
    """8 MiB unpacked are taken, one byte more is not."""
    full = b" " * MAX_BODY_BYTES
    assert read(sized(gzip.compress(full), Content_Encoding="gzip")) == full
    with pytest.raises(TooLargeInput):
        read(sized(gzip.compress(full + b" "), Content_Encoding="gzip"))


def test_a_gzip_bomb_costs_no_more_than_the_bound() -> None:
    """Half a gigabyte of zeros in half a megabyte is unpacked only until it is too much."""
    member = gzip.compress(bytes(2**26))
    bomb = member * 8
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeInput):
            read(sized(bomb, Content_Encoding="gzip"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_BODY_BYTES


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_several_members_are_unpacked_one_after_the_other(parts: list[bytes]) -> None:
    """RFC 1952: a gzip file is a series of members."""
    assert gunzip(b"".join(gzip.compress(part) for part in parts)) == b"".join(parts)


@given(st.binary(max_size=200), st.integers(0, 9), st.data())
def test_gzip_cut_short_is_unreadable(content: bytes, level: int, data: st.DataObject) -> None:
    """Wherever it is cut: what has come is never taken for the whole."""
    packed = gzip.compress(content, level)
    cut = data.draw(st.integers(1, len(packed) - 1))
    with pytest.raises(UnreadableInput):
        gunzip(packed[:cut])


@pytest.mark.parametrize(
    "packed",
    [
        b"{}",
        b"\x1f",
        b"\x1f\x8b",
        random.Random(3).randbytes(1000),
        zlib.compress(b"{}"),
        gzip.compress(b"{}") + b"rubbish",
        gzip.compress(b"{}")[:-8] + bytes(8),
        gzip.compress(b"{}")[:-1] + b"\x01",
        b"\x1f\x8b\x07" + gzip.compress(b"{}")[3:],
    ],
    ids=["plain", "1 byte", "magic only", "noise", "zlib", "trailing", "checksum", "length", "method"],
)
def test_what_is_called_gzip_but_is_none_is_unreadable(packed: bytes) -> None:
    """400: not parsable; a wrong checksum or length too."""
    with pytest.raises(UnreadableInput):
        gunzip(packed)


@given(st.binary())
def test_any_bytes_are_unpacked_or_unreadable(packed: bytes) -> None:
    """Nothing else comes out."""
    try:
        unpacked = gunzip(packed)
    except UnreadableInput:
        unpacked = b""
    assert len(unpacked) <= MAX_BODY_BYTES + 1


@pytest.mark.parametrize("content", [b"", b"1"])
def test_the_members_of_a_gzip_body_are_counted(content: bytes) -> None:
    """A body of 8 MiB has room for 400,000 empty ones, which unpack to nothing and cost seconds."""
    member = gzip.compress(content)
    assert gunzip(member * MAX_GZIP_MEMBERS) == content * MAX_GZIP_MEMBERS
    for count in (MAX_GZIP_MEMBERS + 1, 400_000):
        with pytest.raises(UnreadableInput, match="more than 16 gzip members"):
            gunzip(member * count)


def test_zeros_after_a_member_are_not_one() -> None:
    """Some programs fill up the last block with them."""
    assert gunzip(gzip.compress(b"1") + bytes(100) + gzip.compress(b"2") + bytes(1000)) == b"12"


def test_large_bodies_wait_for_room_and_no_more_of_them_are_read_than_fit() -> None:
    room, inside, most, lock = Room(1000), 0, 0, threading.Lock()
    both, leave = threading.Event(), threading.Event()

    def take() -> None:
        nonlocal inside, most
        with room.of(400):
            with lock:
                inside += 1
                most = max(most, inside)
                if inside == 2:
                    both.set()
            assert leave.wait(20)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as senders:
        taken = [senders.submit(take) for _ in range(8)]
        assert both.wait(20)
        leave.set()
        for each in taken:
            each.result(20)
    assert most == 2
    assert room._free == 1000


def test_where_no_room_comes_a_body_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "TURN_S", 0.01)
    room = Room(1000)
    with room.of(500), pytest.raises(Unavailable), room.of(600):
        pytest.fail("there is no room")
    with room.of(1000):
        assert room._free == 0


LARGE = b" " * (SMALL_BYTES + 1)


@pytest.mark.parametrize(
    ("large", "size"),
    [
        (sized(LARGE), len(LARGE)),
        (request(LARGE), MAX_BODY_BYTES),
        (sized(gzip.compress(LARGE), Content_Encoding="gzip"), len(gzip.compress(LARGE)) * 1033),
        (sized(random.Random(3).randbytes(2**17), Content_Encoding="gzip"), 2**17 + MAX_BODY_BYTES),
    ],
    ids=["as it is", "of unknown length", "packed tightly", "packed"],
)
def test_a_large_body_takes_as_much_room_as_it_may_need(large: Request, size: int) -> None:
    """One that is packed, for both: as it comes, and as much as may come out of it."""
    room = Room(2 * MAX_BODY_BYTES)
    with suppress(UnreadableInput), room.body(large):
        assert room._free == 2 * MAX_BODY_BYTES - size
    assert room._free == 2 * MAX_BODY_BYTES


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_small_bodies_need_no_room(encoding: str) -> None:
    """Ships go on sending while somebody has the gateway full of large bodies."""
    small = b" " * SMALL_BYTES
    packed = gzip.compress(small) if encoding == "gzip" else small
    with Room(0, 0).body(sized(packed, Content_Encoding=encoding)) as payload:
        assert payload == small


def test_large_bodies_beyond_the_waiting_limit_are_refused_at_once() -> None:
    """Every one that waits has a thread, and somebody else may ask how the service is."""
    room = Room()
    with ExitStack() as stack:
        for _ in range(LARGE_AT_A_TIME):
            stack.enter_context(room.of(1))
        with pytest.raises(Unavailable), room.of(1):
            pytest.fail("there is no place")
    with room.of(1):
        assert room._places == LARGE_AT_A_TIME - 1

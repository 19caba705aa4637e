"""The body of a POST: what it may be called, how it may be packed, and where its bounds are."""

import gzip
import io
import random
import threading
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Request
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from ingest_api import body
from ingest_api.body import Room, gunzip, read
from shared.batch import MAX_BYTES
from shared.errors import TooLargeInput, Unavailable, UnreadableInput, UnsupportedInput

EMPTY_MEMBER = gzip.compress(b"")


def request(body: bytes | io.BytesIO, length: int | None = None, **headers: str) -> Request:
    """Build a request as the server hands it on: unpacked from its chunks where it does not tell its length."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    stream = body if isinstance(body, io.BytesIO) else io.BytesIO(body)
    environ = EnvironBuilder("/data", method="POST", input_stream=stream, headers=named).get_environ()
    environ["wsgi.input_terminated"] = True
    environ["CONTENT_LENGTH"] = "" if length is None else str(length)
    return Request(environ)


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
def test_identity_is_no_encoding(encoding: str) -> None:
    """As RFC 9110 has it."""
    assert read(sized(b"{}", Content_Encoding=encoding)) == b"{}"


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "compress", "gzip, gzip", "gzip, br", "base64", "utf-8"])
def test_any_other_encoding_is_refused(encoding: str) -> None:
    """415 names the header."""
    with pytest.raises(UnsupportedInput) as caught:
        read(sized(b"{}", Content_Encoding=encoding))
    assert [each.at for each in caught.value.problems] == ["Content-Encoding"]


def test_a_body_of_8_mib_is_taken_and_one_byte_more_is_not() -> None:
    """Whether the body tells its length or not."""
    full = b" " * MAX_BYTES
    assert read(sized(full)) == read(request(full)) == full
    for asked in (sized(full + b" "), request(full + b" ")):
        with pytest.raises(TooLargeInput):
            read(asked)


@pytest.mark.parametrize("length", [MAX_BYTES + 1, 10 * MAX_BYTES, 10**18])
def test_a_body_that_says_it_is_too_large_is_not_even_read(length: int) -> None:
    """Its length is enough."""
    body = io.BytesIO(b"{}")
    with pytest.raises(TooLargeInput):
        read(request(body, length))
    assert body.tell() == 0


def test_a_packed_body_is_bounded_after_unpacking_too() -> None:
    """8 MiB unpacked are taken, one byte more is not."""
    full = b" " * MAX_BYTES
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
    assert peak < 4 * MAX_BYTES


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
    assert len(unpacked) <= MAX_BYTES + 1


def test_many_members_cost_as_much_each_as_few() -> None:
    """A body of 8 MiB holds 400,000 empty members: what each costs must not grow with what follows it."""
    few = min(_seconds(EMPTY_MEMBER * 12_000) for _ in range(3))
    many = min(_seconds(EMPTY_MEMBER * 48_000) for _ in range(3))
    assert many < 8 * few, f"4 times the members cost {many / few:.1f} times as much"


def _seconds(packed: bytes) -> float:
    began = time.thread_time()  # of the processor: what else runs on this machine does not count
    assert gunzip(packed) == b""
    return time.thread_time() - began


def claiming(size: int, encoding: str = "identity") -> Request:
    """Make a request that says how large it is."""
    environ = EnvironBuilder(method="POST", headers=[("Content-Encoding", encoding)]).get_environ()
    return Request({**environ, "CONTENT_LENGTH": str(size)})


def test_bodies_wait_for_room_and_no_more_of_them_are_read_than_fit() -> None:
    room, inside, most, lock = Room(1000), 0, 0, threading.Lock()
    both, leave = threading.Event(), threading.Event()

    def take() -> None:
        nonlocal inside, most
        with room.of(claiming(400)):
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


@pytest.mark.parametrize(
    ("size", "encoding"),
    [(600, "identity"), (600, "gzip"), (1, "gzip")],
    ids=["as large", "packed", "packed tightly"],
)
def test_where_no_room_comes_a_body_is_unavailable(size: int, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is packed counts as much as it may be unpacked."""
    monkeypatch.setattr(body, "TURN_S", 0.01)
    room = Room(1000)
    with room.of(claiming(500)), pytest.raises(Unavailable), room.of(claiming(size, encoding)):
        pytest.fail("there is no room")
    with room.of(claiming(1000)):
        assert room._free == 0

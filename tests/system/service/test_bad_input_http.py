"""POST /data on the running service: what is refused, what is taken, and that nothing does harm."""

import gzip
import itertools
import json
import random
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import urllib3

from shared.contract.limits import MAX_BODY_BYTES, MAX_READINGS
from shared.domain.timestamps import iso, moment_us
from tests.support.bad_batches import INVALID, MOMENT, SHIP, UNREADABLE, BadBatch, reading, readings, text
from tests.support.servers import HOST, Service, started
from tests.support.waiting import until

SLOT_US = 900_000_000
JSON = {"Content-Type": "application/json"}
GZIPPED = {**JSON, "Content-Encoding": "gzip"}
GIB = 2**30
START_US = moment_us("2021-06-01T00:00:00Z")


def slots(service: Service, ship: int) -> list[dict[str, Any]]:
    """Give all slots of a ship, in detail."""
    rows: list[dict[str, Any]] = service.get(f"/data?spaceship_id={ship}&detail=true")["data"]
    return rows


def stored(service: Service, ship: int, count: int) -> list[dict[str, Any]]:
    """Wait until a ship has some number of slots, and give them."""
    return until(lambda: found if len(found := slots(service, ship)) >= count else [], f"{count} slots of {ship}")


def problem(response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    """Give what a refusal says, which must be a problem of RFC 9457."""
    assert response.headers["Content-Type"] == "application/problem+json"
    said: dict[str, Any] = response.json()
    assert said["status"] == response.status
    assert said["title"]
    assert "Traceback" not in str(said)
    return said


def places(response: urllib3.BaseHTTPResponse) -> list[str]:
    """Give the places that a refusal names."""
    errors = problem(response)["errors"]
    assert all(each["problem"] for each in errors)
    return sorted(each["at"] for each in errors)


def assert_works(service: Service, ship: int) -> None:
    """A good batch is still taken, and stored."""
    response = service.post(json.loads(text(spaceship_id=str(ship))))
    assert response.status == 202, response.data
    stored(service, ship, 1)


@pytest.fixture(scope="module", autouse=True)
def _nothing_of_the_bad_is_stored(service: Service) -> Iterator[None]:
    """A batch is taken whole or not at all."""
    yield
    assert slots(service, SHIP) == []


@pytest.mark.parametrize("bad", INVALID, ids=[each.name for each in INVALID])
def test_an_invalid_batch_is_422_with_the_place_of_every_fault(service: Service, bad: BadBatch) -> None:
    """`errors: [{"at", "problem"}]`, up to 100 of them."""
    response = service.request("POST", "/data", bad.payload, JSON)
    assert response.status == 422
    assert places(response) == sorted(bad.at)


@pytest.mark.parametrize("bad", UNREADABLE, ids=[each.name for each in UNREADABLE])
def test_what_is_not_json_is_400(service: Service, bad: BadBatch) -> None:
    """Not parsable."""
    response = service.request("POST", "/data", bad.payload, JSON)
    assert (response.status, places(response)) == (400, ["body"])
    assert problem(response)["detail"]


def test_a_ship_must_be_named(service: Service) -> None:
    """Over HTTP there is no topic that could name it."""
    response = service.request("POST", "/data", text(spaceship_id=None).encode(), JSON)
    assert (response.status, places(response)) == (422, ["spaceship_id"])


def test_an_integer_of_5000_digits_does_no_harm(service: Service) -> None:
    """Too long for some parsers, and certainly above 1e12."""
    response = service.request("POST", "/data", readings(reading(value="9" * 5000)).encode(), JSON)
    assert response.status in {400, 422}
    problem(response)


def _large(size: int) -> bytes:
    return text(note=f'"{"x" * (size - len(text(note=chr(34) * 2)))}"').encode()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (_large(MAX_BODY_BYTES + 1), {}, 413),
        (_large(9 * 2**20), {}, 413),
        (bytes(9 * 2**20), {}, 413),
        (gzip.compress(_large(MAX_BODY_BYTES + 1)), {"Content-Encoding": "gzip"}, 413),
        (random.Random(1).randbytes(9 * 2**20), {"Content-Encoding": "gzip"}, 413),
        (random.Random(1).randbytes(1000), {"Content-Encoding": "gzip"}, 400),
        (text().encode(), {"Content-Encoding": "gzip"}, 400),
        (zlib.compress(text().encode()), {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(text().encode())[:-1], {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(text().encode())[:30], {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(text().encode())[:-8] + bytes(8), {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(text().encode()) + b"\x1f", {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b""), {"Content-Encoding": "gzip"}, 400),
        (b"", {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(gzip.compress(text().encode())), {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"[" * 8_000_000), {"Content-Encoding": "gzip"}, 422),
        (gzip.compress(b"") * 400_000, {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(text().encode()), {}, 400),
        (text().encode(), {"Content-Encoding": "br"}, 415),
        (text().encode(), {"Content-Encoding": "deflate"}, 415),
        (text().encode(), {"Content-Type": "text/html"}, 415),
        (text().encode(), {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (text().encode(), {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        (text().encode(), {"Content-Type": "nonsense"}, 415),
    ],
    ids=[
        "8 MiB and a byte",
        "9 MiB",
        "9 MiB of zeros",
        "8 MiB and a byte, packed",
        "9 MiB of noise called gzip",
        "noise called gzip",
        "JSON called gzip",
        "zlib called gzip",
        "gzip without its last byte",
        "half a gzip",
        "gzip with a wrong checksum",
        "gzip and the start of another member",
        "gzip of nothing",
        "nothing called gzip",
        "gzip in gzip",
        "packed deep nesting",
        "400,000 gzip members",
        "gzip called JSON",
        "brotli",
        "deflate",
        "text",
        "form",
        "multipart",
        "no type at all",
    ],
)
def test_a_body_that_cannot_be_read_is_a_problem_and_does_no_harm(
    service: Service, ship: int, body: bytes, headers: dict[str, str], status: int
) -> None:
    """413 too large, 415 not JSON, 400 not parsable, 422 of too many parts; the next batch is stored as ever."""
    response = service.request("POST", "/data", body, {**JSON, **headers})
    assert response.status == status
    assert problem(response)["detail"]
    assert len(places(response)) == 1
    assert_works(service, ship)


def _bomb() -> bytes:
    """Pack 1 GiB of zeros into one gzip member, quickly: one packed block, over and over."""
    zeros = bytes(2**24)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(GIB // len(zeros)):
        checksum = zlib.crc32(zeros, checksum)
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    end = packer.flush() + checksum.to_bytes(4, "little") + GIB.to_bytes(4, "little")
    return header + block * (GIB // len(zeros)) + end


@pytest.mark.parametrize("members", ["one member", "many members"])
def test_a_gzip_bomb_is_413(service: Service, ship: int, members: str) -> None:
    """1 GiB of zeros in 1 MiB is bounded after unpacking too."""
    body = _bomb() if members == "one member" else gzip.compress(bytes(2**24)) * 64
    assert len(body) < 2**21
    response = service.request("POST", "/data", body, GZIPPED)
    assert (response.status, places(response)) == (413, ["body"])
    assert_works(service, ship)


@pytest.mark.parametrize("how", ["sized", "chunked"])
def test_a_body_of_40_mib_is_refused_or_cut_off(service: Service, ship: int, how: str) -> None:
    """A problem, or a connection that is closed; never a service that is gone."""
    piece = b" " * 2**20
    size = {"Content-Length": str(40 * 2**20)} if how == "sized" else {}
    pool = urllib3.HTTPConnectionPool(HOST, service.port, timeout=30, retries=False)
    try:
        body = itertools.repeat(piece, 40)
        response = pool.request("POST", "/data", body=body, headers={**JSON, **size}, chunked=how == "chunked")
    except (urllib3.exceptions.ProtocolError, OSError):
        pass
    else:
        assert (response.status, places(response)) == (413, ["body"])
    finally:
        pool.close()
    assert_works(service, ship)


def _raw(service: Service, request: bytes) -> tuple[int, str, bytes]:
    """Send bytes as they are; give the answer's status, head and body."""
    with socket.create_connection((HOST, service.port), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head.decode("latin-1"), body


_BATCH = text().encode()


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (b"RUBBISH\r\n\r\n", {400}),
        (b"POST\r\n\r\n", {400}),
        (b"POST /data HTTP/1.1\r\nHost: localhost\r\nContent-Length: ten\r\nConnection: close\r\n\r\n", {400}),
        (b"POST /data HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\nConnection: close\r\n\r\n", {400}),
        (b"POST /data HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", {400}),
        (b"POST /data HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", {400}),
        (b"POST /data HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", {400, 501}),
        (b"POST /data HTTP/1.1\r\nHost: localhost\r\nbad header\r\nConnection: close\r\n\r\n", {400}),
        (b"POST /data HTTP/1.1\r\nHost: localhost\r\nLong: ".ljust(40_000, b"x"), {400, 431}),
        (b"POST /data HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", {400, 411}),
    ],
    ids=[
        "rubbish",
        "a method alone",
        "a length that is none",
        "a negative length",
        "two lengths",
        "a wrong chunk",
        "an unknown transfer encoding",
        "a header without a colon",
        "a header too long",
        "no body and no length",
    ],
)
def test_what_is_not_http_is_a_problem_too(service: Service, ship: int, request_: bytes, statuses: set[int]) -> None:
    """Also what never reaches the gateway's own code."""
    status, head, body = _raw(service, request_)
    assert status in statuses
    assert "content-type: application/problem+json" in head.lower()
    assert json.loads(body)["status"] == status
    assert_works(service, ship)


def test_a_sender_that_goes_away_in_the_middle_does_no_harm(service: Service, ship: int) -> None:
    """Half a body is no batch, even where the half is good JSON."""
    head = b"POST /data HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    for _ in range(40):  # more than there are threads
        with socket.create_connection((HOST, service.port), timeout=20) as connection:
            connection.sendall(head + _BATCH)
    assert_works(service, ship)


def test_slow_senders_do_not_keep_others_waiting(service: Service, ship: int) -> None:
    """Their bodies are awaited without a thread each."""
    head = b"POST /data HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    connections = [socket.create_connection((HOST, service.port), timeout=20) for _ in range(64)]
    try:
        for connection in connections:
            connection.sendall(head)
        assert_works(service, ship)
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "application/vnd.fleet+json"},
        {"Content-Encoding": "identity"},
        {"Content-Type": "text/plain;charset=UTF-8"},
    ],
    ids=["no type", "charset", "a kind of JSON", "identity", "plain text"],
)
def test_json_is_taken_under_all_its_names(service: Service, ship: int, headers: dict[str, str]) -> None:
    """A missing content type too: there is nothing else that it could be."""
    response = service.request("POST", "/data", text(spaceship_id=str(ship)).encode(), headers)
    assert response.status == 202
    stored(service, ship, 1)


@pytest.mark.parametrize("members", [1, 3])
def test_a_packed_batch_is_stored(service: Service, ship: int, members: int) -> None:
    """`Content-Encoding: gzip`, in one member or in several."""
    payload = text(spaceship_id=str(ship)).encode()
    size = -(-len(payload) // members)
    parts = [gzip.compress(payload[start : start + size]) for start in range(0, len(payload), size)]
    assert service.request("POST", "/data", b"".join(parts), GZIPPED).status == 202
    assert stored(service, ship, 1)[0]["value"] == 0.133333


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
def test_a_body_in_chunks_is_taken(service: Service, ship: int, packed: bool) -> None:  # noqa: FBT001
    """Without a length, byte by byte."""
    payload = text(spaceship_id=str(ship)).encode()
    body = gzip.compress(payload) if packed else payload
    pool = urllib3.HTTPConnectionPool(HOST, service.port, timeout=30, retries=False)
    response = pool.request(
        "POST", "/data", body=(bytes([byte]) for byte in body), headers=GZIPPED if packed else JSON, chunked=True
    )
    pool.close()
    assert response.status == 202, response.data
    stored(service, ship, 1)


def test_a_body_of_exactly_8_mib_is_stored(service: Service, ship: int) -> None:
    """With what the gateway adds it still passes the broker and the worker."""
    note = text(spaceship_id=str(ship), note='""')
    body = text(spaceship_id=str(ship), note=f'"{"x" * (MAX_BODY_BYTES - len(note))}"').encode()
    assert len(body) == MAX_BODY_BYTES
    response = service.request("POST", "/data", body, JSON)
    assert response.status == 202, response.data
    stored(service, ship, 1)


def test_exactly_100_000_readings_are_stored(service: Service, ship: int) -> None:
    """In one batch, each of a minute: their energy is that of all their minutes."""
    rows = [
        f'{{"datetime":"{iso(START_US + minute * 60_000_000)}","value":{minute % 60}}}'
        for minute in range(MAX_READINGS)
    ]
    response = service.request("POST", "/data", text(spaceship_id=str(ship), data=f"[{','.join(rows)}]").encode(), JSON)
    assert response.status == 202, response.data
    assert response.json()["readings"] == MAX_READINGS
    found = stored(service, ship, -(-MAX_READINGS // 15))
    assert sum(row["covered_seconds"] for row in found) == MAX_READINGS * 60
    assert sum(row["value"] for row in found) == pytest.approx(sum(m % 60 for m in range(MAX_READINGS)) / 60)


GOOD_MOMENTS = {
    "2021-06-01T00:00:00Z": 0,
    "2021-06-01T00:15:00ZZ": 1,
    "2021-06-01T00:30:00": 2,
    "2021-06-01T00:45": 3,
    "2021-06-01T03:00:00+02:00": 4,
    "2021-05-31T13:45:00-11:30": 5,
    "2021-06-01T01:30:00.000000Z": 6,
    "2021-06-01T01:45:00.0000009": 7,
    "20210601T020000Z": 8,
    "2021-06-01 02:15:00Z": 9,
    "2021-06-01T04:30:00+0200": 10,
    "2021-06-02T01:45:00+23:00": 11,
}


def test_every_form_of_a_moment_is_taken(service: Service, ship: int) -> None:
    """Offsets, none, fractions, a doubled Z; in any order."""
    data = [{"datetime": moment, "value": slot + 1} for moment, slot in GOOD_MOMENTS.items()]
    random.Random(5).shuffle(data)
    response = service.post({"spaceship_id": ship, "units": "kWh", "data": data})
    assert response.status == 202, response.data
    assert [(row["datetime"], row["value"]) for row in stored(service, ship, len(data))] == [
        (iso(START_US + slot * SLOT_US), slot + 1) for slot in range(len(data))
    ]


def test_a_fraction_counts_to_the_microsecond(service: Service, ship: int) -> None:
    """One microsecond of a slot is a billionth of 900 kWh, less than a digit; a quarter of a second is not."""
    data = [
        {"datetime": "2021-06-01T00:00:00.250001Z", "value": 900},
        {"datetime": "2021-06-01T00:15:00.250001Z", "value": 0},
    ]
    assert service.post({"spaceship_id": ship, "units": "kWh", "data": data}).status == 202
    found = stored(service, ship, 3)
    assert [row["value"] for row in found] == [899.749999, 0.250001, 0]
    assert [row["covered_seconds"] for row in found] == [899.749999, 900, 0.250001]


@pytest.mark.parametrize(
    ("value", "units", "slot"),
    [
        ("0", "kW", 0),
        ("0", "kWh", 0),
        ("-0.0", "kWh", 0),
        ("7", "kWh", 7),
        ("7.5", "kWh", 7.5),
        ("1e12", "kWh", 10**12),
        ("1000000000", "kW", 250_000_000),
        ("1e12", "W", 250_000_000),
        ("1.5E+1", "kWh", 15),
        ("1e-400", "kWh", 0),
    ],
)
def test_every_value_up_to_the_greatest_is_stored(
    service: Service, ship: int, value: str, units: str, slot: float
) -> None:
    """A slot of value 0 exists: it is known that nothing was used."""
    batch = text(spaceship_id=str(ship), units=f'"{units}"', data=f"[{reading(MOMENT.replace('37', '30'), value)}]")
    assert service.request("POST", "/data", batch.encode(), JSON).status == 202
    assert [(row["datetime"], row["value"]) for row in stored(service, ship, 1)] == [("2019-01-05T04:30:00Z", slot)]


@pytest.fixture(scope="module")
def any_moment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that takes every moment which can be written."""
    folder = tmp_path_factory.mktemp("any-moment") / "data"
    with started(Service(folder, POWER_OLDEST="1970-01-01", POWER_MAX_AHEAD_S="6000000000")) as service:
        yield service


@pytest.mark.parametrize(
    ("moment", "slots_", "covered"),
    [
        ("1970-01-01T00:00:00Z", ["1970-01-01T00:00:00Z"], [900]),
        (
            "2199-12-31T23:59:59.999999Z",
            ["2199-12-31T23:45:00Z", "2200-01-01T00:00:00Z"],
            [0.000001, 899.999999],
        ),
    ],
)
def test_the_first_and_the_last_moment_are_stored(
    any_moment: Service, ship: int, moment: str, slots_: list[str], covered: list[float]
) -> None:
    """1970-01-01 to 2199-12-31, both days whole, where the settings allow it."""
    batch = {"spaceship_id": ship, "units": "kWh", "data": [{"datetime": moment, "value": 900}]}
    assert any_moment.post(batch).status == 202
    found = stored(any_moment, ship, len(slots_))
    assert [row["datetime"] for row in found] == slots_
    assert [row["covered_seconds"] for row in found] == covered


@pytest.mark.parametrize("ship_", [0, 2**53 - 1])
def test_the_first_and_the_last_ship_are_taken(service: Service, ship_: int) -> None:
    """0 to 2^53-1."""
    assert_works(service, ship_)
    assert service.get(f"/data?spaceship_id={ship_}")["spaceship_id"] == ship_


def test_unknown_members_are_ignored_everywhere(service: Service, ship: int) -> None:
    """In the batch and in its readings, whatever they hold, in whatever order."""
    batch = (
        f'{{"note": [1, {{"deep": [null]}}], "data": [{{"value": 4, "": "", "datetime": "2021-06-01T00:00:00Z",'
        f' "source": "MW"}}], "\\u0000": "\N{ROCKET}", "units": "kWh", "version": 2, "spaceship_id": {ship}}}'
    )
    assert service.request("POST", "/data", batch.encode(), JSON).status == 202
    assert [row["value"] for row in stored(service, ship, 1)] == [4]


def test_of_duplicate_keys_the_last_counts(service: Service, ship: int) -> None:
    """For gateway and worker alike."""
    data = '"data": [{"datetime": "no", "value": 1, "value": 5, "datetime": "2021-06-01T00:00:00Z"}]'
    batch = f'{{"spaceship_id": 1, "units": "no", "data": [], {data}, "units": "kWh", "spaceship_id": {ship}}}'
    assert service.request("POST", "/data", batch.encode(), JSON).status == 202
    assert [row["value"] for row in stored(service, ship, 1)] == [5]


def test_the_answer_names_the_batch(service: Service, ship: int) -> None:
    """202 with `batch_id`, kept or made, and how many readings there are."""
    batch: dict[str, Any] = json.loads(text(spaceship_id=str(ship)))
    own = str(uuid4())
    kept = service.post({**batch, "batch_id": own})
    assert (kept.status, kept.json()) == (202, {"batch_id": own, "status": "accepted", "readings": 1})
    assert kept.headers["Content-Type"] == "application/json"
    made = [service.post({**batch, **extra}).json()["batch_id"] for extra in ({}, {}, {"batch_id": None})]
    assert len({own, *(str(UUID(each)) for each in made)}) == 4


def test_the_same_batch_again_changes_nothing(service: Service, ship: int) -> None:
    """The same `batch_id` with the same content gets the same answer."""
    batch = {**json.loads(text(spaceship_id=str(ship), units='"kWh"')), "batch_id": str(uuid4())}
    first, *others = [service.post(batch) for _ in range(3)]
    assert {(each.status, each.data) for each in others} == {(first.status, first.data)}
    assert_later_is_stored(service, ship)
    assert [row["value"] for row in slots(service, ship)] == [0.533333, 0.466667, 1]


def assert_later_is_stored(service: Service, ship: int) -> None:
    """Send a batch and wait for it: all that was sent before it is then stored as well."""
    count = len(slots(service, ship))
    later = [{"datetime": "2023-01-01T00:00:00Z", "value": 1}]
    assert service.post({"spaceship_id": ship, "units": "kWh", "data": later}).status == 202
    until(
        lambda: any(row["datetime"] == "2023-01-01T00:00:00Z" for row in slots(service, ship)),
        f"the last batch of {ship} after {count} slots",
    )


SENT = ["2021-06-01T01:00:00Z", "2021-06-01T02:00:00+02:00", "2021-06-01T01:00:00.000001Z"]
NEWEST = 2


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_an_older_sent_at_never_replaces_a_newer_value(service: Service, ship: int, order: tuple[int, ...]) -> None:
    """Whatever the order of arrival; also where both lie before the moment itself."""
    for place in order:
        data = [{"datetime": "2021-06-01T12:00:00Z", "value": place}]
        batch = {"spaceship_id": ship, "units": "kWh", "data": data, "sent_at": SENT[place]}
        assert service.post(batch).status == 202
    assert_later_is_stored(service, ship)
    assert slots(service, ship)[0]["value"] == NEWEST


def test_without_sent_at_the_later_accepted_counts(service: Service, ship: int) -> None:
    """The gateway sets it to the moment of acceptance; an older one does not come through afterwards."""
    batch = {"spaceship_id": ship, "units": "kWh"}
    old = [{"sent_at": "2021-06-01T00:00:00Z"}, {"sent_at": "2000-01-01T00:00:00Z"}]
    for value, extra in [(1, {}), (2, {}), (3, old[0]), (4, {}), (5, old[1])]:
        data = [{"datetime": "2021-06-01T12:00:00Z", "value": value}]
        assert service.post({**batch, "data": data, **extra}).status == 202
    assert_later_is_stored(service, ship)
    assert slots(service, ship)[0]["value"] == 4


def test_of_two_in_one_batch_the_later_in_its_list_counts(service: Service, ship: int) -> None:
    """Also where they name the moment in two ways, and with others between them."""
    data = [
        {"datetime": "2021-06-01T12:00:00Z", "value": 1},
        {"datetime": "2021-06-01T12:15:00Z", "value": 7},
        {"datetime": "2021-06-01T14:00:00+02:00", "value": 2},
    ]
    response = service.post({"spaceship_id": ship, "units": "kWh", "data": data})
    assert response.json()["readings"] == 3
    assert [row["value"] for row in stored(service, ship, 2)] == [2, 7]


@pytest.fixture(scope="module")
def negative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for a fleet that feeds energy back."""
    with started(Service(tmp_path_factory.mktemp("negative") / "data", POWER_ALLOW_NEGATIVE="true")) as service:
        yield service


def test_a_fleet_may_feed_energy_back(negative: Service) -> None:
    """POWER_ALLOW_NEGATIVE=true: values from -1e12, which sums, averages and the greatest users take as they are."""
    moments = ["2021-06-01T00:00:00Z", "2021-06-01T00:15:00Z"]
    values = {1: [-4, -0.5], 2: [10, -1e12], 3: [0, 0.5]}
    for ship, of_ship in values.items():
        data = [{"datetime": moment, "value": value} for moment, value in zip(moments, of_ship, strict=True)]
        assert negative.post({"spaceship_id": ship, "units": "kWh", "data": data}).status == 202
    for ship, of_ship in values.items():
        assert [row["value"] for row in stored(negative, ship, 2)] == of_ship
    fleet = negative.get(f"/data/fleet?start={moments[0]}&end={moments[1]}")["data"]
    assert fleet == [{"datetime": moments[0], "sum": 6, "avg": 2}]
    assert negative.get("/topusers")["ships"] == [
        {"spaceship_id": 3, "consumption": 0.5},
        {"spaceship_id": 1, "consumption": -4.5},
        {"spaceship_id": 2, "consumption": 10 - 10**12},
    ]


@pytest.mark.parametrize("value", ["-1000000000001", "1000000000001", "-1e999", "NaN", '"-1,5"', "false"])
def test_allowing_negative_values_allows_no_others(negative: Service, value: str) -> None:
    """The other rules stay."""
    response = negative.request("POST", "/data", readings(reading(value=value)).encode(), JSON)
    assert (response.status, places(response)) == (422, ["data[0].value"])


def test_a_wrong_setting_stops_the_service_with_one_line_that_names_it(tmp_path: Path) -> None:
    """Before anything is taken under a rule that nobody meant."""
    service = Service(tmp_path / "data", POWER_ALLOW_NEGATIVE="sometimes")
    with pytest.raises(AssertionError):
        service.start()
    assert service.stop() != 0
    lines = [line for line in service.said().splitlines() if "POWER_ALLOW_NEGATIVE" in line]
    assert lines
    assert "Traceback" not in service.said()

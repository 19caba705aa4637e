"""GET /data/stream: what changes is told, to as many as there is room for, and to nobody who has gone."""

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry

from query_api.metrics import store_errors
from query_api.routes import stream
from query_api.routes.stream import REACH_S, Streams
from shared.domain.errors import Unavailable
from shared.domain.slots import SLOT_S
from shared.domain.timestamps import LAST_US, US_PER_S, iso
from shared.http.app import make_app
from shared.http.tokens import Access, Role, Token, access, anybody
from shared.store.memory import MemoryStore
from tests.support.servers import HOST
from tests.support.serving import serving
from tests.support.store_contract import DAY_S, START_S, put, slots_of
from tests.support.strategies import START_US
from tests.support.tokens import bearer, token
from tests.support.waiting import until

PATH = "/data/stream?spaceship_id=1"


class Hearing:
    """Streams over a store, with little patience, and somebody who listens."""

    now_us = LAST_US

    def __init__(self) -> None:
        self.store, self.registry = MemoryStore(), CollectorRegistry()
        errors = store_errors(self.registry)
        self.streams = Streams(self.store, errors, self.registry, now_us=lambda: self.now_us)
        self.app: Flask = make_app(self.streams.routes(), access=self._access)
        self.port = 0
        self.tokens: list[Token] = []
        self._opened: list[http.client.HTTPConnection | http.client.HTTPResponse] = []

    def _access(self, authorization: str | None) -> Access:
        return access(self.tokens, authorization) if self.tokens else anybody(authorization)

    def open(self, path: str = PATH, **headers: str) -> http.client.HTTPResponse:
        """Begin to listen."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=20)
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        self._opened += [response, connection]
        return response

    def close(self) -> None:
        """Listen no more."""
        for each in self._opened:
            each.close()

    def listeners(self) -> float | None:
        """Count those who listen."""
        return self.registry.get_sample_value("power_query_streams")


@pytest.fixture
def hearing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hearing]:
    limits = {"MAX_STREAMS": 3, "MAX_CLIENT_STREAMS": 2, "POLL_S": 0.01, "RETRY_STORE_S": 0.01, "HEARTBEAT_S": 600}
    for name, value in limits.items():
        monkeypatch.setattr(stream, name, value)
    hearing = Hearing()
    with serving(hearing.app) as hearing.port:
        yield hearing
        hearing.close()
        hearing.streams.end()
        until(lambda: hearing.listeners() == 0, "all streams have ended")
    hearing.store.close()


def events(response: http.client.HTTPResponse, n: int) -> list[tuple[str, dict[str, Any], str]]:
    """Wait for n events; give kind, data and id of each."""
    found: list[tuple[str, dict[str, Any], str]] = []
    event: dict[str, str] = {}
    while len(found) < n:
        read = response.readline()
        assert read, "the stream has ended"
        line = read.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif "data" in event:
            found.append((event["event"], json.loads(event["data"]), event["id"]))
            event = {}
    return found


def test_first_comes_what_there_is_and_then_what_changes(hearing: Hearing) -> None:
    """A slot of the last day, one that is new, one that is corrected, one that is gone."""
    put(hearing.store, slots_of((1, -96, 1.0, 900.0, False), (1, -1, 2.0, 900.0, False), (1, 0, 3.0, 450.5, True)))
    response = hearing.open()
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["X-Accel-Buffering"] == "no"
    first = events(response, 2)
    assert [data["value"] for _, data, _ in first] == [2, 3]
    assert first[1][:2] == (
        "slot",
        {"datetime": "2018-08-24T00:00:00Z", "value": 3, "covered_seconds": 450.5, "provisional": True},
    ), first
    put(hearing.store, slots_of((1, 0, 3.0, 900.0, False), (1, 1, 4.0, 100.0, True), (2, 1, 9.0, 900.0, False)))
    assert [(kind, data["value"], data["provisional"]) for kind, data, _ in events(response, 2)] == [
        ("slot", 3, False),
        ("slot", 4, True),
    ]
    put(hearing.store, slots_of((1, -1, 0.0, 0.0, False)))
    assert events(response, 1)[0][:2] == ("gone", {"datetime": "2018-08-23T23:45:00Z"})
    put(hearing.store, slots_of((1, -1, 0.5, 900.0, False)))
    assert [data["value"] for _, data, _ in events(response, 1)] == [0.5]
    response.close()


def test_who_comes_again_with_the_last_id_is_told_all_from_where_it_began(hearing: Hearing) -> None:
    """Also what has changed meanwhile, and whatever the address says; an id that is not ours is none."""
    put(hearing.store, slots_of((1, 0, 1.0, 900.0, False), (1, 1, 2.0, 900.0, False)))
    response = hearing.open()
    last_id = events(response, 2)[-1][2]
    response.close()
    put(hearing.store, slots_of((1, 0, 5.0, 900.0, False), (1, 200, 7.0, 900.0, False)))
    again = hearing.open(Last_Event_ID=last_id)
    assert [data["value"] for _, data, _ in events(again, 3)] == [5, 2, 7]
    again.close()
    until(lambda: hearing.listeners() == 0, "both have gone: there is room for two")
    other = hearing.open(Last_Event_ID="something else")
    assert [data["value"] for _, data, _ in events(other, 1)] == [7]
    other.close()


def test_it_begins_with_start_but_reaches_back_a_month_at_most(hearing: Hearing) -> None:
    days = REACH_S // DAY_S
    put(hearing.store, slots_of(*[(1, 96 * day, float(day), 900.0, False) for day in range(1, days + 3)]))
    wide = hearing.open(f"{PATH}&start=1990-01-01T00:00Z")
    assert events(wide, 1)[0][1]["value"] == 3
    wide.close()
    narrow = hearing.open(f"{PATH}&start={events_start(96 * (days + 1))}")
    assert events(narrow, 1)[0][1]["value"] == days + 1
    narrow.close()


def events_start(slot: int) -> str:
    """Write the start of a slot."""
    return iso((START_S + SLOT_S * slot) * US_PER_S)


def test_a_ship_that_has_sent_nothing_yet_is_waited_for(hearing: Hearing) -> None:
    response = hearing.open()
    put(hearing.store, slots_of((1, 0, 1.0, 900.0, True)))
    assert [data["value"] for _, data, _ in events(response, 1)] == [1]
    response.close()


def test_a_heartbeat_is_sent_while_nothing_changes(hearing: Hearing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    response = hearing.open()
    assert [response.readline() for _ in range(6)] == [b"retry: 2000\n", b"\n", b":\n", b"\n", b":\n", b"\n"]
    response.close()


def test_there_is_room_for_some_and_for_others_when_they_have_gone(hearing: Hearing) -> None:
    """The others are told when to come again; who is gone makes room without a word being said to it."""
    listening = [hearing.open(X_Real_IP=f"198.51.100.{i}") for i in range(3)]
    refused = hearing.open(X_Real_IP="198.51.100.3")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
    assert json.loads(refused.read())["status"] == 503
    for each in listening:
        each.close()
    until(lambda: hearing.listeners() == 0, "all are known to have gone")
    assert hearing.open().status == 200


@pytest.mark.parametrize("has_tokens", [False, True])
def test_one_client_leaves_others_room(hearing: Hearing, *, has_tokens: bool) -> None:
    """A client is a token, whatever its address; without tokens, an address, which the edge names."""
    hearing.tokens[:] = [token("ana", "read"), token("bob", "read")] if has_tokens else []
    ana, bob = [bearer(name) for name in ("ana", "bob")] if has_tokens else [{}, {"X_Real_IP": "198.51.100.7"}]
    mine = [hearing.open(**ana) for _ in range(2)]
    refused = hearing.open(**ana, **({"X_Real_IP": "198.51.100.8"} if has_tokens else {}))
    assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
    assert hearing.open(**bob).status == 200
    for each in mine:
        each.close()
    until(lambda: hearing.listeners() == 1, "they are known to have gone")
    assert hearing.open(**ana).status == 200


def test_a_question_for_the_headers_takes_no_room(hearing: Hearing) -> None:
    client = hearing.app.test_client()
    assert [client.head(PATH).status_code for _ in range(4)] == [200] * 4
    assert hearing.listeners() == 0


def test_a_client_that_is_killed_makes_room(hearing: Hearing) -> None:
    """Its connection is reset, not closed."""
    connection = socket.create_connection((HOST, hearing.port))
    connection.sendall(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    until(lambda: hearing.listeners() == 1, "it listens")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    until(lambda: hearing.listeners() == 0, "it is gone")


def test_a_stop_ends_all_streams_well(hearing: Hearing) -> None:
    response = hearing.open()
    response.readline()
    hearing.streams.end()
    assert response.read().endswith(b"\n")


def test_a_store_that_is_away_for_a_while_is_waited_for(hearing: Hearing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser whose stream ended, and was answered 503 then, would not come again by itself."""
    put(hearing.store, slots_of((1, 0, 1.0, 900.0, False)))
    response = hearing.open()
    events(response, 1)
    with monkeypatch.context() as patched:
        patched.setattr(hearing.store, "version", _away)
        counted = "power_query_store_errors_total"
        until(lambda: (hearing.registry.get_sample_value(counted) or 0) > 1, "it was asked")
        assert hearing.open().status == 503
        assert hearing.listeners() == 1
        put(hearing.store, slots_of((1, 0, 2.0, 900.0, False)))
    assert [data["value"] for _, data, _ in events(response, 1)] == [2]
    response.close()


def _away(*_: object) -> str:
    raise Unavailable("gone")


def test_a_slot_in_the_future_silences_nobody(hearing: Hearing) -> None:
    """Nor does what lies beyond the longest time that a reading speaks for come along before its time."""
    hearing.now_us = START_US
    far = 96 * 32
    put(hearing.store, slots_of((1, 0, 1.0, 900.0, False), (1, 96, 2.0, 900.0, True), (1, far, 9.0, 900.0, True)))
    response = hearing.open()
    assert [data["value"] for _, data, _ in events(response, 2)] == [1, 2]
    put(hearing.store, slots_of((1, 1, 3.0, 900.0, False), (1, -95, 4.0, 900.0, False)))
    assert [data["value"] for _, data, _ in events(response, 2)] == [4, 3]
    hearing.now_us += (DAY_S + SLOT_S) * US_PER_S
    assert [data["value"] for _, data, _ in events(response, 1)] == [9]
    response.close()


def test_slots_as_far_ahead_as_clocks_may_be_count(hearing: Hearing) -> None:
    """So far is for the setting to say: the last slot, from which a day is told, is one of those."""
    hearing.now_us, hearing.streams._max_ahead_us = START_US, DAY_S * US_PER_S
    put(hearing.store, slots_of((1, -1, 1.0, 900.0, False), (1, 95, 2.0, 900.0, True)))
    response = hearing.open()
    assert [data["value"] for _, data, _ in events(response, 1)] == [2]
    response.close()


def test_a_ship_that_has_slots_in_the_future_only_is_waited_for(hearing: Hearing) -> None:
    hearing.now_us = START_US
    put(hearing.store, slots_of((1, 96, 2.0, 900.0, True)))
    response = hearing.open()
    put(hearing.store, slots_of((1, 0, 1.0, 900.0, True)))
    assert [data["value"] for _, data, _ in events(response, 2)] == [1, 2]
    response.close()


@pytest.mark.parametrize("role", [None, "ingest"])
def test_a_token_that_may_no_longer_read_ends_its_streams_well(hearing: Hearing, role: Role | None) -> None:
    """Removed, or of another role now; those of other tokens go on."""
    hearing.tokens[:] = [token("ana", "read"), token("bob", "read")]
    ana, bob = (hearing.open(**bearer(name)) for name in ("ana", "bob"))
    put(hearing.store, slots_of((1, 0, 1.0, 900.0, True)))
    for each in (ana, bob):
        events(each, 1)
    hearing.tokens[:] = [token("bob", "read"), *([] if role is None else [token("ana", role)])]
    assert ana.read() == b""
    put(hearing.store, slots_of((1, 1, 2.0, 900.0, True)))
    assert [data["value"] for _, data, _ in events(bob, 1)] == [2]
    assert hearing.open(**bearer("ana")).status == (401 if role is None else 403)


@pytest.mark.parametrize("path", ["/data/stream", f"{PATH}&end=2020-01-01T00:00Z", f"{PATH}&start=now"])
def test_wrong_parameters_are_422(hearing: Hearing, path: str) -> None:
    assert hearing.app.test_client().get(path).status_code == 422

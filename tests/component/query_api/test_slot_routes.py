"""GET /data and /data/fleet in every form: what is asked for, what is news, and what fails in the middle."""

import csv
import gzip
import http.client
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry
from pyarrow import parquet
from werkzeug.test import TestResponse

from query_api.answers import columns, negotiation
from query_api.answers.heavy import HeavyAnswers
from query_api.metrics import store_errors
from query_api.routes import energy
from shared.domain.errors import Unavailable
from shared.domain.slots import SLOT_S, Slots, Window
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.store.sqlite import SqliteStore
from tests.support.servers import HOST
from tests.support.serving import serving
from tests.support.store_contract import START_S, put
from tests.support.waiting import until

MANY = 45_000
SHIP = "/data?spaceship_id=1"
JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"


def many(n: int, first: int = 0, ship: int = 1) -> Slots:
    """Build n slots one after the other, the last of them provisional."""
    at = np.arange(first, first + n, dtype=np.int64)
    last = at == first + n - 1
    return Slots(
        np.full(n, ship), START_S + SLOT_S * at, at / 3, np.where(last, 300.0, 900.0), last, np.where(last, 300.0, 0.0)
    )


@dataclass
class Asking:
    """A store behind the routes, and a count of what it is asked."""

    store: SqliteStore
    client: FlaskClient
    registry: CollectorRegistry
    read: list[Window] = field(default_factory=list)

    def get(self, path: str, **headers: str) -> TestResponse:
        """Ask."""
        return self.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def put(self, slots: Slots) -> None:
        """Store slots."""
        put(self.store, slots)


@pytest.fixture
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    store, registry = SqliteStore(tmp_path), CollectorRegistry()
    app = make_app(energy.routes(store, store_errors(registry)), access=anybody)
    asking = Asking(store, app.test_client(), registry)
    _watch(store, monkeypatch, asking.read.append)
    yield asking
    store.close()


def _watch(store: SqliteStore, monkeypatch: pytest.MonkeyPatch, look: Callable[[Window], object]) -> None:
    """Call a function with the window before every read of a ship's slots."""

    def watched(read: Callable[[int, Window], Any]) -> Callable[[int, Window], Any]:
        def reading(ship: int, window: Window) -> Any:
            look(window)
            return read(ship, window)

        return reading

    for name in ("slots", "energy"):
        monkeypatch.setattr(store, name, watched(getattr(store, name)))


# --- forms


def test_csv_has_a_header_the_units_and_the_rows_of_json(asking: Asking) -> None:
    """RFC 4180: lines end with CRLF."""
    asking.put(many(3))
    response = asking.get(f"{SHIP}&detail=true&format=csv")
    assert response.content_type == "text/csv; charset=utf-8; header=present"
    assert response.text.count("\r\n") == response.text.count("\n") == 4
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert list(rows[0]) == ["datetime", "value_kwh", "covered_seconds", "estimated_seconds", "provisional"]
    expected = asking.get(f"{SHIP}&detail=true").json
    assert expected is not None
    assert [[json.loads(row["value_kwh"]), row["provisional"]] for row in rows] == [
        [row["value"], json.dumps(row["provisional"])] for row in expected["data"]
    ]
    assert asking.get("/data/fleet?format=csv").text.startswith("datetime,sum_kwh,avg_kwh\r\n")
    assert asking.get("/data?spaceship_id=2&format=csv").text == "datetime,value_kwh\r\n"


@pytest.mark.parametrize("path", [SHIP, "/data/fleet?", "/data?spaceship_id=9"])
def test_parquet_has_moments_and_the_rows_of_json(asking: Asking, path: str) -> None:
    """In the zone that was asked for; a file without rows has its columns, too."""
    asking.put(many(40_000))
    path += "&detail=true&tz=Europe/Berlin"
    table = parquet.read_table(io.BytesIO(asking.get(f"{path}&format=parquet").data))
    rows = json.loads(asking.get(path).data)["data"]
    assert str(table.schema.field("datetime").type) == "timestamp[ms, tz=Europe/Berlin]"
    assert table.schema.metadata[b"units"] == b"kWh"
    assert [each.isoformat() for each in table["datetime"].to_pylist()] == [row["datetime"] for row in rows]
    for column in table.column_names[1:]:
        assert table[column].to_pylist() == [row[column.removesuffix("_kwh")] for row in rows]
    assert table.num_columns == (9 if "fleet" in path else 6) - 1


@pytest.mark.parametrize(
    ("accept", "type_"),
    [
        ("", JSON),
        ("*/*", JSON),
        (CSV, CSV),
        (PARQUET, PARQUET),
        ("text/*", CSV),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("text/csv;q=0.5, application/json;q=0.4", CSV),
        ("application/json;q=0, */*", CSV),
        ("application/json; charset=utf-8", JSON),
        ("text/csv; charset=utf-8; header=present;q=0.9, */*;q=0.1", CSV),
        ("text/html", None),
        ("application/json;q=0", None),
    ],
)
def test_the_form_is_the_one_that_accept_likes_best(asking: Asking, accept: str, type_: str | None) -> None:
    response = asking.get(SHIP, Accept=accept)
    assert response.status_code == (406 if type_ is None else 200)
    assert response.mimetype == (type_ or "application/problem+json")
    assert response.headers["Vary"] == "Accept, Accept-Encoding"


def test_format_wins_over_accept(asking: Asking) -> None:
    assert asking.get(f"{SHIP}&format=json", Accept=CSV).mimetype == JSON
    assert asking.get(f"{SHIP}&format=csv", Accept="image/png").mimetype == CSV
    assert asking.get(f"{SHIP}&format=xml").status_code == 422


# --- in parts


@pytest.mark.parametrize("first", [0, 7, columns.PART - 1])
def test_long_answers_are_those_of_one_part(asking: Asking, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No slot twice, none left out, wherever the parts meet; and buckets as of one part."""
    asking.put(many(25_000, first))
    asking.put(many(3, 60 * columns.PART))
    paths = [SHIP, f"{SHIP}&resolution=1mo&tz=Asia/Kathmandu&detail=true", f"{SHIP}&resolution=1d", "/data/fleet"]
    paths.append(f"{SHIP}&start={datetime.fromtimestamp(START_S, UTC).isoformat()[:19]}&format=csv&resolution=1h")
    in_parts = [asking.get(path).data for path in paths]
    monkeypatch.setattr(columns, "PART", 10**6)
    assert [asking.get(path).data for path in paths] == in_parts
    assert len(json.loads(in_parts[0])["data"]) == 25_003


def test_empty_years_cost_nothing(asking: Asking) -> None:
    asking.put(many(1))
    asking.put(many(1, 100 * columns.PART))
    asking.read.clear()
    asking.get(SHIP)
    assert len(asking.read) == 5, "at the beginning of time, and at and after each of the two"


@pytest.mark.parametrize("resolution", ["1h", "1d", "1mo"])
def test_coarser_answers_sum_up_to_the_same(asking: Asking, resolution: str) -> None:
    asking.put(many(25_000))
    fine, coarse = (
        [row["value"] for row in json.loads(asking.get(f"{SHIP}&tz=Europe/Berlin&resolution={each}").data)["data"]]
        for each in ("15m", resolution)
    )
    assert sum(coarse) == pytest.approx(sum(fine), rel=1e-9)
    assert len(coarse) < len(fine) / 3


def test_a_day_is_named_by_its_start_in_local_time(asking: Asking) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 3, 29, tzinfo=berlin)
    first = (int(start.timestamp()) - START_S) // SLOT_S
    asking.put(many(23 * 4, first))
    window = f"start={start.isoformat()}&end={(start + timedelta(days=1)).isoformat()}"
    (row,) = json.loads(asking.get(f"{SHIP}&{window}&resolution=1d&tz=Europe/Berlin&detail=true").data)["data"]
    assert row["datetime"] == "2026-03-29T00:00:00+01:00"
    assert row["seconds"] == 23 * 3600
    assert row["covered_seconds"] == 23 * 3600 - 600
    assert row["provisional"] is True


@pytest.mark.parametrize("tz", ["Europe/Bern", "Nowhere", "../etc/passwd", "", "+02:00", "localtime"])
def test_a_zone_that_is_none_is_named(asking: Asking, tz: str) -> None:
    response = asking.get(f"{SHIP}&tz={tz}")
    assert response.status_code == 422
    assert response.json is not None
    assert response.json["errors"] == [{"at": "tz", "problem": "should be a time zone's name, such as Europe/Berlin"}]


# --- what is news


@pytest.mark.parametrize("form", ["&format=json", "&format=csv", "&format=parquet", "&resolution=1mo"])
@pytest.mark.parametrize("of", [SHIP, "/data/fleet?"])
def test_what_has_not_changed_is_304_until_an_old_slot_is_corrected(asking: Asking, form: str, of: str) -> None:
    """Also by a correction that leaves all sums as they are."""
    asking.put(many(200))
    for window in ("", f"&start={_at(0)}&end={_at(300)}"):
        path = of + form + window
        tag = asking.get(path).headers["ETag"]
        assert tag.startswith('W/"')
        for given in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            again = asking.get(path, If_None_Match=given)
            assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
            assert again.headers["Vary"] == "Accept, Accept-Encoding"
            assert again.headers["Cache-Control"] == "no-cache"
        assert asking.get(path, If_None_Match='"other"').status_code == 200
        slots = many(2)
        asking.put(replace(slots, kwh=slots.kwh[::-1].copy()))
        assert asking.get(path, If_None_Match=tag).status_code == 200
        asking.put(many(200))


def _at(slot: int) -> str:
    return datetime.fromtimestamp(START_S + SLOT_S * slot, UTC).isoformat()[:19]


def test_other_questions_and_forms_have_other_tags(asking: Asking) -> None:
    asking.put(many(5))
    asking.put(many(5, ship=2))
    more = [
        "",
        "&detail=true",
        "&format=csv",
        "&tz=Europe/Berlin",
        "&resolution=1h",
        f"&end={_at(3)}",
        f"&end={_at(2)}",
    ]
    paths = [*(SHIP + each for each in more), "/data?spaceship_id=2", "/data/fleet"]
    assert len({asking.get(path).headers["ETag"] for path in paths}) == len(paths)


def test_with_a_token_nobody_else_may_keep_it(asking: Asking) -> None:
    assert asking.get(SHIP, Authorization="Bearer x").headers["Cache-Control"] == "private, no-cache"


# --- packed


def test_gzip_where_it_pays(asking: Asking) -> None:
    """Not for a few rows, not for Parquet, and not where it is not wanted."""
    asking.put(many(2000))
    plain = asking.get(SHIP)
    packed = asking.get(SHIP, Accept_Encoding="gzip, deflate")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert packed.content_length == len(packed.data) < len(plain.data) / 4
    few = f"{SHIP}&end={_at(3)}"
    for path, accept in ((few, "gzip"), (SHIP, "gzip;q=0"), (SHIP, "br"), (f"{SHIP}&format=parquet", "gzip")):
        assert "Content-Encoding" not in asking.get(path, Accept_Encoding=accept).headers


# --- as a stream, from a real server

Fetch = Callable[..., tuple[http.client.HTTPResponse, bytes | None]]


@pytest.fixture
def fetch(asking: Asking) -> Iterator[Fetch]:
    """GET from a server; None is an answer that was cut off."""

    def get(path: str, version: int = 11, **headers: str) -> tuple[http.client.HTTPResponse, bytes | None]:
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
        connection._http_vsn, connection._http_vsn_str = version, f"HTTP/{version / 10}"  # type: ignore[attr-defined]
        connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        try:
            return response, response.read()
        except http.client.IncompleteRead:
            return response, None
        finally:
            connection.close()

    with serving(asking.client.application) as port:
        yield get


@pytest.fixture
def asking_years(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> Asking:
    """So much that it is sent as it comes."""
    monkeypatch.setattr(negotiation, "WHOLE_BYTES", 2**16)
    asking.put(many(MANY))
    return asking


def test_long_answers_are_streamed_and_right(asking_years: Asking, fetch: Fetch) -> None:
    whole = asking_years.get(SHIP).data
    response, body = fetch(SHIP)
    assert (response.headers["Transfer-Encoding"], body) == ("chunked", whole)
    response, body = fetch(SHIP, Accept_Encoding="gzip")
    assert gzip.decompress(body or b"") == whole
    response, body = fetch(SHIP, version=10)
    assert (response.headers["Content-Length"], body) == (str(len(whole)), whole)


@pytest.mark.parametrize("headers", [{}, {"Accept_Encoding": "gzip"}], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_a_failure_while_streaming_is_visible_as_a_truncated_response(
    asking_years: Asking, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, form: str, headers: dict[str, str]
) -> None:
    """Never a short 200 that looks whole; and it is counted."""
    _fails_from(asking_years, monkeypatch, START_S + SLOT_S * (MANY - columns.PART))
    response, body = fetch(f"{SHIP}&format={form}", **headers)
    assert (response.status, body) == (200, None)
    assert asking_years.registry.get_sample_value("power_query_store_errors_total") == 1


def test_what_fails_in_the_middle_is_a_problem_where_a_cut_could_not_be_seen(
    asking_years: Asking, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fails_from(asking_years, monkeypatch, START_S + SLOT_S * (MANY - columns.PART))
    response, _ = fetch(SHIP, version=10)
    assert response.status == 503
    assert asking_years.registry.get_sample_value("power_query_store_errors_total") == 1


def test_few_heavy_answers_are_sent_at_a_time(asking_years: Asking) -> None:
    """Who takes them slowly keeps nobody from light ones, nor from others once they are at their end or given up."""
    heavy = HeavyAnswers(places=1)
    app = make_app(energy.routes(asking_years.store, store_errors(CollectorRegistry()), heavy), access=anybody)
    client = app.test_client()
    first = client.get(SHIP)
    assert (first.status_code, first.is_streamed) == (200, True)
    refused = client.get(SHIP)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert client.get(f"{SHIP}&resolution=1mo").status_code == 503
    assert client.get(f"{SHIP}&start={_at(0)}&end={_at(96)}").status_code == 200
    first.close()
    client.head(SHIP).close()
    assert client.get(f"{SHIP}&resolution=1mo").status_code == 200
    assert client.get(SHIP).data


def test_months_of_too_many_slots_are_refused(asking_years: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer would be small and its work large; it says what can be asked for, and does not begin."""
    monkeypatch.setattr(energy, "MAX_ROLLED_UP", MANY - 1)
    monkeypatch.setattr(negotiation, "WHOLE_BYTES", 100)
    for resolution in ("1d", "1mo"):
        refused = asking_years.get(f"{SHIP}&resolution={resolution}&format=csv")
        assert refused.status_code == 422
        assert refused.json is not None
        assert [each["at"] for each in refused.json["errors"]] == ["resolution"]
        assert asking_years.get(f"{SHIP}&resolution={resolution}&start={_at(1)}").status_code == 200
    assert asking_years.get(f"{SHIP}&resolution=1h").status_code == 200


@pytest.mark.usefixtures("asking_years")
def test_an_answer_over_http_1_0_is_not_longer_than_its_file_may_be(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(negotiation, "FILE_BYTES", 2**18)
    response, body = fetch(SHIP, version=10)
    assert (response.status, b"HTTP/1.1" in (body or b"")) == (422, True)
    assert fetch(SHIP)[0].status == 200


@pytest.mark.parametrize("resolution", ["15m", "1mo"])
def test_an_answer_whose_client_has_gone_is_computed_no_further(
    asking_years: Asking, monkeypatch: pytest.MonkeyPatch, resolution: str
) -> None:
    """Whether some of it has been sent or not."""
    heavy, goes_on = HeavyAnswers(places=1), threading.Event()

    def one_by_one(_: Window) -> None:
        assert len(asking_years.read) < 2 or goes_on.wait(20)

    _watch(asking_years.store, monkeypatch, one_by_one)
    monkeypatch.setattr(columns, "PART", 500)
    app = make_app(energy.routes(asking_years.store, store_errors(CollectorRegistry()), heavy), access=anybody)
    with serving(app) as port:
        connection = socket.create_connection((HOST, port))
        connection.sendall(f"GET {SHIP}&resolution={resolution} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        until(lambda: len(asking_years.read) == 2, "some has been read")
        connection.close()
        goes_on.set()
        until(lambda: not heavy.taken, "it has given up its place")
    assert len(asking_years.read) < MANY // 500 / 2


@pytest.mark.parametrize("path", [SHIP, f"{SHIP}&resolution=1mo"])
def test_what_fails_before_the_first_row_is_a_problem(
    asking_years: Asking, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A month's sums are a few rows: they fail as a whole, however far they had come."""
    _fails_from(asking_years, monkeypatch, START_S if path == SHIP else START_S + SLOT_S * (MANY - columns.PART))
    response, body = fetch(path)
    assert response.status == 503
    assert json.loads(body or b"")["status"] == 503


def _fails_from(asking: Asking, monkeypatch: pytest.MonkeyPatch, from_s: int) -> None:
    def failing(window: Window) -> None:
        if window.end_s is None or window.end_s > from_s:
            raise Unavailable("gone")

    _watch(asking.store, monkeypatch, failing)

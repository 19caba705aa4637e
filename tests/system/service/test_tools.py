"""The tools against a running service, as a user runs them; and against services that are away or refuse."""

import csv
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from power_cli import sending, simulate
from power_cli.up import ROOT
from shared.domain.errors import InvalidInput, Unavailable
from shared.domain.timestamps import US_PER_S, iso, moment_us
from tests.support import reference
from tests.support.servers import HOST, Service, free_port
from tests.support.waiting import until

MAX_GAP_US = 24 * 3600 * US_PER_S
MIDNIGHT_US = moment_us("2024-02-01T00:00:00Z")
HOUSEHOLD = ROOT.parent / "shared" / "data" / "household-minutes.csv"
SLOTS = 2 * 96


def _tool(*arguments: str | Path | int) -> subprocess.CompletedProcess[str]:
    """Run `./power` with arguments, without its shell part."""
    command = [sys.executable, "-P", "-m", "power_cli", *map(str, arguments)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def _import(service: Service, path: Path, ship: int, units: str, *more: str) -> subprocess.CompletedProcess[str]:
    return _tool("import", path, "--ship", ship, "--units", units, "--url", f"http://{HOST}:{service.port}", *more)


def _slots(service: Service, ship: int) -> list[dict[str, Any]]:
    path = f"/data?spaceship_id={ship}&start=1970-01-01T00:00:00Z&end=2199-12-31T00:00:00Z&detail=true"
    rows: list[dict[str, Any]] = service.get(path)["data"]
    return rows


def _slots_once(service: Service, ship: int, complete: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    def look() -> list[dict[str, Any]] | None:
        rows = _slots(service, ship)
        return rows if complete(rows) else None

    found = until(look, f"all slots of ship {ship}")
    assert found is not None
    return found


def _minutes(folder: Path, delimiter: str = ",", encoding: str = "utf-8") -> tuple[Path, list[float]]:
    """Write two days of minutes by a formula."""
    kw = [round(0.3 + (minute * 37 % 101) / 100, 3) for minute in range(2880)]
    path = folder / "minutes.csv"
    rows = [f"{iso(MIDNIGHT_US + i * 60 * US_PER_S)}{delimiter}{value}" for i, value in enumerate(kw)]
    path.write_text("\n".join([f"DateTime{delimiter}kW", *rows]), encoding)
    return path, kw


def _check_minutes(service: Service, ship: int, kw: Sequence[float], start_us: int) -> None:
    rows = _slots_once(service, ship, lambda rows: len(rows) == SLOTS)
    assert [row["datetime"] for row in rows] == [iso(start_us + i * 900 * US_PER_S) for i in range(SLOTS)]
    assert {row["covered_seconds"] for row in rows} == {900}
    assert [row["provisional"] for row in rows] == [False] * (SLOTS - 1) + [True]
    assert [row["value"] for row in rows] == pytest.approx(np.reshape(kw, (SLOTS, 15)).sum(axis=1) / 60, abs=1e-6)
    assert sum(row["value"] for row in rows) == pytest.approx(sum(kw) / 60, abs=SLOTS * 5e-7)


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8"), (";", "utf-8-sig")])
def test_two_days_of_minutes_come_back_as_their_slots(
    service: Service, ship: int, tmp_path: Path, delimiter: str, encoding: str
) -> None:
    path, kw = _minutes(tmp_path, delimiter, encoding)
    done = _import(service, path, ship, "kW")
    assert done.returncode == 0, done.stderr
    span = "2024-02-01T00:00:00Z to 2024-02-02T23:59:00Z"
    assert done.stdout.endswith(f"{path}: 2,880 readings sent, 0 rows left out, {span}\n")
    assert "time      'DateTime': ISO 8601" in done.stdout
    _check_minutes(service, ship, kw, MIDNIGHT_US)


def test_the_real_household_comes_back_with_its_own_total(service: Service, ship: int) -> None:
    if not HOUSEHOLD.exists():
        pytest.skip(f"{HOUSEHOLD.name} is not on this machine")
    done = _import(service, HOUSEHOLD, ship, "kW")
    assert done.returncode == 0, done.stderr
    with HOUSEHOLD.open(encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    _check_minutes(service, ship, [float(row["kw"]) for row in read], moment_us(read[0]["datetime"]))


def test_bad_rows_are_named_and_the_good_ones_stored(service: Service, ship: int, tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    bad = ["2024-02-01T00:15:00Z,1,abc", "never,1,2", "2024-02-01T00:20:00Z,1,-2", *["2024-02-01T00:25:00Z,x"] * 30]
    path.write_text(
        "\n".join(["at,note,energy", "2024-02-01T00:00:00Z,1,3", *bad, "2024-02-01T00:30:00Z,h\xe9,5\n"]), "latin-1"
    )
    options = ("--time-column", "at", "--value-column", "energy")
    done = _import(service, path, ship, "kWh", *options)
    assert (done.returncode, "readings sent" in done.stdout) == (1, False)
    assert "33 of 35 values cannot be read, which is more than a tenth: --skip-bad leaves them out" in done.stderr
    done = _import(service, path, ship, "kWh", *options, "--skip-bad")
    assert done.returncode == 1
    assert f"{path}:3: value is not a number: 'abc'\n" in done.stderr
    assert f"{path}:4: datetime is not an ISO 8601 moment such as 2019-01-05T04:37:00Z: 'never'\n" in done.stderr
    assert f"{path}:5: value is negative, --allow-negative accepts it: '-2'\n" in done.stderr
    assert f"{path}:22: cells are missing: there are 2, at least 3 are needed\n" in done.stderr
    assert f"{path}:23: " not in done.stderr
    assert "… and 13 more rows that were left out\n" in done.stderr
    # Between 00:00 and 00:30 are unknown ones at 00:15, 00:20 and 00:25.
    assert "5 readings sent, 33 rows left out, 2024-02-01T00:00:00Z to 2024-02-01T00:30:00Z\n" in done.stdout
    rows = _slots_once(service, ship, lambda rows: len(rows) == 2)
    assert [(row["datetime"][11:16], row["value"], row["covered_seconds"]) for row in rows] == [
        ("00:00", 3, 900),
        ("00:30", 5, 300),
    ]


def test_a_file_that_has_a_moment_twice_is_not_sent(service: Service, ship: int, tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    rows = [f"{iso(MIDNIGHT_US + i % 9_000 * 900 * US_PER_S)},{i}" for i in range(12_000)]
    path.write_text("\n".join(["datetime,value", *rows]), "utf-8")
    done = _import(service, path, ship, "kWh")
    assert done.returncode == 1
    assert (
        "3,000 moments come twice with other values: lines 2 and 9002 (2024-02-01T00:00:00Z: 0 and 9000)" in done.stderr
    )
    assert _slots(service, ship) == []


@pytest.mark.parametrize(
    ("text", "options", "energy"),
    [
        (
            "Datum;Uhrzeit;kWh\n26.10.2025;02:00;1,5\n26.10.2025;02:00;2,5\n26.10.2025;03:00;1\n",
            ["--tz", "Europe/Vienna"],
            5,
        ),
        ("Interval ending,W\n1761350400,100\n1761354000,300\n", ["--stamp", "end"], 0.4),
        ("day,00:00,06:00,12:00,18:00\n2025-10-25,1,,3,4\n", ["--units", "kWh"], 8),
        (
            "meter,time,reg,Wh\n{ship},2025-10-25T00:00:00Z,in,7000\n{ship},2025-10-25T05:00:00Z,in,9000\n",
            ["--counter"],
            2,
        ),
    ],
)
def test_files_of_every_kind_are_stored_with_their_total(  # noqa: PLR0913, PLR0917  # a row and fixtures
    service: Service, ship: int, tmp_path: Path, text: str, options: list[str], energy: float
) -> None:
    path = tmp_path / "some.csv"
    path.write_text(text.format(ship=ship), "utf-16")
    named = ["--ship-column", "meter", "--where", "reg=in"] if "meter" in text else ["--ship", ship]
    url = f"http://{HOST}:{service.port}"
    dry = _tool("import", path, *named, *options, "--url", url, "--dry-run")
    assert (dry.returncode, "readings sent" in dry.stdout) == (0, False)
    assert f"  total     {energy:g} kWh\n" in dry.stdout
    done = _tool("import", path, *named, *options, "--url", url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(dry.stdout)
    _slots_once(service, ship, lambda rows: sum(row["value"] for row in rows) == pytest.approx(energy, abs=1e-4))


def test_a_file_can_come_through_a_pipe(service: Service, ship: int, tmp_path: Path) -> None:
    path, kw = _minutes(tmp_path)
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(path.read_bytes(),), daemon=True).start()
    done = _import(service, pipe, ship, "kW")
    assert done.returncode == 0, done.stderr
    _check_minutes(service, ship, kw, MIDNIGHT_US)


def test_values_that_only_the_tool_takes_are_refused_with_their_place(
    service: Service, ship: int, tmp_path: Path
) -> None:
    path = tmp_path / "negative.csv"
    path.write_text("datetime,kw\n2024-02-01T00:00:00Z,1\n2024-02-01T00:01:00Z,-1\n", "utf-8")
    done = _import(service, path, ship, "kW", "--allow-negative")
    assert done.returncode == 1
    refusal = f"the service refuses {path}:2-3: the batch is not valid: data[1].value should be greater than or equal"
    assert refusal in done.stderr
    assert "readings sent" not in done.stdout


@pytest.mark.parametrize("command", [["simulate"], ["import", "{file}", "--ship", "1", "--units", "kW"]])
def test_without_a_service_one_line_says_so(command: list[str], tmp_path: Path) -> None:
    path, _ = _minutes(tmp_path)
    url = f"http://{HOST}:{free_port()}"
    done = _tool(*[part.format(file=path) for part in command], "--url", url)
    assert done.returncode == 1
    assert "sent" not in done.stdout
    said = [line for line in done.stderr.splitlines() if line and "\r" not in line and "%" not in line]
    assert said == [f"no service answers at {url}; start it with ./power up"]


def test_a_file_that_is_not_there_or_empty_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.csv"
    done = _tool("import", missing, "--ship", 1, "--units", "kW")
    assert (done.returncode, done.stderr) == (1, f"cannot read {missing}: No such file or directory\n")
    missing.touch()
    done = _tool("import", missing, "--ship", 1, "--units", "kW")
    assert done.returncode == 1
    assert done.stderr.endswith(f"{missing}: there are no rows: the file is empty\n")


def _delete(service: Service, ship: int, start: str, end: str) -> subprocess.CompletedProcess[str]:
    url = f"http://{HOST}:{service.port}"
    return _tool("delete", "--ship", ship, "--start", start, "--end", end, "--url", url)


def test_delete_waits_until_the_readings_are_gone(service: Service, ship: int) -> None:
    """The end is excluded; a repeat changes nothing."""
    data = [{"datetime": f"2024-02-01T0{hour}:00:00Z", "value": hour} for hour in range(4)]
    batch = {"spaceship_id": ship, "units": "kWh", "data": data}
    assert service.post(batch, Prefer="wait=20").status == 201
    for _ in range(2):
        done = _delete(service, ship, "2024-02-01T01:00:00Z", "2024-02-01T03:00:00Z")
        assert done.returncode == 0, done.stderr
        span = "from 2024-02-01T01:00:00Z to 2024-02-01T03:00:00Z"
        assert done.stdout == f"the readings of ship {ship} {span} are deleted\n"
        left = service.get(f"/ships/{ship}/readings?start=2024-02-01T00:00:00Z&end=2024-02-02T00:00:00Z")["data"]
        assert [each["datetime"] for each in left] == ["2024-02-01T00:00:00Z", "2024-02-01T03:00:00Z"]


def test_delete_takes_dates(service: Service, ship: int) -> None:
    done = _delete(service, ship, "2024-02-01", "2024-02-29")
    assert done.stdout == (
        f"the readings of ship {ship} from 2024-02-01T00:00:00Z to 2024-02-29T00:00:00Z are deleted\n"
    )
    assert _delete(service, ship, "2024-02-01", "2024-02-30").returncode == 2


def test_delete_says_in_a_line_what_is_wrong(service: Service, ship: int) -> None:
    done = _delete(service, ship, "2024-02-01T03:00:00Z", "2024-02-01T03:00:00Z")
    assert done.returncode == 1
    refusal = "the service refuses the deletion: the parameters are not valid: end is not after start"
    assert done.stderr.splitlines()[-1] == refusal
    assert _delete(service, ship, "yesterday", "2024-02-01T03:00:00Z").returncode == 2


def test_a_simulated_fleet_is_stored_as_the_rule_has_it(service: Service, ship: int) -> None:
    first, count, end_us = ship * 1_000, 5, moment_us("2024-02-03T07:08:09Z")  # ships that no fixture gives
    start_us = end_us - simulate.DAY_S * US_PER_S
    fleet = [simulate.Ship.of(3, number) for number in range(first, first + count)]
    sent = list(simulate.deliveries(fleet, start_us, end_us, 3))
    url = f"http://{HOST}:{service.port}"
    options: list[str | int] = ["--ships", count, "--days", 1, "--first-ship", first, "--seed", 3, "--end", iso(end_us)]
    done = _tool("simulate", *options, "--url", url)
    assert done.returncode == 0, done.stderr
    total = sum(each.count(start_us, end_us) for each in fleet)
    assert done.stdout.startswith(f"{count} ships, {len(sent)} batches (")
    assert f"repeated), {total:,} readings, " in done.stdout
    assert "readings/s" in done.stderr
    told = [
        reference.Reading(each.ship, int(us), float(value), each.units == "kWh", 0)
        for each in sent
        for us, value in zip(each.moment_us, each.value, strict=True)
    ]
    expected = reference.slots(told, MAX_GAP_US)
    for number in range(first, first + count):
        kwh = [float(slot.kwh) for (owner, _), slot in sorted(expected.items()) if owner == number]

        def complete(rows: list[dict[str, Any]], kwh: list[float] = kwh) -> bool:
            return len(rows) == len(kwh) and [row["value"] for row in rows] == pytest.approx(kwh, abs=1e-6)

        _slots_once(service, number, complete)


Answer = tuple[int, dict[str, str], bytes]
ACCEPTED: Answer = (202, {}, b"{}")


class _Script(ThreadingHTTPServer):
    """A service that gives scripted answers, then accepts; and remembers what it was sent."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__((HOST, 0), _Scripted)
        self.answers = list(answers)
        self.bodies: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}"


class _Scripted(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Script

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))
        status, headers, answer = self.server.answers.pop(0) if self.server.answers else ACCEPTED
        if status == 0:  # accepted, but the answer is lost
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in the standard library
        """Say nothing."""


@contextmanager
def _scripted(*answers: Answer) -> Iterator[_Script]:
    server = _Script(answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _parcel(name: str, ship: int = 1) -> sending.Parcel:
    return sending.Parcel(
        name=name, ship=ship, units="kW", moment_us=np.array([MIDNIGHT_US + 500_000]), value=np.array([1.5])
    )


def _sent_through(server: _Script, parcels: Sequence[sending.Parcel]) -> list[str]:
    return [each.name for each in sending.deliver(server.url, parcels)]


def test_what_passes_by_itself_is_tried_again_with_the_same_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PAUSE_S", 0.01)
    with _scripted((503, {"Retry-After": "0"}, b""), (0, {}, b""), (502, {"Retry-After": "soon"}, b"")) as server:
        assert _sent_through(server, [_parcel("a"), _parcel("b")]) == ["a", "b"]
        *tries, last = server.bodies
    assert len(tries) == 4
    assert all(each == tries[0] for each in tries)
    assert last["batch_id"] != tries[0]["batch_id"]
    assert last["data"] == [{"datetime": "2024-02-01T00:00:00.500000Z", "value": 1.5}]


def test_a_ships_batches_stay_in_order_and_all_ships_get_through() -> None:
    parcels = [_parcel(f"{i}", ship=i % 7) for i in range(200)]
    with _scripted(*[(503, {"Retry-After": "0"}, b"")] * 5) as server:
        assert _sent_through(server, parcels) == [f"{i}" for i in range(200)]
        for ship in range(7):
            accepted = dict.fromkeys(each["batch_id"] for each in server.bodies if each["spaceship_id"] == ship)
            assert list(accepted) == [str(each.batch_id) for each in parcels if each.ship == ship]


def test_a_service_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "RETRY_S", 0.05)
    monkeypatch.setattr(sending, "PAUSE_S", 0.01)
    with _scripted(*[(503, {}, b"")] * 100) as server, pytest.raises(Unavailable, match="did not accept a batch for"):
        _sent_through(server, [_parcel("a"), _parcel("b")])


def test_a_service_that_goes_away_for_good_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "RETRY_S", 0.05)
    monkeypatch.setattr(sending, "PAUSE_S", 0.01)
    with _scripted(*[(202, {"Connection": "close"}, b"{}")] * 1_000) as server:
        sent = sending.deliver(server.url, (_parcel(f"{i}") for i in range(1_000)))
        next(sent)
    with pytest.raises(Unavailable, match="did not accept a batch for"):
        list(sent)


def test_a_refusal_shows_its_places_and_ends_the_sending() -> None:
    errors = [{"at": f"data[{i}].value", "problem": "is odd"} for i in range(7)]
    answer = json.dumps({"detail": "the batch is not valid", "errors": errors}).encode()
    places = "; ".join(f"data[{i}].value is odd" for i in range(5))
    with _scripted((422, {}, answer)) as server:
        with pytest.raises(InvalidInput) as refusal:
            _sent_through(server, [_parcel(f"{i}") for i in range(20)])
        assert len(server.bodies) == 1
    assert str(refusal.value) == f"the service refuses 0: the batch is not valid: {places}; and 2 more"
    assert len(refusal.value.problems) == 7


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'"no"', b'{"detail": 1, "errors": 2}', b"{}"])
def test_something_else_on_the_port_is_no_service(answer: bytes) -> None:
    with _scripted((403, {}, answer)) as server, pytest.raises(InvalidInput, match="is it the power service"):
        _sent_through(server, [_parcel("a")])

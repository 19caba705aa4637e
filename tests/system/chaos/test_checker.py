"""The harness can fail: damaged data is found, what is missing is said, and what was sent about a reading is told."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from power_cli import chaos
from power_cli.__main__ import main
from tests.support.chaos import faults, run, scene
from tests.support.chaos.ledger import Ledger
from tests.support.chaos.run import Run
from tests.support.chaos.scene import Options
from tests.support.servers import broker_program

DAMAGES = [
    ("power", "DELETE FROM energy WHERE ship = 1 AND start_s = 1535068800", "a slot of ship 1"),
    ("power", "UPDATE energy SET kwh = kwh + 1e-6 WHERE ship = 2 AND start_s = 1535068800", "a slot of ship 2"),
    (
        "power",
        "UPDATE energy SET covered_s = covered_s - 1 WHERE ship = 3 AND start_s = 1535068800",
        "a slot of ship 3",
    ),
    ("power", "UPDATE energy SET provisional = 0 WHERE ship = 200", "a slot of ship 200"),
    (
        "power",
        "UPDATE energy SET estimated_s = estimated_s + 1 WHERE ship = 203 AND start_s = 1535068800",
        "a slot of ship 203",
    ),
    (
        "power",
        (
            "UPDATE readings SET kind = 'mean' WHERE (ship, time_us) ="
            " (SELECT ship, time_us FROM readings WHERE ship = 4 AND kind IS NOT 'mean' LIMIT 1)"
        ),
        "a reading of ship 4",
    ),
    (
        "power",
        (
            "UPDATE readings SET kind = CASE WHEN kind IS NULL THEN 'line' END WHERE (ship, time_us) ="
            " (SELECT ship, time_us FROM readings WHERE ship = 202 LIMIT 1)"
        ),
        "a reading of ship 202",
    ),
    (
        "power",
        (
            "UPDATE readings SET max_gap_us = max_gap_us + 1 WHERE (ship, time_us) ="
            " (SELECT ship, time_us FROM readings WHERE ship = 205 LIMIT 1)"
        ),
        "a reading of ship 205",
    ),
    (
        "power",
        "INSERT INTO energy VALUES (3, 0, 1, 900, 0, 0)",
        "a slot of ship 3 at 1970-01-01T00:00:00Z: should be None",
    ),
    ("power", "DELETE FROM readings WHERE ship = 201 AND time_us = 1535068800000000", "a reading of ship 201"),
    (
        "power",
        "UPDATE readings SET sent_at_us = 1 WHERE ship = 3 AND time_us = 1535068800000000",
        "a reading of ship 3",
    ),
    (
        "power",
        "INSERT INTO readings (ship, time_us, value, unit, sent_at_us) VALUES (9, 0, 1, 'kW', 0)",
        "a reading of ship 9 at 1970-01-01T00:00:00Z: should be None",
    ),
    ("power", "UPDATE fleet_energy SET ships = ships + 1", "/data/fleet at 2018-08-24"),
    ("power", "UPDATE ship_energy SET whole_kwh = whole_kwh + 1 WHERE ship = 3", "/topusers of all time, ship 3"),
    ("power", "UPDATE ship_day_energy SET whole_kwh = whole_kwh + 1 WHERE ship = 3", "/topusers from 2018-08-2"),
    ("dead-letters", "DELETE FROM dead_letters", "was rejected, and is no dead letter"),
    (
        "dead-letters",
        "INSERT INTO dead_letters VALUES (x'00', 't', x'7b7d', 2, '', '[]', 0, 0, 1, -1, 2)",
        "a dead letter of None: should be none, is b'{}'",
    ),
    ("outbox", "UPDATE fates SET status = 'accepted' WHERE status = 'stored'", "GET /batches/"),
]
"""Files, what is done to them, and what the checker then has to tell. All ships begin at 2018-08-24T00:00:00Z."""


class Damaged(Run):
    """A run without kills, and with damages."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Options(folder, seed=1, seconds=5))
        self._killer.begin = lambda: None  # type: ignore[method-assign]  # nobody is killed
        self.found_before: list[str] = []

    def _compare(self) -> None:
        super()._compare()
        self.found_before = self._ledger.differences
        for name, statement, _ in DAMAGES:
            with closing(sqlite3.connect(self._scene.data / f"{name}.sqlite", timeout=20)) as file, file:
                file.execute(statement)
        super()._compare()


def test_every_damage_is_found(tmp_path: Path) -> None:
    broker_program()
    damaged = Damaged(tmp_path)
    report = damaged.run()
    assert damaged.found_before == []
    for _, statement, told in DAMAGES:
        assert any(told in each for each in report.differences), (statement, report.as_text())


def test_the_journal_tells_of_the_batches_behind_a_reading(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "journal")) as ledger:
        ledger.note(
            "send", payload='{"spaceship_id": 1, "data": [{"datetime": "2018-08-24T00:00:00Z"}], "batch_id": "a"}'
        )
        ledger.note(
            "send", payload='{"spaceship_id": 12, "data": [{"datetime": "2018-08-24T00:00:00Z"}], "batch_id": "b"}'
        )
        for name in "ab":
            ledger.note("promise", batch_id=name)
        found = [*ledger.about(1, 1_535_068_800_000_000)]
    assert len(found) == 2
    assert not any('"b"' in each for each in found)


def test_the_faults_that_the_command_names_are_those_there_are() -> None:
    assert {*chaos.FAULTS, *chaos.CLUSTER_FAULTS} == set(faults.FAULTS)
    assert set(faults.FAULTS) > faults.IN_GATEWAY


def test_without_influxdb_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(scene, "BEYOND_PATH", ())
    monkeypatch.setattr(run, "on_stop", lambda *_: None)  # the signals are pytest's
    assert main(["chaos", "--store", "influxdb", "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "InfluxDB 1.x is missing (`influxd`; on Debian the package `influxdb`)\n"
    assert [*tmp_path.iterdir()] == []

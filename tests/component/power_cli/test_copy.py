"""`./power copy` between embedded stores: what is copied, what is left alone, and what is compared."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from normalizer_worker.data_folder import DataFolder
from power_cli.__main__ import main
from power_cli.copying import parts as parts_module
from power_cli.copying.parts import FIRST_SPAN_US, Ship, parts, ships
from shared.domain.covariates import NO_ROWS, Covariates
from shared.domain.readings import Kind, Readings
from shared.domain.slots import SLOT_US, Window
from shared.domain.timestamps import LAST_US, US_PER_S
from shared.store.sqlite import FILE_NAME, SqliteStore
from tests.support.columns import as_columns
from tests.support.filled import contents, delete, fill, of_ship
from tests.support.store_covariates import covariates, put_covariates
from tests.support.strategies import DAY_US, START_US, every_five_minutes

FAR_US = 3000 * DAY_US


def rows(folder: Path, ship: int) -> list[tuple[object, ...]]:
    """Read a ship's readings and slots."""
    return [row for columns in contents(f"sqlite:{folder}", ship) for row in columns.rows()]


def copy(source: Path, target: Path) -> int:
    return main(["copy", "--from", f"sqlite:{source}", "--to", f"sqlite:{target}"])


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "PART_READINGS", 50)


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A store with a ship of many readings, one with a long silence, one of a single reading, and a far one."""
    many = every_five_minutes(0, 700)
    folder = tmp_path / "old"
    fill(
        folder,
        of_ship(many, 1, sent_at_us=77),
        of_ship(every_five_minutes(0, 3), 2),
        of_ship(every_five_minutes(0, 3), 2, later_us=FAR_US),
        of_ship(every_five_minutes(5, 1), 3),
        of_ship(many, 2**53 - 1, later_us=3),
    )
    return folder


def test_all_is_copied_and_a_repeat_writes_nothing(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    assert copy(fleet, new) == 0
    assert "4 ships, 1,407 readings copied" in (out := capsys.readouterr().out)
    assert "Both stores have the same: 4 ships, 1,407 readings" in out
    for ship in (1, 2, 3, 2**53 - 1):
        assert rows(new, ship) == rows(fleet, ship)
    assert copy(fleet, new) == 0
    assert "4 ships, 0 readings copied" in capsys.readouterr().out


def test_what_is_missing_is_copied_and_not_the_rest(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a copy that was stopped, or of a store that was written meanwhile."""
    new = tmp_path / "new"
    assert copy(fleet, new) == 0
    fill(fleet, of_ship(every_five_minutes(700, 10), 1), of_ship(every_five_minutes(0, 1), 9))
    capsys.readouterr()
    assert copy(fleet, new) == 0
    copied = int(capsys.readouterr().out.split(" ships, ")[1].split()[0])
    assert 11 <= copied < 150
    assert rows(new, 1) == rows(fleet, 1)
    assert rows(new, 9) == rows(fleet, 9)


def test_deletions_and_ships_without_energy_are_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A counter's first reading gives no energy; a deletion may have left nothing."""
    old, new = tmp_path / "old", tmp_path / "new"
    meter = as_columns([(5, START_US, 12345.0, Kind.COUNTER_KWH, 1, 0, 7200 * US_PER_S, 1e6)])
    fill(old, of_ship(every_five_minutes(0, 120), 1), of_ship(every_five_minutes(0, 3), 2), meter)
    for ship, end_us in ((1, START_US + 40 * SLOT_US), (2, LAST_US)):
        delete(old, (ship, START_US + SLOT_US * (ship == 1), end_us, 9))
    assert copy(old, new) == 0
    assert ", 2 deletions" in capsys.readouterr().out
    for ship in (1, 2, 5):
        assert rows(new, ship) == rows(old, ship)
    fill(new, of_ship(every_five_minutes(30, 1), 1))  # sent before it was deleted
    assert rows(new, 1) == rows(old, 1)
    assert copy(old, new) == 0
    assert "3 ships, 0 readings copied" in capsys.readouterr().out
    delete(new, (2, LAST_US, LAST_US + 1, 9))
    assert copy(old, new) == 1
    assert "ship 2 differs: 0 readings" in capsys.readouterr().err


def test_covariates_are_copied_and_compared(fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of a ship without readings, and removed ones, too."""
    new, tables = tmp_path / "new", [covariates(2, 5, 1.0), covariates(8, 5, 2.0), Covariates(9, 6, NO_ROWS)]

    def put(folder: Path, *tables: Covariates) -> None:
        with closing(SqliteStore(folder)) as store:
            put_covariates(store, *tables)

    put(fleet, *tables)
    assert copy(fleet, new) == 0
    assert ", 3 tables of covariates" in capsys.readouterr().out
    with closing(SqliteStore(new)) as store:
        assert [store.covariates(each.ship) for each in tables] == tables
    put(fleet, covariates(2, 6, 3.0))
    assert copy(fleet, new) == 0
    assert "6 ships, 0 readings copied" in capsys.readouterr().out
    with closing(SqliteStore(new)) as store:
        assert store.covariates(2) == covariates(2, 6, 3.0)
    put(new, covariates(8, 7, 3.0))
    assert copy(fleet, new) == 1
    assert "ship 8 differs" in capsys.readouterr().err


def test_slots_without_their_readings_made_whole(fleet: Path, tmp_path: Path) -> None:
    """A store without transactions may have readings without what they make of the slots."""
    new = tmp_path / "new"
    assert copy(fleet, new) == 0
    store = SqliteStore(new)
    slots = store.slots(1, Window())[3:6]
    with store.transaction():
        store.put_slots(slots.emptied(), slots)
    store.close()
    assert copy(fleet, new) == 0
    assert rows(new, 1) == rows(fleet, 1)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (of_ship(every_five_minutes(9, 1), 3), "ship 3 differs: 1 readings"),
        (of_ship(every_five_minutes(0, 1), 4), "--to has +1 ships"),
    ],
)
def test_a_difference_is_told_and_is_the_status(
    fleet: Path, tmp_path: Path, more: Readings, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    fill(new, more)
    assert copy(fleet, new) == 1
    err = capsys.readouterr().err
    assert said in err
    assert err.splitlines()[-1].startswith("The stores differ: ")


def test_a_wrong_sum_of_the_fleet_is_told(fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = tmp_path / "new"
    assert copy(fleet, new) == 0
    with sqlite3.connect(new / FILE_NAME) as file:
        file.execute(
            "UPDATE fleet_energy SET whole_kwh = whole_kwh + 1 WHERE start_s = (SELECT max(start_s) FROM energy)"
        )
    file.close()
    assert copy(fleet, new) == 1
    assert "The stores differ: the fleet's sums differ from 20" in capsys.readouterr().err


def test_a_store_with_another_gap_is_refused(fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "new", max_gap_us=7200 * US_PER_S)
    assert copy(fleet, tmp_path / "new") == 1
    assert "POWER_MAX_GAP_S=86400, but --to with 7200" in capsys.readouterr().err


def test_the_gap_is_that_of_the_source(tmp_path: Path) -> None:
    fill(tmp_path / "old", max_gap_us=7200 * US_PER_S)
    assert copy(tmp_path / "old", tmp_path / "new") == 0
    store = SqliteStore(tmp_path / "new")
    assert store.pinned("POWER_MAX_GAP_S", "1") == "7200"
    store.close()


def test_a_store_with_a_worker_is_not_written(fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worker = DataFolder(tmp_path / "new")
    assert worker.lock()
    assert copy(fleet, tmp_path / "new") == 1
    assert capsys.readouterr().err == f"a worker is at work in {tmp_path}/new: stop it first\n"
    worker.close()


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("sqlite:{old}", "sqlite:{old}/.", "--from and --to are the same store"),
        ("sqlite:{old}-not", "sqlite:{old}", "there is no store in "),
        ("mysql://here", "sqlite:{old}", "--from should be sqlite:FOLDER"),
        ("sqlite:{old}", "postgresql", "--to should be sqlite:FOLDER"),
    ],
)
def test_a_wrong_store_is_one_line(
    fleet: Path, source: str, target: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses = [each.format(old=fleet) for each in (source, target)]
    assert main(["copy", "--from", addresses[0], "--to", addresses[1]]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not Path(f"{fleet}-not").exists()


def test_the_store_of_the_settings_is_written(
    fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWER_STORE_URL", f"sqlite:{tmp_path}/new")
    assert main(["copy", "--from", f"sqlite:{fleet}"]) == 0
    assert rows(tmp_path / "new", 2) == rows(fleet, 2)
    monkeypatch.delenv("POWER_STORE_URL")
    assert main(["copy", "--from", f"sqlite:{fleet}"]) == 1
    assert "--to or POWER_STORE_URL" in capsys.readouterr().err


def test_parts_cover_all_time_once_and_are_bounded(fleet: Path) -> None:
    store = SqliteStore(fleet)
    for ship in ships(store):
        found = list(parts(store, ship))
        assert [each.start_us for each in found] == [0, *(each.end_us for each in found[:-1])]
        assert found[-1].end_us == LAST_US + 1
        assert all(len(each.readings) <= 50 for each in found)
        assert Readings.concat([each.readings for each in found]).moment_us.tolist() == (
            store.readings(ship.number, 0, LAST_US + 1, 10**6).moment_us.tolist()
        )
        assert sum(each.progress for each in found) == ship.slots_between(0, LAST_US)
    store.close()


def test_a_long_silence_takes_few_parts(fleet: Path) -> None:
    store = SqliteStore(fleet)
    ship = Ship(2, START_US, START_US + FAR_US)
    assert len(list(parts(store, ship))) < 20 < FAR_US // FIRST_SPAN_US
    store.close()

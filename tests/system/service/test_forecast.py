"""GET /forecast of the running service, on each store; and ./power backtest against it."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from power_cli.up import ROOT
from shared.domain.columns import F64
from shared.domain.slots import SLOT_S
from shared.domain.timestamps import iso
from tests.support.servers import HOST, Service, free_port
from tests.support.slots import DAY, MONDAY_S, weekly

DAYS = 40
KWH = np.round(weekly(DAYS), 3)


def at(slot: int) -> str:
    """Name a slot, counted from the first one."""
    return iso((MONDAY_S + slot * SLOT_S) * 10**6)


def store(service: Service, ship: int, kwh: F64, first: int = 0) -> None:
    """Send energy of consecutive slots, and wait until it can be read."""
    readings = [{"datetime": at(first + i), "value": value} for i, value in enumerate(kwh.tolist())]
    response = service.post({"spaceship_id": ship, "units": "kWh", "data": readings}, Prefer="wait=30")
    assert response.status == 201, response.data


def ask(service: Service, ship: int, first: int, slots: int, **more: str) -> Any:
    """Ask for a window of slots."""
    options = "".join(f"&{name}={value}" for name, value in more.items())
    return service.get(f"/forecast?spaceship_id={ship}&start={at(first)}&end={at(first + slots)}{options}")


@pytest.fixture
def known(service: Service, ship: int) -> int:
    """A ship with 40 days."""
    store(service, ship, KWH)
    return ship


def test_a_forecast_is_made_of_what_the_store_has(service: Service, known: int) -> None:
    n = len(KWH)
    found = ask(service, known, n, DAY, detail="true")
    assert found["trained_on"] == {"start": at(0), "end": at(n), "slots": n}
    assert found["datetime"] == at(n)
    assert 0 <= found["lower"] < found["expected_consumption"] < found["upper"]
    assert [row["datetime"] for row in found["data"]] == [at(n + i) for i in range(DAY)]
    assert sum(row["value"] for row in found["data"]) == pytest.approx(found["expected_consumption"], abs=1e-4)
    naive = ask(service, known, n, DAY, model="seasonal_naive")
    assert naive["expected_consumption"] == pytest.approx(KWH[n - 7 * DAY :][:DAY].sum(), abs=1e-4)


def test_new_readings_and_corrections_of_the_last_days_count_in_the_next_answer(service: Service, known: int) -> None:
    n = len(KWH)
    before = ask(service, known, n, DAY)
    assert ask(service, known, n, DAY) == before
    store(service, known, np.full(DAY, 30.0), n - DAY)
    corrected = ask(service, known, n, DAY)
    assert corrected["expected_consumption"] > before["expected_consumption"]
    store(service, known, np.full(1, 30.0), n)
    assert ask(service, known, n + 1, DAY)["trained_on"]["slots"] == n + 1


def test_a_window_in_the_past_knows_nothing_of_what_came(service: Service, ship: int) -> None:
    half = len(KWH) // 2
    store(service, ship, KWH[: half + 4])
    before = ask(service, ship, half, 4)
    store(service, ship, 50 + KWH[half:], half)
    assert ask(service, ship, half, 4) == before


def test_less_than_a_day_is_refused_with_how_much_there_is(service: Service, ship: int) -> None:
    store(service, ship, KWH[:40])
    response = service.request("GET", f"/forecast?spaceship_id={ship}&start={at(40)}&end={at(44)}")
    assert response.status == 422
    assert "there are 10.00 before" in response.json()["errors"][0]["problem"]


def backtest(port: int, ship: int, *more: str) -> subprocess.CompletedProcess[str]:
    """Run `./power backtest`."""
    command = [sys.executable, "-P", "-m", "power_cli", "backtest", "--ship", str(ship), *more]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command += ["--url", f"http://{HOST}:{port}"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_backtest_prints_how_good_each_model_would_have_been(service: Service, known: int) -> None:
    done = backtest(service.port, known, "--windows", "12", "--model", "linear", "--model", "seasonal_naive")
    assert done.returncode == 0, done.stderr
    assert "100%" in done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if "%" in line]
    by_name = {(row[0], row[1]): row for row in rows if len(row) > 1}
    assert list(by_name) == [
        (window, model) for window in ("1 hour", "1 day", "7 days") for model in ("seasonal_naive", "linear")
    ]
    naive, linear = (float(by_name["1 day", model][3].rstrip("%")) for model in ("seasonal_naive", "linear"))
    assert 0 < linear < naive
    assert by_name["1 day", "linear"][-1] == f"{1 - linear / naive:+.0%}"


def test_a_backtest_says_what_is_missing(service: Service, ship: int) -> None:
    assert backtest(service.port, ship).stderr == f"the service has no slots of ship {ship}\n"
    store(service, ship, KWH[:40])
    done = backtest(service.port, ship, "--model", "linear")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("no window is complete and has a day of complete history before it\n")
    assert "start it with ./power up" in backtest(free_port(), ship).stderr

"""The daily comparison of forecasts with what came, over a real store and with its real process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from power_cli.up import ROOT
from query_api import daily, service
from query_api.daily import LATE_S, Daily, Pace, due_s
from query_api.forecast.accuracy import Accuracies, Expected, WatchedDay, accuracy_of
from query_api.forecast.forecast import forecast
from query_api.forecast.models.auto import Auto
from query_api.forecast.steps import DAY_S
from shared.domain.clock import now_us
from shared.domain.slots import Slots, Window
from shared.domain.timestamps import US_PER_S
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.runtime.settings import QuerySettings
from shared.store.port import ShipEnergy
from shared.store.sqlite import SqliteStore
from tests.support.columns import as_columns
from tests.support.slots import MONDAY_S, slots_from, weekly
from tests.support.waiting import until

DAYS = 12
END_S = MONDAY_S + DAYS * DAY_S
NOW_S = END_S + LATE_S + 60
AT_ONCE = Pace(first_s=0, poll_s=0.05, rest=0)
RESTING = Pace(first_s=0, poll_s=0.05, rest=1e6)


def used(ship: int, start_s: int = MONDAY_S, days: int = DAYS) -> Slots:
    """Give what a ship used; ship 2 uses most."""
    return slots_from(ship * weekly(days, seed=ship), start_s, ship)


def compared(slots: Slots, end_s: int) -> list[WatchedDay]:
    """Forecast each day from scratch, from the slots before it."""
    found = []
    for start_s in range(int(slots.start_s[0]) + DAY_S, end_s, DAY_S):
        made = forecast(Auto(), slots[slots.start_s < start_s], start_s, start_s + DAY_S)
        kwh = slots.kwh[(slots.start_s >= start_s) & (slots.start_s < start_s + DAY_S)].sum()
        found.append(WatchedDay(start_s, kwh, Expected(made.kwh, made.lower, made.upper)))
    return found


def as_rows(days: list[WatchedDay]) -> Any:
    return np.array([(day.start_s, day.kwh, *day.expected) for day in days])


def near(days: list[WatchedDay]) -> Any:
    return pytest.approx(as_rows(days), rel=1e-9)


def fill(store: SqliteStore, *ships: Slots) -> None:
    with store.transaction():
        for slots in ships:
            store.put_slots(slots, slots.emptied())


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteStore]:
    """A store of two ships, which the process finds, too."""
    monkeypatch.setenv("POWER_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("POWER_STORE", raising=False)
    store = SqliteStore(tmp_path)
    fill(store, used(1), used(2))
    yield store
    store.close()


@contextmanager
def running(of: Daily) -> Iterator[Daily]:
    of.start()
    try:
        yield of
    finally:
        of.stop()


def test_each_ship_is_compared_as_if_by_forecasts_from_scratch(store: SqliteStore) -> None:
    found = Accuracies()
    with running(Daily(store, found, AT_ONCE, lambda: NOW_S)) as of:
        until(lambda: found.of_fleet(NOW_S)[0] == 2, "both ships are compared")
        until(lambda: of._process is None, "the process has ended")
    for ship in (1, 2):
        assert as_rows(found.days(ship)) == near(compared(used(ship), END_S))
    both = accuracy_of([*compared(used(1), END_S), *compared(used(2), END_S)])
    _, fleet = found.of_fleet(NOW_S)
    assert (fleet.days, fleet.inside) == (both.days, both.inside) == (22, both.inside)
    assert fleet.wape == pytest.approx(both.wape)


def test_a_day_later_only_the_new_day_is_forecast(store: SqliteStore) -> None:
    found, clock = Accuracies(), [NOW_S - DAY_S]
    sentinel = Expected(1.0, 0.5, 2.0)
    with running(Daily(store, found, AT_ONCE, lambda: clock[0])):
        until(lambda: all(found.is_found(ship, END_S - DAY_S) for ship in (1, 2)), "the days before are compared")
        days = found.days(2)
        found.put(2, END_S - DAY_S, [days[0]._replace(expected=sentinel), *days[1:]])
        clock[0] = NOW_S
        until(lambda: all(found.is_found(ship, END_S) for ship in (1, 2)), "the new day is, too")
    assert len(found.days(2)) == len(days) + 1
    assert found.days(2)[0].expected == sentinel
    assert as_rows(found.days(2)[1:]) == near(compared(used(2), END_S)[1:])


def test_a_ship_that_ends_the_process_delays_no_other(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    found, tried = Accuracies(), list[int]()
    asked = daily._asked

    def killing(process: subprocess.Popen[str], question: tuple[int, int, list[WatchedDay]]) -> list[WatchedDay]:
        tried.append(question[0])
        if question[0] == 2:
            process.kill()
            process.wait()
        return asked(process, question)

    monkeypatch.setattr(daily, "_asked", killing)
    with running(Daily(store, found, AT_ONCE, lambda: NOW_S)):
        until(lambda: found.is_found(1, END_S), "the other ship is compared")
        fill(store, used(3))
        until(lambda: found.is_found(3, END_S), "a new one, too")
    assert tried == [2, 1, 3]
    assert found.of_ship(2, NOW_S) is None


def test_while_the_store_does_not_answer_each_ship_waits(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Accuracies()
    monkeypatch.setenv("POWER_STORE", "influxdb")
    monkeypatch.setenv("INFLUXDB_URL", "http://127.0.0.1:9")
    of = Daily(store, found, AT_ONCE, lambda: NOW_S)
    with pytest.raises(daily.Ended, match="status 1"):
        of._compare(END_S)
    monkeypatch.setenv("POWER_STORE", "embedded")
    with running(of):
        until(lambda: found.of_fleet(NOW_S)[0] == 2, "both ships are compared")


def test_to_stop_ends_a_pause_and_the_process(store: SqliteStore) -> None:
    found = Accuracies()
    with running(Daily(store, found, RESTING, lambda: NOW_S)) as of:
        until(lambda: found.is_found(2, END_S), "the first ship is compared")
        process = of._process
        assert process is not None
        assert process.poll() is None
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
    until(lambda: process.poll() is not None, "the process has ended")
    assert not of._thread.is_alive()
    assert not found.is_found(1, END_S)


def test_to_stop_ends_a_process_that_hangs(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    halted, asked = list[subprocess.Popen[str]](), daily._asked

    def halting(process: subprocess.Popen[str], question: tuple[int, int, list[WatchedDay]]) -> list[WatchedDay]:
        process.send_signal(signal.SIGSTOP)
        halted.append(process)
        return asked(process, question)

    monkeypatch.setattr(daily, "_asked", halting)
    with running(Daily(store, Accuracies(), AT_ONCE, lambda: NOW_S)):
        (process,) = until(lambda: halted, "the process hangs")
    try:
        until(lambda: process.poll() is not None, "the process has ended")
    finally:
        process.kill()


def test_without_ships_there_is_no_process(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    polls, started = list[int](), list[str]()

    def none(_window: Window, count: int) -> list[ShipEnergy]:
        polls.append(count)
        return []

    monkeypatch.setattr(store, "top_ships", none)
    monkeypatch.setattr(daily, "_started", lambda: started.append("a process"))
    with running(Daily(store, Accuracies(), AT_ONCE, lambda: NOW_S)):
        until(lambda: len(polls) > 2, "it has looked for ships")
    assert started == []


@pytest.mark.usefixtures("store")
def test_the_process_ends_with_its_input() -> None:
    command = [sys.executable, "-m", "query_api.watcher"]
    done = subprocess.run(command, check=False, input=f"[1, {END_S}, []]\n", capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


def test_ships_and_metrics_tell_what_was_found(
    tmp_path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    today_s = due_s(now_us() / US_PER_S)
    slots = used(4, today_s - DAYS * DAY_S)
    fill(store, slots)
    with store.transaction():
        store.put_readings(as_columns([(ship, today_s * US_PER_S, 1.0, False, 0) for ship in (1, 4)]))
    expected = accuracy_of(compared(slots, today_s))
    monkeypatch.setattr(service, "Daily", partial(Daily, pace=AT_ONCE))
    registry = CollectorRegistry()

    def metrics() -> list[float | None]:
        return [registry.get_sample_value(f"power_forecast_{name}") for name in ("watched_ships", "wape", "coverage")]

    with service.query_service(QuerySettings.load({"POWER_DATA_DIR": str(tmp_path)}), registry) as queries:
        client = make_app(*queries.routes, access=anybody).test_client()
        assert client.get("/ships/4").get_json()["forecast_accuracy"] is None
        assert metrics() == pytest.approx([0, nan, nan], nan_ok=True)
        queries.begin()
        told = until(lambda: client.get("/ships/4").get_json()["forecast_accuracy"], "the ship is compared")
        assert (told["days"], expected.days) == (DAYS - 1, DAYS - 1)
        assert [told["wape"], told["coverage"]] == pytest.approx([expected.wape, expected.coverage], abs=1e-4)
        assert metrics() == pytest.approx([1, expected.wape, expected.coverage])
        assert client.get("/ships/1").get_json()["forecast_accuracy"] is None
        answer = client.get("/forecast/accuracy?spaceship_id=4").get_json()
        assert {name: answer[name] for name in told} == told


def test_it_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = list[str]()
    monkeypatch.setattr(Daily, "start", lambda _: begun.append("daily"))
    for value in ("false", "true"):
        settings = QuerySettings.load({"POWER_DATA_DIR": str(tmp_path), "POWER_WATCH_FORECASTS": value})
        with service.query_service(settings, CollectorRegistry()) as queries:
            queries.begin()
        assert begun == ["daily"] * (value == "true")

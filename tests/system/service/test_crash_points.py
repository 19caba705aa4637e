"""Gateway and worker dying between every two durable steps: started again, they lose nothing and count nothing twice.

The points have their names in tests/support/crash_points.py. Each is tested here, by its name.
"""

import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from shared.domain.slots import DEFAULT_MAX_GAP_US
from tests.support.crash_points import POINTS
from tests.support.influxdb import InfluxDb
from tests.support.processes import Processes, Ship
from tests.support.servers import ForgetfulBroker, started
from tests.support.ship_load import Load, batch, rows


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[ForgetfulBroker]:
    with started(ForgetfulBroker(tmp_path / "broker")) as broker:
        yield broker


@pytest.fixture
def ship(forgetful: ForgetfulBroker) -> Iterator[Ship]:
    ship = Ship(forgetful.port)
    yield ship
    ship.leave()


def die_and_go_on(processes: Processes, ship: Ship, *, gateway: str = "", worker: str = "") -> None:
    """Send, correct and repeat batches while one of them dies at a point; then look at what is stored.

    The worker stands still at first, so that several messages, one of them bad, are in its hands at once.
    """
    processes.worker.start(worker)
    processes.gateway.start(gateway)
    live_on(processes, ship)


def live_on(processes: Processes, ship: Ship) -> None:
    """Do so with processes that run, or are dead by now."""
    load = Load(processes, ship)
    first, bad = batch(1, (0, 4.0), (10, 5.0), (40, 6.0)), batch(1, (5, -1.0))
    undated = batch(2, (0, 8.0), (20, 9.0))
    processes.worker.send_signal(signal.SIGSTOP)
    load.post(first)
    load.post(bad)
    load.publish(undated)
    load.send()
    processes.worker.send_signal(signal.SIGCONT)
    load.settle()
    correction, later = batch(1, (10, 1.0), (25, 2.0)), batch(2, (20, 3.0), (50, 3.0))
    load.post(correction)
    load.publish(later)
    load.settle()
    load.post(first)
    load.publish(undated)
    load.settle()
    assert (processes.outcome(first), processes.outcome(correction), processes.outcome(bad)) == (
        "stored",
        "stored",
        "rejected",
    )
    assert {status for each in ship.receipts.values() for status in each} == {"stored"}
    (letter,) = processes.dead_letters()
    assert bad["batch_id"].encode() in letter.payload
    processes.check(
        [
            *rows(first, (0, 10, 40), 1),
            *rows(correction, (10, 25), 2),
            *rows(undated, (0, 20), 1),
            *rows(later, (20, 50), 2),
        ],
        DEFAULT_MAX_GAP_US,
    )


@pytest.mark.parametrize("point", POINTS["ingest_api", "embedded"])
def test_a_gateway_that_dies_there_loses_nothing(
    tmp_path: Path, forgetful: ForgetfulBroker, ship: Ship, point: str
) -> None:
    processes = Processes(tmp_path / "data", broker=forgetful)
    try:
        die_and_go_on(processes, ship, gateway=point)
    finally:
        processes.stop()


@pytest.mark.parametrize("point", POINTS["normalizer_worker", "embedded"])
def test_a_worker_that_dies_there_loses_nothing(
    tmp_path: Path, forgetful: ForgetfulBroker, ship: Ship, point: str
) -> None:
    processes = Processes(tmp_path / "data", broker=forgetful)
    try:
        die_and_go_on(processes, ship, worker=point)
    finally:
        processes.stop()


@pytest.mark.parametrize("point", POINTS["normalizer_worker", "influxdb"])
def test_a_worker_that_dies_there_on_influxdb_loses_nothing(  # noqa: PLR0913, PLR0917  # pytest's fixtures
    tmp_path: Path, forgetful: ForgetfulBroker, ship: Ship, influxdb: InfluxDb, database: str, point: str
) -> None:
    environ = {"POWER_STORE": "influxdb", **influxdb.environ(database)}
    processes = Processes(tmp_path / "data", broker=forgetful, broker_ports=None, **environ)
    try:
        die_and_go_on(processes, ship, worker=point)
    finally:
        processes.stop()


@pytest.mark.parametrize(("module", "store"), POINTS)
def test_between_any_two_steps_that_outlive_the_process_lies_a_point(  # noqa: PLR0913, PLR0917  # pytest's fixtures
    tmp_path: Path,
    forgetful: ForgetfulBroker,
    ship: Ship,
    influxdb: InfluxDb,
    database: str,
    module: str,
    store: str,
) -> None:
    """So the list of points is whole, as far as this load goes."""
    environ = {"POWER_STORE": store, **influxdb.environ(database)}
    processes = Processes(tmp_path / "data", broker=forgetful, broker_ports=None, **environ)
    try:
        processes.worker.start(tells=module == "normalizer_worker")
        processes.gateway.start(tells=module == "ingest_api")
        live_on(processes, ship)
    finally:
        processes.stop()
    passed = (processes.gateway if module == "ingest_api" else processes.worker).passed()
    for thread in {thread for _, thread, _ in passed}:
        of_thread = [(kind, name) for kind, each, name in passed if each == thread]
        assert [pair for pair in pairwise(of_thread) if pair[0][0] == pair[1][0] == "step"] == []
    assert POINTS[module, store].keys() <= {name for kind, _, name in passed if kind == "point"}

"""Gateway and worker dying between every two durable steps: started again, they lose nothing and count nothing twice.

The points have their names in tests/support/dying.py. Each is tested here, by its name.
"""

import signal
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from normalizer_worker.normalize import DEFAULT_MAX_GAP_US
from shared.moments import iso
from tests.support.apart import Apart, ForgetfulBroker, Ship
from tests.support.dying import POINTS
from tests.support.influxdb import InfluxDb
from tests.support.reference import Reading
from tests.support.strategies import START_US
from tests.support.waiting import until

MINUTE_US = 60_000_000
AGAIN_S = 1.0
"""How often a ship repeats what has no receipt."""


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[ForgetfulBroker]:
    broker = ForgetfulBroker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def ship(forgetful: ForgetfulBroker) -> Iterator[Ship]:
    ship = Ship(forgetful.port)
    yield ship
    ship.leave()


def batch(of: int, *values: tuple[int, float], **members: Any) -> dict[str, Any]:
    """Make one of kW, its moments in minutes."""
    data = [{"datetime": iso(START_US + minute * MINUTE_US), "value": value} for minute, value in values]
    return {"spaceship_id": of, "units": "kW", "batch_id": str(uuid4()), "data": data, **members}


def rows(sent: dict[str, Any], minutes: Sequence[int], order: int) -> list[Reading]:
    """Give what the reference needs of a batch, and when it was sent, counted in batches."""
    values = [each["value"] for each in sent["data"]]
    return [
        Reading(sent["spaceship_id"], START_US + minute * MINUTE_US, value, False, order)
        for minute, value in zip(minutes, values, strict=True)
    ]


class Load:
    """What ships send until they know that they may stop: on HTTP until the answer, on MQTT until the receipt."""

    def __init__(self, apart: Apart, ship: Ship) -> None:
        self._apart, self._ship = apart, ship
        self._unanswered: list[dict[str, Any]] = []
        self._posted: list[dict[str, Any]] = []
        self._published: dict[str, dict[str, Any]] = {}
        self._again_s = 0.0

    def post(self, sent: dict[str, Any]) -> None:
        self._unanswered.append(sent)
        self._posted.append(sent)

    def publish(self, sent: dict[str, Any]) -> None:
        self._published[sent["batch_id"]] = sent
        self._ship.receipts.pop(sent["batch_id"], None)

    def send(self) -> None:
        """Send once what has no answer yet."""
        if time.monotonic() >= self._again_s:
            self._again_s = time.monotonic() + AGAIN_S
            for sent in self._without_receipt():
                self._ship.send(sent)
        for sent in list(self._unanswered):
            if self._apart.post(sent):
                self._unanswered.remove(sent)
                self._apart.gateway.let_die()

    def _without_receipt(self) -> list[dict[str, Any]]:
        return [sent for name, sent in self._published.items() if name not in self._ship.receipts]

    def settle(self) -> None:
        """Send until all is answered, stored or rejected, whoever dies on the way."""

        def is_settled() -> bool:
            have_died = self._apart.gateway.revive() & self._apart.worker.revive()
            self.send()
            decided = all(self._apart.fate(sent) in {"stored", "rejected"} for sent in self._posted)
            return have_died and decided and not self._without_receipt() and self._apart.outbox_batches() == 0

        until(is_settled, "all is stored, and whoever was to die has died", 60)


def die_and_go_on(apart: Apart, ship: Ship, *, gateway: str = "", worker: str = "") -> None:
    """Send, correct and repeat batches while one of them dies at a point; then look at what is stored.

    The worker stands still at first, so that several messages, one of them bad, are in its hands at once.
    """
    apart.worker.start(worker)
    apart.gateway.start(gateway)
    live_on(apart, ship)


def live_on(apart: Apart, ship: Ship) -> None:
    """Do so with processes that run, or are dead by now."""
    load = Load(apart, ship)
    first, bad = batch(1, (0, 4.0), (10, 5.0), (40, 6.0)), batch(1, (5, -1.0))
    undated = batch(2, (0, 8.0), (20, 9.0))
    apart.worker.send_signal(signal.SIGSTOP)
    load.post(first)
    load.post(bad)
    load.publish(undated)
    load.send()
    apart.worker.send_signal(signal.SIGCONT)
    load.settle()
    correction, later = batch(1, (10, 1.0), (25, 2.0)), batch(2, (20, 3.0), (50, 3.0))
    load.post(correction)
    load.publish(later)
    load.settle()
    load.post(first)
    load.publish(undated)
    load.settle()
    assert (apart.fate(first), apart.fate(correction), apart.fate(bad)) == ("stored", "stored", "rejected")
    assert {status for each in ship.receipts.values() for status in each} == {"stored"}
    (letter,) = apart.dead_letters()
    assert bad["batch_id"].encode() in letter.payload
    apart.check(
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
    apart = Apart(tmp_path / "data", broker=forgetful)
    try:
        die_and_go_on(apart, ship, gateway=point)
    finally:
        apart.stop()


@pytest.mark.parametrize("point", POINTS["normalizer_worker", "embedded"])
def test_a_worker_that_dies_there_loses_nothing(
    tmp_path: Path, forgetful: ForgetfulBroker, ship: Ship, point: str
) -> None:
    apart = Apart(tmp_path / "data", broker=forgetful)
    try:
        die_and_go_on(apart, ship, worker=point)
    finally:
        apart.stop()


@pytest.mark.parametrize("point", POINTS["normalizer_worker", "influxdb"])
def test_a_worker_that_dies_there_on_influxdb_loses_nothing(  # noqa: PLR0913, PLR0917  # pytest's fixtures
    tmp_path: Path, forgetful: ForgetfulBroker, ship: Ship, influxdb: InfluxDb, database: str, point: str
) -> None:
    if POINTS["normalizer_worker", "influxdb"][point].among_others:
        influxdb.write(database, ['workers worker="another",here=true'])
    apart = Apart(
        tmp_path / "data", broker=forgetful, POWER_STORE="influxdb", INFLUXDB_URL=influxdb.url, INFLUXDB_BUCKET=database
    )
    try:
        die_and_go_on(apart, ship, worker=point)
    finally:
        apart.stop()


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
    apart = Apart(
        tmp_path / "data", broker=forgetful, POWER_STORE=store, INFLUXDB_URL=influxdb.url, INFLUXDB_BUCKET=database
    )
    try:
        apart.worker.start(tells=module == "normalizer_worker")
        apart.gateway.start(tells=module == "ingest_api")
        live_on(apart, ship)
    finally:
        apart.stop()
    passed = (apart.gateway if module == "ingest_api" else apart.worker).passed()
    for thread in {thread for _, thread, _ in passed}:
        of_thread = [(kind, name) for kind, each, name in passed if each == thread]
        assert [pair for pair in pairwise(of_thread) if pair[0][0] == pair[1][0] == "step"] == []
    expected = {name for name, each in POINTS[module, store].items() if not each.among_others}
    assert expected <= {name for kind, _, name in passed if kind == "point"}

"""Several workers at one broker or on one data folder: one works, the others stand by, and none ends its session."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import urllib3

from normalizer_worker.mqtt import session, standby
from normalizer_worker.mqtt.session import Connection
from normalizer_worker.mqtt.standby import Turn
from power_cli.up import ROOT
from shared.contract.topics import ALL_READINGS
from shared.domain.errors import Unavailable
from tests.support.servers import HOST, Broker, free_port
from tests.support.waiting import until

DEADLINE_S = 30


class WorkerProcess:
    """A real worker, and what it says of itself."""

    def __init__(self, folder: Path, broker: Broker, log: Path) -> None:
        """Start it."""
        self._log, self._port = log, free_port()
        environ = {
            **os.environ,
            "POWER_DATA_DIR": str(folder),
            "POWER_MQTT_PORT": str(broker.port),
            "POWER_WORKER_HTTP_PORT": str(self._port),
            "PYTHONPATH": str(ROOT),
        }
        with log.open("ab") as stderr:
            command = [sys.executable, "-P", "-m", "normalizer_worker"]
            self._process = subprocess.Popen(command, env=environ, stderr=stderr)

    def checks(self) -> Mapping[str, Any]:
        """Give the answer of /readyz; nothing where there is none yet."""
        try:
            answer = urllib3.request("GET", f"http://{HOST}:{self._port}/readyz", retries=False, timeout=5)
        except urllib3.exceptions.HTTPError:
            return {}
        found: Mapping[str, Any] = answer.json()
        assert answer.status == (200 if found["ready"] else 503)
        return found

    def works(self) -> bool:
        return bool(self.checks().get("ready"))

    def stands_by(self) -> bool:
        return any(name.startswith("standing by: worker ") for name in self.checks().get("checks", ()))

    def said(self) -> str:
        return self._log.read_text("utf-8")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self._process.send_signal(number)
        return self._process.wait(DEADLINE_S)


@pytest.fixture
def workers(tmp_path: Path, broker: Broker) -> Iterator[dict[str, WorkerProcess]]:
    """Start workers by name; the first letter names the data folder."""
    started: dict[str, WorkerProcess] = {}

    class Starting(dict[str, WorkerProcess]):
        def __missing__(self, name: str) -> WorkerProcess:
            started[name] = self[name] = WorkerProcess(tmp_path / name[0], broker, tmp_path / f"{name}.log")
            return self[name]

    yield Starting()
    for each in started.values():
        each.end(signal.SIGKILL)


@pytest.mark.parametrize("second", ["b", "a2"], ids=["own data folder", "same data folder"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_second_worker_stands_by_until_the_first_is_gone(
    workers: dict[str, WorkerProcess], second: str, how: signal.Signals
) -> None:
    first = workers["a"]
    until(first.works, "the first works", deadline_s=DEADLINE_S)
    other = workers[second]
    until(other.stands_by, "the second stands by", deadline_s=DEADLINE_S)
    assert first.works()
    assert first.said().count("connected to the broker") == 1
    first.end(how)
    until(other.works, "the second works", deadline_s=DEADLINE_S)
    assert not other.stands_by()
    assert other.said().count("standing by: worker ") == 1


def test_of_two_that_start_at_once_one_works_and_both_stay_what_they_are(workers: dict[str, WorkerProcess]) -> None:
    both = [workers["a"], workers["b"]]
    until(
        lambda: sorted((each.works(), each.stands_by()) for each in both) == [(False, True), (True, False)], "one works"
    )
    connected = sum(each.said().count("connected to the broker") for each in both)
    worker = next(each for each in both if each.works())
    worker.end(signal.SIGKILL)
    other = next(each for each in both if each is not worker)
    until(other.works, "the other works", deadline_s=DEADLINE_S)
    assert sum(each.said().count("connected to the broker") for each in both) == connected + 1


def test_one_that_stands_by_can_be_ended(workers: dict[str, WorkerProcess]) -> None:
    until(workers["a"].works, "the first works", deadline_s=DEADLINE_S)
    until(workers["b"].stands_by, "the second stands by", deadline_s=DEADLINE_S)
    assert workers["b"].end() == 0
    assert workers["a"].works()


# --- step by step


def nobody(_who: str) -> None:
    """Nobody should have to stand by."""
    raise AssertionError


def turn_of(broker: Broker, name: str) -> Turn:
    turn = Turn(HOST, broker.port)
    turn.name = name
    return turn


def connection(broker: Broker, turn: Turn) -> Connection:
    return Connection(HOST, broker.port, "test-worker", ALL_READINGS, 10, turn=turn)


def test_one_whose_session_is_taken_over_stands_by(broker: Broker) -> None:
    """Both started at once."""
    one, other = turn_of(broker, "1 here"), turn_of(broker, "2 there")
    first = connection(broker, one)
    second = connection(broker, other)
    with pytest.raises(Unavailable, match="the connection to the broker is lost"):  # Mosquitto 2.0 does not say why
        until(lambda: first.receive(0.1), "the first is told")
    first.close()
    told: list[str] = []
    with pytest.raises(Unavailable, match="was stopped while it stood by"):
        one.wait(told.append, lambda: bool(told))
    assert told == ["worker 2 there has the session"]
    second.close()
    one.wait(nobody, lambda: False)


def test_one_that_comes_back_does_not_wait_for_itself(broker: Broker) -> None:
    """Its first connection is lost, and the broker has not noticed; or the broker was killed, and kept the record."""
    first = connection(broker, turn_of(broker, "1 here"))
    turn_of(broker, "1 elsewhere").wait(nobody, lambda: False)
    first.close()


def test_a_record_that_nobody_renews_expires(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that was killed does not send last wills; what it has kept must not keep others out for ever."""
    monkeypatch.setattr(standby, "EXPIRES_S", 2)
    left = connection(broker, turn_of(broker, "1 here"))
    told: list[str] = []
    turn_of(broker, "2 there").wait(told.append, lambda: False)
    assert told
    left.close()


@pytest.fixture
def holder(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """One that has the session, and a record that soon expires."""
    monkeypatch.setattr(session, "KEEPALIVE_S", 1)
    monkeypatch.setattr(standby, "RENEW_S", 0.0)
    monkeypatch.setattr(standby, "EXPIRES_S", 2)
    holder = connection(broker, turn_of(broker, "1 here"))
    yield holder
    holder.close()


def stand_by(broker: Broker, meanwhile: Callable[[], object]) -> None:
    """Stand by for twice as long as a record counts; return earlier if there is none."""
    until_s = time.monotonic() + 4

    def stopping() -> bool:
        meanwhile()
        return time.monotonic() > until_s

    turn_of(broker, "2 there").wait(lambda _: None, stopping)


def test_a_record_is_renewed_while_its_holder_reads(broker: Broker, holder: Connection) -> None:
    with pytest.raises(Unavailable, match="was stopped"):
        stand_by(broker, lambda: holder.receive(0.0))


def test_a_record_is_renewed_while_its_holder_stores(broker: Broker, holder: Connection) -> None:
    with pytest.raises(Unavailable, match="was stopped"), holder.kept_alive():
        stand_by(broker, lambda: None)

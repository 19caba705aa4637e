"""Two worker processes on one InfluxDB, handling the same ships at once, halted and killed: all is right in the end."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from normalizer_worker.rule.normalize import DEFAULT_MAX_GAP_US
from power_cli.up import ROOT
from shared.domain.slots import Slots, Window
from shared.store.influx.server import Account
from shared.store.influx.store import InfluxStore
from tests.support import reference
from tests.support.comparing import assert_same
from tests.support.influxdb import InfluxDb
from tests.support.reference import Reading
from tests.support.servers import HOST, Broker
from tests.support.store_contract import assert_roll_ups
from tests.support.waiting import until, until_holds
from tests.system.service.test_worker_killed import SHIPS, batches, wire

PROGRAM = """
from normalizer_worker import revisits
from normalizer_worker.__main__ import main
from shared.runtime.process import run

revisits.AFTER_S = 15.0
run(main)
"""
"""The worker; but nobody here is halted for so long that what was prepared with it comes later than this."""
SIGNALS = (signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL)


class WorkerProcess:
    """A real worker, with a broker and a data folder of its own."""

    def __init__(self, folder: Path, influxdb: InfluxDb, database: str) -> None:
        self.broker = Broker(folder / "mosquitto")
        self.broker.start()
        self._folder = folder
        self._environ = {
            **os.environ,
            "POWER_STORE": "influxdb",
            "INFLUXDB_URL": influxdb.url,
            "INFLUXDB_BUCKET": database,
            "POWER_DATA_DIR": str(folder),
            "POWER_MQTT_PORT": str(self.broker.port),
            "POWER_WORKER_HTTP_PORT": "0",
            "PYTHONPATH": str(ROOT),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(0)

    def start(self) -> None:
        ready, told = os.pipe()
        command = [sys.executable, "-P", "-c", PROGRAM]
        with (self._folder / "worker.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env={**self._environ, "POWER_READY_FD": str(told)}, stderr=log, pass_fds=[told]
            )
        os.close(told)
        with os.fdopen(ready) as pipe:
            assert pipe.readline() == "ready\n", (self._folder / "worker.log").read_text()
        if not self._client.is_connected():
            self._client.connect(HOST, self.broker.port)
            self._client.loop_start()
            until(self._client.is_connected, "a sender is connected")

    def send(self, batch: list[Reading]) -> None:
        """Have the broker take a batch."""
        topic = f"ships/{batch[0].ship}/readings"
        self._client.publish(topic, json.dumps(wire(batch)), qos=1).wait_for_publish(20)

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait(20)
            self.start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(40)
        self.broker.stop()


@pytest.fixture
def workers(tmp_path: Path, influxdb: InfluxDb, database: str) -> Iterator[list[WorkerProcess]]:
    with ExitStack() as stack:
        found = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            worker = WorkerProcess(tmp_path / name, influxdb, database)
            stack.callback(worker.stop)
            worker.start()
            found.append(worker)
        yield found


@pytest.mark.parametrize("seed", [1, 2])
def test_two_workers_that_handle_the_same_ships_at_once_end_with_the_right_slots(
    workers: list[WorkerProcess], influxdb: InfluxDb, database: str, seed: int
) -> None:
    """Each moment is corrected through one of them only: what becomes of the others is settled minutes later.

    (See the interleaved workers in tests/system/influxdb, where these pass at once.)
    """
    rng = random.Random(seed)
    sent: list[Reading] = []
    for batch in batches(seed):
        for part, worker in enumerate(workers):
            rows = [row for row in batch if row.moment_us // 60_000_000 % 2 == part]
            if rows:
                worker.send(rows)
                sent += rows
        if rng.random() < 0.05:
            rng.choice(workers).send_signal(rng.choice(SIGNALS))
    for worker in workers:
        worker.send_signal(signal.SIGCONT)
    expected = reference.slots(sent, DEFAULT_MAX_GAP_US)
    with closing(InfluxStore(Account(influxdb.url, database))) as store:

        def check() -> None:
            assert_same(Slots.concat([store.slots(ship, Window()) for ship in SHIPS]), expected)
            assert_roll_ups(store, expected)

        until_holds(check, deadline_s=60)

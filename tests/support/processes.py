"""Gateway, broker and worker as processes of their own, of which each can die and be started again by itself."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import urllib3
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from normalizer_worker.ledger.dead_letter import DeadLetter
from normalizer_worker.ledger.dead_letters import DeadLetters
from power_cli.up import ROOT
from shared.domain.readings import Readings
from shared.domain.slots import Slots, Window
from shared.runtime.settings import StoreSettings
from shared.store.choice import open_store
from tests.support import reference
from tests.support.comparing import assert_same
from tests.support.crash_points import SAID, TOLD
from tests.support.metrics import samples
from tests.support.reference import Reading
from tests.support.servers import HOST, Broker, free_port
from tests.support.store_contract import assert_roll_ups
from tests.support.strategies import DAY_US, START_US
from tests.support.waiting import until

PATIENCE_S = 5


class PowerProcess:
    """One of the services, as compose runs it; or as it dies at a point."""

    def __init__(self, module: str, environ: Mapping[str, str], log: Path) -> None:
        """Prepare; `start` starts it."""
        self._module, self._log = module, log
        self._environ = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
        self._process: subprocess.Popen[bytes] | None = None
        self._point = ""

    def start(self, point: str = "", *, tells: bool = False) -> None:
        """Start it, to die at a point or not at all, and wait until it is ready, or dead.

        Args:
            point: where it dies.
            tells: whether it tells of all points instead.

        """
        self._point = point
        dying = ["tests.support.crash_points", self._module, *([point] if point else [])]
        what = dying if point or tells else [self._module]
        ready, told = os.pipe()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", *what],
                env={**self._environ, "POWER_READY_FD": str(told)},
                stdin=subprocess.PIPE,
                stderr=log,
                pass_fds=[told],
            )
        os.close(told)
        with os.fdopen(ready) as pipe:
            assert pipe.readline() or point, self.said()

    def said(self) -> str:
        """Give its log."""
        return self._log.read_text("utf-8")

    def passed(self) -> list[tuple[str, str, str]]:
        """Give what it has told of: step or point, in which thread, and its name."""
        lines = self.said().splitlines()
        return [tuple(json.loads(line.removeprefix(TOLD))) for line in lines if line.startswith(TOLD)]

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        assert self._process is not None
        self._process.send_signal(number)

    def let_die(self) -> None:
        """Have it die, where it waits at its point for that."""
        assert self._process is not None
        if self._process.stdin is not None:
            self._process.stdin.close()

    def revive(self) -> bool:
        """Start it again, as it always is, if it has died at its point; tell whether that is so by now."""
        assert self._process is not None
        if self._point and self._process.poll() is not None:
            assert self._process.returncode == -signal.SIGKILL, self.said()
            assert self.said().splitlines()[-1] == f"{SAID}{self._point}"
            self.let_die()
            self.start()
        assert self._process.poll() is None, self.said()
        return not self._point

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it, if it runs."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self.let_die()
            self._process.wait(40)
            self._process = None


class Ship:
    """A ship on MQTT: it keeps its batches until their receipts, and hears of those of others."""

    def __init__(self, port: int, *, listens: bool = False) -> None:
        """Connect to a broker; to listen is to count what comes by, and then no message is without a subscriber."""
        topics = [("ships/+/receipts", 1), *([("ships/+/readings", 1)] if listens else [])]
        self.receipts: dict[str, list[str]] = {}
        """What was said of each batch, by its name."""
        self.copies = 0
        """How many messages with readings have come by the broker."""
        self._client = client = Client(CallbackAPIVersion.VERSION2)
        subscribed: list[object] = []
        client.on_subscribe = lambda *_: subscribed.append(1)
        client.on_message = lambda _client, _userdata, message: self._hear(message)
        client.on_connect = lambda *_: (client.subscribe(topics), None)[1]
        client.reconnect_delay_set(1, 1)
        client.connect(HOST, port)
        client.loop_start()
        until(lambda: subscribed, "a ship is connected")

    def _hear(self, message: MQTTMessage) -> None:
        if message.topic.endswith("/readings"):
            self.copies += 1
            return
        receipt = json.loads(message.payload)
        self.receipts.setdefault(receipt["batch_id"], []).append(receipt["status"])

    def send(self, batch: Mapping[str, Any]) -> None:
        """Publish a batch, without waiting for anything."""
        self._client.publish(f"ships/{batch['spaceship_id']}/readings", json.dumps(batch).encode(), qos=1)

    def leave(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


class Processes:
    """All of them, on one data folder, with a store of their own."""

    def __init__(
        self, folder: Path, *, broker: Broker, broker_ports: tuple[int, int] | None = None, **store: str
    ) -> None:
        """Prepare.

        Args:
            folder: where everything is kept.
            broker: the broker; it must run.
            broker_ports: at which gateway and worker look for the broker, where that is not the broker's own.
            store: settings of the store.

        """
        at_gateway, at_worker = broker_ports or (broker.port, broker.port)
        self.port = free_port()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._settings = {"POWER_DATA_DIR": str(folder), **store}
        gateway = {
            "POWER_MQTT_PORT": str(at_gateway),
            "POWER_HTTP_PORT": str(self.port),
            "POWER_ALLOW_NEGATIVE": "true",
        }
        worker = {"POWER_MQTT_PORT": str(at_worker), "POWER_WORKER_HTTP_PORT": "0"}
        self.gateway = PowerProcess("ingest_api", {**self._settings, **gateway}, folder / "gateway.log")
        self.worker = PowerProcess("normalizer_worker", {**self._settings, **worker}, folder / "worker.log")
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(PATIENCE_S))

    def stop(self) -> None:
        """Stop both."""
        self._http.clear()
        self.gateway.stop()
        self.worker.stop()

    def request(self, method: str, path: str, batch: Any = None) -> urllib3.BaseHTTPResponse | None:
        """Ask the gateway; None where it does not answer."""
        body = None if batch is None else json.dumps(batch).encode()
        try:
            return self._http.request(
                method, f"http://{HOST}:{self.port}{path}", body=body, headers={"Content-Type": "application/json"}
            )
        except urllib3.exceptions.HTTPError:
            return None

    def post(self, batch: Any) -> bool:
        """POST a batch; tell whether it is accepted."""
        response = self.request("POST", "/data", batch)
        assert response is None or response.status in {201, 202, 422}, response.data
        return response is not None

    def outcome(self, batch: Mapping[str, Any]) -> str:
        """Give what the gateway says of a batch, an empty text where it does not answer."""
        response = self.request("GET", f"/batches/{batch['batch_id']}")
        return "" if response is None else str(response.json()["status"])

    def outbox_batches(self) -> float:
        """Tell how many wait in the outbox."""
        response = self.request("GET", "/metrics")
        return -1 if response is None else samples(response.data.decode(), "power_outbox_batches")[()]

    def dead_letters(self) -> list[DeadLetter]:
        """Give all dead letters."""
        with closing(DeadLetters(self.folder)) as letters:
            return list(letters.all())

    def check(self, rows: list[Reading], max_gap_us: int) -> None:
        """Compare readings, slots and sums with the reference's: nothing lost, nothing twice, nothing invented."""
        ships = sorted({each.ship for each in rows})
        expected = reference.slots(rows, max_gap_us)
        with closing(open_store(StoreSettings.load({"POWER_STORE": "embedded", **self._settings}))) as store:
            found = [store.readings(ship, START_US, START_US + 9 * DAY_US, 10**6) for ship in ships]
            assert stored_rows(Readings.concat(found)) == counting(rows)
            assert_same(Slots.concat([store.slots(ship, Window()) for ship in ships]), expected)
            assert_roll_ups(store, expected)


def stored_rows(readings: Readings) -> dict[tuple[int, int], tuple[float, int]]:
    """Give value and kind of every ship and moment."""
    return {(row[0], row[1]): row[2:4] for row in readings.rows()}


def counting(rows: list[Reading]) -> dict[tuple[int, int], tuple[float, int]]:
    """Give value and kind of what counts at every ship's every moment."""
    ranked = sorted(rows, key=lambda row: (row.sent_at_us, row.kind, row.value))
    return {(row.ship, row.moment_us): (row.value, row.kind) for row in ranked}

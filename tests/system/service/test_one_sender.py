"""One sender does not stop the others: neither what takes long to record, nor floods that fill the broker's memory."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.domain.timestamps import iso
from tests.support.flooding import Flood, correlation_data
from tests.support.influxdb import InfluxDb
from tests.support.processes import Processes, Ship
from tests.support.servers import Broker, started
from tests.support.ship_load import Load, batch
from tests.support.strategies import DAY_US, START_US
from tests.support.waiting import until

WIDE, OTHER, POSTING = 1, 2, 3
MIB = 2**20
BROKER_BYTES, WORKER_BYTES = 600 * MIB, 300 * MIB
FLOODS = {
    "correlation": (b"{}", correlation_data(60_000), 1, 3_000),
    "QoS 0": (b" " * 8 * MIB, b"", 0, 200),
}
FLOOD_S = 6.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with started(Broker(tmp_path / "broker")) as broker:
        yield broker


@pytest.fixture(params=["embedded", "influxdb"])
def processes(broker: Broker, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Processes]:
    store = {}
    if request.param == "influxdb":
        influxdb: InfluxDb = request.getfixturevalue("influxdb")
        database = request.getfixturevalue("database")
        store = {"POWER_STORE": "influxdb", **influxdb.environ(database)}
    processes = Processes(tmp_path / "data", broker=broker, broker_ports=None, **store)
    processes.worker.start()
    processes.gateway.start()
    yield processes
    processes.stop()


def wide(number: int) -> dict[str, Any]:
    """Make a batch of 2,000 readings a day processes: some 190,000 slots, and as many stretches as readings."""
    data = [{"datetime": iso(START_US + day * DAY_US + number), "value": number} for day in range(2000)]
    return {"spaceship_id": WIDE, "units": "kW", "data": data}


def await_receipt(ship: Ship, batch_id: str) -> None:
    until(lambda: ship.receipts.get(batch_id) == ["stored"], "another ship's receipt", 10)


def test_others_are_stored_between_the_parts_of_batches_that_take_long(processes: Processes, broker: Broker) -> None:
    """Each of the wide ones takes seconds, and so many of them come that they are never all done."""
    attacker, ship = Ship(broker.port), Ship(broker.port)
    for number in range(60):
        attacker.send(wide(number))
    for minute in range(5):
        attacker.send(wide(100 + minute))
        sent = batch(OTHER, (minute, 2.0))
        ship.send(sent)
        await_receipt(ship, sent["batch_id"])
    began_s = time.monotonic()
    processes.worker.stop()
    assert time.monotonic() - began_s < 10, "it does not finish what is left of them first"
    attacker.leave()
    ship.leave()


@pytest.mark.parametrize("processes", ["embedded"], indirect=True)
@pytest.mark.parametrize("flood", FLOODS)
def test_floods_fill_nobodys_memory_while_the_worker_is_halted(
    processes: Processes, broker: Broker, flood: str
) -> None:
    """And once it goes on, others' batches are stored: a ship repeats its own, the gateway those that it accepted."""
    payload, properties, qos, count = FLOODS[flood]
    ship, accepted = Ship(broker.port), batch(POSTING, (1, 2.0))
    load = Load(processes, ship)
    in_broker, in_worker = psutil.Process(broker.pid), psutil.Process(processes.worker.pid)
    processes.worker.send_signal(signal.SIGSTOP)
    with Flood(broker.port) as sender:
        assert sender.send(WIDE, payload, properties, qos=qos, count=count, most_s=FLOOD_S)
        load.publish(batch(OTHER, (1, 2.0)))
        load.post(accepted)
        load.send()
        peaks = [in_broker.memory_info().rss]
        processes.worker.send_signal(signal.SIGCONT)

        def is_stored() -> bool:
            load.send()
            peaks.append(in_broker.memory_info().rss)
            assert in_worker.memory_info().rss < WORKER_BYTES
            return not load._without_receipt() and processes.outcome(accepted) == "stored"

        until(is_stored, "what others have sent is stored", 60)
    assert max(peaks) < BROKER_BYTES
    ship.leave()

"""Connections that are slow, cut, or swallow what goes over them: nothing is lost, and nothing counts twice.

One service, with a wire (tests/support/fault_proxy.py) wherever one of its parts speaks to another.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from shared.domain.slots import DEFAULT_MAX_GAP_US
from tests.support.fault_proxy import CUTS, DOWN, SWALLOWS, UP, FaultProxy
from tests.support.influxdb import InfluxDb
from tests.support.processes import Processes, Ship
from tests.support.reference import Reading
from tests.support.servers import ForgetfulBroker
from tests.support.ship_load import Load, batch, rows

BATCHES = 6
DELAY_S = 0.01


class Wired:
    """The service, and its wires by their names."""

    def __init__(self, processes: Processes, ship: Ship, wires: dict[str, FaultProxy]) -> None:
        self.processes, self.ship, self.wires = processes, ship, wires
        self.rows: list[Reading] = []

    def live_on(self) -> int:
        """Send, correct and repeat batches over HTTP and over MQTT, later than all before; tell how many are sent on.

        What is posted again goes no further than the outbox.
        """
        load = Load(self.processes, self.ship)
        start = 120 * len(self.rows) // (6 * BATCHES)
        sent = []
        for order in range(BATCHES):
            # The second is corrected by the batch after the next.
            minutes = [start + each for each in (5 * order, 5 * order + 10, 60 + order)]
            for ship, send in ((1, load.post), (2, load.publish)):
                made = batch(ship, *((minute, float(1 + order + minute % 7)) for minute in minutes))
                send(made)
                sent.append(made)
                self.rows += rows(made, minutes, order)
            load.settle()
        load.post(sent[0])
        load.publish(sent[1])
        load.settle()
        return 2 * BATCHES + 1

    def check(self) -> None:
        self.processes.check(self.rows, DEFAULT_MAX_GAP_US)
        assert self.processes.dead_letters() == []
        assert {status for each in self.ship.receipts.values() for status in each} == {"stored"}


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory, influxdb: InfluxDb) -> Iterator[Wired]:
    folder = tmp_path_factory.mktemp("wired")
    broker = ForgetfulBroker(folder / "broker")
    with ExitStack() as stack:
        stack.callback(broker.stop)
        broker.start()
        ports = {"gateway": broker.port, "worker": broker.port, "influxdb": influxdb.port}
        wires = {name: stack.enter_context(FaultProxy(port)) for name, port in ports.items()}
        processes = Processes(
            folder / "data",
            broker=broker,
            broker_ports=(wires["gateway"].port, wires["worker"].port),
            POWER_STORE="influxdb",
            **influxdb.environ("wired") | {"INFLUXDB_URL": f"http://127.0.0.1:{wires['influxdb'].port}"},
        )
        stack.callback(processes.stop)
        processes.worker.start()
        processes.gateway.start()
        ship = Ship(broker.port, listens=True)
        stack.callback(ship.leave)
        yield Wired(processes, ship, wires)


@pytest.mark.parametrize("way", [UP, DOWN])
@pytest.mark.parametrize("fault", [CUTS, SWALLOWS], ids=["cuts", "swallows"])
@pytest.mark.parametrize("where", ["gateway", "worker", "influxdb"])
def test_what_is_cut_or_swallowed_on_the_way_counts_once(wired: Wired, where: str, fault: int, way: str) -> None:
    """Also in the first words of the connection after it."""
    wire = wired.wires[where]
    before, hits = wired.ship.copies, wire.hits
    wire.breaks(fault, way, [1, 2, 4])
    messages = wired.live_on()
    assert wire.is_whole
    assert wire.hits == hits + 3
    wired.check()
    if where == "gateway" and (fault, way) == (SWALLOWS, DOWN):
        assert wired.ship.copies > before + messages, "published again, since its receipt was swallowed"


@pytest.mark.parametrize("where", ["gateway", "worker", "influxdb"])
def test_what_is_slow_on_the_way_arrives(wired: Wired, where: str) -> None:
    wire = wired.wires[where]
    wire.delay_s = DELAY_S
    try:
        wired.live_on()
    finally:
        wire.delay_s = 0.0
    wired.check()

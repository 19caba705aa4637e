"""The processes of one service under chaos, where they are, and what is wrong with how they ended."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from power_cli.up import HOST
from shared.domain.errors import Unavailable
from tests.support.chaos.checker import InInfluxDb, InSqlite, Stored
from tests.support.chaos.faults import IN_GATEWAY
from tests.support.chaos.processes import Victim, broker, port, service
from tests.support.influxdb2 import is_chosen, new_influxdb
from tests.support.servers import started

DATABASE = "power"
SETTLE_S = "2"
"""On one machine nothing is under way for long."""
BEYOND_PATH = ("/usr/sbin", "/usr/local/sbin")
UNFORESEEN = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        folder: where everything is kept, empty.
        seed: of all choices.
        seconds: how long to kill and stop, at least.
        kills: how many SIGKILLs there have to be, at least.
        store: `embedded`, `influxdb` or `postgresql`: a cluster.
        fault: one of `faults.FAULTS`.

    """

    folder: Path
    seed: int
    seconds: float
    kills: int = 0
    store: str = "embedded"
    fault: str | None = None


class Scene:
    """The processes of one service, and where they are.

    Attributes:
        data: the folder of its files.
        environ: the settings of the store.
        gateway_urls: its gateways.
        query_url: its query service.
        mqtt_ports: where its broker, or each node of it, listens.
        mqtt_login: user and password of a ship; None for an anonymous one.
        stored: what is in its store.
        victims: what may be killed and halted.
        query: its query service, which is left alone.

    """

    environ: dict[str, str]
    stored: Stored
    victims: Sequence[Victim]
    query: Victim

    def __init__(self, folder: Path, gateways: int, mqtt_ports: Sequence[int]) -> None:
        """Choose the other ports."""
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.gateway_urls = [f"http://{HOST}:{port()}" for _ in range(gateways)]
        self.query_port = port()
        self.query_url = f"http://{HOST}:{self.query_port}"
        self.mqtt_ports = mqtt_ports
        self.mqtt_login: tuple[str, str] | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start them, and end them whatever happens."""
        try:
            self.start()
            yield
        finally:
            for victim in (self.query, *self.victims):
                victim.kill()

    def start(self) -> None:
        """Start all of them."""
        for each in (*self.victims, self.query):
            each.start()

    def end(self) -> Iterator[str]:
        """Ask them to end, as one does; give what is wrong with how they do."""
        for victim in (self.query, *reversed(self.victims)):
            status = victim.end()
            if status:
                yield f"{victim.name} ended with status {status}"

    def figures(self) -> Counter[str]:
        """Give what else there is to tell in the end."""
        return Counter()

    def tracebacks(self) -> Iterator[str]:
        """Give the errors in the logs that nobody has foreseen."""
        for victim in (self.query, *self.victims):
            text = victim.log.read_text("utf-8", "replace") if victim.log.exists() else ""
            if UNFORESEEN in text:
                at = text.index(UNFORESEEN)
                yield f"{victim.name} had an error that nobody has foreseen: {text[max(at - 300, 0) : at + 2000]}"


class MachineScene(Scene):
    """A service on one machine: one broker, one worker, one gateway."""

    def __init__(self, options: Options) -> None:
        """Prepare.

        Raises:
            Unavailable: a program is missing.
            InvalidSettings: Mosquitto is, and cannot be installed.

        """
        folder = options.folder
        mqtt_port = port()
        super().__init__(folder, 1, [mqtt_port])
        self.environ = {
            "POWER_STORE": options.store,
            "POWER_DATA_DIR": str(self.data),
            "POWER_MQTT_PORT": str(mqtt_port),
            "POWER_HTTP_PORT": self.gateway_urls[0].rpartition(":")[2],
            "POWER_WORKER_HTTP_PORT": "0",
        }
        self.stored = InSqlite(self.data)
        databases = [self._influxd(folder)] if options.store == "influxdb" else []
        lenient = {**self.environ, "POWER_ALLOW_NEGATIVE": "true"}
        in_gateway, in_worker = (options.fault, None) if options.fault in IN_GATEWAY else (None, options.fault)
        self.victims = [
            *databases,
            broker(folder, mqtt_port),
            service("worker", "normalizer_worker", self.environ, folder, in_worker),
            service("gateway", "ingest_api", lenient, folder, in_gateway),
        ]
        self.query = service("query", "query_api", {**self.environ, "POWER_HTTP_PORT": str(self.query_port)}, folder)

    def _influxd(self, folder: Path) -> Victim:
        if (
            not is_chosen()
            and shutil.which("influxd", path=os.pathsep.join([os.environ.get("PATH", os.defpath), *BEYOND_PATH]))
            is None
        ):
            raise Unavailable("InfluxDB 1.x is missing (`influxd`; on Debian the package `influxdb`)")
        influxdb = new_influxdb(folder / "influxdb", port())
        with started(influxdb):  # a 2.x is set up once
            self.environ |= {**influxdb.environ(DATABASE), "INFLUXDB_SETTLE_S": SETTLE_S}
        self.stored = InInfluxDb(self.data, influxdb, DATABASE)
        return Victim("influxd", influxdb.command(), {}, folder / "influxd.log", stops_at=influxdb.stops_at)

"""`./power chaos`: the real processes under load, killed and stopped at random; then everything is compared."""

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3
from tqdm import tqdm

from power_cli.up import HOST
from shared.errors import Unavailable
from tests.chaos.checker import Checker, InInfluxDb, InSqlite, Stored, check_batches
from tests.chaos.killer import Killer
from tests.chaos.ledger import Ledger
from tests.chaos.processes import Victim, broker, port, service
from tests.chaos.report import Report
from tests.chaos.senders import HttpClient, MqttShip, Orders, crew
from tests.support.influxdb import InfluxDb
from tests.support.metrics import samples

ROUND_S = 180.0
TICK_S = 0.02
SETTLE_S = 240.0
START_S = 60.0
ASKED = 2_000
DATABASE = "chaos"
IN_GATEWAY = {"gone-at-puback"}


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        folder: where everything is kept, empty.
        seed: of all choices.
        seconds: how long to kill and stop, at least.
        kills: how many SIGKILLs there have to be, at least.
        store: `embedded` or `influxdb`.
        fault: one of `faults.FAULTS`.
        quiet: show no progress bar.

    """

    folder: Path
    seed: int
    seconds: float
    kills: int = 0
    store: str = "embedded"
    fault: str | None = None
    quiet: bool = False


class Scene:
    """The processes of one service, and where they are."""

    def __init__(self, options: Options) -> None:
        """Prepare.

        Raises:
            Unavailable: a program is missing.
            InvalidSettings: Mosquitto is, and cannot be installed.

        """
        folder = options.folder
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.mqtt_port, self.http_port, query_port = port(), port(), port()
        self.gateway_url, self.query_url = f"http://{HOST}:{self.http_port}", f"http://{HOST}:{query_port}"
        self.environ = {
            "POWER_STORE": options.store,
            "POWER_DATA_DIR": str(self.data),
            "POWER_MQTT_PORT": str(self.mqtt_port),
            "POWER_HTTP_PORT": str(self.http_port),
            "POWER_WORKER_HTTP_PORT": "0",
        }
        self.stored: Stored = InSqlite(self.data)
        databases = [self._influxd(folder)] if options.store == "influxdb" else []
        lenient = {**self.environ, "POWER_ALLOW_NEGATIVE": "true"}
        in_gateway, in_worker = (
            (options.fault, None) if options.fault in IN_GATEWAY else (None, options.fault)
        )
        self.victims = [
            *databases,
            broker(folder, self.mqtt_port),
            service("worker", "normalizer_worker", self.environ, folder, in_worker),
            service("gateway", "ingest_api", lenient, folder, in_gateway),
        ]
        self.query = service("query", "query_api", {**self.environ, "POWER_HTTP_PORT": str(query_port)}, folder)

    def _influxd(self, folder: Path) -> Victim:
        if shutil.which("influxd") is None:
            raise Unavailable("InfluxDB 1.x is missing (influxd; on Debian the package `influxdb`)")
        influxdb = InfluxDb(folder / "influxdb", port())
        self.environ |= {"INFLUXDB_URL": influxdb.url, "INFLUXDB_BUCKET": DATABASE}
        self.stored = InInfluxDb(influxdb, DATABASE)
        return Victim("influxd", influxdb.command(), {}, folder / "influxd.log")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start them, and end them whatever happens."""
        try:
            for victim in self.victims:
                victim.start()
            yield
        finally:
            for victim in (self.query, *self.victims):
                victim.kill()

    def end(self) -> Iterator[str]:
        """Ask them to end, as one does; give what is wrong with how they do."""
        for victim in (self.query, *reversed(self.victims)):
            status = victim.end()
            if status:
                yield f"{victim.name} ended with status {status}"

    def tracebacks(self) -> Iterator[str]:
        """Give the errors in the logs that nobody has foreseen."""
        for victim in (self.query, *self.victims):
            text = victim.log.read_text("utf-8", "replace") if victim.log.exists() else ""
            if "Traceback (most recent call last)" in text:
                at = text.index("Traceback (most recent call last)")
                yield f"{victim.name} had an error that nobody has foreseen: {text[max(at - 300, 0) : at + 2000]}"


class Run:
    """One run."""

    def __init__(self, options: Options) -> None:
        """Put it together; as `Scene`."""
        self._options = options
        self._scene = Scene(options)
        self._ledger = Ledger(options.folder / "journal.jsonl")
        self._killer = Killer(random.Random(f"{options.seed} killer"), self._scene.victims, self._ledger)
        self._orders = Orders()
        ports = (self._scene.http_port, self._scene.mqtt_port)
        self._crew: Sequence[HttpClient | MqttShip] = crew(options.seed, *ports, self._ledger, self._orders)
        self.report = Report(options.seed, options.store, options.fault)

    def run(self) -> Report:
        """Do it, and give what there is to tell."""
        began_s = time.monotonic()
        options, report = self._options, self.report
        with ExitStack() as stack:
            stack.callback(self._ledger.close)
            stack.enter_context(self._scene.running())
            bar = stack.enter_context(tqdm(total=round(options.seconds), unit="s", disable=options.quiet or None))
            try:
                while not self._ledger.differences and self._is_more():
                    self._round(bar)
                for wrong in (*self._scene.end(), *self._scene.tracebacks()):
                    self._ledger.differs(wrong)
            finally:
                report.all_s = time.monotonic() - began_s
                report.kills, report.stops = self._killer.kills, self._killer.stops
                report.counts, report.differences = self._ledger.counts, self._ledger.differences
                report.recovery_s = self._ledger.recovery.longest_s
        return report

    def _is_more(self) -> bool:
        return self.report.storm_s < self._options.seconds or self._killer.kills.total() < self._options.kills

    def _round(self, bar: "tqdm[None]") -> None:
        """Kill and stop for a while, then let everything settle, and compare."""
        self._orders.ending.clear()
        with ThreadPoolExecutor(len(self._crew)) as pool:
            working = [pool.submit(sender.work) for sender in self._crew]
            try:
                self._storm(bar, working)
                self._settle(working)
            finally:
                self._orders.ending.set()
                self._orders.giving_up.set()
        self._orders.giving_up.clear()
        for each in working:
            each.result()
        self._compare()
        self.report.rounds += 1

    def _storm(self, bar: "tqdm[None]", working: list[Future[None]]) -> None:
        began_s, before_s = time.monotonic(), self.report.storm_s
        self._killer.begin()
        while self.report.storm_s - before_s < ROUND_S and self._is_more() and not any(map(Future.done, working)):
            self._killer.tick()
            time.sleep(TICK_S)
            self.report.storm_s = before_s + time.monotonic() - began_s
            counts, kills = self._ledger.counts, self._killer.kills.total()
            bar.set_postfix_str(f"{counts['sent']:,} batches, {kills} kills", refresh=False)
            bar.update(min(int(self.report.storm_s), bar.total or 0) - bar.n)

    def _settle(self, working: list[Future[None]]) -> None:
        """Let everything run, and wait until all is answered and the outbox is empty; but not for ever."""
        began_s = time.monotonic()
        self._killer.relent()
        self._orders.ending.set()

        def is_settled() -> bool:
            return not wait(working, timeout=TICK_S).not_done and self._outbox_depth() == 0

        if not self._await(is_settled, SETTLE_S):
            depth = self._outbox_depth()
            self._ledger.differs(f"after {SETTLE_S:.0f} s not everything is stored; batches in the outbox: {depth}")
        self.report.settled_s = max(self.report.settled_s, time.monotonic() - began_s)

    def _outbox_depth(self) -> float | None:
        text = _asked(f"{self._scene.gateway_url}/metrics")
        return None if text is None else samples(text, "power_outbox_batches")[()]

    def _await(self, event: Callable[[], bool], wait_s: float) -> bool:
        deadline_s = time.monotonic() + wait_s
        while not event():
            if time.monotonic() > deadline_s:
                return False
            self._killer.tick()
            time.sleep(TICK_S)
        return True

    def _compare(self) -> None:
        scene, ledger = self._scene, self._ledger
        names = sorted(ledger.fates)
        names = random.Random(self._options.seed).sample(names, min(len(names), ASKED))
        check_batches(ledger, scene.gateway_url, names)
        if not scene.query.runs:
            scene.query.start()
        if not self._await(lambda: _asked(f"{scene.query_url}/readyz") is not None, START_S):
            ledger.differs("the query service is not ready")
            return
        self.report.compared = Checker(ledger, scene.data, scene.environ, scene.stored).check(scene.query_url)


def _asked(url: str) -> str | None:
    """Give a good answer, None where there is none."""
    try:
        with urllib3.PoolManager(retries=False) as http:
            answer = http.request("GET", url, timeout=5)
    except (urllib3.exceptions.HTTPError, OSError):
        return None
    return answer.data.decode() if answer.status == 200 else None

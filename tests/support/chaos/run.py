"""`./power chaos`: the real processes under load, killed and stopped at random; then everything is compared."""

import random
import secrets
import shutil
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import urllib3
from tqdm import tqdm

from power_cli.chaos import CLUSTER
from shared.domain.errors import PowerError
from shared.runtime.process import on_stop
from tests.support.chaos.checker import Checker, check_batches
from tests.support.chaos.cluster import ClusterScene
from tests.support.chaos.killer import Killer
from tests.support.chaos.ledger import Ledger
from tests.support.chaos.report import Report
from tests.support.chaos.scene import MachineScene, Options
from tests.support.chaos.senders import HttpClient, MqttShip, Orders, crew
from tests.support.metrics import samples

ROUND_S = 180.0
TICK_S = 0.02
SETTLE_S = 240.0
START_S = 60.0
ASKED = 2_000


def chaos(options: Options) -> Report:
    """Run once; raises as `command` does."""
    return Run(options).run()


class Run:
    """One run."""

    def __init__(self, options: Options) -> None:
        """Put it together; as `Scene`."""
        self._options = options
        self._scene = ClusterScene(options) if options.store == CLUSTER else MachineScene(options)
        self._ledger = Ledger(options.folder / "journal.jsonl")
        self._killer = Killer(random.Random(f"{options.seed} killer"), self._scene.victims, self._ledger)
        self._orders = Orders()
        self._crew: Sequence[HttpClient | MqttShip] = crew(options.seed, self._scene, self._ledger, self._orders)
        self.report = Report(options.seed, options.store, options.fault)

    def run(self) -> Report:
        """Do it, and give what there is to tell."""
        began_s = time.monotonic()
        options, report = self._options, self.report
        with ExitStack() as stack:
            stack.callback(self._ledger.close)
            stack.enter_context(self._scene.running())
            bar = stack.enter_context(tqdm(total=round(options.seconds), unit="s", disable=None))
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

    def _round(self, bar: "tqdm[NoReturn]") -> None:
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

    def _storm(self, bar: "tqdm[NoReturn]", working: list[Future[None]]) -> None:
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
        texts = [_asked(f"{url}/metrics") for url in self._scene.gateway_urls]
        return None if None in texts else sum(samples(text, "power_outbox_batches")[()] for text in texts if text)

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
        names = sorted(ledger.outcomes)
        names = random.Random(self._options.seed).sample(names, min(len(names), ASKED))
        check_batches(ledger, names)
        if not self._await(lambda: _asked(f"{scene.query_url}/readyz") is not None, START_S):
            ledger.differs("the query service is not ready")
            return
        self.report.compared = Checker(ledger, scene.environ, scene.stored).check(scene.query_url)
        self.report.figures = scene.figures()


def _asked(url: str) -> str | None:
    """Give a good answer, None where there is none."""
    try:
        with urllib3.PoolManager(retries=False) as http:
            answer = http.request("GET", url, timeout=5)
    except (urllib3.exceptions.HTTPError, OSError):
        return None
    return answer.data.decode() if answer.status == 200 else None


def command(arguments: Namespace) -> int:
    """Run as `./power chaos` is told to; the status is 1 where anything is not as it should be.

    Raises:
        Unavailable: a program is missing.
        InvalidSettings: Mosquitto is, and cannot be installed.

    """
    on_stop(_interrupt)
    arguments.data.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=arguments.data.absolute()))
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    options = Options(folder, seed, 60 * arguments.minutes, store=arguments.store, fault=arguments.plant)
    keep = True
    try:
        report = chaos(options)
        keep = bool(report.differences)
    except (KeyboardInterrupt, PowerError):
        keep = False
        raise
    finally:
        if keep:
            sys.stderr.write(f"everything is kept in {folder}\n")
        else:
            shutil.rmtree(folder)
    sys.stdout.write(report.as_text())
    if arguments.report:
        arguments.report.write_text(report.as_json(), "utf-8")
    return 1 if report.differences else 0


def _interrupt() -> None:
    """Have everything that we started ended on the way out."""
    raise KeyboardInterrupt

"""VictoriaMetrics with MetricsQL: `integrate` of power, `sum_over_time` of energy, `increase` of counters.

https://docs.victoriametrics.com/victoriametrics/metricsql/#integrate; readings are imported as JSON lines
(https://docs.victoriametrics.com/#how-to-import-data-in-json-line-format). Duplicates are removed by
`-dedup.minScrapeInterval` (https://docs.victoriametrics.com/#deduplication).
"""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.rounds import Options
from benchmarks.service import free_port
from benchmarks.truth.contenders import Answer, Method
from benchmarks.truth.contenders.requests import ask, post
from benchmarks.truth.scenarios import Scenario
from power_cli.programs import find
from power_cli.supervisor import stop
from power_cli.up import HOST
from shared.domain.errors import Unavailable
from shared.domain.readings import IS_POWER, Kind
from shared.domain.slots import SLOT_S

NAMES = ("VictoriaMetrics integrate",)
START_LIMIT_S = 30
STOP_LIMIT_S = 30
MS = 1000


@contextmanager
def methods(options: Options) -> Iterator[list[Method]]:
    """Return the method, on a server that is started."""
    with _running(Path(mkdtemp(prefix="victoria-", dir=options.folder))) as url:
        ships = count(1)
        yield [lambda scenario: _slots(url, next(ships), scenario)]


def _slots(url: str, ship: int, scenario: Scenario) -> Answer:
    """Write the readings in the order of arrival, each kind as a metric, and add up what is found of each."""
    kinds = {each.kind for each in scenario.sent}
    for kind in kinds:
        own = [each for each in scenario.sent if each.kind is kind]
        times_ms = [each.moment_s * MS for each in own]
        metric = {"__name__": kind.label, "ship": str(ship)}
        line = {"metric": metric, "values": [each.value for each in own], "timestamps": times_ms}
        post(f"{url}/api/v1/import", json.dumps(line).encode())
    post(f"{url}/internal/force_flush", b"")
    kwh: Counter[int] = Counter()
    for kind in kinds:
        window = f'{kind.label}{{ship="{ship}"}}[15m]'
        # A window is (t - 15m, t]: a millisecond earlier it has the readings of its slot and not those of the next one.
        start_s, end_s = scenario.load.start_s + SLOT_S - 1 / MS, scenario.load.end_s
        query = f"integrate({window}) / 3600" if IS_POWER[kind] else f"sum_over_time({window})"
        if kind is Kind.COUNTER_KWH:
            query = f"increase({window})"
        times = {"start": f"{start_s:.3f}", "end": str(end_s), "step": "15m", "nocache": "1"}
        for series in ask(f"{url}/api/v1/query_range", query=query, **times)["data"]["result"]:
            kwh.update({round(at_s) - SLOT_S: float(value) for at_s, value in series["values"]})
    return Answer(kwh)


@contextmanager
def _running(folder: Path) -> Iterator[str]:
    program = find("victoria-metrics", "victoria-metrics-prod")
    if program is None:
        raise Unavailable("VictoriaMetrics is missing: install Debian's package `victoria-metrics`")
    address, log = f"{HOST}:{free_port()}", folder / "log"
    options = [f"-storageDataPath={folder / 'data'}", "-retentionPeriod=100y", "-dedup.minScrapeInterval=1ms"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program, f"-httpListenAddr={address}", *options],
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C is for this process, which then stops the server
        )
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while not _answers(f"http://{address}"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"VictoriaMetrics did not start: {log.read_text('utf-8', 'replace').strip()[-500:]}")
            time.sleep(0.05)
        yield f"http://{address}"
    finally:
        stop(process, STOP_LIMIT_S)


def _answers(url: str) -> bool:
    try:
        post(f"{url}/health", b"")
    except OSError:
        return False
    return True

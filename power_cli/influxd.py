"""Runs a local InfluxDB 1.x, such as Debian's package `influxdb`, for a benchmark or a test."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

from power_cli.programs import find
from power_cli.supervisor import stop
from shared.domain.errors import Unavailable

START_LIMIT_S = 30
STOP_LIMIT_S = 30
_CONFIGURATION = """
reporting-disabled = true
bind-address = "{host}:0"  # for backups, on any free port
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[http]
  bind-address = "{host}:{port}"
  log-enabled = false
[monitor]
  store-enabled = false
[logging]
  level = "warn"
"""


@contextmanager
def running(folder: Path, host: str, port: int) -> Iterator[str]:
    """Run a server that keeps its data in a folder, with default settings; yields its URL.

    Raises:
        Unavailable: InfluxDB is not installed, or does not start.

    """
    program = find("influxd")
    if program is None:
        raise Unavailable(
            "InfluxDB is missing: set INFLUXDB_URL to a running one, or install 1.x (on Debian the package `influxdb`)"
        )
    configuration, log = folder / "influxdb.conf", folder / "influxd.log"
    configuration.write_text(_CONFIGURATION.format(folder=folder.absolute(), host=host, port=port), "utf-8")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program, "-config", str(configuration)],
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C is for this process, which then stops the server
        )
    try:
        url = f"http://{host}:{port}"
        deadline = time.monotonic() + START_LIMIT_S
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"InfluxDB did not start: {log.read_text('utf-8', 'replace').strip()[-500:]}")
            time.sleep(0.02)
        yield url
    finally:
        stop(process, STOP_LIMIT_S)


def _answers(url: str) -> bool:
    with suppress(OSError), urlopen(f"{url}/ping", timeout=1):
        return True
    return False

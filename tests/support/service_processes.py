"""The processes of a whole service, and running one to its end."""

import contextlib
import subprocess

import psutil

from tests.support.servers import Service, WatchedService
from tests.support.waiting import until

HOURLY = {
    "spaceship_id": 1,
    "units": "kWh",
    "data": [{"datetime": "2018-08-24T00:00:00Z", "value": 12}, {"datetime": "2018-08-24T01:00:00Z", "value": 26}],
}


def child(service: Service, name: str) -> psutil.Process | None:
    """Find one of its processes, if it runs, by what its command line names."""
    for each in psutil.Process(service.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie too
            if name in " ".join(each.cmdline()):
                return each
    return None


def run(service: Service, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a service that is expected to end by itself."""
    command, environment = service.command(), {**service._environ, **environ}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def process(service: WatchedService, name: str) -> psutil.Process:
    """Wait for one of its processes, by what its command line names."""
    found = until(lambda: child(service, name), name)
    assert found is not None
    return found

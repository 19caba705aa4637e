"""The InfluxDB that the tests start: what it has answered outlives a SIGKILL, and a password is asked for."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import urllib3

from tests.support.influxdb import InfluxDb
from tests.support.influxdb2 import new_influxdb
from tests.support.waiting import until

Make = Callable[..., InfluxDb]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Start servers for one test alone."""
    with ExitStack() as stack:

        def start(*, auth: bool = False) -> InfluxDb:
            server = new_influxdb(tmp_path, auth=auth)
            stack.callback(server.stop)
            server.start()
            return server

        yield start


def test_a_point_is_read_back(influxdb: InfluxDb, database: str) -> None:
    influxdb.write(database, ["energy,ship=7 kwh=1.5,covered_s=900,provisional=false 1535068800"])
    (series,) = influxdb.query("SELECT kwh, covered_s, provisional FROM energy GROUP BY ship", database)
    assert series.tags == {"ship": "7"}
    assert series.columns == {"time": [1535068800], "kwh": [1.5], "covered_s": [900], "provisional": [False]}


@pytest.mark.parametrize("auth", [False, True], ids=["open", "asking"])
def test_what_was_written_is_there_after_a_kill(make: Make, auth: bool) -> None:  # noqa: FBT001  # a case of two
    server = make(auth=auth)
    server.write(server.create("power"), ["energy,ship=7 kwh=1 0"])
    server.kill()
    server.start()
    assert server.query("SELECT kwh FROM energy", "power")
    stranger = urllib3.request("GET", f"{server.url}/query?q=SHOW+DATABASES", retries=False)
    assert stranger.status == (401 if auth or server.version > 1 else 200)


def test_one_that_hangs_goes_on_when_it_is_let(make: Make) -> None:
    server = make()
    server.send_signal(signal.SIGSTOP)
    until(lambda: not server.answers(), "it hangs")
    server.send_signal(signal.SIGCONT)
    until(server.answers, "it answers again")


def test_one_that_hangs_can_be_stopped(make: Make) -> None:
    server = make()
    server.send_signal(signal.SIGSTOP)
    server.stop()

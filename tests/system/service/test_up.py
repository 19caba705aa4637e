"""`./power up` as its user meets it: start, stop, start again, and what can go wrong."""

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import urllib3

from tests.support.flooding import Flood, user_properties
from tests.support.servers import HOST, Service
from tests.support.service_processes import HOURLY, child, run
from tests.support.waiting import until

ALL = "/data?spaceship_id=1"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Service]:
    """A service for one test alone."""
    service = Service(tmp_path / "data")
    yield service
    service.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_whole_and_starts_again_with_all_its_data(own: Service, number: signal.Signals) -> None:
    own.start()
    assert own.post(HOURLY).status == 202
    slots = until(lambda: own.get(ALL)["data"], "slots")
    processes = psutil.Process(own.pid).children(recursive=True)
    assert len(processes) == 3
    assert own.stop(number) == 0
    assert "stopping; work in progress is finished first" in own.said()
    assert not [each for each in processes if each.is_running()]
    assert not [path for path in (own.folder, *own.folder.rglob("*")) if path.stat().st_mode & 0o077], "its owner's"
    own.start()
    assert own.get(ALL)["data"] == slots
    more = {**HOURLY, "data": [{"datetime": "2018-08-24T02:00:00Z", "value": 18}]}
    assert own.post(more).status == 202
    until(lambda: len(own.get(ALL)["data"]) == 12, "slots of the reading that came after")


@pytest.mark.parametrize("name", ["mosquitto", "normalizer_worker", "power_cli.http"])
def test_a_process_that_dies_is_started_again_and_the_log_says_so(own: Service, name: str) -> None:
    own.start()
    old = child(own, name)
    assert old is not None
    old.kill()
    until(lambda: "died (SIGKILL); starting it again" in own.said(), "the log says so")

    def accepted() -> bool:
        try:
            return own.post(HOURLY).status == 202
        except urllib3.exceptions.HTTPError:
            return False

    until(accepted, "it accepts again")
    until(lambda: own.get(ALL)["data"], "it stores again")
    until(lambda: f"{name.removeprefix('power_cli.')} works again" in own.said(), "the log says so, too")
    new = child(own, name)
    assert new is not None
    assert new.pid != old.pid


def test_nothing_outlives_a_killed_supervisor(own: Service) -> None:
    own.start()
    processes = psutil.Process(own.pid).children(recursive=True)
    own.stop(signal.SIGKILL)
    until(lambda: not [each for each in processes if each.is_running()], "all children are gone")


@pytest.mark.parametrize("which", ["port", "mqtt_port"])
def test_a_taken_port_is_one_clear_line(own: Service, which: str) -> None:
    with socket.create_server((HOST, getattr(own, which))):
        ended = run(own)
    assert ended.returncode != 0
    assert ended.stderr.splitlines() == [ended.stderr.strip()]
    assert f"port {getattr(own, which)} cannot be used" in ended.stderr
    assert ("--port" if which == "port" else "--mqtt-port") in ended.stderr


def test_an_unwritable_folder_is_one_clear_line(own: Service) -> None:
    own.folder.write_text("a file where the folder should be")
    ended = run(own)
    assert ended.returncode != 0
    assert len(ended.stderr.splitlines()) == 1
    assert f"cannot write to {own.folder}" in ended.stderr


def test_a_folder_in_use_is_one_clear_line(own: Service, tmp_path: Path) -> None:
    own.start()
    ended = run(Service(tmp_path / "data"))
    assert ended.returncode != 0
    assert "in use by another ./power up" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_missing_mosquitto_that_cannot_be_installed_is_one_clear_line(own: Service, tmp_path: Path) -> None:
    """With neither Mosquitto nor any installer in sight, there is only one thing left to say."""
    hidden = tmp_path / "hide.py"
    hidden.write_text(
        "import sys, power_cli.mosquitto, power_cli.programs\n"
        "power_cli.programs._BEYOND_PATH = ()\n"
        "power_cli.mosquitto._NAMES = ('mosquitto',)\n"
        "from power_cli.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = own.command()
    command[command.index("-m") : command.index("up")] = [str(hidden)]
    environ = {**own._environ, "PATH": str(tmp_path)}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "Mosquitto is missing" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_wrong_setting_is_one_line_that_names_it(own: Service) -> None:
    ended = run(own, POWER_MAX_GAP_S="soon")
    assert ended.returncode != 0
    assert "POWER_MAX_GAP_S" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_broker_that_takes_too_much_memory_is_started_again(own: Service) -> None:
    """No limit of Mosquitto's counts the properties of messages."""
    own.start()
    worker = child(own, "normalizer_worker")
    assert worker is not None
    worker.suspend()
    assert own.post(HOURLY).status == 202
    peak = 0

    def is_started_again() -> bool:
        nonlocal peak
        with contextlib.suppress(psutil.NoSuchProcess):
            broker = child(own, "mosquitto.conf")
            peak = max(peak, broker.memory_info().rss if broker else 0)
        return "mosquitto uses more than 400 MiB of memory; killing it" in own.said()

    with contextlib.suppress(OSError), Flood(own.mqtt_port) as flood:  # whose connection ends with the broker
        while not is_started_again():
            flood.send(7, b"{}", user_properties(2 * 2**20), qos=1, count=10, most_s=5)
    until(is_started_again, "the broker is killed")
    assert peak < 600 * 2**20
    worker.resume()
    until(lambda: own.get(ALL)["data"], "what was accepted is published again", 60)

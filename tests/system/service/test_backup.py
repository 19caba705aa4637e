"""Backup and restore as the docs tell: their very lines are run, and the service then answers as before."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from power_cli.up import ROOT
from tests.support.influxdb import InfluxDb
from tests.support.influxdb2 import SERVER, InfluxDb2, is_chosen
from tests.support.servers import Service, started
from tests.support.waiting import until

HOURS = {
    "spaceship_id": 42,
    "units": "kWh",
    "data": [{"datetime": f"2019-01-05T{hour:02}:07:00Z", "value": hour} for hour in range(24)],
}
LATER = {"spaceship_id": 42, "units": "kWh", "data": [{"datetime": "2019-01-06T00:07:00Z", "value": 1000}]}
QUESTIONS = ("/data?spaceship_id=42&detail=true", "/data/fleet?detail=true", "/topusers?detail=true")


def lines(page: str, heading: str) -> list[str]:
    """Give the shell blocks under a heading of a page of the docs."""
    text = (ROOT / "docs" / page).read_text("utf-8").partition(f"{heading}\n")[2]
    section = re.split(rf"^#{{1,{heading.index(' ')}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def run(block: str, folder: Path, **environ: str) -> None:
    """Run a block in a folder that looks like the project's."""
    if not (folder / ".venv").exists():
        (folder / ".venv").symlink_to(sys.prefix)
    shell, environment = ["sh", "-euc", block], {**os.environ, **environ}
    done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def answers(service: Service) -> list[object]:
    return [service.get(question) for question in QUESTIONS]


def fill(service: Service) -> list[object]:
    """Send a day, and give the answers to it."""
    assert service.post(HOURS).status == 202
    until(lambda: len(service.get(QUESTIONS[0])["data"]) == 97, "the day is stored")
    return answers(service)


def test_a_data_folder(tmp_path: Path) -> None:
    backup, restore = lines("operating.md", "### Backup")
    service = Service(tmp_path / "data")
    service.start()
    before = fill(service)
    run(backup, tmp_path)  # while it runs
    assert service.post(LATER).status == 202
    until(lambda: answers(service) != before, "more is stored")
    assert service.stop() == 0
    run(restore, tmp_path)
    service.start()
    assert answers(service) == before
    assert service.post(LATER).status == 202, "and it goes on"
    until(lambda: answers(service) != before, "more is stored")
    assert service.stop() == 0


def test_an_influxdb_2(tmp_path: Path) -> None:
    """Restored into another one, which was set up with the same secrets."""
    if not is_chosen():
        pytest.skip(f"{SERVER} does not name an InfluxDB 2.x")
    backup, restore = lines("influxdb.md", "## Backup and restore")[2:]
    first = InfluxDb2(tmp_path / "first")
    shutil.copytree(tmp_path / "first" / "secrets", tmp_path / "second" / "secrets")
    second = InfluxDb2(tmp_path / "second")
    with started(first), started(second):
        environ = first.environ("power")
        service = Service(tmp_path / "data", store="influxdb", **environ)
        service.start()
        before = fill(service)
        assert service.stop() == 0
        run(backup, tmp_path, **first.client())
        run(restore, tmp_path, **second.client())
        again = Service(tmp_path / "data", store="influxdb", **environ | {"INFLUXDB_URL": second.url})
        again.start()
        assert answers(again) == before
        assert again.stop() == 0


@pytest.fixture
def own_influxdb(tmp_path: Path) -> InfluxDb:
    return InfluxDb(tmp_path / "influxdb")


def test_an_influxdb(tmp_path: Path, own_influxdb: InfluxDb) -> None:
    """Restored into a new, empty InfluxDB."""
    backup, restore = lines("influxdb.md", "## Backup and restore")[:2]
    own_influxdb.start()
    service = Service(tmp_path / "data", INFLUXDB_URL=own_influxdb.url, store="influxdb")
    service.start()
    before = fill(service)
    assert service.stop() == 0
    run(backup.replace("127.0.0.1:8088", f"127.0.0.1:{own_influxdb.backup_port}"), tmp_path)
    own_influxdb.stop()
    shutil.rmtree(tmp_path / "influxdb")
    own_influxdb.start()
    run(restore.replace("127.0.0.1:8088", f"127.0.0.1:{own_influxdb.backup_port}"), tmp_path)
    service.start()
    until(lambda: service.request("GET", QUESTIONS[0]).status == 200, "InfluxDB has opened what was restored")
    assert answers(service) == before
    assert service.stop() == 0
    own_influxdb.stop()

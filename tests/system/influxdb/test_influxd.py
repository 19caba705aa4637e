"""The InfluxDB that `./power bench` starts: it answers while it is needed, and ends with that."""

from pathlib import Path

import pytest
import urllib3

from power_cli import influxd, programs
from shared.domain.errors import Unavailable
from tests.support.influxdb import influxd_program
from tests.support.servers import HOST, free_port


def test_it_runs_as_long_as_it_is_needed(tmp_path: Path) -> None:
    influxd_program()
    with influxd.running(tmp_path, HOST, free_port()) as url:
        answer = urllib3.request("GET", f"{url}/ping", retries=False)
        assert answer.headers["X-Influxdb-Version"]
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", f"{url}/ping", retries=False)


def test_without_the_program_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_BEYOND_PATH", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="set INFLUXDB_URL"), influxd.running(tmp_path, HOST, free_port()):
        pass


def test_one_that_cannot_start_is_told_of_with_its_log(tmp_path: Path) -> None:
    influxd_program()
    (tmp_path / "meta").write_text("no folder", "utf-8")
    with pytest.raises(Unavailable, match=r"did not start: .*meta"), influxd.running(tmp_path, HOST, free_port()):
        pass

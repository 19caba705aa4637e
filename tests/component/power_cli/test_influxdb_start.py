"""influxdb/start.sh: whom the first start lets in, and that it passes no secret on a command line.

The server and its client are stand-ins that write down what they are told; all other programs are recorded, too.
"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from power_cli.init import make
from tests.support.influxdb2 import start_script

PROGRAMS = ("cat", "cut", "mktemp", "rm", "touch")
"""All that the script may call: nothing else is on its PATH."""
INFLUX = """\
case "$1 $2" in
    "ping ") [ -e "$DATA/influxd.bolt" ] || exit 1 ;;
    "setup --username") read -r password; read -r sure; echo "setup $password $sure $INFLUX_TOKEN" >>"$HEARD" ;;
    "v1 auth") read -r password; echo "$* $password" >>"$HEARD" ;;
    "bucket list") printf '0123\\tpower\\n' ;;
esac
[ "$1" != "${FAILING:-}" ]
"""
SERVER = f"""\
[ -n "${{INFLUXD_HTTP_BIND_ADDRESS:-}}" ] || exit 0
exec {sys.executable} -c 'import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit())
print("new", file=open(os.environ["DATA"] + "/influxd.bolt", "w"))
signal.sigtimedwait([], 60)'
"""
"""Like the real one, it ends in good order at SIGINT only."""


class Container:
    """A folder with what the script finds in its container."""

    def __init__(self, folder: Path) -> None:
        """Make the secrets, the data folder and the programs."""
        make(folder)
        self.data, self.told, self.heard = folder / "data", folder / "told", folder / "heard"
        self.data.mkdir()
        self._secrets, self._path = folder / "secrets", folder / "bin"
        self._path.mkdir()
        for name in PROGRAMS:
            self._program(name, f'exec {shutil.which(name)} "$@"\n')
        self._program("sleep", f"exec {shutil.which('sleep')} 0.05\n")
        self._program("influx", INFLUX)
        self._program("entrypoint.sh", SERVER)
        self._script = start_script(self.data, self._secrets, self._path / "entrypoint.sh")

    def start(self, **environ: str) -> int:
        """Run the script to its end, and stop all that it leaves behind, as the end of a container does."""
        self.told.unlink(missing_ok=True)
        self.heard.unlink(missing_ok=True)
        names = {"PATH": self._path, "TOLD": self.told, "HEARD": self.heard, "DATA": self.data}
        with subprocess.Popen(
            [str(shutil.which("bash")), "-c", self._script],
            env={name: str(value) for name, value in names.items()} | environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            status = process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return status

    def secret(self, name: str) -> str:
        """Return what a file in `secrets` holds."""
        return (self._secrets / name).read_text("utf-8").strip()

    def secrets(self) -> list[str]:
        """Return everything that only InfluxDB's files hold."""
        return [self.secret(file.name).rpartition(":")[2] for file in self._secrets.glob("influxdb_*")]

    def _program(self, name: str, what: str) -> None:
        file = self._path / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>"$TOLD"\n{what}', "utf-8")
        file.chmod(0o755)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_first_start_makes_the_users_of_services_and_grafana(container: Container) -> None:
    assert container.start() == 0
    read, made = "--read-bucket 0123", "v1 auth create --org power --username"
    worker, query = (container.secret(f"influxdb_{name}_token").partition(":")[2] for name in ("worker", "query"))
    admin = (container.secret(f"influxdb_admin_{what}") for what in ("password", "token"))
    assert container.heard.read_text("utf-8").splitlines() == [
        "setup {} y {}".format(*admin),
        f"{made} worker {read} --write-bucket 0123 {worker}",
        f"{made} query {read} {query}",
        f"{made} grafana {read} {container.secret('influxdb_grafana_password')}",
    ]


def test_no_secret_is_on_a_command_line(container: Container) -> None:
    assert container.start() == 0
    told = container.told.read_text("utf-8")
    assert "influx setup" in told
    assert [each for each in container.secrets() if each in told] == []


def test_later_start_only_runs_the_server(container: Container) -> None:
    container.start()
    assert container.start() == 0
    assert container.told.read_text("utf-8").splitlines()[-1] == "entrypoint.sh influxd"
    assert not container.heard.exists()


@pytest.mark.parametrize("step", ["setup", "bucket", "v1"])
def test_setup_that_was_cut_short_is_begun_anew(container: Container, step: str) -> None:
    assert container.start(FAILING=step) != 0
    (container.data / "engine").mkdir()
    assert container.start() == 0
    assert len(container.heard.read_text("utf-8").splitlines()) == 4
    assert {each.name for each in container.data.iterdir()} == {"influxd.bolt"}


def test_data_of_an_earlier_version_is_left_alone(container: Container) -> None:
    (container.data / "influxd.bolt").write_text("old", "utf-8")
    assert container.start() == 0
    assert (container.data / "influxd.bolt").read_text("utf-8") == "old"
    assert not container.heard.exists()

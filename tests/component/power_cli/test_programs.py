"""`./power test --install`, and what `./power test` tells where a program is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from power_cli import programs, rabbitmq
from power_cli.__main__ import main
from power_cli.up import ROOT
from tests.support.programs import need

LOGS = '#!/bin/sh\necho "$(basename "$0") $*" >> "{log}"\n'


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing but `apt-get` and `systemctl`, and root; both only log how they are called."""
    folder, log = tmp_path / "bin", tmp_path / "log"
    folder.mkdir()
    for name in ("apt-get", "systemctl"):
        _program(folder, name, LOGS.format(log=log))
    log.touch()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(programs, "_BEYOND_PATH", (str(tmp_path / "sbin"),))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(rabbitmq, "is_too_old", lambda: False)
    # The logging programs need a shell's own means only, and `basename`.
    (folder / "basename").symlink_to("/usr/bin/basename")
    return log


def _program(folder: Path, name: str, text: str = "#!/bin/sh\n") -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, "utf-8")
    (folder / name).chmod(0o755)


def test_missing_packages_are_installed_and_their_servers_switched_off(log: Path, tmp_path: Path) -> None:
    _program(tmp_path / "sbin", "nginx")
    _program(tmp_path / "bin", "google-chrome")
    assert main(["test", "--install"]) == 0
    update, install, *switched_off = log.read_text("utf-8").splitlines()
    assert update == "apt-get update -q"
    packages = install.removeprefix("apt-get install -q -y --no-install-recommends ").split()
    assert {"mosquitto", "influxdb", "prometheus"} <= {*packages}
    assert {"nginx", "chromium"}.isdisjoint(packages)
    assert switched_off == [f"systemctl disable --now {each}" for each in packages]


def test_nothing_is_installed_where_nothing_is_missing(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PROGRAMS", ())
    assert main(["test", "--install"]) == 0
    assert log.read_text("utf-8") == ""


def test_newer_rabbitmq_is_unpacked_where_the_systems_own_is_too_old(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[bool] = []
    monkeypatch.setattr(programs, "PROGRAMS", [each for each in programs.PROGRAMS if each.package == rabbitmq.PACKAGE])
    monkeypatch.setattr(programs, "find", lambda *_: None)
    monkeypatch.setattr(rabbitmq, "is_too_old", lambda: True)
    monkeypatch.setattr(rabbitmq, "unpack", lambda: unpacked.append(True))
    assert main(["test", "--install"]) == 0
    assert log.read_text("utf-8").splitlines() == ["apt-get update -q"], "no server of 3.10 is installed"
    assert unpacked == [True]


def test_failed_installation_is_a_failure(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _program(log.parent / "bin", "apt-get", "#!/bin/sh\nexit 100\n")
    assert main(["test", "--install"]) == 1
    assert "could not be installed" in capsys.readouterr().err


@pytest.mark.usefixtures("log")
def test_without_root_it_says_what_to_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["test", "--install"]) == 1
    assert "As root, run: apt-get update -q && apt-get install " in capsys.readouterr().err


def test_without_apt_it_names_the_packages(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (log.parent / "bin" / "apt-get").unlink()
    assert main(["test", "--install"]) == 1
    assert capsys.readouterr().err.startswith("There is no apt-get here. Install what these Debian packages hold: mosq")


@pytest.mark.usefixtures("log")
def test_missing_program_is_a_failure_in_ci_and_else_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="influxdb is not installed"):
        need("influxdb")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="influxdb is not installed"):
        need("influxdb")


def test_a_run_ends_with_a_line_for_each_missing_program(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": str(tmp_path)}
    environ.pop("CI", None)
    tests = ["-p", "no:cacheprovider", "tests/system/influxdb/test_influxd.py"]
    command = [sys.executable, "-P", "-m", "power_cli", "test", *tests]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    *_, missing, install, closing = ended.stdout.splitlines()
    assert missing == "influxdb is not installed: 2 tests skipped (InfluxDB as the store)"
    assert install == "`./power test --install` installs all of them (as root, on Debian)"
    assert "2 skipped" in closing
    assert "SKIPPED" not in ended.stdout

"""The programs that the tests start: where each is found, its Debian package, and what it tests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from power_cli import rabbitmq
from shared.domain.errors import InvalidSettings

_BEYOND_PATH = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin")
_POSTGRES = tuple(f"/usr/lib/postgresql/{version}/bin/initdb" for version in range(25, 14, -1))
"""Debian puts it beside the PATH, by version; older ones than 15 will not do."""


class Program(NamedTuple):
    """One package, the names of its program (any of them will do), and what it tests.

    A name that is an absolute path is a file; it may be a pattern.
    """

    package: str
    names: tuple[str, ...]
    tests: str


PROGRAMS = (
    Program("mosquitto", ("mosquitto",), "gateway and worker at a real broker, and the whole service"),
    Program("mosquitto-clients", ("mosquitto_sub",), "the shell examples of the MQTT docs, the broker's health check"),
    Program("influxdb", ("influxd",), "InfluxDB as the store"),
    Program("postgresql", (*_POSTGRES, "initdb"), "PostgreSQL as the store"),
    Program("nginx", ("nginx",), "TLS and limits in front of the services"),
    Program("libnginx-mod-stream", ("/usr/lib/nginx/modules/ngx_stream_module.so",), "MQTT through nginx"),
    Program("prometheus", ("prometheus",), "dashboards and alarms"),
    Program("chromium", ("chromium", "chromium-browser", "google-chrome"), "the page in a real browser"),
    Program("openssl", ("openssl",), "connections over TLS"),
    Program(rabbitmq.PACKAGE, rabbitmq.NAMES, "RabbitMQ as the broker of a cluster"),
    Program("docker-compose", ("docker-compose",), "docker-compose.yml"),
)


def find(*names: str) -> str | None:
    """Return the path of the first of these programs that is here."""
    return next(filter(None, map(_find, names)), None)


def _find(name: str) -> str | None:
    if Path(name).is_absolute():
        return next(map(str, sorted(Path("/").glob(name[1:]))), None)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_BEYOND_PATH]))


def install() -> None:
    """Install the packages of all programs that are missing, and switch off the servers that they start by themselves.

    Raises:
        InvalidSettings: that cannot be done here; the message says what to run.

    """
    packages = [each.package for each in PROGRAMS if find(*each.names) is None]
    if not packages:
        sys.stderr.write("All programs that the tests start are installed.\n")
        return
    own = [each for each in packages if each != rabbitmq.PACKAGE or not rabbitmq.is_too_old()]
    commands = [["apt-get", "update", "-q"]]
    if own:
        commands.append(["apt-get", "install", "-q", "-y", "--no-install-recommends", *own])
    by_hand = " && ".join(" ".join(command) for command in commands)
    if shutil.which("apt-get") is None:
        raise InvalidSettings(
            f"There is no apt-get here. Install what these Debian packages hold: {' '.join(packages)}"
        )
    if os.geteuid():
        raise InvalidSettings(f"Installing packages needs root. As root, run: {by_hand}")
    for command in commands:
        if subprocess.run(command, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}).returncode:
            raise InvalidSettings(f"The packages could not be installed (see above). To try again: {by_hand}")
    if own != packages:
        rabbitmq.unpack()
    _switch_off(own)


def _switch_off(packages: Sequence[str]) -> None:
    if shutil.which("systemctl"):
        for package in packages:  # not all of them have a server, and systemd may not run
            subprocess.run(["systemctl", "disable", "--now", package], check=False, capture_output=True)

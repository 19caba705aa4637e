"""Finds Mosquitto, installs it if it is missing, and writes its configuration."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template

from power_cli.programs import find
from shared.domain.errors import InvalidSettings
from shared.runtime.private_files import make_private, private_folder, tighten_file

TEMPLATE = Path(__file__).parents[1] / "mosquitto" / "local.conf"
MAX_BYTES = 400 * 2**20
"""The broker's memory limit; more than all messages that may be queued (see the limits in the template)."""
_NAMES = ("mosquitto", "/opt/homebrew/sbin/mosquitto")
_INSTALLERS = {
    "apt-get": (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", "mosquitto"],
    ),
    "dnf": (["dnf", "install", "-q", "-y", "mosquitto"],),
    "apk": (["apk", "add", "-q", "mosquitto"],),
    "brew": (["brew", "install", "-q", "mosquitto"],),
}


def find_or_install() -> str:
    """Return the path of the broker's program.

    Raises:
        InvalidSettings: it is missing and cannot be installed; the message says what to run.

    """
    found = find(*_NAMES)
    if found is None:
        _install()
        found = find(*_NAMES)
    if found is None:
        raise InvalidSettings("Mosquitto was installed, but there is no program `mosquitto` on the PATH")
    return found


def _install() -> None:
    manager = next((name for name in _INSTALLERS if shutil.which(name)), None)
    if manager is None:
        raise InvalidSettings("Mosquitto is missing: install your system's package `mosquitto`, then start again")
    by_hand = " && ".join(" ".join(command) for command in _INSTALLERS[manager])
    may = os.geteuid() == 0 or manager == "brew"
    sudo = [] if may else ["sudo", "-n"]
    if not may and (
        not shutil.which("sudo") or subprocess.run([*sudo, "true"], check=False, capture_output=True).returncode
    ):
        raise InvalidSettings(f"Mosquitto is missing; as root, run: {by_hand}")
    sys.stderr.write(f"Mosquitto is missing; installing it: {by_hand}\n")
    for command in _INSTALLERS[manager]:
        done = subprocess.run(
            [*sudo, *command],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise InvalidSettings(f"Mosquitto could not be installed ({why}); run it by hand: {by_hand}")
    if shutil.which("systemctl"):  # the package starts its own broker, on the port that ours needs
        subprocess.run([*sudo, "systemctl", "disable", "--now", "mosquitto"], check=False, capture_output=True)


def configure(folder: Path, port: int) -> Path:
    """Write the configuration of a broker that keeps its state in a folder, and return its path."""
    private_folder(folder)
    path = folder / "mosquitto.conf"
    make_private(path)
    tighten_file(folder / "mosquitto.db")  # created by the broker, which cannot read an empty file
    filled = Template(TEMPLATE.read_text("utf-8")).substitute(
        port=port,
        folder=folder.resolve(),
        # Started by root, it would switch to a user who may not write here.
        user="user root" if os.geteuid() == 0 else "",
    )
    path.write_text(filled, "utf-8")
    return path


def forget_messages(folder: Path) -> None:
    """Delete the queued messages and sessions that a stopped broker has saved in a folder."""
    (folder / "mosquitto.db").unlink(missing_ok=True)

"""Finds RabbitMQ 4 and runs its programs: the system's own, or those of a newer Debian, unpacked into a folder.

Debian 13 has it as a plain package. Debian 12 has 3.10, which does not know MQTT 5: there the packages of Debian 13 are
unpacked into a cache folder, with all that they need, and run with that folder as their root (`chroot`).
"""

import os
import platform
import subprocess
import tempfile
from pathlib import Path

from shared.domain.errors import InvalidSettings

PACKAGE = "rabbitmq-server"
SERVER = "usr/lib/rabbitmq/lib/rabbitmq_server-4.*/sbin/rabbitmq-server"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spaceship-power-service" / "rabbitmq"
"""The folder with the unpacked packages; outside the repository, so that clones share it."""
NAMES = (f"/{SERVER}", f"{CACHE}/{SERVER}")
"""The patterns of the program's path."""
HAS_IT = 13
"""The first Debian that has RabbitMQ 4."""
FROM = "trixie"
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_TOOLS = ("dash", "coreutils", "sed", "grep")
"""What the scripts of RabbitMQ and Erlang need of a system."""
_FOLDERS = ("dev", "proc", "srv", "tmp")
"""What is mounted there is seen by one process and its children only."""
_IN_FOLDER = """
set -eu
root=$1 folder=$2
shift 2
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$folder" "$root/srv"
exec chroot "$root" "$@"
"""


def is_too_old() -> bool:
    """Return whether this system's own package is older than 4."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        return False
    return system["ID"] == "debian" and int(system.get("VERSION_ID", HAS_IT)) < HAS_IT


def command(server: str, folder: Path, program: str, *arguments: str) -> tuple[list[str], Path]:
    """Return the command that runs a program beside the server's, and the folder as that program sees it.

    Args:
        server: the server's path, as `programs.find` gives it.
        folder: where the program keeps its files.
        program: its name, or its absolute path.
        arguments: its arguments.

    """
    path = Path(program) if Path(program).is_absolute() else Path(server).with_name(program)
    if not path.is_relative_to(CACHE):
        return [str(path), *arguments], folder
    inside = Path("/") / path.relative_to(CACHE)
    private = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _IN_FOLDER, "sh"]
    return [*private, str(CACHE), str(folder), str(inside), *arguments], Path("/srv")


def unpack() -> None:
    """Unpack the packages into the cache folder; root only, because the programs run with another root folder.

    Raises:
        InvalidSettings: they cannot be fetched or unpacked; the message says why.

    """
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as name:
        folder = Path(name)
        root = folder / "root"
        root.mkdir()
        for each in _FOLDERS:
            (root / each).mkdir()
        for each in ("bin", "lib", "lib64", "sbin"):
            (root / each).symlink_to(f"usr/{each}")
        for package in _fetch(folder):
            _run(["dpkg-deb", "--extract", str(package), str(root)])
        (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n", "utf-8")
        root.rename(CACHE)


def _fetch(folder: Path) -> list[Path]:
    """Download the server and all that it needs; the system's own lists and packages are left alone."""
    lists, cache = folder / "state", folder / "cache"
    for each in (lists / "lists" / "partial", cache / "archives" / "partial"):
        each.mkdir(parents=True)
    (lists / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={_KEYS}] {_mirror()} {FROM} main\n", "utf-8")
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": lists,
        "Dir::State::status": lists / "status",
        "Dir::Cache": cache,
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in settings.items())]
    _run([*apt, "update"])
    _run([*apt, "install", "-y", "--no-install-recommends", "--download-only", *_TOOLS, PACKAGE])
    return sorted((cache / "archives").glob("*.deb"))


def _mirror() -> str:
    """Return the mirror that this system's own packages come from."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    lines = _run(["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Identifier: Packages"])
    found = [uri for name, uri in (line.split() for line in lines.splitlines()) if name == release]
    if not found:
        raise InvalidSettings(f"apt has no mirror of {release}, from which RabbitMQ 4 could be fetched")
    return found[0]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InvalidSettings(f"RabbitMQ 4 could not be fetched ({' '.join(command[:1])}: {why})")
    return done.stdout

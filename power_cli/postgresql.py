"""Runs a local PostgreSQL from the system's package, for a benchmark or a test."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from power_cli.programs import PROGRAMS, find
from shared.domain.errors import Unavailable

USER = "power"
OWNER = "postgres"
"""Who runs the server if this process is root's, which PostgreSQL refuses; the package makes the user."""
START_LIMIT_S = 30
STOP_LIMIT_S = 30


def as_owner() -> dict[str, Any]:
    """Return the arguments of `subprocess` that run a program as a user whom PostgreSQL accepts."""
    if os.geteuid():
        return {}
    owner = pwd.getpwnam(OWNER)
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": (), "cwd": "/"}


def hand_over(*paths: Path) -> None:
    """Give files to the user of `as_owner`."""
    if os.geteuid() == 0:
        for each in paths:
            shutil.chown(each, OWNER)


def initialise(initdb: Path, folder: Path, password: str) -> None:
    """Make a server's `data` in a folder, whose only user is `USER`.

    Raises:
        Unavailable: it cannot be made.

    """
    secret = folder / "password"
    secret.write_text(password, "utf-8")
    hand_over(folder, secret)
    options = ["--no-sync", "--auth=scram-sha-256", f"--username={USER}", f"--pwfile={secret}", "--locale=C.UTF-8"]
    ran([str(initdb), "-D", str(folder / "data"), *options])


def ran(command: Sequence[str]) -> None:
    """Run one of PostgreSQL's programs as its owner.

    Raises:
        Unavailable: it failed.

    """
    made = subprocess.run(command, check=False, capture_output=True, text=True, **as_owner())
    if made.returncode:
        raise Unavailable(f"{command[0]} failed: {made.stderr.strip()[-500:]}")


def started(initdb: Path, folder: Path, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the server of a folder, with settings of `postgresql.conf`; it logs to `log` there."""
    options = [f"-c{name}={value}" for name, value in {"unix_socket_directories": "", **settings}.items()]
    command = [str(initdb.with_name("postgres")), "-D", str(folder / "data"), *options]
    with (folder / "log").open("ab") as log:
        # Ctrl-C is for this process, which then stops the server.
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **as_owner())


@contextmanager
def running(host: str, port: int) -> Iterator[str]:
    """Run a server with default settings in a temporary folder; yields the address of its first database.

    Raises:
        Unavailable: PostgreSQL is not installed, or does not start.

    """
    program = find(*next(each.names for each in PROGRAMS if each.package == "postgresql"))
    if program is None:
        raise Unavailable("PostgreSQL is missing: set POWER_STORE_URL, or install Debian's package `postgresql`")
    initdb, folder, password = Path(program).resolve(), Path(tempfile.mkdtemp(prefix="postgres-")), secrets.token_hex()
    try:
        initialise(initdb, folder, password)
        process = started(initdb, folder, {"listen_addresses": host, "port": str(port)})
        try:
            _await(process, initdb, folder, host, port)
            yield f"postgresql://{USER}:{password}@{host}:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_LIMIT_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await(process: subprocess.Popen[bytes], initdb: Path, folder: Path, host: str, port: int) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    ready = [str(initdb.with_name("pg_isready")), "-q", "-h", host, "-p", str(port)]
    while subprocess.run(ready, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            log = (folder / "log").read_text("utf-8", "replace")
            raise Unavailable(f"PostgreSQL did not start: {log.strip()[-500:]}")
        time.sleep(0.05)

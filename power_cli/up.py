"""`./power up`: runs the broker, the worker and both APIs on this machine."""

import fcntl
import os
import socket
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import suppress
from pathlib import Path
from typing import IO

from power_cli import mosquitto
from power_cli.supervisor import Process, supervise
from shared.domain.errors import InvalidSettings
from shared.runtime.private_files import make_private, private_folder
from shared.runtime.settings import ClusterSettings

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
MAX_WORKERS = 64
STORE_URL = {"POWER_STORE_URL", "POWER_STORE_URL_FILE"}
"""Either says which store it is, unless `--store` does."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--port", type=_port, default=5000, help="HTTP port (default 5000)")
    parser.add_argument("--mqtt-port", type=_port, default=1883, help="MQTT port (default 1883)")
    parser.add_argument("--worker-port", type=_port, help="port of the worker's metrics (default: none)")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "data", metavar="DIR", help="folder for all data (default data)"
    )
    parser.add_argument(
        "--store",
        choices=["embedded", "influxdb", "postgresql"],
        help="the store: in the data folder (default), in the InfluxDB at INFLUXDB_URL, or in the PostgreSQL at"
        " POWER_STORE_URL",
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="run so many workers, as a cluster has them: with the RabbitMQ at POWER_BROKER_URL (mqtt://…) and"
        " POWER_AMQP_URL (amqp://…), and the PostgreSQL at POWER_STORE_URL (postgresql://…)",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**16):
        raise ArgumentTypeError(f"should be a port from 1 to 65535, not {text!r}")
    return int(text)


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_WORKERS):
        raise ArgumentTypeError(f"should be a number from 1 to {MAX_WORKERS}, not {text!r}")
    return int(text)


def run(arguments: Namespace) -> int:
    """Run the service until a signal stops it."""
    began_s = time.monotonic()
    folder: Path = arguments.data.absolute()
    cluster = ClusterSettings.load(os.environ) if arguments.workers else None
    with _locked(folder):
        for option in ("port", "worker_port", *([] if cluster else ["mqtt_port"])):
            if port := getattr(arguments, option):
                _check_free(port, f"--{option.replace('_', '-')}")
        where = f"mqtt://{HOST}:{arguments.mqtt_port}" if cluster is None else f"RabbitMQ at {cluster.broker}"
        processes = _processes(folder, arguments) if cluster is None else _of_cluster(cluster, folder, arguments)

        def ready() -> None:
            sys.stdout.write(
                f"\nSpaceship Power Service is ready, after {time.monotonic() - began_s:.1f} s. Ctrl-C stops it.\n\n"
                f"  page  http://{HOST}:{arguments.port}/\n"
                f"  HTTP  http://{HOST}:{arguments.port}   POST /data; GET /data, /data/fleet, /topusers, /forecast\n"
                f"  MQTT  {where}   ships/{{spaceship_id}}/readings\n"
                f"  data  {folder}\n\n"
            )
            sys.stdout.flush()

        supervise(processes, ready)
    return 0


def _environ(folder: Path, arguments: Namespace) -> dict[str, str]:
    return {
        **os.environ,
        "POWER_HTTP_HOST": HOST,
        "POWER_HTTP_PORT": str(arguments.port),
        "POWER_WORKER_HTTP_PORT": str(arguments.worker_port or 0),
        "POWER_DATA_DIR": str(folder),
        "PYTHONPATH": str(ROOT),
    }


def _of_cluster(cluster: ClusterSettings, folder: Path, arguments: Namespace) -> list[Process]:
    """Return workers and APIs; broker and store run elsewhere."""
    python = [sys.executable, "-P", "-m"]
    environ = _environ(folder, arguments)
    environ.pop("POWER_BROKER_URL_FILE", None)
    workers = []
    for number in range(arguments.workers):
        port = arguments.worker_port + number if arguments.worker_port else 0
        own = {"POWER_BROKER_URL": cluster.amqp_url or "", "POWER_WORKER_HTTP_PORT": str(port)}
        workers.append(Process(f"normalizer_worker {number}", [*python, "normalizer_worker"], {**environ, **own}))
    http = Process("http", [*python, "power_cli.http"], {**environ, "POWER_BROKER_URL": cluster.broker_url or ""})
    return [*workers, http]


def _processes(folder: Path, arguments: Namespace) -> list[Process]:
    """Return broker, worker and APIs."""
    broker = mosquitto.find_or_install()
    configuration = mosquitto.configure(folder / "mosquitto", arguments.mqtt_port)
    environ = {
        **_environ(folder, arguments),
        "POWER_MQTT_HOST": HOST,
        "POWER_MQTT_PORT": str(arguments.mqtt_port),
    }
    environ.pop("POWER_STORE", None)
    if arguments.store or not STORE_URL.intersection(environ):
        environ["POWER_STORE"] = arguments.store or "embedded"
    python = [sys.executable, "-P", "-m"]
    return [
        Process(
            "mosquitto",
            [broker, "-c", str(configuration)],
            environ,
            lambda: _answers(arguments.mqtt_port),
            max_bytes=mosquitto.MAX_BYTES,
            on_too_large=lambda: mosquitto.forget_messages(configuration.parent),
        ),
        Process("normalizer_worker", [*python, "normalizer_worker"], environ),
        Process("http", [*python, "power_cli.http"], environ),
    ]


def _locked(folder: Path) -> IO[str]:
    """Lock a data folder, so that only this process uses it."""
    try:
        private_folder(folder)
        make_private(folder / "lock")
        lock = (folder / "lock").open("w", encoding="utf-8")
    except OSError as error:
        raise InvalidSettings(f"cannot write to {folder}: {error.strerror}; choose another one with --data") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise InvalidSettings(f"{folder} is in use by another ./power up; choose another one with --data") from None
    return lock


def _check_free(port: int, option: str) -> None:
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise InvalidSettings(f"port {port} cannot be used ({why}); choose another one with {option}") from None


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=0.2):
        return True
    return False

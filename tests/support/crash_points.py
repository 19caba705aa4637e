"""Starts gateway or worker so that it dies, as if killed, at one named point; only tests start a service this way.

    python -m tests.support.crash_points ingest_api after-accept-commit

Without a point it tells of all that it passes.

The service itself knows nothing of it: what lies at a point is wrapped here before the real `main` runs.
"""

import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

from paho.mqtt.client import Client

from ingest_api.delivery.dispatcher import Dispatcher
from ingest_api.delivery.mqtt_link import Link
from ingest_api.delivery.publisher import Publisher
from ingest_api.outbox import file
from ingest_api.outbox.outbox import Outbox
from ingest_api.outbox.writers import EntryWriter, ReceiptWriter
from normalizer_worker import __main__ as worker_main
from normalizer_worker.mqtt.acknowledgements import Acknowledgements
from normalizer_worker.mqtt.canary import Canary
from normalizer_worker.mqtt.session import Connection
from normalizer_worker.mqtt.standby import Turn
from normalizer_worker.recorder import Recorder
from normalizer_worker.worker import Worker
from shared.runtime.process import run
from shared.runtime.sqlite_files import SqliteFile
from shared.store.influx.owner import Owner
from shared.store.influx.roll_up_writer import RollUps
from shared.store.influx.server import Server
from shared.store.influx.store import InfluxStore
from shared.store.sqlite import SqliteStore

SAID = "dies here: "
TOLD = "passes "

Reach = Callable[[], None]
"""Called at a point."""
Arm = Callable[[Reach], None]
"""Has a point call something when it is reached."""


def before(owner: Any, name: str) -> Arm:
    """Lie before a call."""

    def arm(reach: Reach) -> None:
        call = getattr(owner, name)

        @wraps(call)
        def wrapped(*args: Any, **more: Any) -> Any:
            reach()
            return call(*args, **more)

        setattr(owner, name, wrapped)

    return arm


def after(owner: Any, name: str) -> Arm:
    """Lie after a call."""

    def arm(reach: Reach) -> None:
        call = getattr(owner, name)

        @wraps(call)
        def wrapped(*args: Any, **more: Any) -> Any:
            found = call(*args, **more)
            reach()
            return found

        setattr(owner, name, wrapped)

    return arm


def committing(file_name: str, *, is_after: bool = False) -> Arm:
    """Lie between the last statement of a file's transaction and its COMMIT, or right after that."""

    def arm(reach: Reach) -> None:
        transaction = SqliteFile.transaction

        @contextmanager
        def wrapped(file: SqliteFile) -> Iterator[Any]:
            with transaction(file) as connection:
                yield connection
                if file._path.name == file_name and not is_after:
                    reach()
            if file._path.name == file_name and is_after:
                reach()

        SqliteFile.transaction = wrapped  # type: ignore[assignment, method-assign]

    return arm


class Point(NamedTuple):
    """Where a process dies.

    Attributes:
        arm: has it die there.
        is_held: it dies when it is there and its standard input has ended: the test says when.

    """

    arm: Arm
    is_held: bool = False


GATEWAY = {
    "before-outbox-check": Point(before(file, "_check")),
    "before-broker-connection": Point(before(Dispatcher, "start")),
    "before-accept-write": Point(before(Outbox, "accept")),
    "before-accept-commit": Point(after(EntryWriter, "write")),
    "after-accept-commit": Point(after(Outbox, "accept")),
    "before-publish": Point(before(Link, "publish"), is_held=True),
    "after-publish": Point(after(Link, "publish")),
    "after-puback": Point(after(Link, "_confirmed")),
    "before-receipt-write": Point(before(Outbox, "decide")),
    "before-receipt-commit": Point(after(ReceiptWriter, "write")),
    "after-receipt-commit": Point(before(ReceiptWriter, "committed")),
    "after-receipt": Point(after(Publisher, "done")),
}
WORKER = {
    "before-gap-pin": Point(before(worker_main, "_check_gap")),
    "before-broker-connection": Point(before(Client, "connect")),
    "before-subscription": Point(before(Client, "subscribe")),
    "before-turn-publish": Point(before(Turn, "tell")),
    "after-subscription": Point(after(Connection, "__init__")),
    "before-canary-acknowledgement": Point(before(Canary, "heard")),
    "before-load-write": Point(before(Worker, "_store")),
    "before-first-seen-commit": Point(committing("arrivals.sqlite")),
    "before-readings-write": Point(before(Recorder, "record")),
    "before-slots-write": Point(after(SqliteStore, "put_readings")),
    "before-store-commit": Point(after(SqliteStore, "put_slots")),
    "after-store-commit": Point(after(Recorder, "record")),
    "before-dead-letter-commit": Point(committing("dead-letters.sqlite")),
    "after-dead-letter-commit": Point(committing("dead-letters.sqlite", is_after=True)),
    "before-receipt-publish": Point(before(Acknowledgements, "add")),
    "after-receipt-publish": Point(after(Acknowledgements, "_send")),
    "after-acknowledgement": Point(after(Client, "ack")),
    "after-last-acknowledgement": Point(after(Connection, "finish")),
}
WORKER_ON_INFLUXDB = {
    "before-first-write": Point(before(Server, "pin")),
    "before-owner-write": Point(before(Owner, "_renew")),
    "after-owner-write": Point(after(Owner, "_renew")),
    "before-readings-write": Point(before(InfluxStore, "put_readings")),
    "before-slots-write": Point(after(InfluxStore, "put_readings")),
    "after-roll-up-version-write": Point(after(RollUps, "mark")),
    "before-roll-up-write": Point(before(RollUps, "make")),
    "after-roll-up-write": Point(after(RollUps, "make")),
    "before-reach-write": Point(before(RollUps, "widen")),
    "after-reach-write": Point(after(RollUps, "widen")),
}
POINTS = {
    ("ingest_api", "embedded"): GATEWAY,
    ("normalizer_worker", "embedded"): WORKER,
    ("normalizer_worker", "influxdb"): WORKER_ON_INFLUXDB,
}
"""By what they are points of: a service, and the store that it works on."""


STEPS = {
    "ingest_api": {
        "COMMIT of outbox.sqlite": committing("outbox.sqlite", is_after=True),
        "publish": after(Client, "publish"),
    },
    "normalizer_worker": {
        **{
            f"COMMIT of {name}": committing(name, is_after=True)
            for name in ("power.sqlite", "arrivals.sqlite", "dead-letters.sqlite")
        },
        "write to InfluxDB": after(Server, "write"),
        "connect": after(Client, "connect"),
        "subscribe": after(Client, "subscribe"),
        "publish": after(Client, "publish"),
        "acknowledge": after(Client, "ack"),
    },
}
"""What outlives the process: between any two of a thread there has to be a point."""


def die_at(point: Point, name: str) -> None:
    """Have this process die at a point."""

    def die() -> None:
        if point.is_held:
            sys.stdin.read()
        os.write(sys.stderr.fileno(), f"{SAID}{name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    point.arm(die)


def tell_of(points: Mapping[str, Point], steps: Mapping[str, Arm]) -> None:
    """Have this process tell whenever it passes a point, or has done a step that outlives it."""

    def teller(kind: str, name: str) -> Reach:
        def tell() -> None:
            told = json.dumps([kind, threading.current_thread().name, name])
            os.write(sys.stderr.fileno(), f"{TOLD}{told}\n".encode())

        return tell

    for name, arm in steps.items():  # first, so that what lies after a step is told after it
        arm(teller("step", name))
    for name, point in points.items():
        point.arm(teller("point", name))


def main() -> None:
    """Run a service to its end at a point; or, without the name of one, tell of all."""
    module, *names = sys.argv[1:]
    points = POINTS[module, os.environ.get("POWER_STORE", "embedded")]
    for name in names:
        die_at(points[name], name)
    if not names:
        tell_of({**POINTS[module, "embedded"], **points}, STEPS[module])
    run(importlib.import_module(f"{module}.__main__").main)


if __name__ == "__main__":
    main()

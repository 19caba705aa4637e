"""Starts gateway or worker so that it dies, as if killed, at one named point; only tests start a service this way.

    python -m tests.support.dying ingest_api "committed, not answered"

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
from ingest_api.outbox import file
from ingest_api.outbox.outbox import Outbox
from normalizer_worker import __main__ as worker_main
from normalizer_worker.mqtt.acknowledgements import Finishing
from normalizer_worker.mqtt.canary import Probe
from normalizer_worker.mqtt.session import Connection
from normalizer_worker.mqtt.turns import Turn
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
    "outbox made, not checked": Point(before(file, "_check")),
    "outbox open, not connected": Point(before(Dispatcher, "start")),
    "checked, not written": Point(before(Outbox, "accept")),
    "written, not committed": Point(after(Outbox, "_insert")),
    "committed, not answered": Point(after(Outbox, "accept")),
    "answered, not published": Point(before(Link, "publish"), is_held=True),
    "published, not confirmed": Point(after(Link, "publish")),
    "confirmed, no receipt": Point(after(Link, "_confirmed")),
    "receipt come, not written": Point(before(Outbox, "decide")),
    "removal written, not committed": Point(after(Outbox, "_note")),
    "removal committed, nobody told": Point(before(Outbox, "_removed")),
    "removal told": Point(after(Dispatcher, "_done_with")),
}
WORKER = {
    "files made, gap not pinned": Point(before(worker_main, "_check_gap")),
    "gap pinned, not connected": Point(before(Client, "connect")),
    "session taken up, not subscribed": Point(before(Client, "subscribe")),
    "subscribed, others not told": Point(before(Turn, "tell")),
    "subscribed, nothing received": Point(after(Connection, "__init__")),
    "heard of itself, not acknowledged": Point(before(Probe, "heard")),
    "received, nothing written": Point(before(Worker, "_store")),
    "arrival written, not committed": Point(committing("arrivals.sqlite")),
    "arrival committed, nothing stored": Point(before(Recorder, "record")),
    "readings put, slots not": Point(after(SqliteStore, "put_readings")),
    "slots put, not committed": Point(after(SqliteStore, "put_slots")),
    "stored, dead letters not": Point(after(Recorder, "record")),
    "dead letters written, not committed": Point(committing("dead-letters.sqlite")),
    "dead letters committed, nothing said": Point(committing("dead-letters.sqlite", is_after=True)),
    "all durable, nothing said": Point(before(Finishing, "add")),
    "receipt sent, not acknowledged": Point(after(Finishing, "_send")),
    "acknowledged, the next receipt not sent": Point(after(Client, "ack")),
    "all acknowledged": Point(after(Connection, "finish")),
}
WORKER_ON_INFLUXDB = {
    "database made, nothing in it": Point(before(Server, "pin")),
    "bucket taken, nothing read": Point(after(Owner, "_renew")),
    "readings put, slots not": Point(after(InfluxStore, "put_readings")),
    "sums marked, slots not put": Point(after(RollUps, "mark")),
    "slots put, sums not made": Point(before(RollUps, "make")),
    "sums made, not told": Point(after(RollUps, "make")),
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

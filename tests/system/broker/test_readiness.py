"""GET /readyz of each service turns red when the broker or the store goes away, and green when it is back."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import paho.mqtt.publish as paho
import pytest

from ingest_api.gateway import OLD_S, is_well
from ingest_api.outbox.entry import ENTRY_BYTES, MAX_ENTRY_BYTES
from ingest_api.outbox.file import FILE_NAME as OUTBOX_FILE
from shared.http import health
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.store.sqlite import FILE_NAME, SqliteStore
from tests.support.outbox import an_outbox, decide, dispatching, entry
from tests.support.servers import HOST, Broker
from tests.support.waiting import until
from tests.support.worker import await_ready, await_red, running

BUSY_S = 0.05


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A store that does not wait long for others."""
    store = SqliteStore(tmp_path)
    store._file._busy_s = BUSY_S
    yield store
    store.close()


def test_the_gateway_follows_the_broker(broker: Broker, tmp_path: Path) -> None:
    with an_outbox(tmp_path) as outbox, dispatching(outbox, broker.port) as dispatcher:
        asking = make_app(health.routes({"broker": dispatcher.is_connected}), access=anybody).test_client()
        await_ready(asking)
        broker.stop()
        await_red(asking, "broker")
        broker.start()
        await_ready(asking)


def test_the_gateway_follows_its_outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red where it is full, where what it has gets old, and where its file cannot be written."""
    monkeypatch.setattr("ingest_api.outbox.outbox.WRITE_TEST_S", BUSY_S)
    now_us = 1_000_000
    room = 2 * MAX_ENTRY_BYTES - 1
    with an_outbox(tmp_path, room, now_us=lambda: now_us) as outbox:
        asking = make_app(health.routes({"outbox": lambda: is_well(outbox)}), access=anybody).test_client()
        await_ready(asking)
        large = entry(payload=b"x" * (MAX_ENTRY_BYTES - ENTRY_BYTES))
        outbox.accept(large)
        await_red(asking, "outbox")
        decide(outbox, large)
        await_ready(asking)
        waits = entry()
        outbox.accept(waits)
        now_us += int(OLD_S + 1) * 1_000_000
        await_red(asking, "outbox")
        decide(outbox, waits)
        await_ready(asking)
        with closing(sqlite3.connect(tmp_path / OUTBOX_FILE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await_red(asking, "outbox")
            other.execute("ROLLBACK")
        await_ready(asking)


def test_the_worker_follows_the_broker(broker: Broker, store: SqliteStore, tmp_path: Path) -> None:
    with running(broker, store, tmp_path) as (asking, registry):
        await_ready(asking)
        broker.stop()
        await_red(asking, "broker")
        broker.start()
        await_ready(asking)
        assert (registry.get_sample_value("power_worker_reconnects_total") or 0) >= 1


def test_the_worker_follows_the_store(broker: Broker, store: SqliteStore, tmp_path: Path) -> None:
    payload = b'{"units": "kW", "data": [{"datetime": "2018-08-24T00:00:00Z", "value": 1}]}'
    with (
        closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other,
        running(broker, store, tmp_path) as (asking, registry),
    ):
        await_ready(asking)
        other.execute("BEGIN IMMEDIATE")
        paho.single("ships/1/readings", payload, qos=1, hostname=HOST, port=broker.port)
        await_red(asking, "store")
        assert registry.get_sample_value("power_worker_messages_total") == 0
        other.execute("ROLLBACK")
        await_ready(asking)
        until(lambda: registry.get_sample_value("power_worker_messages_total") == 1, "the message is stored")


def test_the_query_service_follows_the_store(store: SqliteStore, tmp_path: Path) -> None:
    asking = make_app(health.routes({"store": health.is_available(store.ping)}), access=anybody).test_client()
    await_ready(asking)
    store.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        await_red(asking, "store")
    await_ready(asking)

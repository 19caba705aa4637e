"""A real worker in a thread, with what it tells of itself."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from normalizer_worker.ledger.dead_letters import DeadLetters
from normalizer_worker.ledger.first_seen import FirstSeenTimes
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.mqtt.session import Connection
from normalizer_worker.recorder import Recorder
from normalizer_worker.worker import Worker
from shared.contract.topics import ALL_READINGS
from shared.domain.slots import DEFAULT_MAX_GAP_US
from shared.http import health
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.runtime.mqtt_client import ANONYMOUS, Login
from shared.store.sqlite import SqliteStore
from tests.support.servers import HOST, Broker
from tests.support.waiting import until

CLIENT_ID = "test-worker"


@contextmanager
def running(
    broker: Broker, store: SqliteStore, folder: Path, login: Login = ANONYMOUS
) -> Iterator[tuple[FlaskClient, CollectorRegistry]]:
    """Run one; yields a client of its health, and its registry."""
    registry, stop = CollectorRegistry(), threading.Event()
    worker_metrics, dead_letters, first_seen = WorkerMetrics(registry), DeadLetters(folder), FirstSeenTimes(folder)

    def connect() -> Connection:
        return Connection(HOST, broker.port, CLIENT_ID, ALL_READINGS, 100, login=login, told=worker_metrics.broker)

    worker = Worker(connect, Recorder(store, DEFAULT_MAX_GAP_US), dead_letters, first_seen, worker_metrics)
    thread = threading.Thread(target=worker.run, args=(stop.is_set, lambda: None))
    thread.start()
    try:
        yield make_app(health.routes(worker_metrics.checks()), access=anybody).test_client(), registry
    finally:
        stop.set()
        thread.join()
        dead_letters.close()
        first_seen.close()


def await_ready(asking: FlaskClient) -> None:
    """Wait until /readyz is 200."""
    until(lambda: asking.get("/readyz").status_code == 200, "ready")


def await_red(asking: FlaskClient, check: str) -> None:
    """Wait until a check of /readyz does not hold."""

    def is_red() -> bool:
        response = asking.get("/readyz")
        assert response.json is not None
        assert response.status_code == (200 if response.json["ready"] else 503)
        return not response.json["checks"][check]

    until(is_red, f"{check} is red")

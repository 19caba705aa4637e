"""The worker's process: reads the settings, builds the parts, runs."""

import os
import threading
from collections.abc import Callable
from functools import partial

from normalizer_worker.data_folder import DataFolder
from normalizer_worker.ledger.dead_letters import DeadLetters
from normalizer_worker.ledger.first_seen import FirstSeenTimes
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.mqtt.session import Connection
from normalizer_worker.mqtt.standby import Turn
from normalizer_worker.recorder import Recorder
from normalizer_worker.routes import LetterList, routes
from normalizer_worker.worker import Worker
from shared.contract.topics import ALL_READINGS
from shared.domain.errors import InvalidSettings
from shared.domain.timestamps import US_PER_S
from shared.http import health, metrics
from shared.http.app import make_app
from shared.http.server import Server
from shared.http.token_file import access_by
from shared.runtime.mqtt_client import Login
from shared.runtime.process import FINISH_S, announce_ready, end_within, on_stop, run
from shared.runtime.settings import WorkerSettings
from shared.store.choice import details, open_store
from shared.store.port import ReadingStore

CLIENT_ID = "normalizer-worker"
CACHE_KIB = 65_536
HTTP_THREADS = 2
RECEIVE_MAXIMUM = 20_000
"""How many unacknowledged messages the broker sends; it keeps a copy of each in memory."""


def main() -> None:
    """Work until told to stop."""
    settings = WorkerSettings.load(os.environ)
    stop: list[bool] = []
    on_stop(lambda: stop.append(True), lambda: end_within(FINISH_S))

    def stopping() -> bool:
        return bool(stop)

    if settings.broker.is_amqp:
        from normalizer_worker import cluster  # noqa: PLC0415  # with packages that only a cluster needs

        cluster.work(settings, partial(_observed, settings), stopping, announce_ready)
    else:
        _work_alone(settings, stopping)


def _work_alone(settings: WorkerSettings, stopping: Callable[[], bool]) -> None:
    """Work at an MQTT broker, as the only worker; others stand by."""
    store = open_store(settings, cache_kib=CACHE_KIB, writes=True)
    dead_letters, first_seen = DeadLetters(settings.data_dir), FirstSeenTimes(settings.data_dir)
    folder, login = DataFolder(settings.data_dir), Login.of(settings)
    worker_metrics = _observed(settings, dead_letters, store)
    host, port = settings.broker.addresses[0]
    turn = Turn(host, port, login)

    def connect() -> Connection:
        turn.name = folder.take(worker_metrics.standing_by, stopping)
        _check_gap(store, settings.max_gap_s)
        turn.wait(worker_metrics.standing_by, stopping)
        return Connection(
            host, port, CLIENT_ID, ALL_READINGS, RECEIVE_MAXIMUM, login=login, told=worker_metrics.broker, turn=turn
        )

    worker = Worker(
        connect,
        Recorder(store, settings.max_gap_s * US_PER_S),
        dead_letters,
        first_seen,
        worker_metrics,
        rules=settings.rules,
    )
    try:
        worker.run(stopping, announce_ready)
    finally:
        dead_letters.close()
        first_seen.close()
        store.close()
        folder.close()


def _check_gap(store: ReadingStore, max_gap_s: int) -> None:
    pinned = store.pinned("POWER_MAX_GAP_S", str(max_gap_s))
    if pinned != str(max_gap_s):
        raise InvalidSettings(f"POWER_MAX_GAP_S is {max_gap_s}, but the store was filled with {pinned}")


def _observed(settings: WorkerSettings, dead_letters: LetterList, store: object) -> WorkerMetrics:
    """Make the metrics; serve them and the dead letters over HTTP from a daemon thread."""
    registry = metrics.new_registry()
    worker_metrics = WorkerMetrics(registry)
    if settings.http_port:
        access = access_by(settings.api_tokens_file)
        app = make_app(
            metrics.routes(registry),
            health.routes(worker_metrics.checks, details(store)),
            routes(dead_letters),
            access=access,
            browsers=settings.browsers,
        )
        server = Server(app, settings.http_host, settings.http_port, threads=HTTP_THREADS)
        threading.Thread(target=server.run, name="http", daemon=True).start()
    return worker_metrics


if __name__ == "__main__":
    run(main)

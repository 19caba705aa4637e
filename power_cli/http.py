"""The HTTP process of `./power up`: gateway, query service, dead letters and the page on one port."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

from ingest_api.gateway import Gateway
from normalizer_worker.ledger.dead_letters import DeadLetters
from normalizer_worker.routes import LetterList
from normalizer_worker.routes import routes as dead_letter_routes
from query_api.service import query_service
from shared.http import health, metrics
from shared.http.app import make_app
from shared.http.server import GATEWAY_BODIES_BYTES, THREADS, Server
from shared.http.token_file import access_by
from shared.runtime.process import announce_ready, on_stop, run
from shared.runtime.settings import IngestSettings, QuerySettings
from shared.store.choice import open_partitions

CLUSTER = {"POWER_AMQP_URL", "POWER_AMQP_URL_FILE"}
"""Either says that the workers are those of a cluster."""


@contextmanager
def _dead_letters(settings: QuerySettings) -> Iterator[LetterList]:
    """Open the dead letters: those in the data folder, or those that a cluster has in its store."""
    if not CLUSTER.intersection(os.environ):
        with closing(DeadLetters(settings.data_dir)) as letters:
            yield letters
        return
    from normalizer_worker.ledger.partition_letters import AllLetters  # noqa: PLC0415  # with what only a cluster needs

    with closing(open_partitions(settings)) as store:
        yield AllLetters(store)


def main() -> None:
    """Serve until a signal stops the process."""
    settings, query_settings = IngestSettings.load(os.environ), QuerySettings.load(os.environ)
    access = access_by(settings.api_tokens_file)
    registry = metrics.new_registry()
    with (
        query_service(query_settings, registry) as queries,
        closing(Gateway(settings, registry)) as ingest,
        _dead_letters(query_settings) as dead_letters,
    ):
        app = make_app(
            metrics.routes(registry),
            health.routes({**ingest.checks, **queries.checks}, queries.details),
            ingest.routes,
            dead_letter_routes(dead_letters),
            *queries.routes,
            access=access,
            browsers=settings.browsers,
        )
        server = Server(
            app,
            settings.http_host,
            settings.http_port,
            threads=THREADS + queries.threads,
            bodies_bytes=GATEWAY_BODIES_BYTES,
        )
        on_stop(ingest.stop_waiting, queries.let_go, server.stop)
        ingest.await_connection()
        announce_ready()
        queries.begin()
        server.run()


if __name__ == "__main__":
    run(main)

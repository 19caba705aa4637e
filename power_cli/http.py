"""Gateway and query service on one port, in one process, with the worker's dead letters and the page."""

import os
from contextlib import closing

from ingest_api.gateway import gateway
from normalizer_worker.app import routes as dead_letter_routes
from normalizer_worker.dead_letters import DeadLetters
from query_api import ships, slot_routes
from query_api.app import CACHE_KIB, store_errors
from query_api.app import routes as query_routes
from query_api.page.serving import routes as page_routes
from query_api.stream import MOST, Streams
from shared import health, metrics
from shared.http import THREADS, Server, make_app
from shared.process import announce_ready, on_stop, run
from shared.settings import IngestSettings, QuerySettings
from shared.store.choice import open_store
from shared.token_file import access_by


def main() -> None:
    """Serve until told to stop."""
    settings, query_settings = IngestSettings.load(os.environ), QuerySettings.load(os.environ)
    access = access_by(settings.api_tokens_file)
    registry = metrics.new_registry()
    store = open_store(query_settings, cache_kib=CACHE_KIB)
    errors = store_errors(registry)
    streams = Streams(store, errors, registry)
    try:
        with gateway(settings, registry) as ingest, closing(DeadLetters(settings.data_dir)) as dead_letters:
            app = make_app(
                metrics.routes(registry),
                health.routes({**ingest.checks, "store": health.answers(store.ping)}),
                ingest.routes,
                dead_letter_routes(dead_letters),
                page_routes(),
                query_routes(store, errors),
                slot_routes.routes(store, errors),
                streams.routes(),
                ships.routes(store, errors),
                access=access,
            )
            server = Server(app, settings.http_host, settings.http_port, threads=THREADS + MOST)
            on_stop(ingest.let_go, streams.end, server.stop)
            ingest.await_connection()
            announce_ready()
            server.run()
    finally:
        store.close()


if __name__ == "__main__":
    run(main)

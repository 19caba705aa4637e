"""The query service's process: reads the settings, puts the parts together, serves."""

import os

from query_api import ships, slot_routes
from query_api.app import CACHE_KIB, routes, store_errors
from query_api.page.serving import routes as page_routes
from query_api.stream import MOST, Streams
from shared import health, metrics
from shared.http import THREADS, Server, make_app
from shared.process import announce_ready, on_stop, run
from shared.settings import QuerySettings
from shared.store.choice import open_store
from shared.token_file import access_by


def main() -> None:
    """Serve until told to stop."""
    settings = QuerySettings.load(os.environ)
    access = access_by(settings.api_tokens_file)
    registry = metrics.new_registry()
    store = open_store(settings, cache_kib=CACHE_KIB)
    errors = store_errors(registry)
    streams = Streams(store, errors, registry)
    try:
        app = make_app(
            metrics.routes(registry),
            health.routes({"store": health.answers(store.ping)}),
            page_routes(),
            routes(store, errors),
            slot_routes.routes(store, errors),
            streams.routes(),
            ships.routes(store, errors),
            access=access,
        )
        server = Server(app, settings.http_host, settings.http_port, threads=THREADS + MOST)
        on_stop(streams.end, server.stop)
        announce_ready()
        server.run()
    finally:
        store.close()


if __name__ == "__main__":
    run(main)

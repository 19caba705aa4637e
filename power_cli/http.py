"""Gateway and query service on one port, in one process."""

import os

from ingest_api.gateway import gateway
from query_api import ships
from query_api.app import routes as query_routes
from query_api.app import store_errors
from shared import api_pages, health, metrics
from shared.http import Server, make_app
from shared.process import announce_ready, on_stop, run
from shared.settings import IngestSettings, QuerySettings
from shared.store.choice import open_store
from shared.token_file import access_by


def main() -> None:
    """Serve until told to stop."""
    settings, query_settings = IngestSettings.load(os.environ), QuerySettings.load(os.environ)
    access = access_by(settings.api_tokens_file)
    registry = metrics.new_registry()
    errors = store_errors(registry)
    store = open_store(query_settings)
    try:
        with gateway(settings, registry) as ingest:
            app = make_app(
                metrics.routes(registry),
                health.routes({**ingest.checks, "store": health.answers(store.ping)}),
                ingest.routes,
                query_routes(store, errors),
                ships.routes(store, errors),
                api_pages.routes(),
                access=access,
            )
            server = Server(app, settings.http_host, settings.http_port)
            on_stop(ingest.let_go, server.stop)
            ingest.await_connection()
            announce_ready()
            server.run()
    finally:
        store.close()


if __name__ == "__main__":
    run(main)

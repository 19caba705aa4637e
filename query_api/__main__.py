"""The query service's process: reads the settings, puts the parts together, serves."""

import os

from query_api import ships
from query_api.app import routes, store_errors
from shared import api_pages, health, metrics
from shared.http import Server, make_app
from shared.process import announce_ready, on_stop, run
from shared.settings import QuerySettings
from shared.store.choice import open_store
from shared.token_file import access_by


def main() -> None:
    """Serve until told to stop."""
    settings = QuerySettings.load(os.environ)
    access = access_by(settings.api_tokens_file)
    registry = metrics.new_registry()
    errors = store_errors(registry)
    store = open_store(settings)
    try:
        app = make_app(
            metrics.routes(registry),
            health.routes({"store": health.answers(store.ping)}),
            routes(store, errors),
            ships.routes(store, errors),
            api_pages.routes(),
            access=access,
        )
        server = Server(app, settings.http_host, settings.http_port)
        on_stop(server.stop)
        announce_ready()
        server.run()
    finally:
        store.close()


if __name__ == "__main__":
    run(main)

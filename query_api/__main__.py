"""The query service's process: reads the settings, puts the parts together, serves."""

import os

from query_api.app import create_app
from shared.http import Server
from shared.process import announce_ready, on_stop, run
from shared.settings import QuerySettings
from shared.store.sqlite import SqliteStore


def main() -> None:
    """Serve until told to stop."""
    settings = QuerySettings.load(os.environ)
    store = SqliteStore(settings.data_dir)
    try:
        server = Server(create_app(store), settings.http_host, settings.http_port)
        on_stop(server.stop)
        announce_ready()
        server.run()
    finally:
        store.close()


if __name__ == "__main__":
    run(main)

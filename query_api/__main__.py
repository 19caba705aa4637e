"""The query service's process: reads the settings, puts the parts together, serves."""

import os

from query_api.app import routes
from shared.http import Server, make_app
from shared.process import announce_ready, on_stop, run
from shared.settings import QuerySettings
from shared.store.sqlite import SqliteStore
from shared.token_file import access_by


def main() -> None:
    """Serve until told to stop."""
    settings = QuerySettings.load(os.environ)
    access = access_by(settings.api_tokens_file)
    store = SqliteStore(settings.data_dir)
    try:
        server = Server(make_app(routes(store), access=access), settings.http_host, settings.http_port)
        on_stop(server.stop)
        announce_ready()
        server.run()
    finally:
        store.close()


if __name__ == "__main__":
    run(main)

"""Runs the query service as a process."""

import os

from query_api.service import query_service
from shared.http import health, metrics
from shared.http.app import make_app
from shared.http.server import THREADS, Server
from shared.http.token_file import access_by
from shared.runtime.process import announce_ready, on_stop, run
from shared.runtime.settings import QuerySettings


def main() -> None:
    """Serve until the process is told to stop."""
    settings = QuerySettings.load(os.environ)
    access = access_by(settings.api_tokens_file)
    registry = metrics.new_registry()
    with query_service(settings, registry) as queries:
        app = make_app(
            metrics.routes(registry),
            health.routes(queries.checks, queries.details),
            *queries.routes,
            access=access,
            browsers=settings.browsers,
        )
        server = Server(app, settings.http_host, settings.http_port, threads=THREADS + queries.threads)
        on_stop(queries.let_go, server.stop)
        announce_ready()
        queries.begin()
        server.run()


if __name__ == "__main__":
    run(main)

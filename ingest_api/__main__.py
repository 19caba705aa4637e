"""The gateway's process: reads the settings and serves HTTP."""

import os
from contextlib import closing

from ingest_api.gateway import Gateway
from shared.http import health, metrics
from shared.http.app import make_app
from shared.http.server import GATEWAY_BODIES_BYTES, Server
from shared.http.token_file import access_by
from shared.runtime.process import announce_ready, on_stop, run
from shared.runtime.settings import IngestSettings


def main() -> None:
    """Serve until told to stop."""
    settings = IngestSettings.load(os.environ)
    access = access_by(settings.api_tokens_file)
    registry = metrics.new_registry()
    with closing(Gateway(settings, registry)) as gateway:
        app = make_app(
            metrics.routes(registry),
            health.routes(gateway.checks),
            gateway.routes,
            access=access,
            browsers=settings.browsers,
        )
        server = Server(app, settings.http_host, settings.http_port, bodies_bytes=GATEWAY_BODIES_BYTES)
        on_stop(gateway.stop_waiting, server.stop)
        gateway.await_connection()
        announce_ready()
        server.run()


if __name__ == "__main__":
    run(main)

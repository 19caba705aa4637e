"""Gateway and query service on one port, in one process: a POST goes to the one, everything else to the other."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from ingest_api.app import create_app as create_ingest_app
from ingest_api.mqtt_publisher import MqttPublisher
from query_api.app import create_app as create_query_app
from shared.http import Server
from shared.process import announce_ready, on_stop, run
from shared.settings import IngestSettings, QuerySettings
from shared.store.sqlite import SqliteStore

WsgiApp = Callable[..., Iterable[bytes]]


def by_method(ingest: WsgiApp, query: WsgiApp) -> WsgiApp:
    """Send each request to the service that answers its method."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return (ingest if environ["REQUEST_METHOD"] == "POST" else query)(environ, start_response)

    return app


def main() -> None:
    """Serve until told to stop."""
    settings, query_settings = IngestSettings.load(os.environ), QuerySettings.load(os.environ)
    store = SqliteStore(query_settings.data_dir)
    publisher = MqttPublisher(settings.mqtt_host, settings.mqtt_port)
    try:
        ingest = create_ingest_app(publisher, allow_negative=settings.allow_negative)
        server = Server(by_method(ingest, create_query_app(store)), settings.http_host, settings.http_port)
        on_stop(server.stop)
        announce_ready()
        server.run()
    finally:
        publisher.close()
        store.close()


if __name__ == "__main__":
    run(main)

"""Gateway and query service on one port, in one process."""

import os

from ingest_api.app import routes as ingest_routes
from ingest_api.metrics import IngestMetrics
from ingest_api.mqtt_publisher import MqttPublisher
from query_api.app import routes as query_routes
from query_api.app import store_errors
from shared import health, metrics
from shared.broker import Login
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
    store = open_store(query_settings)
    ingest_metrics = IngestMetrics(registry)
    dropped = ingest_metrics.dropped.set
    publisher = MqttPublisher(settings.mqtt_host, settings.mqtt_port, Login.of(settings), dropped=dropped)
    try:
        app = make_app(
            metrics.routes(registry),
            health.routes({"broker": publisher.is_connected, "store": health.answers(store.ping)}),
            ingest_routes(publisher, ingest_metrics, allow_negative=settings.allow_negative),
            query_routes(store, store_errors(registry)),
            access=access,
        )
        server = Server(app, settings.http_host, settings.http_port)
        on_stop(server.stop)
        publisher.await_connection()
        announce_ready()
        server.run()
    finally:
        publisher.close()
        store.close()


if __name__ == "__main__":
    run(main)

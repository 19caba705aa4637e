"""The gateway's process: reads the settings, puts the parts together, serves."""

import os

from ingest_api.app import routes
from ingest_api.metrics import IngestMetrics
from ingest_api.mqtt_publisher import MqttPublisher
from shared import health, metrics
from shared.broker import Login
from shared.http import Server, make_app
from shared.process import announce_ready, on_stop, run
from shared.settings import IngestSettings
from shared.token_file import access_by


def main() -> None:
    """Serve until told to stop."""
    settings = IngestSettings.load(os.environ)
    access = access_by(settings.api_tokens_file)
    registry = metrics.new_registry()
    ingest_metrics = IngestMetrics(registry)
    dropped = ingest_metrics.dropped.set
    publisher = MqttPublisher(settings.mqtt_host, settings.mqtt_port, Login.of(settings), dropped=dropped)
    try:
        app = make_app(
            metrics.routes(registry),
            health.routes({"broker": publisher.is_connected}),
            routes(publisher, ingest_metrics, allow_negative=settings.allow_negative),
            access=access,
        )
        server = Server(app, settings.http_host, settings.http_port)
        on_stop(server.stop)
        publisher.await_connection()
        announce_ready()
        server.run()
    finally:
        publisher.close()


if __name__ == "__main__":
    run(main)

"""Gateway and query service on one port, in one process."""

import os

from ingest_api.app import routes as ingest_routes
from ingest_api.mqtt_publisher import MqttPublisher
from query_api.app import routes as query_routes
from shared.http import Server, make_app
from shared.process import announce_ready, on_stop, run
from shared.settings import IngestSettings, QuerySettings
from shared.store.sqlite import SqliteStore
from shared.token_file import access_by


def main() -> None:
    """Serve until told to stop."""
    settings, query_settings = IngestSettings.load(os.environ), QuerySettings.load(os.environ)
    access = access_by(settings.api_tokens_file)
    store = SqliteStore(query_settings.data_dir)
    publisher = MqttPublisher(settings.mqtt_host, settings.mqtt_port)
    try:
        ingest = ingest_routes(publisher, allow_negative=settings.allow_negative)
        app = make_app(ingest, query_routes(store), access=access)
        server = Server(app, settings.http_host, settings.http_port)
        on_stop(server.stop)
        announce_ready()
        server.run()
    finally:
        publisher.close()
        store.close()


if __name__ == "__main__":
    run(main)

"""The gateway put together, as its process has it."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from prometheus_client import CollectorRegistry

from ingest_api.gateway import Gateway
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.runtime.settings import IngestSettings
from tests.support.bad_batches import text
from tests.support.servers import free_port
from tests.support.waiting import until


def test_told_to_end_it_has_nobody_wait_for_a_receipt(tmp_path: Path) -> None:
    """With no broker, and so no worker, either; a server that ends would give up who still waits."""
    settings = IngestSettings.load({"POWER_DATA_DIR": str(tmp_path), "POWER_MQTT_PORT": str(free_port())})
    registry = CollectorRegistry()
    with closing(Gateway(settings, registry)) as ours, ThreadPoolExecutor(1) as sender:
        client = make_app(ours.routes, access=anybody).test_client()
        waiting = sender.submit(client.post, "/data", data=text(), headers={"Prefer": "wait=30"})
        until(lambda: registry.get_sample_value("power_outbox_batches") == 1, "it is accepted")
        ours.stop_waiting()
        assert waiting.result(20).status_code == 202

"""A gateway that is sent 64 of the heaviest bodies at once: it keeps to its memory, and goes on answering others."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import urllib3

from tests.support.heavy_bodies import heavy_body
from tests.support.processes import PowerProcess
from tests.support.servers import HOST, Broker, free_port

AT_ONCE = 64
MOST_BYTES = 600 * 2**20
PATIENCE_S = 20.0
"""Under a second where nothing else runs; a thread that is kept by a body, or waits for one, would take far longer."""
SMALL = b'{"spaceship_id": 2, "units": "kW", "data": [{"datetime": "2019-01-05T04:37:00Z", "value": 1}]}'
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Run one; gives its address and its process."""
    broker, port = Broker(tmp_path), free_port()
    broker.start()
    environ = {"POWER_MQTT_PORT": str(broker.port), "POWER_HTTP_PORT": str(port), "POWER_DATA_DIR": str(tmp_path)}
    process = PowerProcess("ingest_api", environ, tmp_path / "gateway.log")
    process.start()
    assert process._process is not None
    try:
        yield f"http://{HOST}:{port}", process._process.pid
    finally:
        process.stop()
        broker.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is told by /proc")
def test_64_of_the_heaviest_bodies_at_once_stop_nobody_else(gateway: tuple[str, int]) -> None:
    """Valid and not: the most of them are told to come again, and nobody waits for them."""
    url, pid = gateway
    http = urllib3.PoolManager(retries=False, maxsize=AT_ONCE + 2, timeout=urllib3.Timeout(60))
    bodies = [heavy_body(name) for name in ("ordinary", "five members", "keys and a fault", "cut short")]

    def send(number: int) -> int:
        return http.request("POST", f"{url}/data", body=bodies[number % len(bodies)], headers=JSON).status

    with ThreadPoolExecutor(AT_ONCE) as senders:
        sending = [senders.submit(send, number) for number in range(AT_ONCE)]
        asked = 0
        while wait(sending, 0.05).not_done:
            assert http.request("GET", f"{url}/healthz", timeout=PATIENCE_S).status == 200
            assert http.request("POST", f"{url}/data", body=SMALL, headers=JSON, timeout=PATIENCE_S).status == 202
            asked += 1
        statuses = {each.result() for each in sending}
    assert asked
    assert statuses <= {202, 400, 422, 503}
    assert len(statuses) > 1
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    assert next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 < MOST_BYTES
    assert send(0) == 202

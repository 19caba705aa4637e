"""GET /data/stream through the whole service, on both stores."""

import json

import urllib3

from tests.support.servers import HOST, Service


def test_what_is_posted_is_heard(service: Service, ship: int) -> None:
    """A new slot, and its correction."""
    url = f"http://{HOST}:{service.port}/data/stream?spaceship_id={ship}"
    response = urllib3.request("GET", url, preload_content=False, timeout=30, retries=False)
    for value in (5, 7):
        data = [{"datetime": "2023-08-24T00:00:00Z", "value": value}]
        assert service.post({"spaceship_id": ship, "units": "kWh", "data": data}).status == 202
        heard: list[bytes] = []
        while not heard or not heard[-1].startswith(b"data:"):
            heard.append(response.readline())
            assert heard[-1], "the stream has ended"
        assert json.loads(heard[-1][len("data:") :])["value"] == value
    response.release_conn()
    response.close()

"""What a running service tells of itself: its counters say what was sent, and /readyz that it can work."""

import socket
from pathlib import Path
from typing import Any

import paho.mqtt.publish as paho
import urllib3

from tests.support.servers import HOST, WatchedService
from tests.support.service_processes import HOURLY, child, run
from tests.support.waiting import until

JSON = {"Content-Type": "application/json"}


def ready(response: urllib3.BaseHTTPResponse) -> Any:
    return response.json()["checks"] if response.status == 200 else None


def test_after_good_and_bad_batches_the_counters_say_just_that(own: WatchedService) -> None:
    statuses = [
        own.post(HOURLY).status,
        own.post({**HOURLY, "spaceship_id": 2}).status,
        own.post({**HOURLY, "units": "kw"}).status,
        own.request("POST", "/data", b"{", JSON).status,
        own.request("POST", "/data", b"{}", {"Content-Type": "text/html"}).status,
        own.request("POST", "/data/2", b"{}", JSON).status,
    ]
    assert statuses == [202, 202, 422, 400, 415, 404]
    paho.single("ships/3/readings", b"not a batch", qos=1, hostname=HOST, port=own.mqtt_port)
    until(lambda: own.count("power_worker_messages_total") == 3, "the worker has all of them")
    assert own.count("power_worker_readings_total") == 4
    assert own.count("power_worker_dead_letters_total") == 1
    assert own.count("power_worker_batch_lag_seconds_count") == 2, "of those that the gateway dated"
    assert 1 <= own.count("power_worker_transaction_seconds_count") <= 3
    assert own.count("power_worker_reconnects_total") == 0
    assert own.count("power_worker_lost_sessions_total") == own.count("power_worker_lost_subscriptions_total") == 0
    assert own.count("power_ingest_batches_total") == 2
    assert own.count("power_ingest_readings_total") == 4
    assert own.count("power_ingest_outbox_failures_total") == 0
    assert own.count("power_query_store_errors_total") == 0
    assert own.counts("power_ingest_batches_refused_total") == {("400",): 1, ("415",): 1, ("422",): 1}
    requests = own.counts("power_http_requests_total")
    of_data = {labels: count for labels, count in requests.items() if labels[1] != "/metrics"}
    assert of_data == {
        ("POST", "/data", "202"): 2,
        ("POST", "/data", "400"): 1,
        ("POST", "/data", "415"): 1,
        ("POST", "/data", "422"): 1,
        ("POST", "other", "404"): 1,
    }


def test_every_process_is_ready_and_is_so_again_after_its_broker_died(own: WatchedService) -> None:
    until(
        lambda: ready(own.request("GET", "/readyz")) == {"broker": True, "outbox": True, "store": True},
        "the APIs are ready",
    )
    checks = ("broker", "subscription", "queue", "store", "dead_letters", "progress")
    assert ready(own.worker("/readyz")) == dict.fromkeys(checks, True)
    assert own.get("/healthz") == own.worker("/healthz").json() == {"status": "ok"}
    broker = child(own, "mosquitto")
    assert broker is not None
    broker.kill()
    until(lambda: own.count("power_worker_reconnects_total") >= 1, "the worker is connected again")
    until(lambda: ready(own.worker("/readyz")), "the worker is ready again")
    until(lambda: ready(own.request("GET", "/readyz")), "the APIs are ready again")


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    service = WatchedService(tmp_path / "data")
    with socket.create_server((HOST, service.worker_port)):
        ended = run(service)
    assert ended.returncode != 0
    assert ended.stderr.splitlines() == [ended.stderr.strip()]
    assert f"port {service.worker_port} cannot be used" in ended.stderr
    assert "--worker-port" in ended.stderr

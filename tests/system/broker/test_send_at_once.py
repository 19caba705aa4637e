"""Small packets do not wait for one another, at either end."""

import socket
from contextlib import closing
from typing import Any

from ingest_api.delivery.mqtt_link import Link
from normalizer_worker.mqtt.session import Connection
from shared.contract.topics import ALL_READINGS
from tests.support.outbox import Ear
from tests.support.servers import HOST, Broker


def sends_at_once(sock: Any) -> bool:
    return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


def test_the_worker_sends_at_once(broker: Broker) -> None:
    with closing(Connection(HOST, broker.port, "test-worker", ALL_READINGS, 10)) as connection:
        assert sends_at_once(connection._client.socket())


def test_the_gateway_sends_at_once(broker: Broker) -> None:
    link = Link(HOST, broker.port, "gateways/test/receipts", Ear())
    link.open()
    with closing(link):
        assert sends_at_once(link._client.socket())

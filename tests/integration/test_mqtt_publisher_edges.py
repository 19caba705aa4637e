"""Every reason code that a broker may confirm with, by a broker made for the test."""

import socket
import threading

import pytest
from ingest_api.mqtt_publisher import MqttPublisher

from shared.errors import Unavailable
from tests.integration.test_mqtt_publisher import connection, publisher  # noqa: F401  # fixtures
from tests.support.servers import HOST
from tests.support.waiting import until

CONNACK = b"\x20\x03\x00\x00\x00"


def confirm(server: socket.socket, code: int) -> None:
    """Be a broker to one client, which confirms every message with the same reason code."""
    client, _ = server.accept()
    with client, client.makefile("rb") as packets:
        while head := packets.read(2):
            body = packets.read(head[1])
            if head[0] == 0x10:  # CONNECT
                client.sendall(CONNACK)
            elif head[0] & 0xF0 == 0x30:  # PUBLISH: the topic, then the packet's identifier
                at = 2 + int.from_bytes(body[:2])
                client.sendall(b"\x40\x04" + body[at : at + 2] + bytes([code, 0]))


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (0x00, None),
        (0x10, "no worker"),
        (0x80, "refused"),
        (0x87, "refused"),
        (0x97, "refused"),
        (0x99, "refused"),
    ],
    ids=[
        "success",
        "no subscriber",
        "unspecified",
        "not authorized",
        "quota exceeded",
        "payload format",
    ],
)
def test_only_a_good_reason_code_is_a_confirmation(code: int, why: str | None) -> None:
    """A PUBACK alone says no more than that the broker has looked at the message."""
    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=confirm, args=(server, code), daemon=True).start()
        publisher = MqttPublisher(HOST, server.getsockname()[1])
        try:
            until(publisher._client.is_connected, "the publisher is connected")
            if why is None:
                publisher.publish("ships/7/readings", b"x")
            else:
                with pytest.raises(Unavailable, match=why):
                    publisher.publish("ships/7/readings", b"x")
            assert publisher._codes == {}, "what is answered is forgotten"
        finally:
            publisher.close()

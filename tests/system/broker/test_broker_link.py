"""Every reason code that a broker may confirm with, by a broker made for the test."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from ingest_api.delivery.mqtt_link import Link, LinkRefused
from shared.contract.status import BatchKey
from shared.domain.errors import Unavailable
from tests.support.outbox import Ear
from tests.support.servers import HOST, free_port
from tests.support.waiting import until

CONNACK = b"\x20\x03\x00\x00\x00"
BATCH = BatchKey(7, "a batch")


def serve(server: socket.socket, code: int, connack: bytes = CONNACK, suback: int = 1) -> None:
    """Be a broker to one client, which confirms every message with the same reason code."""
    client, _ = server.accept()
    with suppress(ConnectionError), client, client.makefile("rb") as packets:
        while head := packets.read(2):
            body = packets.read(head[1])
            if head[0] == 0x10:  # CONNECT
                client.sendall(connack)
            elif head[0] == 0x82:  # SUBSCRIBE
                client.sendall(b"\x90\x04" + body[:2] + bytes([0, suback]))
            elif head[0] & 0xF0 == 0x30:  # PUBLISH: the topic, then the packet's identifier
                at = 2 + int.from_bytes(body[:2])
                client.sendall(b"\x40\x04" + body[at : at + 2] + bytes([code, 0]))


def linked(use: Callable[[Link, Ear], None], **broker: Any) -> None:
    """Use a link to a broker of that kind."""
    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=serve, args=(server,), kwargs={"code": 0, **broker}, daemon=True).start()
        ear = Ear()
        link = Link(HOST, server.getsockname()[1], "gateways/x/receipts", ear)
        try:
            use(link, ear)
        finally:
            link.close()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (0x00, None),
        (0x10, "No matching subscribers"),
        (0x80, "Unspecified error"),
        (0x87, "Not authorized"),
        (0x97, "Quota exceeded"),
        (0x99, "Payload format invalid"),
    ],
)
def test_only_a_good_reason_code_is_no_refusal(code: int, why: str | None) -> None:
    """A PUBACK alone says no more than that the broker has looked at the message."""

    def use(link: Link, ear: Ear) -> None:
        link.open()
        for _ in range(3):
            link.publish(BATCH, "ships/7/readings", b"x", b"d")
        until(lambda: not link._client._out_messages, "all is confirmed")
        until(lambda: len(ear.refusals) == (0 if why is None else 3), "each is told")
        assert set(ear.refusals) == (set() if why is None else {(BATCH, why)})
        assert link._keys == link._early == {}, "what is answered is forgotten"
        assert link.is_connected()

    linked(use, code=code)


def test_a_confirmation_may_come_before_publish_has_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    def use(link: Link, ear: Ear) -> None:
        link.open()
        publish = link._client.publish

        def slow(*arguments: Any, **more: Any) -> Any:
            info = publish(*arguments, **more)
            until(lambda: link._early, "the confirmation")
            return info

        monkeypatch.setattr(link._client, "publish", slow)
        link.publish(BATCH, "ships/7/readings", b"x", b"d")
        assert ear.refusals == [(BATCH, "Not authorized")]
        assert link._keys == link._early == {}

    linked(use, code=0x87)


def test_what_the_broker_says_of_its_limits_is_heeded() -> None:
    """Receive Maximum 5, Maximum Packet Size 1000."""

    def use(link: Link, ear: Ear) -> None:
        link.open()
        assert link.receive_maximum == 5
        link.publish(BATCH, "ships/7/readings", b"x" * 1000, b"d")
        assert ear.refusals == [(BATCH, "it takes no more than 1000 bytes")]
        assert link.is_connected()

    linked(use, connack=b"\x20\x0b\x00\x00\x08\x21\x00\x05\x27\x00\x00\x03\xe8")


def test_a_connection_or_subscription_that_is_refused_says_so() -> None:
    def use(link: Link, _: Ear) -> None:
        with pytest.raises(LinkRefused, match=r"refuses the (connection|subscription to its receipts): Not authorized"):
            link.open()

    linked(use, connack=b"\x20\x03\x00\x87\x00")
    linked(use, suback=0x87)


def test_without_its_receipts_it_is_not_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither between the two answers of the broker: what is published then, nobody hears the receipts of."""
    said: list[bool] = []

    def use(link: Link, _: Ear) -> None:
        subscribe = link._client.subscribe

        def subscribing(*arguments: Any) -> Any:
            said.append(link.is_connected())
            return subscribe(*arguments)

        monkeypatch.setattr(link._client, "subscribe", subscribing)
        link.open()
        assert link.is_connected()

    linked(use)
    assert said[0] is False


def test_what_has_ended_takes_nothing() -> None:
    def use(link: Link, ear: Ear) -> None:
        link.open()
        link.close()
        until(lambda: ear.is_lost, "told")
        assert link._client.socket() is link._client._sockpairR is link._client._sockpairW is None, "nothing stays open"
        assert not link.is_connected()
        with pytest.raises(Unavailable, match="lost"):
            link.publish(BATCH, "ships/7/readings", b"x", b"d")

    linked(use)


def test_no_broker_at_all_says_why() -> None:
    link = Link(HOST, free_port(), "gateways/x/receipts", Ear())
    with pytest.raises(Unavailable, match=f"no broker at {HOST}:.*refused"):
        link.open()
    link.close()

"""Acknowledgements: the receipt first, no more than the broker has room for, and nothing is lost."""

import logging
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from normalizer_worker.mqtt import acknowledgements
from normalizer_worker.mqtt.acknowledgements import Acknowledgements, Done
from normalizer_worker.mqtt.publish import Message
from normalizer_worker.mqtt.receipts import Receipt
from shared.domain.errors import Unavailable


class FakeClient:
    """Does what paho does with a limit of 0: sends all it is told to, and remembers it."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.code = MQTTErrorCode.MQTT_ERR_SUCCESS
        self.mids = 0

    def together(self) -> AbstractContextManager[None]:
        return nullcontext()

    def publish(self, topic: str, payload: bytes, qos: int, properties: Any) -> Any:
        assert qos == 1
        assert payload
        self.mids += 1
        self.sent.append(f"{topic} {properties.CorrelationData.decode()}" if properties else topic)
        return SimpleNamespace(rc=self.code, mid=self.mids)

    def ack(self, mid: int, qos: int) -> MQTTErrorCode:
        assert qos in (0, 1)
        self.sent.append(f"ack {mid}")
        return self.code


class Finisher:
    def __init__(self, room: int = 100, max_waiting: int = 100) -> None:
        self.client = FakeClient()
        self.refused: list[int] = []
        self.acknowledgements = Acknowledgements(self.client, max_waiting, self.refused.append)  # type: ignore[arg-type]  # all it needs
        self.acknowledgements.room = room

    def finish(self, *done: Done) -> bool:
        self.acknowledgements.add(done)
        return self.acknowledgements.go_on()

    def confirm(self, mid: int, name: str = "Success") -> None:
        self.acknowledgements.confirmed(mid, ReasonCode(PacketTypes.PUBACK, name))

    @property
    def sent(self) -> list[str]:
        sent, self.client.sent = self.client.sent, []
        return sent


def done(mid: int, *, receipt: bool = True, qos: int = 1, correlation: bytes | None = None) -> Done:
    message = Message("ships/1/readings", b"", retained=False, qos=qos, mid=mid)
    return Done(message, Receipt(f"to {mid}", b"{}", correlation, "stored") if receipt else None)


def test_a_receipt_goes_before_its_acknowledgement_and_all_in_the_order_of_arrival() -> None:
    one = Finisher()
    assert one.finish(done(7), done(8, receipt=False), done(9, correlation=b"x"))
    assert one.sent == ["to 7", "ack 7", "ack 8", "to 9 x", "ack 9"]


def test_what_the_broker_has_no_room_for_waits_with_its_acknowledgement_and_what_is_behind_it() -> None:
    one = Finisher(room=2)
    assert not one.finish(done(7), done(8), done(9), done(10, receipt=False))
    assert one.sent == ["to 7", "ack 7", "to 8", "ack 8"]
    assert not one.acknowledgements.go_on()
    one.confirm(2)
    assert one.acknowledgements.go_on()
    assert one.sent == ["to 9", "ack 9", "ack 10"]
    assert (one.acknowledgements.waiting, one.acknowledgements.unconfirmed) == (0, 2)


def test_room_is_of_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Response Topic, Correlation Data and a hundred faults may be a lot, ten thousand times."""
    monkeypatch.setattr(acknowledgements, "MAX_UNCONFIRMED_BYTES", 1000)
    one = Finisher()
    assert not one.finish(done(7, correlation=b"x" * 999), done(8), done(9))
    one.confirm(1)
    assert one.acknowledgements.go_on()
    assert one.acknowledgements._unconfirmed_bytes == 2 * len("to 8{}")


def test_a_refused_receipt_is_counted_and_said_once_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    one = Finisher()
    one.finish(done(7), done(8), done(9))
    one.confirm(1, "Not authorized")
    one.confirm(2, "Quota exceeded")
    one.confirm(3, "No matching subscribers")
    assert one.refused == [1, 1], "that nobody listens is no refusal"
    assert [record.message for record in caplog.records] == [
        "the broker refuses a receipt on 'to 7': Not authorized (more are only counted)"
    ]


def test_waiting_qos_0_receipts_are_limited(caplog: pytest.LogCaptureFixture) -> None:
    one = Finisher(room=0, max_waiting=2)
    assert not one.finish(*[done(0, qos=0) for _ in range(5)], done(7))
    assert (one.acknowledgements.waiting, one.refused) == (3, [3])
    assert "3 receipts of messages with QoS 0 are not sent" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("receipt", [True, False])
def test_a_lost_connection_is_said(*, receipt: bool) -> None:
    one = Finisher()
    one.client.code = MQTTErrorCode.MQTT_ERR_NO_CONN
    with pytest.raises(Unavailable, match="lost"):
        one.finish(done(7, receipt=receipt))


def test_the_connection_ends_if_the_broker_stops_confirming_receipts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else everything would wait for ever, on a connection that looks well."""
    one = Finisher(room=1)
    one.acknowledgements.check()
    one.finish(done(7), done(8))
    one.acknowledgements.check()
    monkeypatch.setattr(acknowledgements, "CONFIRMED_WITHIN_S", -1.0)
    with pytest.raises(Unavailable, match="confirmed no receipt"):
        one.acknowledgements.check()
    one.confirm(1)
    one.acknowledgements.go_on()
    one.acknowledgements.check()

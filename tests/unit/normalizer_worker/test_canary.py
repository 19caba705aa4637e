"""The message to ourselves: one that the broker has confirmed, and that does not come, shows a lost subscription."""

from types import SimpleNamespace

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from prometheus_client import CollectorRegistry

from normalizer_worker.mqtt.broker_metrics import BrokerMetrics
from normalizer_worker.mqtt.canary import BACK_WITHIN_S, QUIET_S, Canary
from shared.domain.errors import Unavailable


class Quiet:
    """A connection on which nothing comes, and its clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.sent = 0
        metrics = BrokerMetrics(CollectorRegistry())
        self.works = metrics.checks()["subscription"]
        self.probe = Canary(self, metrics, lambda: self.now_s)  # type: ignore[arg-type]  # all it needs of a client

    def publish(self, topic: str, payload: bytes, qos: int) -> SimpleNamespace:
        assert (topic, payload, qos) == ("ships/probe/readings", b"", 1)
        self.sent += 1
        return SimpleNamespace(mid=self.sent)

    def passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.probe.go_on()

    def confirms(self, name: str = "Success") -> bool:
        return self.probe.confirmed(self.sent, ReasonCode(PacketTypes.PUBACK, name))


def test_one_that_is_confirmed_and_does_not_come_in_time_shows_a_lost_subscription() -> None:
    quiet = Quiet()
    quiet.passes(0)
    assert quiet.confirms()
    quiet.passes(BACK_WITHIN_S)
    assert quiet.works()
    with pytest.raises(Unavailable, match="the subscription is lost"):
        quiet.passes(1)
    assert not quiet.works()


def test_a_broker_that_confirms_late_has_lost_no_subscription() -> None:
    quiet = Quiet()
    quiet.passes(0)
    quiet.passes(10 * BACK_WITHIN_S)
    quiet.confirms()
    quiet.passes(BACK_WITHIN_S)
    assert (quiet.sent, quiet.works()) == (1, True)


def test_the_next_is_sent_when_it_has_been_quiet_again() -> None:
    quiet = Quiet()
    quiet.passes(0)
    quiet.probe.heard()  # it comes before its confirmation
    quiet.confirms()
    quiet.passes(1)
    quiet.passes(QUIET_S - 1)
    assert quiet.sent == 1
    quiet.passes(2 * BACK_WITHIN_S)
    assert quiet.sent == 2


def test_a_broker_that_refuses_it_is_not_asked_again() -> None:
    quiet = Quiet()
    quiet.passes(0)
    quiet.confirms("Not authorized")
    quiet.passes(10 * QUIET_S)
    assert (quiet.sent, quiet.works()) == (1, True)

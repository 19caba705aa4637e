"""Who may do what at the broker, tried out on a real one: what is not granted is refused."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub
from paho.mqtt.enums import MQTTProtocolVersion

from power_cli.broker_control import carry_out
from power_cli.broker_users import ship_client, ship_role
from shared.settings import BrokerAdminSettings
from tests.support.guarded import GuardedBroker, Somebody
from tests.support.waiting import until

GRANTED = "Granted QoS 1"
REFUSED = "Not authorized"
CONTROL = "$CONTROL/dynamic-security/v1"
SHIPS = (42, 43)
PASSWORD = "of both ships"  # noqa: S105  # of this test alone


class Rights(NamedTuple):
    """What a user may do: the topics, or the filters that cover them."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


RIGHTS = {
    "ship-42": Rights(("ships/42/readings",), ("ships/42/receipts",)),
    "gateway": Rights(("ships/+/readings",), ("ships/+/receipts", "gateways/#")),
    "worker": Rights(("ships/+/receipts", "gateways/#"), ("ships/+/readings",)),
    "monitor": Rights((), ("$SYS/#",)),
    "admin": Rights((CONTROL,), (f"{CONTROL}/response",)),
}
TOPICS = [
    "ships/42/readings",
    "ships/42/receipts",
    "ships/43/readings",
    "ships/43/receipts",
    "ships/42/readings/more",
    "ships/42",
    "ships",
    "gateways/1/receipts",
    "$SYS/broker/uptime",
    CONTROL,
    f"{CONTROL}/response",
    "$CONTROL/other",
    "anything",
]
FILTERS = [
    *TOPICS,
    "#",
    "+/#",
    "+/+/+",
    "ships/#",
    "ships/+/readings",
    "ships/+/receipts",
    "ships/42/+",
    "ships/42/#",
    "gateways/#",
    "$SYS/#",
    "$CONTROL/#",
    "$CONTROL/dynamic-security/#",
    "$share/group/#",
    "$share/group/ships/+/readings",
    "$share/group/ships/43/receipts",
]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    """A broker with two ships, for all tests here."""
    broker = GuardedBroker(tmp_path_factory.mktemp("guarded"))
    broker.start()
    admin = BrokerAdminSettings.load(
        {"POWER_MQTT_PORT": str(broker.port), "POWER_MQTT_ADMIN_PASSWORD": broker.password("admin")}
    )
    for ship in SHIPS:
        answers = carry_out(
            admin,
            [{"command": "createRole", **ship_role(ship)}, {"command": "createClient", **ship_client(ship, PASSWORD)}],
        )
        assert not [each for each in answers if "error" in each]
    yield broker
    broker.stop()


@pytest.fixture
def enter(guarded: GuardedBroker) -> Iterator[Callable[[str], Somebody]]:
    """Let users in, whose connections end with the test."""
    inside: list[Somebody] = []

    def enter(user: str) -> Somebody:
        somebody = Somebody(guarded.port, user, PASSWORD if user.startswith("ship-") else guarded.password(user))
        inside.append(somebody)
        assert somebody.connect() == "Success"
        return somebody

    yield enter
    for each in inside:
        each.close()


def _covers(granted: str, wanted: str) -> bool:
    """Tell whether everything that a filter matches is matched by another; asked of these rights alone."""
    if granted == wanted:
        return True
    open_end = granted.removesuffix("/#")
    return open_end != granted and (wanted == open_end or wanted.startswith(f"{open_end}/"))


@pytest.mark.parametrize("user", RIGHTS)
def test_a_user_may_publish_what_it_must_and_nothing_else(user: str, enter: Callable[[str], Somebody]) -> None:
    somebody, allowed = enter(user), RIGHTS[user].publish
    for topic in TOPICS:
        granted = any(topic_matches_sub(each, topic) for each in allowed)
        assert (somebody.publish(topic) != REFUSED) is granted, topic


@pytest.mark.parametrize("user", RIGHTS)
def test_a_user_may_subscribe_to_what_it_must_and_nothing_else(user: str, enter: Callable[[str], Somebody]) -> None:
    somebody, allowed = enter(user), RIGHTS[user].subscribe
    for topic_filter in FILTERS:
        granted = any(_covers(each, topic_filter) or topic_matches_sub(each, topic_filter) for each in allowed)
        assert somebody.subscribe(topic_filter) == (GRANTED if granted else REFUSED), topic_filter

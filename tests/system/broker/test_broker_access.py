"""Who may do what at the broker, tried out on a real one: what is not granted is refused."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub
from paho.mqtt.enums import MQTTProtocolVersion

from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.session import Connection
from power_cli.broker_control import carry_out
from power_cli.broker_users import OPTIONS_FILE, ship_client, ship_role
from power_cli.up import ROOT
from shared.contract.topics import ALL_READINGS, CANARY, DROPPED
from shared.runtime.mqtt_client import Login
from shared.runtime.settings import BrokerAdminSettings
from tests.support.authenticated_broker import AuthenticatedBroker, BrokerClient
from tests.support.programs import need
from tests.support.servers import HOST
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
    "gateway": Rights(("ships/+/readings",), ("ships/+/receipts", "gateways/#", DROPPED)),
    "worker": Rights(("ships/+/receipts", "gateways/#", CANARY), ("ships/+/readings", DROPPED)),
    "monitor": Rights((), ("$SYS/#",)),
    "admin": Rights((CONTROL,), (f"{CONTROL}/response",)),
}
TOPICS = [
    "ships/42/readings",
    "ships/42/receipts",
    "ships/43/readings",
    "ships/43/receipts",
    CANARY,
    "ships/42/readings/more",
    "ships/42",
    "ships",
    "gateways/1/receipts",
    "$SYS/broker/uptime",
    DROPPED,
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
def authenticated(authenticated: AuthenticatedBroker) -> AuthenticatedBroker:
    """With two ships."""
    admin = BrokerAdminSettings.load(
        {"POWER_MQTT_PORT": str(authenticated.port), "POWER_MQTT_ADMIN_PASSWORD": authenticated.password("admin")}
    )
    for ship in SHIPS:
        answers = carry_out(
            admin,
            [{"command": "createRole", **ship_role(ship)}, {"command": "createClient", **ship_client(ship, PASSWORD)}],
        )
        assert not [each for each in answers if "error" in each]
    return authenticated


@pytest.fixture
def enter(authenticated: AuthenticatedBroker) -> Iterator[Callable[[str], BrokerClient]]:
    """Let users in, whose connections end with the test."""
    inside: list[BrokerClient] = []

    def enter(user: str) -> BrokerClient:
        client = BrokerClient(
            authenticated.port, user, PASSWORD if user.startswith("ship-") else authenticated.password(user)
        )
        inside.append(client)
        assert client.connect() == "Success"
        return client

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
def test_a_user_may_publish_what_it_must_and_nothing_else(user: str, enter: Callable[[str], BrokerClient]) -> None:
    client, allowed = enter(user), RIGHTS[user].publish
    for topic in TOPICS:
        granted = any(topic_matches_sub(each, topic) for each in allowed)
        assert (client.publish(topic) != REFUSED) is granted, topic


@pytest.mark.parametrize("user", RIGHTS)
def test_a_user_may_subscribe_to_what_it_must_and_nothing_else(user: str, enter: Callable[[str], BrokerClient]) -> None:
    client, allowed = enter(user), RIGHTS[user].subscribe
    for topic_filter in FILTERS:
        granted = any(_covers(each, topic_filter) or topic_matches_sub(each, topic_filter) for each in allowed)
        assert client.subscribe(topic_filter) == (GRANTED if granted else REFUSED), topic_filter


@settings(max_examples=300)
@given(
    topic=st.lists(
        st.sampled_from(["ships", "42", "43", "readings", "receipts", "+", "gateways", "$SYS", "$share", ""]),
        min_size=1,
        max_size=5,
    ).map("/".join),
    tail=st.sampled_from(["", "", "/#"]),
)
def test_no_other_topic_is_a_ships(authenticated: AuthenticatedBroker, topic: str, tail: str) -> None:
    """Whatever it is made of."""
    topic_filter = topic + tail
    with BrokerClient(authenticated.port, "ship-43", PASSWORD) as ship:
        assert ship.connect() == "Success"
        if is_filter(topic_filter):
            allowed = topic_filter == "ships/43/receipts"
            assert ship.subscribe(topic_filter) == (GRANTED if allowed else REFUSED)
        if topic and not set(topic_filter) & {"+", "#"}:
            assert (ship.publish(topic_filter) == REFUSED) is (topic_filter != "ships/43/readings")


def is_filter(text: str) -> bool:
    """Tell whether a filter is well-formed: the broker ends the connection of who sends another."""
    shared = text.startswith("$share/")
    group, _, rest = text.removeprefix("$share/").partition("/")
    return bool(text) and (not shared or bool(group and "+" not in group and rest))


@pytest.mark.parametrize("protocol", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
@pytest.mark.parametrize(
    ("username", "password"),
    [
        (None, None),
        ("", ""),
        ("nobody", "x"),
        ("ship-44", PASSWORD),
        ("ship-42", None),
        ("ship-42", ""),
        ("ship-42", "wrong"),
        ("admin", ""),
        ("admin", "admin"),
        ("gateway", "gateway"),
        ("worker", ""),
        ("monitor", "mosquitto"),
    ],
)
def test_nobody_gets_in_without_a_password_that_is_right(
    authenticated: AuthenticatedBroker, protocol: MQTTProtocolVersion, username: str | None, password: str | None
) -> None:
    with BrokerClient(authenticated.port, username, password, client_id="ship-42") as stranger:
        stranger.protocol = protocol
        assert stranger.connect() in (REFUSED, "Bad user name or password")


@pytest.mark.parametrize("client_id", ["normalizer-worker", "ship-43", "", "ship-42 "])
def test_a_ship_cannot_take_anothers_session(
    authenticated: AuthenticatedBroker, enter: Callable[[str], BrokerClient], client_id: str
) -> None:
    """Under the worker's client identifier it would end the worker's connection, and what waits there would be lost."""
    worker = Connection(
        HOST,
        authenticated.port,
        "normalizer-worker",
        ALL_READINGS,
        100,
        login=Login("worker", authenticated.password("worker")),
    )
    try:
        assert enter("ship-43").publish("ships/43/readings", b"precious") == "Success"
        with BrokerClient(authenticated.port, "ship-42", PASSWORD, client_id=client_id) as ship:
            assert ship.connect() == REFUSED
        message = until(lambda: worker.receive(0.05), "the message")
        assert message.payload == b"precious"
        worker.finish([Done(message)])
    finally:
        worker.close()


def test_a_ship_is_told_of_its_own_batches_alone(enter: Callable[[str], BrokerClient]) -> None:
    worker, ship, other = enter("worker"), enter("ship-42"), enter("ship-43")
    for each, number in ((ship, 42), (other, 43)):
        assert each.subscribe(f"ships/{number}/receipts") == GRANTED
    for number in (43, 42):
        assert worker.publish(f"ships/{number}/receipts", b"%d" % number) == "Success"
    for each, number in ((ship, 42), (other, 43)):
        until(lambda each=each: each.alive() and each.received, "its receipt")  # type: ignore[misc]  # of this round
        assert each.received == [(f"ships/{number}/receipts", b"%d" % number)]


def test_what_is_refused_reaches_nobody(
    authenticated: AuthenticatedBroker, enter: Callable[[str], BrokerClient]
) -> None:
    """Over MQTT 3.1.1 the sender is not told, and a last will nobody confirms: what counts is that nothing comes."""
    gateway, worker = enter("gateway"), enter("worker")
    assert gateway.subscribe("ships/+/receipts") == GRANTED
    assert gateway.subscribe("gateways/#") == GRANTED
    assert worker.subscribe("ships/+/readings") == GRANTED
    ship = BrokerClient(authenticated.port, "ship-42", PASSWORD).with_will("ships/42/receipts", b"forged by will")
    ship.protocol = MQTTProtocolVersion.MQTTv311
    assert ship.connect() == "Success"
    assert ship.subscribe("#") == "Unspecified error"
    ship.publish("ships/42/receipts", b"forged")
    ship.publish("gateways/1/receipts", b"forged for a gateway")
    ship.publish("ships/43/readings", b"for another")
    ship.publish("ships/43/readings", b"for another", retain=True)
    ship.publish("ships/42/readings", b"its own")
    until(lambda: worker.alive() and worker.received, "what it may send")
    ship.close(politely=False)
    with BrokerClient(authenticated.port, "ship-42", PASSWORD) as again:
        assert again.connect() == "Success", "and with it the broker has noticed the loss"
    assert worker.publish("ships/42/receipts", b"true") == "Success"
    until(lambda: gateway.alive() and gateway.received, "the receipt")
    assert gateway.received == [("ships/42/receipts", b"true")]
    assert worker.received == [("ships/42/readings", b"its own")]


def test_the_health_check_gets_in_and_its_command_tells_nobody_the_password(authenticated: AuthenticatedBroker) -> None:
    """The very command of docker-compose.yml, with the secret where compose would mount it."""
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    command = re.search(r"(?m)^ +test: (XDG_CONFIG_HOME=/run/secrets mosquitto_sub .+)$", text)
    assert command
    assert "{source: mqtt_monitor_options, target: mosquitto_sub}" in text
    need("mosquitto-clients")
    mounted = authenticated.folder / "run" / "secrets"
    mounted.mkdir(parents=True)
    shutil.copy(authenticated.secrets / OPTIONS_FILE, mounted / "mosquitto_sub")
    check = command[1].replace("$$", "$").replace("/run/secrets", str(mounted)) + f" -h {HOST} -p {authenticated.port}"

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", check], capture_output=True, text=True, timeout=20, check=False)

    done = run()
    assert (done.returncode, done.stdout[:10]) == (0, "mosquitto "), done.stderr
    (mounted / "mosquitto_sub").write_text("-u monitor\n-P wrong\n", "utf-8")
    assert run().returncode != 0

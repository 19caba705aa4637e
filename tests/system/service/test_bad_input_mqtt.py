"""Readings over MQTT: what becomes a dead letter, what is taken, and that nothing blocks what comes behind it."""

import gzip
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from normalizer_worker.ledger.dead_letter import MAX_PAYLOAD_BYTES, DeadLetter, digest_of
from power_cli.up import ROOT
from shared.contract.limits import ENVELOPE_BYTES, MAX_BODY_BYTES, MAX_READINGS
from shared.domain.timestamps import iso, moment_us
from tests.support.bad_batches import INVALID, READING, SHIP, UNREADABLE, BadBatch, reading, text
from tests.support.cluster_service import ClusterService
from tests.support.servers import HOST, Broker, Service
from tests.support.waiting import until

START_US = moment_us("2021-06-01T00:00:00Z")
SLOT_US = 900_000_000
BEHIND = 3_000_001
"""The ship whose good messages come behind the bad ones."""
BROKERS_LIMIT = 8_400_000
"""`max_packet_size` in mosquitto/local.conf."""

_UNFIT = [
    BadBatch("gzip, which only HTTP knows", gzip.compress(text().encode()), frozenset({"body"})),
    BadBatch("two batches, which only HTTP knows", f"[{text()}, {text()}]".encode(), frozenset({"body"})),
    BadBatch(
        "more than 8 MiB", text(note=f'"{"x" * (MAX_BODY_BYTES + ENVELOPE_BYTES)}"').encode(), frozenset({"body"})
    ),
]
_OTHER_SHIPS = [
    BadBatch("another ship", text(spaceship_id="5").encode(), frozenset({"spaceship_id"})),
    BadBatch(
        "another ship and another fault",
        text(spaceship_id="5", units='"J"').encode(),
        frozenset({"spaceship_id", "units"}),
    ),
    BadBatch("the topic's ship as text", text(spaceship_id=f'"{SHIP}"').encode(), frozenset({"spaceship_id"})),
]
BAD = [*INVALID, *UNREADABLE, *_UNFIT, *_OTHER_SHIPS]
NO_SHIPS = [
    "ships//readings",
    "ships/x/readings",
    "ships/-1/readings",
    "ships/007/readings",
    "ships/1.0/readings",
    f"ships/{2**53}/readings",
    "ships/\N{ROCKET}/readings",
    f"ships/{'9' * 1000}/readings",
]


class Ship:
    """A client that publishes as ships do."""

    def __init__(self, service: Service, protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311) -> None:
        """Prepare one; it connects in a `with`."""
        self.lost = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=protocol, reconnect_on_failure=False)
        self._port = service.mqtt_port

        def disconnected(_c: Client, _u: Any, _f: DisconnectFlags, _code: ReasonCode, _p: Properties | None) -> None:
            self.lost.set()

        self._client.on_disconnect = disconnected

    def __enter__(self) -> Self:
        """Connect."""
        connected = threading.Event()

        def on_connect(_c: Client, _u: Any, _f: ConnectFlags, code: ReasonCode, _p: Properties | None) -> None:
            assert not code.is_failure
            connected.set()

        self._client.on_connect = on_connect
        self._client.connect(HOST, self._port)
        self._client.loop_start()
        assert connected.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes | str, *, qos: int = 1, retain: bool = False) -> None:
        """Publish, and wait for the broker's PUBACK."""
        info = self._client.publish(topic, payload, qos=qos, retain=retain)
        info.wait_for_publish(20)
        assert info.is_published()

    def throw(self, topic: str, payload: bytes) -> None:
        """Publish what the broker will not even confirm."""
        self._client.publish(topic, payload, qos=1)

    def send(self, ship: int, members: dict[str, Any]) -> None:
        """Publish a batch on its ship's topic, without naming the ship again."""
        self.publish(f"ships/{ship}/readings", json.dumps(members))


def kwh(value: float, slot: int = 0) -> list[dict[str, Any]]:
    """Give the data of one reading of a quarter of an hour."""
    return [{"datetime": iso(START_US + slot * SLOT_US), "value": value}]


def values(service: Service, ship: int) -> list[float]:
    """Give the energy of all slots of a ship."""
    return [row["value"] for row in service.get(f"/data?spaceship_id={ship}")["data"]]


def stored(service: Service, ship: int, expected: list[float]) -> None:
    """Wait until a ship has just these slots."""
    until(lambda: values(service, ship) == expected, f"{expected[:10]} of {ship}, not {values(service, ship)[:10]}")


def letters(service: Service, wanted: Callable[[DeadLetter], bool]) -> list[DeadLetter]:
    """Read the dead letters of a running service."""
    with service.dead_letters() as kept:
        return [letter for letter in kept.all() if wanted(letter)]


def only_letter(service: Service, topic: str) -> DeadLetter:
    """Wait for the dead letter of a topic, which must be the only one."""
    found = until(lambda: letters(service, lambda letter: letter.topic == topic), f"a dead letter on {topic}")
    assert len(found) == 1
    return found[0]


Kept = dict[bytes, DeadLetter]
LAST = b"the last one"


@pytest.fixture(scope="module")
def kept(service: Service) -> Kept:
    """Publish all bad messages, a good one behind each, and give the dead letters under their digests."""
    topic = f"ships/{SHIP}/readings"
    began_us = time.time_ns() // 1000
    with Ship(service) as sender:
        for place, bad in enumerate(BAD):
            sender.publish(topic, bad.payload)
            sender.send(BEHIND, {"units": "kWh", "data": kwh(place, place)})
        sender.publish(topic, LAST)
    stored(service, BEHIND, list(range(len(BAD))))

    def found() -> Kept:
        return {letter.digest: letter for letter in letters(service, lambda letter: letter.topic == topic)}

    last = digest_of(topic, LAST)
    until(lambda: last in found(), "the last dead letter")  # the others were kept before it, or with it
    return {digest: letter for digest, letter in found().items() if letter.first_us >= began_us}


@pytest.mark.parametrize("bad", BAD, ids=[each.name for each in BAD])
def test_a_bad_message_is_a_dead_letter_with_its_reason(kept: Kept, bad: BadBatch) -> None:
    """Kept with topic, payload, reason and time, and with the place of every fault."""
    letter = kept[digest_of(f"ships/{SHIP}/readings", bad.payload)]
    assert letter.payload == bad.payload[:MAX_PAYLOAD_BYTES]
    assert letter.payload_bytes == len(bad.payload)
    assert letter.first_us <= letter.last_us <= time.time_ns() // 1000
    assert letter.topic == f"ships/{SHIP}/readings"
    assert letter.reason
    assert "\n" not in letter.reason
    assert sorted(each.at for each in letter.problems) == sorted(bad.at)
    assert letter.times == 1


@pytest.mark.usefixtures("kept")
def test_the_messages_behind_the_bad_ones_are_stored(service: Service) -> None:
    """Every one of them, in its own slot."""
    assert values(service, BEHIND) == list(range(len(BAD)))


@pytest.mark.usefixtures("kept")
def test_nothing_of_a_bad_message_is_stored(service: Service) -> None:
    """A batch is taken whole or not at all."""
    assert values(service, SHIP) == []


@pytest.mark.parametrize("topic", NO_SHIPS, ids=[topic[:30] for topic in NO_SHIPS])
def test_a_topic_that_names_no_ship_is_a_dead_letter(service: Service, ship: int, topic: str) -> None:
    """However good its payload."""
    if isinstance(service, ClusterService):
        if "." in topic:
            pytest.skip("in RabbitMQ a dot separates levels, so that this is no topic of readings")
        if len(topic) > 255:
            pytest.skip("AMQP has no such long keys: the users' rights keep out what RabbitMQ could not deliver")
    with Ship(service) as sender:
        sender.publish(topic, text())
        sender.send(ship, {"units": "kWh", "data": kwh(3)})
    stored(service, ship, [3])
    letter = only_letter(service, topic)
    assert letter.payload == text().encode()
    assert "topic" in letter.reason


def test_the_same_bad_message_again_is_counted_not_kept_again(service: Service, ship: int) -> None:
    """A ship that repeats itself must not fill the disk."""
    topic = f"ships/{ship}/readings"
    with Ship(service) as sender:
        for _ in range(5):
            sender.publish(topic, b"again")
    until(lambda: only_letter(service, topic).times == 5, "five of the same")
    letter = only_letter(service, topic)
    assert letter.first_us < letter.last_us


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_dead_letters_are_listed(service: Service, ship: int, options: list[str]) -> None:
    """`./power dead-letters` gives topic, payload, reason and time, and does no harm to a terminal."""
    topic = f"ships/{ship}/readings"
    escape = b"\x1b]0;owned\x07\x1b[2J\r\x9b0m\xff"
    with Ship(service) as sender:
        sender.publish(topic, escape)
        sender.publish(topic, text(spaceship_id=None, data=f"[{READING}, {reading(value='-1')}]"))
    until(lambda: len(letters(service, lambda letter: letter.topic == topic)) == 2, "two dead letters")
    command = [sys.executable, "-P", "-m", "power_cli", "dead-letters", "--data", str(service.folder), *options]
    environ = {**os.environ, **service.environ}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, check=True, timeout=60)
    said = done.stdout.decode("utf-8")
    if options:
        found = [each for each in map(json.loads, said.splitlines()) if each["topic"] == topic]
        assert sorted(error["at"] for each in found for error in each["errors"]) == ["body", "data[1].value"]
        assert all(each["payload"] and each["reason"] for each in found)
        assert all(abs(moment_us(each["last"]) - time.time_ns() // 1000) < 60_000_000 for each in found)
    else:
        assert said.count(topic) == 2
        assert "data[1].value should be greater than or equal to 0" in said
    assert not done.stderr or isinstance(service, ClusterService)  # which says what its store promises
    assert [char for char in said if not char.isprintable() and char != "\n"] == []


def test_a_message_over_the_brokers_limit_ends_its_senders_connection_only(service: Service, ship: int) -> None:
    """The broker does not take more than `max_packet_size`; everything else goes on."""
    with Ship(service) as sender:
        sender.throw(f"ships/{ship}/readings", bytes(BROKERS_LIMIT + 1))
        assert sender.lost.wait(20)
    with Ship(service) as sender:
        sender.send(ship, {"units": "kWh", "data": kwh(3)})
    stored(service, ship, [3])
    assert letters(service, lambda letter: letter.topic == f"ships/{ship}/readings") == []


def test_the_largest_message_that_the_broker_takes_is_a_dead_letter(service: Service, ship: int) -> None:
    """Between 8 MiB and the broker's limit it is the worker that refuses it."""
    topic = f"ships/{ship}/readings"
    payload = bytes(BROKERS_LIMIT - 100)
    with Ship(service) as sender:
        sender.publish(topic, payload)
        sender.send(ship, {"units": "kWh", "data": kwh(3)})
    stored(service, ship, [3])
    assert only_letter(service, topic).payload_bytes == len(payload)
    assert str(MAX_BODY_BYTES) in only_letter(service, topic).reason


def test_a_message_of_exactly_8_mib_is_stored(service: Service, ship: int) -> None:
    """The bound is inclusive."""
    empty = text(spaceship_id=str(ship), units='"kWh"', note='""', data=json.dumps(kwh(3)))
    payload = empty.replace('""', f'"{"x" * (MAX_BODY_BYTES - len(empty))}"')
    assert len(payload) == MAX_BODY_BYTES
    with Ship(service) as sender:
        sender.publish(f"ships/{ship}/readings", payload)
    stored(service, ship, [3])


def test_exactly_100_000_readings_are_stored(service: Service, ship: int) -> None:
    """In one message: here all within one slot, a hundredth of a second apart."""
    rows = [f'{{"datetime":"{iso(START_US + place * 9_000)}","value":{place % 100}}}' for place in range(MAX_READINGS)]
    with Ship(service) as sender:
        sender.publish(f"ships/{ship}/readings", text(spaceship_id=None, data=f"[{','.join(rows)}]"))
    stored(service, ship, [49.5 / 4])


@pytest.mark.parametrize("protocol", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5], ids=["3.1.1", "5"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_protocol_and_qos_is_taken(service: Service, ship: int, protocol: MQTTProtocolVersion, qos: int) -> None:
    """QoS 1 is the supported way; the others are taken as well."""
    if qos == 2 and protocol == MQTTProtocolVersion.MQTTv5 and isinstance(service, ClusterService):
        pytest.skip("RabbitMQ ends the connection of a client that publishes with QoS 2 over MQTT 5")
    with Ship(service, protocol) as sender:
        sender.publish(f"ships/{ship}/readings", json.dumps({"units": "kWh", "data": kwh(3)}), qos=qos)
        stored(service, ship, [3])


def test_the_ship_may_be_named_again_or_left_out(service: Service, ship: int) -> None:
    """Where it is given it equals the topic's."""
    with Ship(service) as sender:
        sender.send(ship, {"units": "kWh", "data": kwh(1)})
        sender.send(ship, {"units": "kWh", "data": kwh(2, slot=1), "spaceship_id": ship})
    stored(service, ship, [1, 2])


@pytest.mark.parametrize("ship_", [0, 2**53 - 1])
def test_the_first_and_the_last_ship_are_taken(service: Service, ship_: int) -> None:
    """0 to 2^53-1."""
    with Ship(service) as sender:
        sender.send(ship_, {"units": "kWh", "data": kwh(3, slot=5)})
    until(lambda: 3 in values(service, ship_), f"a slot of {ship_}")


def test_good_forms_are_taken_as_over_http(service: Service, ship: int) -> None:
    """Offsets, no zone, a doubled Z, unknown members, any order; of duplicate keys the last counts."""
    payload = (
        '{"note": {"a": [1, null]}, "units": "no", "data": [], "data": ['
        '{"value": 3, "datetime": "2021-06-01T02:30:00+02:00"}, {"datetime": "2021-06-01T00:00:00ZZ", "value": 1},'
        '{"datetime": "no", "value": -1, "note": 1, "value": 2e0, "datetime": "2021-06-01T00:15:00.000000"}],'
        f'"spaceship_id": 1, "units": "kWh", "spaceship_id": {ship}, "batch_id": null, "sent_at": null}}'
    )
    with Ship(service) as sender:
        sender.publish(f"ships/{ship}/readings", payload)
    stored(service, ship, [1, 2, 3])


@pytest.mark.parametrize(
    ("moment", "values_"), [("1970-01-01T00:00:00Z", [900]), ("2199-12-31T23:59:59.999999Z", [0.000001, 899.999999])]
)
def test_the_first_and_the_last_moment_are_stored(own: Service, ship: int, moment: str, values_: list[float]) -> None:
    """1970-01-01 to 2199-12-31, both days whole, where the settings allow it."""
    with Ship(own) as sender:
        sender.send(ship, {"units": "kWh", "data": [{"datetime": moment, "value": 900}]})
    stored(own, ship, values_)


SENT = ["2021-06-01T01:00:00Z", "2021-06-01T02:00:00+02:00", "2021-06-01T01:00:00.000001Z"]
NEWEST = 2


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_an_older_sent_at_never_replaces_a_newer_value(service: Service, ship: int, order: tuple[int, ...]) -> None:
    """Whatever the order of arrival, and however the messages share transactions."""
    with Ship(service) as sender:
        for place in order:
            sender.send(ship, {"units": "kWh", "data": kwh(place), "sent_at": SENT[place]})
        sender.send(ship, {"units": "kWh", "data": kwh(9, slot=1)})
    stored(service, ship, [NEWEST, 9])


def test_without_sent_at_the_later_arrival_counts(service: Service, ship: int) -> None:
    """Of two in one batch, the later in its list."""
    with Ship(service) as sender:
        sender.send(ship, {"units": "kWh", "data": kwh(1)})
        sender.send(ship, {"units": "kWh", "data": kwh(2) + kwh(3)})
        sender.send(ship, {"units": "kWh", "data": kwh(4), "sent_at": "2021-06-01T00:00:00Z"})
        sender.send(ship, {"units": "kWh", "data": kwh(9, slot=1)})
    stored(service, ship, [3, 9])


def test_http_and_mqtt_correct_each_other(service: Service, ship: int) -> None:
    """One rule for both: the latest `sent_at`, whichever way it came."""
    batch = {"spaceship_id": ship, "units": "kWh"}
    with Ship(service) as sender:
        assert service.post({**batch, "data": kwh(1)}).status == 202
        sender.send(ship, {**batch, "data": kwh(2)})
        stored(service, ship, [2])
        assert service.post({**batch, "data": kwh(3)}).status == 202
        stored(service, ship, [3])


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of a fleet that feeds energy back, whose broker had a retained message before the worker's first.

    It takes every moment which can be written.
    """
    anything = {"POWER_ALLOW_NEGATIVE": "true", "POWER_OLDEST": "1970-01-01", "POWER_MAX_AHEAD_S": "6000000000"}
    service = Service(tmp_path_factory.mktemp("own") / "data", **anything)
    retain(service, {"units": "kWh", "data": kwh(1)})
    service.start()
    yield service
    assert service.stop() == 0


def retain(service: Service, batch: dict[str, Any]) -> None:
    """Have the broker of a stopped service forget everything, the worker too, and retain one message of ship 1."""
    folder = service.folder / "mosquitto"
    for file in folder.glob("*.db"):
        file.unlink()
    broker = Broker(folder, service.mqtt_port)
    broker.start()
    with Ship(service) as sender:
        sender.publish("ships/1/readings", json.dumps(batch), retain=True)
    broker.stop()


def test_a_retained_message_is_stored_but_corrects_nothing(own: Service) -> None:
    """It may be of any age: it fills holes, and counts for more only where it says when it was sent."""
    stored(own, 1, [1])
    assert own.post({"spaceship_id": 1, "units": "kWh", "data": kwh(2)}).status == 202
    stored(own, 1, [2])
    assert own.stop() == 0
    retain(own, {"units": "kWh", "data": kwh(3) + kwh(4, slot=1)})
    own.start()
    stored(own, 1, [2, 4])


def test_negative_values_are_for_fleets_that_allow_them(own: Service) -> None:
    """POWER_ALLOW_NEGATIVE=true, down to -1e9 kW; elsewhere they are dead letters, as the table has it."""
    with Ship(own) as sender:
        sender.publish("ships/2/readings", text(spaceship_id=None, data=f"[{reading(value='-1000000001')}]"))
        sender.send(2, {"units": "kW", "data": kwh(-1) + kwh(-1e9, slot=1)})
    stored(own, 2, [-0.25, -250_000_000])
    assert [each.at for each in only_letter(own, "ships/2/readings").problems] == ["data[0].value"]


def test_a_message_published_as_retained_is_stored_as_any_other(service: Service, ship: int) -> None:
    """To a worker that is there it is a message like any other, which corrects what came before it."""
    with Ship(service) as sender:
        sender.send(ship, {"units": "kWh", "data": kwh(1)})
        payload = json.dumps({"units": "kWh", "data": kwh(2)})
        sender.publish(f"ships/{ship}/readings", payload, retain=True)
        stored(service, ship, [2])
        sender.publish(f"ships/{ship}/readings", b"", retain=True)  # the broker forgets it

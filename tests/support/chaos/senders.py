"""Who sends under chaos: clients over HTTP, and ships over MQTT that keep a batch until its receipt."""

import json
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

import urllib3
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from power_cli.up import HOST
from shared.contract.topics import readings_topic, receipts_topic
from shared.domain.timestamps import iso
from tests.support.chaos.batches import Author, Batch
from tests.support.chaos.ledger import Ledger
from tests.support.chaos.readback import Readback

CLIENTS, SHIPS = 4, 6
SHARED = range(1, 5)
"""Ships of which every client sends."""
WINDOW = 6
PAUSE_S = 0.08
RETRY_S = 0.2
ANSWER_S = [6.0, 6.0, 0.3]
"""How long a client waits for an answer before it sends the same again: some are impatient."""
RECEIPT_S = 3.0
"""How long a ship waits for a receipt before it sends the same again."""
ASKED_SHARE = 0.1
REFUSALS = {400, 409, 422}


@dataclass
class Orders:
    """What all senders are told: no new batches from now on; and in the end, that nobody waits any longer."""

    ending: threading.Event = field(default_factory=threading.Event)
    giving_up: threading.Event = field(default_factory=threading.Event)


class Where(Protocol):
    """Where the service is; see `Scene`."""

    gateway_urls: list[str]
    query_url: str
    mqtt_ports: Sequence[int]
    mqtt_login: tuple[str, str] | None


class HttpClient:
    """Sends for several ships, one batch after the other, each until it is answered."""

    def __init__(self, number: int, seed: int, where: Where, ledger: Ledger, orders: Orders) -> None:
        """Prepare."""
        self.name = f"client {number}"
        self._rng = random.Random(f"{seed} {self.name}")
        self._gateways = deque(where.gateway_urls)
        self._gateways.rotate(number)
        self._ledger, self._orders = ledger, orders
        self._readback = Readback(where.query_url, ledger)
        self._authors = [Author(self._rng, ship, dated=True, http=True) for ship in (*SHARED, _mqtt_ship(0))]
        self._authors.append(Author(self._rng, 100 + number, dated=False, http=True))
        self._http = urllib3.PoolManager(retries=False)

    def work(self) -> None:
        """Send until told to stop."""
        while not self._orders.ending.wait(self._rng.uniform(0, PAUSE_S)):
            self._deliver(self._rng.choice(self._authors).next())
        self._http.clear()
        self._readback.close()

    def _deliver(self, batch: Batch) -> None:
        wait_s = self._rng.choice([0, 0, 0, 0, 2, 5])
        headers = {"Content-Type": "application/json", **({"Prefer": f"wait={wait_s}"} if wait_s else {})}
        answer_s = self._rng.choice(ANSWER_S)
        self._ledger.sending(batch, "HTTP", self.name)
        known_at = self._known_at(batch)
        while not self._orders.giving_up.is_set():
            url = known_at or self._gateways[0]
            try:
                answer = self._request(url, batch, headers, answer_s + wait_s)
            except (urllib3.exceptions.HTTPError, OSError):
                self._ledger.count("without an answer")
            else:
                if answer.status != 503:
                    self._judge(batch, answer, url)
                    return
                self._ledger.count("answered 503")
            self._gateways.rotate(1)  # as a proxy goes on to the next one
            time.sleep(RETRY_S)
        self._ledger.differs(f"a POST was never answered: {batch.payload.decode()}")

    def _request(self, url: str, batch: Batch, headers: dict[str, str], timeout_s: float) -> urllib3.BaseHTTPResponse:
        if batch.deletes is None:
            return self._http.request("POST", f"{url}/data", body=batch.payload, headers=headers, timeout=timeout_s)
        start, end = map(iso, batch.deletes)
        asked = {"spaceship_id": str(batch.ship), "start": start, "end": end, "batch_id": batch.batch_id or ""}
        return self._http.request("DELETE", f"{url}/data?{urlencode(asked)}", headers=headers, timeout=timeout_s)

    def _known_at(self, batch: Batch) -> str | None:
        """Give the gateway that has to get a batch, where another one would take it for new.

        Another one leaves it to the worker, for which the first is what comes first: other content might be stored in
        place of what was accepted, and a repeat without `sent_at` might count as sent after a correction.
        """
        needs_it = batch.kind == "conflict" or (batch.kind == "repeat" and batch.sent_at_us is None)
        return self._ledger.gateways.get(batch.batch_id or "") if needs_it else None

    def _judge(self, batch: Batch, answer: urllib3.BaseHTTPResponse, url: str) -> None:
        told = answer.json()
        if batch.outcome == "refused":
            if answer.status not in REFUSALS or (answer.status == 409) != (batch.kind == "conflict"):
                self._wrong(batch, answer)
            self._ledger.refused(batch)
            return
        is_rejected = batch.outcome == "rejected" and answer.status == 422
        name = batch.batch_id if is_rejected else told.get("batch_id")
        if not (is_rejected or (answer.status in {201, 202} and told["readings"] == len(batch.data))) or (
            name is None or name != (batch.batch_id or name) or (answer.status == 201 and batch.outcome != "stored")
        ):
            self._wrong(batch, answer)
            return
        if answer.status == 201:
            self._ledger.recovery.stored()
            self._readback.check(batch)
        self._ledger.count(f"answered {answer.status}")
        self._ledger.promised(batch, name, url)

    def _wrong(self, batch: Batch, answer: urllib3.BaseHTTPResponse) -> None:
        self._ledger.differs(f"{answer.status} {answer.data!r} for what should be {batch.outcome}: {batch.payload!r}")


@dataclass
class _UnderWay:
    batch: Batch
    properties: Properties | None
    due_s: float


class MqttShip:
    """Keeps its batches until their receipts, and sends them again until then."""

    def __init__(self, number: int, seed: int, where: Where, ledger: Ledger, orders: Orders) -> None:
        """Prepare."""
        self.ship = _mqtt_ship(number)
        self.name = f"ship-{self.ship}"
        self._is_5 = number % 2 == 0
        self._window = WINDOW if number % 3 != 1 else 1
        self._rng = random.Random(f"{seed} {self.name}")
        self._author = Author(self._rng, self.ship, dated=self._window > 1, http=False)
        self._ports = deque(where.mqtt_ports)
        self._ports.rotate(number)
        self._login, self._ledger, self._orders = where.mqtt_login, ledger, orders
        self._readback = Readback(where.query_url, ledger)
        self._under_way: dict[str, _UnderWay] = {}
        self._known: dict[str, Batch] = {}
        self._came: queue.SimpleQueue[MQTTMessage] = queue.SimpleQueue()
        self._listens = threading.Event()

    def work(self) -> None:
        """Send until told to stop, and all receipts are in."""
        self._listens.clear()
        client = self._client()
        self._aim(client)
        client.loop_start()
        try:
            while (self._under_way or not self._orders.ending.is_set()) and not self._orders.giving_up.is_set():
                self._publish(client)
                self._listen(self._rng.uniform(0, PAUSE_S))
        finally:
            client.disconnect()
            client.loop_stop()
            self._readback.close()
        for each in self._under_way.values():
            self._ledger.differs(f"{self.name} got no receipt: {each.batch.payload.decode()}")
        self._under_way.clear()

    def _aim(self, client: Client) -> None:
        """Have the next connection go to the next node of the broker."""
        self._ports.rotate(1)
        client.connect_async(HOST, self._ports[0], keepalive=10)

    def _client(self) -> Client:
        version = MQTTProtocolVersion.MQTTv5 if self._is_5 else MQTTProtocolVersion.MQTTv311
        client = Client(CallbackAPIVersion.VERSION2, self.name, protocol=version)
        client.max_queued_messages_set(0)
        client.username_pw_set(*self._login or (None,))
        client.reconnect_delay_set(1, 1)
        topics = [(receipts_topic(self.ship), 1), (f"ships/{self.ship}/answers/+", 1)]

        def connected(*_: Any) -> None:
            client.subscribe(topics)

        def disconnected(*_: Any) -> None:
            self._listens.clear()
            self._aim(client)

        client.on_connect = connected
        client.on_subscribe = lambda *_: self._listens.set()
        client.on_disconnect = disconnected
        client.on_connect_fail = lambda *_: self._aim(client)
        client.on_message = lambda _client, _userdata, message: self._came.put(message)
        return client

    def _publish(self, client: Client) -> None:
        """Publish what is new, and once more what has waited long for its receipt."""
        if not self._listens.is_set():
            return
        if len(self._under_way) < self._window and not self._orders.ending.is_set():
            self._begin(client, self._author.next())
        for each in self._under_way.values():
            if time.monotonic() >= each.due_s:
                each.due_s = time.monotonic() + RECEIPT_S
                client.publish(readings_topic(self.ship), each.batch.payload, qos=1, properties=each.properties)
                self._ledger.count("published")

    def _begin(self, client: Client, batch: Batch) -> None:
        if batch.batch_id in self._under_way:
            return
        self._ledger.sending(batch, "MQTT", self.name)
        if batch.outcome == "unknown" or batch.batch_id is None:
            client.publish(readings_topic(self.ship), batch.payload, qos=1)
            return
        properties = None
        if self._is_5 and self._rng.random() < 0.5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it so
            properties.ResponseTopic = f"ships/{self.ship}/answers/{self._rng.randrange(9)}"
            properties.CorrelationData = batch.batch_id.encode()
        self._known[batch.batch_id] = batch
        self._under_way[batch.batch_id] = _UnderWay(batch, properties, due_s=0.0)

    def _listen(self, wait_s: float) -> None:
        """Take the receipts that have come; wait a little for the first."""
        try:
            while True:
                self._receipt(self._came.get(timeout=wait_s))
                wait_s = 0
        except queue.Empty:
            pass

    def _receipt(self, message: MQTTMessage) -> None:
        told = json.loads(message.payload)
        batch = self._known.get(told["batch_id"])
        found = {**told, "errors": bool(told["errors"])}
        superseded = found.pop("superseded", None)  # how many depends on what came before
        is_right = batch is not None and self._expected(batch) == found
        if batch is None or not is_right or (superseded is not None and not 1 <= superseded <= len(batch.data)):
            self._ledger.differs(f"{self.name} got a wrong receipt: {told} for {batch and batch.payload!r}")
            return
        correlation = getattr(message.properties, "CorrelationData", None)
        if message.topic != receipts_topic(self.ship) and correlation != told["batch_id"].encode():
            self._ledger.differs(f"{self.name} got a receipt with another correlation: {told} {correlation!r}")
        each = self._under_way.pop(told["batch_id"], None)
        if each is not None:
            self._ledger.recovery.stored()
            self._ledger.promised(each.batch, told["batch_id"], "MQTT")
            if batch.outcome == "stored" and self._rng.random() < ASKED_SHARE:
                self._readback.check(batch)

    def _expected(self, batch: Batch) -> dict[str, Any]:
        is_stored = batch.outcome == "stored"
        return {
            "batch_id": batch.batch_id,
            "spaceship_id": self.ship,
            "status": "stored" if is_stored else "rejected",
            "readings": len(batch.data) if is_stored else 0,
            "errors": not is_stored,
        }


def _mqtt_ship(number: int) -> int:
    return 200 + number


def crew(seed: int, where: Where, ledger: Ledger, orders: Orders) -> Sequence[HttpClient | MqttShip]:
    """Make all senders."""
    clients = [HttpClient(number, seed, where, ledger, orders) for number in range(CLIENTS)]
    return [*clients, *(MqttShip(number, seed, where, ledger, orders) for number in range(SHIPS))]

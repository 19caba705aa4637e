"""The load generator: a separate process that sends batches, encoded beforehand, over MQTT or HTTP."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event, Semaphore
from typing import TypeVar

import numpy as np
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from power_cli.up import HOST
from shared.contract.acceptance import Rules
from shared.contract.batch import columns
from shared.contract.decoding import decode
from shared.contract.topics import readings_topic
from shared.domain.clock import now_us
from shared.domain.columns import I64
from shared.domain.errors import Unavailable
from shared.domain.readings import Readings
from shared.domain.timestamps import US_PER_S

START_S = 1_704_067_200
"""2024-01-01T00:00:00Z."""
STEP_S = 300
DAY_S = 86_400
A_DAY = DAY_S // STEP_S
HTTP_CONNECTIONS = 16
IN_FLIGHT = 1000
GIVE_UP_S = 120.0
UNAVAILABLE = 503
ACCEPTED = 202
SPAWN = get_context("spawn")

Seconds = TypeVar("Seconds", int, I64)
Parts = Sequence[Sequence["Batch"]]
Send = Callable[[int, Parts, Event, Semaphore], None]


def offset_s(ship: Seconds) -> Seconds:
    """Return the second within five minutes at which a ship takes its readings; ships differ, as real ones do."""
    return ship * 37 % STEP_S


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings of one ship, five minutes apart; `step` is the number of the first since `START_S`."""

    ship: int
    step: int
    readings: int = A_DAY

    @property
    def last_us(self) -> int:
        """The timestamp of the last reading."""
        return (START_S + (self.step + self.readings - 1) * STEP_S + offset_s(self.ship)) * US_PER_S

    def payload(self) -> bytes:
        """Encode it as a ship does."""
        steps = np.arange(self.step, self.step + self.readings)
        moments = (START_S + steps * STEP_S + offset_s(self.ship)).astype("datetime64[s]").astype(str)
        values = (self.ship * 31 + steps * 17) % 9973 / 10
        rows = zip(moments.tolist(), values.tolist(), strict=True)
        data = ", ".join(f'{{"datetime": "{moment}Z", "value": {value}}}' for moment, value in rows)
        return f'{{"spaceship_id": {self.ship}, "units": "kW", "data": [{data}]}}'.encode()


def readings_of(batches: Sequence[Batch]) -> Readings:
    """Return the readings in batches, as the service decodes them."""
    rules, moment_us = Rules(), now_us()
    return columns([decode(batch.payload(), rules, moment_us)._replace(sent_at_us=0) for batch in batches])


@contextmanager
def generator(send: Send, port: int, *parts: Sequence[Batch]) -> Iterator[Callable[[], None]]:
    """Send parts of a load to a port from a separate process, by `publish` or `post`; yields a function.

    It starts the next part. When it is yielded, the first part is encoded and the connections are open; when the
    context ends, all started parts have been sent and confirmed. Raises `Unavailable` if the process has failed.
    """
    ready, turn = SPAWN.Event(), SPAWN.Semaphore(0)
    with spawned(send, port, parts, ready, turn) as process:
        while not ready.wait(0.1):
            if process.exitcode is not None:
                raise Unavailable("the load generator failed to start")
        yield turn.release
        process.join(GIVE_UP_S)
        if process.exitcode != 0:
            raise Unavailable("the load generator failed")


@contextmanager
def spawned(target: Callable[..., None], *arguments: object) -> Iterator[SpawnProcess]:
    """Run a function in a process of its own, which is killed at the end."""
    process = SPAWN.Process(target=target, args=arguments, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def publish(port: int, parts: Parts, ready: Event, turn: Semaphore, root: str = "ships") -> None:
    """Publish with QoS 1 on one connection; `root` replaces `ships` in the topics."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process stops this one
    client = Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(IN_FLIGHT)
    client.connect(HOST, port)
    client.loop_start()
    for part in parts:
        messages = [(readings_topic(each.ship).replace("ships", root), each.payload()) for each in part]
        ready.set()
        turn.acquire()
        for sent in [client.publish(topic, payload, qos=1) for topic, payload in messages]:
            sent.wait_for_publish(GIVE_UP_S)
    client.disconnect()
    client.loop_stop()


def post(port: int, parts: Parts, ready: Event, turn: Semaphore) -> None:
    """POST over `HTTP_CONNECTIONS` persistent connections, each with one request at a time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    local = threading.local()

    def connect() -> None:
        local.connection = HTTPConnection(HOST, port, timeout=GIVE_UP_S)
        local.connection.connect()

    with ThreadPoolExecutor(HTTP_CONNECTIONS, initializer=connect) as pool:
        for part in parts:
            bodies = [each.payload() for each in part]
            ready.set()
            turn.acquire()
            for _ in pool.map(partial(_post, local), bodies):
                pass


def _post(local: threading.local, body: bytes) -> None:
    """POST one body until it is accepted; 503 is retried."""
    connection: HTTPConnection = local.connection
    status = UNAVAILABLE
    while status == UNAVAILABLE:
        connection.request("POST", "/data", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        status = response.status
        if status == UNAVAILABLE:
            time.sleep(0.05)  # the outbox is full, and soon has room again
    if status != ACCEPTED:
        raise Unavailable(f"a POST was answered with {status}")

"""Single-reading MQTT messages until stored; baseline: a subscriber of the same broker that only acknowledges."""

import itertools
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.synchronize import Event
from statistics import median
from typing import Any

import psutil
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.load import GIVE_UP_S, SPAWN, Batch, Send, generator, publish, spawned
from benchmarks.rounds import Options, in_turn
from benchmarks.service import Service
from benchmarks.table import Row
from power_cli.up import HOST
from shared.domain.errors import Unavailable

SHIPS = 1000
WANTED_SHARE = 0.4
BARE = "drops"
"""A topic root that the worker does not subscribe to, as long as `ships`, so that messages have the same size."""


def measure(options: Options) -> list[Row]:
    """Measure messages per second, for each consumer alone, from a queue that was filled while it was suspended."""
    each = options.size(40, 10)
    steps = itertools.count(0, each)
    with Service(options.new_place()) as service, _bare_subscriber(service.mqtt_port, SHIPS * each) as bare:
        process, done = bare

        def stored() -> float:
            load = _messages(next(steps), each)
            newest = load[: -SHIPS - 1 : -1]
            return _drained(service, service.worker(), publish, load, lambda: service.await_stored(newest))

        def acknowledged() -> float:
            def wait() -> None:
                if not done.wait(GIVE_UP_S):
                    raise Unavailable("the bare subscriber did not receive all messages")
                done.clear()

            return _drained(service, process, partial(publish, root=BARE), _messages(0, each), wait)

        ours, theirs = in_turn(options.size(5, 2), stored, acknowledged)
    rate, baseline = median(ours), median(theirs)
    return [
        Row(
            f"single-reading MQTT messages from {SHIPS:,} ships, until stored ({SHIPS * each:,} queued)",
            f"{rate:,.0f} messages/s",
            f"bare paho subscriber, only acknowledging: {baseline:,.0f} messages/s",
            rate / baseline,
            f"{WANTED_SHARE:.0%} of the baseline",
            holds=rate >= WANTED_SHARE * baseline,
            samples={"messages/s": ours, "bare subscriber messages/s": theirs},
        )
    ]


def _messages(first: int, each: int) -> list[Batch]:
    return [Batch(ship, step, 1) for step in range(first, first + each) for ship in range(SHIPS)]


def _drained(
    service: Service, consumer: psutil.Process, send: Send, load: Sequence[Batch], wait: Callable[[], None]
) -> float:
    """Fill the broker's queue while a consumer is suspended, resume it, and return its rate."""
    consumer.suspend()
    try:
        with generator(send, service.mqtt_port, load) as start:
            start()
    finally:
        consumer.resume()
    began_s = time.perf_counter()
    wait()
    return len(load) / (time.perf_counter() - began_s)


@contextmanager
def _bare_subscriber(port: int, expected: int) -> Iterator[tuple[psutil.Process, Event]]:
    """Run the subscriber; yields its process, and an event that it sets after every `expected` messages."""
    ready, done = SPAWN.Event(), SPAWN.Event()
    with spawned(_subscribe, port, expected, ready, done) as process:
        if not ready.wait(GIVE_UP_S):
            raise Unavailable("the bare subscriber did not subscribe")
        yield psutil.Process(process.pid), done


def _subscribe(port: int, expected: int, ready: Event, done: Event) -> None:
    """Count messages forever, on a persistent session like the worker's; paho acknowledges by itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    count = itertools.count(1)

    def received(_c: Client, _u: Any, _m: MQTTMessage) -> None:
        if next(count) % expected == 0:
            done.set()

    client = Client(CallbackAPIVersion.VERSION2, "bare-subscriber", protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = received
    client.on_subscribe = lambda *_: ready.set()
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no type here
    properties.SessionExpiryInterval = 3600
    client.connect(HOST, port, clean_start=False, properties=properties)
    client.subscribe(f"{BARE}/+/readings", qos=1)
    client.loop_forever()

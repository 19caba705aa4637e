"""The dispatcher over connections that a broker seldom gives: never quiet, with little room, or not to be had."""

import json
import threading
from collections.abc import Callable
from typing import cast

import pytest

from ingest_api.delivery import dispatcher as dispatcher_module
from ingest_api.delivery import publisher as publisher_module
from ingest_api.delivery.dispatcher import Dispatcher
from ingest_api.delivery.in_flight import AGAIN_S, JITTER, MAX_BATCHES, SHIP_BATCHES
from ingest_api.delivery.mqtt_link import Link, Listener
from ingest_api.delivery.publisher import Publisher
from ingest_api.outbox.outbox import Outbox
from shared.contract.status import BatchKey
from shared.domain.errors import Unavailable
from tests.support.outbox import decide, entry
from tests.support.waiting import until


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.s = 0.0

    def now_s(self) -> float:
        return self.s


class FakeLink:
    """Takes batches, and gives no receipt."""

    receive_maximum = MAX_BATCHES

    def __init__(self) -> None:
        self.names: list[str] = []
        self.publisher: Publisher

    def publish(self, key: BatchKey, _topic: str, _payload: bytes, _correlation: bytes) -> None:
        self.names.append(key.batch_id)

    def open(self) -> None:
        """See `Link`."""

    def abandon(self) -> None:
        """See `Link`."""

    def close(self) -> None:
        """See `Link`."""


def over(link: Callable[[Listener], FakeLink], outbox: Outbox, clock: Clock) -> tuple[Dispatcher, list[FakeLink]]:
    """Have a dispatcher publish over links of a kind; give it, not started yet, and those that it will have made."""
    made: list[FakeLink] = []

    def make(listener: Listener) -> Link:
        made.append(link(listener))
        made[-1].publisher = cast("Publisher", listener)
        return cast("Link", made[-1])

    return Dispatcher(lambda: Publisher(outbox, now_s=clock.now_s), make), made


class BusyLink(FakeLink):
    """Gives every batch its receipt but the first, and has another one accepted meanwhile: it is never quiet."""

    def __init__(self, outbox: Outbox, listener: Listener, clock: Clock) -> None:
        super().__init__()
        self._outbox, self._listener, self._clock = outbox, listener, clock

    def publish(self, key: BatchKey, _topic: str, _payload: bytes, correlation: bytes) -> None:
        self.names.append(key.batch_id)
        self._clock.s += 1
        if key.batch_id != self.names[0]:
            receipt = {"batch_id": key.batch_id, "spaceship_id": key.ship, "status": "stored"}
            self._listener.receipt(json.dumps(receipt).encode(), correlation)
        if len(self.names) < 10 * AGAIN_S:
            self._outbox.accept(entry())


def test_what_gets_no_receipt_is_published_again_though_new_ones_come_without_a_pause(outbox: Outbox) -> None:
    clock, first = Clock(), entry()
    dispatcher, links = over(lambda listener: BusyLink(outbox, listener, clock), outbox, clock)
    outbox.accept(first)
    dispatcher.start()
    until(lambda: outbox.depth == 1 and links and len(links[0].names) >= 10 * AGAIN_S, "all others are stored")
    dispatcher.close()
    again = [at for at, name in enumerate(links[0].names) if name == str(first.batch_id)]
    assert len(links) == 1
    assert again[1] <= 2 * AGAIN_S, "in its time"


def test_what_is_stored_already_is_not_in_flight_any_more_when_it_is_due(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its receipt came before it was published once more; what waits behind it is not published in its place."""
    monkeypatch.setattr(publisher_module, "CHECK_S", 0.02)
    clock, made, behind = Clock(), entry(), entry()
    dispatcher, links = over(lambda _: FakeLink(), outbox, clock)
    outbox.accept(made)
    dispatcher.start()
    until(lambda: links and len(links[0].names) == 1, "it is published")
    decide(outbox, made)
    clock.s = AGAIN_S / 2
    outbox.accept(behind)
    until(lambda: len(links[0].publisher._in_flight) == 2, "both are under way")
    clock.s = AGAIN_S * (1 + JITTER)
    until(lambda: len(links[0].publisher._in_flight) == 1, "it is not under way any more")
    dispatcher.close()
    assert links[0].names == [str(made.batch_id), str(behind.batch_id)]


def test_a_small_free_share_of_a_ship_is_used_at_the_next_check(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "CHECK_S", 0.02)
    clock = Clock()
    dispatcher, links = over(lambda _: FakeLink(), outbox, clock)
    made = [entry() for _ in range(SHIP_BATCHES + 1)]
    for each in made:
        outbox.accept(each)
    dispatcher.start()
    until(lambda: links and len(links[0].names) == SHIP_BATCHES, "its share is published")
    receipt = {"batch_id": str(made[0].batch_id), "spaceship_id": made[0].ship, "status": "stored"}
    links[0].publisher.receipt(json.dumps(receipt).encode(), made[0].digest)
    until(lambda: outbox.depth == len(made) - 1, "it is stored")
    clock.s = 1.0
    until(lambda: len(links[0].names) == len(made), "the last one, too")
    dispatcher.close()


class NarrowLink(FakeLink):
    """Leads to a broker that takes but a few messages before it has confirmed the first."""

    receive_maximum = 5


def test_no_more_is_under_way_than_the_broker_takes_at_a_time(outbox: Outbox) -> None:
    """One message more, and it would end the connection, again and again."""
    dispatcher, links = over(lambda _: NarrowLink(), outbox, Clock())
    made = [entry(ship=ship) for ship in range(2 * NarrowLink.receive_maximum)]
    for each in made:
        outbox.accept(each)
    dispatcher.start()
    until(lambda: links and links[0].publisher._is_full, "no more may be in flight")
    dispatcher.close()
    assert [each.names for each in links] == [[str(each.batch_id) for each in made[: NarrowLink.receive_maximum]]]


class LostLink(FakeLink):
    """Asks where the broker is, and is told in the end that there is none."""

    def __init__(self, answer: threading.Event) -> None:
        super().__init__()
        self._answer = answer

    def open(self) -> None:
        """See `Link`."""
        self._answer.wait()
        raise Unavailable("no such host")


def test_it_ends_though_no_name_server_answers(outbox: Outbox) -> None:
    """What the system is asked cannot be broken off."""
    answer = threading.Event()
    dispatcher, links = over(lambda _: LostLink(answer), outbox, Clock())
    dispatcher.start()
    until(lambda: links, "it looks for the broker")
    closing = threading.Thread(target=dispatcher.close)
    closing.start()
    try:
        until(lambda: not closing.is_alive(), "it ends")
    finally:
        answer.set()
    until(lambda: not dispatcher._thread.is_alive(), "nothing is left of it")
    closing.join()


def test_a_broker_that_is_away_is_looked_for_less_and_less_often(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And by many gateways not in one moment."""
    answer, pauses_s = threading.Event(), list[float]()
    answer.set()

    dispatcher, links = over(lambda _: LostLink(answer), outbox, Clock())

    def pause(wait_s: float) -> None:
        pauses_s.append(wait_s)
        if len(pauses_s) == 10:
            dispatcher._stopping.set()

    monkeypatch.setattr(dispatcher._stopping, "wait", pause)
    dispatcher.start()
    until(lambda: not dispatcher._thread.is_alive(), "it has tried ten times")
    assert len(links) == 10
    for pause_s, expected_s in zip(pauses_s, [0.5, 1, 2, 4] + 6 * [dispatcher_module.LAST_PAUSE_S], strict=True):
        assert 0.8 * expected_s <= pause_s <= 1.2 * expected_s
    assert len(set(pauses_s[4:])) > 1

"""The publisher's order: each ship within its share, in its own order, and nobody is kept waiting by another."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_api.delivery import in_flight
from ingest_api.delivery import publisher as publisher_module
from ingest_api.delivery.in_flight import SHIP_BATCHES, SHIP_BYTES
from ingest_api.delivery.mqtt_link import Link
from ingest_api.delivery.publisher import Publisher
from ingest_api.outbox import recent_entries
from ingest_api.outbox.entry import Entry
from ingest_api.outbox.outbox import Outbox
from shared.contract.status import BatchKey
from tests.support.outbox import an_outbox, decide, entry

MANY, OTHER = 1, 2
"""Two ships."""


class FakeLink:
    """Takes batches, and gives no receipt."""

    def __init__(self, receive_maximum: int) -> None:
        self.receive_maximum = receive_maximum
        self.published: list[BatchKey] = []

    def publish(self, key: BatchKey, _topic: str, _payload: bytes, _correlation: bytes) -> None:
        self.published.append(key)


class Steps:
    """A publisher, one step at a time."""

    def __init__(self, outbox: Outbox, receive_maximum: int = 65_535) -> None:
        self._outbox, self._receive_maximum = outbox, receive_maximum
        self._made: dict[BatchKey, Entry] = {}
        self.connect()

    def connect(self) -> None:
        """Connect anew."""
        self.link = FakeLink(self._receive_maximum)
        self._to_publish = list(self._made)
        self._publisher = Publisher(self._outbox, now_s=lambda: 0.0)
        self._publisher.begin(cast("Link", self.link))

    def accept(self, ship: int, size: int = 50) -> BatchKey:
        made = entry(ship=ship, payload=b"x" * size)
        self._outbox.accept(made)
        self._made[made.key] = made
        self._to_publish.append(made.key)
        return made.key

    def publish(self) -> list[BatchKey]:
        """Publish until there is nothing to do before the next event; give what was published."""
        before = len(self.link.published)
        while self._publisher.publish_some():
            pass
        return self.link.published[before:]

    def look(self) -> None:
        """Do what is done once a second."""
        self._publisher.resume_ships()

    def under_way(self) -> list[BatchKey]:
        """Give what is published and has no receipt."""
        return [each for each in self.link.published if each in self._made]

    def answer(self, key: BatchKey) -> None:
        """Give the receipt of a batch."""
        decide(self._outbox, self._made.pop(key))
        self._publisher.done(key)

    def check(self, share: int) -> None:
        """See that nothing is published twice, out of its ship's order, or beyond what may be under way."""
        published, under_way = self.link.published, self.under_way()
        assert len(set(published)) == len(published)
        assert len(under_way) <= self._receive_maximum
        assert all(count <= share for count in Counter(each.ship for each in under_way).values())
        for ship in {each.ship for each in published}:
            of_ship = [each for each in published if each.ship == ship]
            assert of_ship == [each for each in self._to_publish if each.ship == ship][: len(of_ship)]


def test_ship_has_its_share_under_way_and_others_are_published_at_once(outbox: Outbox) -> None:
    steps = Steps(outbox)
    many = [steps.accept(MANY) for _ in range(3 * SHIP_BATCHES)]
    assert steps.publish() == many[:SHIP_BATCHES]
    other = steps.accept(OTHER)
    many += [steps.accept(MANY) for _ in range(10)]
    assert steps.publish() == [other]
    assert steps.publish() == []
    for each in many[:SHIP_BATCHES]:
        steps.answer(each)
    assert steps.publish() == many[SHIP_BATCHES : 2 * SHIP_BATCHES]
    for each in many[SHIP_BATCHES:]:
        steps.answer(each)
        steps.publish()
    assert outbox.depth == 1
    assert steps.link.published == [*many[:SHIP_BATCHES], other, *many[SHIP_BATCHES:]]


def test_share_is_one_of_bytes_too_but_one_batch_may_always_be_under_way(outbox: Outbox) -> None:
    steps = Steps(outbox)
    large = [steps.accept(MANY, SHIP_BYTES + 1) for _ in range(2)]
    other = steps.accept(OTHER)
    assert steps.publish() == [large[0], other]
    steps.answer(large[0])
    assert steps.publish() == [large[1]]


def test_room_that_stays_small_is_used_all_the_same(outbox: Outbox) -> None:
    """Most of a ship's share may be of batches that the broker refuses for long."""
    steps = Steps(outbox)
    many = [steps.accept(MANY) for _ in range(SHIP_BATCHES + 10)]
    steps.publish()
    for each in many[:10]:
        steps.answer(each)
    assert steps.publish() == []
    steps.look()
    assert steps.publish() == many[SHIP_BATCHES:]


def test_ship_that_has_caught_up_is_published_in_order_again(outbox: Outbox) -> None:
    steps = Steps(outbox)
    many = [steps.accept(MANY) for _ in range(SHIP_BATCHES + 1)]
    steps.publish()
    for each in many:
        steps.answer(each)
        steps.publish()
    new = [steps.accept(ship) for ship in (MANY, OTHER, MANY)]
    assert steps.publish() == new


def test_payloads_of_what_is_passed_over_are_not_read(tmp_path: Path) -> None:
    """A ship has waiting what no connection's cache holds; SQLite says how many pages it has read from the file."""
    with an_outbox(tmp_path) as outbox:
        steps = Steps(outbox)
        for _ in range(200):
            steps.accept(MANY, 200_000)
        other = steps.accept(OTHER)
    with an_outbox(tmp_path) as outbox:
        steps = Steps(outbox)
        before = _bytes_read()
        published = steps.publish()
        read = _bytes_read() - before
    assert published[-1] == other
    assert Counter(each.ship for each in published)[MANY] == SHIP_BYTES // 200_000 + 1
    assert read < 200 * 200_000 / 2


def _bytes_read() -> int:
    """Return how many bytes this process has read from files, those in the system's cache included."""
    text = Path("/proc/self/io").read_text("utf-8")
    return int(text.split("rchar:")[1].split()[0])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), st.integers(0, 3), st.integers(1, 12)),
        st.tuples(st.just("answer"), st.integers(0, 99), st.integers(1, 6)),
        st.tuples(st.just("publish"), st.just(0), st.just(0)),
        st.tuples(st.just("connect"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(steps=STEPS, receive_maximum=st.sampled_from([1, 2, 5, 9]), recent_bytes=st.sampled_from([0, 300, 100_000]))
def test_every_batch_is_published_once_in_its_ships_order(
    steps: list[tuple[str, int, int]], receive_maximum: int, recent_bytes: int
) -> None:
    """Over each connection, whatever comes and is answered when, from memory and from the disk."""
    with (
        TemporaryDirectory() as folder,
        an_outbox(Path(folder)) as outbox,
        patch.object(in_flight, "SHIP_BATCHES", 3),
        patch.object(recent_entries, "MAX_BYTES", recent_bytes),
        patch.object(publisher_module, "READ_ENTRIES", 4),
    ):
        run, share = Steps(outbox, receive_maximum), min(max(receive_maximum // 2, 1), 3)
        for what, choice, count in steps:
            if what == "connect":
                run.connect()
            elif what == "publish":
                run.publish()
            for _ in range(count):
                if what == "accept":
                    run.accept(choice)
                elif under_way := run.under_way():
                    run.answer(under_way[choice % len(under_way)])
            run.check(share)
        while outbox.depth:
            run.look()
            run.publish()
            run.check(share)
            assert run.under_way(), "it goes on"
            for each in run.under_way():
                run.answer(each)

"""Publishes what waits in the outbox until a worker's receipt comes for it."""

import logging
import math
import random
import threading
import time
from collections.abc import Callable

from pydantic import ValidationError

from ingest_api.delivery.backlog import Backlog
from ingest_api.delivery.in_flight import Window
from ingest_api.delivery.mqtt_link import Link, LinkRefused, Listener
from ingest_api.delivery.receipt import Receipt
from ingest_api.outbox.batch_status import BatchKey
from ingest_api.outbox.outbox import Outbox
from ingest_api.outbox.recent_entries import Waiting
from shared.contract.topics import readings_topic
from shared.domain.errors import Unavailable

log = logging.getLogger(__name__)

PART = 64
PART_BYTES = 8 * 1024 * 1024
"""What is read from the outbox at a time."""
FIRST_PAUSE_S = 0.25
LAST_PAUSE_S = 5.0
LOOK_S = 1.0
FIRST_CONNECTION_S = 5.0
CLOSE_S = 3.0
"""How long the end waits for the thread: to find out where the broker is may take its system much longer."""


class Dispatcher:
    """One thread. A batch that is published again costs the worker little, and changes nothing.

    Batches are published in the order of acceptance. One ship has only its share of the window: what it sends beyond
    that is passed over, and published in turn when its receipts come. So it keeps no other ship waiting.

    A connection that is lost is thrown away, and over the next one all that waits is published anew: nothing depends
    on what the broker remembers.
    """

    def __init__(
        self,
        outbox: Outbox,
        make_link: Callable[[Listener], Link],
        dropped: Callable[[float], None] = lambda _: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            outbox: what waits.
            make_link: makes a connection that is not open yet.
            dropped: told what the broker has dropped.
            now_s: a clock that never goes back.

        """
        self._outbox = outbox
        self._make_link = make_link
        self._tell_dropped = dropped
        self._now_s = now_s
        self._changed = threading.Condition(threading.RLock())
        """Guards all below; never held around a call to paho or the outbox, whose callbacks need it."""
        self._window = Window(now_s)
        self._backlog = Backlog()
        self._link: Link | None = None
        self._is_new = self._had_receipt = self._is_lost = self._stopping = self._is_full = False
        self._last_refusal = ""
        self._dropped = math.nan
        """What the broker said last, over this connection."""
        self._last = 0
        """Up to this number everything was published over this connection, or is in the backlog; the thread's own."""
        self._was_connected = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        outbox.watch(self.accepted)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def await_connection(self) -> None:
        """Wait a little for the first connection, so that whoever is told that all is ready finds it so."""
        self._was_connected.wait(FIRST_CONNECTION_S)

    def close(self) -> None:
        """Stop; what waits goes on waiting in the outbox."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            link = self._link
        if link is not None:
            link.abandon()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)

    def is_connected(self) -> bool:
        """Tell whether there is a connection to the broker."""
        link = self._link
        return link is not None and link.is_connected()

    def accepted(self) -> None:
        """Learn that something new waits in the outbox."""
        with self._changed:
            self._is_new = True
            self._changed.notify_all()

    # --- as Listener

    def refused(self, key: BatchKey, why: str) -> None:
        """See `Listener`."""
        with self._changed:
            self._window.refuse(key)
            is_known, self._last_refusal = why == self._last_refusal, why
        if not is_known:  # one cause may concern thousands
            log.error("the broker did not pass on batch %s: %s; it is tried again", key.batch_id, why)

    def dropped(self, count: float) -> None:
        """See `Listener`."""
        with self._changed:
            if count > self._dropped:
                self._window.hurry()
            self._dropped = count
        self._tell_dropped(count)

    def lost(self) -> None:
        """See `Listener`."""
        with self._changed:
            self._is_lost = True
            self._changed.notify_all()

    def receipt(self, payload: bytes, correlation: bytes) -> None:
        """See `Listener`."""
        try:
            receipt = Receipt.model_validate_json(payload)
        except ValidationError as error:
            log.warning("a receipt that cannot be read: %s", error)
            return
        key = receipt.key
        self._outbox.decide(key, correlation, receipt.status, receipt.problems, lambda: self._done_with(key))

    def _done_with(self, key: BatchKey) -> None:
        with self._changed:
            self._had_receipt, self._last_refusal = True, ""
            if not self._window.remove(key):
                return
            is_ready = self._window.has_much_room_for(key.ship) and self._backlog.make_ready(key.ship)
            if self._window.has_much_room() if self._is_full else is_ready:
                self._changed.notify_all()

    # --- the thread

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while (link := self._next_link()) is not None:
            try:
                link.open()
                self._was_connected.set()
                log.info("connected to the broker")
                self._serve(link)
            except Unavailable as error:
                log.log(logging.ERROR if isinstance(error, LinkRefused) else logging.WARNING, "%s", str(error))
            except Exception:
                log.exception("publishing has failed; it is tried again")
            finally:
                link.close()
            pause_s = FIRST_PAUSE_S if self._had_receipt else min(pause_s * 2, LAST_PAUSE_S)
            self._await(lambda: False, pause_s * random.uniform(0.8, 1.2))

    def _next_link(self) -> Link | None:
        """Prepare the next connection; None where we are to stop."""
        with self._changed:
            if self._stopping:
                return None
            self._last = 0
            self._had_receipt = self._is_lost = False
            self._dropped = math.nan
            self._link = self._make_link(self)
            return self._link

    def _serve(self, link: Link) -> None:
        """Publish what comes, until the connection is lost or we are to stop."""
        look_s = 0.0
        self._begin(link)
        while not self._stopping:
            if self._is_lost:
                raise Unavailable("the connection to the broker is lost")
            if self._now_s() >= look_s:
                self._publish_due(link)
                self._look_for_room()
                look_s = self._now_s() + LOOK_S
            self._is_new = False  # before we look
            if not self._publish_new(link):
                self._await(self._is_much_room if self._is_full else self._is_something_new, LOOK_S)

    def _begin(self, link: Link) -> None:
        """Have nothing under way."""
        with self._changed:
            self._window.begin(link.receive_maximum)
            self._backlog.clear()

    def _await(self, event: Callable[[], bool], wait_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or event(), wait_s)

    def _is_something_new(self) -> bool:
        return self._is_new or self._backlog.has_ready() or self._is_lost

    def _is_much_room(self) -> bool:
        return self._window.has_much_room() or self._is_lost

    def _publish_new(self, link: Link) -> bool:
        """Publish some of what is not under way; tell whether there may be more, and room for it."""
        self._is_full = False
        found = self._publish_in_order(link)
        return (not self._is_full and self._publish_of_ship(link)) or found

    def _publish_in_order(self, link: Link) -> bool:
        """Publish the next that were accepted, and pass over those of ships that have their share under way."""
        newest = self._outbox.newest  # before we look
        found = self._outbox.waiting(self._last, PART, PART_BYTES, self._backlog.ships())
        for waiting in found:
            key = waiting.key
            with self._changed:
                if not self._may_go_on():
                    return False
                is_in_turn = self._is_in_turn(waiting)
                if is_in_turn:
                    self._window.add(key, waiting.number, len(waiting.payload))
            self._last = waiting.number
            if is_in_turn:
                _publish(link, key, waiting)
        if not found:
            self._last = max(self._last, newest)
        return bool(found)

    def _is_in_turn(self, waiting: Waiting) -> bool:
        """Tell whether a batch may be published before others; note it where its ship has to wait."""
        ship = waiting.ship
        if ship in self._backlog.ships():
            return False
        if not self._window.has_room_for(ship):
            self._backlog.add(ship, waiting.number - 1)
            return False
        return True

    def _publish_of_ship(self, link: Link) -> bool:
        """Publish some of one ship that was passed over and has room again; tell whether there was one."""
        with self._changed:
            turn = self._backlog.next_ready()
            if turn is None:
                return False
            ship, published = turn
            if not self._window.has_room_for(ship):
                return True  # its next receipts make it ready again
            limits = self._window.room_for(ship)
        found = self._outbox.waiting_of(ship, published, self._last, *limits)
        for waiting in found:
            key = waiting.key
            with self._changed:
                if not self._may_go_on():
                    self._backlog.make_ready(ship)
                    return False
                self._window.add(key, waiting.number, len(waiting.payload))
                self._backlog.add(ship, waiting.number)
            _publish(link, key, waiting)
        with self._changed:
            if found:
                self._backlog.make_ready(ship)
            else:
                self._backlog.remove(ship)
        return True

    def _may_go_on(self) -> bool:
        self._is_full = not self._window.has_room()
        return not (self._is_full or self._is_lost or self._stopping)

    def _look_for_room(self) -> None:
        """Let ships of the backlog go on that have some room, though not much: the rest may get no receipt for long."""
        with self._changed:
            for ship in self._backlog.ships():
                if self._window.has_room_for(ship):
                    self._backlog.make_ready(ship)

    def _publish_due(self, link: Link) -> None:
        """Publish again what has been without a receipt for long: somewhere a queue may have been full."""
        with self._changed:
            due = self._window.take_due()
        for key, number in due:
            if self._is_lost or self._stopping:
                return
            found = self._outbox.waiting(number - 1, 1, 0)
            if found and found[0].key == key:
                log.info("batch %s is without a receipt, and published again", key.batch_id)
                _publish(link, key, found[0])
            else:  # its receipt came before it was published
                self._done_with(key)


def _publish(link: Link, key: BatchKey, waiting: Waiting) -> None:
    link.publish(key, readings_topic(waiting.ship), waiting.payload, waiting.digest)

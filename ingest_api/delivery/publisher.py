"""Publishes the outbox over one connection: in which order, how much at a time, and what again."""

import logging
import math
import threading
import time
from collections.abc import Callable

from pydantic import ValidationError

from ingest_api.delivery.in_flight import InFlight
from ingest_api.delivery.mqtt_link import Link
from ingest_api.outbox.entry import WaitingEntry
from ingest_api.outbox.outbox import Outbox
from shared.contract.receipt import Receipt
from shared.contract.status import BatchKey
from shared.contract.topics import readings_topic
from shared.domain.errors import Unavailable

log = logging.getLogger(__name__)

READ_ENTRIES = 64
READ_BYTES = 8 * 1024 * 1024
"""How much is read from the outbox at a time."""
CHECK_S = 1.0
"""How often batches without a receipt are looked for."""


class Publisher:
    """Publishes what waits, over one connection; `Listener` of that connection.

    Batches are published in the order of acceptance. A ship has a limited share of what is in flight: its batches
    beyond that are passed over, and published when its receipts come. So no ship delays the others.
    """

    def __init__(
        self,
        outbox: Outbox,
        on_dropped: Callable[[float], None] = lambda _: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `on_dropped` is called with the number of messages that the broker has dropped."""
        self._outbox = outbox
        self._on_dropped = on_dropped
        self._now_s = now_s
        self._changed = threading.Condition(threading.RLock())
        """Guards what follows. Never held around a call to paho or the outbox: their callbacks need it."""
        self._in_flight = InFlight(now_s)
        self._backlog: dict[int, int] = {}
        """Ships with more waiting than they may have in flight; by ship, the number up to which all is published."""
        self._ready: dict[int, None] = {}
        """Those of them that have room again, in the order in which they got it."""
        self._is_new = self._is_full = self._is_ended = False
        self._last_refusal = ""
        self._dropped = math.nan
        """What the broker said last."""
        self.had_receipt = False
        """Whether any receipt came over this connection."""
        self._link: Link
        self._last = 0
        """All entries up to this number have been published, or belong to ships in the backlog."""
        outbox.watch(self.accepted)

    def accepted(self) -> None:
        """Note that there are new entries."""
        with self._changed:
            self._is_new = True
            self._changed.notify_all()

    # --- as Listener

    def lost(self) -> None:
        """End `run`."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def refused(self, key: BatchKey, why: str) -> None:
        """See `Listener`."""
        with self._changed:
            self._in_flight.refuse(key)
            is_known, self._last_refusal = why == self._last_refusal, why
        if not is_known:  # one cause may concern thousands
            log.error("the broker did not deliver batch %s: %s; it is published again", key.batch_id, why)

    def dropped(self, count: float) -> None:
        """See `Listener`."""
        with self._changed:
            if count > self._dropped:
                self._in_flight.hurry()
            self._dropped = count
        self._on_dropped(count)

    def receipt(self, payload: bytes, correlation: bytes) -> None:
        """See `Listener`."""
        try:
            receipt = Receipt.model_validate_json(payload)
        except ValidationError as error:
            log.warning("a receipt is not valid: %s", error)
            return
        key = receipt.key
        self._outbox.decide(
            key, correlation, receipt.status, receipt.problems, lambda: self.done(key), receipt.superseded
        )

    def done(self, key: BatchKey) -> None:
        """Note that a batch is no longer in the outbox."""
        with self._changed:
            self.had_receipt, self._last_refusal = True, ""
            if not self._in_flight.remove(key):
                return
            is_ready = key.ship in self._backlog and self._in_flight.of(key.ship).has_much_room
            if is_ready:
                self._ready[key.ship] = None
            if self._in_flight.all.has_much_room if self._is_full else is_ready:
                self._changed.notify_all()

    # --- the dispatcher's thread

    def begin(self, link: Link) -> None:
        """Take the connection, which is open."""
        with self._changed:
            self._link = link
            self._in_flight = InFlight(self._now_s, link.receive_maximum)

    def run(self) -> None:
        """Publish until `lost` is called.

        Raises:
            Unavailable: always, at the end.

        """
        next_check_s = 0.0
        while not self._is_ended:
            if self._now_s() >= next_check_s:
                self.publish_again()
                self.resume_ships()
                next_check_s = self._now_s() + CHECK_S
            self._is_new = False  # before the outbox is read
            if not self.publish_some():
                with self._changed:
                    self._changed.wait_for(self._can_publish, CHECK_S)
        raise Unavailable("the connection to the broker is lost")

    def _can_publish(self) -> bool:
        """Return whether it is worth while to go on, or `run` is to end."""
        if self._is_full:
            return self._is_ended or self._in_flight.all.has_much_room
        return self._is_ended or self._is_new or bool(self._ready)

    def publish_some(self) -> bool:
        """Publish some entries; return whether there may be more, and room for them."""
        self._is_full = False
        found = self._publish_in_order()
        return (not self._is_full and self._publish_of_ship()) or found

    def _publish_in_order(self) -> bool:
        """Publish the next entries, but for those of ships that have used their share."""
        newest = self._outbox.newest  # before the outbox is read
        found = self._outbox.waiting(self._last, READ_ENTRIES, READ_BYTES, self._backlog)
        for entry in found:
            with self._changed:
                if not self._can_go_on():
                    return False
                is_in_turn = self._is_in_turn(entry)
                if is_in_turn:
                    self._in_flight.add(entry.key, entry.number, len(entry.payload))
            self._last = entry.number
            if is_in_turn:
                self._publish(entry)
        if not found:
            self._last = max(self._last, newest)
        return bool(found)

    def _is_in_turn(self, entry: WaitingEntry) -> bool:
        """Return whether an entry may be published now; if not, its ship is in the backlog."""
        if entry.ship in self._backlog:
            return False
        if not self._in_flight.of(entry.ship).has_room:
            self._backlog[entry.ship] = entry.number - 1
            return False
        return True

    def _publish_of_ship(self) -> bool:
        """Publish some entries of a ship in the backlog that has room again; return whether there was such a ship."""
        with self._changed:
            ship = next(iter(self._ready), None)
            if ship is None:
                return False
            del self._ready[ship]
            share = self._in_flight.of(ship)
            if not share.has_room:
                return True  # its next receipts make it ready again
            batches, size = share.max_batches - share.batches, share.max_bytes - share.size
        found = self._outbox.waiting_of(ship, self._backlog[ship], self._last, batches, size)
        for entry in found:
            with self._changed:
                if not self._can_go_on():
                    self._ready[ship] = None
                    return False
                self._in_flight.add(entry.key, entry.number, len(entry.payload))
                self._backlog[ship] = entry.number
            self._publish(entry)
        with self._changed:
            if found:
                self._ready[ship] = None
            else:
                del self._backlog[ship]
                self._ready.pop(ship, None)
        return True

    def _can_go_on(self) -> bool:
        self._is_full = not self._in_flight.all.has_room
        return not (self._is_full or self._is_ended)

    def _publish(self, entry: WaitingEntry) -> None:
        self._link.publish(entry.key, readings_topic(entry.ship), entry.payload, entry.digest)

    def resume_ships(self) -> None:
        """Resume ships of the backlog that have only little room: their other batches may get no receipt for long."""
        with self._changed:
            self._ready.update({ship: None for ship in self._backlog if self._in_flight.of(ship).has_room})

    def publish_again(self) -> None:
        """Publish again what has had no receipt for long: a queue may have been full somewhere."""
        with self._changed:
            due = self._in_flight.take_due()
        for key, number in due:
            if self._is_ended:
                return
            found = self._outbox.waiting(number - 1, 1, 0)
            if found and found[0].key == key:
                log.info("batch %s has no receipt yet; it is published again", key.batch_id)
                self._publish(found[0])
            else:  # its receipt came before it was in flight
                self.done(key)

"""Turns a body into an entry of the outbox: checks the batch, gives it a `batch_id`, and rewrites it."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from threading import Lock
from uuid import uuid4

from ingest_api.http.schemas import DeletionParameters
from ingest_api.outbox.entry import Entry
from shared.contract import deletion
from shared.contract.acceptance import Rules
from shared.contract.batch import Received
from shared.contract.batches import receive_all
from shared.contract.content import digest, digest_of_deletion
from shared.contract.decoding import receive
from shared.contract.limits import SMALL_BYTES
from shared.domain.clock import StrictClock, now_us
from shared.http.tokens import Access

LONG_S = 0.05
"""After a batch that took longer to decode there is a pause."""
LONGEST_PAUSE_S = 1.0
NAMED_SHIPS = 1000
"""How many `spaceship_id`s are looked at before a body is parsed; a body with more is always parsed."""
_SHIP = re.compile(rb'"spaceship_id"\s*:\s*(\d{1,16})')


class Intake:
    """Makes entries from bodies; safe to use from several threads."""

    def __init__(self, rules: Rules) -> None:
        """Prepare; `rules` say which readings are accepted."""
        self._rules = rules
        self._clock = StrictClock()
        self._turns = _Turns()

    def entry(self, payload: bytes, access: Access) -> Entry:
        """Return the entry for a body; small bodies do not wait for large ones.

        Raises:
            InvalidInput: it is not a valid batch.
            Forbidden: the token is not for the ship of the batch.

        """
        if len(payload) > SMALL_BYTES:
            check_named_ships(payload, access)
        with self._turns.one() if len(payload) > SMALL_BYTES else nullcontext():
            return self._entry(receive(payload, self._rules, now_us()), access)

    def entries(self, payload: bytes, access: Access) -> list[Entry]:
        """Return the entries for a body with several batches.

        Raises:
            InvalidInput: one of them is not a valid batch, or they are too much together.
            Forbidden: the token is not for the ship of one of them.

        """
        if len(payload) > SMALL_BYTES:
            check_named_ships(payload, access)
        with self._turns.one() if len(payload) > SMALL_BYTES else nullcontext():
            found = receive_all(payload, self._rules, now_us())
            return [self._entry(each.received, access, each.place) for each in found]

    def _entry(self, received: Received, access: Access, place: str = "") -> Entry:
        batch = received.batch
        access.check_ship(batch.ship)
        batch_id, accepted_us = batch.batch_id or uuid4(), self._clock.now_us()
        # Without a `sent_at` a batch with a `batch_id` may come again to another gateway: the worker sees that it does.
        sent_at_us = accepted_us if batch.sent_at_us is None and batch.batch_id is None else batch.sent_at_us
        message = received.message(batch_id, sent_at_us, accepted_us)
        is_named = batch.batch_id is not None
        return Entry(batch_id, batch.ship, batch.received, digest(batch), message, access, place, is_named)

    def deletion(self, asked: DeletionParameters, access: Access) -> Entry:
        """Return the entry for a deletion.

        Raises:
            Forbidden: the token is not for the ship.

        """
        access.check_ship(asked.spaceship_id)
        batch_id, accepted_us = asked.batch_id or uuid4(), self._clock.now_us()
        ship, span_us, is_named = asked.spaceship_id, (asked.start, asked.end), asked.batch_id is not None
        message = deletion.message(ship, span_us, batch_id, None if is_named else accepted_us, accepted_us)
        return Entry(batch_id, ship, 0, digest_of_deletion(ship, span_us), message, access, is_named=is_named)


class _Turns:
    """Decodes one large batch at a time: it may take 100 MB, and several at once would not be faster.

    The parser blocks all other threads. So after a batch that took long, the next one waits for as long as that took,
    and other requests are answered meanwhile.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._next_s = 0.0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a turn, and hold it."""
        with self._lock:
            began_s = time.monotonic()
            if began_s < self._next_s:
                time.sleep(self._next_s - began_s)
                began_s = time.monotonic()
            try:
                yield
            finally:
                ended_s = time.monotonic()
                took_s = ended_s - began_s
                self._next_s = ended_s + min(took_s, LONGEST_PAUSE_S) if took_s > LONG_S else 0.0


def check_named_ships(payload: bytes, access: Access) -> None:
    """Refuse a body before it is parsed, if the token is for none of the ships that it names.

    Raises:
        Forbidden: the token is for other ships.

    """
    if access.ships is None or b"\\" in payload:  # the member's name may be written with escapes
        return
    named = [int(each[1]) for each in islice(_SHIP.finditer(payload), NAMED_SHIPS)]
    if 0 < len(named) < NAMED_SHIPS and access.ships.isdisjoint(named):
        access.check_ship(named[-1])

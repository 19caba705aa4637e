"""From a body to an entry of the outbox: the batch is checked, named, and written anew."""

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from threading import Lock
from uuid import uuid4

from ingest_api.outbox.outbox import Entry
from shared.contract.acceptance import Rules
from shared.contract.batch import Batch, receive
from shared.contract.json_text import SMALL_BYTES
from shared.domain.clock import StrictClock, now_us
from shared.http.tokens import Access

LONG_S = 0.05
"""A batch that took longer to decode is followed by a pause."""
LONGEST_PAUSE_S = 1.0
NAMED_SHIPS = 1000
"""So many names of ships are looked at before a body is parsed; one with more is parsed in any case."""
_SHIP = re.compile(rb'"spaceship_id"\s*:\s*(\d{1,16})')


class Intake:
    """Makes entries of bodies; safe to use from several threads."""

    def __init__(self, rules: Rules) -> None:
        """Begin with rules for which readings are taken."""
        self._rules = rules
        self._clock = StrictClock()
        self._turns = _Turns()

    def entry(self, payload: bytes, access: Access) -> Entry:
        """Make the entry of a body; small ones do not wait for large ones.

        Raises:
            InvalidInput: it holds no valid batch.
            Forbidden: the batch is of a ship that the token is not for.

        """
        if len(payload) > SMALL_BYTES:
            check_named_ships(payload, access)
        with self._turns.one() if len(payload) > SMALL_BYTES else nullcontext():
            received = receive(payload, self._rules, now_us())
            batch = received.batch
            access.check_ship(batch.ship)
            batch_id, accepted_us = batch.batch_id or uuid4(), self._clock.now_us()
            sent_at_us = accepted_us if batch.sent_at_us is None else batch.sent_at_us
            message = received.message(batch_id, sent_at_us, accepted_us)
            return Entry(batch_id, batch.ship, batch.received, digest(batch), message, access)


class _Turns:
    """Lets one large batch be decoded at a time: it may take 100 MB for that, and more at once are no quicker.

    The parser keeps all other threads waiting while it works. So the next batch waits after a long one for as long as
    that took, and all other requests are answered meanwhile.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._next_s = 0.0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a turn, and take it."""
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
    """Refuse a body before it is parsed, if all the ships that it names are others than the token's.

    Raises:
        Forbidden: the token is for other ships.

    """
    if access.ships is None or b"\\" in payload:  # a name may be written with escapes
        return
    named = [int(each[1]) for each in islice(_SHIP.finditer(payload), NAMED_SHIPS)]
    if 0 < len(named) < NAMED_SHIPS and access.ships.isdisjoint(named):
        access.check_ship(named[-1])


def digest(batch: Batch) -> bytes:
    """Tell one content from another: ship, unit, `sent_at` and readings, however they are written."""
    found = hashlib.sha256(f"{batch.ship} {batch.units} {batch.sent_at_us} ".encode())
    found.update(batch.moment_us.tobytes())
    found.update(batch.value.tobytes())
    return found.digest()

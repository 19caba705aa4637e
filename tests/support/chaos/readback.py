"""Asks for what is said to be stored, the moment that it is said: it has to be readable by then."""

import json

import urllib3

from shared.domain.slots import slot_floor_us
from shared.domain.timestamps import US_PER_S, iso
from tests.support.chaos.batches import MIXED, Batch
from tests.support.chaos.ledger import Ledger

ANSWER_S = 10.0
AWAY = 503


class Readback:
    """For one sender."""

    def __init__(self, url: str, ledger: Ledger) -> None:
        """Ask the query service at an address."""
        self._url, self._ledger = url, ledger
        self._http = urllib3.PoolManager(retries=False)

    def close(self) -> None:
        """End its connections."""
        self._http.clear()

    def check(self, batch: Batch) -> None:
        """Ask for the slots in which a stored batch has readings: the store may be away, but none may be missing.

        Ships that send all kinds of readings are left out: not every reading there speaks for its own slot.
        """
        if batch.ship in MIXED:
            return
        moments = [moment_us for moment_us, _ in batch.data]
        start, end = iso(min(moments)), iso(max(moments) + US_PER_S)
        try:
            answer = self._http.request(
                "GET", f"{self._url}/data?spaceship_id={batch.ship}&start={start}&end={end}", timeout=ANSWER_S
            )
        except (urllib3.exceptions.HTTPError, OSError):
            self._ledger.count("questions without an answer")
            return
        if answer.status == AWAY:
            self._ledger.count("questions answered 503")
            return
        self._ledger.count("questions answered")
        expected = {iso(slot_floor_us(moment_us)) for moment_us in moments}
        found = {row["datetime"] for row in answer.json()["data"]} if answer.status == 200 else set()
        if not expected <= found:
            self._ledger.differs(
                f"a batch is stored, but {sorted(expected - found)} cannot be read: {answer.status} {answer.data!r}"
                f" for {json.loads(batch.payload)}"
            )

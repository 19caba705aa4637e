"""What was sent and what was promised of it, and a journal of all that happened, in the order in which it did."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.domain.timestamps import iso
from tests.support import reference
from tests.support.chaos.batches import Batch
from tests.support.reference import Deletion, Reading

_NAME = re.compile('"batch_id": "([^"]*)"')
COMPACT = 50_000
"""Readings of a ship beyond which those that no longer count are forgotten."""


class Ledger:
    """Written by all senders at once."""

    def __init__(self, journal: Path) -> None:
        """Begin a journal."""
        self.counts: Counter[str] = Counter()
        self.outcomes: dict[str, str] = {}
        """What has to have become of the batches that came over HTTP, by their names."""
        self.gateways: dict[str, str] = {}
        """The addresses of the gateways that have accepted them last."""
        self.rejected: set[str] = set()
        """The names of batches that may be dead letters."""
        self.told: dict[str, int] = {}
        """The names of those that must be, because they are no longer waiting to be stored, and their ships."""
        self.unreadable: set[bytes] = set()
        """Payloads without a name that may be dead letters."""
        self.recovery = Recovery()
        self._differences: list[str] = []
        self._readings: dict[int, list[Reading]] = {}
        self._deletions: dict[int, set[Deletion]] = {}
        self._path = journal
        self._journal = journal.open("w", encoding="utf-8")
        self._lock = threading.Lock()

    def note(self, event: str, **what: Any) -> None:
        """Write down what happened."""
        with self._lock:
            self._journal.write(json.dumps({"at": iso(time.time_ns() // 1000), "event": event, **what}) + "\n")

    def sending(self, batch: Batch, over: str, sender: str) -> None:
        """Note that a batch is about to be sent for the first time."""
        payload = batch.payload.decode()
        self.note("send", sender=sender, over=over, kind=batch.kind, outcome=batch.outcome, payload=payload)
        with self._lock:
            self.counts["sent"] += 1
            self.counts[f"sent, {batch.kind}"] += 1
            if batch.outcome == "unknown":
                self.unreadable.add(batch.payload)
            elif batch.outcome == "rejected" and batch.batch_id:
                self.rejected.add(batch.batch_id)

    def promised(self, batch: Batch, name: str, over: str) -> None:
        """Note that a batch is accepted, or that its receipt says what has become of it.

        `over` is the address of the gateway, or `MQTT`.
        """
        self.note("promise", batch_id=name, over=over)
        with self._lock:
            if over != "MQTT":
                self.outcomes[name], self.gateways[name] = batch.outcome, over
            self.counts["rejected" if batch.outcome == "rejected" else "accepted"] += 1
            if batch.outcome == "rejected":
                self.told[name] = batch.ship
            if batch.outcome == "stored":
                if deletion := batch.deletion():
                    self._deletions.setdefault(batch.ship, set()).add(deletion)
                own = self._readings.setdefault(batch.ship, [])
                own += batch.readings()
                self.counts["readings"] += len(batch.data)
                if len(own) > COMPACT:
                    own[:] = reference.counting(own).values()

    def refused(self, batch: Batch) -> None:
        """Note that a batch is refused, as it should be."""
        self.note("refused", batch_id=batch.batch_id)
        with self._lock:
            self.counts["refused"] += 1

    def count(self, what: str) -> None:
        """Count something."""
        with self._lock:
            self.counts[what] += 1

    def differs(self, what: str) -> None:
        """Note that something is not as it should be."""
        self.note("difference", what=what)
        with self._lock:
            self._differences.append(what)

    @property
    def differences(self) -> list[str]:
        """All that is not as it should be."""
        with self._lock:
            return [*self._differences]

    def readings(self) -> dict[int, list[Reading]]:
        """Give what was promised to be stored, by ship."""
        with self._lock:
            return {ship: [*own] for ship, own in self._readings.items()}

    def deletions(self, ship: int) -> list[Deletion]:
        """Give the deletions that were promised of a ship."""
        with self._lock:
            return sorted(self._deletions.get(ship, ()))

    def about(self, ship: int, moment_us: int) -> Iterator[str]:
        """Tell of the batches that name a moment of a ship: when they were sent and what of them came when."""
        with self._lock:
            self._journal.flush()
        names: set[str] = set()
        with self._path.open(encoding="utf-8") as lines:
            for line in lines:
                event = json.loads(line)
                payload = event.get("payload", "")
                if f'"spaceship_id": {ship},' in payload and (
                    f'"{iso(moment_us)}"' in payload or '"delete"' in payload
                ):
                    names.update(_NAME.findall(payload))  # some payloads are cut short
                    yield line.strip()
                elif event.get("batch_id") in names:
                    yield line.strip()

    def close(self) -> None:
        """Close the journal."""
        with self._lock:
            self._journal.close()


class Recovery:
    """The longest time from a moment at which everything ran again to the next word that something is stored.

    What is killed or stopped again in between counts in: it is no shorter than it really was.
    """

    def __init__(self) -> None:
        """Begin undisturbed."""
        self.longest_s = 0.0
        self._since_s: float | None = None
        self._lock = threading.Lock()

    def restored(self) -> None:
        """Learn that everything runs again."""
        with self._lock:
            if self._since_s is None:
                self._since_s = time.monotonic()

    def stored(self) -> None:
        """Learn that a batch is stored."""
        with self._lock:
            if self._since_s is not None:
                self.longest_s = max(self.longest_s, time.monotonic() - self._since_s)
                self._since_s = None

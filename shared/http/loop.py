"""The event loop of the HTTP server's main thread."""

import select
import time
from collections import deque
from typing import Any

from waitress import wasyncore

SWEEP_S = 1.0
PATIENT_S = 0.02
"""Time per turn for connections that are sending a body; the others are handled first."""


class Loop(dict[int, Any]):
    """waitress's socket map, and the event loop that watches it.

    waitress's own loop asks every connection in each turn whether it is readable or writable, which takes milliseconds
    with thousands of connections. This one asks only connections with an event, and those reported by `note_change`. It
    uses `poll()`: with epoll each change is a system call, which hands the interpreter to another thread.
    """

    def __init__(self) -> None:
        """Create an empty map."""
        super().__init__()
        self._poller = select.poll()
        self._watched: dict[int, int] = {}
        self._changed: deque[int] = deque()
        self._swept_s = time.monotonic()

    def __setitem__(self, number: int, each: Any) -> None:
        """Watch a socket from the next turn on; it is still being constructed."""
        super().__setitem__(number, each)
        self._changed.append(number)

    def __delitem__(self, number: int) -> None:
        """Stop watching a socket that is about to be closed."""
        super().__delitem__(number)
        self._watch_for(number, 0)

    def note_change(self, number: int) -> None:
        """Check a connection in the next turn; callable from any thread."""
        self._changed.append(number)

    def turn(self) -> bool:
        """Wait for events, at most `SWEEP_S`, and handle them; return whether to check for timeouts."""
        while self._changed:
            self._look_at(self._changed.popleft())
        patient = []
        for number, events in self._poller.poll(SWEEP_S * 1000):
            if getattr(self.get(number), "is_patient", False):
                patient.append((number, events))
            else:
                self._handle(number, events)
        self._handle_patient(patient)
        now_s = time.monotonic()
        if now_s - self._swept_s < SWEEP_S:
            return False
        self._swept_s = now_s
        self._changed.extend(self)
        return True

    def _handle_patient(self, ready: list[tuple[int, int]]) -> None:
        """Handle senders of bodies for at most `PATIENT_S`, least recently active first."""
        ready.sort(key=lambda entry: self[entry[0]].last_activity if entry[0] in self else 0)
        until_s = time.monotonic() + PATIENT_S
        for number, events in ready:
            self._handle(number, events)
            if time.monotonic() > until_s:
                return

    def _handle(self, number: int, events: int) -> None:
        each: Any = self.get(number)
        if each is None:
            return
        reads = events & ~select.POLLOUT and each.readable()  # a hang-up or an error is seen by reading
        if reads:
            wasyncore.read(each)
        writes = events & ~select.POLLIN and number in self and each.writable()
        if writes:
            wasyncore.write(each)
        self._look_at(number)

    def _look_at(self, number: int) -> None:
        """Update which events a socket is watched for."""
        each = self.get(number)
        if each is None:
            return
        reads = select.POLLIN if each.readable() else 0
        writes = select.POLLOUT if not each.accepting and each.writable() else 0
        self._watch_for(number, reads | writes)

    def _watch_for(self, number: int, events: int) -> None:
        before = self._watched.get(number, 0)
        if events == before:
            return
        if events:
            self._poller.register(number, events)
            self._watched[number] = events
        else:
            self._poller.unregister(number)
            del self._watched[number]

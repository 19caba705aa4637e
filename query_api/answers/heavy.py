"""Bounds on heavy answers, whose work grows with what is stored: how many there are, and how many are computed at once.

A heavy answer has a place from its beginning to its end, and takes a turn for each piece that it computes. While it is
being sent it leaves its turn to others. Light answers need neither, and so always find a thread and most of a core.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from flask import Request, Response
from waitress.channel import ClientDisconnected

from shared.domain.errors import Busy

PLACES = 16
"""So many heavy answers may be waiting, computed or sent at a time: each takes a thread."""
AT_ONCE = 2
"""So many of them are computed at a time: they share Python's lock with all light answers."""
PATIENCE_S = 10.0
"""For so long a heavy answer waits for its first turn."""

Piece = TypeVar("Piece")


class HeavyAnswers:
    """The places and the turns that all heavy answers of a process share; safe to use from several threads."""

    def __init__(self, *, places: int = PLACES, at_once: int = AT_ONCE, patience_s: float = PATIENCE_S) -> None:
        """Begin with all places free."""
        self._places, self._turns, self._patience_s = places, _Turns(at_once), patience_s
        self._lock = threading.Lock()
        self.taken = 0
        """How many places are."""

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return self._turns.waiting

    def check(self) -> None:
        """See whether there is a place.

        Raises:
            Busy: there is none.

        """
        if self.taken == self._places:
            raise Busy("Too many long answers are being computed or sent; ask again in a moment.")

    @contextmanager
    def place(self, request: Request) -> Iterator["Place"]:
        """Give a place to the answer to a request, until the end of the block or of the response that keeps it.

        Raises:
            Busy: all places are taken.

        """
        with self._lock:
            self.check()
            self.taken += 1
        is_gone = request.environ.get("waitress.client_disconnected", bool)
        place = Place(self._turns, self._patience_s, is_gone, self._leave)
        try:
            yield place
        finally:
            if not place.is_kept:
                self._leave()

    def _leave(self) -> None:
        with self._lock:
            self.taken -= 1

    @contextmanager
    def turn(self, request: Request) -> Iterator[None]:
        """Give a place and a turn to an answer that is computed in one go.

        Raises:
            Busy: there are too many others.
            ClientDisconnected: the client has gone.

        """
        with self.place(request) as place, place.turn():
            yield


class Place:
    """The place of one heavy answer."""

    def __init__(
        self, turns: "_Turns", patience_s: float, is_gone: Callable[[], bool], leave: Callable[[], None]
    ) -> None:
        """Have had no turn yet."""
        self._turns, self._patience_s, self._is_gone, self._leave = turns, patience_s, is_gone, leave
        self._has_begun = False
        self.is_kept = False

    def keep(self, response: Response) -> None:
        """Stay until a response is closed, which is sent as it is computed."""
        response.call_on_close(self._leave)
        self.is_kept = True

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and give it back at the end; only the first may be waited for in vain.

        Raises:
            Busy: there are too many others.
            ClientDisconnected: the client has gone.

        """
        if not self._turns.take(None if self._has_begun else self._patience_s):
            raise Busy("Too many long answers are being computed; ask again in a moment.")
        self._has_begun = True
        try:
            if self._is_gone():
                raise ClientDisconnected
            yield
        finally:
            self._turns.give_back()

    def in_turns(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Compute each piece in a turn of its own; raises what `turn` does."""
        end = object()
        while True:
            with self.turn():
                piece = next(pieces, end)
            if piece is end:
                return
            yield piece  # type: ignore[misc]  # it is no end


class _Turns:
    """A semaphore that is fair: a turn that is given back goes to whoever has waited longest."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._waiting: deque[threading.Event] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take(self, patience_s: float | None) -> bool:
        """Wait for a turn; tell whether there was one in time."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            mine = threading.Event()
            self._waiting.append(mine)
        if mine.wait(patience_s):
            return True
        with self._lock:
            if mine.is_set():  # just now
                return True
            self._waiting.remove(mine)
        return False

    def give_back(self) -> None:
        """Pass a turn on."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1

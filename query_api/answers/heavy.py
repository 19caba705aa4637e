"""Limits heavy answers, whose work grows with what is stored: how many there are, and how many are computed at once.

A heavy answer holds a place from its start to its end, and waits for a turn before it computes each piece. It holds no
turn while it is sent. Light answers need neither, so a thread and most of a core are always left for them.
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
"""How many heavy answers may be waiting, computed or sent at a time: each takes a thread."""
AT_ONCE = 2
"""How many of them are computed at a time: they share Python's lock with all light answers."""
PATIENCE_S = 10.0
"""How long a heavy answer waits for its first turn."""

Piece = TypeVar("Piece")


class HeavyAnswers:
    """The places and turns of all heavy answers of a process; thread-safe."""

    def __init__(self, *, places: int = PLACES, at_once: int = AT_ONCE, patience_s: float = PATIENCE_S) -> None:
        """Start with all places free."""
        self._places, self._turns, self._patience_s = places, _Turns(at_once), patience_s
        self._lock = threading.Lock()
        self.taken = 0
        """The number of places that are taken."""

    @property
    def waiting(self) -> int:
        """The number of answers that wait for a turn."""
        return self._turns.waiting

    def check(self) -> None:
        """Check that a place is free.

        Raises:
            Busy: none is.

        """
        if self.taken == self._places:
            raise Busy("Too many long answers are being computed or sent. Try again in a moment.")

    @contextmanager
    def place(self, request: Request) -> Iterator["Place"]:
        """Take a place until the end of the block, or until the end of the response that keeps it.

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
        """Take a place and a turn for an answer that is computed in one piece.

        Raises:
            Busy: there are too many heavy answers.
            ClientDisconnected: the client has closed its connection.

        """
        with self.place(request) as place, place.turn():
            yield


class Place:
    """The place of one heavy answer."""

    def __init__(
        self, turns: "_Turns", patience_s: float, is_gone: Callable[[], bool], leave: Callable[[], None]
    ) -> None:
        """Start without a turn."""
        self._turns, self._patience_s, self._is_gone, self._leave = turns, patience_s, is_gone, leave
        self._has_begun = False
        self.is_kept = False

    def keep(self, response: Response) -> None:
        """Keep the place until a response, which is computed while it is sent, is closed."""
        response.call_on_close(self._leave)
        self.is_kept = True

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and release it at the end. Only the wait for the first turn is limited.

        Raises:
            Busy: there are too many heavy answers.
            ClientDisconnected: the client has closed its connection.

        """
        if not self._turns.take(None if self._has_begun else self._patience_s):
            raise Busy("Too many long answers are being computed. Try again in a moment.")
        self._has_begun = True
        try:
            if self._is_gone():
                raise ClientDisconnected
            yield
        finally:
            self._turns.release()

    def in_turns(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Compute each piece in its own turn; raises what `turn` does."""
        end = object()
        while True:
            with self.turn():
                piece = next(pieces, end)
            if piece is end:
                return
            yield piece  # type: ignore[misc]  # it is not `end`


class _Turns:
    """A fair semaphore: a turn that is released goes to the thread that has waited longest."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._waiting: deque[threading.Event] = deque()

    @property
    def waiting(self) -> int:
        """The number of threads that wait."""
        return len(self._waiting)

    def take(self, patience_s: float | None) -> bool:
        """Wait for a turn; return whether there was one in time."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            mine = threading.Event()
            self._waiting.append(mine)
        if mine.wait(patience_s):
            return True
        with self._lock:
            if mine.is_set():  # since the timeout
                return True
            self._waiting.remove(mine)
        return False

    def release(self) -> None:
        """Pass the turn to the next thread."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1

"""Limits heavy answers, whose work grows with what is stored: how many there are, and how many are computed at once.

A heavy answer holds a place from its start to its end, and waits for a turn before it computes each piece. It holds no
turn while it is sent. Light answers need neither, so a thread and most of a core are always left for them.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
        self._places, self._patience_s, self._lock = places, patience_s, threading.Lock()
        self.turns = Turns(at_once)
        self.taken = 0
        """The number of places that are taken."""

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
        with ExitStack() as leaving:
            leaving.callback(self._leave)
            is_gone = request.environ.get("waitress.client_disconnected", bool)
            yield Place(self.turns, self._patience_s, is_gone, leaving)

    def _leave(self) -> None:
        with self._lock:
            self.taken -= 1

    @contextmanager
    def turn(self, request: Request) -> Iterator[None]:
        """Take a place and a turn for an answer computed in one piece; raises what `place` and its `turn` do."""
        with self.place(request) as place, place.turn():
            yield


@dataclass(slots=True)
class Place:
    """The place of one heavy answer; only the wait for its first turn is limited."""

    _turns: "Turns"
    _patience_s: float | None
    _is_gone: Callable[[], bool]
    _leaving: ExitStack

    def keep(self, response: Response) -> None:
        """Keep the place until a response, which is computed while it is sent, is closed."""
        response.call_on_close(self._leaving.pop_all().close)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and release it at the end.

        Raises:
            Busy: there are too many heavy answers.
            ClientDisconnected: the client has closed its connection.

        """
        if not self._turns.take(self._patience_s):
            raise Busy("Too many long answers are being computed. Try again in a moment.")
        self._patience_s = None
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


class Turns:
    """A fair semaphore: a turn that is released goes to the thread that has waited longest."""

    def __init__(self, count: int) -> None:
        """Start with all turns free."""
        self._lock, self._free = threading.Lock(), count
        self.waiting = deque[threading.Event]()
        """The threads that wait, longest first; the event of each is set when it has a turn."""

    def take(self, patience_s: float | None) -> bool:
        """Wait for a turn; return whether there was one in time."""
        mine = threading.Event()
        with self._lock:
            self.waiting.append(mine)
            self._serve()
        mine.wait(patience_s)
        with self._lock:
            if not mine.is_set():
                self.waiting.remove(mine)
        return mine.is_set()

    def release(self) -> None:
        """Pass the turn to the next thread."""
        with self._lock:
            self._free += 1
            self._serve()

    def _serve(self) -> None:
        while self._free and self.waiting:
            self._free -= 1
            self.waiting.popleft().set()

"""Dead letters on their way to disk: while it is full they wait, a few of them, and nothing else waits for them."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from normalizer_worker.ledger.dead_letters import DeadLetter
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.mqtt.acknowledgements import Done
from shared.domain.errors import Unavailable

log = logging.getLogger(__name__)

MAX_WAITING = 100
MAX_WAITING_BYTES = 8 * 1024 * 1024
"""Of the messages, which are not acknowledged: the broker sends only so much more meanwhile."""
RETRY_S = 2.0


class Morgue(Protocol):
    """Where messages go that can never be stored, as `dead_letters.DeadLetters` keeps them."""

    def keep(self, letters: Sequence[DeadLetter]) -> int:
        """Make letters durable; give how many older ones were dropped for them."""
        ...

    def tidy(self) -> object:
        """Do a little of what can wait."""
        ...


class _Waiting(NamedTuple):
    done: Done
    letter: DeadLetter


class LetterQueue:
    """Has letters kept. A message is acknowledged once its letter is on disk, or given up."""

    def __init__(self, morgue: Morgue, metrics: WorkerMetrics, now_s: Callable[[], float] = time.monotonic) -> None:
        """Begin empty."""
        self._morgue = morgue
        self._metrics = metrics
        self._now_s = now_s
        self._waiting: list[_Waiting] = []
        self._next_try_s = 0.0

    def clear(self) -> None:
        """Forget everything."""
        self._waiting.clear()

    def keep(self, letters: Sequence[tuple[Done, DeadLetter]]) -> list[Done]:
        """Take letters; give the messages that can be acknowledged now, as `go_on` does."""
        self._waiting += [_Waiting(*each) for each in letters]
        return self.go_on()

    def go_on(self) -> list[Done]:
        """Write what waits, if it is time; give the messages that can be acknowledged now."""
        if self._now_s() < self._next_try_s:
            return self._given_up()
        try:
            self._morgue.tidy()
            dropped = self._morgue.keep([each.letter for each in self._waiting]) if self._waiting else 0
        except Unavailable as error:
            self._next_try_s = self._now_s() + RETRY_S
            log.error("dead letters cannot be written, %d wait: %s", len(self._waiting), error)  # noqa: TRY400
            return self._given_up()
        self._metrics.dropped_letters("bounds", dropped)
        done = [each.done for each in self._waiting]
        self._waiting.clear()
        return done

    def _given_up(self) -> list[Done]:
        """Give up the letters that there is no room for, the newest."""
        count = min(len(self._waiting), MAX_WAITING)
        sizes = [each.done.message.size_bytes for each in self._waiting[:count]]
        while count and sum(sizes[:count]) > MAX_WAITING_BYTES:
            count -= 1
        given_up, self._waiting = self._waiting[count:], self._waiting[:count]
        if given_up:
            self._metrics.dropped_letters("disk", len(given_up))
            log.error("%d dead letters are lost: they cannot be written, and too many wait already", len(given_up))
        return [each.done for each in given_up]

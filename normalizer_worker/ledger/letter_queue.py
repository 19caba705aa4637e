"""Dead letters that are to be written. If the disk is full a few of them wait, and good messages go on."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from normalizer_worker.ledger.dead_letter import DeadLetter
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.mqtt.acknowledgements import Done
from shared.domain.errors import Unavailable

log = logging.getLogger(__name__)

MAX_WAITING = 100
MAX_WAITING_BYTES = 8 * 1024 * 1024
"""Of waiting messages. They are not acknowledged, so the broker sends fewer others."""
RETRY_S = 2.0


class DeadLetterStore(Protocol):
    """Keeps dead letters: `DeadLetters`, or a double of the tests."""

    def keep(self, letters: Sequence[DeadLetter]) -> int:
        """Make letters durable; return how many older ones were deleted for them."""

    def tidy(self) -> object:
        """Do a little work that is not urgent."""


class LetterQueue:
    """Writes dead letters. Their messages may be acknowledged once they are on disk, or given up."""

    def __init__(
        self,
        dead_letters: DeadLetterStore,
        metrics: WorkerMetrics,
        now_s: Callable[[], float] = time.monotonic,
        *,
        may_wait: bool = True,
    ) -> None:
        """Start empty.

        With `may_wait` letters wait while they cannot be written. Otherwise that is an error: where they are in the
        store of the readings, good messages cannot go on either.
        """
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._now_s = now_s
        self._may_wait = may_wait
        self._waiting: list[tuple[Done, DeadLetter]] = []
        self._next_try_s = 0.0

    def clear(self) -> None:
        """Forget everything."""
        self._waiting.clear()

    def keep(self, letters: Sequence[tuple[Done, DeadLetter]]) -> list[Done]:
        """Add letters; return the messages that can be acknowledged now, as `go_on` does."""
        self._waiting += letters
        return self.go_on()

    def go_on(self) -> list[Done]:
        """Write what waits, if it is time; return the messages that can be acknowledged now."""
        if self._now_s() < self._next_try_s:
            return self._given_up()
        try:
            self._dead_letters.tidy()
            dropped = self._dead_letters.keep([letter for _, letter in self._waiting]) if self._waiting else 0
        except Unavailable as error:
            if not self._may_wait:
                raise
            self._next_try_s = self._now_s() + RETRY_S
            log.error("dead letters cannot be written, %d wait: %s", len(self._waiting), error)  # noqa: TRY400
            return self._given_up()
        self._metrics.dropped_letters("bounds", dropped)
        done = [done for done, _ in self._waiting]
        self._waiting.clear()
        return done

    def _given_up(self) -> list[Done]:
        """Give up the newest letters, if too many wait; return their messages."""
        count = min(len(self._waiting), MAX_WAITING)
        sizes = [done.message.size_bytes for done, _ in self._waiting[:count]]
        while count and sum(sizes[:count]) > MAX_WAITING_BYTES:
            count -= 1
        given_up, self._waiting = self._waiting[count:], self._waiting[:count]
        if given_up:
            self._metrics.dropped_letters("disk", len(given_up))
            log.error("%d dead letters are lost: they cannot be written, and too many wait already", len(given_up))
        return [done for done, _ in given_up]

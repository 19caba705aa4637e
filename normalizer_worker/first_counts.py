"""How many readings of recent batches did not count when they were stored: a repeat gets the same receipt."""

from uuid import UUID

from normalizer_worker.mqtt.publish import Message

MAX_BATCHES = 50_000
"""Some 6 MB. Beyond that the oldest are forgotten; a repeat of one is told what does not count by now."""


class FirstCounts:
    """Remembers one number for each batch, by its `batch_id` and content; bounded, and lost with the process."""

    def __init__(self, most: int = MAX_BATCHES) -> None:
        """Begin empty."""
        self._most = most
        self._counts: dict[int, int] = {}

    def first(self, message: Message, batch_id: UUID, superseded: int) -> int:
        """Return what was given for the same message before; the first time, what is given."""
        key = hash((message.topic, batch_id.int, message.payload))
        known = self._counts.get(key)
        if known is not None:
            return known
        self._counts[key] = superseded
        if len(self._counts) > self._most:
            del self._counts[next(iter(self._counts))]
        return superseded

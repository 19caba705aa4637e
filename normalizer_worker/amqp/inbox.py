"""Messages that were received and are not finished, by partition; bounded in bytes."""

from collections import defaultdict, deque

from normalizer_worker.mqtt.publish import Message

MAX_BYTES = 64 * 1024 * 1024
MESSAGE_BYTES = 1024
"""What a message takes besides its texts, roughly."""


class Inbox:
    """Keeps messages until they are finished; what finds no room is put off, and goes back to the broker later.

    The broker counts unacknowledged messages, not their bytes, so that only the receiver can bound these. A partition
    without an unfinished message always finds room. Once a message of a partition is put off, those behind it are, too:
    their order stays.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """Begin empty."""
        self._max_bytes = max_bytes
        self._waiting: dict[int, deque[Message]] = {}
        """By partition, none empty; the first has waited longest since it was served."""
        self._unfinished: defaultdict[int, int] = defaultdict(int)
        self._size_bytes = 0
        self._put_off: dict[int, list[int]] = {}
        """The delivery tags, by partition."""

    def add(self, partition: int, message: Message) -> None:
        """Keep a message, or put it off."""
        size_bytes = message.size_bytes + MESSAGE_BYTES
        is_full = self._unfinished[partition] > 0 and self._size_bytes + size_bytes > self._max_bytes
        if is_full or partition in self._put_off:
            self._put_off.setdefault(partition, []).append(message.mid)
            return
        self._unfinished[partition] += 1
        self._size_bytes += size_bytes
        self._waiting.setdefault(partition, deque()).append(message)

    def next_partition(self) -> int | None:
        """Return the partition that has waited longest, if any; it is the last one from now on."""
        partition = next(iter(self._waiting), None)
        if partition is not None:
            self._waiting[partition] = self._waiting.pop(partition)
        return partition

    def pop(self, partition: int) -> Message | None:
        """Return the next message of a partition, if any; it is unfinished until `finished`."""
        messages = self._waiting.get(partition)
        if messages is None:
            return None
        message = messages.popleft()
        if not messages:
            del self._waiting[partition]
        return message

    def finished(self, partition: int, message: Message) -> None:
        """Note that a message is acknowledged."""
        self._unfinished[partition] -= 1
        self._size_bytes -= message.size_bytes + MESSAGE_BYTES

    def take_put_off(self) -> list[int]:
        """Return the delivery tags of what was put off and has room now: the broker has to send it again."""
        has_room = self._size_bytes <= self._max_bytes // 2
        found = [each for each in self._put_off if has_room or not self._unfinished[each]]
        return [tag for partition in found for tag in self._put_off.pop(partition)]

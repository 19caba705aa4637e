"""A message that can never be stored, and why."""

import hashlib
from dataclasses import dataclass

from shared.domain.errors import InvalidInput, Problem

MAX_PAYLOAD_BYTES = 64 * 1024
"""How much of a payload is kept."""


def digest_of(topic: str, payload: bytes) -> bytes:
    """Return the digest that identifies a message, of its topic and its whole payload."""
    digest = hashlib.sha256(topic.encode() + b"\0")
    digest.update(payload)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message and why it is dead.

    Attributes:
        topic: the topic on which it was received.
        payload: its first `MAX_PAYLOAD_BYTES`; empty where only summaries are asked for.
        payload_bytes: length of the whole payload.
        reason: one line.
        problems: the invalid fields, up to 100.
        first_us: when it was received first, microseconds since 1970.
        last_us: when it was received last.
        times: how often it was received, redelivery included.
        digest: of topic and whole payload; identifies the message.

    """

    topic: str
    payload: bytes
    payload_bytes: int
    reason: str
    problems: tuple[Problem, ...]
    first_us: int
    last_us: int
    times: int
    digest: bytes

    @property
    def is_cut(self) -> bool:
        """Whether its payload is longer than what is kept."""
        return len(self.payload) < self.payload_bytes

    def why(self, most: int) -> str:
        """Return the reason and the first `most` problems that it does not include, in one line."""
        named = [each for each in self.problems[:most] if each.problem not in self.reason]
        faults = "; ".join(f"{each.at} {each.problem}" for each in named)
        return f"{self.reason}: {faults}" if faults else self.reason

    @classmethod
    def of(cls, topic: str, payload: bytes, error: InvalidInput, now_us: int) -> "DeadLetter":
        """Make the dead letter of a message, from the error that it caused."""
        kept, digest = payload[:MAX_PAYLOAD_BYTES], digest_of(topic, payload)
        return cls(topic, kept, len(payload), error.summary, error.problems, now_us, now_us, 1, digest)

"""What the gateway needs of the broker."""

from typing import Protocol


class Publisher(Protocol):
    """Hands messages to the broker."""

    def publish(self, topic: str, payload: bytes) -> None:
        """Return once the broker has confirmed the message, and that somebody subscribes to it.

        Raises:
            Unavailable: it has not; the message may arrive all the same.

        """
        ...

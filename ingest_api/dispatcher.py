"""Publishes what waits in the outbox until a worker's receipt comes for it."""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingest_api.broker_link import Link, Listener
from ingest_api.outbox import Outbox
from shared.errors import Problem, Unavailable
from shared.topics import readings_topic

log = logging.getLogger(__name__)

MAX_BATCHES = 1000
MAX_BYTES = 64 * 1024 * 1024
"""What is under way at a time, published and without a receipt, at most; one batch may always be."""
PART = 16
AGAIN_S = 30.0
LATEST_S = 3600.0
FIRST_PAUSE_S = 0.25
LAST_PAUSE_S = 5.0
LOOK_S = 1.0
FIRST_CONNECTION_S = 5.0


class WireProblem(BaseModel):
    """One fault, as a receipt has it."""

    at: str
    problem: str


class Receipt(BaseModel):
    """A worker's word on one batch."""

    model_config = ConfigDict(extra="ignore")

    batch_id: UUID
    status: Literal["stored", "rejected"]
    errors: Annotated[list[WireProblem], Field(default_factory=list)]


@dataclass(slots=True)
class _UnderWay:
    """A batch that was published."""

    number: int
    size: int
    due_s: float
    pause_s: float = AGAIN_S


class Dispatcher:
    """One thread. What is published again costs the worker little, and changes nothing.

    Whatever is wrong with a connection, be it that the broker refuses one message: it is dropped, and all that waits is
    published anew over the next one.
    """

    def __init__(
        self, outbox: Outbox, connect: Callable[[Listener], Link], dropped: Callable[[float], None] = lambda _: None
    ) -> None:
        """Prepare; `connect` opens a new connection, and `dropped` is told what the broker has dropped."""
        self._outbox = outbox
        self._connect = connect
        self.dropped = dropped
        self._link: Link | None = None
        self._under_way: dict[str, _UnderWay] = {}
        self._bytes = 0
        self._last = 0
        self._changed = threading.Condition(threading.RLock())
        self._is_new = self._has_receipt = self._stopping = False
        self._trouble = ""
        self._was_connected = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def await_connection(self) -> None:
        """Wait a little for the first connection, so that whoever is told that all is ready finds it so."""
        self._was_connected.wait(FIRST_CONNECTION_S)

    def close(self) -> None:
        """Stop; what waits goes on waiting in the outbox."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def is_connected(self) -> bool:
        """Tell whether there is a connection to the broker."""
        link = self._link
        return link is not None and link.is_connected()

    def accepted(self) -> None:
        """Learn that something waits in the outbox."""
        with self._changed:
            self._is_new = True
            self._changed.notify_all()

    # --- as Listener

    def refused(self, why: str) -> None:
        """See `Listener`."""
        self._note(f"the broker did not pass on a batch: {why}")

    def lost(self) -> None:
        """See `Listener`."""
        self._note("the connection to the broker is lost")

    def _note(self, trouble: str) -> None:
        with self._changed:
            self._trouble = self._trouble or trouble
            self._changed.notify_all()

    def receipt(self, payload: bytes, correlation: bytes) -> None:
        """See `Listener`."""
        try:
            receipt = Receipt.model_validate_json(payload)
        except ValidationError:
            log.exception("a receipt that cannot be read")
            return
        problems = tuple(Problem(each.at, each.problem) for each in receipt.errors)
        name = str(receipt.batch_id)
        self._outbox.decide(receipt.batch_id, correlation, receipt.status, problems, lambda: self._forget(name))

    def _forget(self, batch_id: str) -> None:
        with self._changed:
            known = self._under_way.pop(batch_id, None)
            if known is not None:
                self._has_receipt = True
                self._bytes -= known.size
                self._changed.notify_all()

    # --- the thread

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping:
            try:
                self._begin()
                self._link = self._connect(self)
                self._was_connected.set()
                self._serve(self._link)
            except Unavailable as error:
                pause_s = FIRST_PAUSE_S if self._has_receipt else min(pause_s * 2, LAST_PAUSE_S)
                log.warning("%s; next try in %.1f s", error, pause_s)
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, pause_s)
            finally:
                if self._link is not None:
                    self._link.close()
                    self._link = None

    def _begin(self) -> None:
        with self._changed:
            self._under_way.clear()
            self._bytes = self._last = 0
            self._trouble, self._has_receipt = "", False

    def _serve(self, link: Link) -> None:
        look_s = 0.0
        while not self._stopping:
            if self._trouble:
                raise Unavailable(self._trouble)
            self._is_new = False
            if time.monotonic() >= look_s:
                self._publish_due(link)
                look_s = time.monotonic() + LOOK_S
            what_next = self._something_is_new if self._publish_new(link) else self._has_room
            self._await(what_next)

    def _await(self, event: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: event() or self._trouble or self._stopping, LOOK_S)

    def _something_is_new(self) -> bool:
        return self._is_new

    def _has_room(self) -> bool:
        return not self._under_way or (len(self._under_way) < MAX_BATCHES and self._bytes < MAX_BYTES)

    def _publish_new(self, link: Link) -> bool:
        """Publish what is not under way, as far as there is room; tell whether that was all."""
        while found := self._outbox.waiting(self._last, PART):
            for waiting in found:
                if not self._has_room() or self._trouble:
                    return False
                with self._changed:
                    size = len(waiting.payload)
                    self._under_way[waiting.batch_id] = _UnderWay(waiting.number, size, time.monotonic() + AGAIN_S)
                    self._bytes += size
                self._last = waiting.number
                link.publish(readings_topic(waiting.ship), waiting.payload, waiting.digest)
        return True

    def _publish_due(self, link: Link) -> None:
        """Publish again what has been without a receipt for long: a queue may have been full somewhere."""
        now_s = time.monotonic()
        with self._changed:
            due = [(name, each) for name, each in self._under_way.items() if each.due_s <= now_s]
        for name, each in due:
            found = self._outbox.waiting(each.number - 1, 1)
            if not found or found[0].batch_id != name:  # its receipt has come meanwhile
                self._forget(name)
                continue
            log.info("batch %s is without a receipt, and published again", name)
            each.pause_s = min(each.pause_s * 2, LATEST_S)
            each.due_s = now_s + each.pause_s * random.uniform(0.8, 1.2)
            link.publish(readings_topic(found[0].ship), found[0].payload, found[0].digest)

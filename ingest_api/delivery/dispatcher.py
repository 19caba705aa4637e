"""Keeps a connection to the broker, over which what waits in the outbox is published."""

import logging
import random
import threading
from collections.abc import Callable

from ingest_api.delivery.mqtt_link import Link, LinkRefused, Listener
from ingest_api.delivery.publisher import Publisher
from shared.domain.errors import Unavailable

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.25
LAST_PAUSE_S = 5.0
FIRST_CONNECTION_S = 5.0
CLOSE_S = 3.0
"""How long `close` waits for the thread: it may be resolving the broker's name, which can take much longer."""


class Dispatcher:
    """One thread. After a lost connection it opens another one, and publishes anew over it all that waits.

    So nothing depends on what the broker remembers. A batch that is published again costs the worker little, and
    changes nothing.
    """

    def __init__(self, make_publisher: Callable[[], Publisher], make_link: Callable[[Listener], Link]) -> None:
        """Prepare; `make_link` makes a connection that is not open yet."""
        self._make_publisher = make_publisher
        self._make_link = make_link
        self._lock = threading.Lock()
        """Guards the next two together with `_stopping`."""
        self._publisher: Publisher | None = None
        self._link: Link | None = None
        self._stopping = threading.Event()
        self._was_connected = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def await_connection(self) -> None:
        """Wait a little for the first connection, so that a service that says it is ready is connected."""
        self._was_connected.wait(FIRST_CONNECTION_S)

    def close(self) -> None:
        """Stop; what waits stays in the outbox."""
        with self._lock:
            self._stopping.set()
            publisher, link = self._publisher, self._link
        if publisher is not None:
            publisher.lost()
        if link is not None:
            link.abandon()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)

    def is_connected(self) -> bool:
        """Return whether there is a connection to the broker."""
        link = self._link
        return link is not None and link.is_connected()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while (parts := self._next()) is not None:
            publisher, link = parts
            try:
                link.open()
                self._was_connected.set()
                log.info("connected to the broker")
                publisher.begin(link)
                publisher.run()
            except Unavailable as error:
                if not self._stopping.is_set():
                    log.log(logging.ERROR if isinstance(error, LinkRefused) else logging.WARNING, "%s", str(error))
            except Exception:
                log.exception("publishing failed; trying again")
            finally:
                link.close()
            pause_s = FIRST_PAUSE_S if publisher.had_receipt else min(pause_s * 2, LAST_PAUSE_S)
            self._stopping.wait(pause_s * random.uniform(0.8, 1.2))

    def _next(self) -> tuple[Publisher, Link] | None:
        """Prepare the next connection; return None if the dispatcher is to stop."""
        with self._lock:
            if self._stopping.is_set():
                return None
            self._publisher = self._make_publisher()
            self._link = self._make_link(self._publisher)
            return self._publisher, self._link

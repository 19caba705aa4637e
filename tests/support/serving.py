"""A service's own HTTP server, in a thread of the test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from shared.http.server import Server
from tests.support.servers import HOST, free_port


@contextmanager
def serving(app: Flask, *, threads: int = 4) -> Iterator[int]:
    """Serve an app, and give the port."""
    port = free_port()
    server = Server(app, HOST, port, threads=threads)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield port
    finally:
        # The way out of its loop is a signal, which no thread but the main one gets: so its next turn raises.
        waitress = server._server
        waitress._map.turn = _end  # type: ignore[method-assign]
        waitress.note_change(-1)
        thread.join()
        for each in list(waitress._map.values()):
            getattr(each, "cut", each.close)()


def _end() -> bool:
    raise SystemExit

"""A service's own HTTP server, in a thread of the test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from shared.http_server import Server
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
        # The way out of its loop is a signal, which no thread but the main one gets: so take away what it loops over.
        waitress = server._server
        sockets = list(waitress._map.values())
        waitress._map.clear()
        waitress.pull_trigger()
        thread.join()
        waitress.task_dispatcher.shutdown()
        for each in sockets:
            getattr(each, "cut", each.close)()

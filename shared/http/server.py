"""The HTTP server: waitress, with limits on connections and on the memory of all bodies and answers."""

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from shared.domain.errors import InvalidSettings
from shared.http.channel import LARGE_BYTES, Channel
from shared.http.closing_order import Waiting, closing_order
from shared.http.loop import Loop
from shared.http.open_files import connection_limit, moved_up, raise_limit
from shared.http.request import IN_MEMORY_BYTES, MAX_HEADER_BYTES, MAX_READ_BYTES, TooBusy
from shared.http.threads import Threads

log = logging.getLogger(__name__)

THREADS = 32
MOST_CONNECTIONS = 4000
BACKLOG = 4096
ACCEPTS_AT_ONCE = 1000
MADE_FREE = 16
"""When the connection limit is reached, one in so many idle connections is closed at a time."""
BODIES_BYTES = 48 * 2**20
"""Limit of all request bodies that have not been answered yet; the default fits a container's `/tmp` of 64 MiB."""
GATEWAY_BODIES_BYTES = 512 * 2**20
"""The same limit for the gateway: 64 bodies of full size."""
ANSWERS_BYTES = 64 * 2**20
"""Limit of all answers that clients have not read yet."""
WATERMARK_BYTES = 2**20
"""Backpressure: a thread waits while this much of its answer is unread."""
RECEIVED_BYTES = 64 * 1024
"""Size of one read from a connection."""
SEND_BUFFER_BYTES = 256 * 1024
"""SO_SNDBUF of each connection; Linux would otherwise grow it to several MiB for a client that does not read."""
LOOPBACK = ("127.0.0.1", "localhost")
BLOCKED_SHARE = 5
"""One in so many threads may wait for slow readers."""


class Listener(TcpWSGIServer):
    """Accepts connections; above any limit, closes those that have waited longest."""

    channel_class = Channel
    _map: Loop

    def __init__(
        self, app: Callable[..., Any], loop: Loop, threads: Threads, adj: Adjustments, most_bodies_bytes: int
    ) -> None:
        """Listen on the bound socket of `adj`."""
        (listener,) = adj.sockets
        self._bodies_bytes = 0
        """Upper estimate of the bytes kept of bodies; counted exactly only when it exceeds the limit."""
        self._answers_lock = threading.Lock()
        self._answers_bytes = 0
        """Upper estimate of the bytes kept of answers; counted exactly only when it exceeds the limit."""
        self._blocked_lock = threading.Lock()
        self._blocked: set[Channel] = set()
        self._most_blocked = max(1, len(threads.threads) // BLOCKED_SHARE)
        self._most_bodies_bytes = most_bodies_bytes
        sockinfo = (listener.family, listener.type, listener.proto, listener.getsockname())
        super().__init__(app, loop, _sock=listener, dispatcher=threads, adj=adj, bind_socket=False, sockinfo=sockinfo)

    def readable(self) -> bool:
        """Return whether to accept: not at the limit while every connection is being answered."""
        return self.accepting and (not self._is_full() or any(not each.requests for each in self._channels()))

    def _channels(self) -> list[Channel]:
        channels: Any = self.active_channels
        return list(channels.values())  # a copy: other threads call this, too

    def _is_full(self) -> bool:
        channels: Any = self.active_channels
        return len(channels) >= self.adj.connection_limit

    def handle_accept(self) -> None:
        """Accept waiting connections."""
        self.accept_from(self)

    def accept_from(self, door: wasyncore.dispatcher) -> None:
        """Accept connections that wait at one of the sockets, a limited number per turn of the event loop."""
        for _ in range(ACCEPTS_AT_ONCE):
            if self._is_full() and not self._make_room():
                return
            try:
                accepted = door.accept()
                if accepted is None:
                    return
                connection, address = _moved_up(accepted[0]), accepted[1]
                self.set_socket_options(connection)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    continue  # the client has disconnected
                log.warning("a connection cannot be accepted: %s", error.strerror)
                self._make_room()
                return
            Channel(self, connection, address, self.adj, self._map)

    def _make_room(self) -> bool:
        """Close idle connections; return False if every connection is being answered."""
        idle = [Waiting(each, each.served_s) for each in self._channels() if not each.requests]
        for _, each in zip(range(max(1, self.adj.connection_limit // MADE_FREE)), closing_order(idle), strict=False):
            each.cut()
        return bool(idle)

    def sweep(self) -> None:
        """Close the connections that have timed out."""
        now_s = time.time()
        for each in self._channels():
            if each.is_late(now_s):
                each.cut()

    def note_change(self, number: int) -> None:
        """Make the event loop check whether a connection is readable or writable; callable from any thread."""
        self._map.note_change(number)
        super().pull_trigger()

    def pull_trigger(self) -> None:
        """Do nothing: waitress does not say which connection has changed, and `Channel` calls `note_change`."""

    def has_taken_in(self, channel: Channel, size: int) -> None:
        """Count received bytes; above the limit of all bodies, close the slowest senders."""
        self._bodies_bytes += size
        if self._bodies_bytes <= self._most_bodies_bytes:
            return
        channels = self._channels()
        self._bodies_bytes = sum(each.body_bytes for each in channels)
        if self._bodies_bytes <= self._most_bodies_bytes:
            return
        others = (each for each in channels if each is not channel and not each.requests and each.body_bytes)
        for each in closing_order(Waiting(each, each.served_s, each.body_bytes) for each in others):
            if self._bodies_bytes <= self._most_bodies_bytes * 3 // 4:
                return
            self._bodies_bytes -= each.body_bytes
            each.cut()
        if self._bodies_bytes > self._most_bodies_bytes:
            channel.refuse(TooBusy("the server is receiving too many request bodies"))

    def has_kept(self, size: int) -> None:
        """Count bytes of an answer that its client has not taken; above the limit, drop answers. Runs in a thread.

        The lock is held for as long as connections are cut: without it, all threads that answer compete with the main
        thread for the interpreter, and other clients wait four times as long.
        """
        with self._answers_lock:
            self._answers_bytes += size
            if self._answers_bytes <= ANSWERS_BYTES:
                return
            kept = [each for each in self._channels() if each.total_outbufs_len]
            self._answers_bytes = sum(each.answer_bytes for each in kept)
            if self._answers_bytes <= ANSWERS_BYTES:
                return
            # Small answers last: dropping them frees little, and they may be those of clients that do read.
            sizes = [Waiting(each, each.took_s, each.answer_bytes) for each in kept]
            large, small = ([each for each in sizes if (each.weight >= LARGE_BYTES) is it] for it in (True, False))
            for each in chain(closing_order(large), closing_order(small)):
                self._answers_bytes -= each.drop_answer()
                if self._answers_bytes <= ANSWERS_BYTES * 3 // 4:
                    return

    @contextmanager
    def blocked(self, channel: Channel) -> Iterator[None]:
        """Let a thread wait for a slow reader; if too many threads wait, disconnect the slowest."""
        with self._blocked_lock:
            self._blocked.add(channel)
            waiting = [Waiting(each, each.took_s) for each in self._blocked]
        if len(waiting) > self._most_blocked:
            next(closing_order(waiting)).give_up()
        try:
            yield
        finally:
            with self._blocked_lock:
                self._blocked.discard(channel)


class Door(wasyncore.dispatcher):
    """A further socket at which a listener accepts connections; all limits are those of the listener."""

    def __init__(self, listener: Listener, sock: socket.socket, loop: Loop) -> None:
        """Accept at a socket that listens."""
        self._listener = listener
        super().__init__(sock, map=loop)
        self.accepting = True

    def readable(self) -> bool:
        """Return whether the listener accepts."""
        return self._listener.readable()

    def writable(self) -> bool:
        """Return False: nothing is sent here."""
        return False

    def handle_accept(self) -> None:
        """Accept waiting connections."""
        self._listener.accept_from(self)


def _moved_up(connection: socket.socket) -> socket.socket:
    with connection:
        number = moved_up(connection.fileno())
    return socket.socket(connection.family, connection.type, connection.proto, fileno=number)


def _beside(listener: socket.socket) -> socket.socket | None:
    """Listen on the same port of ::1; return None where that cannot be, for instance without IPv6."""
    port = listener.getsockname()[1]
    try:
        return socket.create_server(("::1", port), family=socket.AF_INET6, backlog=BACKLOG)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            log.warning("cannot listen on [::1]:%d, only on 127.0.0.1: %s", port, os.strerror(error.errno or 0))
        return None


class Server:
    """A WSGI server with a fixed number of threads, which slow clients cannot occupy."""

    def __init__(
        self,
        app: Callable[..., Any],
        host: str,
        port: int,
        *,
        threads: int = THREADS,
        bodies_bytes: int | None = None,
    ) -> None:
        """Listen; beside 127.0.0.1 also on ::1 where the machine has it, which `localhost` may mean first.

        Raises:
            InvalidSettings: the address is not available.

        """
        try:
            listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as error:
            raise InvalidSettings(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}") from None
        beside = _beside(listener) if host in LOOPBACK else None
        for each in (listener, beside):
            if each is not None:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        adj = Adjustments(
            sockets=[listener],
            backlog=BACKLOG,
            recv_bytes=RECEIVED_BYTES,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=MAX_READ_BYTES,
            connection_limit=connection_limit(raise_limit(), MOST_CONNECTIONS),
            inbuf_overflow=IN_MEMORY_BYTES,
            outbuf_overflow=2 * ANSWERS_BYTES,  # never into a file
            outbuf_high_watermark=WATERMARK_BYTES,
            clear_untrusted_proxy_headers=True,
            ident="",
        )
        self._loop = Loop()
        self._threads = Threads(threads)
        self._server = Listener(app, self._loop, self._threads, adj, bodies_bytes or BODIES_BYTES)
        if beside is not None:
            Door(self._server, beside, self._loop)

    def run(self) -> None:
        """Serve until `stop`, then answer the requests that have been read, within a time limit."""
        try:
            while self._loop:
                if self._loop.turn():
                    self._server.sweep()
        except (SystemExit, KeyboardInterrupt):
            self._threads.shutdown()

    def stop(self) -> None:
        """End `run`; called by a signal handler."""
        raise SystemExit

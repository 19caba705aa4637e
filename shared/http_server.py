"""The HTTP server: waitress, with bounds on what all connections take together."""

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from shared.closing_order import Waiting, closing_order
from shared.errors import InvalidSettings
from shared.http_channel import Channel
from shared.http_loop import Loop
from shared.http_request import IN_MEMORY_BYTES, MAX_HEADER_BYTES, MAX_READ_BYTES, TooBusy
from shared.open_files import connection_limit, moved_up, raise_limit
from shared.threads import Threads

log = logging.getLogger(__name__)

THREADS = 32
MOST_CONNECTIONS = 4000
BACKLOG = 4096
ACCEPTS_AT_ONCE = 1000
MADE_FREE = 16
"""Where the server is full, one in so many connections is closed at a time, of those that may be."""
BODIES_BYTES = 48 * 2**20
"""Of all bodies together that have not been answered yet; by default they fit into a container's `/tmp` of 64 MiB."""
GATEWAY_BODIES_BYTES = 512 * 2**20
"""The same where batches are taken: 64 of full size."""
ANSWERS_BYTES = 64 * 2**20
"""Of all answers together that clients have not taken yet."""
WATERMARK_BYTES = 2**20
"""Of one answer; beyond, the thread that answers waits until its client has taken some."""
RECEIVED_BYTES = 64 * 1024
"""At a time, from one connection."""
SEND_BUFFER_BYTES = 256 * 1024
"""In the system, for each connection; by itself it would keep several MiB for a client that takes nothing."""
BLOCKED_SHARE = 5
"""One in so many threads may wait for clients that take their answers slowly."""


class Listener(TcpWSGIServer):
    """Accepts connections; when there are too many of anything, closes those that wait for longest."""

    channel_class = Channel
    _map: Loop

    def __init__(
        self, app: Callable[..., Any], loop: Loop, listener: socket.socket, threads: Threads, adj: Adjustments
    ) -> None:
        """Listen on a socket that is bound."""
        self._bodies_bytes = 0
        """At least what bodies take; exact when it was last counted, which is done where it is too much."""
        self._answers_lock = threading.Lock()
        self._answers_bytes = 0
        self._answered: dict[int, int] = {}
        """For each thread that answers, by its identifier, the file number of its connection."""
        self._blocked_lock = threading.Lock()
        self._blocked: set[Channel] = set()
        self.most_blocked = 1
        self.most_bodies_bytes = BODIES_BYTES
        sockinfo = (listener.family, listener.type, listener.proto, listener.getsockname())
        dispatcher: Any = threads  # has all that is asked of waitress's own
        super().__init__(
            app, loop, _sock=listener, dispatcher=dispatcher, adj=adj, bind_socket=False, sockinfo=sockinfo
        )

    def readable(self) -> bool:
        """Tell whether connections are accepted."""
        return self.accepting and (not self._is_full() or any(not each.requests for each in self._channels()))

    def _channels(self) -> list[Channel]:
        channels: Any = self.active_channels
        return list(channels.values())  # at once: threads call this, too

    def _is_full(self) -> bool:
        return len(self.active_channels) >= self.adj.connection_limit

    def handle_accept(self) -> None:
        """Accept who waits, so many at a time; the loop has other things to do, too."""
        for _ in range(ACCEPTS_AT_ONCE):
            if self._is_full() and not self._make_room():
                return
            try:
                accepted = self.accept()
                if accepted is None:
                    return
                connection, address = _moved_up(accepted[0]), accepted[1]
                self.set_socket_options(connection)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    continue  # that client is gone already
                log.warning("a connection cannot be accepted: %s", error.strerror)
                self._make_room()
                return
            Channel(self, connection, address, self.adj, self._map)

    def _make_room(self) -> bool:
        """Close connections without a request that is being answered; False where there is none."""
        idle = [Waiting(each, each.served_s) for each in self._channels() if not each.requests]
        for _, each in zip(range(max(1, self.adj.connection_limit // MADE_FREE)), closing_order(idle), strict=False):
            each.cut()
        return bool(idle)

    def sweep(self) -> None:
        """Close the connections that have kept us waiting for too long."""
        now_s = time.time()
        for each in self._channels():
            if each.is_late(now_s):
                each.cut()

    def note_answering(self, number: int) -> None:
        """Note which connection the present thread answers from now on."""
        self._answered[threading.get_ident()] = number

    def note_change(self, number: int) -> None:
        """Have the main thread ask what this connection waits for; runs in any thread."""
        self._map.note_change(number)
        super().pull_trigger()

    def pull_trigger(self) -> None:
        """Wake the main thread, which asks what the connection that the present thread answers waits for now."""
        number = self._answered.get(threading.get_ident())
        if number is not None:
            self._map.note_change(number)
        super().pull_trigger()

    def has_taken_in(self, channel: Channel, size: int) -> None:
        """Note that so much of bodies has arrived, and see to it that they stay within their bound together."""
        self._bodies_bytes += size
        if self._bodies_bytes <= self.most_bodies_bytes:
            return
        channels = self._channels()
        self._bodies_bytes = sum(each.body_bytes for each in channels)
        if self._bodies_bytes <= self.most_bodies_bytes:
            return
        others = (each for each in channels if each is not channel and not each.requests and each.body_bytes)
        for each in closing_order(Waiting(each, each.served_s, each.body_bytes) for each in others):
            if self._bodies_bytes <= self.most_bodies_bytes * 3 // 4:
                return
            self._bodies_bytes -= each.body_bytes
            each.cut()
        if self._bodies_bytes > self.most_bodies_bytes:
            channel.refuse(TooBusy("too much is being taken in at a time"))

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
            for each in closing_order(Waiting(each, each.took_s, each.answer_bytes) for each in kept):
                self._answers_bytes -= each.drop_answer()
                if self._answers_bytes <= ANSWERS_BYTES * 3 // 4:
                    return

    @contextmanager
    def blocked(self, channel: Channel) -> Iterator[None]:
        """Let a thread wait for a client to take its answer; where too many wait, the slowest client is cut off."""
        with self._blocked_lock:
            self._blocked.add(channel)
            waiting = [Waiting(each, each.took_s) for each in self._blocked]
        if len(waiting) > self.most_blocked:
            next(closing_order(waiting)).give_up()
        try:
            yield
        finally:
            with self._blocked_lock:
                self._blocked.discard(channel)


def _moved_up(connection: socket.socket) -> socket.socket:
    with connection:
        number = moved_up(connection.fileno())
    return socket.socket(connection.family, connection.type, connection.proto, fileno=number)


class Server:
    """A WSGI server: a fixed number of threads, bounded bodies and answers, slow clients kept off the threads."""

    def __init__(
        self,
        app: Callable[..., Any],
        host: str,
        port: int,
        *,
        threads: int = THREADS,
        bodies_bytes: int | None = None,
    ) -> None:
        """Listen.

        Raises:
            InvalidSettings: the address cannot be had.

        """
        try:
            listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as error:
            raise InvalidSettings(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}") from None
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
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
        self._server = Listener(app, self._loop, listener, self._threads, adj)
        self._server.most_blocked = max(1, threads // BLOCKED_SHARE)
        self._server.most_bodies_bytes = bodies_bytes or BODIES_BYTES

    def run(self) -> None:
        """Serve until `stop`; what has been read by then is answered, if it does not take long."""
        try:
            while self._loop:
                if self._loop.turn():
                    self._server.sweep()
        except (SystemExit, KeyboardInterrupt):
            self._threads.shutdown()

    def stop(self) -> None:
        """End `run`, from a signal handler."""
        raise SystemExit

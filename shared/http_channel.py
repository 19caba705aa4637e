"""The connections of an HTTP server."""

import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from waitress.buffers import OverflowableBuffer, ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.task import ErrorTask
from waitress.utilities import Error

from shared.errors import Problem
from shared.http import RETRY_AFTER_S, problem
from shared.http_request import Request, TooBusy

if TYPE_CHECKING:
    from shared.http_server import Listener

STALLED_S = 30.0
"""For so long a client may take nothing of an answer; then it is cut off."""
LARGE_BYTES = 64 * 1024
IDLE_S = 60.0
"""For so long a connection without a request is kept."""


_DROP_UNSENT = struct.pack("ii", 1, 0)


class _Whole(ReadOnlyFileBasedBuffer):
    """A large part of an answer, sent without copying it."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)

    def __len__(self) -> int:
        return len(self._rest)

    def get(self, numbytes: int = -1, skip: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002
        return self._rest[:numbytes]

    def skip(self, numbytes: int, allow_prune: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        self._rest = self._rest[numbytes:]

    def close(self) -> None:
        self._rest = memoryview(b"")


class ProblemTask(ErrorTask):
    """Answers what never reaches an app: malformed requests, and bodies that are not taken."""

    def execute(self) -> None:
        """Write the problem."""
        request: Any = self.request
        error = request.error
        headers = {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, TooBusy) else None
        response = problem(error.code, str(error.body), (Problem("body", str(error.body)),), headers)
        body = response.get_data()
        self.status = response.status
        self.content_length = len(body)
        kept = [(name, value) for name, value in response.headers if name in ("Content-Type", "Retry-After")]
        self.response_headers = [*kept, ("Connection", "close")]
        self.set_close_on_finish()
        self.write(body)


class Channel(HTTPChannel):
    """A connection to a client: what it sends is bounded in time, what it does not take in time and bytes.

    Methods that waitress calls from the threads that answer requests say so; all others run in the main thread.
    """

    error_task_class = ProblemTask
    parser_class = Request
    server: "Listener"
    request: Request | None
    requests: list[Request]
    requests_lock: Any
    addr: tuple[Any, ...]
    _fileno: int | None

    def __init__(self, server: "Listener", connection: socket.socket, addr: Any, adj: Any, sockets: Any) -> None:
        """Begin with a connection that has just been accepted."""
        self.served_s = time.time()
        """When it was last answered, or else accepted."""
        self.answering_s = self.served_s
        """When the last answer began."""
        super().__init__(server, connection, addr, adj, map=sockets)

    @property
    def address(self) -> str:
        """Give the client's address, without a port."""
        return str(self.addr[0])

    @property
    def clients(self) -> tuple[str, ...]:
        """Tell whose turn among the requests that wait for a thread its next one takes.

        Who comes from one address and calls itself many others with `X-Real-IP` gains nothing: the first counts first.
        """
        named = self.requests[0].headers.get("X_REAL_IP", "")
        return (self.address, named) if named else (self.address,)

    def received(self, data: bytes) -> bool:
        """See waitress; what arrives may be of a body, and counts for the server's bound."""
        took = bool(super().received(data))
        if self.request is not None and self.request.began_s is None:
            self.request.began_s = time.time()
        self.server.has_taken_in(self, len(data))
        return took

    @property
    def is_patient(self) -> bool:
        """Tell whether it sends a body, of which more can wait."""
        return self.request is not None and self.request.body_rcv is not None

    @property
    def body_bytes(self) -> int:
        """Tell how much of bodies is kept for it: on their way, waiting for a thread, or being answered."""
        request = self.request
        return sum(each.body_bytes for each in list(self.requests)) + (request.body_bytes if request else 0)

    def refuse(self, error: Error) -> None:
        """Answer the request that is on its way with an error, without waiting for the rest of it."""
        with self.requests_lock:
            if self.request is not None and not self.requests:
                self.request.error = error
                self.requests.append(self.request)
                self.request = None
                task: Any = self
                self.server.add_task(task)

    def is_late(self, now_s: float) -> bool:
        """Tell whether it has kept us waiting for too long; never while a request is being answered."""
        if self.requests:
            return False
        if self.total_outbufs_len:
            return now_s - self.took_s > STALLED_S
        if self.request is not None:
            return self.request.is_late(now_s)
        return now_s - self.last_activity > IDLE_S

    def handle_close(self) -> None:
        """See waitress; the file of a body that was on its way goes at once."""
        super().handle_close()
        if self.request is not None:
            self.request.close()

    def service(self) -> None:
        """See waitress; runs in a thread."""
        self.answering_s = time.time()
        if self._fileno is not None:  # else it is closed
            self.server.note_answering(self._fileno)
        super().service()
        self.served_s = time.time()

    def check_client_disconnected(self) -> bool:  # type: ignore[override]  # its types say None, and are wrong
        """Tell an app (`waitress.client_disconnected`) whether its client is gone; runs in a thread.

        waitress itself does not look at a connection while it answers. Of a client that has sent all it will ever send,
        and still listens, this says that it is gone.
        """
        try:
            connection: Any = self.socket
            return not self.connected or not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def write_soon(self, data: Any) -> int:
        """See waitress; runs in a thread. What the client does not take at once counts for the server's bound."""
        if self.will_close:
            raise ClientDisconnected
        if isinstance(data, bytes) and len(data) >= LARGE_BYTES:
            data = _Whole(data)
        written: int = super().write_soon(data)
        if self.total_outbufs_len:
            self.server.has_kept(written)
        return written

    @property
    def answer_bytes(self) -> int:
        """Tell how much of answers is kept in memory for it; may be called from any thread."""
        return sum(
            len(each)
            for each in list(self.outbufs)
            if isinstance(each, _Whole) or not isinstance(each, ReadOnlyFileBasedBuffer)
        )

    @property
    def took_s(self) -> float:
        """Tell when the client last took something of its answer, or else when that began."""
        return max(self.last_activity, self.answering_s)

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Wait, as waitress's does, until the client has taken of what is kept for it, but not for ever."""
        if self.total_outbufs_len <= self.adj.outbuf_high_watermark:
            return
        with self.server.blocked(self), self.outbuf_lock:
            while self.connected and self.total_outbufs_len > self.adj.outbuf_high_watermark:
                if time.time() - self.took_s > STALLED_S:
                    self.give_up()
                self.server.pull_trigger()
                self.outbuf_lock.wait(STALLED_S / 10)

    def give_up(self) -> None:
        """Have the main thread close the connection; may be called from any thread."""
        connection: Any = self.socket
        self.will_close = True
        with suppress(OSError, AttributeError):  # it may be closed already
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_UNSENT)
            connection.shutdown(socket.SHUT_RDWR)
        if self._fileno is not None:
            self.server.note_change(self._fileno)

    def cut(self) -> None:
        """Close the connection; what the system keeps of an answer is dropped, too."""
        connection: Any = self.socket
        with suppress(OSError, AttributeError):  # it may be closed already
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_UNSENT)
        self.handle_close()

    def drop_answer(self) -> int:
        """Give up, and free what is kept of the answer, whose size is returned; may be called from any thread.

        Where some of it is being sent right now, the main thread frees it when it closes the connection.
        """
        size = self.answer_bytes
        if self.outbuf_lock.acquire(blocking=False):
            try:
                for each in self.outbufs:
                    each.close()
                self.outbufs = [OverflowableBuffer(self.adj.outbuf_overflow)]
                self.total_outbufs_len = 0
                self.outbuf_lock.notify()
            finally:
                self.outbuf_lock.release()
        self.give_up()
        return size

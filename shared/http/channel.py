"""Client connections of the HTTP server: timeouts, backpressure and problem documents."""

import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from waitress.buffers import OverflowableBuffer, ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.task import ErrorTask
from waitress.utilities import Error

from shared.domain.errors import Problem
from shared.http.app import RETRY_AFTER, problem
from shared.http.request import Request, TooBusy

if TYPE_CHECKING:
    from shared.http.server import Listener

STALLED_S = 30.0
"""Send timeout: a client that reads nothing of its answer for so long is disconnected."""
LARGE_BYTES = 64 * 1024
IDLE_S = 60.0
"""Idle timeout of a connection without a request."""
_DROP_UNSENT = struct.pack("ii", 1, 0)


class _Whole(ReadOnlyFileBasedBuffer):
    """A large part of an answer, sent without copying it."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)

    def __len__(self) -> int:
        return len(self._rest)

    def get(self, numbytes: int = -1, skip: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002
        return self._rest[:numbytes]

    def skip(self, numbytes: int, allow_prune: int = 0) -> None:  # noqa: ARG002
        self._rest = self._rest[numbytes:]

    def close(self) -> None:
        self._rest = memoryview(b"")


class ProblemTask(ErrorTask):
    """Answers requests that never reach the app: malformed ones, and those with a refused body."""

    def execute(self) -> None:
        """Write the problem document."""
        request: Any = self.request
        error = request.error
        headers = RETRY_AFTER if isinstance(error, TooBusy) else None
        response = problem(error.code, str(error.body), (Problem("body", str(error.body)),), headers)
        body = response.get_data()
        self.status = response.status
        self.content_length = len(body)
        kept = [(name, value) for name, value in response.headers if name in ("Content-Type", "Retry-After")]
        self.response_headers = [*kept, ("Connection", "close")]
        self.set_close_on_finish()
        self.write(body)


class Channel(HTTPChannel):
    """A connection with timeouts for requests and answers, and a limit of unread bytes.

    Methods run in the main thread, except those that say otherwise.
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
        """Take over a connection that has just been accepted."""
        self.served_s = time.time()
        """When the last answer ended, or else when the connection was accepted."""
        self.answering_s = self.served_s
        """When the last answer began."""
        super().__init__(server, connection, addr, adj, map=sockets)

    @property
    def address(self) -> str:
        """Return the client's address, without the port."""
        return str(self.addr[0])

    @property
    def clients(self) -> tuple[str, ...]:
        """Return the address, and the client behind a proxy, whose turn in the queue the next request takes.

        Inventing values of `X-Real-IP` gains nothing: turns are shared between addresses first.
        """
        named = self.requests[0].headers.get("X_REAL_IP", "")
        return (self.address, named) if named else (self.address,)

    def received(self, data: bytes) -> bool:
        """See waitress; what arrives counts towards the server's limit of bodies."""
        took = bool(super().received(data))
        if self.request is not None and self.request.began_s is None:
            self.request.began_s = time.time()
        self.server.has_taken_in(self, len(data))
        return took

    @property
    def is_patient(self) -> bool:
        """Return whether it is sending a body, which may wait."""
        return self.request is not None and self.request.body_rcv is not None

    @property
    def body_bytes(self) -> int:
        """Return the size of its bodies: being received, queued, or being answered."""
        request = self.request
        return sum(each.body_bytes for each in list(self.requests)) + (request.body_bytes if request else 0)

    def refuse(self, error: Error) -> None:
        """Answer the request that is being received with an error, without waiting for the rest of it."""
        with self.requests_lock:
            if self.request is not None and not self.requests:
                self.request.error = error
                self.requests.append(self.request)
                self.request = None
                task: Any = self
                self.server.add_task(task)

    def is_late(self, now_s: float) -> bool:
        """Return whether it has timed out; it never does while a request is queued or being answered."""
        if self.requests:
            return False
        if self.total_outbufs_len:
            return now_s - self.took_s > STALLED_S
        if self.request is not None:
            return self.request.is_late(now_s)
        return now_s - self.last_activity > IDLE_S

    def handle_close(self) -> None:
        """See waitress; also delete the file of an incomplete body."""
        super().handle_close()
        if self.request is not None:
            self.request.close()

    def service(self) -> None:
        """See waitress; runs in a thread."""
        self.answering_s = time.time()
        super().service()
        self.served_s = time.time()
        self._note_change()

    def check_client_disconnected(self) -> bool:  # type: ignore[override]  # its types say None, and are wrong
        """Return whether the client has disconnected (`waitress.client_disconnected`); runs in a thread.

        waitress does not check the connection while it answers. A client that has closed only its sending side counts
        as disconnected.
        """
        try:
            connection: Any = self.socket
            return not self.connected or not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def write_soon(self, data: Any) -> int:
        """See waitress; runs in a thread. What cannot be sent at once counts towards the limit of answers."""
        if self.will_close:
            raise ClientDisconnected
        if isinstance(data, bytes) and len(data) >= LARGE_BYTES:
            data = _Whole(data)
        written: int = super().write_soon(data)
        if self.total_outbufs_len:
            self._note_change()
            self.server.has_kept(written)
        return written

    def _note_change(self) -> None:
        """Make the main thread check whether it is readable or writable; callable from any thread."""
        number = self._fileno
        if number is not None:  # it is still open
            self.server.note_change(number)

    @property
    def answer_bytes(self) -> int:
        """Return how many bytes of answers are kept in memory; callable from any thread."""
        return sum(
            len(each)
            for each in list(self.outbufs)
            if isinstance(each, _Whole) or not isinstance(each, ReadOnlyFileBasedBuffer)
        )

    @property
    def took_s(self) -> float:
        """Return when the client last read some of its answer, or else when the answer began."""
        return max(self.last_activity, self.answering_s)

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Wait for the client to read, as waitress does, but only for `STALLED_S`; runs in a thread."""
        if self.total_outbufs_len <= self.adj.outbuf_high_watermark:
            return
        with self.server.blocked(self), self.outbuf_lock:
            while self.connected and self.total_outbufs_len > self.adj.outbuf_high_watermark:
                if time.time() - self.took_s > STALLED_S:
                    self.give_up()
                self._note_change()
                self.outbuf_lock.wait(STALLED_S / 10)

    def _flush_some(self, do_close: bool = True) -> bool:  # noqa: FBT001, FBT002  # waitress's
        """Send what the client takes, as waitress does, but always under the lock: `drop_answer` may run meanwhile."""
        with self.outbuf_lock:
            return bool(super()._flush_some(do_close))  # type: ignore[misc]  # its types lack it

    def give_up(self) -> None:
        """Make the main thread close the connection; callable from any thread."""
        connection: Any = self.socket
        self.will_close = True
        with suppress(OSError, AttributeError):  # already closed
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_UNSENT)
            connection.shutdown(socket.SHUT_RDWR)
        self._note_change()

    def cut(self) -> None:
        """Close the connection at once, and discard what is in its send buffer."""
        connection: Any = self.socket
        with suppress(OSError, AttributeError):  # already closed
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_UNSENT)
        self.handle_close()

    def drop_answer(self) -> int:
        """Give up, free the memory of the answer, and return its size; callable from any thread.

        If the answer is being sent at this moment, the main thread frees it when it closes the connection.
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

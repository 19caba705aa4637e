"""What both HTTP services do alike: asking who is there, errors as RFC 9457 problems, and serving."""

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal

from flask import Blueprint, Flask, Response, g, request
from flask.sansio.scaffold import T_route
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask
from werkzeug.exceptions import HTTPException

from shared.batch import MAX_BYTES
from shared.errors import (
    Busy,
    Conflict,
    Forbidden,
    InvalidInput,
    InvalidSettings,
    PowerError,
    Problem,
    TooLargeInput,
    Unauthenticated,
    Unavailable,
    UnreadableInput,
    UnsupportedInput,
)
from shared.openapi import Operation
from shared.threads import Threads
from shared.tokens import Access, Right

log = logging.getLogger(__name__)

RETRY_AFTER_S = 2
GONE = 499
"""nginx's status for a request whose client has gone: nobody sees the answer."""
THREADS = 32
STALLED_S = 30.0
"""For so long a client may take nothing of an answer that is too long to be kept for it; then it is cut off."""
OPEN: Final = "open"
"""What routes need that ask nobody who they are."""
MAX_READ_BYTES = 4 * MAX_BYTES
"""Up to here a body that is too large is read all the same, so that its sender gets to see the answer."""

IN_MEMORY_BYTES = 64 * 1024
"""Of a body on its way in; what is larger lies in a temporary file, since there may be 1,000 at a time."""


def problem(
    status: int, detail: str, errors: tuple[Problem, ...] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with `application/problem+json`."""
    response = Response(status=status, mimetype="application/problem+json", headers=headers)
    body: dict[str, Any] = {"type": "about:blank", "title": response.status[4:].capitalize(), "status": status}
    if detail:
        body["detail"] = detail
    if errors:
        body["errors"] = [{"at": each.at, "problem": each.problem} for each in errors]
    response.data = json.dumps(body) + "\n"
    return response


Needs = Right | Literal["open"]


class Routes(Blueprint):
    """The routes of one service, and the right that all of them need; `OPEN` lets everybody in."""

    def __init__(self, name: str, import_name: str, *, needs: Needs) -> None:
        """Begin without any route."""
        super().__init__(name, import_name)
        self.needs = needs

    def serves(self, operation: Operation) -> Callable[[T_route], T_route]:
        """Have a function answer what a documented operation asks for."""
        if operation.is_open != (self.needs == OPEN):
            raise ValueError(f"{operation.path} is not documented as it is guarded")
        return self.route(operation.path, methods=[operation.method])


def make_app(*services: Routes, access: Callable[[str | None], Access]) -> Flask:
    """Put the routes of one or more services into one app.

    Args:
        services: their routes.
        access: tells from an `Authorization` header what its sender may do, or raises `Unauthenticated`.

    """
    app = Flask("power", static_folder=None)
    _answer_errors(app)
    _note_arrivals(app)
    _ask_everybody(app, {each.name: each.needs for each in services}, access)
    for each in services:
        app.register_blueprint(each)
    return app


def _note_arrivals(app: Flask) -> None:
    """Have requests timed from before they are checked: those that are refused, too."""

    @app.before_request
    def arrive() -> None:
        g.arrived_s = time.perf_counter()


def since_arrival_s() -> float:
    """Tell how long ago the present request arrived, in seconds."""
    arrived_s: float = g.arrived_s
    return time.perf_counter() - arrived_s


def _ask_everybody(app: Flask, needs: Mapping[str, Needs], access: Callable[[str | None], Access]) -> None:
    """Check every request before anything else is done for it; a route that nobody declared is for `admin` alone."""

    @app.before_request
    def check() -> None:
        needed = needs.get(request.blueprint or "")
        if needed == OPEN:
            return
        authorization = request.headers.get("Authorization")
        g.access = access(authorization)
        g.check_again = lambda: access(authorization).check(needed)
        if request.url_rule is not None:  # what leads nowhere is answered 404 or 405 to anybody who is known
            caller().check(needed)


def access_check() -> Callable[[], None]:
    """Give what checks the present request's access again, for an answer that lasts: its token may be removed.

    It may be called after the request, and raises `Unauthenticated` or `Forbidden`.
    """
    check: Callable[[], None] = g.check_again
    return check


def caller() -> Access:
    """Tell what the sender of the present request may do; on routes that are `OPEN` nobody knows."""
    access: Access = g.access
    return access


def _answer_errors(app: Flask) -> None:
    """Have an app answer every error as a problem; nothing of ours but the sentence reaches the user."""

    @app.errorhandler(InvalidInput)
    def invalid(error: InvalidInput) -> Response:
        status = {UnreadableInput: 400, Conflict: 409, TooLargeInput: 413, UnsupportedInput: 415}.get(type(error), 422)
        headers = {"Accept-Encoding": "gzip"} if isinstance(error, UnsupportedInput) else None
        return problem(status, error.summary, error.problems, headers)

    @app.errorhandler(Unauthenticated)
    def unauthenticated(error: Unauthenticated) -> Response:
        return problem(401, str(error), headers={"WWW-Authenticate": "Bearer"})

    @app.errorhandler(Forbidden)
    def forbidden(error: Forbidden) -> Response:
        return problem(403, str(error))

    @app.errorhandler(InvalidSettings)
    @app.errorhandler(Unavailable)
    def unavailable(error: PowerError) -> Response:
        log.log(logging.WARNING if isinstance(error, Unavailable) else logging.ERROR, "%s", error)
        return problem(503, "Try again in a moment.", headers={"Retry-After": str(RETRY_AFTER_S)})

    @app.errorhandler(Busy)
    def busy(error: Busy) -> Response:
        return problem(503, str(error), headers={"Retry-After": str(RETRY_AFTER_S)})

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        headers = {name: value for name, value in error.get_headers() if name == "Allow"}
        return problem(error.code or 500, error.description or "", headers=headers)

    @app.errorhandler(ClientDisconnected)
    def gone(_error: ClientDisconnected) -> Response:
        return Response(status=GONE)

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        log.error("a request failed", exc_info=error)
        return problem(500, "This is our fault; the log tells more.")


class Cut(ClientDisconnected):
    """Raised by an answer that has begun and cannot go on: the connection is closed, and the answer is not whole.

    To waitress it is as if the client had gone: nothing more is sent, not even what would end the answer well.
    """


class _ProblemTask(ErrorTask):
    """Answers what never reaches an app: malformed requests, and bodies beyond `MAX_READ_BYTES`."""

    def execute(self) -> None:
        request: Any = self.request
        error = request.error
        response = problem(error.code, str(error.body), (Problem("body", str(error.body)),))
        body = response.get_data()
        self.status = response.status
        self.content_length = len(body)
        self.response_headers = [("Content-Type", response.content_type), ("Connection", "close")]
        self.set_close_on_finish()
        self.write(body)


class _Channel(HTTPChannel):
    error_task_class = _ProblemTask

    def check_client_disconnected(self) -> bool:  # type: ignore[override]  # its types say None, and are wrong
        """Tell an app (`waitress.client_disconnected`) whether its client is gone.

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

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Wait, as waitress's does, until the client has taken of what is kept for it, but not for ever."""
        began_s = time.time()
        with self.outbuf_lock:
            while self.connected and self.total_outbufs_len > self.adj.outbuf_high_watermark:
                if time.time() - max(began_s, self.last_activity) > STALLED_S:
                    self._give_up()
                self.server.pull_trigger()
                self.outbuf_lock.wait(STALLED_S / 10)

    def _give_up(self) -> None:
        """Have the main thread close the connection, which it does once that can be written to, or is broken."""
        connection: Any = self.socket
        self.will_close = True
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class Server:
    """A WSGI server: a fixed number of threads, bounded bodies, slow clients kept off the threads."""

    def __init__(self, app: Callable[..., Any], host: str, port: int, *, threads: int = THREADS) -> None:
        """Listen.

        Raises:
            InvalidSettings: the address cannot be had.

        """
        try:
            listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as error:
            raise InvalidSettings(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}") from None
        dispatcher: Any = Threads(threads)  # has all that is asked of waitress's own
        server: Any = create_server(
            app,
            sockets=[listener],
            _dispatcher=dispatcher,
            max_request_body_size=MAX_READ_BYTES,
            connection_limit=1000,
            inbuf_overflow=IN_MEMORY_BYTES,
            channel_timeout=60,
            clear_untrusted_proxy_headers=True,
            ident="",
        )
        server.channel_class = _Channel
        self._server = server

    def run(self) -> None:
        """Serve until `stop`; what has been read by then is answered, if it does not take long."""
        self._server.run()

    def stop(self) -> None:
        """End `run`, from a signal handler."""
        raise SystemExit

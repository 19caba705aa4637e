"""What all HTTP services do alike: asking who is there, and errors as RFC 9457 problems."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from flask import Blueprint, Flask, Request, Response, g, request
from flask.sansio.scaffold import T_route
from waitress.channel import ClientDisconnected
from werkzeug.exceptions import HTTPException

from shared.domain.errors import (
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
from shared.http.browsers import Browsers, Told
from shared.http.openapi import Operation
from shared.http.tokens import Access, Right

log = logging.getLogger(__name__)

RETRY_AFTER_S = 2
GONE = 499
"""nginx's status for a request whose client has gone: nobody sees the answer."""
OPEN: Final = "open"
"""What routes need that ask nobody who they are."""


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


EXPOSED = "Location, Retry-After, ETag, Content-Disposition, Content-Encoding, X-Request-ID"
"""What a page of an allowed origin may read of an answer's headers, besides those that every page may."""
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Encoding, Content-Type, If-None-Match, Last-Event-ID, Prefer, X-Request-ID"
    ),
    "Access-Control-Allow-Private-Network": "true",
    "Access-Control-Max-Age": "600",
}
"""What a browser is told that asks whether a page of an allowed origin may send its request."""

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


def make_app(*services: Routes, access: Callable[[str | None], Access], browsers: Browsers | None = None) -> Flask:
    """Put the routes of one or more services into one app.

    Args:
        services: their routes.
        access: tells from an `Authorization` header what its sender may do, or raises `Unauthenticated`.
        browsers: who may use it from a browser; if left out, only pages of the service itself, on this machine.

    """
    app = Flask("power", static_folder=None)
    _answer_errors(app)
    _note_arrivals(app)
    _keep_pages_of_others_out(app, browsers or Browsers())
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


def told(request: Request) -> Told:
    """Give what a request's headers tell of where it comes from."""
    header = request.environ.get
    return Told(
        header("HTTP_HOST"),
        header("HTTP_ORIGIN"),
        header("HTTP_SEC_FETCH_SITE"),
        header("HTTP_SEC_FETCH_MODE"),
        header("HTTP_SEC_FETCH_DEST"),
    )


def _keep_pages_of_others_out(app: Flask, browsers: Browsers) -> None:
    """Refuse what browsers send for pages of other sites; let those pages that may use the service read its answers."""

    @app.before_request
    def check_origin() -> Response | None:
        origin = told(request)
        refusal = browsers.refusal(request.method, origin)
        if refusal:
            raise Forbidden(refusal)
        if not browsers.allows_origin(origin):
            return None
        is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        return Response(status=204, headers=PREFLIGHT) if is_preflight else None

    if not browsers.origins:
        return

    @app.after_request
    def allow_origin(response: Response) -> Response:
        response.vary.add("Origin")
        origin = told(request).origin
        if origin in browsers.origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
        return response


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

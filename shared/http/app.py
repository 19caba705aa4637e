"""The Flask app of all HTTP services: access control, browser checks, and errors as RFC 9457 problems."""

import json
import logging
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
from shared.http.browsers import Browsers, RequestSource
from shared.http.openapi import Operation
from shared.http.tokens import Access, Right

log = logging.getLogger(__name__)

RETRY_AFTER = {"Retry-After": "2"}
INVALID: Mapping[type[InvalidInput], int] = {
    UnreadableInput: 400,
    Conflict: 409,
    TooLargeInput: 413,
    UnsupportedInput: 415,
}
"""The status for errors in the input; for others it is 422."""
GONE = 499
"""nginx's status for a request whose client has disconnected; it only shows in metrics."""
OPEN: Final = "open"
"""The need of routes without access control."""


def problem(
    status: int,
    detail: str,
    errors: tuple[Problem, ...] = (),
    headers: Mapping[str, str] | None = None,
    **members: object,
) -> Response:
    """Return a response of type `application/problem+json`; `members` are further ones of its object."""
    response = Response(status=status, mimetype="application/problem+json", headers=headers)
    body: dict[str, Any] = {"type": "about:blank", "title": response.status[4:].capitalize(), "status": status}
    if detail:
        body["detail"] = detail
    if errors:
        body["errors"] = [{"at": each.at, "problem": each.problem} for each in errors]
    response.data = json.dumps(body | members) + "\n"
    return response


EXPOSED = "Location, Retry-After, ETag, Content-Disposition, Content-Encoding, X-Request-ID"
"""Response headers that pages of allowed origins may read, besides those that browsers always expose."""
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Encoding, Content-Type, If-None-Match, Last-Event-ID, Prefer, X-Request-ID"
    ),
    "Access-Control-Allow-Private-Network": "true",
    "Access-Control-Max-Age": "600",
}
"""The CORS answer to a preflight request of an allowed origin."""

Needs = Right | Literal["open"]


class Routes(Blueprint):
    """The routes of one service, and the right that all of them need; `OPEN` needs none."""

    def __init__(self, name: str, import_name: str, *, needs: Needs) -> None:
        """Create a blueprint without routes."""
        super().__init__(name, import_name)
        self.needs = needs

    def serves(self, operation: Operation, *, is_exact: bool = False) -> Callable[[T_route], T_route]:
        """Return a decorator: the function handles a documented operation.

        Its path may end with another slash, unless it `is_exact`: a proxy may keep that path from the outside.
        """
        if operation.is_open != (self.needs == OPEN):
            raise ValueError(f"{operation.path}: the documented access differs from that of its routes")
        return self.route(operation.path, methods=[operation.method], strict_slashes=is_exact)


def make_app(*services: Routes, access: Callable[[str | None], Access], browsers: Browsers | None = None) -> Flask:
    """Return an app with the routes of one or more services.

    Args:
        services: their routes.
        access: returns the rights for an `Authorization` header, or raises `Unauthenticated`.
        browsers: which browser requests are let in; by default only those of the service's own pages on this machine.

    """
    app = Flask("power", static_folder=None)
    _answer_errors(app)
    for each in services:  # before the checks, so that the metrics time refused requests, too
        app.register_blueprint(each)
    _check_browsers(app, browsers or Browsers())
    _check_access(app, {each.name: each.needs for each in services}, access)
    return app


_SOURCE = ("HTTP_HOST", "HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE", "HTTP_SEC_FETCH_MODE", "HTTP_SEC_FETCH_DEST")


def request_source(request: Request) -> RequestSource:
    """Return the headers of a request that say where it comes from."""
    return RequestSource(*map(request.environ.get, _SOURCE))


def _check_browsers(app: Flask, browsers: Browsers) -> None:
    """Refuse cross-site requests of browsers, and let pages of allowed origins read the answers (CORS)."""

    @app.before_request
    def check_origin() -> Response | None:
        source = request_source(request)
        refusal = browsers.refusal(request.method, source)
        if refusal:
            raise Forbidden(refusal)
        if not browsers.allows_origin(source):
            return None
        is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        return Response(status=204, headers=PREFLIGHT) if is_preflight else None

    if not browsers.origins:
        return

    @app.after_request
    def allow_origin(response: Response) -> Response:
        response.vary.add("Origin")
        origin = request_source(request).origin
        if origin in browsers.origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
        return response


def _check_access(app: Flask, needs: Mapping[str, Needs], access: Callable[[str | None], Access]) -> None:
    """Check the access of every request before anything else; routes without a declared need are for `admin` only."""

    @app.before_request
    def check() -> None:
        needed = needs.get(request.blueprint or "")
        if needed == OPEN:
            return
        authorization = request.headers.get("Authorization")
        g.access = access(authorization)
        g.check_again = lambda: access(authorization).check(needed)
        if request.url_rule is not None:  # an unknown path is answered 404 or 405 to every valid token
            caller().check(needed)


def access_check() -> Callable[[], None]:
    """Return a function that checks the current request's access again, for long answers: its token may be removed.

    It can be called after the request, and raises `Unauthenticated` or `Forbidden`.
    """
    check: Callable[[], None] = g.check_again
    return check


def caller() -> Access:
    """Return the rights of the current request; not available on routes that are `OPEN`."""
    access: Access = g.access
    return access


def _answer_errors(app: Flask) -> None:
    """Answer every error as a problem, without internal details."""

    @app.errorhandler(PowerError)
    def ours(error: PowerError) -> Response:
        match error:
            case Unauthenticated():
                return problem(401, str(error), headers={"WWW-Authenticate": "Bearer"})
            case Forbidden():
                return problem(403, str(error))
            case Busy():
                return problem(503, str(error), headers=RETRY_AFTER)
            case InvalidSettings() | Unavailable():
                log.log(logging.WARNING if isinstance(error, Unavailable) else logging.ERROR, "%s", error)
                return problem(503, "Try again in a moment.", headers=RETRY_AFTER)
            case InvalidInput():
                headers = {"Accept-Encoding": "gzip"} if isinstance(error, UnsupportedInput) else None
                return problem(INVALID.get(type(error), 422), error.summary, error.problems, headers)
            case _:
                return broken(error)

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
        return problem(500, "Internal error; the log of the service tells more.")


class Cut(ClientDisconnected):
    """Raised while an answer is being sent, to abort it: the connection is closed, and the client sees it incomplete.

    waitress treats it like a disconnected client: it sends nothing more, not even the end of a chunked answer.
    """

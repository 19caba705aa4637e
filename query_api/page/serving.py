"""Serves the page's files, and Plotly from its package: no data, so nobody is asked for a token."""

import gzip
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path

from flask import Response, abort, request

from shared.http import OPEN, Routes

FILES = Path(__file__).parent / "files"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PLOTLY = distribution("plotly")
PLOTLY_FILE = Path(str(PLOTLY.locate_file("plotly/package_data/plotly.min.js")))
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Plotly brings style elements and attributes of its own, hence their exception; the page itself has none."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
}
FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"


@dataclass(frozen=True)
class Asset:
    """One file as it is sent."""

    body: bytes
    content_type: str
    caching: str = FOR_EVER

    @cached_property
    def packed(self) -> bytes:
        """The body, packed once, when it is first asked for."""
        return gzip.compress(self.body, mtime=0)

    @cached_property
    def digest(self) -> str:
        """What changes with the content."""
        return sha256(self.body).hexdigest()[:16]

    def response(self) -> Response:
        """Answer the present request with it, packed where the client takes that, or with 304."""
        packed = bool(request.accept_encodings["gzip"])
        response = Response(self.packed if packed else self.body, content_type=self.content_type, headers=HEADERS)
        response.headers["Cache-Control"] = self.caching
        if packed:
            response.headers["Content-Encoding"] = "gzip"
        response.set_etag(f"{self.digest}-gzip" if packed else self.digest)
        response.make_conditional(request)
        return response


def routes() -> Routes:
    """Build the routes: the page at `/`, and what it loads, below a version that changes with the content."""
    routes = Routes("page", __name__, needs=OPEN)
    assets = _assets()
    index = assets.pop("index")

    @routes.get("/")
    def page() -> Response:
        return index.response()

    @routes.get("/page/<version>/<name>")
    def file(version: str, name: str) -> Response:
        asset = assets.get(f"{version}/{name}")
        return asset.response() if asset else abort(404)

    return routes


def _assets() -> dict[str, Asset]:
    """Give the files by version and name, and the page itself, which knows the versions."""
    files = {path.name: _asset(path) for path in sorted(FILES.iterdir()) if path.suffix in TYPES}
    edition = sha256("".join(each.digest for each in files.values()).encode()).hexdigest()[:16]
    charts = f"plotly-{PLOTLY.version}/{PLOTLY_FILE.name}"
    text = files.pop("index.html").body.decode()
    text = text.replace("{{files}}", f"/page/{edition}").replace("{{charts}}", f"/page/{charts}")
    return {
        **{f"{edition}/{name}": asset for name, asset in files.items()},
        charts: _asset(PLOTLY_FILE),
        "index": Asset(text.encode(), TYPES[".html"], ASK_AGAIN),
    }


def _asset(path: Path) -> Asset:
    return Asset(path.read_bytes(), TYPES[path.suffix])

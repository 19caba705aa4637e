"""GET /, /docs and their files: the web page and the API documentation. They contain no data and need no token."""

import gzip
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path

from flask import Response, abort, request

from shared.http.app import OPEN, Routes

FILES = Path(__file__).parents[1] / "page"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SWAGGER = "flask_openapi3_swagger/templates/swagger"
LIBRARIES = (
    ("{{plotly}}", "plotly", ("plotly/package_data/plotly.min.js",)),
    (
        "{{swagger}}",
        "flask-openapi3-swagger",
        (f"{_SWAGGER}/css/swagger-ui.css", f"{_SWAGGER}/js/swagger-ui-bundle.js"),
    ),
)
"""Placeholder in the pages, Python package, and its files."""
DOCUMENT = Path(__file__).parents[1] / "openapi.json"
"""The document of all services, written by `./power openapi`, because no service imports another one."""
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Inline styles are allowed for Plotly; the page itself has none."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
}
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"


@dataclass(frozen=True)
class Asset:
    """A file and its response headers."""

    body: bytes
    content_type: str
    caching: str = IMMUTABLE

    @cached_property
    def gzipped(self) -> bytes:
        """The body, compressed at the first request."""
        return gzip.compress(self.body, mtime=0)

    @cached_property
    def digest(self) -> str:
        """A digest of the body."""
        return sha256(self.body).hexdigest()[:16]

    def response(self) -> Response:
        """Return the file, gzipped if the client accepts that, or 304."""
        is_gzipped = bool(request.accept_encodings["gzip"])
        response = Response(self.gzipped if is_gzipped else self.body, content_type=self.content_type, headers=HEADERS)
        response.headers["Cache-Control"] = self.caching
        if is_gzipped:
            response.headers["Content-Encoding"] = "gzip"
        response.set_etag(f"{self.digest}-gzip" if is_gzipped else self.digest)
        response.make_conditional(request)
        return response


def routes() -> Routes:
    """Build the routes: the pages, the OpenAPI document, and the files they load, under paths with a version."""
    routes = Routes("page", __name__, needs=OPEN)
    pages, assets = _files()
    pages["/openapi.json"] = Asset(DOCUMENT.read_bytes(), "application/json", REVALIDATE)

    @routes.get("/")
    @routes.get("/docs")
    @routes.get("/openapi.json")
    def page() -> Response:
        return pages[request.path].response()

    @routes.get("/page/<version>/<name>")
    def file(version: str, name: str) -> Response:
        asset = assets.get(f"{version}/{name}")
        return asset.response() if asset else abort(404)

    return routes


def _files() -> tuple[dict[str, Asset], dict[str, Asset]]:
    """Return the pages by path, and the files they load by version and name."""
    files = {path.name: _asset(path) for path in sorted(FILES.iterdir()) if path.suffix in TYPES}
    pages = {path: files.pop(name).body.decode() for path, name in (("/", "index.html"), ("/docs", "docs.html"))}
    version = sha256("".join(each.digest for each in files.values()).encode()).hexdigest()[:16]
    addresses = {"{{files}}": f"/page/{version}"}
    assets = {f"{version}/{name}": asset for name, asset in files.items()}
    for placeholder, package, paths in LIBRARIES:
        found = distribution(package)
        addresses[placeholder] = f"/page/{package}-{found.version}"
        for path in map(Path, (str(found.locate_file(each)) for each in paths)):
            assets[f"{package}-{found.version}/{path.name}"] = _asset(path)
    for placeholder, address in addresses.items():
        pages = {path: text.replace(placeholder, address) for path, text in pages.items()}
    return {path: Asset(text.encode(), TYPES[".html"], REVALIDATE) for path, text in pages.items()}, assets


def _asset(path: Path) -> Asset:
    return Asset(path.read_bytes(), TYPES[path.suffix])
